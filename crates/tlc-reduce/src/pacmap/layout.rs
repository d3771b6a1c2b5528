//! Moves the layout's points along the gradient of PaCMAP's loss (section 4.1 of the paper).
//!
//! With `d = 1 + |y_i - y_j|²` the loss of a pair is `d / (10 + d)` if near, `d / (10,000 + d)` if
//! mid-near and `1 / (1 + d)` if further; the three phases weigh them differently.

use rayon::prelude::*;
use tlc_core::rng::Stream;
use tlc_core::{Progress, ReduceError};

use super::PacmapParams;
use super::pairs::{PairCounts, Pairs, nearest_by_scaled, scale_from_squared};
use crate::adam::{AdamStep, Moments};
use crate::distance::squared_low;
use crate::neighbours::NewRow;

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const CHUNK: usize = 512;
/// Steps to place a new row, and their size: it starts among its neighbours.
const PLACE_ITERATIONS: usize = 100;
const PLACE_RATE: f32 = 0.1;

/// Weights of the kinds of pairs in one iteration.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Weights {
    near: f32,
    mid_near: f32,
    further: f32,
}

impl Weights {
    fn at(iteration: usize, [first, second, _]: [usize; 3]) -> Self {
        if iteration < first {
            let done = iteration as f32 / first as f32;
            Self { near: 2.0, mid_near: 1000.0 * (1.0 - done) + 3.0 * done, further: 1.0 }
        } else if iteration < first + second {
            Self { near: 3.0, mid_near: 3.0, further: 1.0 }
        } else {
            Self { near: 1.0, mid_near: 0.0, further: 1.0 }
        }
    }
}

/// The derivative of the loss of a near pair by the squared distance in the layout, times two.
#[inline]
fn near_slope(squared: f32) -> f32 {
    20.0 / (11.0 + squared).powi(2)
}

#[inline]
fn mid_near_slope(squared: f32) -> f32 {
    20_000.0 / (10_001.0 + squared).powi(2)
}

#[inline]
fn further_slope(squared: f32) -> f32 {
    -2.0 / (2.0 + squared).powi(2)
}

/// Adds the pairs' part of the gradient at `here`.
#[inline]
fn add_gradient<const D: usize>(
    gradient: &mut [f32; D],
    here: &[f32; D],
    points: &[[f32; D]],
    others: &[u32],
    weight: f32,
    slope: impl Fn(f32) -> f32,
) {
    for &other in others {
        let there = &points[other as usize];
        let factor = weight * slope(squared_low(here, there));
        for d in 0..D {
            gradient[d] += factor * (here[d] - there[d]);
        }
    }
}

pub(super) fn optimise<const D: usize>(
    pairs: &Pairs,
    start: Vec<[f32; D]>,
    params: &PacmapParams,
    progress: &Progress,
) -> Result<Vec<[f32; D]>, ReduceError> {
    let n_iterations: usize = params.num_iters.iter().sum();
    let mut points = start;
    let mut next = points.clone();
    let mut moments = vec![Moments::<D>::default(); points.len()];
    let task = progress.task("pacmap layout", n_iterations as u64);
    for iteration in 0..n_iterations {
        let weights = Weights::at(iteration, params.num_iters);
        let step = AdamStep::new(params.lr, BETA1, BETA2, iteration);
        next.par_chunks_mut(CHUNK).zip(moments.par_chunks_mut(CHUNK)).enumerate().for_each(
            |(chunk, (next, moments))| {
                for (offset, (target, moments)) in next.iter_mut().zip(moments).enumerate() {
                    let i = chunk * CHUNK + offset;
                    *target = points[i];
                    step.apply(target, moments, &gradient_at(i, &points, pairs, weights));
                }
            },
        );
        std::mem::swap(&mut points, &mut next);
        task.advance(1)?;
    }
    Ok(points)
}

