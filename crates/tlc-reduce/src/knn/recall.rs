//! How complete a neighbour graph is, estimated on a seeded sample of its rows.

use ndarray::ArrayView2;
use tlc_core::rng::Stream;
use tlc_core::{Progress, ReduceError};

use super::exact::search;
use super::rows::Rows;
use super::{Neighbours, check_k};

/// Standard error below 0.003 at k = 15 and recall .99.
pub(super) const SAMPLED_ROWS: usize = 256;

/// The share of the true nearest neighbours that `neighbours` holds, estimated on up to 256 rows of
/// `rows`, `(n, d)`, drawn by `seed`. A found neighbour that is as near as the k-th true one counts.
///
/// # Errors
/// As many lists, of indices and of distances, as rows, and fewer neighbours than rows, are needed; rows with NaN, infinity
/// or values beyond ±1e15; cancellation.
pub fn estimate_recall(
    rows: ArrayView2<'_, f32>,
    neighbours: &Neighbours,
    seed: u64,
    progress: &Progress,
) -> Result<f64, ReduceError> {
    check_k(neighbours.k(), rows.nrows().saturating_sub(1))?;
    let (indices, squared) = (neighbours.indices.dim(), neighbours.squared.dim());
    if indices != squared {
        return Err(ReduceError::data(format!("its neighbours have indices {indices:?} and distances {squared:?}")));
    }
    if indices.0 != rows.nrows() {
        let reason = format!("{} lists of neighbours for {} rows", indices.0, rows.nrows());
        return Err(ReduceError::data(reason));
    }
    crate::input::check_finite(&rows)?;
    let truth = TrueNeighbours::of_sample(&Rows::new(rows.to_owned()), neighbours.k(), seed, progress)?;
    Ok(truth.recall(neighbours, |row| row as usize))
}

/// How far the true neighbours of some rows reach.
pub(super) struct TrueNeighbours {
    /// The sampled rows, ascending.
    rows: Vec<u32>,
    /// Squared distance of each one's k-th nearest other row.
    farthest: Vec<f32>,
}

impl TrueNeighbours {
    pub(super) fn of_sample(rows: &Rows, k: usize, seed: u64, progress: &Progress) -> Result<Self, ReduceError> {
        let sampled = sample(rows.len(), SAMPLED_ROWS, seed);
        // Each row finds itself or a duplicate at distance 0: the k-th other is the one after.
        let exact = search(rows, rows.select(&sampled).view(), k + 1, progress)?;
        Ok(Self { rows: sampled, farthest: exact.squared.column(k).to_vec() })
    }

    /// The share that `neighbours` holds, in which `list_of` tells the place of a row's list.
    pub(super) fn recall(&self, neighbours: &Neighbours, list_of: impl Fn(u32) -> usize) -> f64 {
        let hits = |(&row, &farthest): (&u32, &f32)| {
            neighbours.squared.row(list_of(row)).iter().filter(|squared| **squared <= farthest).count()
        };
        let total: usize = self.rows.iter().zip(&self.farthest).map(hits).sum();
        total as f64 / (self.rows.len() * neighbours.k()) as f64
    }

    pub(super) fn n_rows(&self) -> usize {
        self.rows.len()
    }
}

/// `count` of the numbers below `n`, ascending: one from each of as many equal stretches.
pub(super) fn sample(n: usize, count: usize, seed: u64) -> Vec<u32> {
    let draws = Stream::new(seed, "knn-sample");
    let count = count.min(n);
    (0..count)
        .map(|i| {
            let (start, end) = (i * n / count, (i + 1) * n / count);
            (start + draws.below(end - start, i as u64, 0)) as u32
        })
        .collect()
}
