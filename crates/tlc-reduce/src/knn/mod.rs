//! The nearest neighbours of rows.
//!
//! Three ways to find them, each a [`KnnIndex`]: all distances ([`ExactIndex`]), cells of near rows
//! ([`CellsIndex`]), a navigable graph ([`HnswIndex`]). Which one serves is chosen by name or by
//! measured thresholds; rows wider than 128 are searched by their principal components and ranked by
//! their full width ([`ProjectedIndex`]). The graph of more rows than fit in memory is found by cells in a file
//! ([`graph_on_disk`]).
//!
//! All give distances that were computed directly from the rows in a fixed order. Equal distances in a
//! list are in the order of row numbers; which of several rows at the distance of the last one are named depends on the
//! way of the search, on nothing else.

mod candidates;
mod cells;
mod disk;
mod duplicates;
mod exact;
mod hnsw;
mod kmeans;
mod projected;
mod recall;
mod router;
mod rows;
mod sweep;

use std::fmt::Debug;

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tlc_core::{Arrays, Cancelled, Progress, ReduceError};

pub use cells::CellsIndex;
pub use disk::{DiskGraph, DiskIndex, DiskOptions, RowSource, TableRows, graph_on_disk};
pub use duplicates::DuplicateRule;
pub use exact::ExactIndex;
pub use hnsw::HnswIndex;
pub use projected::ProjectedIndex;
pub use recall::estimate_recall;

use crate::distance::squared_euclidean;
use crate::simd::vectorised;

/// How neighbours are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KnnMethod {
    /// `exact` for few rows, `cells` for many, `disk` from ten million on: see [`KnnMethod::for_size`].
    #[default]
    Auto,
    /// All distances, by blocked matrix products. Recall 1; time `n² · d`.
    Exact,
    /// A hierarchical navigable small world graph (Malkov and Yashunin 2018) by `hnsw_rs`, repaired by
    /// sweeps over neighbours of neighbours. Inserted serially, since parallel insertion is a race.
    Hnsw,
    /// Cells by k-means, each joined with its nearest cells, which a navigable graph over their centres
    /// finds; then sweeps over neighbours of neighbours until the estimated recall is high enough.
    Cells,
    /// The graph by cells in temporary files ([`graph_on_disk`]): slower than `cells`, but beside the rows it takes the
    /// memory of its result alone, a third of what `cells` does. Queries are answered as by `auto`.
    Disk,
}

/// Up to how many rows `exact` is chosen, by the width of the rows up to which this holds.
///
/// Measured on 2 cores, see `benches/results/knn-thresholds.md`: where the two take the same time. Very wide rows
/// would be found by `exact` as fast up to 14,000, but every new row is compared with all.
const EXACT_UP_TO_ROWS: [(usize, usize); 3] = [(16, 6_000), (128, 10_000), (usize::MAX, 8_000)];
/// From so many rows on the graph is found by `disk`: what `cells` takes for lists of 15 neighbours, beside the rows, would
/// be more than 3 GB.
const DISK_FROM_ROWS: usize = 10_000_000;
/// Up to so many queries at a time, distances to rows cost no more than products with them.
const FEW_QUERIES: usize = 2;
/// Rows wider than this are searched by principal components where that is worth it.
const PROJECT_ABOVE_FEATURES: usize = 128;

impl KnnMethod {
    /// What `auto` means for `n` rows of `d` values; other methods mean themselves.
    pub fn for_size(self, n: usize, d: usize) -> Self {
        if self != KnnMethod::Auto {
            return self;
        }
        let up_to = EXACT_UP_TO_ROWS.iter().find(|(width, _)| d <= *width).map_or(0, |(_, rows)| *rows);
        match n {
            _ if n <= up_to => KnnMethod::Exact,
            _ if n < DISK_FROM_ROWS => KnnMethod::Cells,
            _ => KnnMethod::Disk,
        }
    }
}

/// How an [`Index`] is built.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KnnOptions {
    /// Default auto.
    pub method: KnnMethod,
    /// The share of true neighbours that a graph shall hold, above 0 and up to 1; methods that are not exact
    /// work until the estimate on a sample reaches it. Default 0.99.
    pub target_recall: f64,
    /// Of the samples on which cells are made and recall is estimated. Default 42.
    pub seed: u64,
}

