//! The place of a new row among fitted points that stay where they are.
//!
//! A row's place depends on the model and the row alone: it starts at the mean of its neighbours, weighted
//! by their memberships, and then follows the forces of the fit, all neighbours and sixteen random points
//! per epoch, the random points keyed by the row's values. The lanes are those of
//! [`optimise`](super::optimise), here of one row: 5 µs of one processor for 30 epochs, 10 for 60.
//!
//! Pushes are those of umap-learn, not twice as strong as in the fit, where they have to widen the layout:
//! here it is as wide as it will be. Tried, each the median of 2 or 3 seeds, 1 for the largest
//! (trustworthiness and share of kept neighbours at 15, accuracy of the nearest ten, of new rows):
//!
//! | | digits | nested spheres | embeddings, 10,000 | Fashion-MNIST, 60,000 |
//! |---|---|---|---|---|
//! | push 2, 60 epochs | .9839 .513 .983 | .657 .026 .712 | .9891 .326 .855 | .9788 .138 .781 |
//! | push 1, 30 epochs | .9831 .527 .976 | .788 .032 .799 | .9893 .335 .855 | .9797 .147 .786 |
//! | push 1, 40 epochs | .9847 .531 .980 | .794 .035 .794 | .9895 .339 .856 | .9800 .148 .786 |
//! | **push 1, 60 epochs** | .9873 .536 .985 | .798 .036 .786 | .9895 .339 .857 | .9798 .148 .787 |
//! | push ½, 60 epochs | .9876 .543 .985 | .822 .031 .769 | .9895 .340 .857 | |
//! | push 1, 60 epochs, local connectivity less 1, as in umap-learn | .9874 .537 .976 | .805 .032 .793 | .9896 .332 .857 | |
//! | umap-learn 0.5.12 | .9856 .525 .980 | .698 .025 .726 | .9876 .308 .853 | .9754 .129 .770 |
//!
//! Adam in place of plain steps made no difference.

use tlc_core::rng::Stream;

use super::UmapParams;
use super::kernels::{Forces, clipped};
use super::memberships::Memberships;
use super::negative::Draws;
use crate::neighbours::NewRow;
use crate::simd::vectorised;

/// Passes to place a new row; umap-learn uses 30 for large and 100 for small batches.
const EPOCHS: usize = 60;
/// A new row starts near its place: smaller steps than in a fit, as in umap-learn.
const RATE: f32 = 0.25;
const LANES: usize = 16;

/// Points or forces, one per lane.
type Lanes<const D: usize> = [[f32; LANES]; D];

/// Places rows, each by itself.
#[derive(Debug)]
pub(super) struct Placing<'a, const D: usize> {
    layout: &'a [[f32; D]],
    forces: Forces,
    params: &'a UmapParams,
    samples: Stream,
}

impl<'a, const D: usize> Placing<'a, D> {
    pub(super) fn new(layout: &'a [[f32; D]], forces: Forces, params: &'a UmapParams) -> Self {
        Self { layout, forces, params, samples: Stream::new(params.seed, "umap-place") }
    }

    pub(super) fn place(&self, row: &NewRow<'_>) -> [f32; D] {
        vectorised(
            #[inline(always)]
            || self.place_in_lanes(row),
        )
    }

    #[inline(always)]
    fn place_in_lanes(&self, row: &NewRow<'_>) -> [f32; D] {
        let (params, k) = (self.params, row.neighbours.len());
        let distances: Vec<f32> = row.squared.iter().map(|&s| params.metric.distance_from_squared(s)).collect();
        let mut weights = vec![[0.0_f32; LANES]; k.div_ceil(LANES)];
        Memberships::new(params.local_connectivity, None).write(&distances, k, weights.as_flattened_mut());
        let total: f32 = weights.as_flattened().iter().sum();
        let mut near: Vec<Lanes<D>> = vec![[[0.0; LANES]; D]; weights.len()];
        let mut point = [0.0; D];
        for (at, &neighbour) in row.neighbours.iter().enumerate() {
            let (chunk, lane) = (at / LANES, at % LANES);
            for d in 0..D {
                near[chunk][d][lane] = self.layout[neighbour as usize][d];
                point[d] += weights[chunk][lane] / total * near[chunk][d][lane];
            }
        }
        let samples = self.samples.substream(row.key);
        let push_weight = total * params.negative_sample_rate as f32 / LANES as f32;
        for epoch in 0..EPOCHS {
            let mut force = [0.0; D];
            for (near, weights) in near.iter().zip(&weights) {
                let pull = forces_in_lanes(&point, near, |squared| self.forces.attraction(squared));
                for d in 0..D {
                    force[d] += sum(std::array::from_fn(|lane| weights[lane] * pull[d][lane]));
                }
            }
            let push = self.push(&point, Draws::new(samples.bits(epoch as u64, 0)));
            let rate = RATE * params.learning_rate * (1.0 - epoch as f32 / EPOCHS as f32);
            for d in 0..D {
                point[d] += rate * (force[d] + push_weight * push[d]);
            }
        }
        point
    }

