//! What a quality report looks at.

use tlc_core::ReduceError;

use crate::input::{Metric, Problems};
use crate::knn::Neighbours;

/// What [`report`](super::report) and its companions look at; the default suits most data.
#[derive(Debug, Clone)]
pub struct QualityOptions<'a> {
    /// How distances in the data are measured; in layouts it is always euclidean. Default euclidean.
    pub metric: Metric,
    /// A class per row of the data: adds the label accuracy. Default none.
    pub labels: Option<&'a [i64]>,
    /// The neighbour graph that the layout was made from, one list per row of the data: adds its
    /// recall. Default none.
    pub graph: Option<&'a Neighbours>,
    /// The `k` of trustworthiness and continuity, each at least 1. Default 15.
    pub rank_k: Vec<usize>,
    /// The `k` of neighbour preservation and overlap, each at least 1. Default 15, 50, 150.
    pub preservation_k: Vec<usize>,
    /// The number of neighbours that vote on a label, at least 1. Default 10.
    pub label_k: usize,
    /// Up to this many rows all are queries, and the results exact. Default 5,000.
    pub exact_up_to: usize,
    /// Beyond that, as many seeded rows are; each is still ranked against all rows. At least 1, default
    /// 2,000.
    pub queries: usize,
    /// The same for what needs no distances in the data, label accuracy and self-consistency; all rows
    /// if there are no more. At least 1, default 10,000.
    pub layout_queries: usize,
    /// Random triplets per row, at least 1. Default 5.
    pub triplets_per_row: usize,
    /// Random pairs whose distances are correlated; all pairs if there are no more. At least 1,
    /// default 100,000.
    pub pairs: usize,
    /// Of all samples. Default 0.
    pub seed: u64,
}

impl Default for QualityOptions<'_> {
    fn default() -> Self {
        Self {
            metric: Metric::default(),
            labels: None,
            graph: None,
            rank_k: vec![15],
            preservation_k: vec![15, 50, 150],
            label_k: 10,
            exact_up_to: 5_000,
            queries: 2_000,
            layout_queries: 10_000,
            triplets_per_row: 5,
            pairs: 100_000,
            seed: 0,
        }
    }
}

impl QualityOptions<'_> {
    /// Checks all numbers, and that there are labels and a graph for `n_rows` rows.
    pub(super) fn check(&self, n_rows: usize) -> Result<(), ReduceError> {
        let mut problems = Problems::default();
        let accepted = "at least 1";
        for &k in &self.rank_k {
            problems.require(k > 0, "rank_k", k, accepted);
        }
        for &k in &self.preservation_k {
            problems.require(k > 0, "preservation_k", k, accepted);
        }
        problems.require(self.label_k > 0, "label_k", self.label_k, accepted);
        problems.require(self.queries > 0, "queries", self.queries, accepted);
        problems.require(self.layout_queries > 0, "layout_queries", self.layout_queries, accepted);
        problems.require(self.triplets_per_row > 0, "triplets_per_row", self.triplets_per_row, accepted);
        problems.require(self.pairs > 0, "pairs", self.pairs, accepted);
        problems.finish()?;
        if u32::try_from(n_rows).is_err() {
            return Err(ReduceError::data(format!("it has {n_rows} rows; at most {} are supported", u32::MAX)));
        }
        if let Some(labels) = self.labels {
            check_count(n_rows, labels.len(), "labels")?;
        }
        if let Some(graph) = self.graph {
            check_count(n_rows, graph.indices.nrows(), "lists of neighbours")?;
            if let Some(&row) = graph.indices.iter().find(|&&row| row as usize >= n_rows) {
                return Err(ReduceError::data(format!("it has {n_rows} rows and a neighbour numbered {row}")));
            }
        }
        Ok(())
    }
}

/// Fails unless there is one of `what` for each row.
pub(super) fn check_count(n_rows: usize, count: usize, what: &str) -> Result<(), ReduceError> {
    if count == n_rows {
        return Ok(());
    }
    Err(ReduceError::data(format!("it has {n_rows} rows and {count} {what}; one each is needed")))
}
