//! The fuzzy neighbourhood graph (section 3.1 of the paper).
//!
//! With `A` the memberships of each point's neighbours (`memberships.rs`), an edge's is that of the fuzzy union
//! `B = A + Aᵀ - A ∘ Aᵀ`, or with `set_op_mix_ratio` `r` of `r (A + Aᵀ - A ∘ Aᵀ) + (1 - r) A ∘ Aᵀ`.
//!
//! Flat arrays throughout: next to the neighbours, one weight and one reverse entry per directed edge
//! while it is built, and eight bytes per end of an edge in the result.

use rayon::prelude::*;
use tlc_core::{Progress, ReduceError};

use super::UmapParams;
use super::memberships::Memberships;
use crate::knn::Neighbours;
use crate::simd::vectorised;

/// Rows per piece of parallel work, and per partial sum.
const BLOCK_ROWS: usize = 1024;

/// Undirected edges as sorted lists: each edge stands at both its ends.
#[derive(Debug)]
pub(super) struct FuzzyGraph {
    /// Where each point's edges begin, `(n + 1,)`.
    pub(super) offsets: Vec<usize>,
    pub(super) targets: Vec<u32>,
    /// Membership over the largest membership, `0..=1`: how much the edge acts per epoch.
    pub(super) rates: Vec<f32>,
}

impl FuzzyGraph {
    /// Edges too weak to act once in `n_epochs` are left out, as in umap-learn.
    pub(super) fn new(
        neighbours: &Neighbours,
        params: &UmapParams,
        n_epochs: usize,
        progress: &Progress,
    ) -> Result<Self, ReduceError> {
        let task = progress.task("umap graph", 4);
        let weights = directed_weights(neighbours, params);
        task.advance(1)?;
        let reverse = Reverse::new(neighbours, &weights);
        task.advance(1)?;
        let ends = Ends { neighbours, weights: &weights, reverse: &reverse, mix: params.set_op_mix_ratio };
        let n = neighbours.indices.nrows();
        let blocks: Vec<_> = (0..n).step_by(BLOCK_ROWS).map(|first| first..n.min(first + BLOCK_ROWS)).collect();
        let largest_of = |rows: &std::ops::Range<usize>| {
            let mut largest = 0.0_f32;
            ends.visit(rows.clone(), |_, _, weight| largest = largest.max(weight));
            largest
        };
        let largest = blocks.par_iter().map(largest_of).reduce(|| 0.0, f32::max).max(f32::MIN_POSITIVE);
        let least = 1.0 / n_epochs as f32;
        let mut offsets = vec![0_usize; n + 1];
        offsets[1..].par_chunks_mut(BLOCK_ROWS).zip(&blocks).for_each(|(counts, rows)| {
            ends.visit(rows.clone(), |i, _, weight| counts[i - rows.start] += usize::from(weight / largest >= least));
        });
        for i in 0..n {
            offsets[i + 1] += offsets[i];
        }
        task.advance(1)?;
        let (mut targets, mut rates) = (vec![0_u32; offsets[n]], vec![0.0_f32; offsets[n]]);
        let (mut targets_left, mut rates_left) = (targets.as_mut_slice(), rates.as_mut_slice());
        let mut parts = Vec::with_capacity(blocks.len());
        for rows in &blocks {
            let len = offsets[rows.end] - offsets[rows.start];
            let (targets, rest) = targets_left.split_at_mut(len);
            targets_left = rest;
            let (rates, rest) = rates_left.split_at_mut(len);
            rates_left = rest;
            parts.push((rows.clone(), targets, rates));
        }
        parts.into_par_iter().for_each(|(rows, targets, rates)| {
            let mut at = 0;
            ends.visit(rows, |_, target, weight| {
                let rate = weight / largest;
                if rate >= least {
                    (targets[at], rates[at]) = (target, rate);
                    at += 1;
                }
            });
        });
        task.advance(1)?;
        Ok(Self { offsets, targets, rates })
    }

