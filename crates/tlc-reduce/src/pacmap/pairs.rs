//! The three kinds of pairs (section 4.2 of the paper), and each point's share of them.

use ndarray::ArrayView1;
use rayon::prelude::*;
use tlc_core::rng::Stream;

use crate::distance::squared_euclidean;
use crate::knn::{Index, Neighbours};

/// The mid-near pair is the second nearest of this many random candidates.
const MID_NEAR_CANDIDATES: usize = 6;
/// Draws before giving up on a distinct one; only tiny data get there.
const MAX_DRAWS: u64 = 100;
const LEAST_SCALE: f32 = 1e-10;

/// Pairs that each point brings along.
#[derive(Debug, Clone, Copy)]
pub(super) struct PairCounts {
    pub(super) near: usize,
    pub(super) mid_near: usize,
    pub(super) further: usize,
}

/// For each point the other ends of all pairs that it is in, whoever brought them.
pub(super) struct Pairs {
    pub(super) near: Adjacency,
    pub(super) mid_near: Adjacency,
    pub(super) further: Adjacency,
}

pub(super) struct Adjacency {
    offsets: Vec<usize>,
    others: Vec<u32>,
}

impl Adjacency {
    /// The points paired with `i`.
    #[inline]
    pub(super) fn of(&self, i: usize) -> &[u32] {
        &self.others[self.offsets[i]..self.offsets[i + 1]]
    }

    /// From the pairs that each point brings; every pair is then known at both ends.
    fn from_lists(lists: &[Vec<u32>]) -> Self {
        let mut offsets = vec![0; lists.len() + 1];
        for (i, list) in lists.iter().enumerate() {
            offsets[i + 1] += list.len();
            list.iter().for_each(|&j| offsets[j as usize + 1] += 1);
        }
        for i in 0..lists.len() {
            offsets[i + 1] += offsets[i];
        }
        let mut filled = offsets.clone();
        let mut others = vec![0; offsets[lists.len()]];
        let mut add = |i: usize, j: u32| {
            others[filled[i]] = j;
            filled[i] += 1;
        };
        for (i, list) in lists.iter().enumerate() {
            for &j in list {
                add(i, j);
                add(j as usize, i as u32);
            }
        }
        Self { offsets, others }
    }
}

impl Pairs {
    pub(super) fn sample(index: &Index, neighbours: &Neighbours, counts: PairCounts, seed: u64) -> Self {
        let n = index.n_rows();
        let scales: Vec<f32> = neighbours.squared.outer_iter().map(scale_from_squared).collect();
        let near: Vec<Vec<u32>> = (0..n)
            .into_par_iter()
            .map(|i| {
                let (indices, squared) = (neighbours.indices.row(i), neighbours.squared.row(i));
                nearest_by_scaled(indices, squared, scales[i], |j| scales[j], counts.near)
            })
            .collect();
        let draws = Stream::new(seed, "pacmap-mid-near");
        let mid_near: Vec<Vec<u32>> =
            (0..n).into_par_iter().map(|i| mid_near_of(index, i, counts.mid_near, draws)).collect();
        let draws = Stream::new(seed, "pacmap-further");
        let further: Vec<Vec<u32>> = (0..n)
            .into_par_iter()
            .map(|i| distinct(n, counts.further, draws, i as u64, |j| j as usize != i && !near[i].contains(&j)))
            .collect();
        Self {
            near: Adjacency::from_lists(&near),
            mid_near: Adjacency::from_lists(&mid_near),
            further: Adjacency::from_lists(&further),
        }
    }
}

/// `sigma` of a row: mean distance to its 4th to 6th neighbour, or the nearest to those there are.
pub(super) fn scale_from_squared(squared: ArrayView1<'_, f32>) -> f32 {
    let k = squared.len();
    let (first, last) = (3.min(k - 1), 6.min(k));
    let sum: f32 = (first..last).map(|rank| squared[rank].sqrt()).sum();
    (sum / (last - first) as f32).max(LEAST_SCALE)
}

