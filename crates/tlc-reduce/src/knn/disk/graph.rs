//! A neighbour graph in a file.

use std::ops::Range;

use ndarray::{Array2, ArrayView2};
use tlc_core::ReduceError;

use super::record_file::RecordFile;
use super::{DiskOptions, QUERY_ROWS};
use crate::knn::Neighbours;

/// A neighbour graph in a file.
#[derive(Debug)]
pub struct DiskGraph {
    /// `k` numbers, then as many squared distances.
    lists: RecordFile,
    k: usize,
}

impl DiskGraph {
    /// Of `n` lists that are still to be written.
    pub(super) fn new(options: &DiskOptions, k: usize, n: usize) -> Result<Self, ReduceError> {
        Ok(Self { lists: RecordFile::new(options, 2 * k, n)?, k })
    }

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

    /// Writes the lists of some rows from number `first` on.
    pub(super) fn write(
        &mut self,
        first: usize,
        indices: ArrayView2<'_, u32>,
        squared: ArrayView2<'_, f32>,
    ) -> Result<(), ReduceError> {
        let lists = indices.outer_iter().zip(squared.outer_iter());
        let words = lists
            .flat_map(|(ids, squared)| ids.to_vec().into_iter().chain(squared.to_vec().into_iter().map(f32::to_bits)));
        self.lists.write(first, &words.collect::<Vec<u32>>())
    }

    /// Writes one list of `k` neighbours, nearest first.
    pub(super) fn write_list(&mut self, row: usize, list: &[(f32, u32)]) -> Result<(), ReduceError> {
        let words = list.iter().map(|(_, id)| *id).chain(list.iter().map(|(squared, _)| squared.to_bits()));
        self.lists.write(row, &words.collect::<Vec<u32>>())
    }
}
