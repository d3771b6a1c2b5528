//! Each cell joined with its nearest cells.
//!
//! Blocks of rows of many cells are joined in parallel, with the rows of all cells that these are joined with in memory.
//! Cells that follow each other have mostly the same near ones, so that few are read for the next blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use tlc_core::{Progress, ReduceError};

use super::cell_file::CellFile;
use super::record_file::RecordFile;
use super::{DiskGraph, DiskOptions, nearest_first};
use crate::distance::squared_euclidean;
use crate::knn::candidates::{BLOCK_ROWS, Comparison};
use crate::knn::nearest_of;
use crate::knn::rows::Rows;

/// Blocks that are joined at a time: enough for many threads.
const BLOCKS_AT_ONCE: usize = 256;

/// The nearest of some rows that are known so far: squared distance and place, nearest first.
type Lists = Vec<Vec<(f32, u32)>>;

impl CellFile {
    pub(super) fn join(
        &self,
        k: usize,
        joined: usize,
        options: &DiskOptions,
        progress: &Progress,
    ) -> Result<DiskGraph, ReduceError> {
        let mut lists = RecordFile::new(options, 2 * k, self.order.len())?;
        let task = progress.task("nearest neighbours", self.order.len() as u64);
        // The other half is for what is found, and for products.
        let most_rows = (options.memory_bytes / 2 / (4 * self.rows.record)).max(2 * BLOCK_ROWS);
        let mut held = HeldCells { file: self, cells: BTreeMap::new() };
        let mut batch = Batch::default();
        for cell in self.walk() {
            let near = self.joined_with(cell, joined, k + 1);
            let all = self.offsets[cell]..self.offsets[cell + 1];
            for start in all.clone().step_by(BLOCK_ROWS) {
                let places = start..(start + BLOCK_ROWS).min(all.end);
                if !batch.has_room(&places, &near, most_rows, self) {
                    let done = std::mem::take(&mut batch).join(k, most_rows, &mut held)?;
                    task.advance(self.write_lists(done, k, &mut lists)?)?;
                }
                batch.add(places, near.clone(), self);
            }
        }
        let done = batch.join(k, most_rows, &mut held)?;
        task.advance(self.write_lists(done, k, &mut lists)?)?;
        Ok(DiskGraph { lists, k })
    }

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

    /// Writes the lists of some places to those of their rows. Gives the number of rows.
    fn write_lists(
        &self,
        done: Vec<(Range<usize>, Lists)>,
        k: usize,
        file: &mut RecordFile,
    ) -> Result<u64, ReduceError> {
        let mut n_rows = 0;
        for (place, mut list) in done.into_iter().flat_map(|(places, lists)| places.zip(lists)) {
            list.iter_mut().for_each(|(_, id)| *id = self.order[*id as usize]);
            nearest_first(&mut list, k);
            let words = list.iter().map(|(_, id)| *id).chain(list.iter().map(|(squared, _)| squared.to_bits()));
            file.write(self.order[place] as usize, &words.collect::<Vec<u32>>())?;
            n_rows += 1;
        }
        Ok(n_rows)
    }
}

/// Blocks of rows, and the cells that they are joined with.
#[derive(Default)]
struct Batch {
    blocks: Vec<(Range<usize>, Vec<usize>)>,
    cells: BTreeSet<usize>,
    /// Of the blocks and of the cells.
    n_rows: usize,
}

impl Batch {
    /// Whether a block that is joined with the cells `near` can be added.
    fn has_room(&self, places: &Range<usize>, near: &[usize], most_rows: usize, file: &CellFile) -> bool {
        let more = near.iter().filter(|cell| !self.cells.contains(cell)).map(|&cell| file.range(cell).len());
        let n_rows = self.n_rows + places.len() + more.sum::<usize>();
        self.blocks.is_empty() || (self.blocks.len() < BLOCKS_AT_ONCE && n_rows <= most_rows)
    }

