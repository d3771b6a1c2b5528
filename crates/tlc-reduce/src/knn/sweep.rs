//! Mends a neighbour graph: one round of NN-descent (Dong, Moses, Li 2011), deterministic.
//!
//! A neighbour of a neighbour is likely a neighbour. Each row looks at those, over edges in both
//! directions, of the graph as it came in; rows do not see what others found in the same round, so
//! that their order does not matter.

use rayon::prelude::*;
use tlc_core::{Cancelled, Progress};

use super::rows::Rows;
use super::{Nearest, Neighbours};
use crate::distance::squared_euclidean;
use crate::simd::vectorised;

/// How many near rows of each row are looked through in each direction.
const WIDTH: usize = 10;
const CHUNK: usize = 512;

/// Replaces neighbours by nearer ones. Returns how many were replaced.
///
/// Of wide rows most of the time goes into distances. Principal components, whose distances are lower bounds, exclude
/// too few candidates to pay: what they leave out is a good part of the distance of near rows (tried on 60,000 × 784
/// with 128 of them).
pub(super) fn sweep(neighbours: &mut Neighbours, rows: &Rows, progress: &Progress) -> Result<usize, Cancelled> {
    let k = neighbours.k();
    let near = NearRows::new(neighbours);
    let task = progress.task("mend neighbours", rows.len() as u64);
    let ids = neighbours.indices.as_slice_mut().expect("standard layout");
    let distances = neighbours.squared.as_slice_mut().expect("standard layout");
    let replaced: Result<Vec<usize>, Cancelled> = ids
        .par_chunks_mut(CHUNK * k)
        .zip(distances.par_chunks_mut(CHUNK * k))
        .enumerate()
        .map(|(chunk, (ids, distances))| {
            let mut candidates = Vec::new();
            let mut replaced = 0;
            for (place, (ids, distances)) in ids.chunks_exact_mut(k).zip(distances.chunks_exact_mut(k)).enumerate() {
                let row = chunk * CHUNK + place;
                near.candidates(row as u32, ids, &mut candidates);
                replaced += look_through(row, &candidates, rows, ids, distances);
            }
            task.advance((ids.len() / k) as u64)?;
            Ok(replaced)
        })
        .collect();
    Ok(replaced?.into_iter().sum())
}

fn look_through(row: usize, candidates: &[u32], rows: &Rows, ids: &mut [u32], distances: &mut [f32]) -> usize {
    let mut nearest = Nearest::new(ids.len());
    nearest.kept.extend(distances.iter().copied().zip(ids.iter().copied()));
    let mut replaced = 0;
    vectorised(
        #[inline(always)]
        || {
            let values = rows.row(row);
            for &other in candidates {
                let squared = squared_euclidean(values, rows.row(other as usize));
                if squared < nearest.worst() {
                    nearest.offer(squared, other);
                    replaced += 1;
                }
            }
        },
    );
    for ((id, distance), (squared, other)) in ids.iter_mut().zip(distances).zip(nearest.kept) {
        (*id, *distance) = (other, squared);
    }
    replaced
}

/// The nearest few of each row, and the rows of whose nearest few it is one.
struct NearRows {
    forward: Vec<u32>,
    width: usize,
    reverse: Vec<u32>,
    /// How many of the `width` places of `reverse` are filled, `(n,)`.
    filled: Vec<u8>,
}

impl NearRows {
    fn new(neighbours: &Neighbours) -> Self {
        let (n, k) = neighbours.indices.dim();
        let width = WIDTH.min(k);
        let mut forward = vec![0; n * width];
        let ids = neighbours.indices.as_slice().expect("standard layout");
        forward.par_chunks_mut(width).zip(ids.par_chunks(k)).with_min_len(CHUNK).for_each(|(near, ids)| {
            near.copy_from_slice(&ids[..width]);
        });
        // Nearest first: rank by rank, so that a crowded row keeps those to which it is nearest.
        let (mut reverse, mut filled) = (vec![0; n * width], vec![0_u8; n]);
        for rank in 0..width {
            for row in 0..n {
                let other = forward[row * width + rank] as usize;
                let count = usize::from(filled[other]);
                if count < width {
                    reverse[other * width + count] = row as u32;
                    filled[other] += 1;
                }
            }
        }
        Self { forward, width, reverse, filled }
    }

    fn forward(&self, row: u32) -> &[u32] {
        &self.forward[row as usize * self.width..][..self.width]
    }

    fn reverse(&self, row: u32) -> &[u32] {
        &self.reverse[row as usize * self.width..][..usize::from(self.filled[row as usize])]
    }

    /// What `row` shall look at: ascending, each once, without itself and its neighbours `known`.
    fn candidates(&self, row: u32, known: &[u32], candidates: &mut Vec<u32>) {
        candidates.clear();
        for &near in self.forward(row).iter().chain(self.reverse(row)) {
            candidates.extend_from_slice(self.forward(near));
            candidates.extend_from_slice(self.reverse(near));
        }
        candidates.extend_from_slice(self.reverse(row));
        candidates.sort_unstable();
        candidates.dedup();
        let mut known = known.to_vec();
        known.push(row);
        known.sort_unstable();
        let mut known = known.into_iter().peekable();
        candidates.retain(|&candidate| {
            while known.next_if(|&id| id < candidate).is_some() {}
            known.peek() != Some(&candidate)
        });
    }
}