impl Default for KnnOptions {
    fn default() -> Self {
        Self { method: KnnMethod::Auto, target_recall: 0.99, seed: 42 }
    }
}

/// The `k` nearest of the known rows for each query, nearest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    /// Row numbers, `(n, k)`.
    pub indices: Array2<u32>,
    /// Squared Euclidean distances, `(n, k)`.
    pub squared: Array2<f32>,
}

impl Neighbours {
    fn from_lists(lists: Vec<Vec<(f32, u32)>>, k: usize) -> Self {
        let n = lists.len();
        let (squared, indices): (Vec<f32>, Vec<u32>) = lists.into_iter().flatten().unzip();
        let shaped = "every list has k entries";
        Self {
            indices: Array2::from_shape_vec((n, k), indices).expect(shaped),
            squared: Array2::from_shape_vec((n, k), squared).expect(shaped),
        }
    }

    /// Lets `fill` write the lists of one block of rows after the other, in parallel: `blocks` are the
    /// blocks' numbers of rows and what `fill` must know of each.
    ///
    /// In place, since lists of a million rows fill a good part of the memory.
    fn from_blocks<S: Send>(
        k: usize,
        blocks: Vec<(usize, S)>,
        fill: impl Fn(S, &mut ListsMut<'_>) -> Result<(), Cancelled> + Sync,
    ) -> Result<Self, Cancelled> {
        let n = blocks.iter().map(|(size, _)| size).sum();
        let (mut indices, mut squared) = (Array2::<u32>::zeros((n, k)), Array2::<f32>::zeros((n, k)));
        let mut rest = (indices.as_slice_mut().expect("new"), squared.as_slice_mut().expect("new"));
        let parts: Vec<_> = blocks
            .into_iter()
            .map(|(size, state)| {
                let (indices, more_indices) = std::mem::take(&mut rest.0).split_at_mut(size * k);
                let (squared, more_squared) = std::mem::take(&mut rest.1).split_at_mut(size * k);
                rest = (more_indices, more_squared);
                (state, ListsMut { k, indices, squared })
            })
            .collect();
        parts.into_par_iter().try_for_each(|(state, mut lists)| fill(state, &mut lists))?;
        Ok(Self { indices, squared })
    }

    /// The number of neighbours per row.
    pub fn k(&self) -> usize {
        self.indices.ncols()
    }
}

/// The lists of some rows, to be written.
struct ListsMut<'a> {
    k: usize,
    indices: &'a mut [u32],
    squared: &'a mut [f32],
}

impl ListsMut<'_> {
    fn put(&mut self, place: usize, list: &[(f32, u32)]) {
        assert_eq!(list.len(), self.k, "every list has k entries");
        let range = place * self.k..(place + 1) * self.k;
        let targets = self.indices[range.clone()].iter_mut().zip(&mut self.squared[range]);
        for ((index, distance), &(squared, other)) in targets.zip(list) {
            (*index, *distance) = (other, squared);
        }
    }
}

/// What a search for the graph of the known rows came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GraphReport {
    /// How it was searched; never auto.
    pub method: KnnMethod,
    /// The share of true neighbours that it holds: 1 for exact, otherwise an estimate.
    pub recall: f64,
    /// On how many rows recall was estimated; all if exact.
    pub sampled_rows: usize,
}

/// A way to find neighbours among the rows it was built on.
///
/// Promises: the same bits for any number of threads; each query is answered by itself.
pub trait KnnIndex: Debug + Send + Sync {
    /// The number of rows it was built on.
    fn n_rows(&self) -> usize;

    /// The number of values per row.
    fn n_features(&self) -> usize;

    /// One of the rows.
    ///
    /// # Panics
    /// If there are not so many.
    fn row(&self, id: usize) -> &[f32];

    /// The `k` nearest other rows of every row, `1 <= k < n`.
    ///
    /// # Errors
    /// Cancellation.
    fn graph(&self, k: usize, progress: &Progress) -> Result<(Neighbours, GraphReport), ReduceError>;

