//! A table as users handle it.

mod create;
mod derive;
mod revisions;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow_array::types::Int64Type;
use arrow_array::{RecordBatch, cast::AsArray};
use arrow_schema::{Field, Fields, Schema};
use arrow_select::concat::concat_batches;
use tlc_core::{
    BatchStream, Lineage, NumberRole, Places, Scan, StoreError, TableInfo, TableStore, UniqueName, Url,
    columns_with_role, value_map,
};

use crate::TableError;

pub use create::{IfExists, NewTable};
pub use derive::Derivation;

const DESCRIPTION_KEY: &str = "tlc:description";

/// An immutable table in a store.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::Int64Array;
/// use arrow_schema::{DataType, Field};
/// use tlc_core::{Column, Filter, NumberRole, Scan};
/// use tlc_table::{MemoryStore, NewTable, Table};
///
/// let store = Arc::new(MemoryStore::default());
/// let folder = "memory://p/datasets/toys".parse()?;
/// let table = Table::from_columns(
///     store,
///     &folder,
///     NewTable::new("initial").description("three toys"),
///     vec![
///         Column { field: Field::new("price", DataType::Int64, false), values: Arc::new(Int64Array::from(vec![3, 9, 4])) },
///         Column::embedding("embedding", 2, vec![0., 1., 2., 3., 4., 5.], NumberRole::NnEmbedding)?,
///     ],
/// )?;
/// let cheap = table.filtered(&Filter::lt("price", 5))?;
/// assert_eq!((table.rows(), cheap.rows()), (3, 2));
/// assert!(cheap.is_descendant_of(&table)?);
/// assert_eq!(table.latest()?.url(), cheap.url());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Table {
    store: Arc<dyn TableStore>,
    info: TableInfo,
}

