//! Columns in memory as the rows of a table.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use tlc_core::Column;

use crate::RunError;

/// The columns as one batch, for the table `name`.
pub(crate) fn rows_of(name: &str, columns: Vec<Column>) -> Result<RecordBatch, RunError> {
    let refused = |reason: String| RunError::Columns { name: name.to_owned(), reason };
    let n = columns.first().map_or(0, |column| column.values.len());
    if n == 0 {
        return Err(refused("it has no columns or no rows; at least one of each is needed".to_owned()));
    }
    for (at, Column { field, values }) in columns.iter().enumerate() {
        let (name, first) = (field.name(), &columns[0].field);
        if values.len() != n {
            return Err(refused(format!("column {name:?} has {} values and {:?} has {n}", values.len(), first.name())));
        }
        if name.is_empty() || name.contains('.') || name.starts_with('_') {
            return Err(refused(format!(
                "a column is called {name:?}; use a name without dots that does not begin with _"
            )));
        }
        if columns[..at].iter().any(|other| other.field.name() == name) {
            return Err(refused(format!("two columns are called {name:?}; rename one")));
        }
    }
    let (fields, values): (Vec<Field>, Vec<ArrayRef>) =
        columns.into_iter().map(|column| (column.field, column.values)).unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), values).map_err(|error| refused(error.to_string()))
}
