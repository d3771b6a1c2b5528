//! Collect, store and reduce the embeddings of neural networks, and look at them.
//!
//! One name for the crates of tlc; each can be used by itself:
//! - [`core`]: URLs, schemas with roles, lineage, and the traits that stores and reducers implement;
//! - [`table`]: immutable tables in Lance format or in memory; in object stores too (features `s3`, `gcs`, `azure`);
//! - [`reduce`]: PCA, UMAP, PaCMAP;
//! - [`run`]: runs, and reduction with one model over epochs and splits;
//! - `cluster` (feature `query`, or `cluster` for an Apache Ballista cluster): fitted models as SQL functions;
//! - [`view`]: scenes of runs and tables, finders, pictures, the page and its server;
//! - `collect` (feature `collect`, links libtorch): activations of tch models.
//!
//! [`open_project`] is where a program begins; `serve` (feature `view`) shows it what it made.
//!
//! Besides these, `foreign` (feature `view`) opens files of other programs to look at them, and `condition` (feature
//! `sql`) reads conditions on rows.
//!
//! ```
//! use tlc::core::Progress;
//! use tlc::run::{ReduceOptions, RunStatus};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path();
//! let project = tlc::open_project(path)?;
//! let run = project.create_run("my-training", Default::default())?;
//! // … train, and after every epoch: tlc::collect::collect_metrics(&run, …) …
//! let pacmap = tlc::create_reducer("pacmap", [("n_components", 3.into())])?;
//! let mapping = run.reduce_embeddings_per_dataset(&ReduceOptions::new([pacmap]), &Progress::default())?;
//! run.set_status(RunStatus::Completed)?;
//! for (source, reduced) in mapping.iter() {
//!     println!("{source} -> {reduced}");
//! }
//! # Ok(())
//! # }
//! ```

// The plugins of these crates are found by their tags because they are named here.
pub use tlc_core as core;
pub use tlc_reduce as reduce;
pub use tlc_run as run;
pub use tlc_table as table;
pub use tlc_view as view;

#[cfg(feature = "query")]
pub use tlc_cluster as cluster;
#[cfg(feature = "collect")]
pub use tlc_collect as collect;

#[cfg(feature = "sql")]
pub mod condition;
#[cfg(feature = "collect")]
pub mod datasets;
#[cfg(feature = "view")]
pub mod foreign;
pub mod neighbours;
mod open;
#[cfg(feature = "view")]
mod page;

/// The programs of README.md and of docs/use.md are compiled as they stand there.
#[cfg(all(doctest, feature = "collect", feature = "view"))]
mod documents {
    #[doc = include_str!("../../../README.md")]
    mod readme {}
    #[doc = include_str!("../../../docs/use.md")]
    mod using {}
}

pub use open::open_project;
#[cfg(feature = "view")]
pub use page::{make_revision, revision_with, serve};

use tlc_core::{PluginError, Reducer};

/// The reducer called `method` (`umap`, `pacmap`, `pca`, or a plugin's name) with these arguments and
/// defaults for the rest.
///
/// ```
/// let umap = tlc::create_reducer("umap", [("n_components", 2.into()), ("n_neighbors", 5.into())])?;
/// assert_eq!(umap.n_components(), 2);
/// assert!(tlc::create_reducer("umpa", []).unwrap_err().to_string().contains("near: umap"));
/// # Ok::<(), tlc::core::PluginError>(())
/// ```
///
/// # Errors
/// An unknown method; unknown or refused arguments.
pub fn create_reducer<'a>(
    method: &str,
    args: impl IntoIterator<Item = (&'a str, serde_json::Value)>,
) -> Result<Box<dyn Reducer>, PluginError> {
    let args = args.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    tlc_core::reducer_from_args(method, args)
}

#[cfg(test)]
mod tests {
    #[test]
    fn all_that_is_wrong_with_arguments_is_told_at_once() {
        let args = [("n_neighbors", 0.into()), ("neighbours", 3.into()), ("lr", "fast".into()), ("MN_ratio", 1.into())];
        let error = super::create_reducer("pacmap", args).expect_err("three are wrong").to_string();
        for part in
            ["cannot use the arguments of \"pacmap/1\"", "n_neighbors is 0", "unknown field `neighbours`", "\"fast\""]
        {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    }

    #[test]
    fn every_plugin_is_linked_once() {
        tlc_core::check_plugins().expect("tags are unique");
        let tags: Vec<&str> = tlc_core::plugins().iter().map(|plugin| plugin.tag).collect();
        for expected in ["localmap/1", "pacmap/1", "pca/1", "umap/1", "lance/1", "memory/1"] {
            assert!(tags.contains(&expected), "{expected} is not among {tags:?}");
        }
    }
}