    /// The `k` nearest rows of each query, `(m, d)`, `1 <= k <= n`.
    ///
    /// # Errors
    /// Cancellation.
    fn query(&self, queries: ArrayView2<'_, f32>, k: usize, progress: &Progress) -> Result<Neighbours, ReduceError>;

    /// The rows' first principal components, `(n, n_axes)`, where they are at hand.
    fn first_components(&self, n_axes: usize) -> Option<Array2<f32>> {
        let _ = n_axes;
        None
    }

    /// All row numbers, near rows close together, where such an order is known.
    fn order(&self) -> Option<&[u32]> {
        None
    }

    /// The arrays with what is dear to build anew.
    fn add_to(&self, arrays: Arrays) -> Arrays {
        arrays
    }
}

/// Finds neighbours among the rows it was built on.
#[derive(Debug)]
pub struct Index(Box<dyn KnnIndex>);

impl Index {
    /// An index of `rows`, `(n, d)`, whose values must be within ±1e15, with default options but `method`.
    ///
    /// # Errors
    /// No rows, or rows of no values; rows with NaN, infinity or values beyond ±1e15; cancellation.
    pub fn build(rows: Array2<f32>, method: KnnMethod, progress: &Progress) -> Result<Self, ReduceError> {
        Self::build_with(rows, KnnOptions { method, ..KnnOptions::default() }, progress)
    }

    /// An index of `rows`, `(n, d)`, whose values must be within ±1e15.
    ///
    /// # Errors
    /// A target recall out of its range; no rows, or rows of no values; rows with NaN, infinity or values beyond ±1e15;
    /// cancellation.
    pub fn build_with(rows: Array2<f32>, options: KnnOptions, progress: &Progress) -> Result<Self, ReduceError> {
        crate::input::check_finite(&rows.view())?;
        Self::from_parts(rows, options, &mut Arrays::default(), progress)
    }

    /// As [`build_with`](Self::build_with), from `arrays` that [`add_to`](Self::add_to) made where they
    /// hold something.
    pub(crate) fn from_parts(
        rows: Array2<f32>,
        options: KnnOptions,
        arrays: &mut Arrays,
        progress: &Progress,
    ) -> Result<Self, ReduceError> {
        if !(options.target_recall > 0.0 && options.target_recall <= 1.0) {
            let accepted = "use a number above 0 and up to 1";
            return Err(ReduceError::parameter("target_recall", options.target_recall, accepted));
        }
        let (n, d) = rows.dim();
        if n == 0 || d == 0 {
            return Err(ReduceError::data(format!("it has {n} rows of {d} values; at least 1 of each is needed")));
        }
        let is_projected = d > PROJECT_ABOVE_FEATURES;
        Ok(Self(match options.method.for_size(n, d) {
            KnnMethod::Disk => {
                let method = if n < DISK_FROM_ROWS { KnnMethod::Auto } else { KnnMethod::Cells };
                let Self(queries) = Self::from_parts(rows, KnnOptions { method, ..options }, arrays, progress)?;
                Box::new(DiskIndex::new(queries, options))
            }
            KnnMethod::Hnsw => Box::new(HnswIndex::build(rows, options, progress)?),
            KnnMethod::Cells if is_projected => Box::new(ProjectedIndex::build(rows, options, arrays, progress)?),
            KnnMethod::Cells => Box::new(CellsIndex::build(rows, cells::JOINED, options, arrays, progress)?),
            KnnMethod::Auto | KnnMethod::Exact => Box::new(ExactIndex::new(rows)),
        }))
    }

    pub(crate) fn first_components(&self, n_axes: usize) -> Option<Array2<f32>> {
        self.0.first_components(n_axes)
    }

    pub(crate) fn order(&self) -> Option<&[u32]> {
        self.0.order()
    }

    pub(crate) fn add_to(&self, arrays: Arrays) -> Arrays {
        self.0.add_to(arrays)
    }

    /// The number of rows it was built on.
    pub fn n_rows(&self) -> usize {
        self.0.n_rows()
    }

