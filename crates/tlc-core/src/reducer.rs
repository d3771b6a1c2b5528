//! Dimensionality reduction, fitted once and applied many times.

use std::fmt::Debug;
use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array};
use arrow_schema::{DataType, Field};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2};

use crate::{Arrays, Progress, ReduceError, is_measurable};

/// A method of dimensionality reduction with its parameters.
///
/// Serialised, it is its parameters under a versioned tag: `{"type": "pacmap/1", "n_components": 3}`.
/// The tag is file format: models and lineage hold it. What precedes the `/` is the method's short
/// name, as users type it and as reduced columns are called.
///
/// # What an implementer promises
///
/// - Deserialising checks the parameters as the constructor does, and refuses unknown fields.
/// - [`fit`](Self::fit) is a function of parameters (which hold the seed) and data: the same bits for
///   any number of threads.
/// - `fit` refuses rows with NaN or infinity ([`ReduceError::NotFinite`]); callers leave them out, or use
///   [`fit_finite_rows`](crate::fit_finite_rows).
/// - Progress is reported and a wish to stop is obeyed within about a second.
#[typetag::serde(tag = "type")]
pub trait Reducer: Debug + Send + Sync {
    /// The number of coordinates per row.
    fn n_components(&self) -> usize;

    /// Learns a layout of `data`, `(n, d)`.
    ///
    /// # Errors
    /// Parameters that do not fit the data, rows that are not finite, cancellation.
    fn fit(&self, data: ArrayView2<'_, f32>, progress: &Progress) -> Result<Box<dyn FittedReducer>, ReduceError>;

    /// Whether [`fit`](Self::fit) takes a row, `(d,)`, among others. The default: if it is [measurable](is_measurable).
    fn accepts(&self, row: ArrayView1<'_, f32>) -> bool {
        is_measurable(row)
    }

    /// The fitted model whose [`FittedReducer::to_arrays`] are `arrays`.
    ///
    /// # Errors
    /// Arrays that are missing or do not fit together. They come from a file: trust nothing.
    fn restore(&self, arrays: Arrays) -> Result<Box<dyn FittedReducer>, ReduceError>;

    /// A copy with the same parameters.
    fn boxed_clone(&self) -> Box<dyn Reducer>;

    /// The short name: the tag up to its version.
    fn method(&self) -> &'static str {
        let tag = self.typetag_name();
        tag.split_once('/').map_or(tag, |(method, _)| method)
    }
}

impl Clone for Box<dyn Reducer> {
    fn clone(&self) -> Self {
        self.boxed_clone()
    }
}

/// A reducer that has learned a layout.
///
/// It has no tag of its own: its file is its [`Reducer`]'s parameters and its arrays, and
/// [`Reducer::restore`] puts them together again.
///
/// # What an implementer promises
///
/// - [`transform`](Self::transform) is per row: the result depends on model and row alone, not on the
///   other rows of the call, their order, or the threads.
/// - A row that equals a fitted row gets that row's fitted coordinates; of several equal ones, those of
///   the first.
/// - After [`to_arrays`](Self::to_arrays) and [`Reducer::restore`] all results are the same bits.
pub trait FittedReducer: Debug + Send + Sync {
    /// The method and parameters.
    fn reducer(&self) -> &dyn Reducer;

    /// The number of values per row that [`transform`](Self::transform) takes.
    fn n_features(&self) -> usize;

    /// The coordinates of the fitted rows, `(n, n_components)`.
    fn layout(&self) -> ArrayView2<'_, f32>;

    /// The coordinates of other rows, `(m, d)`.
    ///
    /// A row with NaN, infinity or values too large to measure distances by gets NaN coordinates and a NaN
    /// score.
    ///
    /// # Errors
    /// A width other than the fitted one; cancellation.
    fn transform(&self, data: ArrayView2<'_, f32>, progress: &Progress) -> Result<Transformed, ReduceError>;

    /// Everything that was learned.
    fn to_arrays(&self) -> Arrays;
}

/// Coordinates of rows, and how far they lie from the fitted data.
#[derive(Debug, Clone, PartialEq)]
pub struct Transformed {
    /// `(m, n_components)`.
    pub coordinates: Array2<f32>,
    /// `(m,)`: about 1 inside the fitted data, large far outside. Methods on neighbour graphs give the
    /// distance to the nearest fitted row over the typical neighbour distance there, 0 for a fitted row;
    /// linear ones the distance from their plane over its mean square root in the fit.
    pub out_of_distribution: Array1<f32>,
}

impl Transformed {
    /// Columns of coordinates and of scores. Rows without a place are null: those without a score, and those of which
    /// `has_values` does not hold.
    pub fn into_arrays(self, has_values: impl Fn(usize) -> bool) -> (ArrayRef, ArrayRef) {
        let scores = self.out_of_distribution.iter().enumerate();
        let placed: Vec<bool> = scores.map(|(row, score)| has_values(row) && !score.is_nan()).collect();
        let nulls = placed.contains(&false).then(|| placed.into());
        let width = i32::try_from(self.coordinates.ncols()).expect("a few components");
        let (values, _) = self.coordinates.into_raw_vec_and_offset();
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let values = Arc::new(Float32Array::from(values));
        let coordinates = FixedSizeListArray::new(item, width, values, nulls.clone());
        let (scores, _) = self.out_of_distribution.into_raw_vec_and_offset();
        (Arc::new(coordinates), Arc::new(Float32Array::new(scores.into(), nulls)))
    }
}

/// The name of the column with the scores of the rows that `target` has the coordinates of.
pub fn score_column(target: &str) -> String {
    format!("{target}_ood")
}
