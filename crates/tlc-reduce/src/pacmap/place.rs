//! Places new rows among fitted points that stay where they are.

use tlc_core::rng::Stream;

use super::forces::{Ends, LANES, Scratch, gradient};
use super::layout::{BETA1, BETA2, last_slopes};
use super::pairs::{PairCounts, nearest_by_scaled, scale_from_squared};
use super::params::PacmapParams;
use crate::adam::{AdamStep, Moments};
use crate::distance::squared_low;
use crate::neighbours::NewRow;
use crate::simd::vectorised;

/// Steps towards balance, and their size.
const ITERATIONS: usize = 50;
const RATE: f32 = 0.1;
/// How much of the way to balance a new row goes. The forces hardly change below a distance of about 3
/// (√10), and neighbours in the layout are far closer: of Fashion-MNIST's test rows in balance 10.5 % of the 10 nearest
/// in the layout are among the 15 nearest in fact, and 75.5 % of rows have their 10 nearest's label; at a
/// tenth of the way it is 17.4 % and 77.7 %. Other starts and numbers of steps end in the same balance.
const SHARE: f32 = 0.1;
const MAX_DRAWS: u64 = 100;

/// What new rows are placed by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placement<'a, const D: usize> {
    pub(super) points: &'a [[f32; D]],
    /// Scale of the distances around each fitted row.
    pub(super) scales: &'a [f32],
    pub(super) counts: PairCounts,
    pub(super) params: &'a PacmapParams,
    pub(super) low_dist_thres: Option<f32>,
}

impl<const D: usize> Placement<'_, D> {
    /// The place of a new row: beside its nearest fitted row, a part of the way to where it would be in
    /// balance.
    ///
    /// On that way it feels what a fitted point feels in the last phase: its near neighbours, and further
    /// points drawn by a number that depends on its values alone. The scale of a fitted neighbour is its
    /// mean distance to its first ten, which stands in for that of the 4th to 6th (no measurable difference).
    pub(super) fn place(&self, row: &NewRow<'_>) -> [f32; D] {
        let own_scale = scale_from_squared(row.squared);
        let n_near = self.counts.near.max(1).min(row.neighbours.len());
        let n_pairs = n_near + self.counts.further;
        let mut labels = vec![0_u32; n_pairs.next_multiple_of(LANES)];
        let (near, further) = labels.split_at_mut(n_near);
        nearest_by_scaled(row.neighbours, row.squared, own_scale, self.scales, near, &mut Vec::new());
        let start = self.points[row.neighbours[0] as usize];
        self.draw_further(row.key, &start, &mut further[..self.counts.further]);
        let ends = Ends { labels: &labels, near_end: n_near as u32, further_end: n_pairs as u32 };
        let slopes = last_slopes(self.low_dist_thres);
        let mut point = start;
        let mut moments = Moments::default();
        let mut scratch = Scratch::default();
        vectorised(
            #[inline(always)]
            || {
                for iteration in 0..ITERATIONS {
                    let gradient = if self.low_dist_thres.is_some() {
                        gradient::<u32, D, true>(point, self.points, ends, slopes, &mut scratch)
                    } else {
                        gradient::<u32, D, false>(point, self.points, ends, slopes, &mut scratch)
                    };
                    let step = AdamStep::new(RATE * self.params.lr, BETA1, BETA2, iteration);
                    step.apply(&mut point, &mut moments, &gradient);
                }
            },
        );
        std::array::from_fn(|d| SHARE.mul_add(point[d] - start[d], start[d]))
    }

    /// Any fitted points; in LocalMAP those near the start if they come up in 100 draws.
    fn draw_further(&self, key: u64, start: &[f32; D], labels: &mut [u32]) {
        let draws = Stream::new(self.params.seed, "pacmap-place");
        let n = self.points.len();
        for (slot, label) in labels.iter_mut().enumerate() {
            let mut attempts = (0..MAX_DRAWS).map(|k| draws.below(n, key, slot as u64 * MAX_DRAWS + k) as u32);
            let first = attempts.next().unwrap_or(0);
            *label = match self.low_dist_thres {
                None => first,
                Some(most) => {
                    let is_in = |&j: &u32| squared_low(start, &self.points[j as usize]) <= most * most;
                    std::iter::once(first).chain(attempts).find(is_in).unwrap_or(first)
                }
            };
        }
    }
}
