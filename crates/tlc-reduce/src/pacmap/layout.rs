//! Moves the layout's points along the gradient of PaCMAP's loss, all at once, by Adam.

use std::ops::Range;

use rayon::prelude::*;
use tlc_core::{Progress, ReduceError};

use super::PacmapParams;
use super::adjacency::Adjacency;
use super::forces::{Scratch, Slope, Slopes, gradient};
use super::labels::{Label, SMALL};
use super::pairs::Pairs;
use crate::adam::AdamStep;
use crate::fit_options::FitOptions;
use crate::simd::vectorised;

pub(super) const BETA1: f32 = 0.9;
pub(super) const BETA2: f32 = 0.999;
/// Points that are moved by one task.
const CHUNK: usize = 128;

/// Weights of the kinds of pairs in one iteration (table 1 of the paper).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Weights {
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

    fn slopes(self, near_times: f32) -> Slopes {
        Slopes {
            near: Slope::near(self.near),
            further: Slope::further(self.further),
            mid_near: Slope::mid_near(self.mid_near),
            near_times,
        }
    }
}

/// The points with their running means of the gradient and its square.
struct State<L, const D: usize> {
    n: usize,
    /// Padded to the least size of a table.
    points: Vec<[f32; D]>,
    next: Vec<[f32; D]>,
    first: Vec<[f32; D]>,
    second: Vec<[f32; D]>,
    labels: std::marker::PhantomData<L>,
}

/// The layout after all iterations, from `start`.
pub(super) fn optimise<const D: usize>(
    pairs: &Pairs,
    start: Vec<[f32; D]>,
    params: &PacmapParams,
    options: &mut FitOptions<'_>,
    progress: &Progress,
) -> Result<Vec<[f32; D]>, ReduceError> {
    if pairs.n <= SMALL {
        run::<u16, D>(pairs, start, params, options, progress)
    } else {
        run::<u32, D>(pairs, start, params, options, progress)
    }
}

fn run<L: Label, const D: usize>(
    pairs: &Pairs,
    start: Vec<[f32; D]>,
    params: &PacmapParams,
    options: &mut FitOptions<'_>,
    progress: &Progress,
) -> Result<Vec<[f32; D]>, ReduceError> {
    let n_iterations: usize = params.num_iters.iter().sum();
    let adjacency = Adjacency::<L>::new(&pairs.near, &pairs.mid_near, |i, list| pairs.further_of(i, list), pairs.n);
    let mut state = State::<L, D>::new(start);
    let task = progress.task("pacmap layout", n_iterations as u64);
    options.snapshot(0, state.layout());
    for iteration in 0..n_iterations {
        let step = AdamStep::new(params.lr, BETA1, BETA2, iteration);
        let weights = Weights::at(iteration, params.num_iters);
        state.advance::<false>(&adjacency, weights.slopes(1.0), weights.mid_near > 0.0, step);
        task.advance(1)?;
        options.snapshot(iteration + 1, state.layout());
    }
    Ok(state.into_layout())
}

impl<L: Label, const D: usize> State<L, D> {
    fn new(start: Vec<[f32; D]>) -> Self {
        let n = start.len();
        let mut points = start;
        points.resize(n.max(L::LEAST_POINTS), [0.0; D]);
        let zeros = vec![[0.0; D]; n];
        Self { n, next: points.clone(), points, first: zeros.clone(), second: zeros, labels: std::marker::PhantomData }
    }

    fn layout(&self) -> &[[f32; D]] {
        &self.points[..self.n]
    }

    fn into_layout(mut self) -> Vec<[f32; D]> {
        self.points.truncate(self.n);
        self.points
    }

    /// One iteration: every point is moved by the forces at the present places.
    fn advance<const LOCAL: bool>(
        &mut self,
        adjacency: &Adjacency<L>,
        slopes: Slopes,
        with_mid_near: bool,
        step: AdamStep,
    ) {
        let points = &self.points;
        let chunks = self.next[..self.n].par_chunks_mut(CHUNK);
        let moments = self.first.par_chunks_mut(CHUNK).zip(self.second.par_chunks_mut(CHUNK));
        chunks.zip(moments).enumerate().for_each_init(Scratch::default, |scratch, (chunk, (next, (first, second)))| {
            let range = chunk * CHUNK..chunk * CHUNK + next.len();
            let mut gradients = [[0.0; D]; CHUNK];
            vectorised(
                #[inline(always)]
                || {
                    gradients_of::<L, D, LOCAL>(
                        range.clone(),
                        points,
                        adjacency,
                        slopes,
                        with_mid_near,
                        scratch,
                        &mut gradients,
                    );
                    next.copy_from_slice(&points[range]);
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
        std::mem::swap(&mut self.points, &mut self.next);
    }
}

#[inline(always)]
fn gradients_of<L: Label, const D: usize, const LOCAL: bool>(
    range: Range<usize>,
    points: &[[f32; D]],
    adjacency: &Adjacency<L>,
    slopes: Slopes,
    with_mid_near: bool,
    scratch: &mut Scratch<D>,
    gradients: &mut [[f32; D]; CHUNK],
) {
    let table = L::table(points);
    for (i, target) in range.zip(gradients) {
        *target = gradient::<L, D, LOCAL>(points[i], table, adjacency.of(i, with_mid_near), slopes, scratch);
    }
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
