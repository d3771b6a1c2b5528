//! The rows that a reducer works on: checked, contiguous, in the metric's space.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, CowArray, Ix2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tlc_core::{ReduceError, is_measurable};

/// How the distance of two rows is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// Straight-line distance.
    #[default]
    Euclidean,
    /// One minus the cosine of the angle. A row of zeros has no direction and is refused in a fit.
    #[serde(alias = "angular")]
    Cosine,
}

impl Metric {
    /// `data` such that Euclidean distance in it is monotone in this metric.
    ///
    /// Cosine: rows of length 1, where the squared distance is twice the cosine distance.
    pub(crate) fn embed<'a>(self, data: CowArray<'a, f32, Ix2>) -> CowArray<'a, f32, Ix2> {
        match self {
            Metric::Euclidean => data,
            Metric::Cosine => {
                let mut data = data.into_owned();
                for mut row in data.axis_iter_mut(Axis(0)) {
                    let length = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
                    row.mapv_inplace(|x| (f64::from(x) / length) as f32);
                }
                data.into()
            }
        }
    }

    /// The distance in this metric from the squared Euclidean distance in [`embed`](Self::embed)'s space.
    pub(crate) fn distance_from_squared(self, squared: f32) -> f32 {
        match self {
            Metric::Euclidean => squared.sqrt(),
            Metric::Cosine => squared / 2.0,
        }
    }
}

/// Collects what is wrong with parameters, so that all of it is reported at once.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<ReduceError>);

impl Problems {
    /// Notes that the parameter `name` is `value`, unless it `holds`; `accepted` says what would do.
    pub(crate) fn require(&mut self, holds: bool, name: &'static str, value: impl ToString, accepted: &str) {
        if !holds {
            self.0.push(ReduceError::parameter(name, value, accepted));
        }
    }

    /// # Errors
    /// The one problem, or [`ReduceError::Parameters`] with all of them.
    pub(crate) fn finish(mut self) -> Result<(), ReduceError> {
        match self.0.len() {
            0 => Ok(()),
            1 => Err(self.0.remove(0)),
            _ => Err(ReduceError::Parameters { problems: self.0.iter().map(ToString::to_string).collect() }),
        }
    }
}

impl Metric {
    /// Whether `row` has a place in the metric's space.
    pub(crate) fn accepts(self, row: ArrayView1<'_, f32>) -> bool {
        is_measurable(row) && (self != Metric::Cosine || row.iter().any(|&value| value != 0.0))
    }
}

/// The rows of a fit, contiguous, checked to be finite and to have a place in the metric's space.
pub(crate) fn checked_for_fit<'a>(
    data: &'a ArrayView2<'a, f32>,
    metric: Metric,
) -> Result<CowArray<'a, f32, Ix2>, ReduceError> {
    let (rows, features) = data.dim();
    if rows == 0 || features == 0 {
        return Err(ReduceError::data(format!(
            "it has {rows} rows of {features} values; at least 1 of each is needed"
        )));
    }
    if u32::try_from(rows).is_err() {
        return Err(ReduceError::data(format!("it has {rows} rows; at most {} are supported", u32::MAX)));
    }
    check_finite(data)?;
    if metric == Metric::Cosine {
        let zero: Vec<usize> = rows_where(rows, |row| !metric.accepts(data.row(row)));
        if !zero.is_empty() {
            let first: Vec<_> = zero.iter().take(10).collect();
            let reason = format!(
                "{} rows are all zeros (first: {first:?}) and have no direction; leave them out or use the euclidean metric",
                zero.len()
            );
            return Err(ReduceError::data(reason));
        }
    }
    Ok(data.as_standard_layout())
}

/// Fails if rows hold NaN, infinity or values beyond ±1e15.
pub(crate) fn check_finite(data: &ArrayView2<'_, f32>) -> Result<(), ReduceError> {
    let rows = data.nrows();
    let bad = rows_where(rows, |row| !is_measurable(data.row(row)));
    if bad.is_empty() {
        return Ok(());
    }
    Err(ReduceError::NotFinite { count: bad.len(), rows, first: bad.into_iter().take(10).collect() })
}

/// Which rows of a transform have a place: finite, and not all zeros under the cosine metric.
pub(crate) fn usable_rows(data: &ArrayView2<'_, f32>, metric: Metric) -> Vec<usize> {
    rows_where(data.nrows(), |row| metric.accepts(data.row(row)))
}

/// The numbers below `n` for which it holds, ascending; in parallel.
pub(crate) fn rows_where(n: usize, holds: impl Fn(usize) -> bool + Sync) -> Vec<usize> {
    (0..n).into_par_iter().with_min_len(256).filter(|&row| holds(row)).collect()
}

/// Fails unless `data` has the width that was fitted.
pub(crate) fn check_width(data: &ArrayView2<'_, f32>, n_features: usize) -> Result<(), ReduceError> {
    if data.ncols() == n_features {
        return Ok(());
    }
    Err(ReduceError::data(format!("its rows have {} values, the model was fitted on {n_features}", data.ncols())))
}

/// The layout's points as an array, `(n, D)`.
pub(crate) fn array_from_points<const D: usize>(points: &[[f32; D]]) -> Array2<f32> {
    Array2::from_shape_vec((points.len(), D), points.as_flattened().to_vec()).expect("n times D values")
}

/// The rows of an array as points.
pub(crate) fn points_from_array<const D: usize>(array: &ArrayView2<'_, f32>) -> Vec<[f32; D]> {
    array.outer_iter().map(|row| std::array::from_fn(|d| row[d])).collect()
}
