//! Sums over all rows, block by block: in parallel, and in an order that the number of threads does not change.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;
use tlc_core::{Cancelled, Task};

const BLOCK_ROWS: usize = 1024;

/// How many blocks of rows [`sum_over_blocks`] reports.
pub(super) fn n_blocks(n: usize) -> usize {
    n.div_ceil(BLOCK_ROWS)
}

pub(super) fn column_means(data: ArrayView2<'_, f32>) -> Array1<f64> {
    let sum = |block: ArrayView2<'_, f32>| {
        let mut sums = Array1::<f64>::zeros(block.ncols());
        block.outer_iter().for_each(|row| sums.zip_mut_with(&row, |sum, &value| *sum += f64::from(value)));
        sums
    };
    let parts: Vec<Array1<f64>> = data.axis_chunks_iter(Axis(0), BLOCK_ROWS).into_par_iter().map(sum).collect();
    // In order, so that the number of threads does not matter.
    parts.into_iter().fold(Array1::zeros(data.ncols()), |sums, part| sums + part) / data.nrows() as f64
}

/// `f(centred block)` for each block of rows, in parallel, summed in block order.
pub(super) fn sum_over_blocks(
    data: ArrayView2<'_, f32>,
    mean: &Array1<f64>,
    shape: (usize, usize),
    task: &Task,
    f: impl Fn(&Array2<f32>) -> Array2<f32> + Sync,
) -> Result<Array2<f64>, Cancelled> {
    let mean = mean.mapv(|x| x as f32);
    let blocks: Vec<_> = data.axis_chunks_iter(Axis(0), BLOCK_ROWS).collect();
    let mut total = Array2::<f64>::zeros(shape);
    // A few blocks at a time: enough for the threads, little memory, and a fixed order of summation.
    for group in blocks.chunks(8) {
        let parts: Vec<Array2<f32>> = group.par_iter().map(|block| f(&(block - &mean))).collect();
        for part in parts {
            total.zip_mut_with(&part, |sum, &value| *sum += f64::from(value));
        }
        task.advance(group.len() as u64)?;
    }
    Ok(total)
}
