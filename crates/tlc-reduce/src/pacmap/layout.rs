//! Moves the layout's points along the gradient of PaCMAP's loss, all at once, by Adam.
//!
//! The loss (section 4.1 of the paper), with `d = 1 + |y_i - y_j|²`:
//!
//! ```text
//! w_NB Σ near d / (10 + d)  +  w_MN Σ mid-near d / (10,000 + d)  +  w_FP Σ further 1 / (1 + d)
//! ```
//!
//! The weights follow the iterations in three phases: `w_MN` falls from 1,000 to 3, is 3, is 0; `w_NB` is 2, 3, 1;
//! `w_FP` is 1.

use std::ops::Range;

use rayon::prelude::*;

use super::adjacency::{Adjacency, Lists};
use super::fit::Method;
use super::forces::{Scratch, Slope, Slopes, gradient};
use super::labels::{Label, SMALL};
use super::pairs::Pairs;
use super::params::PacmapParams;
use crate::adam::AdamStep;
use crate::simd::vectorised;

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
/// Points that are moved by one task.
const CHUNK: usize = 128;
/// LocalMAP draws further partners anew after so many iterations.
const RESAMPLE_EVERY: usize = 10;

/// Weights of the kinds of pairs in one iteration (table 1 of the paper).
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

fn slopes_from(weights: Weights, low_dist_thres: Option<f32>) -> Slopes {
    Slopes {
        near: Slope::near(weights.near),
        further: Slope::further(weights.further),
        mid_near: Slope::mid_near(weights.mid_near),
        near_times: low_dist_thres.map_or(1.0, |threshold| threshold / 2.0),
    }
}

pub(super) fn n_iterations(params: &PacmapParams) -> usize {
    params.num_iters.iter().sum()
}

/// A layout on its way.
pub(super) struct Optimiser<const D: usize> {
    iteration: usize,
    lr: f32,
    phases: [usize; 3],
    low_dist_thres: Option<f32>,
    points: Points<D>,
    pairs: AnyPairs,
    /// LocalMAP's further pairs, and what they are drawn from.
    local: Option<(Pairs, Lists)>,
}

/// The points with their running means of the gradient and its square.
struct Points<const D: usize> {
    n: usize,
    /// Padded to the least size of a table.
    now: Vec<[f32; D]>,
    next: Vec<[f32; D]>,
    first: Vec<[f32; D]>,
    second: Vec<[f32; D]>,
}

enum AnyPairs {
    Few(Adjacency<u16>),
    Many(Adjacency<u32>),
}

impl AnyPairs {
    fn new(n: usize, near: &Lists, mid_near: &Lists, further: impl Fn(usize, &mut Vec<u32>) + Sync) -> Self {
        if n <= SMALL {
            Self::Few(Adjacency::new(near, mid_near, further, n))
        } else {
            Self::Many(Adjacency::new(near, mid_near, further, n))
        }
    }
}

impl<const D: usize> Optimiser<D> {
    pub(super) fn new(pairs: Pairs, start: Vec<[f32; D]>, method: Method<'_>) -> Self {
        let n = start.len();
        let adjacency = AnyPairs::new(n, &pairs.near, &pairs.mid_near, |i, list| pairs.further_of(i, list));
        let mut now = start;
        if n <= SMALL {
            now.resize(SMALL, [0.0; D]);
        }
        let zeros = vec![[0.0; D]; n];
        Self {
            iteration: 0,
            lr: method.params.lr,
            phases: method.params.num_iters,
            low_dist_thres: method.low_dist_thres,
            points: Points { n, next: now.clone(), now, first: zeros.clone(), second: zeros },
            pairs: adjacency,
            local: method.low_dist_thres.map(|_| {
                let further = pairs.further();
                (pairs, further)
            }),
        }
    }

    pub(super) fn points(&self) -> &[[f32; D]] {
        &self.points.now[..self.points.n]
    }

    /// One iteration: every point is moved by the forces at the present places.
    pub(super) fn step(&mut self) {
        let iteration = self.iteration;
        let last_phase = self.phases[0] + self.phases[1];
        let is_local = self.low_dist_thres.is_some() && iteration >= last_phase;
        if is_local && (iteration - last_phase).is_multiple_of(RESAMPLE_EVERY) {
            self.resample();
        }
        let weights = Weights::at(iteration, self.phases);
        let slopes = slopes_from(weights, self.low_dist_thres);
        let step = AdamStep::new(self.lr, BETA1, BETA2, iteration);
        match (&self.pairs, is_local) {
            (AnyPairs::Few(pairs), false) => self.points.advance::<u16, false>(pairs, slopes, weights, step),
            (AnyPairs::Few(pairs), true) => self.points.advance::<u16, true>(pairs, slopes, weights, step),
            (AnyPairs::Many(pairs), false) => self.points.advance::<u32, false>(pairs, slopes, weights, step),
            (AnyPairs::Many(pairs), true) => self.points.advance::<u32, true>(pairs, slopes, weights, step),
        }
        self.iteration += 1;
    }

    /// LocalMAP's further partners for the next iterations.
    fn resample(&mut self) {
        let (Some((pairs, further)), Some(threshold)) = (&mut self.local, self.low_dist_thres) else {
            return;
        };
        let points = &self.points.now[..self.points.n];
        pairs.resample_further(further, points, threshold * threshold, self.iteration as u64);
        let none = Lists { count: 0, items: Vec::new() };
        let further_of = |i: usize, list: &mut Vec<u32>| list.extend(further.of(i));
        self.pairs = AnyPairs::new(points.len(), &pairs.near, &none, further_of);
    }
}

impl<const D: usize> Points<D> {
    fn advance<L: Label, const LOCAL: bool>(
        &mut self,
        pairs: &Adjacency<L>,
        slopes: Slopes,
        weights: Weights,
        step: AdamStep,
    ) {
        let now = &self.now;
        let with_mid_near = weights.mid_near > 0.0;
        let chunks = self.next[..self.n].par_chunks_mut(CHUNK);
        let moments = self.first.par_chunks_mut(CHUNK).zip(self.second.par_chunks_mut(CHUNK));
        chunks.zip(moments).enumerate().for_each_init(Scratch::default, |scratch, (chunk, (next, (first, second)))| {
            let range = chunk * CHUNK..chunk * CHUNK + next.len();
            vectorised(
                #[inline(always)]
                || {
                    let gradients = gradients::<L, D, LOCAL>(range.clone(), now, pairs, slopes, with_mid_near, scratch);
                    next.copy_from_slice(&now[range]);
                    let gradients = gradients[..next.len()].as_flattened();
                    step.apply_all(
                        next.as_flattened_mut(),
                        first.as_flattened_mut(),
                        second.as_flattened_mut(),
                        gradients,
                    );
                },
            );
        });
        std::mem::swap(&mut self.now, &mut self.next);
    }
}

#[inline(always)]
fn gradients<L: Label, const D: usize, const LOCAL: bool>(
    range: Range<usize>,
    points: &[[f32; D]],
    pairs: &Adjacency<L>,
    slopes: Slopes,
    with_mid_near: bool,
    scratch: &mut Scratch<D>,
) -> [[f32; D]; CHUNK] {
    let table = L::table(points);
    let mut gradients = [[0.0; D]; CHUNK];
    for (i, target) in range.zip(&mut gradients) {
        *target = gradient::<L, D, LOCAL>(points[i], table, pairs.of(i, with_mid_near), slopes, scratch);
    }
    gradients
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
}
