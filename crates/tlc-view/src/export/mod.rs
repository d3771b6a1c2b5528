//! Rows of a scene as files: what is known of samples, and where they are in a map. Maps as files of their own.

#[cfg(feature = "server")]
mod atlas;
#[cfg(feature = "server")]
mod html;
#[cfg(feature = "server")]
mod tensorboard;
#[cfg(all(test, feature = "server"))]
mod tests;

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type};
use arrow_array::{
    Array as _, ArrayRef, BooleanArray, Float32Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
    UInt64Array,
};
use arrow_schema::{ArrowError, Field, Schema};
use arrow_select::filter::filter_record_batch;
use arrow_select::take::{take, take_record_batch};
use ndarray::Axis;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tlc_core::{FieldRoles, Filter};

use crate::text::no_formula;
use crate::{ColumnKind, Scene, SceneLayout, Values, ViewError};

#[cfg(feature = "server")]
pub use atlas::embedding_atlas;
#[cfg(feature = "server")]
pub use html::{HtmlOptions, html};
#[cfg(feature = "server")]
pub use tensorboard::{TensorboardFiles, tensorboard};

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Format {
    /// With a header; an apostrophe before texts that a spreadsheet would take for a formula.
    Csv,
    /// An array of objects.
    Json,
    /// Typed columns.
    Parquet,
}

impl Format {
    /// The format that a file's extension names.
    ///
    /// # Errors
    /// [`ViewError::Unknown`].
    pub fn of(path: &Path) -> Result<Self, ViewError> {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let all = [Self::Csv, Self::Json, Self::Parquet];
        let found = all.into_iter().find(|format| format.extension() == extension);
        found.ok_or_else(|| ViewError::Unknown {
            what: "kind of file",
            name: extension,
            known: all.map(Self::extension).join(", "),
        })
    }