impl Table {
    /// The table at `url` (the specification's `Table.from_url`).
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Damaged`].
    pub fn from_url(store: Arc<dyn TableStore>, url: &Url) -> Result<Self, TableError> {
        let info = store.info(url)?;
        Ok(Self { store, info })
    }

    /// Where it is.
    pub fn url(&self) -> &Url {
        &self.info.url
    }

    /// The store that it is in.
    pub fn store(&self) -> &Arc<dyn TableStore> {
        &self.store
    }

    /// What the store knows of it.
    pub fn info(&self) -> &TableInfo {
        &self.info
    }

    /// Its readable name: `train` of `train-01J….lance`.
    pub fn name(&self) -> &str {
        UniqueName::stem_of(self.info.url.file_name())
    }

    /// Its number of rows.
    pub fn rows(&self) -> u64 {
        self.info.rows
    }

    /// Its columns.
    pub fn columns(&self) -> &Fields {
        self.info.schema.fields()
    }

    /// Columns with roles, and metadata.
    pub fn schema(&self) -> &Schema {
        &self.info.schema
    }

    /// Where it comes from, if it says so.
    pub fn lineage(&self) -> Option<Lineage> {
        self.info.lineage()
    }

    /// What whoever made it said of it.
    pub fn description(&self) -> Option<&str> {
        self.info.schema.metadata().get(DESCRIPTION_KEY).map(String::as_str)
    }

    /// Its rows, batch by batch.
    ///
    /// # Errors
    /// An unknown column; a failing store.
    pub fn scan(&self, scan: Scan) -> Result<BatchStream<'static>, TableError> {
        Ok(self.store.scan(&self.info.url, scan)?)
    }

    /// The rows that `scan` chooses, at once.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn read(&self, scan: Scan) -> Result<RecordBatch, TableError> {
        let columns = scan.columns.clone();
        let batches: Vec<RecordBatch> = self.scan(scan)?.collect::<Result<_, _>>()?;
        let schema = match (batches.first(), columns) {
            (Some(batch), _) => batch.schema(),
            (None, None) => self.info.schema.clone(),
            (None, Some(columns)) => self.store.take(self.url(), &[], Some(&columns))?.schema(),
        };
        let failed = |error| StoreError::backend("put the rows together of", self.url(), error);
        Ok(concat_batches(&schema, &batches).map_err(failed)?)
    }

    /// The rows with these numbers, in this order.
    ///
    /// # Errors
    /// A number that it does not have; an unknown column; a failing store.
    pub fn take(&self, rows: &[u64], columns: Option<&[String]>) -> Result<RecordBatch, TableError> {
        Ok(self.store.take(self.url(), rows, columns)?)
    }

    /// The rows that `ids` name, in the order of `ids`, as [`rows_with_example_ids`](Self::rows_with_example_ids) finds
    /// them.
    ///
    /// # Errors
    /// As there; an unknown column.
    pub fn take_by_example_id(&self, ids: &[i64], columns: Option<&[String]>) -> Result<RecordBatch, TableError> {
        self.take(&self.rows_with_example_ids(ids)?, columns)
    }

    /// The numbers of the rows that are of the samples `ids`, in the order of `ids`: through the column with the role
    /// `example_id`, where it may be of several rows; where there is no such column, an id is a row's number. Of a table
    /// that others describe, their ids are row numbers already.
    ///
    /// # Errors
    /// Ids that it does not have, of which the message names the first ten; such a column of another type than int64; a
    /// failing store.
    pub fn rows_with_example_ids(&self, ids: &[i64]) -> Result<Vec<u64>, TableError> {
        let mut rows_of: HashMap<i64, Vec<u64>> = HashMap::new();
        let column = columns_with_role(self.schema(), &NumberRole::ExampleId).into_iter().next();
        if let Some(column) = &column {
            let mut start = 0;
            for batch in self.scan(Scan::columns([column]))? {
                let batch = batch?;
                let Some(own) = batch.column(0).as_primitive_opt::<Int64Type>() else {
                    let kind = batch.column(0).data_type();
                    return Err(self.unfit("find rows of", format!("its {column:?} is of {kind}; int64 is needed")));
                };
                for (row, id) in (start..).zip(own).filter_map(|(row, id)| Some((row, id?))) {
                    rows_of.entry(id).or_default().push(row);
                }
                start += batch.num_rows() as u64;
            }
        }
        let number = |id: i64| u64::try_from(id).ok().filter(|&row| row < self.rows());
        let (mut rows, mut unknown) = (Vec::new(), Vec::new());
        for &id in ids {
            let before = rows.len();
            match &column {
                Some(_) => rows.extend(rows_of.get(&id).into_iter().flatten()),
                None => rows.extend(number(id)),
            }
            if rows.len() == before {
                unknown.push(id.to_string());
            }
        }
        if unknown.is_empty() {
            return Ok(rows);
        }
        let more = if unknown.len() > 10 { format!(" and {} more", unknown.len() - 10) } else { String::new() };
        unknown.truncate(10);
        let has = match column {
            Some(column) => format!("those in its column {column:?} are known"),
            None => format!("it has {} rows, counted from 0", self.rows()),
        };
        Err(self.unfit("find rows of", format!("it has no example_id {}{more}; {has}", unknown.join(", "))))
    }

    /// The table whose rows it describes, as its `foreign_table_id` column says; `None` if there is none. `places` are
    /// the project that a relative URL is in, and the folders that have an alias.
    ///
    /// # Errors
    /// A URL that leads out of these, or to nothing; an alias that is not defined.
    pub fn foreign_table(&self, places: &Places) -> Result<Option<Table>, TableError> {
        let Some(url) = self.info.foreign_table(places)? else { return Ok(None) };
        let url = places.expanded(&url)?;
        if !places.covers(&url) {
            let reason = format!("{url} is outside of the project {} and of all folders with an alias", places.root());
            return Err(self.unfit("follow the foreign table of", reason));
        }
        Ok(Some(Self::from_url(self.store.clone(), &url)?))
    }

    /// Its rows with columns of the table that they describe, joined by `example_id`, which is a row's number there; columns
    /// that both have get the prefix `foreign_`. Without a column with that role both tables must have as many rows.
    ///
    /// # Errors
    /// No foreign table, or one without these columns or rows; an `example_id` that is no row's number.
    pub fn joined(&self, places: &Places, columns: &[String]) -> Result<BatchStream<'static>, TableError> {
        let unfit = |reason: &str| self.unfit("join", reason.to_owned());
        let foreign =
            self.foreign_table(places)?.ok_or_else(|| unfit("it does not say which table its rows describe"))?;
        let ids = columns_with_role(self.schema(), &NumberRole::ExampleId).into_iter().next();
        if ids.is_none() && self.rows() != foreign.rows() {
            let (own, there) = (self.rows(), foreign.rows());
            return Err(unfit(&format!(
                "it has no column with the role example_id, and {own} rows where the table that it describes has {there}"
            )));
        }
        // An error now rather than at the first batch.
        foreign.take(&[], Some(columns))?;
        let (url, columns, own) = (self.url().clone(), columns.to_vec(), self.info.schema.clone());
        let rows = self.scan(Scan::default())?;
        let mut start = 0;
        Ok(Box::new(rows.map(move |batch| {
            let batch = batch?;
            let end = start + batch.num_rows() as u64;
            let rows: Vec<u64> = match &ids {
                None => (start..end).collect(),
                Some(column) => row_numbers(&batch, column, start, foreign.rows())
                    .map_err(|reason| StoreError::backend("join", &url, reason))?,
            };
            start = end;
            let joined = foreign.store.take(foreign.url(), &rows, Some(&columns))?;
            let mut fields: Vec<Field> = batch.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
            for field in joined.schema().fields() {
                let is_taken = own.field_with_name(field.name()).is_ok();
                let name = if is_taken { format!("foreign_{}", field.name()) } else { field.name().clone() };
                fields.push(field.as_ref().clone().with_name(name));
            }
            let values = batch.columns().iter().chain(joined.columns()).cloned().collect();
            let schema = Schema::new_with_metadata(fields, batch.schema().metadata().clone());
            RecordBatch::try_new(Arc::new(schema), values).map_err(|error| StoreError::backend("join", &url, error))
        })))
    }

    /// Writes its rows into a file, Parquet, CSV or Arrow by its extension, and returns their number. See
    /// [`write_file`](crate::write_file).
    ///
    /// # Errors
    /// As there; a failing store.
    pub fn write_file(&self, file: &Path) -> Result<u64, TableError> {
        crate::write_file(file, &self.info.schema, self.scan(Scan::default())?)
    }

    fn unfit(&self, action: &'static str, reason: String) -> TableError {
        TableError::Unfit { action, url: self.url().clone(), reason }
    }
}

/// What `column` holds, as numbers of rows of a table that has `n` of them; `start` is the number of the batch's first row.
fn row_numbers(batch: &RecordBatch, column: &str, start: u64, n: u64) -> Result<Vec<u64>, String> {
    let ids = batch.column_by_name(column).and_then(|ids| ids.as_primitive_opt::<Int64Type>());
    let ids = ids.ok_or_else(|| format!("its column {column:?} is not int64"))?;
    let number = |(row, id): (u64, Option<i64>)| match id {
        None => Err(format!("row {row} has no {column}")),
        Some(id) => u64::try_from(id).ok().filter(|&number| number < n).ok_or_else(|| {
            format!("row {row} has {column} {id}; the table that it describes has {n} rows, counted from 0")
        }),
    };
    (start..).zip(ids).map(number).collect()
}

/// The names that a column's values have, if it is one of classes.
pub(crate) fn class_number(field: &Field, name: &str) -> Option<i64> {
    value_map(field).into_iter().find(|(_, known)| known == name).map(|(number, _)| number)
}

#[cfg(test)]
mod tests;
