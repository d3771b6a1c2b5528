//! The three kinds of pairs that each point brings (section 4.2 of the paper).
//!
//! Near: the `n_neighbors` others of least scaled distance `d²(i, j) = |x_i - x_j|² / (σ_i σ_j)`, where `σ_i` is the mean
//! distance of `i` to its fourth to sixth neighbours. Mid-near: of six random others the second nearest, `MN_ratio`
//! times as many as near ones. Further: random others that are no neighbours, `FP_ratio` times as many.

use ndarray::ArrayView1;
use rayon::prelude::*;
use tlc_core::rng::Stream;
use tlc_core::{Progress, ReduceError};

use super::adjacency::Lists;
use crate::distance::squared_low;
use crate::knn::{Index, Neighbours};
use crate::simd::vectorised;

/// The mid-near pair is the second nearest of this many random candidates.
const MID_NEAR_CANDIDATES: usize = 6;
/// Draws before giving up on a distinct one; only tiny data get there.
const MAX_DRAWS: u64 = 100;
const LEAST_SCALE: f32 = 1e-10;
const LANES: usize = 16;
/// Points between two looks at whether to stop.
const BLOCK: usize = 1 << 16;

/// Pairs that each point brings along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PairCounts {
    pub(super) near: usize,
    pub(super) mid_near: usize,
    pub(super) further: usize,
}

/// The near and mid-near pairs of all points, and how further ones are drawn.
#[derive(Debug)]
pub(super) struct Pairs {
    pub(super) n: usize,
    pub(super) near: Lists,
    pub(super) mid_near: Lists,
    n_further: usize,
    further_draws: Stream,
}

impl Pairs {
    /// # Errors
    /// Cancellation.
    pub(super) fn sample(
        index: &Index,
        neighbours: &Neighbours,
        counts: PairCounts,
        seed: u64,
        progress: &Progress,
    ) -> Result<Self, ReduceError> {
        let n = index.n_rows();
        let task = progress.task("pacmap pairs", 2 * n as u64);
        let mut near = Lists { count: counts.near, items: vec![0; n * counts.near] };
        let scales: Vec<f32> = (0..n).into_par_iter().map(|i| scale_from_squared(neighbours.squared.row(i))).collect();
        for_each_list(
            &mut near,
            |count| task.advance(count as u64),
            Vec::new,
            |i, chosen, scaled| {
                let (indices, squared) = (neighbours.indices.row(i), neighbours.squared.row(i));
                nearest_by_scaled(indices, squared, scales[i], &scales, chosen, scaled);
            },
        )?;
        let mut mid_near = Lists { count: counts.mid_near, items: vec![0; n * counts.mid_near] };
        let draws = Stream::new(seed, "pacmap-mid-near");
        for_each_list(
            &mut mid_near,
            |count| task.advance(count as u64),
            Vec::new,
            |i, chosen, candidates| {
                mid_near_of(index, i, chosen, candidates, draws);
            },
        )?;
        let further_draws = Stream::new(seed, "pacmap-further");
        Ok(Self { n, near, mid_near, n_further: counts.further, further_draws })
    }

    /// Puts the further partners of point `i` into the empty `list`: any but itself and its near ones.
    ///
    /// They are drawn anew by whoever needs them, which costs less than to hold them.
    pub(super) fn further_of(&self, i: usize, list: &mut Vec<u32>) {
        let near = &self.near.items[i * self.near.count..(i + 1) * self.near.count];
        for slot in 0..self.n_further {
            list.extend(distinct(self.n, self.further_draws, i, slot, list, |j| near.contains(&j)));
        }
    }
}

/// LocalMAP's further pairs.
impl Pairs {
    /// The further partners of all points; a place for which none was found holds the point itself.
    pub(super) fn further(&self) -> Lists {
        let mut items = vec![0; self.n * self.n_further];
        if self.n_further > 0 {
            items.par_chunks_mut(self.n_further).enumerate().for_each_init(Vec::new, |list, (i, chosen)| {
                list.clear();
                self.further_of(i, list);
                chosen.fill(i as u32);
                chosen[..list.len()].copy_from_slice(list);
            });
        }
        Lists { count: self.n_further, items }
    }

