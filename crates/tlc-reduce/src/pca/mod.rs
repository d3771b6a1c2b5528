//! Principal component analysis: as a reducer, as preprocessing and as initial layout.
//!
//! Narrow data (`min(n, d)` up to 1,024): eigenvectors of the covariance or of the Gram matrix by
//! LAPACK, or by subspace iteration on the covariance where few of many axes are wanted. Wider data:
//! subspace iteration from a seeded start (Halko, Martinsson, Tropp 2011, algorithm 4.4), which never
//! forms a `d × d` matrix.
//!
//! The sign of an axis is arbitrary; here its entry of largest magnitude is positive, so that layouts
//! do not flip between machines.

mod covariance;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use ndarray_linalg::{Cholesky, Eigh, Inverse, QR, UPLO};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tlc_core::rng::Stream;
use tlc_core::{
    Array, Arrays, Cancelled, FittedReducer, PluginInfo, PluginKind, Progress, ReduceError, Reducer, Task, Transformed,
    is_measurable,
};

use self::covariance::covariance;
use crate::blas::SingleThreadedBlas;
use crate::input::{Metric, check_width, checked_for_fit, usable_rows};

const EXACT_UP_TO: usize = 1024;
const BLOCK_ROWS: usize = 1024;
const OVERSAMPLING: usize = 10;
const POWER_ITERATIONS: usize = 6;
/// Axes are of length 1 but for rounding.
const LONGEST_AXIS: f32 = 1.01;
/// On a covariance iterations cost little: enough for the first axes to converge.
const COVARIANCE_ITERATIONS: usize = 12;
/// Up to this width LAPACK's solver for all eigenvectors is as fast.
const ALL_AXES_UP_TO: usize = 256;
/// Rows of one product in double precision.
const PRODUCT_ROWS: usize = 128;
const LANES: usize = 16;
const ROWS_AT_ONCE: usize = 8;

/// The directions of largest variance of some rows.
#[derive(Debug, Clone, PartialEq)]
pub struct PrincipalAxes {
    mean: Array1<f32>,
    /// `(d, k)`, orthonormal columns, largest variance first; zero where there is no variance.
    axes: Array2<f32>,
    /// The same as [`project`](Self::project) reads them: some axes at a time, for each feature their values side
    /// by side, zero beyond the last axis.
    tiles: Vec<Vec<[f32; LANES]>>,
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
            (true, _) => (POWER_ITERATIONS + 1) * n.div_ceil(BLOCK_ROWS),
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
        let (n_features, n_axes) = axes.dim();
        let tile = |first: usize| {
            let value = |j: usize, lane: usize| axes.get((j, first + lane)).copied().unwrap_or(0.0);
            (0..n_features).map(|j| std::array::from_fn(|lane| value(j, lane))).collect()
        };
        let tiles = (0..n_axes).step_by(LANES).map(tile).collect();
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

    /// The rows' coordinates on the axes, `(m, n_axes)`.
    ///
    /// Each row is computed by itself, so that its bits do not depend on the other rows, which a
    /// blocked matrix product would not promise.
    ///
    /// # Errors
    /// Rows that are not [`n_features`](Self::n_features) wide.
    pub fn project(&self, data: ArrayView2<'_, f32>) -> Result<Array2<f32>, ReduceError> {
        check_width(&data, self.n_features())?;
        Ok(self.coordinates(data))
    }

    /// As [`project`](Self::project), of rows that are known to be as wide.
    pub(crate) fn coordinates(&self, data: ArrayView2<'_, f32>) -> Array2<f32> {
        assert_eq!(data.ncols(), self.n_features(), "rows have the fitted width");
        let n_axes = self.n_axes();
        let mut projected = Array2::<f32>::zeros((data.nrows(), n_axes));
        if n_axes == 0 {
            return projected;
        }
        projected
            .as_slice_mut()
            .expect("freshly made")
            .par_chunks_mut(ROWS_AT_ONCE * n_axes)
            .zip(data.axis_chunks_iter(Axis(0), ROWS_AT_ONCE).into_par_iter())
            .with_min_len(16)
            .for_each_init(Vec::new, |centred: &mut Vec<f32>, (target, rows)| {
                // Feature by feature, the rows side by side; rows that are not there stay zero.
                centred.clear();
                centred.resize(ROWS_AT_ONCE * rows.ncols(), 0.0);
                for (place, row) in rows.outer_iter().enumerate() {
                    for (j, (&value, &mean)) in row.iter().zip(&self.mean).enumerate() {
                        centred[j * ROWS_AT_ONCE + place] = value - mean;
                    }
                }
                for (t, tile) in self.tiles.iter().enumerate() {
                    let sums = pulp::Arch::new().dispatch(MultiplyTile { centred: centred.as_chunks().0, tile });
                    for (target, sums) in target.chunks_exact_mut(n_axes).zip(&sums) {
                        let target = &mut target[t * LANES..n_axes.min((t + 1) * LANES)];
                        target.copy_from_slice(&sums[..target.len()]);
                    }
                }
            });
        projected
    }

