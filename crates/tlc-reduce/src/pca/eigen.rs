//! Axes by LAPACK's solver for all eigenvectors: of a covariance, or of a Gram matrix.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use ndarray_linalg::{Eigh, UPLO};
use tlc_core::ReduceError;

/// The eigenvectors of the `n_axes` largest eigenvalues, largest first.
pub(super) fn largest_eigenvectors(
    symmetric: &Array2<f64>,
    n_axes: usize,
) -> Result<(Array1<f64>, Array2<f64>), ReduceError> {
    let (values, vectors) = symmetric
        .eigh(UPLO::Lower)
        .map_err(|error| ReduceError::backend("compute the eigenvectors of the covariance", error))?;
    // LAPACK sorts ascending.
    Ok((
        values.slice(s![..;-1]).slice(s![..n_axes]).to_owned(),
        vectors.slice(s![.., ..;-1]).slice(s![.., ..n_axes]).to_owned(),
    ))
}

/// With fewer rows than columns, the axes are `Xᵀ u / |Xᵀ u|` for eigenvectors `u` of `X Xᵀ`.
pub(super) fn axes_from_gram(
    data: ArrayView2<'_, f32>,
    mean: &Array1<f64>,
    n_axes: usize,
) -> Result<Array2<f64>, ReduceError> {
    let centred = data.mapv(f64::from) - mean;
    let (_, vectors) = largest_eigenvectors(&centred.dot(&centred.t()), n_axes)?;
    let mut axes = centred.t().dot(&vectors);
    let lengths: Vec<f64> = axes.axis_iter(Axis(1)).map(|axis| axis.dot(&axis).sqrt()).collect();
    for (mut axis, &length) in axes.axis_iter_mut(Axis(1)).zip(&lengths) {
        // Far below the first, a direction is rounding: there is no variance, and zero keeps it so.
        let has_variance = length > 1e-7 * lengths[0] && length > 0.0;
        axis.mapv_inplace(|x| if has_variance { x / length } else { 0.0 });
    }
    Ok(axes)
}
