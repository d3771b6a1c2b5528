//! A fitted PCA: places other rows on the axes, and says how far they are from the plane of these.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use tlc_core::{Arrays, FittedReducer, Progress, ReduceError, Reducer, Transformed};

use super::{Pca, PrincipalAxes};
use crate::input::{Metric, check_width, usable_rows};

#[derive(Debug)]
pub(super) struct FittedPca {
    reducer: Pca,
    axes: PrincipalAxes,
    layout: Array2<f32>,
    /// Root mean square distance of the fitted rows from the plane of the axes.
    spread: f32,
}

impl FittedPca {
    /// Of axes that were fitted on `data`.
    pub(super) fn new(reducer: Pca, axes: PrincipalAxes, data: ArrayView2<'_, f32>) -> Self {
        let mut fitted = Self { reducer, axes, layout: Array2::zeros((0, 0)), spread: 1.0 };
        fitted.layout = fitted.place(data);
        let mean_square = fitted.axes.residuals(data, fitted.layout.view()).mapv(|r| f64::from(r).powi(2)).mean();
        fitted.spread = mean_square.unwrap_or(0.0).sqrt().max(1e-12) as f32;
        fitted
    }

    pub(super) fn restore(reducer: &Pca, mut arrays: Arrays) -> Result<Box<dyn FittedReducer>, ReduceError> {
        let axes = PrincipalAxes::from_arrays(&mut arrays)?;
        let layout: Array2<f32> = arrays.take_f32("layout")?;
        let spread: Array1<f32> = arrays.take_f32("spread")?;
        let [spread] = spread.as_slice().and_then(|spread| spread.try_into().ok()).unwrap_or([0.0]);
        let is_whole = layout.nrows() > 0 && layout.ncols() == reducer.params.n_components;
        if !is_whole || axes.n_axes() > layout.ncols() || spread <= 0.0 {
            return Err(ReduceError::model("its arrays do not fit together"));
        }
        Ok(Box::new(Self { reducer: reducer.clone(), axes, layout, spread }))
    }

    /// Coordinates, padded with zeros where there are fewer rows than components.
    fn place(&self, data: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut layout = Array2::zeros((data.nrows(), self.reducer.params.n_components));
        layout.slice_mut(s![.., ..self.axes.n_axes()]).assign(&self.axes.coordinates(data));
        layout
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
        let residuals = self.axes.residuals(rows.view(), placed.view());
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
