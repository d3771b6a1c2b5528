//! Neighbours of more rows than fit in memory: cells in a file, a few of them in memory at a time.
//!
//! 1. Groups are made of a seeded sample of the rows (`kmeans.rs`), such that one group fits in memory. The rows are read
//!    twice: to learn how many each group has, and to write them group by group into a file (`groups.rs`).
//! 2. Each group is made into small cells in memory, as many as for rows in memory, and written back in their order
//!    (`cell_file.rs`). So the size of cells, and with it the work, does not depend on the memory.
//! 3. Of 256 rows the true neighbours are found by a look at all rows. In how near a cell each of these is says how many
//!    cells must be joined for the recall that is asked for, before any is (`truth.rs`).
//! 4. Cell after cell is joined with its nearest cells by the kernel that compares all with all (`exact.rs`), which
//!    is exact within them. Cells follow each other such that a cell's near ones have mostly been read for the one before
//!    (`join.rs`).
//! 5. The lists go to a second file, in the order of the rows.
//!
//! There are no sweeps over neighbours of neighbours as in memory (`cells.rs`): these look at rows all over the file.
//! More cells are joined instead.
//!
//! Memory is that of the options and 8 bytes per row, at most 34 GB for 2³² rows; both files are without a name, so that
//! nothing is left of them when the process ends, however it does.

mod cell_file;
mod groups;
mod index;
mod join;
mod record_file;
mod table_rows;
#[cfg(test)]
mod tests;
mod truth;

use std::ops::Range;
use std::path::PathBuf;

use ndarray::{Array2, ArrayView2, Axis};
use tlc_core::{Progress, ReduceError};

use self::cell_file::CellFile;
pub use self::index::DiskIndex;
use self::record_file::RecordFile;
pub use self::table_rows::TableRows;
use self::truth::Truth;
use super::{GraphReport, KnnMethod, Neighbours, check_k};
use crate::blas::SingleThreadedBlas;

/// Rows that are looked at, or lists that are read, at a time; more if memory allows.
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
    /// for temporary files (`TMPDIR`); one that is itself kept in memory saves none.
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
        let (mut indices, mut squared) = (Array2::zeros((n, k)), Array2::zeros((n, k)));
        // Block by block: who reads all has memory for the result, and not for it twice.
        for start in rows.clone().step_by(QUERY_ROWS) {
            let block = start..(start + QUERY_ROWS).min(rows.end);
            let words: Vec<u32> = self.lists.read(block.clone())?;
            for (row, list) in block.zip(words.chunks_exact(2 * k)) {
                let at = row - rows.start;
                indices.row_mut(at).iter_mut().zip(&list[..k]).for_each(|(to, word)| *to = *word);
                squared.row_mut(at).iter_mut().zip(&list[k..]).for_each(|(to, word)| *to = f32::from_bits(*word));
            }
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
    let target = options.target_recall;
    tracing::info!(cells = cells.n_cells(), joined, expected, "cells of near rows are joined");
    // Before the long part of the work: whoever wants no less can end it here.
    if expected < target {
        tracing::warn!(expected, target, "fewer of the true neighbours will be found than asked for");
    }
    let graph = cells.join(k, joined, options, progress)?;
    let recall = truth.recall(&graph)?;
    if recall < target && expected >= target {
        tracing::warn!(recall, target, "fewer of the true neighbours were found than asked for");
    }
    Ok((graph, GraphReport { method: KnnMethod::Disk, recall, sampled_rows: truth.rows.len() }))
}

fn nearest_first(list: &mut Vec<(f32, u32)>, k: usize) {
    list.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    list.truncate(k);
}
