//! Rows in a file, cell by cell.

use std::ops::Range;

use ndarray::Array2;
use tlc_core::{Progress, ReduceError};

use super::record_file::RecordFile;
use super::{DiskOptions, RowSource};
use crate::input::check_finite;
use crate::knn::cells::{n_cells, near_cells};
use crate::knn::kmeans::{Cells, SAMPLED_PER_CELL};
use crate::knn::recall::sample;
use crate::knn::rows::Rows;

/// Cells that a cell can be joined with at most: 1 % of the cells of ten million rows.
const MAX_JOINED: usize = 192;
/// Rows of one cell that are looked at: what is larger is full of equal rows, of which any are as near as the others.
const MAX_CELL_ROWS: usize = 1 << 15;

/// Rows in a file, cell by cell.
pub(super) struct CellFile {
    pub(super) rows: RecordFile,
    /// The number of the row at each place.
    pub(super) order: Vec<u32>,
    /// Where each cell begins, `(n_cells + 1,)`.
    pub(super) offsets: Vec<usize>,
    /// For each cell those that it may be joined with, itself first, then by distance.
    pub(super) near: Array2<u32>,
}

impl CellFile {
    pub(super) fn write(rows: &dyn RowSource, options: &DiskOptions, progress: &Progress) -> Result<Self, ReduceError> {
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

    pub(super) fn n_cells(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The places of those rows of a cell that are looked at.
    pub(super) fn range(&self, cell: usize) -> Range<usize> {
        let (start, end) = (self.offsets[cell], self.offsets[cell + 1]);
        start..end.min(start + MAX_CELL_ROWS)
    }

    pub(super) fn cell_of(&self, place: usize) -> usize {
        self.offsets.partition_point(|&start| start <= place) - 1
    }

    /// The rows at some places.
    pub(super) fn read(&self, places: Range<usize>) -> Result<Array2<f32>, ReduceError> {
        let (n, d) = (places.len(), self.rows.record);
        let values = self.rows.read(places)?.into_iter().map(f32::from_bits).collect();
        Ok(Array2::from_shape_vec((n, d), values).expect("so many records"))
    }
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
