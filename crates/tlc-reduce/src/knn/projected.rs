//! Wide rows: searched by their first principal components, ranked by their full width.
//!
//! Distances in the projection are lower bounds, and in embeddings of networks a hundred components
//! hold nearly all of them. So more neighbours than wanted are taken from the projection, and the
//! nearest by full distances kept; for the graph of the known rows, more are taken until the recall
//! estimated on a sample reaches the target.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use tlc_core::{Arrays, Cancelled, Progress, ReduceError};

use super::recall::TrueNeighbours;
use super::rows::Rows;
use super::{CellsIndex, GraphReport, KnnIndex, KnnMethod, KnnOptions, Neighbours, nearest_of};
use crate::pca::PrincipalAxes;

const N_AXES: usize = 96;
/// How many neighbours are taken from the projection for each wanted one, in turn.
const TAKEN: [usize; 3] = [2, 4, 8];
/// At least this many more than wanted.
const LEAST_EXTRA: usize = 15;
const CHUNK: usize = 256;

/// Answers queries by looking into near cells of the projected rows.
#[derive(Debug)]
pub struct ProjectedIndex {
    rows: Rows,
    axes: PrincipalAxes,
    narrow: CellsIndex,
    options: KnnOptions,
}

impl ProjectedIndex {
    pub(crate) fn build(
        rows: Array2<f32>,
        options: KnnOptions,
        arrays: &mut Arrays,
        progress: &Progress,
    ) -> Result<Self, ReduceError> {
        let axes = if arrays.contains("knn_pca_axes") {
            PrincipalAxes::from_arrays_named(arrays, "knn_pca")?
        } else {
            PrincipalAxes::fit(rows.view(), N_AXES, options.seed)?
        };
        if axes.n_features() != rows.ncols() {
            return Err(ReduceError::model("its projection has another width than its rows"));
        }
        let narrow = CellsIndex::build(axes.project(rows.view()), options, arrays, progress)?;
        Ok(Self { rows: Rows::new(rows), axes, narrow, options })
    }

    fn n_taken(&self, k: usize, factor: usize, most: usize) -> usize {
        (k * factor).max(k + LEAST_EXTRA).min(most)
    }

    /// The nearest `k` of each row's `found`.
    fn rank<'q>(
        &self,
        found: &Neighbours,
        k: usize,
        query: impl Fn(usize) -> &'q [f32] + Sync,
        progress: &Progress,
    ) -> Result<Neighbours, Cancelled> {
        let (n, taken) = found.indices.dim();
        let task = progress.task("rank neighbours", n as u64);
        let ids = found.indices.as_slice().expect("standard layout");
        let mut ranked = Neighbours { indices: Array2::zeros((n, k)), squared: Array2::zeros((n, k)) };
        let targets = ranked.indices.as_slice_mut().expect("new").par_chunks_mut(CHUNK * k);
        let targets = targets.zip(ranked.squared.as_slice_mut().expect("new").par_chunks_mut(CHUNK * k));
        targets.enumerate().try_for_each(|(chunk, (target_ids, target_distances))| {
            let targets = target_ids.chunks_exact_mut(k).zip(target_distances.chunks_exact_mut(k));
            for (place, (target_ids, target_distances)) in targets.enumerate() {
                let row = chunk * CHUNK + place;
                let candidates = ids[row * taken..(row + 1) * taken].iter().copied();
                let nearest = nearest_of(candidates, query(row), None, k, &self.rows);
                for ((id, distance), (squared, other)) in target_ids.iter_mut().zip(target_distances).zip(nearest) {
                    (*id, *distance) = (other, squared);
                }
            }
            task.advance((target_ids.len() / k) as u64)
        })?;
        Ok(ranked)
    }
}

impl KnnIndex for ProjectedIndex {
    fn n_rows(&self) -> usize {
        self.rows.len()
    }

    fn n_features(&self) -> usize {
        self.rows.width()
    }

    fn row(&self, id: usize) -> &[f32] {
        self.rows.row(id)
    }

    fn graph(&self, k: usize, progress: &Progress) -> Result<(Neighbours, GraphReport), ReduceError> {
        let truth = TrueNeighbours::of_sample(&self.rows, k, self.options.seed, progress)?;
        let mut best = None;
        for factor in TAKEN {
            let taken = self.n_taken(k, factor, self.rows.len() - 1);
            let (found, _) = self.narrow.graph(taken, progress)?;
            let ranked = self.rank(&found, k, |row| self.rows.row(row), progress)?;
            let recall = truth.recall(&ranked, |row| row as usize);
            best = Some((ranked, recall));
            if recall >= self.options.target_recall || taken + 1 == self.rows.len() {
                break;
            }
        }
        let (neighbours, recall) = best.expect("at least one number was tried");
        Ok((neighbours, GraphReport { method: KnnMethod::Cells, recall, sampled_rows: truth.n_rows() }))
    }

    fn query(&self, queries: ArrayView2<'_, f32>, k: usize, progress: &Progress) -> Result<Neighbours, ReduceError> {
        let queries = queries.as_standard_layout();
        let taken = self.n_taken(k, TAKEN[1], self.rows.len());
        let found = self.narrow.query(self.axes.project(queries.view()).view(), taken, progress)?;
        let width = queries.ncols();
        let values = queries.as_slice().expect("standard layout");
        Ok(self.rank(&found, k, |row| &values[row * width..(row + 1) * width], progress)?)
    }

    fn add_to(&self, arrays: Arrays) -> Arrays {
        self.narrow.add_to(self.axes.clone().into_arrays_named(arrays, "knn_pca"))
    }
}
