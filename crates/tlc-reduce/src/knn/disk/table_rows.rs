//! The rows of a stored table as a source, so that they need not fit in memory.

use std::ops::Range;

use ndarray::{ArrayView2, Axis};
use tlc_core::arrow_array::{Array as _, RecordBatch};
use tlc_core::{
    Progress, ReduceError, Scan, StoreError, TableInfo, TableStore, embedding_values, embedding_width, is_measurable,
};

use super::RowSource;

/// Rows that are read at a time.
const BATCH_ROWS: usize = 16_384;

/// The rows of a table's column of vectors that can be compared, as often as they are needed.
#[derive(Debug)]
pub struct TableRows<'a> {
    store: &'a dyn TableStore,
    info: TableInfo,
    column: String,
    width: usize,
    /// The numbers of the rows that are left out, ascending.
    left_out: Vec<u64>,
}

impl<'a> TableRows<'a> {
    /// The rows of `column` but those that are null, hold NaN, infinity or values beyond ±1e15, or of which `is_meant` does
    /// not hold. Reads them once.
    ///
    /// # Errors
    /// A table without such a column of vectors; a failing store; cancellation.
    pub fn open(
        store: &'a dyn TableStore,
        info: TableInfo,
        column: &str,
        is_meant: &dyn Fn(u64) -> bool,
        progress: &Progress,
    ) -> Result<Self, ReduceError> {
        let width = info.schema.field_with_name(column).ok().and_then(embedding_width);
        let width = width.ok_or_else(|| ReduceError::data(format!("it has no column of vectors {column:?}")))?;
        let mut rows = Self { store, info, column: column.to_owned(), width, left_out: Vec::new() };
        let (mut first, mut left_out) = (0, Vec::new());
        let task = progress.task("look at rows", rows.info.rows);
        for batch in rows.scan()? {
            let batch = batch.map_err(failed)?;
            let n = batch.num_rows() as u64;
            let values = vectors(&batch, &rows.column)?;
            let is_usable = |row: u64| {
                let place = (row - first) as usize;
                batch.column(0).is_valid(place) && is_measurable(values.row(place)) && is_meant(row)
            };
            left_out.extend((first..first + n).filter(|&row| !is_usable(row)));
            first += n;
            task.advance(n)?;
        }
        rows.left_out = left_out;
        Ok(rows)
    }

    /// The table.
    pub fn info(&self) -> &TableInfo {
        &self.info
    }

    /// The number in the table of the row that is number `place` among these.
    pub fn row_number(&self, place: u64) -> u64 {
        // As many are left out before it as have at most so many of these before them.
        let (mut least, mut most) = (0, self.left_out.len());
        while least < most {
            let middle = (least + most) / 2;
            if self.left_out[middle] - middle as u64 <= place {
                least = middle + 1;
            } else {
                most = middle;
            }
        }
        place + least as u64
    }

    /// Of these rows of the table those that are left out, ascending.
    pub fn left_out(&self, rows: Range<u64>) -> &[u64] {
        let place = |row: u64| self.left_out.partition_point(|&other| other < row);
        &self.left_out[place(rows.start)..place(rows.end.max(rows.start))]
    }

    fn scan(&self) -> Result<impl Iterator<Item = Result<RecordBatch, StoreError>> + use<>, ReduceError> {
        let scan = Scan { batch_rows: BATCH_ROWS, ..Scan::columns([&self.column]) };
        self.store.scan(&self.info.url, scan).map_err(failed)
    }
}

fn failed(error: StoreError) -> ReduceError {
    match error {
        StoreError::Cancelled(cancelled) => cancelled.into(),
        error => ReduceError::backend("read the table's rows", error),
    }
}

fn vectors<'a>(batch: &'a RecordBatch, column: &str) -> Result<ndarray::CowArray<'a, f32, ndarray::Ix2>, ReduceError> {
    // Its field was checked: only a store that breaks its word gives something else.
    embedding_values(batch, column).ok_or_else(|| ReduceError::data(format!("its column {column:?} changed its type")))
}

impl RowSource for TableRows<'_> {
    fn n_rows(&self) -> usize {
        usize::try_from(self.info.rows).unwrap_or(usize::MAX) - self.left_out.len()
    }

    fn n_features(&self) -> usize {
        self.width
    }

    fn read(&self, take: &mut dyn FnMut(ArrayView2<'_, f32>) -> Result<(), ReduceError>) -> Result<(), ReduceError> {
        let mut first = 0;
        for batch in self.scan()? {
            let batch = batch.map_err(failed)?;
            let values = vectors(&batch, &self.column)?;
            let rows = first..first + batch.num_rows() as u64;
            first = rows.end;
            let without = self.left_out(rows.clone());
            if without.is_empty() {
                take(values.view())?;
                continue;
            }
            let kept = rows.clone().filter(|row| without.binary_search(row).is_err());
            let places: Vec<usize> = kept.map(|row| (row - rows.start) as usize).collect();
            take(values.select(Axis(0), &places).view())?;
        }
        Ok(())
    }
}
