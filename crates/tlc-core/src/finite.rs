//! Fits of data in which some rows hold NaN or infinity, as diverging training gives them.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};

use crate::{FittedReducer, Progress, ReduceError, Reducer};

/// Beyond this a squared distance may overflow: such values are treated as infinite.
const LARGEST_VALUE: f32 = 1e15;
const VALUES_AT_ONCE: usize = 128;

/// Whether all values of `row`, `(d,)`, are numbers by which distances can be measured: within ±1e15.
pub fn is_measurable(row: ArrayView1<'_, f32>) -> bool {
    // Many at a time without a branch between them, which is several times as fast.
    let all = |values: &[f32]| values.iter().fold(true, |all, value| all & (value.abs() <= LARGEST_VALUE));
    match row.as_slice() {
        Some(values) => values.chunks(VALUES_AT_ONCE).all(all),
        None => row.iter().all(|value| value.abs() <= LARGEST_VALUE),
    }
}

/// A fit of the rows without NaN and infinity; see [`fit_finite_rows`].
#[derive(Debug)]
pub struct FiniteFit {
    /// The model of the rows that are finite.
    pub fitted: Box<dyn FittedReducer>,
    /// Which rows those are, ascending: row `rows[i]` of the data is row `i` of the model's layout.
    pub rows: Vec<usize>,
    n_rows: usize,
}

impl FiniteFit {
    /// The coordinates of all rows, `(n, n_components)`: NaN for those that were left out.
    pub fn coordinates(&self) -> Array2<f32> {
        let layout = self.fitted.layout();
        let mut coordinates = Array2::from_elem((self.n_rows, layout.ncols()), f32::NAN);
        for (&row, place) in self.rows.iter().zip(layout.outer_iter()) {
            coordinates.row_mut(row).assign(&place);
        }
        coordinates
    }

    /// How many rows were left out.
    pub fn n_dropped(&self) -> usize {
        self.n_rows - self.rows.len()
    }
}

/// Fits the rows of `data`, `(n, d)`, that the reducer [accepts](Reducer::accepts): without NaN, infinity and values
/// beyond ±1e15, and for a metric that knows directions only, not all zeros. [`Reducer::fit`] refuses data with others.
///
/// # Errors
/// As [`Reducer::fit`], of the rows that are left.
///
/// # Example
/// ```
/// # use tlc_core::{Progress, ReduceError, Reducer, fit_finite_rows, ndarray::Array2};
/// # fn example(reducer: &dyn Reducer) -> Result<(), ReduceError> {
/// let mut data = Array2::<f32>::zeros((100, 8));
/// data[[3, 5]] = f32::NAN;
/// let fit = fit_finite_rows(reducer, data.view(), &Progress::default())?;
/// assert_eq!(fit.n_dropped(), 1);
/// assert!(fit.coordinates().row(3).iter().all(|x| x.is_nan()));
/// # Ok(())
/// # }
/// ```
pub fn fit_finite_rows(
    reducer: &dyn Reducer,
    data: ArrayView2<'_, f32>,
    progress: &Progress,
) -> Result<FiniteFit, ReduceError> {
    let n_rows = data.nrows();
    let rows: Vec<usize> = (0..n_rows).filter(|&row| reducer.accepts(data.row(row))).collect();
    let fitted = if rows.len() == n_rows {
        reducer.fit(data, progress)?
    } else {
        reducer.fit(data.select(Axis(0), &rows).view(), progress)?
    };
    Ok(FiniteFit { fitted, rows, n_rows })
}
