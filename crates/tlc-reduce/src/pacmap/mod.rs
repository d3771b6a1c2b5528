//! PaCMAP (Wang, Huang, Rudin, Shaposhnik 2021, JMLR 22:201).
//!
//! Losses, schedule and other defaults are those of pacmap 0.9. Deviations, each for a reason:
//! 1. Gradients are gathered point by point from all pairs a point is in, so a fit is parallel and
//!    gives the same bits for any number of threads.
//! 2. Neighbours are searched by our index; a point leaves itself out by number, not by position.
//! 3. Transform is per row and starts among the row's neighbours, chosen by scaled distance as in the
//!    fit; it repels from sampled fitted points. (pacmap starts near the origin, ranks by raw distance
//!    and does not repel; rows of the fit do not come back to their places there.)
//! 4. Few rows: neighbour counts shrink to what there is.
//! 5. The number of neighbours follows the number of rows unless it is given (pacmap's `None`).
//! 6. Cosine: rows are brought to length 1 first, and Euclidean distance is used from there on.

mod adjacency;
mod forces;
mod labels;
mod layout;
mod pairs;
mod place;
mod preprocess;

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};
use tlc_core::{Arrays, FittedReducer, PluginInfo, PluginKind, Progress, ReduceError, Reducer, Transformed};

use self::pairs::{PairCounts, Pairs};
use self::preprocess::Preprocess;
use crate::input::{Metric, array_from_points, check_n_components, check_width, checked_for_fit, points_from_array};
use crate::knn::{Index, KnnMethod};
use crate::neighbours::FittedRows;
use crate::pca::PrincipalAxes;

/// How many more neighbours are searched than used: the nearest by scaled distance are among them.
const EXTRA_NEIGHBOURS: usize = 50;
/// The initial layout is the first principal components times this.
const INIT_SCALE: f32 = 0.01;

/// The parameters of [`Pacmap`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PacmapParams {
    /// Coordinates per row: 1, 2 or 3. Default 2.
    pub n_components: usize,
    /// Near neighbours per row, at least 1; `None` (default): 10 for up to 10,000 rows, then
    /// `10 + 15·(log10 n - 4)`.
    pub n_neighbors: Option<usize>,
    /// Mid-near pairs per neighbour, not negative. Default 0.5. They keep the global structure.
    #[serde(rename = "MN_ratio", alias = "mn_ratio")]
    pub mn_ratio: f64,
    /// Further pairs per neighbour, not negative. Default 2. They repel.
    #[serde(rename = "FP_ratio", alias = "fp_ratio")]
    pub fp_ratio: f64,
    /// Default euclidean.
    #[serde(alias = "metric")]
    pub distance: Metric,
    /// Step size, positive. Default 1.
    #[serde(alias = "learning_rate")]
    pub lr: f32,
    /// Iterations of the three phases. Default 100, 100, 250.
    pub num_iters: [usize; 3],
    /// Whether rows wider than 100 are first brought to 100 principal components. Default true.
    pub apply_pca: bool,
    /// How neighbours are searched. Default auto.
    pub knn: KnnMethod,
    /// All random draws follow from it. Default 42.
    #[serde(alias = "random_state")]
    pub seed: u64,
}

impl Default for PacmapParams {
    fn default() -> Self {
        Self {
            n_components: 2,
            n_neighbors: None,
            mn_ratio: 0.5,
            fp_ratio: 2.0,
            distance: Metric::Euclidean,
            lr: 1.0,
            num_iters: [100, 100, 250],
            apply_pca: true,
            knn: KnnMethod::Auto,
            seed: 42,
        }
    }
}

/// Pairwise controlled manifold approximation projection.
///
/// Keeps neighbourhoods and, by its mid-near pairs, the arrangement of clusters. Cost of a fit: the
/// neighbour search, then `n · n_neighbors · (2 + MN_ratio + FP_ratio) · 450` pair evaluations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "PacmapParams", into = "PacmapParams")]
pub struct Pacmap {
    params: PacmapParams,
}

impl Pacmap {
    /// PaCMAP with checked parameters.
    ///
    /// # Errors
    /// The first parameter out of its range.
    pub fn new(params: PacmapParams) -> Result<Self, ReduceError> {
        check_n_components(params.n_components)?;
        if params.n_neighbors == Some(0) {
            return Err(ReduceError::parameter("n_neighbors", 0, "use at least 1, or leave it out"));
        }
        for (name, ratio) in [("MN_ratio", params.mn_ratio), ("FP_ratio", params.fp_ratio)] {
            if !(0.0..=100.0).contains(&ratio) {
                return Err(ReduceError::parameter(name, ratio, "use 0 to 100"));
            }
        }
        if let Some(most) = params.num_iters.iter().find(|&&n| n > 1_000_000) {
            return Err(ReduceError::parameter("num_iters", most, "use up to 1000000 per phase"));
        }
        if !(params.lr > 0.0 && params.lr.is_finite()) {
            return Err(ReduceError::parameter("lr", params.lr, "use a positive number"));
        }
        Ok(Self { params })
    }

    /// The parameters.
    pub fn params(&self) -> &PacmapParams {
        &self.params
    }

