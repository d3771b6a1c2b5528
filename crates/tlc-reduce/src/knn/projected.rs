//! Wide rows: searched by their first principal components, ranked by their full width.
//!
//! Distances in the projection are lower bounds, and in embeddings of networks a hundred components
//! hold nearly all of them. So more neighbours than wanted are taken from the projection, and the
//! nearest by full distances kept. Where the recall estimated on a sample is below the target the graph of the known
//! rows is mended by full distances, at half a second a sweep for 60,000 images of 784 values. With 24 cells joined and
//! three times as many taken two or three sweeps were needed there (4.1 s for the whole of a UMAP fit), with 40 cells
//! and four times as many none (3.3 s).

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use tlc_core::{Arrays, Cancelled, Progress, ReduceError};

use super::recall::TrueNeighbours;
use super::rows::Rows;
use super::{CellsIndex, GraphReport, KnnIndex, KnnMethod, KnnOptions, Nearest, Neighbours, sweep::sweep};
use crate::distance::squared_euclidean;
use crate::pca::PrincipalAxes;
use crate::simd::vectorised;

const N_AXES: usize = 128;
/// How many neighbours are taken from the projection for each wanted one.
const TAKEN_FOR_GRAPH: usize = 4;
const TAKEN_FOR_QUERY: usize = 2;
/// Sweeps over neighbours of neighbours by full width.
const SWEEPS: usize = 3;
/// The graph of the projection is only a beginning.
const NARROW_RECALL: f64 = 0.95;
const NARROW_JOINED: [usize; 2] = [40, 80];
/// At least this many more than wanted.
const LEAST_EXTRA: usize = 15;
const CHUNK: usize = 256;

