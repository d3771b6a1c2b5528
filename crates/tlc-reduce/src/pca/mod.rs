//! Principal component analysis: as a reducer, as preprocessing and as initial layout.
//!
//! Narrow data (`min(n, d)` up to 1,024): eigenvectors of the covariance or of the Gram matrix by
//! LAPACK, or by subspace iteration on the covariance where few of many axes are wanted. Wider data:
//! subspace iteration from a seeded start (Halko, Martinsson, Tropp 2011, algorithm 4.4), which never
//! forms a `d × d` matrix. `axes.rs` says which way is taken.
//!
//! The sign of an axis is arbitrary; here its entry of largest magnitude is positive, so that layouts
//! do not flip between machines.

mod axes;
mod blocks;
mod covariance;
mod eigen;
mod fitted;
mod params;
mod projection;
mod subspace;

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};
use tlc_core::{Arrays, FittedReducer, PluginInfo, PluginKind, Progress, ReduceError, Reducer};

pub use self::axes::PrincipalAxes;
use self::fitted::FittedPca;
pub use self::params::PcaParams;
use crate::input::{Metric, checked_for_fit};

/// Principal component analysis: the linear baseline.
///
/// Fast and exact in what it keeps; shows directions of variance, not neighbourhoods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "PcaParams", into = "PcaParams")]
pub struct Pca {
    params: PcaParams,
}

impl Pca {
    /// A PCA with checked parameters.
    ///
    /// # Errors
    /// No components.
    pub fn new(params: PcaParams) -> Result<Self, ReduceError> {
        if params.n_components == 0 {
            return Err(ReduceError::parameter("n_components", 0, "use at least 1"));
        }
        Ok(Self { params })
    }
}

impl TryFrom<PcaParams> for Pca {
    type Error = ReduceError;

    fn try_from(params: PcaParams) -> Result<Self, ReduceError> {
        Self::new(params)
    }
}

impl From<Pca> for PcaParams {
    fn from(pca: Pca) -> Self {
        pca.params
    }
}

tlc_core::inventory::submit! {
    PluginInfo {
        kind: PluginKind::Reducer,
        tag: "pca/1",
        crate_name: env!("CARGO_PKG_NAME"),
        crate_version: env!("CARGO_PKG_VERSION"),
        summary: "principal component analysis: linear, keeps directions of largest variance",
    }
}

#[typetag::serde(name = "pca/1")]
impl Reducer for Pca {
    fn n_components(&self) -> usize {
        self.params.n_components
    }

    fn fit(&self, data: ArrayView2<'_, f32>, progress: &Progress) -> Result<Box<dyn FittedReducer>, ReduceError> {
        progress.check()?;
        let data = checked_for_fit(&data, Metric::Euclidean)?;
        let wanted = self.params.n_components;
        if data.ncols() < wanted {
            let accepted = format!("the rows have {} values; use at most that many", data.ncols());
            return Err(ReduceError::parameter("n_components", wanted, accepted));
        }
        let axes = PrincipalAxes::fit(data.view(), wanted, self.params.seed, progress)?;
        Ok(Box::new(FittedPca::new(self.clone(), axes, data.view())))
    }

    fn restore(&self, arrays: Arrays) -> Result<Box<dyn FittedReducer>, ReduceError> {
        FittedPca::restore(self, arrays)
    }

    fn boxed_clone(&self) -> Box<dyn Reducer> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests;
