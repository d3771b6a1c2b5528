//! Principal axes: which way they are found on which data, and what a model file keeps of them.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use tlc_core::{Array, Arrays, Progress, ReduceError, is_measurable};

use super::blocks::column_means;
use super::covariance::{self, covariance};
use super::eigen::{axes_from_gram, largest_eigenvectors};
use super::projection::{Tiles, tiles};
use super::subspace::{self, iterate_on_covariance, subspace_iteration};
use crate::blas::SingleThreadedBlas;

const EXACT_UP_TO: usize = 1024;
/// Up to this width LAPACK's solver for all eigenvectors is as fast.
const ALL_AXES_UP_TO: usize = 256;
/// Axes are of length 1 but for rounding.
const LONGEST_AXIS: f32 = 1.01;

/// The directions of largest variance of some rows.
#[derive(Debug, Clone, PartialEq)]
pub struct PrincipalAxes {
    pub(super) mean: Array1<f32>,
    /// `(d, k)`, orthonormal columns, largest variance first; zero where there is no variance.
    pub(super) axes: Array2<f32>,
    /// The same as [`project`](Self::project) reads them.
    pub(super) tiles: Tiles,
}

impl PrincipalAxes {
    /// The first `n_axes` principal axes of `data`, `(n, d)`; fewer if `min(n, d)` is smaller.
    ///
    /// # Errors
    /// No rows, or rows of no values; if LAPACK fails; cancellation.
    pub fn fit(data: ArrayView2<'_, f32>, n_axes: usize, seed: u64, progress: &Progress) -> Result<Self, ReduceError> {
        let _single = SingleThreadedBlas::begin();
        let (n, d) = data.dim();
        if n == 0 || d == 0 {
            return Err(ReduceError::data(format!("it has {n} rows of {d} values; at least 1 of each is needed")));
        }
        let n_blocks = match (n.min(d) > EXACT_UP_TO, d <= n) {
            (true, _) => subspace::n_blocks(n),
            (false, true) => covariance::n_blocks(n),
            (false, false) => 0,
        };
        let task = progress.task("principal axes", n_blocks as u64);
        let n_axes = n_axes.min(n).min(d);
        let mean = column_means(data);
        let mut axes = if n.min(d) > EXACT_UP_TO {
            subspace_iteration(data, &mean, n_axes, seed, &task)?
        } else if d <= n {
            let covariance = covariance(data, &mean, &task)?;
            if d <= ALL_AXES_UP_TO || 4 * n_axes > d {
                largest_eigenvectors(&covariance, n_axes)?.1
            } else {
                iterate_on_covariance(&covariance, n_axes, seed)?
            }
        } else {
            axes_from_gram(data, &mean, n_axes)?
        };
        for mut axis in axes.axis_iter_mut(Axis(1)) {
            let largest = axis.iter().copied().fold(0.0_f64, |best, x| if x.abs() > best.abs() { x } else { best });
            if largest < 0.0 {
                axis.mapv_inplace(|x| -x);
            }
        }
        Ok(Self::new(mean.mapv(|x| x as f32), axes.mapv(|x| x as f32)))
    }

    fn new(mean: Array1<f32>, axes: Array2<f32>) -> Self {
        let tiles = tiles(&axes);
        Self { mean, axes, tiles }
    }

    /// The number of axes.
    pub fn n_axes(&self) -> usize {
        self.axes.ncols()
    }

    /// The number of values per row that [`project`](Self::project) takes.
    pub fn n_features(&self) -> usize {
        self.axes.nrows()
    }

    pub(crate) fn into_arrays(self, arrays: Arrays) -> Arrays {
        self.into_arrays_named(arrays, "pca")
    }

    /// Under another name, where a model has several.
    pub(crate) fn into_arrays_named(self, arrays: Arrays, name: &str) -> Arrays {
        arrays
            .with(&format!("{name}_mean"), Array::F32(self.mean.into_dyn()))
            .with(&format!("{name}_axes"), Array::F32(self.axes.into_dyn()))
    }

    pub(crate) fn from_arrays(arrays: &mut Arrays) -> Result<Self, ReduceError> {
        Self::from_arrays_named(arrays, "pca")
    }

    pub(crate) fn from_arrays_named(arrays: &mut Arrays, name: &str) -> Result<Self, ReduceError> {
        let mean: Array1<f32> = arrays.take_f32(&format!("{name}_mean"))?;
        let axes: Array2<f32> = arrays.take_f32(&format!("{name}_axes"))?;
        if mean.len() != axes.nrows() || !(1..=axes.nrows()).contains(&axes.ncols()) {
            let reason = format!("{} means and {} axes for {} features", mean.len(), axes.ncols(), axes.nrows());
            return Err(ReduceError::model(reason));
        }
        // Longer ones could take rows out of the range in which distances are measured.
        if !is_measurable(mean.view()) || !axes.axis_iter(Axis(1)).all(|axis| axis.dot(&axis) <= LONGEST_AXIS) {
            return Err(ReduceError::model("the means or the lengths of its principal axes are out of range"));
        }
        Ok(Self::new(mean, axes))
    }
}
