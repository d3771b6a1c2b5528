//! PaCMAP (Wang, Huang, Rudin, Shaposhnik 2021, JMLR 22:201).
//!
//! Losses, schedule and other defaults are those of pacmap 0.9. Deviations, each for a reason:
//! 1. Gradients are gathered point by point from all pairs a point is in, so a fit is parallel and
//!    gives the same bits for any number of threads.
//! 2. Neighbours are searched by our index; a point leaves itself out by number, not by position.
//! 3. Transform is per row: it starts at the nearest fitted row and goes where the row's neighbours, weighted by
//!    the inverse of their scaled distances, are densest (`place.rs`). (pacmap starts near the origin and
//!    follows the forces of the fit; rows of the fit do not come back to their places there.)
//! 4. Few rows: neighbour counts shrink to what there is.
//! 5. The number of neighbours follows the number of rows unless it is given (pacmap's `None`).
//! 6. Cosine: rows are brought to length 1 first, and Euclidean distance is used from there on.

mod adjacency;
mod fit;
mod fitted;
mod forces;
mod labels;
mod layout;
mod localmap;
mod pairs;
mod params;
mod place;
mod preprocess;

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};
use tlc_core::{Arrays, FittedReducer, PluginInfo, PluginKind, Progress, ReduceError, Reducer};

use self::fit::Method;
pub use self::localmap::{Localmap, LocalmapParams};
pub use self::params::{PacmapInit, PacmapParams};
use crate::fit_options::FitOptions;

/// Pairwise controlled manifold approximation projection.
///
/// Keeps neighbourhoods and, by its mid-near pairs, the arrangement of clusters. Cost of a fit: the
/// neighbour search, then `n · n_neighbors · (1 + MN_ratio + FP_ratio) · 450` pair evaluations at either
/// end, about 1 ns each in 2-D. Memory beyond the rows and their neighbours: 4 bytes (8 from 65,537 rows
/// on) per pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "PacmapParams", into = "PacmapParams")]
pub struct Pacmap {
    params: PacmapParams,
}

impl Pacmap {
    /// After how many iterations pacmap takes snapshots unless told otherwise; for
    /// [`Snapshots::iterations`](crate::Snapshots::iterations).
    pub const SNAPSHOT_ITERATIONS: [usize; 13] = [0, 10, 30, 60, 100, 120, 140, 170, 200, 250, 300, 350, 450];

    /// PaCMAP with checked parameters.
    ///
    /// # Errors
    /// All parameters out of their ranges.
    pub fn new(params: PacmapParams) -> Result<Self, ReduceError> {
        Ok(Self { params: params.checked()? })
    }

    /// The parameters.
    pub fn params(&self) -> &PacmapParams {
        &self.params
    }

    /// As [`Reducer::fit`], with what `options` hold:
    ///
    /// - neighbours, at least `n_neighbors` for each row, better 50 more, among which the nearest by scaled
    ///   distance are chosen. Their distances are measured anew in the space of the fit, so that a graph of
    ///   the rows as they were before scaling or projection serves as well;
    /// - an initial layout. As in pacmap each of its axes is brought to a standard deviation of 0.0001: it
    ///   gives the arrangement, not the scale;
    /// - a taker of snapshots.
    ///
    /// # Errors
    /// As [`Reducer::fit`]; neighbours or a layout of another shape, neighbours that are not different other
    /// rows, values that are not finite.
    pub fn fit_with(
        &self,
        data: ArrayView2<'_, f32>,
        options: FitOptions<'_>,
        progress: &Progress,
    ) -> Result<Box<dyn FittedReducer>, ReduceError> {
        Method { params: &self.params, low_dist_thres: None }.fit(self.boxed_clone(), &data, options, progress)
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
        self.fit_with(data, FitOptions::default(), progress)
    }

    fn accepts(&self, row: ndarray::ArrayView1<'_, f32>) -> bool {
        self.params.distance.accepts(row)
    }

    fn restore(&self, arrays: Arrays) -> Result<Box<dyn FittedReducer>, ReduceError> {
        fitted::restore(self.boxed_clone(), &self.params, arrays)
    }

    fn boxed_clone(&self) -> Box<dyn Reducer> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests;
