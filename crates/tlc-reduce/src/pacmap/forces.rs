//! The gradient of PaCMAP's loss at one point (section 4.1 of the paper), sixteen pairs at a time.
//!
//! With `s = |y_i - y_j|²` and `d = 1 + s` the loss of a pair is `d / (10 + d)` if near, `d / (10,000 + d)`
//! if mid-near and `1 / (1 + d)` if further. All three derivatives have the form `factor / (offset + s)²`,
//! so that pairs of all kinds go through the same arithmetic, with one division each.
//!
//! The work is cut so that the compiler finds vectors: coordinates are copied together, then everything
//! is arithmetic over whole arrays, then sums are taken in lanes. (In one loop it is compiled to scalars.
//! Gather instructions are slower than the copy.) About 1 ns per pair in 2-D.

use super::labels::Label;

/// Lanes of the running sums: one AVX-512 register.
pub(super) const LANES: usize = 16;
/// Pairs of a point that are evaluated in one go; a typical point has fewer.
const BLOCK: usize = 256;

/// The derivative of the loss of a kind of pair by the squared distance `s`, times two and weighted:
/// `factor / (offset + s)²`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Slope {
    factor: f32,
    offset: f32,
}

impl Slope {
    pub(super) fn near(weight: f32) -> Self {
        Self { factor: 20.0 * weight, offset: 11.0 }
    }

    pub(super) fn mid_near(weight: f32) -> Self {
        Self { factor: 20_000.0 * weight, offset: 10_001.0 }
    }

    pub(super) fn further(weight: f32) -> Self {
        Self { factor: -2.0 * weight, offset: 2.0 }
    }
}

/// The slopes of the three kinds in one iteration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Slopes {
    pub(super) near: Slope,
    pub(super) further: Slope,
    pub(super) mid_near: Slope,
    /// LocalMAP (Wang et al. 2024, section 4): the slope of a near pair is also multiplied by this over
    /// `√d`.
    pub(super) near_times: f32,
}

/// The other ends of a point's pairs: first near, then further, then mid-near ones, then padding with
/// the point itself, which adds nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends<'a, L> {
    pub(super) labels: &'a [L],
    pub(super) near_end: u32,
    pub(super) further_end: u32,
}

/// Room for the pairs of one point.
pub(super) struct Scratch<const D: usize> {
    /// Where the other ends are.
    there: [[f32; D]; BLOCK],
    /// The way from there, one array per coordinate.
    way: [[f32; BLOCK]; D],
    pull: [f32; BLOCK],
}

impl<const D: usize> Default for Scratch<D> {
    fn default() -> Self {
        Self { there: [[0.0; D]; BLOCK], way: [[0.0; BLOCK]; D], pull: [0.0; BLOCK] }
    }
}

/// The gradient at `here`. `LOCAL`: with LocalMAP's factor.
///
/// `ends.labels` must be whole [`LANES`]; what is beyond is left out.
#[inline(always)]
pub(super) fn gradient<L: Label, const D: usize, const LOCAL: bool>(
    here: [f32; D],
    table: L::Table<'_, D>,
    ends: Ends<'_, L>,
    slopes: Slopes,
    scratch: &mut Scratch<D>,
) -> [f32; D] {
    let Scratch { there, way, pull } = scratch;
    let mut sums = [[0.0_f32; LANES]; D];
    let mut first = 0;
    for labels in ends.labels.chunks(BLOCK) {
        for (there, &label) in there.iter_mut().zip(labels) {
            *there = L::at(table, label);
        }
        let len = labels.len().min(BLOCK);
        let kinds = (ends.near_end.saturating_sub(first), ends.further_end.saturating_sub(first));
        evaluate::<D, LOCAL>(here, there, way, pull, len, kinds, slopes);
        for d in 0..D {
            let mut sum = sums[d];
            for (way, pull) in way[d][..len].as_chunks::<LANES>().0.iter().zip(pull[..len].as_chunks::<LANES>().0) {
                for lane in 0..LANES {
                    sum[lane] = pull[lane].mul_add(way[lane], sum[lane]);
                }
            }
            sums[d] = sum;
        }
        first += BLOCK as u32;
    }
    // Out of the compiler's sight, or it takes the lanes of the loop apart for this.
    let sums = std::hint::black_box(sums);
    let mut total = [0.0; D];
    for d in 0..D {
        total[d] = sum_of_lanes(sums[d]);
    }
    total
}

