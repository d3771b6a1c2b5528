//! UMAP (McInnes, Healy, Melville 2018, arXiv 1802.03426).
//!
//! Defaults are umap-learn 0.5's. Deviations, each for a reason:
//! 1. The optimiser moves all points at once by Adam on the forces of one epoch, instead of one edge
//!    after the other. That is parallel and gives the same bits for any number of threads.
//! 2. The initial layout is PCA instead of Laplacian eigenmaps: what helps is that it is informative
//!    (Kobak and Linderman 2021), and PCA has no trouble with a graph in several pieces.
//! 3. Transform is per row: weights are scaled by the row's own largest, the distance to the nearest fitted
//!    row counts as local (as in the fit; umap-learn takes 0), there are always 30 epochs, and random draws
//!    are keyed by the row's values.
//! 4. Two different points at one place repel in no direction, as in umap-learn, but are never lost.

mod curve;
mod graph;
mod layout;

use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};
use tlc_core::rng::Stream;
use tlc_core::{Arrays, FittedReducer, PluginInfo, PluginKind, Progress, ReduceError, Reducer, Transformed};

use self::curve::Curve;
use crate::input::{
    Metric, array_from_points, check_n_components, check_width, checked_for_fit, is_usable, points_from_array,
};
use crate::knn::{Index, KnnMethod};
use crate::neighbours::FittedRows;
use crate::pca::PrincipalAxes;

/// Where the layout starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UmapInit {
    /// The first principal components.
    #[default]
    Pca,
    /// Uniform noise.
    Random,
}

/// The parameters of [`Umap`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UmapParams {
    /// Coordinates per row: 1, 2 or 3. Default 2.
    pub n_components: usize,
    /// Size of a neighbourhood, the row itself included; at least 2. Default 15. Small values show
    /// detail, large ones the whole. With fewer rows, all rows.
    pub n_neighbors: usize,
    /// Default euclidean.
    pub metric: Metric,
    /// Least distance of points in the layout, `0..=spread`. Default 0.1.
    pub min_dist: f64,
    /// Scale of the layout's clusters, `0.001..=1000`. Default 1.
    pub spread: f64,
    /// Passes over the graph; `None` (default): 500 for up to 10,000 rows, otherwise 200.
    pub n_epochs: Option<usize>,
    /// Initial step size, positive. Default 1.
    pub learning_rate: f32,
    /// Repelling points per attracting one, up to 1000. Default 5.
    pub negative_sample_rate: usize,
    /// Weight of repulsion, `0..=1e6`. Default 1.
    pub repulsion_strength: f32,
    /// Default PCA.
    pub init: UmapInit,
    /// Whether each feature is first brought to mean 0 and variance 1. Default false.
    pub standard_scaler_normalize: bool,
    /// How neighbours are searched. Default auto.
    pub knn: KnnMethod,
    /// All random draws follow from it. Default 42.
    #[serde(alias = "random_state")]
    pub seed: u64,
}

impl Default for UmapParams {
    fn default() -> Self {
        Self {
            n_components: 2,
            n_neighbors: 15,
            metric: Metric::Euclidean,
            min_dist: 0.1,
            spread: 1.0,
            n_epochs: None,
            learning_rate: 1.0,
            negative_sample_rate: 5,
            repulsion_strength: 1.0,
            init: UmapInit::Pca,
            standard_scaler_normalize: false,
            knn: KnnMethod::Auto,
            seed: 42,
        }
    }
}

/// Uniform manifold approximation and projection.
///
/// Cost of a fit: the neighbour search, then `n · n_neighbors · n_epochs` force evaluations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "UmapParams", into = "UmapParams")]
pub struct Umap {
    params: UmapParams,
    curve: Curve,
}