    /// The distance of each row of `data`, `(n, d)`, from the plane that its `projected` coordinates, `(n, n_axes)`,
    /// are in: `(n,)`. Each row is computed by itself.
    pub(crate) fn residuals(&self, data: ArrayView2<'_, f32>, projected: ArrayView2<'_, f32>) -> Array1<f32> {
        let square = |x: f32| f64::from(x).powi(2);
        let distances: Vec<f32> = (data.axis_iter(Axis(0)).into_par_iter(), projected.axis_iter(Axis(0)))
            .into_par_iter()
            .with_min_len(64)
            .map(|(row, coordinates)| {
                let length: f64 = row.iter().zip(&self.mean).map(|(x, mean)| square(x - mean)).sum();
                let held: f64 = coordinates.iter().map(|&x| square(x)).sum();
                (length - held).max(0.0).sqrt() as f32
            })
            .collect();
        distances.into()
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

/// Products of some rows with some axes. Each sum runs over the features in order, whatever is beside it.
struct MultiplyTile<'a> {
    /// `centred[feature][row]`.
    centred: &'a [[f32; ROWS_AT_ONCE]],
    /// `tile[feature][axis]`.
    tile: &'a [[f32; LANES]],
}

impl pulp::WithSimd for MultiplyTile<'_> {
    type Output = [[f32; LANES]; ROWS_AT_ONCE];

    // By explicit vectors: the compiler does not keep this many sums in registers by itself.
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) -> Self::Output {
        let mut products = [[0.0_f32; LANES]; ROWS_AT_ONCE];
        let per_feature = LANES / S::F32_LANES;
        let (tile, _) = S::as_simd_f32s(self.tile.as_flattened());
        for part in 0..per_feature {
            let mut sums = [simd.splat_f32s(0.0); ROWS_AT_ONCE];
            for (values, axes) in self.centred.iter().zip(tile.iter().skip(part).step_by(per_feature)) {
                for row in 0..ROWS_AT_ONCE {
                    sums[row] = simd.mul_add_f32s(simd.splat_f32s(values[row]), *axes, sums[row]);
                }
            }
            for (products, sum) in products.iter_mut().zip(sums) {
                let (products, _) = S::as_mut_simd_f32s(products);
                products[part] = sum;
            }
        }
        products
    }
}

