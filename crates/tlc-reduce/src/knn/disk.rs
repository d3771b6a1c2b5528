//! Neighbours of more rows than fit in memory: cells in a file, a few of them in memory at a time.
//!
//! 1. Cells are made of a seeded sample of the rows, as many as the memory allows (`kmeans.rs`).
//! 2. The rows are read twice: to learn how many each cell has, and to write them cell by cell into a file.
//! 3. Of 256 rows the true neighbours are found by a look at all rows. In how near a cell each of these is says how many
//!    cells must be joined for the recall that is asked for, before any is.
//! 4. Cell after cell is joined with its nearest cells by the kernel that compares all with all (`exact.rs`), which
//!    is exact within them. Cells follow each other such that a cell's near ones have mostly been read for the one before.
//! 5. The lists go to a second file, in the order of the rows.
//!
//! There are no sweeps over neighbours of neighbours as in memory (`cells.rs`): these look at rows all over the file.
//! More cells are joined instead, so the same recall costs about twice the arithmetic.
//!
//! Memory is that of the options and 8 bytes per row, at most 34 GB for 2³² rows; both files are without a name, so that
//! nothing is left of them when the process ends, however it does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;
use tlc_core::{Progress, ReduceError};

use super::cells::{n_cells, near_cells};
use super::exact::search_within;
use super::kmeans::{Cells, SAMPLED_PER_CELL};
use super::recall::{SAMPLED_ROWS, sample};
use super::rows::Rows;
use super::{GraphReport, KnnMethod, Neighbours, check_k};
use crate::blas::SingleThreadedBlas;
use crate::input::check_finite;

/// Cells that a cell can be joined with at most: 1 % of the cells of ten million rows.
const MAX_JOINED: usize = 192;
/// Rows of one cell that are looked at: what is larger is full of equal rows, of which any are as near as the others.
const MAX_CELL_ROWS: usize = 1 << 15;
/// Rows that look for their neighbours at a time.
const QUERY_ROWS: usize = 4096;

/// Rows that can be read again and again.
pub trait RowSource: Sync {
    /// Their number.
    fn n_rows(&self) -> usize;

    /// The number of values per row.
    fn n_features(&self) -> usize;

    /// Hands all rows to `take`, block by block, `(m, d)`, in the same order each time.
    ///
    /// # Errors
    /// Rows that cannot be read; the first error of `take`.
    fn read(&self, take: &mut dyn FnMut(ArrayView2<'_, f32>) -> Result<(), ReduceError>) -> Result<(), ReduceError>;
}

/// Rows in memory, or in a file that is mapped into it.
impl RowSource for ArrayView2<'_, f32> {
    fn n_rows(&self) -> usize {
        self.nrows()
    }

    fn n_features(&self) -> usize {
        self.ncols()
    }

    fn read(&self, take: &mut dyn FnMut(ArrayView2<'_, f32>) -> Result<(), ReduceError>) -> Result<(), ReduceError> {
        self.axis_chunks_iter(Axis(0), 1 << 14).try_for_each(take)
    }
}

/// How [`graph_on_disk`] works.
#[derive(Debug, Clone)]
pub struct DiskOptions {
    /// Where the two files are, which take as much as the rows, and 8 bytes per neighbour. Default: the system's folder
    /// for temporary files.
    pub folder: PathBuf,
    /// The memory for rows, in bytes; bookkeeping of 8 bytes per row comes on top. Default 512 MiB.
    pub memory_bytes: usize,
    /// The share of true neighbours that is aimed at, above 0 and up to 1. Default 0.95.
    pub target_recall: f64,
    /// Of the samples on which cells are made and recall is estimated. Default 42.
    pub seed: u64,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self { folder: std::env::temp_dir(), memory_bytes: 512 << 20, target_recall: 0.95, seed: 42 }
    }
}

/// A neighbour graph in a file.
#[derive(Debug)]
pub struct DiskGraph {
    lists: RecordFile,
    k: usize,
}

impl DiskGraph {
    /// The number of rows.
    pub fn n_rows(&self) -> usize {
        self.lists.n_records
    }

    /// The number of neighbours per row.
    pub fn k(&self) -> usize {
        self.k
    }

