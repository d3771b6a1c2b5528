//! Rows in a file, cell by cell.

use std::ops::Range;

use ndarray::Array2;
use tlc_core::{Progress, ReduceError};

use super::groups::Groups;
use super::record_file::RecordFile;
use super::{DiskOptions, RowSource};
use crate::knn::cells::{n_cells, near_cells};
use crate::knn::kmeans::{Cells, TOO_LARGE};
use crate::knn::rows::Rows;

/// Cells that a cell can be joined with at most: 1 % of the cells of ten million rows.
const MAX_JOINED: usize = 192;
/// Cells that are made at a time at least, however little memory there is.
const LEAST_CELLS: usize = 4;

/// Rows in a file, cell by cell.
pub(super) struct CellFile {
    pub(super) rows: RecordFile,
    /// The number of the row at each place.
    pub(super) order: Vec<u32>,
    /// Where each cell begins, `(n_cells + 1,)`.
    pub(super) offsets: Vec<usize>,
    /// For each cell those that it may be joined with, itself first, then by distance.
    pub(super) near: Array2<u32>,
    /// Rows of one cell that are looked at.
    most_rows: usize,
}

impl CellFile {
    pub(super) fn write(rows: &dyn RowSource, options: &DiskOptions, progress: &Progress) -> Result<Self, ReduceError> {
        let (n, d) = (rows.n_rows(), rows.n_features());
        let task = progress.task("rows into cells", 3 * n as u64);
        let rows_per_cell = n.div_ceil(n_cells(n));
        let most_at_once = (options.memory_bytes / 4 / (4 * d)).max(LEAST_CELLS * rows_per_cell);
        // Groups differ in size: half of what fits leaves most of them whole.
        let Groups { rows: mut file, mut order, offsets: groups } =
            Groups::write(rows, most_at_once / 2, options, progress, &task)?;

        let (mut offsets, mut centres) = (vec![0], Vec::new());
        for group in groups.windows(2).map(|ends| ends[0]..ends[1]).filter(|group| !group.is_empty()) {
            let part_rows = group.len().div_ceil(group.len().div_ceil(most_at_once));
            for start in group.clone().step_by(part_rows) {
                let part = start..(start + part_rows).min(group.end);
                let rows = Rows::new(file.read_rows(part.clone())?);
                let n_own = part.len().div_ceil(rows_per_cell);
                let cells = Cells::build(&rows, n_own, options.seed, &Progress::default())?;
                offsets.extend(cells.offsets[1..].iter().map(|end| start + end));
                centres.extend_from_slice(cells.router().centres().values());
                let own: Vec<u32> = cells.order.iter().map(|&at| order[start + at as usize]).collect();
                order[part.clone()].copy_from_slice(&own);
                file.write(start, rows.reorder(&cells.order).values())?;
                task.advance(part.len() as u64)?;
            }
        }
        let centres = Array2::from_shape_vec((offsets.len() - 1, d), centres).expect("a centre for each cell");
        let near = near_cells(centres.view(), MAX_JOINED, progress)?;
        // Twice what cells are split from: what is larger is full of equal rows, of which any are as near as the others.
        Ok(Self { rows: file, order, offsets, near, most_rows: 2 * TOO_LARGE * rows_per_cell })
    }

    pub(super) fn n_cells(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The places of those rows of a cell that are looked at.
    pub(super) fn range(&self, cell: usize) -> Range<usize> {
        let (start, end) = (self.offsets[cell], self.offsets[cell + 1]);
        start..end.min(start + self.most_rows)
    }

    pub(super) fn cell_of(&self, place: usize) -> usize {
        self.offsets.partition_point(|&start| start <= place) - 1
    }

    /// The rows at some places.
    pub(super) fn read(&self, places: Range<usize>) -> Result<Array2<f32>, ReduceError> {
        self.rows.read_rows(places)
    }
}
