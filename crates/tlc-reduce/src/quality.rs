//! How good a layout is.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use tlc_core::{Progress, ReduceError};

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
    if labels.len() != layout.nrows() {
        return Err(ReduceError::data(format!("it has {} rows and {} labels", layout.nrows(), labels.len())));
    }
    let finite: Vec<usize> = (0..layout.nrows()).filter(|&row| crate::input::is_usable(layout.row(row))).collect();
    Ok((layout.select(ndarray::Axis(0), &finite), finite.iter().map(|&row| labels[row]).collect()))
}

fn share_of_agreement(indices: &Array2<u32>, labels: &[i64], query_labels: &[i64]) -> f64 {
    let agreeing = (0..indices.nrows())
        .into_par_iter()
        .filter(|&row| {
            let mut votes: BTreeMap<i64, (usize, std::cmp::Reverse<usize>)> = BTreeMap::new();
            for (rank, &other) in indices.row(row).iter().enumerate() {
                votes.entry(labels[other as usize]).or_insert((0, std::cmp::Reverse(rank))).0 += 1;
            }
            let winner = votes.into_iter().max_by_key(|(_, votes)| *votes);
            winner.is_some_and(|(label, _)| label == query_labels[row])
        })
        .count();
    agreeing as f64 / indices.nrows() as f64
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