    /// The neighbours of some rows, nearest first.
    ///
    /// # Errors
    /// Rows that there are not; a file that cannot be read.
    pub fn read(&self, rows: Range<usize>) -> Result<Neighbours, ReduceError> {
        if rows.start > rows.end || rows.end > self.n_rows() {
            let n = self.n_rows();
            return Err(ReduceError::parameter("rows", format!("{rows:?}"), format!("use a range within 0..{n}")));
        }
        let (k, n) = (self.k, rows.len());
        let words = self.lists.read(rows)?;
        let (mut indices, mut squared) = (Array2::zeros((n, k)), Array2::zeros((n, k)));
        for (at, list) in words.chunks_exact(2 * k).enumerate() {
            indices.row_mut(at).iter_mut().zip(&list[..k]).for_each(|(to, word)| *to = *word);
            squared.row_mut(at).iter_mut().zip(&list[k..]).for_each(|(to, word)| *to = f32::from_bits(*word));
        }
        Ok(Neighbours { indices, squared })
    }
}

/// The `k` nearest other rows of every row of `rows`, which need not fit in memory; at most 2³² − 1 rows, whose values
/// must be within ±1e15. The same bits for any number of threads.
///
/// ```
/// use ndarray::Array2;
/// use tlc_core::{Progress, rng::Stream};
/// use tlc_reduce::knn::{DiskOptions, graph_on_disk};
///
/// let noise = Stream::new(0, "example");
/// let rows = Array2::from_shape_fn((2000, 8), |(i, j)| noise.normal(i as u64, j as u64) as f32);
/// let options = DiskOptions { memory_bytes: 1 << 16, ..DiskOptions::default() };
/// let (graph, report) = graph_on_disk(&rows.view(), 5, &options, &Progress::default())?;
/// assert!(report.recall >= 0.9);
/// assert_eq!(graph.read(0..10)?.indices.dim(), (10, 5));
/// # Ok::<(), tlc_core::ReduceError>(())
/// ```
///
/// # Errors
/// `k` not in `1..n`; options out of their range; rows with NaN, infinity or values beyond ±1e15; a source whose rows
/// change; a full or failing disk; cancellation.
pub fn graph_on_disk(
    rows: &dyn RowSource,
    k: usize,
    options: &DiskOptions,
    progress: &Progress,
) -> Result<(DiskGraph, GraphReport), ReduceError> {
    let (n, d) = (rows.n_rows(), rows.n_features());
    check_k(k, n.saturating_sub(1))?;
    if d == 0 || u32::try_from(n).is_err() {
        let reason = format!("it has {n} rows of {d} values; at most {} rows of at least 1 are supported", u32::MAX);
        return Err(ReduceError::data(reason));
    }
    if !(options.target_recall > 0.0 && options.target_recall <= 1.0) {
        let accepted = "use a number above 0 and up to 1";
        return Err(ReduceError::parameter("target_recall", options.target_recall, accepted));
    }
    let _single = SingleThreadedBlas::begin();
    let cells = CellFile::write(rows, options, progress)?;
    let truth = Truth::of_sample(&cells, k, options, progress)?;
    let (joined, expected) = truth.cells_to_join(&cells, options.target_recall);
    tracing::info!(cells = cells.n_cells(), joined, expected, "cells of near rows are joined");
    let graph = cells.join(k, joined, options, progress)?;
    let recall = truth.recall(&graph)?;
    if recall < options.target_recall {
        let target = options.target_recall;
        tracing::warn!(recall, target, "fewer of the true neighbours were found than asked for");
    }
    Ok((graph, GraphReport { method: KnnMethod::Cells, recall, sampled_rows: truth.rows.len() }))
}

/// Rows in a file, cell by cell.
struct CellFile {
    rows: RecordFile,
    /// The number of the row at each place.
    order: Vec<u32>,
    /// Where each cell begins, `(n_cells + 1,)`.
    offsets: Vec<usize>,
    /// For each cell those that it may be joined with, itself first, then by distance.
    near: Array2<u32>,
}

impl CellFile {
    fn write(rows: &dyn RowSource, options: &DiskOptions, progress: &Progress) -> Result<Self, ReduceError> {
        let (n, d) = (rows.n_rows(), rows.n_features());
        let cells = make_cells(rows, options, progress)?;
        let near = near_cells(cells.router().centres().view(), MAX_JOINED, progress)?;

        let mut cell_of: Vec<u32> = Vec::with_capacity(n);
        let task = progress.task("rows into cells", 2 * n as u64);
        rows.read(&mut |block| {
            check_finite(&block)?;
            cell_of.extend(cells.router().nearest(block, progress)?);
            Ok(task.advance(block.nrows() as u64)?)
        })?;
        let changed = || ReduceError::data("its rows are not the same each time they are read");
        if cell_of.len() != n {
            return Err(changed());
        }
        let mut offsets = vec![0; near.nrows() + 1];
        cell_of.iter().for_each(|&cell| offsets[cell as usize + 1] += 1);
        (1..offsets.len()).for_each(|cell| offsets[cell] += offsets[cell - 1]);

        let mut file = RecordFile::new(options, d, n)?;
        let (mut next, mut order) = (offsets.clone(), vec![0; n]);
        let mut first = 0;
        rows.read(&mut |block| {
            let own = cell_of.get(first..first + block.nrows()).ok_or_else(changed)?;
            let mut places: Vec<(usize, usize)> = own
                .iter()
                .enumerate()
                .map(|(at, &cell)| {
                    let place = next[cell as usize];
                    next[cell as usize] += 1;
                    (place, at)
                })
                .collect();
            places.iter().for_each(|&(place, at)| order[place] = (first + at) as u32);
            // Rows of a cell lie together: one write for all of a block.
            places.sort_unstable();
            for run in places.chunk_by(|a, b| a.0 + 1 == b.0) {
                let values = run.iter().flat_map(|&(_, at)| block.row(at).to_vec()).map(f32::to_bits);
                file.write(run[0].0, values)?;
            }
            first += block.nrows();
            Ok(task.advance(block.nrows() as u64)?)
        })?;
        if first != n {
            return Err(changed());
        }
        Ok(Self { rows: file, order, offsets, near })
    }