    /// The number of values per row.
    pub fn n_features(&self) -> usize {
        self.0.n_features()
    }

    /// One of the rows it was built on.
    #[inline]
    pub(crate) fn row(&self, id: usize) -> &[f32] {
        self.0.row(id)
    }

    /// All rows that it was built on, `(n, d)`, in their order.
    pub fn to_rows(&self) -> Array2<f32> {
        let mut rows = Array2::zeros((self.n_rows(), self.n_features()));
        for (id, mut row) in rows.outer_iter_mut().enumerate() {
            row.as_slice_mut().expect("new").copy_from_slice(self.row(id));
        }
        rows
    }

    /// The `k` nearest other rows of every row; a row is left out by its number, so that a duplicate
    /// of it counts as a neighbour.
    ///
    /// # Errors
    /// `k` not in `1..n`; cancellation.
    pub fn graph(&self, k: usize, progress: &Progress) -> Result<Neighbours, ReduceError> {
        self.graph_with_report(k, progress).map(|(neighbours, _)| neighbours)
    }

    /// As [`graph`](Self::graph), with its recall.
    ///
    /// # Errors
    /// As [`graph`](Self::graph).
    pub fn graph_with_report(&self, k: usize, progress: &Progress) -> Result<(Neighbours, GraphReport), ReduceError> {
        check_k(k, self.n_rows().saturating_sub(1))?;
        self.0.graph(k, progress)
    }

    /// The `k` nearest rows of each query, `(m, d)`. Each query is answered by itself.
    ///
    /// # Errors
    /// `k` not in `1..=n`; another width; queries with NaN, infinity or values beyond ±1e15; cancellation.
    pub fn query(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
        progress: &Progress,
    ) -> Result<Neighbours, ReduceError> {
        crate::input::check_finite(&queries)?;
        self.query_finite(queries, k, progress)
    }

    /// As [`query`](Self::query), of queries that are known to be finite.
    pub(crate) fn query_finite(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
        progress: &Progress,
    ) -> Result<Neighbours, ReduceError> {
        check_k(k, self.n_rows())?;
        crate::input::check_width(&queries, self.n_features())?;
        self.0.query(queries, k, progress)
    }
}

fn check_k(k: usize, most: usize) -> Result<(), ReduceError> {
    if (1..=most).contains(&k) {
        return Ok(());
    }
    Err(ReduceError::parameter("k", k, format!("between 1 and {most} neighbours can be found among these rows")))
}

/// Keeps the nearest `k` of a stream of candidates; ties go to the lower row number.
#[derive(Debug, Clone)]
struct Nearest {
    k: usize,
    kept: Vec<(f32, u32)>,
}

impl Nearest {
    fn new(k: usize) -> Self {
        Self { k, kept: Vec::with_capacity(k + 1) }
    }

    /// Farther candidates are of no use.
    fn worst(&self) -> f32 {
        if self.kept.len() < self.k { f32::INFINITY } else { self.kept[self.k - 1].0 }
    }

    fn offer(&mut self, squared: f32, id: u32) {
        if squared > self.worst() {
            return;
        }
        let place = self.kept.partition_point(|&(d, i)| (d, i) <= (squared, id));
        if place < self.k {
            self.kept.insert(place, (squared, id));
            self.kept.truncate(self.k);
        }
    }
}

/// The `k` nearest of `candidates` to `query` by direct distances, without the row `own`; `row` gives their values.
fn nearest_of<'a>(
    candidates: impl Iterator<Item = u32>,
    query: &[f32],
    own: Option<u32>,
    k: usize,
    row: impl Fn(u32) -> &'a [f32],
) -> Vec<(f32, u32)> {
    let mut all = Vec::with_capacity(2 * k);
    vectorised(
        #[inline(always)]
        || {
            for id in candidates.filter(|&id| Some(id) != own) {
                all.push((squared_euclidean(query, row(id)), id));
            }
        },
    );
    let order = |a: &(f32, u32), b: &(f32, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    if all.len() > k {
        all.select_nth_unstable_by(k, order);
        all.truncate(k);
    }
    all.sort_unstable_by(order);
    all
}

#[cfg(test)]
mod tests;
