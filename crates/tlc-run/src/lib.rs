//! Runs: which metrics tables a training produced, and their reduction with one shared model.
//!
//! A [`Project`] is a folder of datasets and runs in a [`TableStore`](tlc_core::TableStore). A [`Run`]
//! lists its metrics tables in the order in which they were written; that order, not the epoch, says
//! which is the most recent. Reduction fits a model on the most recent table of a foreign table and
//! applies it to the others, so that points can be followed from epoch to epoch.
//!
//! This crate talks to `dyn TableStore` and `dyn Reducer` only.

mod error;
mod project;
mod record;
mod reduce;
mod run;

pub use error::RunError;
pub use project::Project;
pub use record::{MetricsEntry, RunRecord, RunStatus};
pub use reduce::{ReduceOptions, Reduction, UrlMapping};
pub use run::Run;
