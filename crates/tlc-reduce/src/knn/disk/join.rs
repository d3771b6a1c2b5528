//! Each cell joined with its nearest cells.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ndarray::{Array2, s};
use rayon::prelude::*;
use tlc_core::{Progress, ReduceError};

use super::cell_file::CellFile;
use super::record_file::RecordFile;
use super::{DiskGraph, DiskOptions, QUERY_ROWS, nearest_first};
use crate::knn::exact::search_within;
use crate::knn::rows::Rows;

impl CellFile {
    /// The cells that `cell` is joined with: the nearest `joined`, or more if those hold fewer rows than `least_rows`.
    fn joined_with(&self, cell: usize, joined: usize, least_rows: usize) -> Vec<usize> {
        let near = self.near.row(cell);
        let (mut cells, mut n_rows) = (Vec::new(), 0);
        let rest = || (0..self.n_cells()).filter(|&other| near.iter().all(|&near| near as usize != other));
        for other in near.iter().map(|&near| near as usize).chain(rest()) {
            if cells.len() >= joined && n_rows >= least_rows {
                break;
            }
            n_rows += self.range(other).len();
            cells.push(other);
        }
        cells
    }

    /// All cells, each near the one before where there is such a one left.
    fn walk(&self) -> Vec<usize> {
        let mut left: BTreeSet<usize> = (0..self.n_cells()).collect();
        let mut walk = Vec::with_capacity(left.len());
        let mut cell = 0;
        while left.remove(&cell) {
            walk.push(cell);
            let near = self.near.row(cell).iter().map(|&near| near as usize).find(|near| left.contains(near));
            let Some(next) = near.or_else(|| left.first().copied()) else { break };
            cell = next;
        }
        walk
    }

    pub(super) fn join(
        &self,
        k: usize,
        joined: usize,
        options: &DiskOptions,
        progress: &Progress,
    ) -> Result<DiskGraph, ReduceError> {
        let mut lists = RecordFile::new(options, 2 * k, self.order.len())?;
        let task = progress.task("nearest neighbours", self.order.len() as u64);
        let quiet = Progress::default().task("", 0);
        let mut memory = CellMemory::new(self, options.memory_bytes / 4);
        // What is put side by side for one matrix product after the other.
        let at_once = (options.memory_bytes / 4 / (4 * self.rows.record)).max(QUERY_ROWS);
        for cell in self.walk() {
            let near = self.joined_with(cell, joined, k + 1);
            let all = self.offsets[cell]..self.offsets[cell + 1];
            for start in all.clone().step_by(QUERY_ROWS) {
                let queries = start..(start + QUERY_ROWS).min(all.end);
                let values = self.read(queries.clone())?;
                let mut nearest: Vec<Vec<(f32, u32)>> = vec![Vec::new(); queries.len()];
                let mut side_by_side = SideBySide::default();
                for (i, &other) in near.iter().enumerate() {
                    side_by_side.add(self.range(other).start, memory.get(other)?);
                    if side_by_side.n_rows >= at_once || i + 1 == near.len() {
                        let (rows, place_of) = std::mem::take(&mut side_by_side).together();
                        // One more, since a row is its own nearest.
                        let found = search_within(&rows, values.view(), (k + 1).min(rows.len()), &quiet)?;
                        nearest.par_iter_mut().enumerate().for_each(|(at, list)| {
                            let (ids, squared) = (found.indices.row(at), found.squared.row(at));
                            let places = ids.iter().map(|&id| place_of(id as usize));
                            list.extend(squared.iter().copied().zip(places.map(|place| place as u32)));
                            list.retain(|&(_, place)| place as usize != queries.start + at);
                            nearest_first(list, k);
                        });
                        progress.check()?;
                    }
                }
                for (list, place) in nearest.iter_mut().zip(queries.clone()) {
                    list.iter_mut().for_each(|(_, id)| *id = self.order[*id as usize]);
                    nearest_first(list, k);
                    let words = list.iter().map(|(_, id)| *id).chain(list.iter().map(|(squared, _)| squared.to_bits()));
                    lists.write(self.order[place] as usize, words)?;
                }
                task.advance(queries.len() as u64)?;
            }
        }
        Ok(DiskGraph { lists, k })
    }
}

/// Rows of several cells, to be compared at once.
#[derive(Default)]
struct SideBySide {
    /// Where each begins in the file, and its rows.
    parts: Vec<(usize, Arc<Array2<f32>>)>,
    n_rows: usize,
}

impl SideBySide {
    fn add(&mut self, start: usize, rows: Arc<Array2<f32>>) {
        self.n_rows += rows.nrows();
        self.parts.push((start, rows));
    }

    /// The rows, and the place of each in the file.
    fn together(self) -> (Rows, impl Fn(usize) -> usize + Sync) {
        let width = self.parts.first().map_or(0, |(_, rows)| rows.ncols());
        let mut values = Array2::zeros((self.n_rows, width));
        let mut starts = Vec::new();
        let mut first = 0;
        for (start, rows) in self.parts {
            values.slice_mut(s![first..first + rows.nrows(), ..]).assign(&*rows);
            starts.push((first, start));
            first += rows.nrows();
        }
        let place_of = move |id: usize| {
            let (first, start) = starts[starts.partition_point(|&(first, _)| first <= id) - 1];
            start + id - first
        };
        (Rows::new(values), place_of)
    }
}

/// The cells that were used last.
struct CellMemory<'a> {
    cells: &'a CellFile,
    n_values: usize,
    max_values: usize,
    held: BTreeMap<usize, (u64, Arc<Array2<f32>>)>,
    /// When each was used last.
    by_use: BTreeMap<u64, usize>,
    clock: u64,
}

impl<'a> CellMemory<'a> {
    fn new(cells: &'a CellFile, max_bytes: usize) -> Self {
        Self { cells, n_values: 0, max_values: max_bytes / 4, held: BTreeMap::new(), by_use: BTreeMap::new(), clock: 0 }
    }

    fn get(&mut self, cell: usize) -> Result<Arc<Array2<f32>>, ReduceError> {
        self.clock += 1;
        let rows = match self.held.remove(&cell) {
            Some((used, rows)) => {
                self.by_use.remove(&used);
                rows
            }
            None => {
                let rows = Arc::new(self.cells.read(self.cells.range(cell))?);
                self.n_values += rows.len();
                while self.n_values > self.max_values
                    && let Some((_, oldest)) = self.by_use.pop_first()
                    && let Some((_, rows)) = self.held.remove(&oldest)
                {
                    self.n_values -= rows.len();
                }
                rows
            }
        };
        self.held.insert(cell, (self.clock, rows.clone()));
        self.by_use.insert(self.clock, cell);
        Ok(rows)
    }
}
