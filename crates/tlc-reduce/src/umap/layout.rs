//! Moves the layout's points until near ones are near and others are not.
//!
//! Each epoch computes the forces on every point from the positions before the epoch, in parallel,
//! and then moves all of them. An edge acts in the epochs where `floor(epoch · rate)` steps up, and
//! brings its repelling samples along, as in umap-learn's schedule.

use rayon::prelude::*;
use tlc_core::rng::Stream;
use tlc_core::{Progress, ReduceError};

use super::UmapParams;
use super::curve::Curve;
use super::graph::{FuzzyGraph, memberships};
use crate::adam::{AdamStep, Moments};
use crate::distance::squared_low;
use crate::neighbours::NewRow;

/// Limit of a force's components, as in umap-learn.
const CLIP: f32 = 4.0;
/// Adam's decay rates for this use, as in uwot's batch mode.
const BETA1: f32 = 0.5;
const BETA2: f32 = 0.9;
/// Passes to place a new row; umap-learn uses 30 for large and 100 for small batches.
const PLACE_EPOCHS: usize = 30;
/// A new row starts near its place: smaller steps than in a fit, as in umap-learn.
const PLACE_RATE: f32 = 0.25;
const CHUNK: usize = 512;

/// What acts between two points.
#[derive(Debug, Clone, Copy)]
pub(super) struct Forces {
    pub(super) curve: Curve,
    pub(super) repulsion_strength: f32,
}

impl Forces {
    /// Adds to `force` what pulls `here` towards `there`, `times` over.
    #[inline]
    fn attract<const D: usize>(self, here: &[f32; D], there: &[f32; D], times: f32, force: &mut [f32; D]) {
        let squared = squared_low(here, there);
        if squared > 0.0 {
            let Curve { a, b } = self.curve;
            let power = squared.powf(b);
            let coefficient = -2.0 * a * b * power / (squared * (1.0 + a * power));
            for d in 0..D {
                force[d] += times * (coefficient * (here[d] - there[d])).clamp(-CLIP, CLIP);
            }
        }
    }

    /// Adds to `force` what pushes `here` away from `there`.
    #[inline]
    fn repel<const D: usize>(self, here: &[f32; D], there: &[f32; D], force: &mut [f32; D]) {
        let squared = squared_low(here, there);
        if squared > 0.0 {
            let Curve { a, b } = self.curve;
            let coefficient = 2.0 * self.repulsion_strength * b / ((0.001 + squared) * (1.0 + a * squared.powf(b)));
            for d in 0..D {
                force[d] += (coefficient * (here[d] - there[d])).clamp(-CLIP, CLIP);
            }
        }
    }
}

/// Whether an edge acts in `epoch`.
#[inline]
fn acts(rate: f32, epoch: usize) -> bool {
    let rate = f64::from(rate);
    ((epoch + 1) as f64 * rate).floor() > (epoch as f64 * rate).floor()
}

pub(super) fn optimise<const D: usize>(
    graph: &FuzzyGraph,
    start: Vec<[f32; D]>,
    forces: Forces,
    n_epochs: usize,
    params: &UmapParams,
    progress: &Progress,
) -> Result<Vec<[f32; D]>, ReduceError> {
    let n = start.len();
    let samples = Stream::new(params.seed, "umap-negative-samples");
    let mut points = start;
    let mut next = points.clone();
    let mut moments = vec![Moments::<D>::default(); n];
    let task = progress.task("umap layout", n_epochs as u64);
    for epoch in 0..n_epochs {
        let rate = params.learning_rate * (1.0 - epoch as f32 / n_epochs as f32);
        let step = AdamStep::new(rate, BETA1, BETA2, epoch);
        let samples = samples.substream(epoch as u64);
        next.par_chunks_mut(CHUNK).zip(moments.par_chunks_mut(CHUNK)).enumerate().for_each(
            |(chunk, (next, moments))| {
                for (offset, (target, moments)) in next.iter_mut().zip(moments).enumerate() {
                    let i = chunk * CHUNK + offset;
                    let here = points[i];
                    let mut force = [0.0; D];
                    for e in graph.offsets[i]..graph.offsets[i + 1] {
                        if !acts(graph.rates[e], epoch) {
                            continue;
                        }
                        // Twice: the edge pulls this end as its own and as the other's neighbour.
                        forces.attract(&here, &points[graph.targets[e] as usize], 2.0, &mut force);
                        for draw in 0..params.negative_sample_rate {
                            let other = samples.below(n, e as u64, draw as u64);
                            forces.repel(&here, &points[other], &mut force);
                        }
                    }
                    *target = here;
                    step.apply(target, moments, &force.map(|f| -f));
                }
            },
        );
        std::mem::swap(&mut points, &mut next);
        task.advance(1)?;
    }
    Ok(points)
}