/// The `count` neighbours with the smallest `d² / (sigma_i · sigma_j)`.
pub(super) fn nearest_by_scaled(
    indices: ArrayView1<'_, u32>,
    squared: ArrayView1<'_, f32>,
    own_scale: f32,
    scale: impl Fn(usize) -> f32,
    count: usize,
) -> Vec<u32> {
    let mut scaled: Vec<(f32, u32)> =
        indices.iter().zip(squared).map(|(&j, &squared)| (squared / own_scale / scale(j as usize), j)).collect();
    scaled.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    scaled.into_iter().take(count).map(|(_, j)| j).collect()
}

fn mid_near_of(index: &Index, i: usize, count: usize, draws: Stream) -> Vec<u32> {
    let mut chosen = Vec::with_capacity(count);
    for pair in 0..count {
        let allowed = |j: u32| j as usize != i && !chosen.contains(&j);
        let candidates = distinct(index.n_rows(), MID_NEAR_CANDIDATES, draws.substream(pair as u64), i as u64, allowed);
        let mut by_distance: Vec<(f32, u32)> =
            candidates.into_iter().map(|j| (squared_euclidean(index.row(i), index.row(j as usize)), j)).collect();
        by_distance.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        if let Some(&(_, j)) = by_distance.get(1).or(by_distance.first()) {
            chosen.push(j);
        }
    }
    chosen
}

/// Up to `count` different random numbers below `n` that are `allowed`.
fn distinct(n: usize, count: usize, draws: Stream, item: u64, allowed: impl Fn(u32) -> bool) -> Vec<u32> {
    let mut chosen: Vec<u32> = Vec::with_capacity(count);
    for slot in 0..count as u64 {
        let found = (0..MAX_DRAWS)
            .map(|attempt| draws.below(n, item, slot * MAX_DRAWS + attempt) as u32)
            .find(|&j| allowed(j) && !chosen.contains(&j));
        chosen.extend(found);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr1};
    use tlc_core::Progress;

    use super::*;
    use crate::knn::KnnMethod;

    #[test]
    fn every_pair_is_known_at_both_ends() {
        let draws = Stream::new(1, "test");
        let rows = Array2::from_shape_fn((60, 4), |(i, j)| draws.normal(i as u64, j as u64) as f32);
        let index = Index::build(rows, KnnMethod::Exact, &Progress::default()).expect("builds");
        let neighbours = index.graph(20, &Progress::default()).expect("k fits");
        let counts = PairCounts { near: 10, mid_near: 5, further: 20 };
        let pairs = Pairs::sample(&index, &neighbours, counts, 7);
        for (adjacency, brought) in [(&pairs.near, 10), (&pairs.mid_near, 5), (&pairs.further, 20)] {
            assert_eq!(adjacency.others.len(), 2 * 60 * brought);
            for i in 0..60 {
                for &j in adjacency.of(i) {
                    let times = |list: &[u32], x: usize| list.iter().filter(|&&y| y as usize == x).count();
                    assert_ne!(i, j as usize);
                    assert_eq!(times(adjacency.of(i), j as usize), times(adjacency.of(j as usize), i));
                }
            }
        }
    }

    #[test]
    fn scale_is_the_mean_of_the_fourth_to_sixth_distance() {
        assert_eq!(scale_from_squared(arr1(&[1.0, 4.0, 9.0, 16.0, 25.0, 36.0, 49.0]).view()), 5.0);
        assert_eq!(scale_from_squared(arr1(&[1.0, 4.0]).view()), 2.0, "of what there is");
        assert_eq!(scale_from_squared(arr1(&[0.0; 7]).view()), 1e-10, "never zero");
    }

    #[test]
    fn scaled_distance_prefers_neighbours_in_sparse_regions() {
        let chosen =
            nearest_by_scaled(arr1(&[1, 2, 3]).view(), arr1(&[1.0, 1.1, 5.0]).view(), 1.0, |j| [0., 1., 2., 1.][j], 2);
        assert_eq!(chosen, [2, 1]);
    }
}
