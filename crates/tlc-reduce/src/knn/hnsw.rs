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
//! 6. lists are mended by one sweep over neighbours of neighbours;
//! 7. distances are recomputed in our fixed order.

use std::fmt;

use hnsw_rs::prelude::{DistL2, Hnsw};
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use tlc_core::{Cancelled, Progress, ReduceError};

use super::{Nearest, Neighbours};
use crate::distance::squared_euclidean;

const MAX_LINKS: usize = 16;
const EF_CONSTRUCTION: usize = 100;
const MAX_LAYERS: usize = 16;

/// Answers queries by walking a graph.
pub struct HnswIndex {
    rows: Array2<f32>,
    graph: Hnsw<'static, f32, DistL2>,
    /// Rows that the graph does not lead to.
    hidden: Vec<u32>,
}

impl fmt::Debug for HnswIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HnswIndex").field("rows", &self.rows.dim()).finish_non_exhaustive()
    }
}

impl HnswIndex {
    /// Inserts `rows`, `(n, d)`, in order.
    ///
    /// # Errors
    /// Cancellation.
    pub fn build(rows: Array2<f32>, progress: &Progress) -> Result<Self, ReduceError> {
        let rows = if rows.is_standard_layout() { rows } else { rows.as_standard_layout().into_owned() };
        let graph = Hnsw::new(MAX_LINKS, rows.nrows(), MAX_LAYERS, EF_CONSTRUCTION, DistL2 {});
        let task = progress.task("build hnsw graph", rows.nrows() as u64);
        for (id, row) in rows.outer_iter().enumerate() {
            graph.insert((row.as_slice().expect("standard layout"), id));
            if id % 256 == 255 {
                task.advance(256)?;
            }
        }
        let mut index = Self { rows, graph, hidden: Vec::new() };
        let task = progress.task("check hnsw graph", index.rows.nrows() as u64);
        let missed: Result<Vec<_>, Cancelled> = (0..index.rows.nrows())
            .into_par_iter()
            .map(|id| {
                task.advance(1)?;
                // A duplicate in its place is as good.
                let found = index.search(index.row(id), 1).first().is_some_and(|(squared, _)| *squared == 0.0);
                Ok((!found).then_some(id as u32))
            })
            .collect();
        index.hidden = missed?.into_iter().flatten().collect();
        Ok(index)
    }

    /// The rows it was built on.
    pub fn rows(&self) -> ArrayView2<'_, f32> {
        self.rows.view()
    }

    pub(super) fn graph(&self, k: usize, progress: &Progress) -> Result<Neighbours, ReduceError> {
        let n = self.rows.nrows();
        let task = progress.task("nearest neighbours", n as u64);
        let found: Result<Vec<_>, Cancelled> = (0..n)
            .into_par_iter()
            .map(|id| {
                let list = self.search(self.row(id), k + 1).into_iter().filter(|(_, other)| *other as usize != id);
                task.advance(1)?;
                Ok(list.take(k).collect::<Vec<_>>())
            })
            .collect();
        let swept = self.sweep(&found?, k);
        Ok(Neighbours::from_lists(swept, k))
    }

    pub(super) fn query(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
        progress: &Progress,
    ) -> Result<Neighbours, ReduceError> {
        let queries = queries.as_standard_layout();
        let task = progress.task("nearest neighbours", queries.nrows() as u64);
        let lists: Result<Vec<_>, Cancelled> = queries
            .axis_iter(Axis(0))
            .into_par_iter()
            .map(|query| {
                let query = query.as_slice().expect("standard layout");
                let mut list = self.search(query, k);
                if list.len() < k {
                    list = self.search_all(query, k);
                }
                task.advance(1)?;
                Ok(list)
            })
            .collect();
        Ok(Neighbours::from_lists(lists?, k))
    }

    fn row(&self, id: usize) -> &[f32] {
        self.rows.row(id).to_slice().expect("standard layout")
    }

    /// Up to `k` near rows with directly computed distances, nearest first.
    fn search(&self, query: &[f32], k: usize) -> Vec<(f32, u32)> {
        let mut nearest = Nearest::new(k);
        for found in self.graph.search(query, k, (2 * k).max(64)) {
            let id = found.d_id;
            nearest.offer(squared_euclidean(query, self.row(id)), id as u32);
        }
        for &id in &self.hidden {
            if !nearest.kept.iter().any(|&(_, kept)| kept == id) {
                nearest.offer(squared_euclidean(query, self.row(id as usize)), id);
            }
        }
        nearest.kept
    }

    /// The way out when the graph does not reach enough rows.
    fn search_all(&self, query: &[f32], k: usize) -> Vec<(f32, u32)> {
        let mut nearest = Nearest::new(k);
        (0..self.rows.nrows()).for_each(|id| nearest.offer(squared_euclidean(query, self.row(id)), id as u32));
        nearest.kept
    }

    /// Looks for nearer neighbours among the neighbours of neighbours, forward and reverse, as one
    /// round of NN-descent (Dong, Moses, Li 2011) over the lists as they came in.
    fn sweep(&self, lists: &[Vec<(f32, u32)>], k: usize) -> Vec<Vec<(f32, u32)>> {
        let n = lists.len();
        let width = k.min(15);
        let mut near: Vec<Vec<u32>> = lists.iter().map(|list| list.iter().take(width).map(|e| e.1).collect()).collect();
        for (id, list) in lists.iter().enumerate() {
            for &(_, other) in list.iter().take(width) {
                let reverse = &mut near[other as usize];
                if reverse.len() < 2 * width && !reverse.contains(&(id as u32)) {
                    reverse.push(id as u32);
                }
            }
        }
        (0..n)
            .into_par_iter()
            .map(|id| {
                let mut candidates: Vec<u32> = lists[id].iter().map(|e| e.1).collect();
                for &other in &near[id] {
                    candidates.push(other);
                    candidates.extend_from_slice(&near[other as usize]);
                }
                candidates.sort_unstable();
                candidates.dedup();
                let mut nearest = Nearest::new(k);
                for other in candidates.into_iter().filter(|&other| other as usize != id) {
                    nearest.offer(squared_euclidean(self.row(id), self.row(other as usize)), other);
                }
                if nearest.kept.len() == k {
                    return nearest.kept;
                }
                let mut all = self.search_all(self.row(id), k + 1);
                all.retain(|&(_, other)| other as usize != id);
                all.truncate(k);
                all
            })
            .collect()
    }
}
