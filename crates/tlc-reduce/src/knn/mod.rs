//! Nearest neighbours: the graph over known rows, and queries against them.
//!
//! Two ways, chosen by [`KnnMethod`]: `exact` for up to 100,000 rows, `hnsw` above. Both
//! give distances that were computed directly from the rows in a fixed order, ties broken by row
//! number, so that what follows depends on the rows alone.

mod exact;
mod hnsw;

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};
use tlc_core::{Progress, ReduceError};

pub use exact::ExactIndex;
pub use hnsw::HnswIndex;

/// How neighbours are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KnnMethod {
    /// `exact` for up to 100,000 rows, otherwise `hnsw`.
    #[default]
    Auto,
    /// All distances, by blocked matrix products. Recall 1; time `n² · d`.
    Exact,
    /// A hierarchical navigable small world graph (Malkov and Yashunin 2018) by `hnsw_rs`, repaired by
    /// one sweep over neighbours of neighbours. Inserted serially, since parallel insertion is a race.
    Hnsw,
}

/// Measured on 2 cores at d = 100: exact needs 13.6 s for 70,000 rows, hnsw 27 s; exact is quadratic.
const EXACT_UP_TO_ROWS: usize = 100_000;

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

    /// The number of neighbours per row.
    pub fn k(&self) -> usize {
        self.indices.ncols()
    }
}

/// Finds neighbours among the rows it was built on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Index {
    /// By all distances.
    Exact(ExactIndex),
    /// By a navigable graph.
    Hnsw(HnswIndex),
}

impl Index {
    /// An index of `rows`, `(n, d)`, whose values must be within ±1e15.
    ///
    /// # Errors
    /// Cancellation.
    pub fn build(rows: Array2<f32>, method: KnnMethod, progress: &Progress) -> Result<Self, ReduceError> {
        match method {
            KnnMethod::Exact => Ok(Index::Exact(ExactIndex::new(rows))),
            KnnMethod::Hnsw => Ok(Index::Hnsw(HnswIndex::build(rows, progress)?)),
            KnnMethod::Auto if rows.nrows() <= EXACT_UP_TO_ROWS => Self::build(rows, KnnMethod::Exact, progress),
            KnnMethod::Auto => Self::build(rows, KnnMethod::Hnsw, progress),
        }
    }

