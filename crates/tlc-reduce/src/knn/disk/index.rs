//! The search on disk as one of the ways that a fit can choose.

use ndarray::{Array2, ArrayView2};
use tlc_core::{Arrays, Progress, ReduceError};

use super::{DiskOptions, RowSource, graph_on_disk};
use crate::knn::{GraphReport, KnnIndex, KnnOptions, Neighbours};

/// Answers queries as another index does, and finds the graph of its rows by cells in temporary files.
#[derive(Debug)]
pub struct DiskIndex {
    queries: Box<dyn KnnIndex>,
    options: KnnOptions,
}

impl DiskIndex {
    pub(in crate::knn) fn new(queries: Box<dyn KnnIndex>, options: KnnOptions) -> Self {
        Self { queries, options }
    }
}

impl RowSource for DiskIndex {
    fn n_rows(&self) -> usize {
        self.queries.n_rows()
    }

    fn n_features(&self) -> usize {
        self.queries.n_features()
    }

    fn read(&self, take: &mut dyn FnMut(ArrayView2<'_, f32>) -> Result<(), ReduceError>) -> Result<(), ReduceError> {
        let (n, d) = (self.queries.n_rows(), self.queries.n_features());
        for start in (0..n).step_by(1 << 14) {
            let rows = start..(start + (1 << 14)).min(n);
            let values = rows.clone().flat_map(|row| self.queries.row(row).iter().copied()).collect();
            take(ArrayView2::from(&Array2::from_shape_vec((rows.len(), d), values).expect("rows of one width")))?;
        }
        Ok(())
    }
}

impl KnnIndex for DiskIndex {
    fn n_rows(&self) -> usize {
        self.queries.n_rows()
    }

    fn n_features(&self) -> usize {
        self.queries.n_features()
    }

    fn row(&self, id: usize) -> &[f32] {
        self.queries.row(id)
    }

    fn graph(&self, k: usize, progress: &Progress) -> Result<(Neighbours, GraphReport), ReduceError> {
        let KnnOptions { target_recall, seed, .. } = self.options;
        let options = DiskOptions { target_recall, seed, ..DiskOptions::default() };
        let (graph, report) = graph_on_disk(self, k, &options, progress)?;
        Ok((graph.read(0..graph.n_rows())?, report))
    }

    fn query(&self, queries: ArrayView2<'_, f32>, k: usize, progress: &Progress) -> Result<Neighbours, ReduceError> {
        self.queries.query(queries, k, progress)
    }

    fn first_components(&self, n_axes: usize) -> Option<Array2<f32>> {
        self.queries.first_components(n_axes)
    }

    fn order(&self) -> Option<&[u32]> {
        self.queries.order()
    }

    fn add_to(&self, arrays: Arrays) -> Arrays {
        self.queries.add_to(arrays)
    }
}