/// The place of a new row among fitted points that stay where they are.
pub(super) fn place<const D: usize>(
    row: &NewRow<'_>,
    layout: &[[f32; D]],
    forces: Forces,
    params: &UmapParams,
) -> [f32; D] {
    let distances: Vec<f32> = row.squared.iter().map(|&s| params.metric.distance_from_squared(s)).collect();
    let weights = memberships(&distances, distances.len());
    let total: f32 = weights.iter().sum();
    let mut point = [0.0; D];
    for (&neighbour, weight) in row.neighbours.iter().zip(&weights) {
        for d in 0..D {
            point[d] += weight / total * layout[neighbour as usize][d];
        }
    }
    let samples = Stream::new(params.seed, "umap-place").substream(row.key);
    for epoch in 0..PLACE_EPOCHS {
        let rate = PLACE_RATE * params.learning_rate * (1.0 - epoch as f32 / PLACE_EPOCHS as f32);
        for (e, (&neighbour, &weight)) in row.neighbours.iter().zip(&weights).enumerate() {
            if !acts(weight, epoch) {
                continue;
            }
            let mut force = [0.0; D];
            forces.attract(&point, &layout[neighbour as usize], 1.0, &mut force);
            for draw in 0..params.negative_sample_rate {
                let item = (epoch * row.neighbours.len() + e) as u64;
                forces.repel(&point, &layout[samples.below(layout.len(), item, draw as u64)], &mut force);
            }
            for d in 0..D {
                point[d] += rate * force[d];
            }
        }
    }
    point
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_acts_as_often_as_its_rate_says() {
        for rate in [1.0, 0.5, 0.301, 0.004] {
            let count = (0..1000).filter(|&epoch| acts(rate, epoch)).count();
            assert_eq!(count, (f64::from(rate) * 1000.0) as usize);
        }
    }

    #[test]
    fn forces_are_the_gradient_of_the_cross_entropy() {
        let forces = Forces { curve: Curve { a: 1.577, b: 0.895 }, repulsion_strength: 1.0 };
        let (here, there) = ([0.7_f32, -0.4], [0.1_f32, 0.3]);
        let similarity = |x: f64| {
            let squared = (x - f64::from(there[0])).powi(2) + f64::from(here[1] - there[1]).powi(2);
            1.0 / (1.0 + 1.577 * squared.powf(0.895))
        };
        let slope = |f: &dyn Fn(f64) -> f64| (f(f64::from(here[0]) + 1e-5) - f(f64::from(here[0]) - 1e-5)) / 2e-5;
        let mut attraction = [0.0; 2];
        forces.attract(&here, &there, 1.0, &mut attraction);
        let expected = slope(&|x| similarity(x).ln());
        assert!((f64::from(attraction[0]) - expected).abs() < 1e-4, "{attraction:?} {expected}");
        let mut repulsion = [0.0; 2];
        forces.repel(&here, &there, &mut repulsion);
        let expected = slope(&|x| (1.0 - similarity(x)).ln());
        // The 0.001 that keeps repulsion finite makes it slightly weaker.
        assert!((f64::from(repulsion[0]) - expected).abs() < 5e-3, "{repulsion:?} {expected}");
    }
}
