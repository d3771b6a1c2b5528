//! UMAP and PaCMAP for the embeddings of neural networks.
//!
//! What sets these implementations apart:
//! - a fit gives the same bits for any number of threads;
//! - [`transform`](tlc_core::FittedReducer::transform) is per row: it depends on model and row alone,
//!   so rows can be streamed in any order and batch size, and a fitted row gets its fitted place;
//! - every transformed row carries a score that says how far outside the fitted data it lies;
//! - models are versioned, checked files.
//!
//! ```
//! use ndarray::Array2;
//! use tlc_core::{Progress, Reducer, rng::Stream};
//! use tlc_reduce::{Pacmap, PacmapParams};
//!
//! let noise = Stream::new(0, "example");
//! let data = Array2::from_shape_fn((200, 16), |(i, j)| noise.normal(i as u64, j as u64) as f32);
//! let reducer = Pacmap::new(PacmapParams { n_components: 3, ..PacmapParams::default() })?;
//! let fitted = reducer.fit(data.view(), &Progress::default())?;
//! assert_eq!(fitted.layout().dim(), (200, 3));
//! let elsewhere = fitted.transform(data.view(), &Progress::default())?;
//! assert_eq!(elsewhere.coordinates, fitted.layout());
//! # Ok::<(), tlc_core::ReduceError>(())
//! ```
//!
//! While a call of this crate computes matrix products, OpenBLAS uses one thread per product in the whole process,
//! since its own threads would change how sums are rounded; the previous number comes back when the call returns. Work
//! runs on rayon's threads, those of the caller's pool, or as many as `n_jobs` says.

mod adam;
mod blas;
mod distance;
mod fit_options;
mod input;
mod jobs;
pub mod knn;
mod neighbours;
mod pacmap;
mod pca;
pub mod quality;
mod simd;
mod umap;

pub use fit_options::{FitOptions, Snapshots};
pub use input::Metric;
pub use pacmap::{Localmap, LocalmapParams, Pacmap, PacmapInit, PacmapParams};
pub use pca::{Pca, PcaParams, PrincipalAxes};
pub use umap::{Umap, UmapInit, UmapParams};
