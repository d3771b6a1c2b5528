//! What there is to see of a run or of a table.

mod at_once;
mod classes;
mod columns;
mod layouts;
mod open;
mod parts;
mod read;
mod rows;
mod sample;
mod sources;
mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::DataType;
use serde_json::{Map, Value};
use tlc_core::{NumberRole, TableStore, Url};

use crate::ViewError;

pub(crate) use at_once::at_once;
pub use columns::{ColumnKind, Values};
#[cfg(feature = "server")]
pub(crate) use open::table_and_reductions;
pub use parts::TablePart;
pub use sample::Sample;

/// Everything that can be shown together, and where it is read from.
///
/// Each dataset has *slots*: one per sample of which any of its tables has a row, ascending by `example_id`. What is
/// read of a table comes in the order of the slots, with gaps where it has no row, so that one slot is one sample
/// through all epochs and layouts.
#[derive(Debug)]
pub struct Scene {
    store: Arc<dyn TableStore>,
    root: Option<Url>,
    /// What is shown: the run's or the table's name.
    pub title: String,
    /// The run's name, if it is one.
    pub run: Option<String>,
    /// How the run stands: `running`, `completed`, `interrupted`.
    pub status: Option<String>,
    /// What the samples are of.
    pub datasets: Vec<SceneDataset>,
    /// In order of writing.
    pub tables: Vec<SceneTable>,
    /// In the order of the tables' columns.
    pub layouts: Vec<SceneLayout>,
    /// All but vectors and keys.
    pub columns: Vec<SceneColumn>,
    /// Columns of vectors that can be reduced.
    pub embedding_columns: Vec<String>,
    /// Tables that belong to it and could not be read. Another time they may be.
    pub left_out: Vec<LeftOut>,
    /// Tables that the run's record names and that are not at their places any more.
    pub gone: Vec<Url>,
}

/// A table that is not shown, since it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its place.
    pub url: Url,
    /// What went wrong.
    pub reason: String,
}

/// Samples that tables have rows of.
#[derive(Debug, Clone)]
pub struct SceneDataset {
    /// The foreign table's name, such as `train`, or the table's own; no other dataset has it.
    pub name: String,
    /// The table whose rows the samples are: the foreign table, or where there is none, the table itself.
    pub foreign_table: Option<Url>,
    /// Index of the table whose own `example_id` names its rows, where it describes no other: its first part is
    /// `foreign_table`, or a reduction of it. Otherwise a sample's number is that of its row in `foreign_table`.
    pub named_by: Option<usize>,
    /// The samples, ascending.
    pub example_ids: Vec<i64>,
    /// The foreign table's column of pictures, if it has one.
    pub image_column: Option<String>,
    /// The foreign table's column of texts, if it has one.
    pub text_column: Option<String>,
}

/// What there is of a dataset at one epoch: one stored table, or several that belong together, since each of several
/// processes wrote a part of the samples, or since one table was reduced more than once.
#[derive(Debug, Clone)]
pub struct SceneTable {
    /// Index of its dataset.
    pub dataset: usize,
    /// The name of the first part.
    pub name: String,
    /// The epoch, if it is of one.
    pub epoch: Option<i64>,
    /// Its number of rows: samples that several reductions have are counted once.
    pub rows: usize,
    /// The stored tables, at least one, in order of writing.
    pub parts: Vec<TablePart>,
    /// The means of columns over all rows with a finite value, as the run's record has them; empty if it has none.
    pub means: BTreeMap<String, f64>,
}

/// A reduced column.
#[derive(Debug, Clone)]
pub struct SceneLayout {
    /// The column.
    pub name: String,
    /// Coordinates per point: 2 or 3.
    pub n_components: usize,
    /// The method's name, if lineage tells it.
    pub method: String,
    /// The column that was reduced.
    pub source: Option<String>,
    /// The method's parameters.
    pub args: Map<String, Value>,
    /// Index of the table that the method was fitted on, if it is shown.
    pub fitted_table: Option<usize>,
    /// Indices of the tables that have it.
    pub tables: Vec<usize>,
    /// Least and largest coordinates over all tables, of points that have all of them.
    pub bounds: Vec<[f32; 2]>,
    /// The column of scores that say how far outside the fitted data a row is, if there is one.
    pub ood_column: Option<String>,
}