    fn add(&mut self, places: Range<usize>, near: Vec<usize>, file: &CellFile) {
        self.n_rows += places.len();
        for &cell in &near {
            if self.cells.insert(cell) {
                self.n_rows += file.range(cell).len();
            }
        }
        self.blocks.push((places, near));
    }

    /// The nearest of each row of the blocks. Where not even the cells of one block fit into memory, some after the other.
    fn join(
        self,
        k: usize,
        most_rows: usize,
        held: &mut HeldCells<'_>,
    ) -> Result<Vec<(Range<usize>, Lists)>, ReduceError> {
        let queries: Result<Vec<Array2<f32>>, ReduceError> =
            self.blocks.iter().map(|(places, _)| held.file.read(places.clone())).collect();
        let queries = queries?;
        let mut lists: Vec<Lists> = self.blocks.iter().map(|(places, _)| vec![Vec::new(); places.len()]).collect();
        let mut rest: Vec<usize> = self.cells.into_iter().collect();
        while !rest.is_empty() {
            let mut n_rows = 0;
            let fitting = rest.iter().take_while(|&&cell| {
                n_rows += held.file.range(cell).len();
                n_rows <= most_rows
            });
            let n_fitting = fitting.count().max(1);
            held.hold(&rest.drain(..n_fitting).collect())?;
            let blocks = lists.par_iter_mut().zip(&queries).zip(&self.blocks);
            blocks.for_each(|((lists, queries), (places, near))| {
                let near: Vec<_> = near.iter().filter_map(|&cell| held.get(cell)).collect();
                add_nearest(queries.view(), places.start, k, &near, lists);
            });
        }
        Ok(self.blocks.into_iter().map(|(places, _)| places).zip(lists).collect())
    }
}

/// Adds to the lists of `queries`, of which the first lies at `first_place`, what is nearer among `cells`: the place of the
/// first row of each, and its rows.
fn add_nearest(
    queries: ArrayView2<'_, f32>,
    first_place: usize,
    k: usize,
    cells: &[(usize, &Rows)],
    lists: &mut Lists,
) {
    let starts: Vec<u32> =
        cells.iter().scan(0, |end, (_, rows)| Some(std::mem::replace(end, *end + rows.len() as u32))).collect();
    let cell_of = |id: u32| starts.partition_point(|&start| start <= id) - 1;
    let row = |id: u32| {
        let cell = cell_of(id);
        cells[cell].1.row((id - starts[cell]) as usize)
    };
    let place = |id: u32| {
        let cell = cell_of(id);
        cells[cell].0 as u32 + (id - starts[cell])
    };
    let values = |query: usize| queries.row(query).to_slice().expect("standard layout");
    let direct = |query: usize, id: u32| squared_euclidean(values(query), row(id));
    // One more, since a row is its own nearest.
    let mut comparison = Comparison::new(queries, k + 1);
    for (&start, (_, rows)) in starts.iter().zip(cells) {
        comparison.offer(rows, 0..rows.len(), start, &direct);
    }
    let mut candidates = comparison.finish();
    for (query, list) in lists.iter_mut().enumerate() {
        let found = nearest_of(candidates.take(query), values(query), None, k + 1, row);
        list.extend(found.into_iter().map(|(squared, id)| (squared, place(id))));
        list.retain(|&(_, place)| place as usize != first_place + query);
        nearest_first(list, k);
    }
}

/// The cells in memory.
struct HeldCells<'a> {
    file: &'a CellFile,
    cells: BTreeMap<usize, Rows>,
}

impl HeldCells<'_> {
    /// Holds these, and no others.
    fn hold(&mut self, wanted: &BTreeSet<usize>) -> Result<(), ReduceError> {
        self.cells.retain(|cell, _| wanted.contains(cell));
        for &cell in wanted {
            if !self.cells.contains_key(&cell) {
                self.cells.insert(cell, Rows::new(self.file.read(self.file.range(cell))?));
            }
        }
        Ok(())
    }

    /// The place of the cell's first row, and its rows, if it is held.
    fn get(&self, cell: usize) -> Option<(usize, &Rows)> {
        self.cells.get(&cell).map(|rows| (self.file.range(cell).start, rows))
    }
}
