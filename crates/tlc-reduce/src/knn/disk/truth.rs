//! The true neighbours of some rows, by a look at all.

use ndarray::{Array2, Axis};
use tlc_core::{Progress, ReduceError};

use super::cell_file::CellFile;
use super::{DiskGraph, DiskOptions, QUERY_ROWS, nearest_first};
use crate::knn::exact::search_within;
use crate::knn::recall::{SAMPLED_ROWS, sample};
use crate::knn::rows::Rows;

/// The true neighbours of some rows.
pub(super) struct Truth {
    /// Row numbers.
    pub(super) rows: Vec<u32>,
    /// For each the places of its `k` nearest others and their squared distances, nearest first; and its own cell.
    nearest: Vec<(usize, Vec<(f32, u32)>)>,
}

impl Truth {
    pub(super) fn of_sample(
        cells: &CellFile,
        k: usize,
        options: &DiskOptions,
        progress: &Progress,
    ) -> Result<Self, ReduceError> {
        let n = cells.order.len();
        let places = sample(n, SAMPLED_ROWS, options.seed);
        let rows = places.iter().map(|&place| cells.order[place as usize]).collect();
        let queries: Result<Vec<Array2<f32>>, ReduceError> =
            places.iter().map(|&place| cells.read(place as usize..place as usize + 1)).collect();
        let queries = queries?;
        let queries: Vec<_> = queries.iter().map(|row| row.view()).collect();
        let queries = ndarray::concatenate(Axis(0), &queries)
            .map_err(|error| ReduceError::backend("put the sampled rows together", error))?;
        let mut nearest: Vec<Vec<(f32, u32)>> = vec![Vec::new(); places.len()];
        let at_once = (options.memory_bytes / 4 / (4 * cells.rows.record)).max(QUERY_ROWS);
        let task = progress.task("true neighbours of a sample", n as u64);
        let quiet = Progress::default().task("", 0);
        for start in (0..n).step_by(at_once) {
            let block = start..(start + at_once).min(n);
            let rows = Rows::new(cells.read(block.clone())?);
            let found = search_within(&rows, queries.view(), (k + 1).min(rows.len()), &quiet)?;
            for (at, list) in nearest.iter_mut().enumerate() {
                let (ids, squared) = (found.indices.row(at), found.squared.row(at));
                list.extend(squared.iter().copied().zip(ids.iter().map(|&id| start as u32 + id)));
                list.retain(|&(_, place)| place != places[at]);
                nearest_first(list, k);
            }
            task.advance(block.len() as u64)?;
        }
        let own = places.iter().map(|&place| cells.cell_of(place as usize));
        Ok(Self { rows, nearest: own.zip(nearest).collect() })
    }

    /// With how many cells each must be joined, itself included, and the recall that this gives.
    pub(super) fn cells_to_join(&self, cells: &CellFile, target: f64) -> (usize, f64) {
        let mut found_in = vec![0_usize; cells.near.ncols()];
        let mut total = 0;
        for (own, list) in &self.nearest {
            for &(_, place) in list {
                total += 1;
                let cell = cells.cell_of(place as usize);
                let rank = cells.near.row(*own).iter().position(|&near| near as usize == cell);
                if let Some(rank) = rank.filter(|_| cells.range(cell).contains(&(place as usize))) {
                    found_in[rank] += 1;
                }
            }
        }
        let mut found = 0;
        for (rank, count) in found_in.iter().enumerate() {
            found += count;
            let recall = found as f64 / total as f64;
            if recall >= target || rank + 1 == found_in.len() {
                return (rank + 1, recall);
            }
        }
        (1, 0.0)
    }

    /// The share of true neighbours that `graph` holds; one that is as near as the k-th true one counts.
    pub(super) fn recall(&self, graph: &DiskGraph) -> Result<f64, ReduceError> {
        let mut hits = 0;
        for (&row, (_, list)) in self.rows.iter().zip(&self.nearest) {
            let farthest = list.last().map_or(0.0, |&(squared, _)| squared);
            let found = graph.read(row as usize..row as usize + 1)?;
            hits += found.squared.iter().filter(|&&squared| squared <= farthest).count();
        }
        Ok(hits as f64 / (self.rows.len() * graph.k) as f64)
    }
}