    /// Draws partners anew among the points whose squared distance in the layout is at most
    /// `most_squared`; one that is not found in 100 draws leaves the old partner.
    pub(super) fn resample_further<const D: usize>(
        &self,
        further: &mut Lists,
        points: &[[f32; D]],
        most_squared: f32,
        iteration: u64,
    ) {
        if self.n_further == 0 {
            return;
        }
        let draws = self.further_draws.substream(iteration);
        further.items.par_chunks_mut(self.n_further).enumerate().for_each(|(i, chosen)| {
            let near = &self.near.items[i * self.near.count..(i + 1) * self.near.count];
            let is_out = |j: u32| squared_low(&points[i], &points[j as usize]) > most_squared || near.contains(&j);
            for slot in 0..chosen.len() {
                if let Some(j) = distinct(self.n, draws, i, slot, &chosen[..slot], is_out) {
                    chosen[slot] = j;
                }
            }
        });
    }
}

/// Fills each point's list, in parallel; `work(i, list, scratch)`.
fn for_each_list<S: Send>(
    lists: &mut Lists,
    advance: impl Fn(usize) -> Result<(), tlc_core::Cancelled>,
    scratch: impl Fn() -> S + Sync,
    work: impl Fn(usize, &mut [u32], &mut S) + Sync,
) -> Result<(), ReduceError> {
    let count = lists.count;
    if count == 0 {
        return Ok(());
    }
    for (block, items) in lists.items.chunks_mut(BLOCK * count).enumerate() {
        items
            .par_chunks_mut(count)
            .with_min_len(64)
            .enumerate()
            .for_each_init(&scratch, |scratch, (i, list)| work(block * BLOCK + i, list, scratch));
        advance(items.len() / count)?;
    }
    Ok(())
}

/// `sigma` of a row: mean distance to its 4th to 6th neighbour, or the nearest to those there are.
pub(super) fn scale_from_squared(squared: ArrayView1<'_, f32>) -> f32 {
    let k = squared.len();
    let (first, last) = (3.min(k - 1), 6.min(k));
    let sum: f32 = (first..last).map(|rank| squared[rank].sqrt()).sum();
    (sum / (last - first) as f32).max(LEAST_SCALE)
}

/// Fills `chosen` with the neighbours that have the smallest `d² / (sigma_i · sigma_j)`, ties by number.
pub(super) fn nearest_by_scaled(
    indices: ArrayView1<'_, u32>,
    squared: ArrayView1<'_, f32>,
    own_scale: f32,
    scales: &[f32],
    chosen: &mut [u32],
    scratch: &mut Vec<u64>,
) {
    scratch.clear();
    // Floats that are not negative are ordered as their bits are.
    scratch.extend(indices.iter().zip(squared).map(|(&j, &squared)| {
        let scaled = squared / own_scale / scales[j as usize];
        u64::from(scaled.to_bits()) << 32 | u64::from(j)
    }));
    if chosen.len() < scratch.len() && !chosen.is_empty() {
        scratch.select_nth_unstable(chosen.len() - 1);
    }
    for (chosen, &candidate) in chosen.iter_mut().zip(scratch.iter()) {
        *chosen = candidate as u32;
    }
}

/// Fills `chosen` with the mid-near partners of point `i`; with itself where there are too few points.
fn mid_near_of(index: &Index, i: usize, chosen: &mut [u32], candidates: &mut Vec<u32>, draws: Stream) {
    let n = index.n_rows();
    let row = |i: u32| index.row(i as usize);
    // All candidates before the first distance, so that rows are on their way from memory while others
    // are compared.
    candidates.clear();
    for pair in 0..chosen.len() {
        draw_candidates(n, i, &[], candidates, draws.substream(pair as u64));
    }
    let prepared = candidates.len() == chosen.len() * MID_NEAR_CANDIDATES;
    for pair in 0..chosen.len() {
        let (before, rest) = chosen.split_at_mut(pair);
        let mut again = Vec::new();
        let mut drawn: &[u32] =
            if prepared { &candidates[pair * MID_NEAR_CANDIDATES..][..MID_NEAR_CANDIDATES] } else { &[] };
        if !prepared || drawn.iter().any(|j| before.contains(j)) {
            draw_candidates(n, i, before, &mut again, draws.substream(pair as u64));
            drawn = &again;
        }
        let mut nearest = [(f32::INFINITY, i as u32); 2];
        let mut offer = |squared: f32, j: u32| {
            if (squared, j) < nearest[0] {
                nearest = [(squared, j), nearest[0]];
            } else if (squared, j) < nearest[1] {
                nearest[1] = (squared, j);
            }
        };
        if let Ok(six) = <&[u32; MID_NEAR_CANDIDATES]>::try_from(drawn) {
            let others = six.map(&row);
            let squared = vectorised(
                #[inline(always)]
                || squared_to_each(row(i as u32), &others),
            );
            squared.into_iter().zip(six).for_each(|(squared, &j)| offer(squared, j));
        } else {
            for &j in drawn {
                offer(squared_to_each(row(i as u32), &[row(j)])[0], j);
            }
        }
        rest[0] = if drawn.len() > 1 { nearest[1].1 } else { nearest[0].1 };
    }
}