    /// Pairs per row of a fit on `n` rows.
    fn pair_counts(&self, n: usize) -> PairCounts {
        let params = &self.params;
        let automatic = || {
            if n <= 10_000 { 10 } else { (10.0 + 15.0 * ((n as f64).log10() - 4.0)).round_ties_even() as usize }
        };
        let near = params.n_neighbors.unwrap_or_else(automatic).min(n - 1);
        let times = |ratio: f64| (near as f64 * ratio).round_ties_even() as usize;
        PairCounts {
            near,
            mid_near: if n > 2 { times(params.mn_ratio) } else { 0 },
            further: times(params.fp_ratio).min(n - 1 - near),
        }
    }

    fn fit_in<const D: usize>(
        &self,
        data: &ArrayView2<'_, f32>,
        progress: &Progress,
    ) -> Result<Box<dyn FittedReducer>, ReduceError> {
        let params = &self.params;
        let data = checked_for_fit(data, params.distance)?;
        let n = data.nrows();
        let preprocess = Preprocess::fit(data.view(), params)?;
        let rows = preprocess.apply(data.into_owned());
        let start = self.initial_layout::<D>(&preprocess, rows.view())?;
        let index = Index::build(rows, params.knn, progress)?;
        let counts = self.pair_counts(n);
        if counts.near == 0 {
            let fitted = FittedRows::new(index, array_from_points(&start), None);
            return Ok(Box::new(FittedPacmap { reducer: self.clone(), preprocess, fitted }));
        }
        let neighbours = index.graph((counts.near + EXTRA_NEIGHBOURS).min(n - 1), progress)?;
        let pairs = Pairs::sample(index.rows(), &neighbours, counts, params.seed, progress)?;
        let points = layout::optimise(&pairs, start, params, &mut crate::FitOptions::default(), progress)?;
        let fitted = FittedRows::new(index, array_from_points(&points), Some(&neighbours));
        Ok(Box::new(FittedPacmap { reducer: self.clone(), preprocess, fitted }))
    }

    fn initial_layout<const D: usize>(
        &self,
        preprocess: &Preprocess,
        rows: ArrayView2<'_, f32>,
    ) -> Result<Vec<[f32; D]>, ReduceError> {
        let projected = if preprocess.is_pca() {
            rows.to_owned()
        } else {
            PrincipalAxes::fit(rows, D, self.params.seed)?.project(rows)
        };
        // Where few rows span fewer axes than the layout has, the others start at zero.
        let place = |row: usize, d: usize| if d < projected.ncols() { INIT_SCALE * projected[[row, d]] } else { 0.0 };
        Ok((0..rows.nrows()).map(|row| std::array::from_fn(|d| place(row, d))).collect())
    }
}

impl TryFrom<PacmapParams> for Pacmap {
    type Error = ReduceError;

    fn try_from(params: PacmapParams) -> Result<Self, ReduceError> {
        Self::new(params)
    }
}

impl From<Pacmap> for PacmapParams {
    fn from(pacmap: Pacmap) -> Self {
        pacmap.params
    }
}

tlc_core::inventory::submit! {
    PluginInfo {
        kind: PluginKind::Reducer,
        tag: "pacmap/1",
        crate_name: env!("CARGO_PKG_NAME"),
        crate_version: env!("CARGO_PKG_VERSION"),
        summary: "PaCMAP: preserves neighbourhoods and the arrangement of clusters",
    }
}

#[typetag::serde(name = "pacmap/1")]
impl Reducer for Pacmap {
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
        let preprocess = Preprocess::from_arrays(&mut arrays, self.params.distance)?;
        let fitted = FittedRows::from_arrays(&mut arrays, self.params.n_components, self.params.knn)?;
        if preprocess.n_outputs() != fitted.rows().ncols() {
            return Err(ReduceError::model("its preprocessing has another width than its rows"));
        }
        Ok(Box::new(FittedPacmap { reducer: self.clone(), preprocess, fitted }))
    }

    fn boxed_clone(&self) -> Box<dyn Reducer> {
        Box::new(self.clone())
    }
}

#[derive(Debug)]
struct FittedPacmap {
    reducer: Pacmap,
    preprocess: Preprocess,
    fitted: FittedRows,
}

impl FittedPacmap {
    fn transform_in<const D: usize>(
        &self,
        data: ArrayView2<'_, f32>,
        progress: &Progress,
    ) -> Result<Transformed, ReduceError> {
        let params = &self.reducer.params;
        let counts = self.reducer.pair_counts(self.fitted.rows().nrows());
        let layout: Vec<[f32; D]> = points_from_array(&self.fitted.layout());
        let local_scale = self.fitted.local_scale();
        let embed = |rows| self.preprocess.apply(rows);
        let k = (counts.near + EXTRA_NEIGHBOURS).max(1);
        self.fitted.transform(data, params.distance, k, progress, embed, |row| {
            place::place(row, &layout, local_scale, counts, params)
        })
    }
}

impl FittedReducer for FittedPacmap {
    fn reducer(&self) -> &dyn Reducer {
        &self.reducer
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
        match self.reducer.params.n_components {
            1 => self.transform_in::<1>(data, progress),
            2 => self.transform_in::<2>(data, progress),
            _ => self.transform_in::<3>(data, progress),
        }
    }

    fn to_arrays(&self) -> Arrays {
        self.preprocess.add_to(self.fitted.add_to(Arrays::default()))
    }
}

#[cfg(test)]
mod tests;