impl Umap {
    /// UMAP with checked parameters.
    ///
    /// # Errors
    /// The first parameter out of its range.
    pub fn new(params: UmapParams) -> Result<Self, ReduceError> {
        check_n_components(params.n_components)?;
        if params.n_neighbors < 2 {
            return Err(ReduceError::parameter("n_neighbors", params.n_neighbors, "use at least 2"));
        }
        if !(1e-3..=1e3).contains(&params.spread) {
            return Err(ReduceError::parameter("spread", params.spread, "use 0.001 to 1000"));
        }
        if !(0.0..=params.spread).contains(&params.min_dist) {
            let accepted = format!("use 0 up to the spread, {}", params.spread);
            return Err(ReduceError::parameter("min_dist", params.min_dist, accepted));
        }
        if params.n_epochs == Some(0) {
            return Err(ReduceError::parameter("n_epochs", 0, "use at least 1, or leave it out"));
        }
        if !(params.learning_rate > 0.0 && params.learning_rate.is_finite()) {
            return Err(ReduceError::parameter("learning_rate", params.learning_rate, "use a positive number"));
        }
        if params.negative_sample_rate > 1000 {
            let accepted = "use 0 to 1000";
            return Err(ReduceError::parameter("negative_sample_rate", params.negative_sample_rate, accepted));
        }
        if !(0.0..=1e6).contains(&params.repulsion_strength) {
            return Err(ReduceError::parameter("repulsion_strength", params.repulsion_strength, "use 0 to 1000000"));
        }
        let curve = Curve::fit(params.spread, params.min_dist);
        Ok(Self { params, curve })
    }

    /// The parameters.
    pub fn params(&self) -> &UmapParams {
        &self.params
    }

    fn fit_in<const D: usize>(
        &self,
        data: &ArrayView2<'_, f32>,
        progress: &Progress,
    ) -> Result<Box<dyn FittedReducer>, ReduceError> {
        let params = &self.params;
        // Which rows have no direction is seen after scaling.
        let raw_metric = if params.standard_scaler_normalize { Metric::Euclidean } else { params.metric };
        let data = checked_for_fit(data, raw_metric)?;
        let scaler = params.standard_scaler_normalize.then(|| Scaler::fit(data.view()));
        let n_features = data.ncols();
        let rows = embed(&scaler, params.metric, data.into_owned());
        if let Some(row) = rows.outer_iter().position(|row| !is_usable(row)) {
            let reason = format!("row {row} is all zeros after scaling and has no direction; use the euclidean metric");
            return Err(ReduceError::data(reason));
        }
        let n = rows.nrows();
        let start = self.initial_layout::<D>(rows.view())?;
        let index = Index::build(rows, params.knn, progress)?;
        let others = params.n_neighbors.min(n) - 1;
        if others == 0 {
            let fitted = FittedRows::new(index, array_from_points(&start), None);
            return Ok(Box::new(FittedUmap { reducer: self.clone(), scaler, n_features, fitted }));
        }
        let neighbours = index.graph(others, progress)?;
        let n_epochs = params.n_epochs.unwrap_or(if n <= 10_000 { 500 } else { 200 });
        let graph = graph::FuzzyGraph::new(&neighbours, params.metric, n_epochs);
        let points = layout::optimise(&graph, start, self.forces(), n_epochs, params, progress)?;
        let fitted = FittedRows::new(index, array_from_points(&points), Some(&neighbours));
        Ok(Box::new(FittedUmap { reducer: self.clone(), scaler, n_features, fitted }))
    }

    fn forces(&self) -> layout::Forces {
        layout::Forces { curve: self.curve, repulsion_strength: self.params.repulsion_strength }
    }

    /// Scaled so that each axis covers `0..=10`, as in umap-learn.
    fn initial_layout<const D: usize>(&self, rows: ArrayView2<'_, f32>) -> Result<Vec<[f32; D]>, ReduceError> {
        let n = rows.nrows();
        let noise = Stream::new(self.params.seed, "umap-init");
        let mut layout = match self.params.init {
            UmapInit::Random => Array2::from_shape_fn((n, D), |(i, d)| noise.uniform(i as u64, d as u64) as f32),
            UmapInit::Pca => {
                let axes = PrincipalAxes::fit(rows, D, self.params.seed)?;
                let projected = axes.project(rows);
                let largest = projected.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
                let scale = if largest > 1e-30 { 10.0 / largest } else { 0.0 };
                // A little noise takes duplicates apart, and fills axes that few rows do not span.
                Array2::from_shape_fn((n, D), |(i, d)| {
                    let value = if d < axes.n_axes() { projected[[i, d]] * scale } else { 0.0 };
                    value + 1e-4 * noise.normal(i as u64, d as u64) as f32
                })
            }
        };
        for mut axis in layout.axis_iter_mut(Axis(1)) {
            let (least, most) = axis.iter().fold((f32::MAX, f32::MIN), |(a, b), &x| (a.min(x), b.max(x)));
            let range = (most - least).max(f32::MIN_POSITIVE);
            axis.mapv_inplace(|x| 10.0 * (x - least) / range);
        }
        Ok(points_from_array(&layout.view()))
    }
}

