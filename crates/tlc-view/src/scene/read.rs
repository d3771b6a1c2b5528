//! Reading what is shown, in the order of the slots.

use arrow_array::{Array, ArrayRef, UInt64Array, new_empty_array, new_null_array};
use arrow_schema::{ArrowError, Field};
use arrow_select::concat::concat;
use arrow_select::take::take;
use ndarray::Array2;
use tlc_core::{Scan, StoreError, embedding_values};

use super::columns::{numbers_as, scatter};
use super::{ColumnKind, Scene, SceneColumn, SceneLayout, SceneTable, Scope, TablePart, Values, unknown};
use crate::ViewError;

impl Scene {
    /// The coordinates of a layout in a table, `(slots, 2 or 3)`; NaN where the table has no row or the row no place.
    ///
    /// # Errors
    /// A table that does not have it, or is gone; a failing store.
    pub fn coordinates(&self, layout: &SceneLayout, table: usize) -> Result<Array2<f32>, ViewError> {
        if !layout.tables.contains(&table) {
            let known = layout.tables.iter().map(ToString::to_string).collect();
            return Err(unknown("table with this layout", &table.to_string(), known));
        }
        let table = self.table(table)?;
        let mut coordinates = Array2::from_elem((self.n_slots(table), layout.n_components), f32::NAN);
        for part in table.parts_with(&layout.name) {
            let mut row = 0;
            for batch in self.store.scan(&part.url, Scan::columns([&layout.name]))? {
                let batch = batch?;
                let values = embedding_values(&batch, &layout.name).ok_or_else(|| ViewError::Unusable {
                    url: part.url.clone(),
                    reason: format!("its column {:?} holds no vectors", layout.name),
                })?;
                let is_valid = |place: usize| batch.column(0).is_valid(place);
                for (place, point) in values.outer_iter().enumerate().filter(|(place, _)| is_valid(*place)) {
                    coordinates.row_mut(part.slot(row + place)).assign(&point);
                }
                row += batch.num_rows();
            }
        }
        Ok(coordinates)
    }

    /// How far outside the fitted data each row of a table is, by slot; NaN where unknown.
    ///
    /// # Errors
    /// As [`coordinates`](Self::coordinates).
    pub fn out_of_distribution(&self, layout: &SceneLayout, table: usize) -> Result<Option<Vec<f32>>, ViewError> {
        let Some(column) = &layout.ood_column else { return Ok(None) };
        let table = self.table(table)?;
        let mut values = Values::Number(vec![f32::NAN; self.n_slots(table)]);
        for part in table.parts_with(&layout.name) {
            self.read_into(part, column, &Default::default(), &mut values)?;
        }
        let Values::Number(values) = values else { unreachable!("made above") };
        Ok(Some(values))
    }

    /// The values of a column for the rows of a table, by slot.
    ///
    /// # Errors
    /// A table that is gone; a failing store.
    pub fn values(&self, column: &SceneColumn, table: usize) -> Result<Values, ViewError> {
        let table = self.table(table)?;
        let n = self.n_slots(table);
        let mut values = match column.kind {
            ColumnKind::Category => Values::Category(vec![None; n]),
            ColumnKind::Number => Values::Number(vec![f32::NAN; n]),
            ColumnKind::Boolean => Values::Boolean(vec![None; n]),
            ColumnKind::Text => Values::Text(vec![None; n]),
        };
        match column.scope {
            Scope::Table => {
                for part in table.distinct_parts() {
                    self.read_into(part, &column.name, &column.classes, &mut values)?;
                }
            }
            Scope::Dataset => {
                let dataset = &self.datasets[table.dataset];
                let Some(url) = &dataset.foreign_table else { return Ok(values) };
                let rows = self.rows_of_slots(dataset);
                let taken = match self.store.take(url, &rows, Some(std::slice::from_ref(&column.name))) {
                    Ok(taken) => taken,
                    // Another data set of the scene has the column.
                    Err(StoreError::Unsupported { .. }) => return Ok(values),
                    Err(error) => return Err(error.into()),
                };
                scatter(taken.column(0), 0..n, &column.classes, &mut values);
            }
        }
        Ok(values)
    }

    /// The column called `name` as it is stored, by slot, null where the table has no row: the one that is shown under
    /// this name, or one of the table's that is not shown. `None` if there is none.
    ///
    /// # Errors
    /// A table that is gone; parts that store it as different types; a failing store.
    pub fn stored(&self, name: &str, table: usize) -> Result<Option<(Field, ArrayRef)>, ViewError> {
        let table = self.table(table)?;
        let dataset = &self.datasets[table.dataset];
        let is_of_dataset = self.columns.iter().any(|column| column.name == name && column.scope == Scope::Dataset);
        if let Some(url) = dataset.foreign_table.as_ref().filter(|_| is_of_dataset) {
            let info = self.store.info(url)?;
            let Ok(field) = info.schema.field_with_name(name) else { return Ok(None) };
            let rows = self.rows_of_slots(dataset);
            let taken = self.store.take(url, &rows, Some(&[name.to_owned()]))?;
            return Ok(Some((field.clone().with_nullable(true), taken.column(0).clone())));
        }
        let mut found: Option<Field> = None;
        let mut arrays: Vec<ArrayRef> = Vec::new();
        let mut rows = vec![None; self.n_slots(table)];
        let mut n_rows = 0;
        for part in table.distinct_parts() {
            let info = self.store.info(&part.url)?;
            let Ok(field) = info.schema.field_with_name(name) else { continue };
            found.get_or_insert_with(|| field.clone().with_nullable(true));
            let mut row = 0;
            for batch in self.store.scan(&part.url, Scan::columns([name]))? {
                let values = batch?.column(0).clone();
                (row..row + values.len()).for_each(|row| rows[part.slot(row)] = Some((n_rows + row) as u64));
                row += values.len();
                arrays.push(values);
            }
            n_rows += row;
        }
        let Some(field) = found else { return Ok(None) };
        let failed = |error: ArrowError| StoreError::backend("put the rows in order of", table.url(), error);
        let parts: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
        let values = match parts.as_slice() {
            [] => new_empty_array(field.data_type()),
            parts => concat(parts).map_err(failed)?,
        };
        let values = take(&values, &UInt64Array::from(rows), None).map_err(failed)?;
        Ok(Some((field, values)))
    }

    /// The values of a column of numbers, by slot, exactly; null where [`values`](Self::values) has NaN.
    pub(crate) fn numbers(&self, column: &SceneColumn, table: usize) -> Result<ArrayRef, ViewError> {
        let n = self.n_slots(self.table(table)?);
        Ok(match self.stored(&column.name, table)? {
            Some((_, values)) => numbers_as(&column.data_type, &values),
            // Another table of the scene has the column.
            None => new_null_array(&column.data_type, n),
        })
    }

    fn read_into(
        &self,
        part: &TablePart,
        column: &str,
        classes: &std::collections::BTreeMap<i64, String>,
        values: &mut Values,
    ) -> Result<(), ViewError> {
        let batches = match self.store.scan(&part.url, Scan::columns([column])) {
            Ok(batches) => batches,
            // Another table of the scene has the column.
            Err(StoreError::Unsupported { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut row = 0;
        for batch in batches {
            let batch = batch?;
            let n = batch.num_rows();
            scatter(batch.column(0), (row..row + n).map(|row| part.slot(row)), classes, values);
            row += n;
        }
        Ok(())
    }

    fn n_slots(&self, table: &SceneTable) -> usize {
        self.datasets[table.dataset].example_ids.len()
    }
}
