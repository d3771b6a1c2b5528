//! Places new rows among fitted points that stay where they are.

use tlc_core::rng::Stream;

use super::PacmapParams;
use super::forces::{Ends, LANES, Scratch, Slope, Slopes, gradient};
use super::layout::{BETA1, BETA2};
use super::pairs::{PairCounts, nearest_by_scaled, scale_from_squared};
use crate::adam::{AdamStep, Moments};
use crate::neighbours::NewRow;
use crate::simd::vectorised;

/// Steps to place a new row, and their size: it starts among its neighbours.
const ITERATIONS: usize = 100;
const RATE: f32 = 0.1;

/// The place of a new row.
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
    let n_near = counts.near.max(1).min(row.neighbours.len());
    let mut labels = vec![0_u32; (n_near + counts.further).next_multiple_of(LANES)];
    nearest_by_scaled(row.neighbours, row.squared, own_scale, local_scale, &mut labels[..n_near], &mut Vec::new());
    let draws = Stream::new(params.seed, "pacmap-place");
    for (draw, label) in labels[n_near..][..counts.further].iter_mut().enumerate() {
        *label = draws.below(layout.len(), row.key, draw as u64) as u32;
    }
    let ends = Ends { labels: &labels, near_end: n_near as u32, further_end: (n_near + counts.further) as u32 };
    let slopes = Slopes {
        near: Slope::near(1.0),
        further: Slope::further(1.0),
        mid_near: Slope::mid_near(0.0),
        near_times: 1.0,
    };
    let mut point = start_among(&labels[..n_near], row, layout);
    let mut moments = Moments::default();
    let mut scratch = Scratch::default();
    vectorised(
        #[inline(always)]
        || {
            for iteration in 0..ITERATIONS {
                let gradient = gradient::<u32, D, false>(point, layout, ends, slopes, &mut scratch);
                AdamStep::new(RATE * params.lr, BETA1, BETA2, iteration).apply(&mut point, &mut moments, &gradient);
            }
        },
    );
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
