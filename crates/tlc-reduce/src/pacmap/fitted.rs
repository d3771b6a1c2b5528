//! A fitted PaCMAP or LocalMAP.

use ndarray::ArrayView2;
use tlc_core::{Arrays, FittedReducer, Progress, ReduceError, Reducer, Transformed};

use super::params::PacmapParams;
use super::place::Placement;
use super::preprocess::Preprocess;
use crate::input::{check_width, points_from_array};
use crate::neighbours::FittedRows;

#[derive(Debug)]
pub(super) struct FittedPacmap<const D: usize> {
    reducer: Box<dyn Reducer>,
    params: PacmapParams,
    preprocess: Preprocess,
    fitted: FittedRows,
    /// The layout, as the kernel takes it.
    points: Vec<[f32; D]>,
}

impl<const D: usize> FittedPacmap<D> {
    pub(super) fn new(
        reducer: Box<dyn Reducer>,
        params: PacmapParams,
        preprocess: Preprocess,
        fitted: FittedRows,
    ) -> Self {
        let points = points_from_array(&fitted.layout());
        Self { reducer, params, preprocess, fitted, points }
    }
}

/// The fitted model of `reducer` from the arrays that [`FittedReducer::to_arrays`] gave.
pub(super) fn restore(
    reducer: Box<dyn Reducer>,
    params: &PacmapParams,
    mut arrays: Arrays,
) -> Result<Box<dyn FittedReducer>, ReduceError> {
    let preprocess = Preprocess::from_arrays(&mut arrays, params.distance)?;
    let fitted = FittedRows::from_arrays(&mut arrays, params.n_components, params.knn)?;
    if preprocess.n_outputs() != fitted.n_features() {
        return Err(ReduceError::model("its preprocessing has another width than its rows"));
    }
    let params = params.clone();
    Ok(match params.n_components {
        1 => Box::new(FittedPacmap::<1>::new(reducer, params, preprocess, fitted)),
        2 => Box::new(FittedPacmap::<2>::new(reducer, params, preprocess, fitted)),
        _ => Box::new(FittedPacmap::<3>::new(reducer, params, preprocess, fitted)),
    })
}

impl<const D: usize> FittedReducer for FittedPacmap<D> {
    fn reducer(&self) -> &dyn Reducer {
        self.reducer.as_ref()
    }

    fn n_features(&self) -> usize {
        self.preprocess.n_inputs()
    }

    fn layout(&self) -> ArrayView2<'_, f32> {
        self.fitted.layout()
    }

    fn transform(&self, data: ArrayView2<'_, f32>, progress: &Progress) -> Result<Transformed, ReduceError> {
        progress.check()?;
        check_width(&data, self.n_features())?;
        let n_near = self.params.pair_counts(self.points.len()).near.max(1);
        let placement = Placement { points: &self.points, scales: self.fitted.local_scale() };
        let embed = |rows| self.preprocess.apply(rows);
        self.fitted.transform(data, self.params.distance, n_near, progress, embed, |row| placement.place(row))
    }

    fn to_arrays(&self) -> Arrays {
        self.preprocess.add_to(self.fitted.add_to(Arrays::default()))
    }
}
