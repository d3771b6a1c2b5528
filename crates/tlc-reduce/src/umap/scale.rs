//! Brings rows into the space in which distances are measured.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;
use tlc_core::{Arrays, ReduceError};

use crate::input::Metric;

/// Rows per partial sum: fixed, so that sums do not depend on the threads.
const BLOCK_ROWS: usize = 4096;

/// Mean and scale of each feature.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scaler {
    mean: Array1<f32>,
    scale: Array1<f32>,
}

impl Scaler {
    /// Brings the features of `data`, `(n, d)`, to mean 0 and variance 1; a constant feature becomes 0.
    pub(super) fn fit(data: ArrayView2<'_, f32>) -> Self {
        let n = data.nrows() as f64;
        let mean = column_sums(data, |_, value| value) / n;
        let variance = column_sums(data, |column, value| (value - mean[column]).powi(2)) / n;
        let scale = variance.mapv(|variance| if variance.sqrt() > 1e-30 { 1.0 / variance.sqrt() } else { 1.0 });
        Self { mean: mean.mapv(|x| x as f32), scale: scale.mapv(|x| x as f32) }
    }

    pub(super) fn add_to(&self, arrays: Arrays) -> Arrays {
        arrays.with_f32("scaler_mean", &self.mean).with_f32("scaler_scale", &self.scale)
    }

    pub(super) fn from_arrays(arrays: &mut Arrays, n_features: usize) -> Result<Self, ReduceError> {
        let scaler = Self { mean: arrays.take_f32("scaler_mean")?, scale: arrays.take_f32("scaler_scale")? };
        if scaler.mean.len() != n_features || scaler.scale.len() != n_features {
            return Err(ReduceError::model("its scaler has another width than its rows"));
        }
        Ok(scaler)
    }
}

/// The sum of `f(column, value)` over each column.
fn column_sums(data: ArrayView2<'_, f32>, f: impl Fn(usize, f64) -> f64 + Sync) -> Array1<f64> {
    let blocks: Vec<_> = data.axis_chunks_iter(Axis(0), BLOCK_ROWS).collect();
    let sums: Vec<Array1<f64>> = blocks
        .par_iter()
        .map(|block| {
            let mut sums = Array1::<f64>::zeros(data.ncols());
            for row in block.outer_iter() {
                for (column, (sum, &value)) in sums.iter_mut().zip(row).enumerate() {
                    *sum += f(column, f64::from(value));
                }
            }
            sums
        })
        .collect();
    sums.into_iter().fold(Array1::zeros(data.ncols()), |total, sums| total + sums)
}

/// The rows, scaled if there is a scaler, in the metric's space.
pub(super) fn embed(scaler: Option<&Scaler>, metric: Metric, mut rows: Array2<f32>) -> Array2<f32> {
    if let Some(scaler) = scaler {
        for mut row in rows.outer_iter_mut() {
            for ((value, mean), scale) in row.iter_mut().zip(&scaler.mean).zip(&scaler.scale) {
                *value = (*value - mean) * scale;
            }
        }
    }
    metric.embed(rows.into()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_get_mean_zero_and_variance_one() {
        let data = Array2::from_shape_fn((9000, 3), |(i, j)| if j == 2 { 5.0 } else { (i * (j + 1) % 97) as f32 });
        let scaled = embed(Some(&Scaler::fit(data.view())), Metric::Euclidean, data);
        let scaled = scaled.mapv(f64::from);
        for column in 0..2 {
            let column = scaled.column(column);
            assert!(column.mean().expect("rows").abs() < 1e-5);
            assert!((column.std(0.0) - 1.0).abs() < 1e-5);
        }
        assert!(scaled.column(2).iter().all(|&value| value == 0.0), "a constant feature has nothing to say");
    }
}
