//! The fuzzy neighbourhood graph (section 3.1 of the paper).
//!
//! `rho[i]` is the distance of `i` to its nearest neighbour, `sigma[i]` is such that the memberships
//! of its neighbours sum to `log2(n_neighbors)`.

use rayon::prelude::*;

use crate::input::Metric;
use crate::knn::Neighbours;

const BISECTIONS: usize = 64;
const TOLERANCE: f32 = 1e-5;
const LEAST_SIGMA: f32 = 1e-3;

/// Undirected edges as sorted lists: each edge stands at both its ends.
pub(super) struct FuzzyGraph {
    /// Where each point's edges begin, `(n + 1,)`.
    pub(super) offsets: Vec<usize>,
    pub(super) targets: Vec<u32>,
    /// Membership over the largest membership, `0..=1`: how often the edge acts per epoch.
    pub(super) rates: Vec<f32>,
}

impl FuzzyGraph {
    /// Edges too weak to act once in `n_epochs` are left out.
    pub(super) fn new(neighbours: &Neighbours, metric: Metric, n_epochs: usize) -> Self {
        let (n, k) = neighbours.indices.dim();
        let directed: Vec<Vec<f32>> = (0..n)
            .into_par_iter()
            .map(|i| {
                let distances: Vec<f32> =
                    neighbours.squared.row(i).iter().map(|&squared| metric.distance_from_squared(squared)).collect();
                // The neighbourhood contains the point itself.
                memberships(&distances, distances.len() + 1)
            })
            .collect();
        // Forward and reverse entries of each point, then merged: a + b - a·b.
        let mut entries: Vec<Vec<(u32, f32)>> = vec![Vec::with_capacity(2 * k); n];
        for (i, weights) in directed.iter().enumerate() {
            for (&j, &weight) in neighbours.indices.row(i).iter().zip(weights) {
                entries[i].push((j, weight));
                entries[j as usize].push((i as u32, weight));
            }
        }
        entries.par_iter_mut().for_each(|list| {
            // By weight too, so that the union of the two is the same from both ends.
            list.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
            list.dedup_by(|second, first| {
                let same = second.0 == first.0;
                if same {
                    first.1 = first.1 + second.1 - first.1 * second.1;
                }
                same
            });
        });
        let largest = entries.iter().flatten().fold(0.0_f32, |largest, entry| largest.max(entry.1));
        let mut graph = Self { offsets: vec![0], targets: Vec::new(), rates: Vec::new() };
        for list in entries {
            for (target, weight) in list {
                let rate = weight / largest;
                if rate * n_epochs as f32 >= 1.0 {
                    graph.targets.push(target);
                    graph.rates.push(rate);
                }
            }
            graph.offsets.push(graph.targets.len());
        }
        graph
    }
}

/// How much each of a point's neighbours, nearest first and without itself, belongs to its neighbourhood of
/// `size` points.
pub(super) fn memberships(distances: &[f32], size: usize) -> Vec<f32> {
    let rho = distances.iter().copied().find(|&distance| distance > 0.0).unwrap_or(0.0);
    let sigma = smooth_sigma(distances, rho, size as f32);
    distances.iter().map(|&distance| if distance <= rho { 1.0 } else { (-(distance - rho) / sigma).exp() }).collect()
}

/// The `sigma` for which memberships sum to `log2` of the neighbourhood's size, by bisection.
fn smooth_sigma(distances: &[f32], rho: f32, size: f32) -> f32 {
    let target = size.log2();
    let sum =
        |sigma: f32| -> f32 { distances.iter().map(|&d| if d > rho { (-(d - rho) / sigma).exp() } else { 1.0 }).sum() };
    let (mut low, mut high, mut sigma) = (0.0_f32, f32::INFINITY, 1.0_f32);
    for _ in 0..BISECTIONS {
        let found = sum(sigma);
        if (found - target).abs() < TOLERANCE {
            break;
        }
        if found > target {
            high = sigma;
            sigma = f32::midpoint(low, high);
        } else {
            low = sigma;
            sigma = if high.is_infinite() { sigma * 2.0 } else { f32::midpoint(low, high) };
        }
    }
    let mean = distances.iter().sum::<f32>() / size;
    sigma.max(LEAST_SIGMA * mean).max(f32::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;

    #[test]
    fn memberships_sum_to_the_logarithm_of_the_size() {
        let distances: Vec<f32> = (1..15).map(|i| 0.3 + (i as f32).sqrt()).collect();
        let weights = memberships(&distances, 15);
        let sum: f32 = weights.iter().sum();
        assert!((sum - 15.0_f32.log2()).abs() < 1e-4, "{sum}");
        assert_eq!(weights[0], 1.0, "the nearest belongs entirely");
        assert!(weights.windows(2).all(|pair| pair[0] >= pair[1]));
    }

    #[test]
    fn duplicates_belong_entirely() {
        let weights = memberships(&[0.0, 0.0, 1.0, 2.0], 5);
        assert_eq!(weights[..3], [1.0, 1.0, 1.0]);
        assert!(memberships(&[0.0; 5], 6).iter().all(|&weight| weight == 1.0));
    }

    #[test]
    fn the_union_is_symmetric() {
        let neighbours = Neighbours {
            indices: arr2(&[[1, 2], [0, 2], [0, 1], [2, 1]]),
            squared: arr2(&[[1.0, 4.0], [1.0, 2.0], [4.0, 5.0], [9.0, 16.0]]),
        };
        let graph = FuzzyGraph::new(&neighbours, Metric::Euclidean, 1000);
        let edges = |i: usize| {
            let range = graph.offsets[i]..graph.offsets[i + 1];
            graph.targets[range.clone()].iter().copied().zip(graph.rates[range].iter().copied())
        };
        for i in 0..4 {
            for (j, rate) in edges(i) {
                assert!(edges(j as usize).any(|back| back == (i as u32, rate)), "edge {i}-{j}");
            }
        }
        assert!(edges(2).any(|(j, _)| j == 3), "an edge known at one end only stands at both");
    }
}
