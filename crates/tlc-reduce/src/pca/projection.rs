//! Rows on principal axes: their coordinates, and how far they are from the plane of the axes.
//!
//! By explicit vectors, some rows and some axes at a time; each row is computed by itself.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;
use tlc_core::ReduceError;

use super::PrincipalAxes;
use crate::input::check_width;

pub(super) const LANES: usize = 16;
const ROWS_AT_ONCE: usize = 8;

/// Axes, some at a time: for each feature their values side by side, zero beyond the last axis.
pub(super) type Tiles = Vec<Vec<[f32; LANES]>>;

/// Of `axes`, `(d, k)`.
pub(super) fn tiles(axes: &Array2<f32>) -> Tiles {
    let (n_features, n_axes) = axes.dim();
    let tile = |first: usize| {
        let value = |j: usize, lane: usize| axes.get((j, first + lane)).copied().unwrap_or(0.0);
        (0..n_features).map(|j| std::array::from_fn(|lane| value(j, lane))).collect()
    };
    (0..n_axes).step_by(LANES).map(tile).collect()
}

impl PrincipalAxes {
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