    fn n_cells(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The places of those rows of a cell that are looked at.
    fn range(&self, cell: usize) -> Range<usize> {
        let (start, end) = (self.offsets[cell], self.offsets[cell + 1]);
        start..end.min(start + MAX_CELL_ROWS)
    }

    fn cell_of(&self, place: usize) -> usize {
        self.offsets.partition_point(|&start| start <= place) - 1
    }

    /// The rows at some places.
    fn read(&self, places: Range<usize>) -> Result<Array2<f32>, ReduceError> {
        let (n, d) = (places.len(), self.rows.record);
        let values = self.rows.read(places)?.into_iter().map(f32::from_bits).collect();
        Ok(Array2::from_shape_vec((n, d), values).expect("so many records"))
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

    fn join(
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

fn nearest_first(list: &mut Vec<(f32, u32)>, k: usize) {
    list.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    list.truncate(k);
}

/// Cells of a sample of the rows.
fn make_cells(rows: &dyn RowSource, options: &DiskOptions, progress: &Progress) -> Result<Cells, ReduceError> {
    let (n, d) = (rows.n_rows(), rows.n_features());
    // The sample is held twice for a while, and its distances to centres.
    let n_sampled = (options.memory_bytes / 4 / (4 * d)).clamp(SAMPLED_PER_CELL, n.max(SAMPLED_PER_CELL)).min(n);
    let chosen = sample(n, n_sampled, options.seed);
    let mut sampled = Array2::<f32>::zeros((chosen.len(), d));
    let (mut first, mut done) = (0, 0);
    rows.read(&mut |block| {
        check_finite(&block)?;
        let end = first + block.nrows();
        while done < chosen.len() && (chosen[done] as usize) < end {
            sampled.row_mut(done).assign(&block.row(chosen[done] as usize - first));
            done += 1;
        }
        first = end;
        Ok(progress.check()?)
    })?;
    let n_cells = n_cells(n).min(chosen.len() / SAMPLED_PER_CELL).max(1);
    Cells::build(&Rows::new(sampled), n_cells, options.seed, progress)
}

/// The true neighbours of some rows.
struct Truth {
    /// Row numbers.
    rows: Vec<u32>,
    /// For each the places of its `k` nearest others and their squared distances, nearest first; and its own cell.
    nearest: Vec<(usize, Vec<(f32, u32)>)>,
}

impl Truth {
    fn of_sample(cells: &CellFile, k: usize, options: &DiskOptions, progress: &Progress) -> Result<Self, ReduceError> {
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
    fn cells_to_join(&self, cells: &CellFile, target: f64) -> (usize, f64) {
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
    fn recall(&self, graph: &DiskGraph) -> Result<f64, ReduceError> {
        let mut hits = 0;
        for (&row, (_, list)) in self.rows.iter().zip(&self.nearest) {
            let farthest = list.last().map_or(0.0, |&(squared, _)| squared);
            let found = graph.read(row as usize..row as usize + 1)?;
            hits += found.squared.iter().filter(|&&squared| squared <= farthest).count();
        }
        Ok(hits as f64 / (self.rows.len() * graph.k) as f64)
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

/// Records of so many 32-bit words in a file without a name.
#[derive(Debug)]
struct RecordFile {
    /// Locked, since a read is a seek and a read.
    file: Mutex<File>,
    record: usize,
    n_records: usize,
}

impl RecordFile {
    fn new(options: &DiskOptions, record: usize, n_records: usize) -> Result<Self, ReduceError> {
        let file = tempfile::tempfile_in(&options.folder)
            .map_err(|error| ReduceError::backend("make a temporary file for neighbours", error))?;
        Ok(Self { file: Mutex::new(file), record, n_records })
    }

    fn offset(&self, record: usize) -> SeekFrom {
        SeekFrom::Start(4 * record as u64 * self.record as u64)
    }

    fn write(&mut self, first: usize, words: impl Iterator<Item = u32>) -> Result<(), ReduceError> {
        let bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        let place = self.offset(first);
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        let written = file.seek(place).and_then(|_| file.write_all(&bytes));
        written.map_err(|error| ReduceError::backend("write into the temporary file for neighbours", error))
    }

    fn read(&self, records: Range<usize>) -> Result<Vec<u32>, ReduceError> {
        let mut bytes = vec![0; 4 * self.record * records.len()];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let read = file.seek(self.offset(records.start)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|error| ReduceError::backend("read the temporary file for neighbours", error))?;
        let (words, _) = bytes.as_chunks::<4>();
        Ok(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }
}

#[cfg(test)]
mod tests {
    use tlc_core::rng::Stream;

    use super::*;
    use crate::knn::Index;

    fn clusters(n: usize, d: usize) -> Array2<f32> {
        let noise = Stream::new(5, "disk-test");
        Array2::from_shape_fn((n, d), |(i, j)| {
            (4.0 * noise.substream(1).normal((i % 20) as u64, j as u64) + noise.normal(i as u64, j as u64)) as f32
        })
    }

    fn small_memory() -> DiskOptions {
        DiskOptions { memory_bytes: 300_000, ..DiskOptions::default() }
    }

    fn graph(rows: &Array2<f32>, k: usize, options: &DiskOptions) -> (Neighbours, GraphReport) {
        let (graph, report) = graph_on_disk(&rows.view(), k, options, &Progress::default()).expect("finds");
        assert_eq!((graph.n_rows(), graph.k()), (rows.nrows(), k));
        (graph.read(0..rows.nrows()).expect("readable"), report)
    }

    #[test]
    fn neighbours_are_the_true_ones_as_far_as_is_reported() {
        let rows = clusters(6000, 12);
        let (found, report) = graph(&rows, 10, &small_memory());
        let index = Index::build(rows.clone(), KnnMethod::Exact, &Progress::default()).expect("builds");
        let exact = index.graph(10, &Progress::default()).expect("finds");
        let mut hits = 0;
        for (row, (list, squared)) in found.indices.outer_iter().zip(found.squared.outer_iter()).enumerate() {
            assert!(squared.iter().zip(squared.iter().skip(1)).all(|(near, far)| near <= far));
            for (&other, &distance) in list.iter().zip(squared) {
                assert_ne!(other as usize, row);
                let direct: f32 = crate::distance::squared_euclidean(
                    rows.row(row).to_slice().expect("contiguous"),
                    rows.row(other as usize).to_slice().expect("contiguous"),
                );
                assert_eq!(distance, direct);
            }
            hits += squared.iter().filter(|&&distance| distance <= exact.squared[[row, 9]]).count();
        }
        let recall = hits as f64 / 60_000.0;
        assert!(recall >= 0.93, "{recall} of the true neighbours");
        assert!((recall - report.recall).abs() < 0.03, "{recall}, but {} was reported", report.recall);
        assert!(report.recall >= 0.95 && report.sampled_rows == 256, "{report:?}");
    }

    #[test]
    fn all_are_found_where_that_is_asked_for() {
        let rows = clusters(1500, 5);
        let (found, report) = graph(&rows, 7, &DiskOptions { target_recall: 1.0, ..small_memory() });
        let index = Index::build(rows, KnnMethod::Exact, &Progress::default()).expect("builds");
        let exact = index.graph(7, &Progress::default()).expect("finds");
        let differing = (0..1500).filter(|&row| found.indices.row(row) != exact.indices.row(row)).count();
        assert!(report.recall == 1.0 && differing <= 15, "{differing} lists differ");
    }

    #[test]
    fn neither_threads_nor_the_size_of_blocks_matter() {
        struct Odd(Array2<f32>);
        impl RowSource for Odd {
            fn n_rows(&self) -> usize {
                self.0.nrows()
            }
            fn n_features(&self) -> usize {
                self.0.ncols()
            }
            fn read(
                &self,
                take: &mut dyn FnMut(ArrayView2<'_, f32>) -> Result<(), ReduceError>,
            ) -> Result<(), ReduceError> {
                self.0.axis_chunks_iter(Axis(0), 37).try_for_each(take)
            }
        }
        let rows = clusters(3000, 6);
        let (one, _) = graph(&rows, 5, &small_memory());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("a pool");
        let progress = Progress::default();
        let (other, _) = pool.install(|| graph_on_disk(&Odd(rows), 5, &small_memory(), &progress)).expect("finds");
        assert_eq!(other.read(0..3000).expect("readable"), one);
    }

    #[test]
    fn equal_rows_are_neighbours_of_each_other() {
        let mut rows = clusters(2000, 4);
        for row in 0..700 {
            rows.row_mut(row).fill(2.5);
        }
        let (found, report) = graph(&rows, 3, &small_memory());
        assert!(found.squared.rows().into_iter().take(700).flatten().all(|&squared| squared == 0.0));
        assert!(
            found
                .indices
                .rows()
                .into_iter()
                .take(700)
                .enumerate()
                .all(|(row, list)| { list.iter().all(|&other| (other as usize) < 700 && other as usize != row) })
        );
        assert!(report.recall >= 0.95, "{report:?}");
    }

    #[test]
    fn few_rows_and_bad_ones() {
        let rows = clusters(3, 2);
        let (found, report) = graph(&rows, 2, &DiskOptions { memory_bytes: 0, ..DiskOptions::default() });
        assert_eq!((found.indices.dim(), report.recall, report.sampled_rows), ((3, 2), 1.0, 3));
        let check = |rows: &Array2<f32>, k, options: &DiskOptions, expected: &str| {
            let error = graph_on_disk(&rows.view(), k, options, &Progress::default()).expect_err("refused").to_string();
            assert!(error.contains(expected), "{error}");
        };
        let options = DiskOptions::default();
        check(&rows, 3, &options, "between 1 and 2 neighbours can be found");
        check(&rows, 1, &DiskOptions { target_recall: 0.0, ..options.clone() }, "target_recall");
        let folder = PathBuf::from("/no/such/folder");
        check(&rows, 1, &DiskOptions { folder, ..options.clone() }, "make a temporary file");
        let mut bad = rows.clone();
        bad[[1, 0]] = f32::NAN;
        check(&bad, 1, &options, "1 of 3 rows");
    }
}
