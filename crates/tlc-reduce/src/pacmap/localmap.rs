//! LocalMAP (Wang, Sun, Huang, Rudin 2024, arXiv 2412.15426): PaCMAP with a third phase that makes
//! clusters' borders clear.
//!
//! Until that phase it is PaCMAP. Then the slope of near pairs is multiplied by `(low_dist_thres / 2) / √d`,
//! and every ten iterations each point's further partners are drawn anew among points that are within
//! `low_dist_thres` of it in the layout. Everything else is PaCMAP's code.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tlc_core::{Arrays, FittedReducer, PluginInfo, PluginKind, Progress, ReduceError, Reducer};

use super::fit::Method;
use super::fitted;
use super::params::PacmapParams;
use crate::fit_options::FitOptions;
use crate::input::Problems;

/// The parameters of [`Localmap`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct LocalmapParams {
    /// Those of PaCMAP; in files beside this method's own.
    #[serde(flatten)]
    pub pacmap: PacmapParams,
    /// In the third phase points repel up to this distance in the layout; positive. Default 10.
    pub low_dist_thres: f32,
}

const LOW_DIST_THRES: &str = "low_dist_thres";

impl Default for LocalmapParams {
    fn default() -> Self {
        Self { pacmap: PacmapParams::default(), low_dist_thres: 10.0 }
    }
}

// By hand, since serde's `flatten` would let unknown names pass.
impl TryFrom<Map<String, Value>> for LocalmapParams {
    type Error = serde_json::Error;

    fn try_from(mut fields: Map<String, Value>) -> Result<Self, serde_json::Error> {
        let given = fields.remove(LOW_DIST_THRES).map(serde_json::from_value).transpose()?;
        let low_dist_thres = given.unwrap_or(Self::default().low_dist_thres);
        Ok(Self { pacmap: serde_json::from_value(Value::Object(fields))?, low_dist_thres })
    }
}

/// PaCMAP with local adjustment: clusters become compact and are set apart.
///
/// Cost of a fit: that of [`Pacmap`](super::Pacmap), and 25 times drawing and arranging further pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "LocalmapParams", into = "LocalmapParams")]
pub struct Localmap {
    params: LocalmapParams,
}

impl Localmap {
    /// LocalMAP with checked parameters.
    ///
    /// # Errors
    /// All parameters out of their ranges.
    pub fn new(params: LocalmapParams) -> Result<Self, ReduceError> {
        let mut problems = Problems::default();
        params.pacmap.check(&mut problems);
        let threshold = params.low_dist_thres;
        problems.require(threshold > 0.0 && threshold.is_finite(), LOW_DIST_THRES, threshold, "use a positive number");
        problems.finish()?;
        Ok(Self { params })
    }

    /// The parameters.
    pub fn params(&self) -> &LocalmapParams {
        &self.params
    }

    /// As [`Reducer::fit`], with neighbours, an initial layout or a taker of snapshots; see
    /// [`Pacmap::fit_with`](super::Pacmap::fit_with).
    ///
    /// # Errors
    /// As [`Pacmap::fit_with`](super::Pacmap::fit_with).
    pub fn fit_with(
        &self,
        data: ArrayView2<'_, f32>,
        options: FitOptions<'_>,
        progress: &Progress,
    ) -> Result<Box<dyn FittedReducer>, ReduceError> {
        let method = Method { params: &self.params.pacmap, low_dist_thres: Some(self.params.low_dist_thres) };
        method.fit(self.boxed_clone(), &data, options, progress)
    }
}

impl TryFrom<LocalmapParams> for Localmap {
    type Error = ReduceError;

    fn try_from(params: LocalmapParams) -> Result<Self, ReduceError> {
        Self::new(params)
    }
}

impl From<Localmap> for LocalmapParams {
    fn from(localmap: Localmap) -> Self {
        localmap.params
    }
}

tlc_core::inventory::submit! {
    PluginInfo {
        kind: PluginKind::Reducer,
        tag: "localmap/1",
        crate_name: env!("CARGO_PKG_NAME"),
        crate_version: env!("CARGO_PKG_VERSION"),
        summary: "LocalMAP: PaCMAP with compact clusters and clear borders",
    }
}

#[typetag::serde(name = "localmap/1")]
impl Reducer for Localmap {
    fn n_components(&self) -> usize {
        self.params.pacmap.n_components
    }

    fn fit(&self, data: ArrayView2<'_, f32>, progress: &Progress) -> Result<Box<dyn FittedReducer>, ReduceError> {
        self.fit_with(data, FitOptions::default(), progress)
    }

    fn accepts(&self, row: ndarray::ArrayView1<'_, f32>) -> bool {
        self.params.pacmap.distance.accepts(row)
    }

    fn restore(&self, arrays: Arrays) -> Result<Box<dyn FittedReducer>, ReduceError> {
        fitted::restore(self.boxed_clone(), &self.params.pacmap, arrays)
    }

    fn boxed_clone(&self) -> Box<dyn Reducer> {
        Box::new(self.clone())
    }
}
