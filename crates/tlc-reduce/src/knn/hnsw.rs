//! A navigable small world graph, behind our own guard.
//!
//! What `hnsw_rs` 0.3.5 needs from its caller, and gets here:
//! 1. insertion in row order by one thread: its level generator has a fixed seed, its parallel
//!    insertion is a race;
//! 2. `ef_construction` above `2 · M`, or its diversity heuristic never acts;
//! 3. finite rows: its L2 panics on NaN;
//! 4. the row itself is dropped from its list by number, never by position;
//! 5. rows that cannot find themselves (in-links are dropped without regard to reachability) are
//!    remembered and offered to every query;
//! 6. lists are mended by a sweep over neighbours of neighbours; where that does not reach the recall
//!    asked for, the walks themselves are made wider, since a sweep cannot leave a cluster that the walk
//!    never entered;
//! 7. distances are recomputed in our fixed order.

use std::fmt;

use hnsw_rs::prelude::{DistL2, Hnsw};
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use tlc_core::{Cancelled, Progress, ReduceError};

use super::recall::TrueNeighbours;
use super::rows::Rows;
use super::sweep::sweep;
use super::{GraphReport, KnnIndex, KnnMethod, KnnOptions, Nearest, Neighbours};
use crate::distance::squared_euclidean;

const MAX_LINKS: usize = 16;
const EF_CONSTRUCTION: usize = 100;
const MAX_LAYERS: usize = 16;
/// Rows that a walk keeps in view (Malkov & Yashunin 2020, `ef`): the first is tried, the next only where
/// recall was not reached.
const EF_SEARCH: [usize; 3] = [64, 192, 576];

/// Answers queries by walking a graph.
pub struct HnswIndex {
    rows: Rows,
    graph: Hnsw<'static, f32, DistL2>,
    /// Rows that the graph does not lead to.
    hidden: Vec<u32>,
    options: KnnOptions,
}

impl fmt::Debug for HnswIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HnswIndex").field("rows", &self.rows.view().dim()).finish_non_exhaustive()
    }
}

impl HnswIndex {
    /// Inserts `rows`, `(n, d)`, in order.
    ///
    /// # Errors
    /// Cancellation.
    pub(crate) fn build(rows: Array2<f32>, options: KnnOptions, progress: &Progress) -> Result<Self, ReduceError> {
        let rows = Rows::new(rows);
        let graph = Hnsw::new(MAX_LINKS, rows.len(), MAX_LAYERS, EF_CONSTRUCTION, DistL2 {});
        let task = progress.task("build hnsw graph", rows.len() as u64);
        for id in 0..rows.len() {
            graph.insert((rows.row(id), id));
            if id % 256 == 255 {
                task.advance(256)?;
            }
        }
        let mut index = Self { rows, graph, hidden: Vec::new(), options };
        let task = progress.task("check hnsw graph", index.rows.len() as u64);
        let missed: Result<Vec<_>, Cancelled> = (0..index.rows.len())
            .into_par_iter()
            .map(|id| {
                task.advance(1)?;
                // A duplicate in its place is as good.
                let found = index
                    .search(index.rows.row(id), 1, EF_SEARCH[0])
                    .first()
                    .is_some_and(|(squared, _)| *squared == 0.0);
                Ok((!found).then_some(id as u32))
            })
            .collect();
        index.hidden = missed?.into_iter().flatten().collect();
        Ok(index)
    }

    /// Up to `k` near rows with directly computed distances, nearest first, of a walk that keeps `ef` in view.
    fn search(&self, query: &[f32], k: usize, ef: usize) -> Vec<(f32, u32)> {
        let mut nearest = Nearest::new(k);
        for found in self.graph.search(query, k, (2 * k).max(ef)) {
            let id = found.d_id;
            nearest.offer(squared_euclidean(query, self.rows.row(id)), id as u32);
        }
        for &id in &self.hidden {
            if !nearest.kept.iter().any(|&(_, kept)| kept == id) {
                nearest.offer(squared_euclidean(query, self.rows.row(id as usize)), id);
            }
        }
        nearest.kept
    }

    /// The neighbours of every row, by walks that keep `ef` in view.
    fn walk(&self, k: usize, ef: usize, progress: &Progress) -> Result<Neighbours, ReduceError> {
        let n = self.rows.len();
        let task = progress.task("nearest neighbours", n as u64);
        let others = |mut list: Vec<(f32, u32)>, id: usize| {
            list.retain(|&(_, other)| other as usize != id);
            list.truncate(k);
            list
        };
        let found: Result<Vec<_>, Cancelled> = (0..n)
            .into_par_iter()
            .map(|id| {
                let mut list = others(self.search(self.rows.row(id), k + 1, ef), id);
                if list.len() < k {
                    list = others(self.search_all(self.rows.row(id), k + 1), id);
                }
                task.advance(1)?;
                Ok(list)
            })
            .collect();
        Ok(Neighbours::from_lists(found?, k))
    }

    /// The way out when the graph does not reach enough rows.
    fn search_all(&self, query: &[f32], k: usize) -> Vec<(f32, u32)> {
        let mut nearest = Nearest::new(k);
        (0..self.rows.len()).for_each(|id| nearest.offer(squared_euclidean(query, self.rows.row(id)), id as u32));
        nearest.kept
    }
}

impl KnnIndex for HnswIndex {
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
        let mut reached = None;
        for ef in EF_SEARCH {
            let mut neighbours = self.walk(k, ef, progress)?;
            sweep(&mut neighbours, &self.rows, progress)?;
            let recall = truth.recall(&neighbours, |row| row as usize);
            reached = Some((neighbours, recall));
            if recall >= self.options.target_recall {
                break;
            }
        }
        let (neighbours, recall) = reached.expect("there is a first width");
        Ok((neighbours, GraphReport { method: KnnMethod::Hnsw, recall, sampled_rows: truth.n_rows() }))
    }

    fn query(&self, queries: ArrayView2<'_, f32>, k: usize, progress: &Progress) -> Result<Neighbours, ReduceError> {
        let queries = queries.as_standard_layout();
        let task = progress.task("nearest neighbours", queries.nrows() as u64);
        let lists: Result<Vec<_>, Cancelled> = queries
            .axis_iter(Axis(0))
            .into_par_iter()
            .map(|query| {
                let query = query.as_slice().expect("standard layout");
                let mut list = self.search(query, k, EF_SEARCH[0]);
                if list.len() < k {
                    list = self.search_all(query, k);
                }
                task.advance(1)?;
                Ok(list)
            })
            .collect();
        Ok(Neighbours::from_lists(lists?, k))
    }
}
