//! Whether the far are far in the other space too: the order of distances between random rows.
//!
//! Random triplet accuracy (Wang, Huang, Rudin, Shaposhnik 2021, section 6): for each row `i` a few
//! random pairs of others `a`, `b`; the share where the layout agrees on which is nearer to `i`. A tie
//! in one of the spaces counts half, so that a layout without information gets 1/2. Distances are
//! those of the data as given (the paper's code brings wide data to 100 dimensions first, for speed).
//!
//! The correlation of distances is Spearman's: Pearson's of the ranks, equal distances sharing their
//! mean rank.

use std::cmp::Ordering;

use rayon::prelude::*;
use tlc_core::rng::Stream;
use tlc_core::{Cancelled, Progress, ReduceError};

use super::distances::{Asked, Space};
use super::measure::Measure;
use super::options::QualityOptions;

/// Rows or pairs between two looks at the wish to stop.
const BLOCK: usize = 4096;

pub(super) fn random_triplet_accuracy(
    data: &Space<'_>,
    layout: &Space<'_>,
    options: &QualityOptions<'_>,
    progress: &Progress,
) -> Result<Measure, ReduceError> {
    let n = data.n_rows();
    if n < 3 {
        return Ok(Measure::mean(None, &[], 0));
    }
    let stream = Stream::new(options.seed, "quality: triplets");
    let others = |i: usize, draw| two_others(stream, n, i, draw);
    let order = |space: &Space<'_>, i, a, b| space.between(i, a).total_cmp(&space.between(i, b));
    let agrees = |i, a, b| agreement(order(data, i, a, b), order(layout, i, a, b));
    triplets(n, others, agrees, options, progress)
}

/// The same for rows that were not fitted, each with two that were.
pub(super) fn held_out_triplet_accuracy(
    data: &Asked<'_>,
    layout: &Asked<'_>,
    options: &QualityOptions<'_>,
    progress: &Progress,
) -> Result<Measure, ReduceError> {
    let (queries, n) = (data.queries.nrows(), data.space.n_rows());
    if n < 2 || queries == 0 {
        return Ok(Measure::mean(None, &[], 0));
    }
    let stream = Stream::new(options.seed, "quality: held-out triplets");
    let others = |i: usize, draw| two_of(stream, n, i, draw);
    let order = |asked: &Asked<'_>, i, a, b| asked.between(i, a).total_cmp(&asked.between(i, b));
    let agrees = |i, a, b| agreement(order(data, i, a, b), order(layout, i, a, b));
    triplets(queries, others, agrees, options, progress)
}

/// The mean of `agrees(i, a, b)` over a few pairs `others(i, draw)` for each of `n` rows.
fn triplets(
    n: usize,
    others: impl Fn(usize, u64) -> (usize, usize) + Sync,
    agrees: impl Fn(usize, usize, usize) -> f64 + Sync,
    options: &QualityOptions<'_>,
    progress: &Progress,
) -> Result<Measure, ReduceError> {
    let per_row = options.triplets_per_row;
    let score = |i: usize| {
        let scores = (0..per_row as u64).map(|draw| {
            let (a, b) = others(i, draw);
            agrees(i, a, b)
        });
        scores.sum::<f64>() / per_row as f64
    };
    let scores = in_blocks(n, "compare triplets", progress, score)?;
    let rows = Measure::mean(None, &scores, usize::MAX);
    Ok(Measure { sample: n * per_row, ..rows })
}

/// Two different ones of `n` rows, for query `i`.
fn two_of(stream: Stream, n: usize, i: usize, draw: u64) -> (usize, usize) {
    let a = stream.below(n, i as u64, 2 * draw);
    let b = stream.below(n - 1, i as u64, 2 * draw + 1);
    (a, b + usize::from(b >= a))
}

/// Two different rows other than `i`.
fn two_others(stream: Stream, n: usize, i: usize, draw: u64) -> (usize, usize) {
    let (a, b) = two_of(stream, n - 1, i, draw);
    (a + usize::from(a >= i), b + usize::from(b >= i))
}

fn agreement(left: Ordering, right: Ordering) -> f64 {
    if left == right {
        1.0
    } else if left.is_eq() || right.is_eq() {
        0.5
    } else {
        0.0
    }
}