#[inline(always)]
fn evaluate<const D: usize, const LOCAL: bool>(
    here: [f32; D],
    there: &[[f32; D]; BLOCK],
    way: &mut [[f32; BLOCK]; D],
    pull: &mut [f32; BLOCK],
    len: usize,
    (near_end, further_end): (u32, u32),
    slopes: Slopes,
) {
    // By value: a choice between values is a blend, one between places becomes a gather.
    let Slopes { near, further, mid_near, near_times } = slopes;
    for k in 0..len {
        let mut squared = 0.0_f32;
        for d in 0..D {
            let step = here[d] - there[k][d];
            way[d][k] = step;
            squared = step.mul_add(step, squared);
        }
        let (is_near, is_further) = ((k as u32) < near_end, (k as u32) < further_end);
        let factor = if is_further { further.factor } else { mid_near.factor };
        let mut factor = if is_near { near.factor } else { factor };
        if LOCAL {
            let root = (1.0 + squared).sqrt();
            factor *= if is_near { near_times / root } else { 1.0 };
        }
        let offset = if is_further { further.offset } else { mid_near.offset };
        let offset = if is_near { near.offset } else { offset };
        let sum = offset + squared;
        pull[k] = factor / (sum * sum);
    }
}

/// Adds halves until one is left: a fixed order of few steps.
#[inline(always)]
fn sum_of_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use tlc_core::rng::Stream;

    use super::*;
    use crate::simd::vectorised;

    const TIMES: f32 = 5.0;

    fn slopes(near: f32, further: f32, mid_near: f32) -> Slopes {
        Slopes {
            near: Slope::near(near),
            further: Slope::further(further),
            mid_near: Slope::mid_near(mid_near),
            near_times: TIMES,
        }
    }

    fn gradient_at<const D: usize, const LOCAL: bool>(
        points: &[[f32; D]],
        labels: &[u32],
        ends: (u32, u32),
        slopes: Slopes,
    ) -> [f32; D] {
        let ends = Ends { labels, near_end: ends.0, further_end: ends.1 };
        vectorised(
            #[inline(always)]
            || gradient::<u32, D, LOCAL>(points[0], points, ends, slopes, &mut Scratch::default()),
        )
    }

    #[test]
    fn slopes_are_the_derivatives_of_the_losses() {
        type LossAndEnds = (fn(f64) -> f64, (u32, u32));
        let losses: [LossAndEnds; 3] = [
            (|s| (1.0 + s) / (11.0 + s), (1, 1)),
            (|s| 1.0 / (2.0 + s), (0, 1)),
            (|s| (1.0 + s) / (10_001.0 + s), (0, 0)),
        ];
        for (loss, ends) in losses {
            for x in [0.3_f64, 1.0, 6.0] {
                let mut labels = [0; LANES];
                labels[0] = 1;
                let points = [[0.5 + x as f32], [0.5]];
                let [ours] = gradient_at::<1, false>(&points, &labels, ends, slopes(1.0, 1.0, 1.0));
                let numeric = (loss((x + 1e-4).powi(2)) - loss((x - 1e-4).powi(2))) / 2e-4;
                assert!((f64::from(ours) - numeric).abs() <= 1e-3 * numeric.abs(), "{ours} {numeric}");
                let [local] = gradient_at::<1, true>(&points, &labels, ends, slopes(1.0, 1.0, 1.0));
                let times = if ends.0 == 1 { f64::from(TIMES) / (1.0 + x * x).sqrt() } else { 1.0 };
                assert!((f64::from(local) - times * numeric).abs() <= 1e-3 * (times * numeric).abs());
            }
        }
    }

    fn check_against_the_plain_sum<const D: usize>() {
        let draws = Stream::new(3, "test");
        let points: Vec<[f32; D]> =
            (0..700).map(|i| std::array::from_fn(|d| 4.0 * draws.normal(i, d as u64) as f32)).collect();
        for (n_pairs, near_end, further_end) in [(0, 0, 0), (16, 3, 9), (160, 40, 130), (656, 270, 500), (512, 0, 512)]
        {
            let labels: Vec<u32> = (0..n_pairs).map(|k| draws.below(700, k, 9) as u32).collect();
            let mut expected = [0.0_f64; D];
            for (k, &j) in labels.iter().enumerate() {
                let way: [f64; D] = std::array::from_fn(|d| f64::from(points[0][d]) - f64::from(points[j as usize][d]));
                let squared: f64 = way.iter().map(|x| x * x).sum();
                let slope = if k < near_end as usize {
                    3.0 * 20.0 / (11.0 + squared).powi(2)
                } else if k < further_end as usize {
                    -2.0 / (2.0 + squared).powi(2)
                } else {
                    500.0 * 20_000.0 / (10_001.0 + squared).powi(2)
                };
                for d in 0..D {
                    expected[d] += slope * way[d];
                }
            }
            let ours = gradient_at::<D, false>(&points, &labels, (near_end, further_end), slopes(3.0, 1.0, 500.0));
            for d in 0..D {
                assert!((f64::from(ours[d]) - expected[d]).abs() <= 1e-4 * expected[d].abs().max(1.0), "{ours:?}");
            }
        }
    }

    #[test]
    fn lanes_agree_with_the_plain_sum() {
        check_against_the_plain_sum::<1>();
        check_against_the_plain_sum::<2>();
        check_against_the_plain_sum::<3>();
    }
}
