//! Fitted reducers as SQL functions: over the tables of a project in one process, or on an Apache Ballista cluster.
//!
//! - [`query`] answers SQL over tables, with the functions [`reduce`], [`place`] and [`distance`];
//! - [`Apply`] puts all rows of a table where a fitted model places them, and writes them as a new table.
//!
//! Both are plans of DataFusion, which Lance brings anyway. With the feature `ballista` the same plan of an [`Apply`]
//! runs on a cluster: each task reads a range of rows and writes a part of the new table, and one commit makes all of it
//! visible. The order of rows does not depend on where it ran, nor do bits among processors of one family: of others BLAS
//! chooses other kernels, which round differently.
//!
//! DataFusion's types stay inside, but for the functions, which any `SessionContext` of DataFusion 54 can register.

mod apply;
#[cfg(feature = "ballista")]
mod ballista;
mod error;
mod functions;
mod models;
mod plan;
mod runtime;
mod sql;

pub use apply::{Apply, Where};
#[cfg(feature = "ballista")]
pub use ballista::{ClusterAddress, ExecutorOptions, SchedulerOptions, run_executor, run_scheduler, run_standalone};
pub use error::ClusterError;
pub use functions::{distance, place, reduce};
pub use sql::{Rows, query};