    /// The push of random points, one per lane.
    #[inline(always)]
    fn push(&self, point: &[f32; D], draws: Draws) -> [f32; D] {
        let n = self.layout.len() as u32;
        let mut others = [0_u32; LANES];
        for (lane, other) in others.iter_mut().enumerate() {
            *other = draws.below(n, lane as u32);
        }
        let mut there = [[0.0; LANES]; D];
        for (lane, &other) in others.iter().enumerate() {
            let other = self.layout[other as usize];
            for d in 0..D {
                there[d][lane] = other[d];
            }
        }
        forces_in_lanes(point, &there, |squared| self.forces.repulsion(squared)).map(sum)
    }
}

#[inline(always)]
fn forces_in_lanes<const D: usize>(point: &[f32; D], there: &Lanes<D>, factor: impl Fn(f32) -> f32) -> Lanes<D> {
    let mut forces = [[0.0; LANES]; D];
    for lane in 0..LANES {
        let mut squared = 0.0;
        for d in 0..D {
            squared += (there[d][lane] - point[d]) * (there[d][lane] - point[d]);
        }
        let factor = factor(squared);
        for d in 0..D {
            forces[d][lane] = clipped(factor * (there[d][lane] - point[d]));
        }
    }
    forces
}

#[inline(always)]
fn sum(lanes: [f32; LANES]) -> f32 {
    let mut halves = lanes;
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            halves[lane] += halves[lane + width];
        }
    }
    halves[0]
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, arr1};

    use super::*;
    use crate::umap::curve::Curve;

    const FORCES: Forces = Forces { curve: Curve { a: 1.577, b: 0.895 }, repulsion_strength: 1.0 };

    fn layout() -> Vec<[f32; 2]> {
        let noise = Stream::new(3, "test");
        (0..400_u64).map(|i| std::array::from_fn(|d| 20.0 * noise.uniform(i, d as u64) as f32)).collect()
    }

    fn place(neighbours: &[u32], squared: &[f32], key: u64) -> [f32; 2] {
        let (layout, params) = (layout(), UmapParams::default());
        let placing = Placing::new(&layout, FORCES, &params);
        let (neighbours, squared) = (arr1(neighbours), arr1(squared));
        placing.place(&NewRow { neighbours: neighbours.view(), squared: squared.view(), key })
    }

    fn nearest_to(target: [f32; 2], k: usize) -> Vec<u32> {
        let layout = layout();
        let squared = |i: &u32| crate::distance::squared_low(&layout[*i as usize], &target);
        let mut order: Vec<u32> = (0..400).collect();
        order.sort_by(|a, b| squared(a).total_cmp(&squared(b)));
        order.truncate(k);
        order
    }

    #[test]
    fn a_row_lands_among_its_neighbours() {
        for k in [1, 2, 15, 16, 17, 40] {
            let neighbours = nearest_to([6.0, 14.0], k);
            let squared: Array1<f32> = (0..k).map(|i| 1.0 + i as f32).collect();
            let point = place(&neighbours, squared.as_slice().expect("contiguous"), 5);
            let distance = (point[0] - 6.0).hypot(point[1] - 14.0);
            assert!(distance < 4.0, "{k} neighbours: {point:?}");
        }
    }

    #[test]
    fn a_place_follows_from_the_key() {
        let neighbours = nearest_to([6.0, 14.0], 15);
        assert_eq!(place(&neighbours, &[1.0; 15], 5), place(&neighbours, &[1.0; 15], 5));
        assert_ne!(place(&neighbours, &[1.0; 15], 5), place(&neighbours, &[1.0; 15], 6));
        assert!(place(&neighbours, &[0.0; 15], 5).iter().all(|x| x.is_finite()), "duplicates of duplicates");
    }
}