    /// As file names end.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Parquet => "parquet",
        }
    }

    #[cfg(feature = "server")]
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Json => "application/json",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// The samples of a table, or those of `example_ids`: their numbers, all columns with names for classes, and the
/// coordinates in `layout` as `x`, `y` and `z`. Numbers are int64, float32 or float64, as their tables have them.
///
/// # Errors
/// A table that is gone.
pub fn rows(
    scene: &Scene,
    table: usize,
    layout: Option<&SceneLayout>,
    example_ids: Option<&[i64]>,
) -> Result<RecordBatch, ViewError> {
    let ids = &scene.datasets[scene.table(table)?.dataset].example_ids;
    let mut columns: Vec<(String, ArrayRef)> = vec![("example_id".to_owned(), Arc::new(Int64Array::from(ids.clone())))];
    for column in &scene.columns {
        // A user's column may be called as the samples' numbers are.
        let mut name = column.name.clone();
        while name == "example_id" || (name != column.name && scene.column(&name).is_ok()) {
            name.insert_str(0, "own_");
        }
        let array: ArrayRef = match column.kind {
            // Whole: what is shown is rounded to float32.
            ColumnKind::Number => scene.numbers(column, table)?,
            _ => match scene.values(column, table)? {
                Values::Boolean(answers) => Arc::new(BooleanArray::from(answers)),
                values => Arc::new(StringArray::from_iter((0..ids.len()).map(|slot| values.text(slot, column)))),
            },
        };
        columns.push((name, array));
    }
    if let Some(layout) = layout {
        let points = scene.coordinates(layout, table)?;
        for (axis, name) in points.axis_iter(Axis(1)).zip(["x", "y", "z"]) {
            let place = axis.iter().map(|x| x.is_finite().then_some(*x));
            // A column of the table may be called so.
            let is_taken = columns.iter().any(|(taken, _)| taken == name);
            let name = if is_taken { format!("{}_{name}", layout.name) } else { name.to_owned() };
            columns.push((name, Arc::new(Float32Array::from_iter(place))));
        }
        if let Some(scores) = scene.out_of_distribution(layout, table)? {
            let name = layout.ood_column.clone().unwrap_or_default();
            let scores = scores.iter().map(|x| (!x.is_nan()).then_some(*x));
            columns.push((name, Arc::new(Float32Array::from_iter(scores))));
        }
    }
    let (names, values): (Vec<String>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let fields: Vec<Field> =
        names.iter().zip(&values).map(|(name, values)| Field::new(name, values.data_type().clone(), true)).collect();
    let failed = |error: ArrowError| ViewError::Encode { source: error.into() };
    let all = RecordBatch::try_new(Arc::new(Schema::new(fields)), values).map_err(failed)?;
    let Some(wanted) = example_ids else { return Ok(all) };
    let slots = wanted.iter().filter_map(|id| ids.binary_search(id).ok()).map(|slot| slot as u64);
    let slots = UInt64Array::from_iter_values(slots);
    take_record_batch(&all, &slots).map_err(failed)
}

/// The rows of several tables one after the other, as [`rows`] has them, with the columns `dataset` and `epoch` first.
///
/// # Errors
/// As [`rows`].
pub fn rows_of_tables(scene: &Scene, tables: &[usize], layout: Option<&SceneLayout>) -> Result<RecordBatch, ViewError> {
    let failed = |error: ArrowError| ViewError::Encode { source: error.into() };
    let mut batches = Vec::new();
    for &index in tables {
        let table = scene.table(index)?;
        let layout = layout.filter(|layout| layout.tables.contains(&index));
        // Gaps are samples of other tables of the dataset.
        let ids = &scene.datasets[table.dataset].example_ids;
        let own: Vec<i64> = (0..ids.len()).filter(|&slot| table.has_row(slot)).map(|slot| ids[slot]).collect();
        let rows = rows(scene, index, layout, Some(&own))?;
        let n = rows.num_rows();
        let dataset: StringArray = std::iter::repeat_n(Some(&scene.datasets[table.dataset].name), n).collect();
        let leading: [(&str, ArrayRef); 2] =
            [("dataset", Arc::new(dataset)), ("epoch", Arc::new(Int64Array::from(vec![table.epoch; n])))];
        let schema = rows.schema();
        let mut fields = Vec::new();
        let mut columns = Vec::new();
        for (name, values) in leading {
            // A column of the tables may be called so.
            if schema.field_with_name(name).is_err() {
                fields.push(Arc::new(Field::new(name, values.data_type().clone(), true)));
                columns.push(values);
            }
        }
        fields.extend(schema.fields().iter().cloned());
        columns.extend(rows.columns().iter().cloned());
        batches.push(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(failed)?);
    }
    concat(&batches)
}

/// Rows of tables whose columns may differ, one after the other: columns go together by name, and rows of a table without
/// one have nulls.
///
/// # Errors
/// A column that is of one type here and of another there.
pub fn concat(batches: &[RecordBatch]) -> Result<RecordBatch, ViewError> {
    let failed = |error: ArrowError| ViewError::Encode { source: error.into() };
    let mut fields: Vec<Arc<Field>> = Vec::new();
    for field in batches.iter().flat_map(|batch| batch.schema().fields().to_vec()) {
        match fields.iter().find(|known| known.name() == field.name()) {
            None => fields.push(Arc::new(field.as_ref().clone().with_nullable(true))),
            Some(known) if known.data_type() == field.data_type() => {}
            Some(known) => {
                let (name, one, other) = (field.name(), known.data_type(), field.data_type());
                let reason =
                    format!("column {name:?} is {one} in one table and {other} in another; take one at a time");
                return Err(ViewError::Encode { source: reason.into() });
            }
        }
    }
    let schema = Arc::new(Schema::new(fields));
    let aligned = batches.iter().map(|batch| {
        let column = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
            Some(values) => values.clone(),
            None => arrow_array::new_null_array(field.data_type(), batch.num_rows()),
        };
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(schema.clone(), schema.fields().iter().map(column).collect(), &options)
    });
    let aligned: Vec<RecordBatch> = aligned.collect::<Result<_, _>>().map_err(failed)?;
    arrow_select::concat::concat_batches(&schema, &aligned).map_err(failed)
}

