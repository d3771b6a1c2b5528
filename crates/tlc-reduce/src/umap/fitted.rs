//! A fitted UMAP: places other rows among the fitted ones.

use ndarray::ArrayView2;
use tlc_core::{Arrays, FittedReducer, Progress, ReduceError, Reducer, Transformed};

use super::scale::{Scaler, embed};
use super::{Umap, place};
use crate::input::{Metric, check_width};
use crate::neighbours::FittedRows;

#[derive(Debug)]
pub(super) struct FittedUmap<const D: usize> {
    reducer: Umap,
    scaler: Option<Scaler>,
    n_features: usize,
    fitted: FittedRows,
}

impl<const D: usize> FittedUmap<D> {
    pub(super) fn new(reducer: Umap, scaler: Option<Scaler>, n_features: usize, fitted: FittedRows) -> Self {
        Self { reducer, scaler, n_features, fitted }
    }

    pub(super) fn restore(reducer: &Umap, mut arrays: Arrays) -> Result<Box<dyn FittedReducer>, ReduceError> {
        let params = reducer.params();
        let fitted = FittedRows::from_arrays(&mut arrays, D, params.knn)?;
        let n_features = fitted.n_features();
        let scaler =
            if params.standard_scaler_normalize { Some(Scaler::from_arrays(&mut arrays, n_features)?) } else { None };
        Ok(Box::new(Self::new(reducer.clone(), scaler, n_features, fitted)))
    }
}

impl<const D: usize> FittedReducer for FittedUmap<D> {
    fn reducer(&self) -> &dyn Reducer {
        &self.reducer
    }

    fn n_features(&self) -> usize {
        self.n_features
    }

    fn layout(&self) -> ArrayView2<'_, f32> {
        self.fitted.layout()
    }

    fn transform(&self, data: ArrayView2<'_, f32>, progress: &Progress) -> Result<Transformed, ReduceError> {
        progress.check()?;
        check_width(&data, self.n_features)?;
        let params = self.reducer.params();
        let layout = self.fitted.layout().to_slice().expect("layouts are in row order");
        let (points, _) = layout.as_chunks::<D>();
        let embed = |rows| embed(self.scaler.as_ref(), params.metric, rows).into();
        let raw_metric = if self.scaler.is_some() { Metric::Euclidean } else { params.metric };
        let placing = place::Placing::new(points, self.reducer.forces(), params);
        self.fitted.transform(data, raw_metric, params.n_neighbors, progress, embed, |row| placing.place(row))
    }

    fn to_arrays(&self) -> Arrays {
        let arrays = self.fitted.add_to(Arrays::default());
        match &self.scaler {
            Some(scaler) => scaler.add_to(arrays),
            None => arrays,
        }
    }
}