/// Appends up to six different points that are neither `i` nor `taken`.
fn draw_candidates(n: usize, i: usize, taken: &[u32], candidates: &mut Vec<u32>, draws: Stream) {
    let first = candidates.len();
    for slot in 0..MID_NEAR_CANDIDATES {
        let found = distinct(n, draws, i, slot, &candidates[first..], |j| taken.contains(&j));
        candidates.extend(found);
    }
}

/// Squared Euclidean distances of a row to others, abreast.
#[inline(always)]
fn squared_to_each<const N: usize>(row: &[f32], others: &[&[f32]; N]) -> [f32; N] {
    let width = row.len();
    let mut sums = [[0.0_f32; LANES]; N];
    let (chunks, rest) = row.as_chunks::<LANES>();
    let others_chunks = others.map(|other| other[..width].as_chunks::<LANES>().0);
    for (place, chunk) in chunks.iter().enumerate() {
        for (sum, other) in sums.iter_mut().zip(others_chunks) {
            for lane in 0..LANES {
                let difference = chunk[lane] - other[place][lane];
                sum[lane] = difference.mul_add(difference, sum[lane]);
            }
        }
    }
    for (sum, other) in sums.iter_mut().zip(others) {
        let other = &other[width - rest.len()..width];
        for lane in 0..rest.len() {
            let difference = rest[lane] - other[lane];
            sum[lane] = difference.mul_add(difference, sum[lane]);
        }
    }
    sums.map(|lanes| lanes.iter().sum())
}

