//! The first axes by subspace iteration from a seeded start (Halko, Martinsson, Tropp 2011, algorithm 4.4): on the rows,
//! or on a covariance that is there anyway.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, Axis};
use ndarray_linalg::{Cholesky, Inverse, QR, UPLO};
use rayon::prelude::*;
use tlc_core::rng::Stream;
use tlc_core::{ReduceError, Task};

use super::blocks::{self, sum_over_blocks};
use super::eigen::largest_eigenvectors;

const OVERSAMPLING: usize = 10;
const POWER_ITERATIONS: usize = 6;
/// On a covariance iterations cost little: enough for the first axes to converge.
const COVARIANCE_ITERATIONS: usize = 12;
/// Rows of one product in double precision.
const PRODUCT_ROWS: usize = 128;

/// How many blocks of rows [`subspace_iteration`] reports.
pub(super) fn n_blocks(n: usize) -> usize {
    (POWER_ITERATIONS + 1) * blocks::n_blocks(n)
}

/// `(d, n_axes)`, of the rows themselves: no `d × d` matrix is formed.
pub(super) fn subspace_iteration(
    data: ArrayView2<'_, f32>,
    mean: &Array1<f64>,
    n_axes: usize,
    seed: u64,
    task: &Task,
) -> Result<Array2<f64>, ReduceError> {
    let (n, d) = data.dim();
    let width = (n_axes + OVERSAMPLING).min(n).min(d);
    let start = Stream::new(seed, "pca-start");
    let mut basis = Array2::from_shape_fn((d, width), |(i, j)| start.normal(i as u64, j as u64));
    for _ in 0..POWER_ITERATIONS {
        basis = orthonormal(basis)?;
        let narrow = basis.mapv(|x| x as f32);
        basis = sum_over_blocks(data, mean, (d, width), task, |block| block.t().dot(&block.dot(&narrow)))?;
    }
    let basis = orthonormal(basis)?;
    let narrow = basis.mapv(|x| x as f32);
    let inner = sum_over_blocks(data, mean, (width, width), task, |block| {
        let projected = block.dot(&narrow);
        projected.t().dot(&projected)
    })?;
    let (_, vectors) = largest_eigenvectors(&inner, n_axes)?;
    Ok(basis.dot(&vectors))
}

/// The same on a covariance that is there anyway: the first axes in a fraction of a full solver's time.
pub(super) fn iterate_on_covariance(
    covariance: &Array2<f64>,
    n_axes: usize,
    seed: u64,
) -> Result<Array2<f64>, ReduceError> {
    let d = covariance.nrows();
    let start = Stream::new(seed, "pca-start");
    let width = (n_axes + OVERSAMPLING).min(d);
    let mut basis = Array2::from_shape_fn((d, width), |(i, j)| start.normal(i as u64, j as u64));
    for _ in 0..COVARIANCE_ITERATIONS {
        basis = times(covariance, &set_apart(basis)?);
    }
    let basis = orthonormal(basis)?;
    // Rayleigh and Ritz: the best axes within the subspace.
    let (_, vectors) = largest_eigenvectors(&basis.t().dot(&times(covariance, &basis)), n_axes)?;
    Ok(times(&basis, &vectors))
}

/// A product by blocks of rows, in parallel.
fn times(left: &Array2<f64>, right: &Array2<f64>) -> Array2<f64> {
    let mut product = Array2::zeros((left.nrows(), right.ncols()));
    let blocks = product.axis_chunks_iter_mut(Axis(0), PRODUCT_ROWS).into_par_iter();
    let blocks = blocks.zip(left.axis_chunks_iter(Axis(0), PRODUCT_ROWS));
    blocks.for_each(|(mut target, rows)| general_mat_mul(1.0, &rows, right, 0.0, &mut target));
    product
}

/// Another basis of the same space, of columns that are far from parallel: `B L⁻ᵀ` where `BᵀB = L Lᵀ` (Cholesky QR).
///
/// Less exact than [`orthonormal`], which between two iterations does not matter, and several times as fast; where it
/// fails since columns are as good as parallel, that one serves.
fn set_apart(basis: Array2<f64>) -> Result<Array2<f64>, ReduceError> {
    let inverse = basis.t().dot(&basis).cholesky(UPLO::Lower).and_then(|lower| lower.inv());
    match inverse {
        Ok(inverse) if inverse.iter().all(|value| value.is_finite()) => {
            Ok(times(&basis, &inverse.reversed_axes().as_standard_layout().into_owned()))
        }
        _ => orthonormal(basis),
    }
}

fn orthonormal(basis: Array2<f64>) -> Result<Array2<f64>, ReduceError> {
    let (q, _) = basis.qr().map_err(|error| ReduceError::backend("orthonormalise the principal axes", error))?;
    Ok(q)
}
