//! Rows that are searched: contiguous, with their lengths.

use std::ops::Range;

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;

#[derive(Debug)]
pub(super) struct Rows {
    values: Array2<f32>,
    squared_norms: Vec<f32>,
}

impl Rows {
    pub(super) fn new(values: Array2<f32>) -> Self {
        let values = if values.is_standard_layout() { values } else { values.as_standard_layout().into_owned() };
        let squared_norms =
            values.axis_iter(Axis(0)).into_par_iter().with_min_len(1024).map(|row| squared_norm(row) as f32).collect();
        Self { values, squared_norms }
    }

    pub(super) fn view(&self) -> ArrayView2<'_, f32> {
        self.values.view()
    }

    /// All values, row after row.
    pub(super) fn values(&self) -> &[f32] {
        self.values.as_slice().expect("standard layout")
    }

    pub(super) fn len(&self) -> usize {
        self.values.nrows()
    }

    pub(super) fn width(&self) -> usize {
        self.values.ncols()
    }

    #[inline]
    pub(super) fn row(&self, id: usize) -> &[f32] {
        let width = self.values.ncols();
        &self.values()[id * width..(id + 1) * width]
    }

    pub(super) fn squared_norms(&self) -> &[f32] {
        &self.squared_norms
    }

    /// The largest length among some rows.
    pub(super) fn largest_norm(&self, range: Range<usize>) -> f32 {
        self.squared_norms[range].iter().copied().fold(0.0, f32::max).sqrt()
    }

    pub(super) fn largest_norm_of(rows: ArrayView2<'_, f32>) -> f32 {
        rows.outer_iter().map(squared_norm).fold(0.0, f64::max).sqrt() as f32
    }

    /// The rows in another order: at each place the row that `order` names, each once. In place, since rows
    /// may fill most of the memory.
    pub(super) fn reorder(mut self, order: &[u32]) -> Self {
        assert_eq!(order.len(), self.len(), "each row has a place");
        let width = self.width();
        let values = self.values.as_slice_mut().expect("standard layout");
        let mut is_done = vec![false; order.len()];
        let mut first_row = vec![0.0; width];
        for first in 0..order.len() {
            // Along a cycle each place gets its row from the next, and the last gets the first one's.
            let mut place = first;
            first_row.copy_from_slice(&values[first * width..(first + 1) * width]);
            while !std::mem::replace(&mut is_done[place], true) {
                let from = order[place] as usize;
                if from == first {
                    values[place * width..(place + 1) * width].copy_from_slice(&first_row);
                } else {
                    values.copy_within(from * width..(from + 1) * width, place * width);
                }
                place = from;
            }
        }
        self.squared_norms = order.iter().map(|&row| self.squared_norms[row as usize]).collect();
        self
    }

    /// Some of the rows.
    pub(super) fn select(&self, order: &[u32]) -> Self {
        let width = self.values.ncols();
        let mut values = Array2::<f32>::zeros((order.len(), width));
        let target = values.as_slice_mut().expect("freshly made");
        target
            .par_chunks_mut(width)
            .zip(order)
            .with_min_len(512)
            .for_each(|(target, &id)| target.copy_from_slice(self.row(id as usize)));
        let squared_norms = order.iter().map(|&id| self.squared_norms[id as usize]).collect();
        Self { values, squared_norms }
    }
}

fn squared_norm(row: ArrayView1<'_, f32>) -> f64 {
    row.iter().map(|x| f64::from(*x).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use tlc_core::rng::Stream;

    use super::*;

    #[test]
    fn reordering_in_place_is_selecting_every_row() {
        for n in 1..40_u64 {
            let draws = Stream::new(n, "test");
            let mut order: Vec<u32> = (0..n as u32).collect();
            order.sort_by_key(|&row| draws.bits(u64::from(row), 0));
            let values = Array2::from_shape_fn((n as usize, 3), |(row, column)| (10 * row + column) as f32);
            let selected = Rows::new(values.clone()).select(&order);
            let reordered = Rows::new(values).reorder(&order);
            assert_eq!(reordered.view(), selected.view(), "{order:?}");
            assert_eq!(reordered.squared_norms(), selected.squared_norms());
        }
    }
}