/// Where a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In each table, with values of its own.
    Table,
    /// In the foreign table: the same at all epochs.
    Dataset,
}

/// A column to colour, filter and sort by.
#[derive(Debug, Clone)]
pub struct SceneColumn {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
    /// Its role.
    pub role: Option<NumberRole>,
    /// Names of its values, of categories.
    pub classes: BTreeMap<i64, String>,
    /// Of numbers, what holds all of them: int64, float32 or float64. Otherwise that of the column first met.
    pub data_type: DataType,
    /// Where it is.
    pub scope: Scope,
}

impl Scene {
    /// Where its tables are.
    pub fn store(&self) -> &dyn TableStore {
        self.store.as_ref()
    }

    /// The project's folder, if it is of one.
    pub fn root(&self) -> Option<&Url> {
        self.root.as_ref()
    }

    /// The place in [`layouts`](Self::layouts) of the one to look at first: of what comes from the deepest layer, as
    /// far as names tell, the first. `None` if there is no layout.
    pub fn default_layout(&self) -> Option<usize> {
        let depth = |layout: &SceneLayout| {
            // Collected columns are called `embeddings_{layer}`.
            let source = layout.source.as_deref().unwrap_or_default();
            source.rsplit_once('_').and_then(|(_, layer)| layer.parse::<u64>().ok())
        };
        let deepest = self.layouts.iter().map(depth).max()?;
        self.layouts.iter().position(|layout| depth(layout) == deepest)
    }

    /// The layout called `name`, or the [default](Self::default_layout) if none is given.
    ///
    /// # Errors
    /// [`ViewError::Unknown`].
    pub fn layout(&self, name: Option<&str>) -> Result<&SceneLayout, ViewError> {
        let found = match name {
            None => self.default_layout().map(|index| &self.layouts[index]),
            Some(name) => self.layouts.iter().find(|layout| layout.name == name),
        };
        let names = || self.layouts.iter().map(|layout| layout.name.clone()).collect::<Vec<_>>();
        found.ok_or_else(|| unknown("layout", name.unwrap_or_default(), names()))
    }

    /// Of the tables that have `layout`, of one dataset if it is given, the one of the latest epoch; of several such the
    /// last written.
    pub fn newest_table(&self, layout: &SceneLayout, dataset: Option<usize>) -> Option<usize> {
        self.newest_of(layout.tables.iter().copied(), dataset, None)
    }

    /// As [`newest_table`](Self::newest_table), of any `tables`, and of one epoch if it is given.
    pub fn newest_of(
        &self,
        tables: impl IntoIterator<Item = usize>,
        dataset: Option<usize>,
        epoch: Option<i64>,
    ) -> Option<usize> {
        let is_meant = |table: &usize| {
            let table = &self.tables[*table];
            dataset.is_none_or(|dataset| table.dataset == dataset) && epoch.is_none_or(|_| table.epoch == epoch)
        };
        tables.into_iter().filter(is_meant).max_by_key(|&table| (self.tables[table].epoch, table))
    }

    /// The column called `name`.
    ///
    /// # Errors
    /// [`ViewError::Unknown`].
    pub fn column(&self, name: &str) -> Result<&SceneColumn, ViewError> {
        let names = || self.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
        self.columns.iter().find(|column| column.name == name).ok_or_else(|| unknown("column", name, names()))
    }

    /// The first column with this role.
    pub fn column_with_role(&self, role: &NumberRole) -> Option<&SceneColumn> {
        self.columns.iter().find(|column| column.role.as_ref() == Some(role))
    }

    /// The table at this index.
    ///
    /// # Errors
    /// [`ViewError::Unknown`].
    pub fn table(&self, index: usize) -> Result<&SceneTable, ViewError> {
        let names = || (0..self.tables.len()).map(|index| index.to_string()).collect();
        self.tables.get(index).ok_or_else(|| unknown("table", &index.to_string(), names()))
    }
}

fn unknown(what: &'static str, name: &str, known: Vec<String>) -> ViewError {
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    ViewError::Unknown { what, name: name.to_owned(), known }
}

#[cfg(test)]
pub(crate) mod tests;
