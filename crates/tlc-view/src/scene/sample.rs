//! Everything that is known of one sample.

use arrow_array::Array as _;
use arrow_array::cast::AsArray;
use arrow_schema::DataType;
use serde_json::{Map, Value, json};
use tlc_core::StoreError;

use super::columns::scatter;
use super::{ColumnKind, Scene, SceneColumn, Scope, Values};
use crate::ViewError;

/// What is known of a sample.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// By column; names for classes.
    pub values: Map<String, Value>,
    /// Its text, if it is one.
    pub text: Option<String>,
    /// The file of its picture, if it is one.
    pub file: Option<String>,
}

impl Scene {
    /// What is known of a sample of `dataset`, with the values of `table` if one is given.
    ///
    /// # Errors
    /// A table that is gone; a failing store.
    pub fn sample(&self, dataset: usize, example_id: i64, table: Option<usize>) -> Result<Sample, ViewError> {
        let mut sample = Sample::default();
        let Some(dataset) = self.datasets.get(dataset) else { return Ok(sample) };
        let slot = dataset.example_ids.binary_search(&example_id).ok();
        if let (Some(slot), Some(index)) = (slot, table) {
            for part in self.table(index)?.distinct_parts() {
                let Some(row) = part.row(slot) else { continue };
                for column in self.columns.iter().filter(|column| column.scope == Scope::Table) {
                    self.add_value(&mut sample, column, &part.url, row)?;
                }
            }
        }
        let Some(url) = &dataset.foreign_table else { return Ok(sample) };
        let Some(row) = self.row_of_sample(dataset, example_id) else { return Ok(sample) };
        for column in self.columns.iter().filter(|column| column.scope == Scope::Dataset) {
            self.add_value(&mut sample, column, url, row)?;
        }
        let text_of = |column: &Option<String>| -> Option<String> {
            let taken = self.store.take(url, &[row], Some(std::slice::from_ref(column.as_ref()?))).ok()?;
            let values = taken.column(0);
            let is_text = values.data_type() == &DataType::Utf8 && values.len() == 1 && values.is_valid(0);
            is_text.then(|| values.as_string::<i32>().value(0).to_owned())
        };
        sample.text = text_of(&dataset.text_column);
        sample.file = text_of(&dataset.image_column);
        Ok(sample)
    }

    fn add_value(
        &self,
        sample: &mut Sample,
        column: &SceneColumn,
        url: &tlc_core::Url,
        row: u64,
    ) -> Result<(), ViewError> {
        let taken = match self.store.take(url, &[row], Some(std::slice::from_ref(&column.name))) {
            Ok(taken) => taken,
            // Another table of the scene has the column, or this row of the data set is none.
            Err(StoreError::Unsupported { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut values = match column.kind {
            ColumnKind::Category => Values::Category(vec![None]),
            ColumnKind::Number => Values::Number(vec![f32::NAN]),
            ColumnKind::Boolean => Values::Boolean(vec![None]),
            ColumnKind::Text => Values::Text(vec![None]),
        };
        scatter(taken.column(0), 0..1, &column.classes, &mut values);
        let value = match &values {
            Values::Number(values) => json!(values[0].is_finite().then_some(values[0])),
            Values::Boolean(values) => json!(values[0]),
            other => json!(other.text(0, column)),
        };
        sample.values.insert(column.name.clone(), value);
        Ok(())
    }
}
