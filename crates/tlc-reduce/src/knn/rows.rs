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

    pub(super) fn len(&self) -> usize {
        self.values.nrows()
    }

    pub(super) fn width(&self) -> usize {
        self.values.ncols()
    }

    #[inline]
    pub(super) fn row(&self, id: usize) -> &[f32] {
        let width = self.values.ncols();
        &self.values.as_slice().expect("standard layout")[id * width..(id + 1) * width]
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

    /// The rows in another order, or some of them.
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
