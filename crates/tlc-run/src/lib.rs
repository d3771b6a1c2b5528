//! Runs: which metrics tables a training produced, and their reduction with one shared model.
//!
//! A [`Project`] is a folder of datasets and runs in a [`TableStore`](tlc_core::TableStore). A [`Run`]
//! lists its metrics tables in the order in which they were written; that order, not the epoch, says
//! which is the most recent. Reduction fits a model on the most recent table of a foreign table and
//! applies it to the others, so that points can be followed from epoch to epoch.
//!
//! This crate talks to `dyn TableStore` and `dyn Reducer` only.

mod add_metrics;
mod columns;
#[cfg(test)]
mod deletion_tests;
mod deletions;
mod doctor;
mod epoch_metrics;
mod error;
mod inventory;
mod lineage_graph;
mod links;
mod listing;
#[cfg(test)]
mod moved_tests;
mod open_lineage;
mod project;
#[cfg(test)]
mod project_tests;
mod record;
mod reduce;
mod run;

pub use add_metrics::NewMetrics;
pub use deletions::Deletion;
pub use doctor::{DoctorOptions, Finding, Problem};
pub use epoch_metrics::EpochMetrics;
pub use error::RunError;
pub use inventory::{Inventory, Need};
pub use lineage_graph::{LineageGraph, LineageNode, NodeState, Origin};
pub use listing::{ListedRun, ListedTable, Listing};
pub use project::Project;
pub use record::{MetricsEntry, RunRecord, RunStatus};
pub use reduce::{
    FitRows, FitSize, ReduceOptions, Reduction, UrlMapping, reduce_embeddings, reduce_embeddings_by_foreign_table_url,
    reduce_embeddings_multiple_parameters, reduce_embeddings_per_dataset, reduce_embeddings_with_producer_consumer,
    reductions_among, reductions_of,
};
pub use run::Run;

/// What lineage and the log of deletions call this crate.
const PRODUCER: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