/// The rows of a table of which `filter` holds, as [`rows_of_tables`] has them.
///
/// The filter looks at columns as they are stored, as one on the table itself does: classes compare by their numbers,
/// whole numbers exactly. Only what the tables do not have, such as `x` and `y`, is taken from the rows.
///
/// # Errors
/// As [`rows`]; [`ViewError::Filter`].
pub fn rows_where(
    scene: &Scene,
    table: usize,
    layout: Option<&SceneLayout>,
    filter: &Filter,
) -> Result<RecordBatch, ViewError> {
    let failed = |error: ArrowError| ViewError::Encode { source: error.into() };
    let rows = rows_of_tables(scene, &[table], layout)?;
    let dataset = &scene.datasets[scene.table(table)?.dataset];
    let slots = rows.column_by_name("example_id").and_then(|ids| ids.as_primitive_opt::<Int64Type>());
    let slots: UInt64Array = slots
        .into_iter()
        .flatten()
        .map(|id| dataset.example_ids.binary_search(&id?).ok().map(|slot| slot as u64))
        .collect();
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for name in filter.columns() {
        if let Some((field, values)) = scene.stored(name, table)? {
            // Classes may be named by their numbers, or by another table.
            let shown = scene.columns.iter().find(|column| column.name == *name && column.kind == ColumnKind::Category);
            fields.push(match shown {
                Some(column) => field.with_value_map(&column.classes),
                None => field,
            });
            columns.push(take(&values, &slots, None).map_err(failed)?);
        } else if let Ok(index) = rows.schema_ref().index_of(name) {
            fields.push(rows.schema_ref().field(index).clone());
            columns.push(rows.column(index).clone());
        }
    }
    let n = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let compared = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &n).map_err(failed)?;
    let mask = filter.mask(&compared).map_err(|reason| ViewError::Filter { title: scene.title.clone(), reason })?;
    filter_record_batch(&rows, &mask).map_err(failed)
}

/// The rows as the bytes of a file.
///
/// # Errors
/// A failing encoder.
pub fn encode(rows: &RecordBatch, format: Format) -> Result<Vec<u8>, ViewError> {
    type Cause = Box<dyn std::error::Error + Send + Sync>;
    let written = || -> Result<Vec<u8>, Cause> {
        let mut bytes = Vec::new();
        match format {
            Format::Csv => {
                arrow_csv::WriterBuilder::new().with_header(true).build(&mut bytes).write(&without_formulas(rows)?)?;
            }
            Format::Json => serde_json::to_writer_pretty(&mut bytes, &objects(rows))?,
            Format::Parquet => {
                let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, rows.schema(), None)?;
                writer.write(rows)?;
                writer.close()?;
            }
        }
        Ok(bytes)
    };
    written().map_err(|source| ViewError::Encode { source })
}

/// The rows with texts and names of columns that no spreadsheet takes for formulas; numbers stay as they are.
fn without_formulas(rows: &RecordBatch) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let plain = |values: &ArrayRef| -> ArrayRef {
        match values.as_string_opt::<i32>() {
            Some(texts) => Arc::new(StringArray::from_iter(texts.iter().map(|text| text.map(no_formula)))),
            None => values.clone(),
        }
    };
    let schema = rows.schema();
    let named = |field: &Arc<Field>| field.as_ref().clone().with_name(no_formula(field.name()));
    let fields: Vec<Field> = schema.fields().iter().map(named).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), rows.columns().iter().map(plain).collect())
}

fn objects(rows: &RecordBatch) -> Vec<Value> {
    let schema = rows.schema();
    let cell = |column: &ArrayRef, row: usize| -> Value {
        if column.is_null(row) {
            return Value::Null;
        }
        if let Some(values) = column.as_primitive_opt::<Int64Type>() {
            json!(values.value(row))
        } else if let Some(values) = column.as_primitive_opt::<Float32Type>() {
            json!(values.value(row))
        } else if let Some(values) = column.as_primitive_opt::<Float64Type>() {
            json!(values.value(row))
        } else if let Some(values) = column.as_boolean_opt() {
            json!(values.value(row))
        } else {
            json!(column.as_string::<i32>().value(row))
        }
    };
    (0..rows.num_rows())
        .map(|row| {
            let fields = schema.fields().iter().zip(rows.columns());
            Value::Object(
                fields.map(|(field, column)| (field.name().clone(), cell(column, row))).collect::<Map<_, _>>(),
            )
        })
        .collect()
}