    pub(super) fn n_points(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The edges of point `i`: other end and rate.
    pub(super) fn edges(&self, i: usize) -> impl Iterator<Item = (u32, f32)> {
        let range = self.offsets[i]..self.offsets[i + 1];
        self.targets[range.clone()].iter().copied().zip(self.rates[range].iter().copied())
    }
}

/// The membership of each neighbour in its row's neighbourhood, `n · k` of them.
fn directed_weights(neighbours: &Neighbours, params: &UmapParams) -> Vec<f32> {
    let (n, k) = neighbours.squared.dim();
    let distance = |squared: &f32| params.metric.distance_from_squared(*squared);
    let block_sum = |first: usize| -> f64 {
        let block = neighbours.squared.slice(ndarray::s![first..n.min(first + BLOCK_ROWS), ..]);
        block.iter().map(|squared| f64::from(distance(squared))).sum()
    };
    let sums: Vec<f64> =
        (0..n.div_ceil(BLOCK_ROWS)).into_par_iter().map(|block| block_sum(block * BLOCK_ROWS)).collect();
    // The neighbourhood contains the point itself, at distance 0.
    let size = k + 1;
    let mean = (sums.iter().sum::<f64>() / (n * size) as f64) as f32;
    let mut weights = vec![0.0_f32; n * k];
    weights.par_chunks_mut(BLOCK_ROWS * k).enumerate().for_each(|(block, weights)| {
        let mut memberships = Memberships::new(params.local_connectivity, Some(mean));
        let mut distances = vec![0.0_f32; k];
        vectorised(
            #[inline(always)]
            || {
                for (row, weights) in weights.chunks_exact_mut(k).enumerate() {
                    let squared = neighbours.squared.row(block * BLOCK_ROWS + row);
                    for (target, squared) in distances.iter_mut().zip(squared) {
                        *target = distance(squared);
                    }
                    memberships.write(&distances, size, weights);
                }
            },
        );
    });
    weights
}

/// For each point, who names it as a neighbour, in ascending order.
struct Reverse {
    offsets: Vec<usize>,
    sources: Vec<u32>,
    weights: Vec<f32>,
}

impl Reverse {
    /// A counting sort by one thread: its order is the sources' order, and at 14 million edges it takes
    /// a small part of the time of what surrounds it.
    fn new(neighbours: &Neighbours, weights: &[f32]) -> Self {
        let (n, k) = neighbours.indices.dim();
        let mut offsets = vec![0_usize; n + 1];
        for &target in &neighbours.indices {
            offsets[target as usize + 1] += 1;
        }
        for i in 0..n {
            offsets[i + 1] += offsets[i];
        }
        let mut next = offsets[..n].to_vec();
        let (mut sources, mut reversed) = (vec![0_u32; n * k], vec![0.0_f32; n * k]);
        for ((source, targets), weights) in neighbours.indices.outer_iter().enumerate().zip(weights.chunks_exact(k)) {
            for (&target, &weight) in targets.iter().zip(weights) {
                let at = &mut next[target as usize];
                (sources[*at], reversed[*at]) = (source as u32, weight);
                *at += 1;
            }
        }
        Self { offsets, sources, weights: reversed }
    }
}

/// Both directions of all edges.
struct Ends<'a> {
    neighbours: &'a Neighbours,
    weights: &'a [f32],
    reverse: &'a Reverse,
    mix: f32,
}

