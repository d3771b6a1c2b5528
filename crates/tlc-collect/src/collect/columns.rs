//! What collectors made of a batch, as rows of one table.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema, SchemaRef};
use tlc_core::{Column, embedding_width};

use crate::CollectError;

/// Refuses columns of another length than the batch.
pub(super) fn check_lengths(columns: &[Column], n: usize) -> Result<(), CollectError> {
    match columns.iter().find(|column| column.values.len() != n) {
        None => Ok(()),
        Some(column) => {
            let what = format!("column {:?} has {} values for {n} samples", column.field.name(), column.values.len());
            Err(CollectError::Data { what })
        }
    }
}

/// The columns, of one length, as a batch of `schema`, or of their own.
pub(super) fn assemble(columns: Vec<Column>, schema: Option<&SchemaRef>) -> Result<RecordBatch, CollectError> {
    let (fields, values): (Vec<Field>, Vec<ArrayRef>) =
        columns.into_iter().map(|column| (column.field, column.values)).unzip();
    if let Some((_, twice)) =
        fields.iter().enumerate().find(|(i, field)| fields[..*i].iter().any(|f| f.name() == field.name()))
    {
        return Err(CollectError::Data { what: format!("two columns are called {:?}; rename one", twice.name()) });
    }
    if let Some(schema) = schema {
        for (field, expected) in fields.iter().zip(schema.fields()) {
            if field.name() != expected.name() {
                let what =
                    format!("a collector made column {:?} where it made {:?} before", field.name(), expected.name());
                return Err(CollectError::Data { what });
            }
            if let (Some(found), Some(expected)) = (embedding_width(field), embedding_width(expected))
                && found != expected
            {
                return Err(CollectError::WidthChanged { column: field.name().clone(), expected, found });
            }
        }
    }
    let schema = schema.cloned().unwrap_or_else(|| Arc::new(Schema::new(fields)));
    RecordBatch::try_new(schema, values)
        .map_err(|error| CollectError::Data { what: format!("the collectors' columns do not fit together: {error}") })
}
