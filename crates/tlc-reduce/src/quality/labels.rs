//! How often the neighbours in a layout have a row's own label.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use tlc_core::{Progress, ReduceError};

use super::distances::{Asked, Space, nearest, scan};
use super::measure::Measure;
use super::options::{QualityOptions, check_count};
use super::sample::Sample;
use crate::knn::{Index, KnnMethod};

/// The share of rows whose label is the most frequent among their `k` nearest other rows.
///
/// A tie goes to the label of the nearest of the tied. Rows that are not finite are left out; with
/// fewer than two rows the share is 0.
///
/// # Errors
/// Labels that are not one per row; cancellation.
pub fn knn_accuracy(
    layout: ArrayView2<'_, f32>,
    labels: &[i64],
    k: usize,
    progress: &Progress,
) -> Result<f64, ReduceError> {
    let (rows, labels) = finite_rows(layout, labels)?;
    let k = k.min(rows.nrows().saturating_sub(1));
    if k == 0 {
        return Ok(0.0);
    }
    let neighbours = Index::build(rows, KnnMethod::Exact, progress)?.graph(k, progress)?;
    Ok(share_of_agreement(&neighbours.indices, &labels, &labels))
}

/// The share of `queries` whose label is the most frequent among their `k` nearest rows of `layout`.
///
/// # Errors
/// As [`knn_accuracy`]; coordinates of different widths.
pub fn knn_accuracy_of_others(
    layout: ArrayView2<'_, f32>,
    labels: &[i64],
    queries: ArrayView2<'_, f32>,
    query_labels: &[i64],
    k: usize,
    progress: &Progress,
) -> Result<f64, ReduceError> {
    let (rows, labels) = finite_rows(layout, labels)?;
    let (queries, query_labels) = finite_rows(queries, query_labels)?;
    let k = k.min(rows.nrows());
    if k == 0 || queries.is_empty() {
        return Ok(0.0);
    }
    let neighbours = Index::build(rows, KnnMethod::Exact, progress)?.query(queries.view(), k, progress)?;
    Ok(share_of_agreement(&neighbours.indices, &labels, &query_labels))
}

fn finite_rows(layout: ArrayView2<'_, f32>, labels: &[i64]) -> Result<(Array2<f32>, Vec<i64>), ReduceError> {
    check_count(layout.nrows(), labels.len(), "labels")?;
    let finite: Vec<usize> = (0..layout.nrows()).filter(|&row| tlc_core::is_measurable(layout.row(row))).collect();
    Ok((layout.select(ndarray::Axis(0), &finite), finite.iter().map(|&row| labels[row]).collect()))
}

fn share_of_agreement(indices: &Array2<u32>, labels: &[i64], query_labels: &[i64]) -> f64 {
    let agreeing = (0..indices.nrows())
        .into_par_iter()
        .filter(|&row| vote(indices.row(row).iter().map(|&other| labels[other as usize])) == Some(query_labels[row]))
        .count();
    agreeing as f64 / indices.nrows() as f64
}

/// The most frequent of some labels, given nearest first; of several, that of the nearest.
fn vote(labels: impl Iterator<Item = i64>) -> Option<i64> {
    let mut votes: BTreeMap<i64, (usize, Reverse<usize>)> = BTreeMap::new();
    for (rank, label) in labels.enumerate() {
        votes.entry(label).or_insert((0, Reverse(rank))).0 += 1;
    }
    votes.into_iter().max_by_key(|(_, votes)| *votes).map(|(label, _)| label)
}

/// [`knn_accuracy`] of many rows: the same share for a seeded sample of them, at most
/// [`layout_queries`](QualityOptions::layout_queries), among all; `None` without
/// [`labels`](QualityOptions::labels). Cost: `layout_queries · n` distances.
///
/// # Errors
/// Labels that are not one per row; options out of range; cancellation.
pub fn label_accuracy(
    layout: ArrayView2<'_, f32>,
    options: &QualityOptions<'_>,
    progress: &Progress,
) -> Result<Option<Measure>, ReduceError> {
    let Some(labels) = options.labels else { return Ok(None) };
    options.check(layout.nrows())?;
    let (rows, labels) = finite_rows(layout, labels)?;
    accuracy(&Space::new(rows.view()), &labels, options, progress).map(Some)
}

/// The accuracy of rows of the layout among the others, for a sample of them.
pub(super) fn accuracy(
    layout: &Space<'_>,
    labels: &[i64],
    options: &QualityOptions<'_>,
    progress: &Progress,
) -> Result<Measure, ReduceError> {
    let sample = layout_sample(layout.n_rows(), options);
    let asked = Asked::rows(layout, &sample.rows);
    let truth: Vec<i64> = sample.rows.iter().map(|&row| labels[row]).collect();
    accuracy_of(&asked, Some(&sample.rows), labels, &truth, sample.population, options, progress)
}

/// The rows that are looked at where only the layout is.
pub(super) fn layout_sample(n: usize, options: &QualityOptions<'_>) -> Sample {
    Sample::draw(n, options.exact_up_to, options.layout_queries, options.seed, "quality: layout rows")
}

/// The accuracy of queries, whose labels are `truth`.
pub(super) fn accuracy_of(
    layout: &Asked<'_>,
    own: Option<&[usize]>,
    labels: &[i64],
    truth: &[i64],
    population: usize,
    options: &QualityOptions<'_>,
    progress: &Progress,
) -> Result<Measure, ReduceError> {
    let k = options.label_k.min(layout.space.n_rows().saturating_sub(usize::from(own.is_some())));
    let agree = scan([layout], own, "compare labels", progress, |query, [distances]| {
        let near = nearest(distances, k);
        let agrees = vote(near.into_iter().map(|row| labels[row as usize])) == Some(truth[query]);
        f64::from(u8::from(agrees))
    })?;
    Ok(Measure::mean(Some(k), if k > 0 { &agree } else { &[] }, population))
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;

    #[test]
    fn accuracy_is_the_share_of_rows_that_agree_with_their_neighbours() {
        let layout = arr2(&[[0.0], [1.0], [2.1], [10.0], [11.0], [f32::NAN]]);
        let labels = [0, 0, 1, 1, 1, 0];
        let accuracy = knn_accuracy(layout.view(), &labels, 1, &Progress::default()).expect("fits");
        assert_eq!(accuracy, 0.8, "the third row's nearest has another label");
        let others = arr2(&[[0.4], [10.6], [2.2]]);
        let accuracy =
            knn_accuracy_of_others(layout.view(), &labels, others.view(), &[0, 1, 0], 1, &Progress::default());
        assert_eq!(accuracy.expect("fits"), 2.0 / 3.0);
    }
}