    /// The rows it was built on.
    pub fn rows(&self) -> ArrayView2<'_, f32> {
        match self {
            Index::Exact(index) => index.rows(),
            Index::Hnsw(index) => index.rows(),
        }
    }

    /// The `k` nearest other rows of every row; a row is left out by its number, so that a duplicate
    /// of it counts as a neighbour.
    ///
    /// # Errors
    /// `k` not in `1..n`; cancellation.
    pub fn graph(&self, k: usize, progress: &Progress) -> Result<Neighbours, ReduceError> {
        check_k(k, self.rows().nrows().saturating_sub(1))?;
        match self {
            Index::Exact(index) => index.graph(k, progress),
            Index::Hnsw(index) => index.graph(k, progress),
        }
    }

    /// The `k` nearest rows of each query, `(m, d)`. Each query is answered by itself.
    ///
    /// # Errors
    /// `k` not in `1..=n`; another width; cancellation.
    pub fn query(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
        progress: &Progress,
    ) -> Result<Neighbours, ReduceError> {
        check_k(k, self.rows().nrows())?;
        crate::input::check_width(&queries, self.rows().ncols())?;
        match self {
            Index::Exact(index) => index.query(queries, k, progress),
            Index::Hnsw(index) => index.query(queries, k, progress),
        }
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

    fn offer(&mut self, squared: f32, id: u32) {
        let place = self.kept.partition_point(|&(d, i)| (d, i) <= (squared, id));
        if place < self.k {
            self.kept.insert(place, (squared, id));
            self.kept.truncate(self.k);
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Axis, concatenate, s};
    use tlc_core::rng::Stream;

    use super::*;
    use crate::distance::squared_euclidean;

    fn noise(n: usize, d: usize) -> Array2<f32> {
        let stream = Stream::new(9, "test");
        Array2::from_shape_fn((n, d), |(i, j)| stream.normal(i as u64, j as u64) as f32)
    }

    /// The plain definition: sort all distances.
    fn naive(rows: &Array2<f32>, query: &[f32], k: usize, leave_out: Option<usize>) -> Vec<u32> {
        let distance = |i: usize| squared_euclidean(query, rows.row(i).as_slice().expect("contiguous"));
        let mut all: Vec<(f32, usize)> =
            (0..rows.nrows()).filter(|&i| Some(i) != leave_out).map(|i| (distance(i), i)).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        all[..k].iter().map(|&(_, i)| i as u32).collect()
    }

    fn check(rows: Array2<f32>, k: usize, method: KnnMethod, least_recall: f64) {
        let progress = Progress::default();
        let index = Index::build(rows.clone(), method, &progress).expect("builds");
        let graph = index.graph(k, &progress).expect("k fits");
        let mut found = 0;
        for i in 0..rows.nrows() {
            let expected = naive(&rows, rows.row(i).as_slice().expect("contiguous"), k, Some(i));
            let list = graph.indices.row(i);
            assert!(list.iter().all(|&j| j as usize != i), "a row is not its own neighbour");
            found += list.iter().filter(|j| expected.contains(j)).count();
        }
        let recall = found as f64 / (rows.nrows() * k) as f64;
        assert!(recall >= least_recall, "{method:?}: recall {recall}");

        let queries = noise(70, rows.ncols()) + 0.1;
        let all = index.query(queries.view(), k, &progress).expect("k fits");
        let some = index.query(queries.slice(s![10..13, ..]), k, &progress).expect("k fits");
        assert_eq!(all.indices.slice(s![10..13, ..]), some.indices, "each query is answered by itself");
        assert_eq!(all.squared.slice(s![10..13, ..]), some.squared);
    }

    #[test]
    fn exact_agrees_with_sorting_all_distances() {
        check(noise(700, 33), 15, KnnMethod::Exact, 1.0);
        check(noise(5, 3), 4, KnnMethod::Exact, 1.0);
        // Far from the origin the products cancel; the direct recomputation must still be right.
        check(noise(300, 8) + 1000.0, 10, KnnMethod::Exact, 1.0);
    }

    #[test]
    fn exact_keeps_duplicates_and_breaks_ties_by_row_number() {
        let rows =
            concatenate(Axis(0), &[noise(50, 4).view(), noise(50, 4).view(), noise(50, 4).view()]).expect("one width");
        check(rows, 7, KnnMethod::Exact, 1.0);
        let progress = Progress::default();
        let index = Index::build(Array2::zeros((400, 4)), KnnMethod::Exact, &progress).expect("builds");
        let graph = index.graph(3, &progress).expect("k fits");
        assert_eq!(graph.indices.row(0).to_vec(), [1, 2, 3]);
        assert_eq!(graph.indices.row(399).to_vec(), [0, 1, 2]);
    }

    #[test]
    fn hnsw_finds_nearly_all_and_every_row_finds_itself() {
        let rows = noise(2000, 16);
        check(rows.clone(), 15, KnnMethod::Hnsw, 0.97);
        let progress = Progress::default();
        let index = Index::build(rows.clone(), KnnMethod::Hnsw, &progress).expect("builds");
        let nearest = index.query(rows.view(), 1, &progress).expect("k fits");
        let found = nearest.indices.iter().enumerate().filter(|&(i, &j)| i == j as usize).count();
        assert_eq!(found, 2000, "every point finds itself");
    }

    #[test]
    fn hnsw_is_repeatable_and_survives_duplicates() {
        let progress = Progress::default();
        let rows = concatenate(Axis(0), &[noise(300, 6).view(), Array2::ones((300, 6)).view()]).expect("one width");
        let build =
            || Index::build(rows.clone(), KnnMethod::Hnsw, &progress).and_then(|index| index.graph(10, &progress));
        let graph = build().expect("builds");
        assert_eq!(build().expect("builds"), graph);
        assert!(graph.squared.iter().all(|d| d.is_finite()));
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let rows = noise(1500, 24);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| {
                let progress = Progress::default();
                Index::build(rows.clone(), KnnMethod::Exact, &progress)?.graph(12, &progress)
            })
        };
        assert_eq!(run(1).expect("runs"), run(5).expect("runs"));
    }

    #[test]
    fn an_impossible_k_is_refused() {
        let index = Index::build(noise(5, 2), KnnMethod::Auto, &Progress::default()).expect("builds");
        let error = index.graph(5, &Progress::default()).expect_err("only 4 others");
        assert_eq!(error.to_string(), "k is 5; between 1 and 4 neighbours can be found among these rows");
    }
}
