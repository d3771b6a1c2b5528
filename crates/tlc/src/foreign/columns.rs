//! Columns of any file as columns of the types that tables of tlc have.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{Array, ArrayRef, FixedSizeListArray, Float32Array, RecordBatch};
use arrow_buffer::NullBuffer;
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, Field};
use tlc_core::{Column, FieldRoles, NumberRole, embedding_field};

/// Numbers, booleans, texts, bytes and vectors of float32; the rest is left out with a warning.
pub(super) fn plain(batch: &RecordBatch) -> Result<Vec<Column>, ArrowError> {
    let mut columns = Vec::new();
    for (field, values) in batch.schema().fields().iter().zip(batch.columns()) {
        // What a table of tlc was exported as keeps what it means.
        // But the paths of pictures are not followed: the file may come from anywhere.
        let is_path = field.role() == Some(NumberRole::Image) && is_text(field.data_type());
        match (field.role().filter(|_| !is_path), of(field.name(), values)?) {
            (Some(_), _) => columns.push(Column { field: field.as_ref().clone(), values: values.clone() }),
            (None, Some(column)) => columns.push(column),
            (None, None) => {
                tracing::warn!(column = field.name(), kind = %field.data_type(), "left out: it is of a kind that cannot be shown");
            }
        }
    }
    Ok(columns)
}

fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, kind) => is_text(kind),
        _ => false,
    }
}

fn of(name: &str, values: &ArrayRef) -> Result<Option<Column>, ArrowError> {
    use DataType::*;
    let as_type = |kind: DataType| -> Result<Option<Column>, ArrowError> {
        let values = cast(values, &kind)?;
        Ok(Some(Column { field: Field::new(name, kind, true), values }))
    };
    match values.data_type() {
        Dictionary(_, kind) => of(name, &cast(values, kind)?),
        Boolean => as_type(Boolean),
        kind if kind.is_integer() => as_type(Int64),
        kind if kind.is_floating() => as_type(Float32),
        Decimal32(..) | Decimal64(..) | Decimal128(..) | Decimal256(..) => as_type(Float32),
        Utf8 | LargeUtf8 | Utf8View | Date32 | Date64 | Time32(_) | Time64(_) | Timestamp(..) => as_type(Utf8),
        Binary | LargeBinary | BinaryView => as_type(Binary),
        // A picture as Hugging Face's data sets have it.
        Struct(_) => match values.as_struct().column_by_name("bytes") {
            Some(bytes) => of(name, bytes),
            None => Ok(None),
        },
        FixedSizeList(..) | List(_) | LargeList(_) => Ok(vectors(name, values)?),
        _ => Ok(None),
    }
}

/// Vectors of the length of the first; rows of another length are null.
fn vectors(name: &str, values: &ArrayRef) -> Result<Option<Column>, ArrowError> {
    let first = (0..values.len()).find(|&row| values.is_valid(row));
    let (item, width) = match values.data_type() {
        DataType::FixedSizeList(item, width) => (item, *width as usize),
        DataType::List(item) => (item, first.map_or(0, |row| values.as_list::<i32>().value_length(row) as usize)),
        DataType::LargeList(item) => (item, first.map_or(0, |row| values.as_list::<i64>().value_length(row) as usize)),
        _ => return Ok(None),
    };
    if !item.data_type().is_numeric() || width == 0 {
        return Ok(None);
    }
    let field = vector_field(name, width)?;
    let lists = cast(values, field.data_type())?;
    let lists = lists.as_fixed_size_list();
    let items = lists.values().as_primitive::<Float32Type>();
    let items = match items.null_count() {
        0 => items.clone(),
        // A missing number is none that could be measured.
        _ => items.iter().map(|x| Some(x.unwrap_or(f32::NAN))).collect(),
    };
    Ok(Some(of_items(name, width, items, lists.nulls().cloned())?))
}

/// The field of a column of vectors, without a role.
fn vector_field(name: &str, width: usize) -> Result<Field, ArrowError> {
    let with_role = embedding_field(name, width, NumberRole::NnEmbedding);
    let with_role = with_role.map_err(|error| ArrowError::InvalidArgumentError(error.to_string()))?;
    Ok(Field::new(name, with_role.data_type().clone(), true))
}

/// A column of vectors without a role.
fn of_items(name: &str, width: usize, items: Float32Array, nulls: Option<NullBuffer>) -> Result<Column, ArrowError> {
    let field = vector_field(name, width)?;
    let DataType::FixedSizeList(item, size) = field.data_type() else { unreachable!("a field of vectors") };
    let values = FixedSizeListArray::try_new(item.clone(), *size, Arc::new(items), nulls)?;
    Ok(Column { field, values: Arc::new(values) })
}

/// Columns of numbers side by side, as one of vectors; missing numbers are NaN.
pub(super) fn stacked(name: &str, columns: &[&Column]) -> Result<Column, ArrowError> {
    let n = columns.first().map_or(0, |column| column.values.len());
    let axes: Vec<ArrayRef> =
        columns.iter().map(|column| cast(&column.values, &DataType::Float32)).collect::<Result<_, _>>()?;
    let axes: Vec<&Float32Array> = axes.iter().map(|axis| axis.as_primitive::<Float32Type>()).collect();
    let cell = |row: usize, axis: &Float32Array| if axis.is_valid(row) { axis.value(row) } else { f32::NAN };
    let items = (0..n).flat_map(|row| axes.iter().map(move |axis| cell(row, axis)));
    of_items(name, columns.len(), Float32Array::from_iter_values(items), None)
}

/// Texts such as `[0.5, 1]` as vectors, as CSV files have them; `None` if they are something else.
pub(super) fn parsed(column: &Column) -> Option<Column> {
    let texts = column.values.as_string_opt::<i32>()?;
    let read = |row: usize| -> Option<Vec<f32>> {
        let text = texts.is_valid(row).then(|| texts.value(row).trim())?;
        if text.starts_with('[') { serde_json::from_str(text).ok() } else { None }
    };
    // The first decides, so that other texts are not all tried.
    let first = (0..texts.len()).find(|&row| texts.is_valid(row))?;
    let width = read(first).map(|vector| vector.len()).filter(|width| *width > 0)?;
    let mut items = Vec::with_capacity(width * texts.len());
    let mut placed = Vec::with_capacity(texts.len());
    for row in 0..texts.len() {
        let vector = read(row).filter(|vector| vector.len() == width);
        placed.push(vector.is_some());
        items.extend(vector.unwrap_or_else(|| vec![f32::NAN; width]));
    }
    of_items(column.field.name(), width, items.into(), Some(placed.into())).ok()
}
