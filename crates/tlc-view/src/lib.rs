//! Looks at reduced embeddings.
//!
//! A [`Scene`] is what there is to see of a run or a table: its datasets, tables by epoch, layouts and columns, with
//! the rows of all tables of a dataset in one order, so that points can be followed. Pictures, lists of samples that
//! are worth a look, files for other programs and the page that a [`server`] serves are made from it.
//!
//! This crate never changes a table. What it writes, on request of the page, are reduced tables beside those they were
//! made from.

mod error;
pub mod export;
pub mod find;
#[cfg(feature = "server")]
mod pictures;
#[cfg(feature = "plot")]
pub mod plot;
mod scene;
#[cfg(feature = "server")]
pub mod server;
mod text;

pub use error::ViewError;
pub use scene::{
    ColumnKind, LeftOut, Sample, Scene, SceneColumn, SceneDataset, SceneLayout, SceneTable, Scope, TablePart, Values,
};
pub use text::printable;