impl Ends<'_> {
    /// Calls `f(point, other end, weight)` for each edge of each of `rows`, other ends ascending.
    fn visit(&self, rows: std::ops::Range<usize>, mut f: impl FnMut(usize, u32, f32)) {
        let k = self.neighbours.k();
        let mut forward: Vec<(u32, f32)> = Vec::with_capacity(k);
        for i in rows {
            forward.clear();
            let targets = self.neighbours.indices.row(i);
            forward.extend(targets.iter().copied().zip(self.weights[i * k..(i + 1) * k].iter().copied()));
            forward.sort_unstable_by_key(|&(target, _)| target);
            let range = self.reverse.offsets[i]..self.reverse.offsets[i + 1];
            let mut backward = self.reverse.sources[range.clone()].iter().zip(&self.reverse.weights[range]).peekable();
            for &(target, weight) in &forward {
                while let Some((&source, &reverse)) = backward.next_if(|&(&source, _)| source < target) {
                    f(i, source, self.combined(reverse, 0.0));
                }
                let reverse = backward.next_if(|&(&source, _)| source == target).map_or(0.0, |(_, &reverse)| reverse);
                f(i, target, self.combined(weight, reverse));
            }
            for (&source, &reverse) in backward {
                f(i, source, self.combined(reverse, 0.0));
            }
        }
    }

    /// A mixture of fuzzy union `a + b - a·b` and intersection `a·b`; the same bits from both ends.
    fn combined(&self, a: f32, b: f32) -> f32 {
        // Exactly 1 if one of them is.
        let union = 1.0 - (1.0 - a) * (1.0 - b);
        self.mix * union + (1.0 - self.mix) * (a * b)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr2};

    use super::*;

    fn graph(neighbours: &Neighbours, params: &UmapParams, n_epochs: usize) -> FuzzyGraph {
        FuzzyGraph::new(neighbours, params, n_epochs, &Progress::default()).expect("not cancelled")
    }

    fn example() -> Neighbours {
        Neighbours {
            indices: arr2(&[[1, 2], [0, 2], [0, 1], [2, 1]]),
            squared: arr2(&[[1.0, 4.0], [1.0, 2.0], [4.0, 5.0], [9.0, 16.0]]),
        }
    }

    #[test]
    fn the_union_is_symmetric() {
        let graph = graph(&example(), &UmapParams::default(), 1000);
        for i in 0..4 {
            for (j, rate) in graph.edges(i) {
                assert!(graph.edges(j as usize).any(|back| back == (i as u32, rate)), "edge {i}-{j}");
            }
            assert!(graph.edges(i).is_sorted_by_key(|(j, _)| j));
        }
        assert!(graph.edges(2).any(|(j, _)| j == 3), "an edge known at one end only stands at both");
    }

    #[test]
    fn the_intersection_keeps_what_both_ends_know() {
        let params = UmapParams { set_op_mix_ratio: 0.0, ..UmapParams::default() };
        let intersection = graph(&example(), &params, 1000);
        assert_eq!(intersection.edges(3).count(), 0, "nobody names point 3");
        assert_eq!(intersection.edges(0).count(), 2);
        let params = UmapParams { set_op_mix_ratio: 0.5, ..params };
        let mixed = graph(&example(), &params, 1000);
        assert_eq!(mixed.edges(3).map(|(j, _)| j).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn weights_are_combined_as_the_plain_definition_says() {
        let n = 3000;
        let stream = tlc_core::rng::Stream::new(5, "test");
        let squared = Array2::from_shape_fn((n, 6), |(i, j)| (j as f32 + 1.0) + stream.uniform(i as u64, 9) as f32);
        let step = |i: usize, j: usize| 1 + (stream.below(200, i as u64, 0) + 1) * (j + 1);
        let neighbours =
            Neighbours { indices: Array2::from_shape_fn((n, 6), |(i, j)| ((i + step(i, j)) % n) as u32), squared };
        let params = UmapParams { set_op_mix_ratio: 0.3, ..UmapParams::default() };
        let weights = directed_weights(&neighbours, &params);
        let mut dense = std::collections::BTreeMap::new();
        for (e, &j) in neighbours.indices.iter().enumerate() {
            dense.insert(((e / 6) as u32, j), weights[e]);
        }
        let weight = |i: u32, j: u32| dense.get(&(i, j)).copied().unwrap_or(0.0);
        let combined = |i: u32, j: u32| {
            let (a, b) = (weight(i, j), weight(j, i));
            0.3 * (a + b - a * b) + 0.7 * a * b
        };
        let largest = dense.keys().map(|&(i, j)| combined(i, j)).fold(0.0, f32::max);
        let graph = graph(&neighbours, &params, 50);
        let mut n_edges = 0_usize;
        for i in 0..n as u32 {
            for (j, rate) in graph.edges(i as usize) {
                assert!((rate - combined(i, j) / largest).abs() < 1e-6);
                assert!(rate >= 0.02);
                n_edges += 1;
            }
        }
        let expected = dense.keys().flat_map(|&(i, j)| [(i, j), (j, i)]).collect::<std::collections::BTreeSet<_>>();
        let expected = expected.iter().filter(|&&(i, j)| combined(i, j) / largest >= 0.02).count();
        assert!(n_edges.abs_diff(expected) <= 2, "{n_edges} edges instead of {expected}");
    }
}