/// Answers queries by looking into near cells of the projected rows.
#[derive(Debug)]
pub struct ProjectedIndex {
    /// In the order of the cells, so that near rows lie together.
    ordered: Rows,
    /// How much longer a distance in the projection may come out by rounding.
    slack: f32,
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
            PrincipalAxes::fit(rows.view(), N_AXES, options.seed, progress)?
        };
        if axes.n_features() != rows.ncols() {
            return Err(ReduceError::model("its projection has another width than its rows"));
        }
        let narrow = CellsIndex::build(
            axes.coordinates(rows.view()),
            NARROW_JOINED,
            KnnOptions { target_recall: NARROW_RECALL, ..options },
            arrays,
            progress,
        )?;
        let ordered = Rows::new(rows).reorder(narrow.cell_order());
        // Sums of d terms, each coordinate's error relative to the row's length (Higham 2002, section 3.1).
        let slack = 4.0 * f32::EPSILON * (ordered.width() as f32).sqrt() * ordered.largest_norm(0..ordered.len());
        Ok(Self { ordered, slack, axes, narrow, options })
    }

    fn n_taken(&self, k: usize, factor: usize, most: usize) -> usize {
        (k * factor).max(k + LEAST_EXTRA).min(most)
    }

    /// The nearest `k` of each query's `found`, which are places in the order of the cells.
    ///
    /// Distances in the projection are lower bounds up to rounding: once they exceed the k-th nearest, none of the rest
    /// can be near.
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
        let bounds = found.squared.as_slice().expect("standard layout");
        let mut ranked = Neighbours { indices: Array2::zeros((n, k)), squared: Array2::zeros((n, k)) };
        let targets = ranked.indices.as_slice_mut().expect("new").par_chunks_mut(CHUNK * k);
        let targets = targets.zip(ranked.squared.as_slice_mut().expect("new").par_chunks_mut(CHUNK * k));
        targets.enumerate().try_for_each(|(chunk, (target_ids, target_distances))| {
            let targets = target_ids.chunks_exact_mut(k).zip(target_distances.chunks_exact_mut(k));
            for (place, (target_ids, target_distances)) in targets.enumerate() {
                let row = chunk * CHUNK + place;
                let (range, values) = (row * taken..(row + 1) * taken, query(row));
                let mut nearest = Nearest::new(k);
                vectorised(
                    #[inline(always)]
                    || {
                        for (&id, &bound) in ids[range.clone()].iter().zip(&bounds[range]) {
                            if bound.sqrt() > nearest.worst().sqrt() + self.slack {
                                break;
                            }
                            nearest.offer(squared_euclidean(values, self.ordered.row(id as usize)), id);
                        }
                    },
                );
                for ((id, distance), (squared, other)) in target_ids.iter_mut().zip(target_distances).zip(nearest.kept)
                {
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
        self.ordered.len()
    }

    fn n_features(&self) -> usize {
        self.ordered.width()
    }

    fn row(&self, id: usize) -> &[f32] {
        self.ordered.row(self.narrow.place_of(id as u32) as usize)
    }

    fn graph(&self, k: usize, progress: &Progress) -> Result<(Neighbours, GraphReport), ReduceError> {
        let truth = TrueNeighbours::of_sample(&self.ordered, k, self.options.seed, progress)?;

        let taken = self.n_taken(k, TAKEN_FOR_GRAPH, self.ordered.len() - 1);
        let (found, _) = self.narrow.ordered_graph(taken, progress)?;

        let mut ordered = self.rank(&found, k, |place| self.ordered.row(place), progress)?;
        let mut recall = truth.recall(&ordered, |place| place as usize);

        for _ in 0..SWEEPS {
            if recall < self.options.target_recall {
                sweep(&mut ordered, &self.ordered, progress)?;
                recall = truth.recall(&ordered, |place| place as usize);
            }
        }
        let report = GraphReport { method: KnnMethod::Cells, recall, sampled_rows: truth.n_rows() };
        Ok((self.narrow.in_row_order(ordered), report))
    }

    fn query(&self, queries: ArrayView2<'_, f32>, k: usize, progress: &Progress) -> Result<Neighbours, ReduceError> {
        let queries = queries.as_standard_layout();
        let taken = self.n_taken(k, TAKEN_FOR_QUERY, self.ordered.len());
        let mut found = self.narrow.query(self.axes.coordinates(queries.view()).view(), taken, progress)?;
        found.indices.mapv_inplace(|row| self.narrow.place_of(row));
        // Queries that are near each other one after the other: they read the same rows.
        let mut turns: Vec<usize> = (0..queries.nrows()).collect();
        turns.sort_by_key(|&query| found.indices[[query, 0]]);
        let found = Neighbours {
            indices: found.indices.select(Axis(0), &turns),
            squared: found.squared.select(Axis(0), &turns),
        };
        let width = queries.ncols();
        let values = queries.as_slice().expect("standard layout");
        let value = |turn: usize| &values[turns[turn] * width..(turns[turn] + 1) * width];
        let ranked = self.rank(&found, k, value, progress)?;
        let order = self.narrow.cell_order();
        let mut answers =
            Neighbours { indices: Array2::zeros(ranked.indices.dim()), squared: Array2::zeros(ranked.squared.dim()) };
        for (turn, &query) in turns.iter().enumerate() {
            let (places, distances) = (ranked.indices.row(turn), ranked.squared.row(turn));
            let mut list: Vec<(f32, u32)> =
                distances.iter().zip(places).map(|(&squared, &place)| (squared, order[place as usize])).collect();
            // Ties go to the lower row number.
            list.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let targets = answers.indices.row_mut(query).into_iter().zip(answers.squared.row_mut(query));
            targets.zip(list).for_each(|((id, distance), (squared, row))| (*id, *distance) = (row, squared));
        }
        Ok(answers)
    }

    fn first_components(&self, n_axes: usize) -> Option<Array2<f32>> {
        let n_axes = n_axes.min(self.narrow.n_features());
        Some(Array2::from_shape_fn((self.ordered.len(), n_axes), |(id, axis)| self.narrow.row(id)[axis]))
    }

    fn order(&self) -> Option<&[u32]> {
        self.narrow.order()
    }

    fn add_to(&self, arrays: Arrays) -> Arrays {
        self.narrow.add_to(self.axes.clone().into_arrays_named(arrays, "knn_pca"))
    }
}