/// A random number below `n` that is not `i`, not among the `found` and not `taken`, if one comes up.
fn distinct(n: usize, draws: Stream, i: usize, slot: usize, found: &[u32], taken: impl Fn(u32) -> bool) -> Option<u32> {
    (0..MAX_DRAWS)
        .map(|attempt| draws.below(n, i as u64, slot as u64 * MAX_DRAWS + attempt) as u32)
        .find(|&j| j as usize != i && !taken(j) && !found.contains(&j))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ndarray::{Array2, arr1};

    use super::*;
    use crate::distance::squared_euclidean;
    use crate::knn::KnnMethod;

    fn noise(n: usize, d: usize) -> Array2<f32> {
        let draws = Stream::new(1, "test");
        Array2::from_shape_fn((n, d), |(i, j)| draws.normal(i as u64, j as u64) as f32)
    }

    fn sample(rows: &Array2<f32>, k: usize, counts: PairCounts) -> Pairs {
        let progress = Progress::default();
        let index = Index::build(rows.clone(), KnnMethod::Exact, &progress).expect("builds");
        let neighbours = index.graph(k, &progress).expect("k fits");
        Pairs::sample(&index, &neighbours, counts, 7, &progress).expect("not cancelled")
    }

    #[test]
    fn every_point_brings_different_pairs_of_each_kind() {
        let n = 90;
        let pairs = sample(&noise(n, 4), 20, PairCounts { near: 10, mid_near: 5, further: 20 });
        for i in 0..n {
            let near: BTreeSet<u32> = pairs.near.of(i).collect();
            let mid_near: BTreeSet<u32> = pairs.mid_near.of(i).collect();
            let mut list = Vec::new();
            pairs.further_of(i, &mut list);
            let further: BTreeSet<u32> = list.into_iter().collect();
            assert_eq!((near.len(), mid_near.len(), further.len()), (10, 5, 20), "point {i}");
            assert!(near.is_disjoint(&further));
            assert!(![&near, &mid_near, &further].iter().any(|set| set.contains(&(i as u32))));
        }
    }

    #[test]
    fn the_mid_near_partner_is_the_second_nearest_of_six() {
        // 19 does not divide by the lanes; 10 rows make rejections frequent.
        for (n, d) in [(200, 19), (10, 3), (4, 2), (3, 1)] {
            let rows = noise(n, d);
            let counts = PairCounts { near: 1, mid_near: 3, further: 0 };
            let pairs = sample(&rows, 2, counts);
            let draws = Stream::new(7, "pacmap-mid-near");
            for i in 0..n {
                let mut expected: Vec<u32> = Vec::new();
                for pair in 0..3 {
                    let mut candidates = Vec::new();
                    draw_candidates(n, i, &expected, &mut candidates, draws.substream(pair));
                    let distance = |j: u32| {
                        squared_euclidean(
                            rows.row(i).as_slice().expect("contiguous"),
                            rows.row(j as usize).as_slice().expect("contiguous"),
                        )
                    };
                    candidates.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)).then(a.cmp(&b)));
                    expected.extend(candidates.get(1).or(candidates.first()));
                }
                assert_eq!(pairs.mid_near.of(i).collect::<Vec<_>>(), expected, "{n} rows, row {i}");
            }
        }
    }

    #[test]
    fn further_partners_are_drawn_anew_among_points_close_by() {
        let n = 400;
        let pairs = sample(&noise(n, 2), 10, PairCounts { near: 5, mid_near: 0, further: 10 });
        let mut further = pairs.further();
        let before = further.clone();
        // On a line with steps of 1; the last is alone.
        let points: Vec<[f32; 1]> = (0..n).map(|i| [if i + 1 == n { 1e6 } else { i as f32 }]).collect();
        pairs.resample_further(&mut further, &points, 50.0 * 50.0, 210);
        let mut replaced = 0;
        for i in 0..n - 1 {
            let (new, old): (Vec<u32>, Vec<u32>) = (further.of(i).collect(), before.of(i).collect());
            let near: Vec<u32> = pairs.near.of(i).collect();
            assert_eq!(new.len(), 10);
            for (&new, &old) in new.iter().zip(&old) {
                assert!(new as usize != i && !near.contains(&new));
                let is_close = (points[i][0] - points[new as usize][0]).abs() <= 50.0;
                assert!(is_close || new == old, "point {i}: {new} instead of {old}");
                replaced += usize::from(is_close);
            }
        }
        assert!(replaced > 3900, "{replaced}");
        assert!(further.of(n - 1).eq(before.of(n - 1)), "nobody is near, so all stay");
        let once_more = || {
            let mut again = before.clone();
            pairs.resample_further(&mut again, &points, 50.0 * 50.0, 220);
            again
        };
        assert_ne!(once_more(), further, "other draws in another iteration");
        assert_eq!(once_more(), once_more());
    }

    #[test]
    fn scale_is_the_mean_of_the_fourth_to_sixth_distance() {
        assert_eq!(scale_from_squared(arr1(&[1.0, 4.0, 9.0, 16.0, 25.0, 36.0, 49.0]).view()), 5.0);
        assert_eq!(scale_from_squared(arr1(&[1.0, 4.0]).view()), 2.0, "of what there is");
        assert_eq!(scale_from_squared(arr1(&[0.0; 7]).view()), 1e-10, "never zero");
    }

    #[test]
    fn scaled_distance_prefers_neighbours_in_sparse_regions() {
        let mut chosen = [0; 2];
        let (indices, squared) = (arr1(&[1, 2, 3]), arr1(&[1.0, 1.1, 5.0]));
        let scales = [0.0, 1.0, 2.0, 1.0];
        nearest_by_scaled(indices.view(), squared.view(), 1.0, &scales, &mut chosen, &mut Vec::new());
        chosen.sort_unstable();
        assert_eq!(chosen, [1, 2]);
        nearest_by_scaled(indices.view(), squared.view(), 1.0, &scales, &mut chosen[..1], &mut Vec::new());
        assert_eq!(chosen[0], 2);
    }
}