/// Mean and scale of each feature.
#[derive(Debug, Clone, PartialEq)]
struct Scaler {
    mean: ndarray::Array1<f32>,
    scale: ndarray::Array1<f32>,
}

impl Scaler {
    fn fit(data: ArrayView2<'_, f32>) -> Self {
        let data = data.mapv(f64::from);
        let mean = data.mean_axis(Axis(0)).expect("there are rows");
        let scale = data.std_axis(Axis(0), 0.0).mapv(|std| if std > 1e-30 { 1.0 / std } else { 1.0 });
        Self { mean: mean.mapv(|x| x as f32), scale: scale.mapv(|x| x as f32) }
    }
}

fn embed(scaler: &Option<Scaler>, metric: Metric, rows: Array2<f32>) -> Array2<f32> {
    let rows = match scaler {
        Some(scaler) => (rows - &scaler.mean) * &scaler.scale,
        None => rows,
    };
    metric.embed(rows.into()).into_owned()
}

impl TryFrom<UmapParams> for Umap {
    type Error = ReduceError;

    fn try_from(params: UmapParams) -> Result<Self, ReduceError> {
        Self::new(params)
    }
}

impl From<Umap> for UmapParams {
    fn from(umap: Umap) -> Self {
        umap.params
    }
}

tlc_core::inventory::submit! {
    PluginInfo {
        kind: PluginKind::Reducer,
        tag: "umap/1",
        crate_name: env!("CARGO_PKG_NAME"),
        crate_version: env!("CARGO_PKG_VERSION"),
        summary: "UMAP: preserves neighbourhoods, good at separating clusters",
    }
}

#[typetag::serde(name = "umap/1")]
impl Reducer for Umap {
    fn n_components(&self) -> usize {
        self.params.n_components
    }

    fn fit(&self, data: ArrayView2<'_, f32>, progress: &Progress) -> Result<Box<dyn FittedReducer>, ReduceError> {
        progress.check()?;
        match self.params.n_components {
            1 => self.fit_in::<1>(&data, progress),
            2 => self.fit_in::<2>(&data, progress),
            _ => self.fit_in::<3>(&data, progress),
        }
    }

    fn restore(&self, mut arrays: Arrays) -> Result<Box<dyn FittedReducer>, ReduceError> {
        let scaler = if self.params.standard_scaler_normalize {
            Some(Scaler { mean: arrays.take_f32("scaler_mean")?, scale: arrays.take_f32("scaler_scale")? })
        } else {
            None
        };
        let fitted = FittedRows::from_arrays(&mut arrays, self.params.n_components, self.params.knn)?;
        let n_features = fitted.n_features();
        if scaler.as_ref().is_some_and(|scaler| scaler.mean.len() != n_features || scaler.scale.len() != n_features) {
            return Err(ReduceError::model("its scaler has another width than its rows"));
        }
        Ok(Box::new(FittedUmap { reducer: self.clone(), scaler, n_features, fitted }))
    }

    fn boxed_clone(&self) -> Box<dyn Reducer> {
        Box::new(self.clone())
    }
}

#[derive(Debug)]
struct FittedUmap {
    reducer: Umap,
    scaler: Option<Scaler>,
    n_features: usize,
    fitted: FittedRows,
}

impl FittedUmap {
    fn transform_in<const D: usize>(
        &self,
        data: ArrayView2<'_, f32>,
        progress: &Progress,
    ) -> Result<Transformed, ReduceError> {
        let params = &self.reducer.params;
        let layout: Vec<[f32; D]> = points_from_array(&self.fitted.layout());
        let forces = self.reducer.forces();
        let embed = |rows| embed(&self.scaler, params.metric, rows);
        let raw_metric = if self.scaler.is_some() { Metric::Euclidean } else { params.metric };
        self.fitted.transform(data, raw_metric, params.n_neighbors, progress, embed, |row| {
            layout::place(row, &layout, forces, params)
        })
    }
}

impl FittedReducer for FittedUmap {
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
        match self.reducer.params.n_components {
            1 => self.transform_in::<1>(data, progress),
            2 => self.transform_in::<2>(data, progress),
            _ => self.transform_in::<3>(data, progress),
        }
    }

    fn to_arrays(&self) -> Arrays {
        let arrays = self.fitted.add_to(Arrays::default());
        match &self.scaler {
            Some(scaler) => arrays.with_f32("scaler_mean", &scaler.mean).with_f32("scaler_scale", &scaler.scale),
            None => arrays,
        }
    }
}

#[cfg(test)]
mod tests;
