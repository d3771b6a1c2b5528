//! Neighbours of neighbours, looked at for some cells at a time.
//!
//! The neighbours of a row lie in the cells that its own was joined with, and theirs mostly, too: with the rows of those
//! cells in memory, and their lists, a sweep (`sweep.rs`) misses few. What was mended for earlier cells counts for later ones.

use ndarray::{Array2, s};
use rayon::prelude::*;
use tlc_core::{Progress, ReduceError};

use super::cell_file::{CellFile, Together};
use super::{DiskGraph, DiskOptions};
use crate::knn::Neighbours;
use crate::knn::rows::Rows;
use crate::knn::sweep::sweep;

/// What a sweep holds of each row besides its values and its list.
const SWEEP_BYTES: usize = 96;

impl CellFile {
    /// Replaces neighbours by nearer ones. The lists of `graph` are in the order of places, and found by joining each cell
    /// with its nearest `joined`.
    pub(super) fn mend(
        &self,
        graph: &mut DiskGraph,
        joined: usize,
        options: &DiskOptions,
        progress: &Progress,
    ) -> Result<(), ReduceError> {
        let task = progress.task("mend neighbours", self.order.len() as u64);
        // A list is held twice for a while.
        let row_bytes = 4 * self.rows.record + 16 * graph.k() + SWEEP_BYTES;
        let most_rows = options.memory_bytes / 2 / row_bytes;
        let mut region = Region::default();
        for cell in self.walk() {
            let near = self.joined_with(cell, joined, 0);
            let has_room = region.together.with(&near, self) <= most_rows;
            if !has_room && !region.own.is_empty() {
                task.advance(std::mem::take(&mut region).mend(self, graph)?)?;
            }
            // Of one that fits not even alone the nearest cells.
            let mut n_rows = 0;
            let fitting = near.into_iter().enumerate().take_while(|&(at, near)| {
                n_rows += self.range(near).len();
                at == 0 || has_room || n_rows <= most_rows
            });
            region.together.add(&fitting.map(|(_, near)| near).collect::<Vec<_>>(), self);
            region.own.push(cell);
        }
        task.advance(region.mend(self, graph)?)?;
        Ok(())
    }
}

/// Cells whose lists are mended, and those near them.
#[derive(Default)]
struct Region {
    own: Vec<usize>,
    together: Together,
}

/// The rows of a cell among those in memory.
struct Part {
    first_place: usize,
    first_row: usize,
    n_rows: usize,
}

impl Region {
    /// Gives the number of rows whose lists were mended.
    fn mend(self, file: &CellFile, graph: &mut DiskGraph) -> Result<u64, ReduceError> {
        let (k, n) = (graph.k(), self.together.n_rows);
        let mut parts = Vec::with_capacity(self.together.cells.len());
        let others = self.together.cells.iter().copied().filter(|cell| !self.own.contains(cell));
        let mut first_row = 0;
        for places in self.own.iter().copied().chain(others).map(|cell| file.range(cell)) {
            parts.push(Part { first_place: places.start, first_row, n_rows: places.len() });
            first_row += places.len();
        }
        let n_own = parts.get(self.own.len()).map_or(n, |part| part.first_row);
        let mut values = Array2::<f32>::zeros((n, file.rows.record));
        let mut lists = Neighbours { indices: Array2::zeros((n, k)), squared: Array2::zeros((n, k)) };
        for part in &parts {
            let rows = s![part.first_row..part.first_row + part.n_rows, ..];
            file.rows.read_into(part.first_place, values.slice_mut(rows).as_slice_mut().expect("whole rows"))?;
            let read = graph.read(part.first_place..part.first_place + part.n_rows)?;
            lists.indices.slice_mut(rows).assign(&read.indices);
            lists.squared.slice_mut(rows).assign(&read.squared);
        }
        let elsewhere = to_rows(&mut lists, &parts, n_own);
        // Cancellation is asked for after each region.
        sweep(&mut lists, &Rows::new(values), n_own, &Progress::default())?;
        to_places(&mut lists, &parts, n_own, &elsewhere);
        for part in &parts[..self.own.len()] {
            let rows = s![part.first_row..part.first_row + part.n_rows, ..];
            graph.write(part.first_place, lists.indices.slice(rows), lists.squared.slice(rows))?;
        }
        Ok(n_own as u64)
    }
}

/// From places in the file to rows in memory. What is not there becomes the row itself, which a sweep leaves out. Gives
/// these places of the first `n_own` rows with the row of each, in the order of the lists.
fn to_rows(lists: &mut Neighbours, parts: &[Part], n_own: usize) -> Vec<(usize, u32)> {
    let k = lists.k();
    let mut by_place: Vec<&Part> = parts.iter().collect();
    by_place.sort_unstable_by_key(|part| part.first_place);
    let row_at = |place: usize| {
        let after = by_place.partition_point(|part| part.first_place <= place);
        let part = after.checked_sub(1).map(|at| by_place[at]).filter(|it| place < it.first_place + it.n_rows);
        part.map(|part| part.first_row + place - part.first_place)
    };
    let lists = lists.indices.as_slice_mut().expect("new").par_chunks_mut(k).enumerate();
    let elsewhere = lists.flat_map_iter(|(row, list)| {
        let mut elsewhere = Vec::new();
        for id in list {
            let place = std::mem::replace(id, row as u32);
            match row_at(place as usize) {
                Some(other) => *id = other as u32,
                None if row < n_own => elsewhere.push((row, place)),
                None => {}
            }
        }
        elsewhere
    });
    elsewhere.collect()
}

/// Back again, for the first `n_own` rows. Of what lies elsewhere the nearest are left, if any are.
fn to_places(lists: &mut Neighbours, parts: &[Part], n_own: usize, elsewhere: &[(usize, u32)]) {
    let k = lists.k();
    let lists = lists.indices.as_slice_mut().expect("new")[..n_own * k].par_chunks_mut(k).enumerate();
    lists.for_each(|(row, list)| {
        let mut left = elsewhere[elsewhere.partition_point(|(other, _)| *other < row)..].iter();
        for id in list {
            let other = *id as usize;
            *id = match other == row {
                true => left.next().expect("as many as there were").1,
                false => {
                    let part = &parts[parts.partition_point(|part| part.first_row <= other) - 1];
                    (part.first_place + other - part.first_row) as u32
                }
            };
        }
    });
}