fn column_means(data: ArrayView2<'_, f32>) -> Array1<f64> {
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
fn sum_over_blocks(
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

/// The eigenvectors of the `n_axes` largest eigenvalues, largest first.
fn largest_eigenvectors(symmetric: &Array2<f64>, n_axes: usize) -> Result<(Array1<f64>, Array2<f64>), ReduceError> {
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
fn axes_from_gram(data: ArrayView2<'_, f32>, mean: &Array1<f64>, n_axes: usize) -> Result<Array2<f64>, ReduceError> {
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

fn subspace_iteration(
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
fn iterate_on_covariance(covariance: &Array2<f64>, n_axes: usize, seed: u64) -> Result<Array2<f64>, ReduceError> {
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

/// The parameters of [`Pca`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PcaParams {
    /// Coordinates per row; at least 1. Default 2.
    pub n_components: usize,
    /// Start of the iterations, on data wider than 256. Default 42.
    #[serde(alias = "random_state")]
    pub seed: u64,
}

impl Default for PcaParams {
    fn default() -> Self {
        Self { n_components: 2, seed: 42 }
    }
}

/// Principal component analysis: the linear baseline.
///
/// Fast and exact in what it keeps; shows directions of variance, not neighbourhoods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "PcaParams", into = "PcaParams")]
pub struct Pca {
    params: PcaParams,
}

impl Pca {
    /// A PCA with checked parameters.
    ///
    /// # Errors
    /// No components.
    pub fn new(params: PcaParams) -> Result<Self, ReduceError> {
        if params.n_components == 0 {
            return Err(ReduceError::parameter("n_components", 0, "use at least 1"));
        }
        Ok(Self { params })
    }
}

impl TryFrom<PcaParams> for Pca {
    type Error = ReduceError;

    fn try_from(params: PcaParams) -> Result<Self, ReduceError> {
        Self::new(params)
    }
}

impl From<Pca> for PcaParams {
    fn from(pca: Pca) -> Self {
        pca.params
    }
}

tlc_core::inventory::submit! {
    PluginInfo {
        kind: PluginKind::Reducer,
        tag: "pca/1",
        crate_name: env!("CARGO_PKG_NAME"),
        crate_version: env!("CARGO_PKG_VERSION"),
        summary: "principal component analysis: linear, keeps directions of largest variance",
    }
}

#[typetag::serde(name = "pca/1")]
impl Reducer for Pca {
    fn n_components(&self) -> usize {
        self.params.n_components
    }

    fn fit(&self, data: ArrayView2<'_, f32>, progress: &Progress) -> Result<Box<dyn FittedReducer>, ReduceError> {
        progress.check()?;
        let data = checked_for_fit(&data, Metric::Euclidean)?;
        let wanted = self.params.n_components;
        if data.ncols() < wanted {
            let accepted = format!("the rows have {} values; use at most that many", data.ncols());
            return Err(ReduceError::parameter("n_components", wanted, accepted));
        }
        let axes = PrincipalAxes::fit(data.view(), wanted, self.params.seed, progress)?;
        let mut fitted = FittedPca { reducer: self.clone(), axes, layout: Array2::zeros((0, 0)), spread: 1.0 };
        fitted.layout = fitted.place(data.view());
        let mean_square = fitted.residuals(data.view(), &fitted.layout).mapv(|r| f64::from(r).powi(2)).mean();
        fitted.spread = mean_square.unwrap_or(0.0).sqrt().max(1e-12) as f32;
        Ok(Box::new(fitted))
    }

    fn restore(&self, mut arrays: Arrays) -> Result<Box<dyn FittedReducer>, ReduceError> {
        let axes = PrincipalAxes::from_arrays(&mut arrays)?;
        let layout: Array2<f32> = arrays.take_f32("layout")?;
        let spread: Array1<f32> = arrays.take_f32("spread")?;
        let [spread] = spread.as_slice().and_then(|spread| spread.try_into().ok()).unwrap_or([0.0]);
        let is_whole = layout.nrows() > 0 && layout.ncols() == self.params.n_components;
        if !is_whole || axes.n_axes() > layout.ncols() || spread <= 0.0 {
            return Err(ReduceError::model("its arrays do not fit together"));
        }
        Ok(Box::new(FittedPca { reducer: self.clone(), axes, layout, spread }))
    }

    fn boxed_clone(&self) -> Box<dyn Reducer> {
        Box::new(self.clone())
    }
}

#[derive(Debug)]
struct FittedPca {
    reducer: Pca,
    axes: PrincipalAxes,
    layout: Array2<f32>,
    /// Root mean square distance of the fitted rows from the plane of the axes.
    spread: f32,
}

impl FittedPca {
    /// Coordinates, padded with zeros where there are fewer rows than components.
    fn place(&self, data: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut layout = Array2::zeros((data.nrows(), self.reducer.params.n_components));
        layout.slice_mut(s![.., ..self.axes.n_axes()]).assign(&self.axes.coordinates(data));
        layout
    }

    /// Distance of each row from the plane of the axes.
    fn residuals(&self, data: ArrayView2<'_, f32>, coordinates: &Array2<f32>) -> Array1<f32> {
        let squared = data.outer_iter().zip(coordinates.outer_iter()).map(|(row, place)| {
            let total: f64 = row.iter().zip(&self.axes.mean).map(|(x, mean)| f64::from(x - mean).powi(2)).sum();
            let kept: f64 = place.iter().map(|x| f64::from(*x).powi(2)).sum();
            (total - kept).max(0.0).sqrt() as f32
        });
        squared.collect()
    }
}

impl FittedReducer for FittedPca {
    fn reducer(&self) -> &dyn Reducer {
        &self.reducer
    }

    fn n_features(&self) -> usize {
        self.axes.n_features()
    }

    fn layout(&self) -> ArrayView2<'_, f32> {
        self.layout.view()
    }

    fn transform(&self, data: ArrayView2<'_, f32>, progress: &Progress) -> Result<Transformed, ReduceError> {
        progress.check()?;
        check_width(&data, self.n_features())?;
        let usable = usable_rows(&data, Metric::Euclidean);
        let rows = data.select(Axis(0), &usable);
        let placed = self.place(rows.view());
        let residuals = self.residuals(rows.view(), &placed);
        let mut coordinates = Array2::from_elem((data.nrows(), placed.ncols()), f32::NAN);
        let mut out_of_distribution = Array1::from_elem(data.nrows(), f32::NAN);
        for (from, &to) in usable.iter().enumerate() {
            coordinates.row_mut(to).assign(&placed.row(from));
            out_of_distribution[to] = residuals[from] / self.spread;
        }
        Ok(Transformed { coordinates, out_of_distribution })
    }

    fn to_arrays(&self) -> Arrays {
        let arrays = self.axes.clone().into_arrays(Arrays::default());
        arrays.with_f32("layout", &self.layout).with_f32("spread", &ndarray::arr1(&[self.spread]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Variance 9 along one direction, 0.01 across it.
    fn stretched(n: usize, d: usize) -> (Array2<f32>, Array1<f32>) {
        let noise = Stream::new(5, "test");
        let direction = Array1::from_shape_fn(d, |j| if j % 2 == 0 { 1.0 } else { -1.0 } / (d as f32).sqrt());
        let data = Array2::from_shape_fn((n, d), |(i, j)| {
            let along = 3.0 * noise.normal(i as u64, 1_000_000) as f32;
            5.0 + along * direction[j] + 0.1 * noise.normal(i as u64, j as u64) as f32
        });
        (data, direction)
    }

    #[test]
    fn the_first_axis_is_the_direction_of_largest_variance() {
        // Covariance, Gram matrix, iteration on the covariance and on the rows.
        for (n, d) in [(500, 20), (40, 300), (400, 300), (1100, 1200)] {
            let (data, direction) = stretched(n, d);
            let axes = PrincipalAxes::fit(data.view(), 2, 0, &Progress::default()).expect("fits");
            let cosine = axes.axes.column(0).dot(&direction);
            assert!(cosine.abs() > 0.99, "{n} x {d}: cosine {cosine}");
            assert!((axes.axes.column(0).dot(&axes.axes.column(1))).abs() < 1e-4);
        }
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        // The four ways, the last with more than one block of rows.
        for (n, d, n_axes) in [(40, 300, 5), (1100, 1200, 5), (500, 200, 20), (9000, 300, 20)] {
            let (data, _) = stretched(n, d);
            let fit = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
                pool.install(|| PrincipalAxes::fit(data.view(), n_axes, 0, &Progress::default())).expect("fits")
            };
            let one = fit(1);
            for threads in [2, 3, 8] {
                assert_eq!(fit(threads), one, "{n} x {d}, {threads} threads");
            }
        }
    }

    #[test]
    fn rows_of_few_dimensions_have_their_variance_in_as_many_axes() {
        let noise = Stream::new(8, "test");
        let normal = |i: usize, j: usize| noise.normal(i as u64, j as u64) as f32;
        let (places, directions) = (Array2::from_shape_fn((600, 3), |(i, j)| normal(i, j)), {
            Array2::from_shape_fn((3, 300), |(i, j)| normal(1000 + i, j))
        });
        let data = places.dot(&directions);
        // Far more axes than there are directions: the iteration's columns become parallel.
        let axes = PrincipalAxes::fit(data.view(), 40, 0, &Progress::default()).expect("fits");
        let variances = axes.coordinates(data.view()).map_axis(Axis(0), |column| column.dot(&column));
        let (held, rest) = (variances.slice(s![..3]).sum(), variances.slice(s![3..]).sum());
        assert!(rest < 1e-6 * held && held.is_finite(), "{held} in three axes, {rest} in the others");
    }

    #[test]
    fn rows_of_another_width_are_an_error() {
        let (data, _) = stretched(30, 5);
        let axes = PrincipalAxes::fit(data.view(), 2, 0, &Progress::default()).expect("fits");
        assert_eq!(axes.project(data.view()).expect("as wide").dim(), (30, 2));
        assert!(PrincipalAxes::fit(data.slice(s![..0, ..]), 2, 0, &Progress::default()).is_err(), "no rows");
        let error = axes.project(data.slice(s![.., ..4])).expect_err("narrower").to_string();
        assert_eq!(error, "cannot reduce the data: its rows have 4 values, the model was fitted on 5");
    }

    /// Arrays without values can have any shape, so a small file can ask for any amount of memory.
    #[test]
    fn damaged_arrays_of_no_values_are_refused() {
        let pca = |n_components| Pca::new(PcaParams { n_components, seed: 0 }).expect("valid");
        let spread = ndarray::arr1(&[1.0_f32]);
        let arrays = |mean: usize, axes: (usize, usize), layout: (usize, usize)| {
            Arrays::default()
                .with_f32("pca_mean", &Array1::zeros(mean))
                .with_f32("pca_axes", &Array2::zeros(axes))
                .with_f32("layout", &Array2::zeros(layout))
                .with_f32("spread", &spread)
        };
        for (arrays, n_components) in [
            (arrays(0, (0, 1 << 40), (5, 2)), 2),
            (arrays(6, (6, 0), (5, 2)), 2),
            (arrays(6, (6, 2), (0, 1 << 40)), 1 << 40),
        ] {
            let error = pca(n_components).restore(arrays).expect_err("refused");
            assert!(matches!(error, ReduceError::Model { .. }), "{error}");
        }
    }

    #[test]
    fn keeps_the_contract() {
        let pca = Pca::new(PcaParams { n_components: 2, seed: 0 }).expect("valid");
        tlc_core::conformance::check_reducer(&pca);
    }
}
