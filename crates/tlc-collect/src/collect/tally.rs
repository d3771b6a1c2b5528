//! What is added up over the batches of a table: means, and rows that are not finite.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Array, BooleanArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use serde_json::{Map, Value};
use tlc_core::{Aggregate, Column, FieldRoles, NumberRole, columns_with_role, embedding_values};

/// What is added up over the batches.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) aggregates: BTreeMap<String, Aggregate>,
    pub(super) not_finite: BTreeMap<String, (usize, Vec<i64>)>,
}

impl Tally {
    /// Adds the column that marks rows with NaN or infinity, if there are embeddings.
    pub(super) fn mark_not_finite(&mut self, ids: &[i64], columns: &mut Vec<Column>) {
        let fields: Vec<Field> = columns.iter().map(|column| column.field.clone()).collect();
        let schema = Schema::new(fields);
        let embeddings = columns_with_role(&schema, &NumberRole::NnEmbedding);
        let Some(n) = columns.first().map(|column| column.values.len()) else { return };
        if embeddings.is_empty() {
            return;
        }
        let mut finite = vec![true; n];
        for name in embeddings {
            let Some(column) = columns.iter().find(|column| *column.field.name() == name) else { continue };
            let single = Arc::new(Schema::new(vec![column.field.clone()]));
            let Ok(batch) = RecordBatch::try_new(single, vec![column.values.clone()]) else { continue };
            let Some(values) = embedding_values(&batch, &name) else { continue };
            for (row, embedding) in values.outer_iter().enumerate() {
                // One sum instead of a test per value: NaN and infinity survive it.
                if !embedding.sum().is_finite() && !embedding.iter().all(|x| x.is_finite()) {
                    finite[row] = false;
                    let (count, first) = self.not_finite.entry(name.clone()).or_default();
                    *count += 1;
                    if first.len() < 10 {
                        first.push(ids[row]);
                    }
                }
            }
        }
        let field = Field::new("embeddings_finite", DataType::Boolean, true).with_role(NumberRole::Finite);
        columns.push(Column { field, values: Arc::new(BooleanArray::from(finite)) });
    }

    pub(super) fn means(&self, constants: &Map<String, Value>) -> BTreeMap<String, f64> {
        let measured = self.aggregates.iter().filter(|(name, _)| !constants.contains_key(*name));
        measured.map(|(name, sums)| (name.clone(), sums.mean())).collect()
    }
}