fn gradient_at<const D: usize>(i: usize, points: &[[f32; D]], pairs: &Pairs, weights: Weights) -> [f32; D] {
    let mut gradient = [0.0; D];
    add_gradient(&mut gradient, &points[i], points, pairs.near.of(i), weights.near, near_slope);
    if weights.mid_near > 0.0 {
        add_gradient(&mut gradient, &points[i], points, pairs.mid_near.of(i), weights.mid_near, mid_near_slope);
    }
    add_gradient(&mut gradient, &points[i], points, pairs.further.of(i), weights.further, further_slope);
    gradient
}

/// The place of a new row among fitted points that stay where they are.
///
/// It feels what a fitted point feels in the last phase: its near neighbours, and further points drawn
/// by a number that depends on its values alone. The scale of a fitted neighbour is its mean distance
/// to its first ten, which stands in for that of the 4th to 6th.
pub(super) fn place<const D: usize>(
    row: &NewRow<'_>,
    layout: &[[f32; D]],
    local_scale: &[f32],
    counts: PairCounts,
    params: &PacmapParams,
) -> [f32; D] {
    let own_scale = scale_from_squared(row.squared);
    let near = nearest_by_scaled(row.neighbours, row.squared, own_scale, |j| local_scale[j], counts.near.max(1));
    let draws = Stream::new(params.seed, "pacmap-place");
    let further: Vec<u32> =
        (0..counts.further).map(|draw| draws.below(layout.len(), row.key, draw as u64) as u32).collect();
    let mut point = start_among(&near, row, layout);
    let mut moments = Moments::default();
    for iteration in 0..PLACE_ITERATIONS {
        let mut gradient = [0.0; D];
        add_gradient(&mut gradient, &point, layout, &near, 1.0, near_slope);
        add_gradient(&mut gradient, &point, layout, &further, 1.0, further_slope);
        AdamStep::new(PLACE_RATE * params.lr, BETA1, BETA2, iteration).apply(&mut point, &mut moments, &gradient);
    }
    point
}

/// The mean of the neighbours' places, each weighted by one over its distance.
fn start_among<const D: usize>(near: &[u32], row: &NewRow<'_>, layout: &[[f32; D]]) -> [f32; D] {
    let mut point = [0.0; D];
    let mut total = 0.0;
    for (&j, &squared) in row.neighbours.iter().zip(row.squared) {
        if near.contains(&j) {
            // Not zero: a row at distance zero is a fitted row and is not placed.
            let weight = 1.0 / squared.sqrt().max(f32::MIN_POSITIVE);
            total += weight;
            for d in 0..D {
                point[d] += weight * layout[j as usize][d];
            }
        }
    }
    point.map(|x| x / total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_follow_the_three_phases() {
        let at = |iteration| Weights::at(iteration, [100, 100, 250]);
        assert_eq!(at(0), Weights { near: 2.0, mid_near: 1000.0, further: 1.0 });
        assert_eq!(at(50), Weights { near: 2.0, mid_near: 501.5, further: 1.0 });
        assert_eq!(at(100), Weights { near: 3.0, mid_near: 3.0, further: 1.0 });
        assert_eq!(at(200), Weights { near: 1.0, mid_near: 0.0, further: 1.0 });
    }

    #[test]
    fn slopes_are_the_derivatives_of_the_losses() {
        type LossAndSlope = (fn(f64) -> f64, fn(f32) -> f32);
        let losses: [LossAndSlope; 3] = [
            (|s| (1.0 + s) / (11.0 + s), near_slope),
            (|s| (1.0 + s) / (10_001.0 + s), mid_near_slope),
            (|s| 1.0 / (2.0 + s), further_slope),
        ];
        for (loss, slope) in losses {
            for squared in [0.1, 1.0, 30.0] {
                let numeric = 2.0 * (loss(squared + 1e-4) - loss(squared - 1e-4)) / 2e-4;
                let ours = f64::from(slope(squared as f32));
                assert!((ours - numeric).abs() <= 1e-3 * numeric.abs(), "{ours} {numeric}");
            }
        }
    }
}
