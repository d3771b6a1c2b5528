//! Neighbours of more rows than fit in memory: cells in a file, a few of them in memory at a time.
//!
//! 1. Groups are made of a seeded sample of the rows (`kmeans.rs`), such that one group fits in memory. The rows are read
//!    twice: to learn how many each group has, and to write them group by group into a file (`groups.rs`).
//! 2. Each group is made into small cells in memory, as many as for rows in memory, and written back in their order
//!    (`cell_file.rs`). So the size of cells, and with it the work, does not depend on the memory.
//! 3. Of 256 rows the true neighbours are found by a look at all rows. In how near a cell each of these is says how many
//!    cells must be joined for a recall, before any is (`truth.rs`).
//! 4. Cell after cell is joined with its nearest cells by matrix products that exclude nearly all rows, and decided by
//!    direct distances (`candidates.rs`), which is exact within them (`join.rs`).
//! 5. Sweeps over neighbours of neighbours (`sweep.rs`), which mostly lie in the cells that are near, too (`mend.rs`), until
//!    the recall that is asked for is reached; then more cells.
//! 6. The lists are brought from the order of the cells to that of the rows.
//!
//! Cells follow each other such that the near ones of one are mostly those of the one before.
//!
//! Memory is that of the options and 8 bytes per row, at most 34 GB for 2³² rows; the files are without a name, so that
//! nothing is left of them when the process ends, however it does.

mod cell_file;
mod graph;
mod groups;
mod index;
mod join;
mod mend;
mod record_file;
mod table_rows;
#[cfg(test)]
mod tests;
mod truth;

use std::path::PathBuf;

use ndarray::{ArrayView2, Axis};
use tlc_core::{Progress, ReduceError};

use self::cell_file::CellFile;
pub use self::graph::DiskGraph;
pub use self::index::DiskIndex;
pub use self::table_rows::TableRows;
use self::truth::Truth;
use super::{GraphReport, KnnMethod, check_k};
use crate::blas::SingleThreadedBlas;

/// Rows that are looked at, or lists that are read, at a time; more if memory allows.
const QUERY_ROWS: usize = 4096;
/// The recall for which cells are joined first; neighbours of neighbours give the rest at less cost.
const BEFORE_MENDING: f64 = 0.75;
/// Looks at neighbours of neighbours before more cells are joined.
const SWEEPS: usize = 4;

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
    /// Where the files are, which take as much as the rows, and 16 bytes per neighbour. Default: the system's folder
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
    let target = options.target_recall;
    let cells = CellFile::write(rows, options, progress)?;
    let truth = Truth::of_sample(&cells, k, options, progress)?;
    let mut best = None;
    for before_mending in [BEFORE_MENDING.min(target), target] {
        let (joined, expected) = truth.cells_to_join(&cells, before_mending);
        if best.as_ref().is_some_and(|(_, recall)| expected <= *recall) {
            break;
        }
        // Not two of them at a time.
        drop(best.take());
        tracing::info!(cells = cells.n_cells(), joined, expected, "cells of near rows are joined");
        let mut graph = cells.join(k, joined, options, progress)?;
        let mut recall = truth.recall(&graph)?;
        for _ in 0..SWEEPS {
            if recall < target {
                cells.mend(&mut graph, joined, options, progress)?;
                recall = truth.recall(&graph)?;
                tracing::info!(recall, "neighbours of neighbours were looked at");
            }
        }
        best = Some((graph, recall));
        if recall >= target {
            break;
        }
    }
    let (graph, recall) = best.expect("at least one number of cells was tried");
    if recall < target {
        tracing::warn!(recall, target, "fewer of the true neighbours were found than asked for");
    }
    let graph = cells.in_row_order(&graph, options, progress)?;
    Ok((graph, GraphReport { method: KnnMethod::Disk, recall, sampled_rows: truth.n_rows() }))
}

fn nearest_first(list: &mut Vec<(f32, u32)>, k: usize) {
    list.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    list.truncate(k);
}
