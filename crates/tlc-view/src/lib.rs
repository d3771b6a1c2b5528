//! Looks at reduced embeddings.
//!
//! A [`Scene`] is what there is to see of a run or a table: its datasets, tables by epoch, layouts and columns, with
//! the rows of all tables of a dataset in one order, so that points can be followed. Pictures are drawn from it.
//!
//! This crate reads tables and never changes them.

mod error;
#[cfg(feature = "plot")]
pub mod plot;
mod scene;

pub use error::ViewError;
pub use scene::{ColumnKind, Scene, SceneColumn, SceneDataset, SceneLayout, SceneTable, Scope, Values};
