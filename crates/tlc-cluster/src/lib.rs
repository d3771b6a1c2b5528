//! Fitted reducers as SQL functions: over the tables of a project in one process, or on an Apache Ballista cluster.

#[cfg(feature = "ballista")]
use ballista_scheduler as _;
mod apply;
mod error;
mod functions;
mod models;
mod plan;
mod runtime;

pub use apply::{Apply, Where};
pub use error::ClusterError;
pub use functions::{distance, place, reduce};