pub(super) fn distance_correlation(
    data: &Space<'_>,
    layout: &Space<'_>,
    options: &QualityOptions<'_>,
    progress: &Progress,
) -> Result<Measure, ReduceError> {
    let n = data.n_rows();
    let all = n * n.saturating_sub(1) / 2;
    let exact = all <= options.pairs;
    let pairs: Vec<(usize, usize)> = if exact {
        (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))).collect()
    } else {
        let stream = Stream::new(options.seed, "quality: pairs");
        let pair = |p: usize| {
            let i = stream.below(n, p as u64, 0);
            let j = stream.below(n - 1, p as u64, 1);
            (i, j + usize::from(j >= i))
        };
        (0..options.pairs).map(pair).collect()
    };
    let between = |p: usize| [data, layout].map(|space| space.between(pairs[p].0, pairs[p].1));
    let distances = in_blocks(pairs.len(), "correlate distances", progress, between)?;
    let ranks = |space: usize| mean_ranks(&distances.iter().map(|pair| pair[space]).collect::<Vec<_>>());
    let value = pearson(&ranks(0), &ranks(1));
    progress.check()?;
    Ok(Measure { k: None, value, standard_error: None, sample: pairs.len(), exact })
}

/// `f(0), …, f(n - 1)`, in parallel, with looks at the wish to stop.
fn in_blocks<T: Send>(
    n: usize,
    name: &str,
    progress: &Progress,
    f: impl Fn(usize) -> T + Sync,
) -> Result<Vec<T>, ReduceError> {
    let task = progress.task(name, n as u64);
    let starts: Vec<usize> = (0..n).step_by(BLOCK).collect();
    let blocks: Result<Vec<Vec<T>>, Cancelled> = starts
        .into_par_iter()
        .map(|start| {
            task.advance(0)?;
            let end = (start + BLOCK).min(n);
            let block = (start..end).map(&f).collect();
            task.advance((end - start) as u64)?;
            Ok(block)
        })
        .collect();
    Ok(blocks?.into_iter().flatten().collect())
}

/// The rank of each value from 0; equal values share the mean of theirs.
fn mean_ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.par_sort_unstable_by(|&a, &b| values[a].total_cmp(&values[b]).then(a.cmp(&b)));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let mean = first as f64 + (equal.len() - 1) as f64 / 2.0;
        equal.iter().for_each(|&place| ranks[place] = mean);
        first += equal.len();
    }
    ranks
}

/// Pearson's correlation; `None` where one side does not vary.
fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_x, mean_y) = (mean(x), mean(y));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (x, y) = (x - mean_x, y - mean_y);
        xx += x * x;
        yy += y * y;
        xy += x * y;
    }
    (xx > 0.0 && yy > 0.0).then(|| (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_their_mean_rank() {
        assert_eq!(mean_ranks(&[3.0, 1.0, 3.0, 0.5, 3.0]), [3.0, 1.0, 3.0, 0.0, 3.0]);
    }

    #[test]
    fn pearson_of_small_cases() {
        assert_eq!(pearson(&[0.0, 1.0, 2.0], &[4.0, 2.0, 0.0]), Some(-1.0));
        // Deviations (-1, 0, 1) and (-1/3, 2/3, -1/3).
        assert_eq!(pearson(&[0.0, 1.0, 2.0], &[0.0, 1.0, 0.0]), Some(0.0));
        assert_eq!(pearson(&[0.0, 1.0], &[5.0, 5.0]), None);
        assert_eq!(pearson(&[], &[]), None);
    }

    #[test]
    fn triplets_are_three_different_rows_evenly_drawn() {
        let stream = Stream::new(0, "test");
        let mut counts = [[0_usize; 5]; 5];
        for draw in 0..12_000 {
            let (a, b) = two_others(stream, 5, 2, draw);
            counts[a][b] += 1;
        }
        for (a, row) in counts.iter().enumerate() {
            for (b, &count) in row.iter().enumerate() {
                if a == b || a == 2 || b == 2 {
                    assert_eq!(count, 0);
                } else {
                    assert!((850..1150).contains(&count), "{a}, {b}: {count} of about 1000");
                }
            }
        }
    }

    #[test]
    fn a_tie_in_one_space_counts_half() {
        use Ordering::{Equal, Greater, Less};
        assert_eq!([(Less, Less), (Equal, Equal)].map(|(a, b)| agreement(a, b)), [1.0, 1.0]);
        assert_eq!([(Less, Greater), (Equal, Less), (Greater, Equal)].map(|(a, b)| agreement(a, b)), [0.0, 0.5, 0.5]);
    }
}
