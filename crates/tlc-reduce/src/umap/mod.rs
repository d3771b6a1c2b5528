//! UMAP (McInnes, Healy, Melville 2018, arXiv 1802.03426).
//!
//! Defaults are umap-learn 0.5's. Deviations, each for a reason:
//! 1. The optimiser moves all points at once by Adam on the forces of one epoch, instead of one edge
//!    after the other. That is parallel and gives the same bits for any number of threads.
//! 2. The initial layout is spectral, as there, by another solver; pieces of the graph and points without
//!    an edge are placed differently (see `init/spectral.rs`). Principal components are as good for the
//!    whole (Kobak and Linderman 2021) and kept a little less of the neighbourhoods: on Fashion-MNIST's
//!    60,000 rows trustworthiness .980 against .981, kept neighbours .151 against .154; and with the graph
//!    at hand the eigenvectors took 0.3 s of processor time, the components of 784 columns 1.6 s.
//! 3. Transform is per row: weights are scaled by the row's own largest, the distance to the nearest fitted
//!    row counts as local (as in the fit; umap-learn takes 0), there are always 60 epochs, and random draws
//!    are keyed by the row's values.
//! 4. Two different points at one place repel in no direction, as in umap-learn, but are never lost.
//! 5. An edge acts in every epoch by its rate instead of in some epochs wholly, and pushes weigh twice as
//!    much (see `optimise.rs`).
//!
//! Left out: other metrics than euclidean and cosine, supervision, inverse transform, densMAP.

mod curve;
mod fit;
mod fitted;
mod graph;
mod init;
mod kernels;
mod memberships;
mod negative;
mod optimise;
mod params;
mod place;
mod scale;

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};
use tlc_core::{Arrays, FittedReducer, PluginInfo, PluginKind, Progress, ReduceError, Reducer};

use self::curve::Curve;
use self::fitted::FittedUmap;
use self::kernels::Forces;
pub use self::params::{UmapInit, UmapParams};
use crate::fit_options::FitOptions;
use crate::input::Metric;

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
    /// All parameters that are out of range or contradict each other.
    pub fn new(params: UmapParams) -> Result<Self, ReduceError> {
        params.check()?;
        let curve = Curve::fit(params.spread, params.min_dist);
        Ok(Self { params, curve })
    }

    /// The parameters.
    pub fn params(&self) -> &UmapParams {
        &self.params
    }

    /// Fits `data`, `(n, d)`, with what the caller already has: neighbours, an initial layout, a wish for
    /// snapshots.
    ///
    /// Iterations of snapshots are epochs. Of given neighbours the first `n_neighbors - 1` of each row are
    /// used (fewer rows: all others); they must have been found under this reducer's metric and scaling. A
    /// given initial layout is taken as it is, unscaled.
    ///
    /// # Errors
    /// Data that is not finite or empty; neighbours or an initial layout that do not fit the data;
    /// cancellation.
    pub fn fit_with(
        &self,
        data: ArrayView2<'_, f32>,
        options: FitOptions<'_>,
        progress: &Progress,
    ) -> Result<Box<dyn FittedReducer>, ReduceError> {
        progress.check()?;
        match self.params.n_components {
            1 => fit::fit::<1>(self, &data, options, progress),
            2 => fit::fit::<2>(self, &data, options, progress),
            _ => fit::fit::<3>(self, &data, options, progress),
        }
    }

    fn forces(&self) -> Forces {
        Forces { curve: self.curve, repulsion_strength: self.params.repulsion_strength }
    }
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
        self.fit_with(data, FitOptions::default(), progress)
    }

    fn accepts(&self, row: ndarray::ArrayView1<'_, f32>) -> bool {
        let raw = if self.params.standard_scaler_normalize { Metric::Euclidean } else { self.params.metric };
        raw.accepts(row)
    }

    fn restore(&self, arrays: Arrays) -> Result<Box<dyn FittedReducer>, ReduceError> {
        match self.params.n_components {
            1 => FittedUmap::<1>::restore(self, arrays),
            2 => FittedUmap::<2>::restore(self, arrays),
            _ => FittedUmap::<3>::restore(self, arrays),
        }
    }

    fn boxed_clone(&self) -> Box<dyn Reducer> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests;
