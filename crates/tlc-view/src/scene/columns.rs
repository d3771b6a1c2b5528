//! Which columns can be shown, and what their values are.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, Float32Array, Float64Array, Int64Array, cast::AsArray};
use arrow_schema::{DataType, Field, Schema};
use tlc_core::{FieldRoles, NumberRole, value_map};

use super::sources::Source;
use super::{Scene, SceneColumn, Scope};
use crate::ViewError;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// One of some classes.
    Category,
    /// A number.
    Number,
    /// Yes or no.
    Boolean,
    /// Text.
    Text,
}

/// A column's values, by slot; `None` or NaN where there is no row, or null.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Places in the column's classes.
    Category(Vec<Option<i32>>),
    /// Numbers.
    Number(Vec<f32>),
    /// Yes or no.
    Boolean(Vec<Option<bool>>),
    /// Texts.
    Text(Vec<Option<String>>),
}

impl Values {
    /// The text of the value in `slot`, with the names of `column`'s classes; `None` if there is none.
    pub fn text(&self, slot: usize, column: &SceneColumn) -> Option<String> {
        match self {
            Values::Category(values) => {
                values[slot].and_then(|class| column.classes.values().nth(class as usize).cloned())
            }
            Values::Number(values) => (!values[slot].is_nan()).then(|| values[slot].to_string()),
            Values::Boolean(values) => values[slot].map(|value| value.to_string()),
            Values::Text(values) => values[slot].clone(),
        }
    }
}

impl Scene {
    pub(super) fn add_columns(&mut self, sources: &[Source]) -> Result<(), ViewError> {
        for source in sources {
            for column in columns_of(&source.info.schema, Scope::Table) {
                self.add_column(column);
            }
        }
        // The same for all rows: `split` and other constants tell nothing within a map.
        let is_constant = |name: &str| !sources.is_empty() && sources.iter().all(|s| s.constants.contains_key(name));
        self.columns.retain(|column| !is_constant(&column.name));
        for dataset in self.datasets.clone() {
            let Some(url) = dataset.foreign_table.filter(|url| sources.iter().all(|s| s.info.url != *url)) else {
                continue;
            };
            // A data set that was moved away has no columns to show.
            let Ok(info) = self.store.info(&url) else { continue };
            for column in columns_of(&info.schema, Scope::Dataset) {
                self.add_column(column);
            }
        }
        self.name_classes()
    }

    fn add_column(&mut self, column: SceneColumn) {
        match self.columns.iter_mut().find(|known| known.name == column.name) {
            None => self.columns.push(column),
            Some(known) if known.kind == column.kind => {
                known.add_classes(column.classes);
                if known.kind == ColumnKind::Number {
                    known.data_type = wider(&known.data_type, &column.data_type);
                }
            }
            Some(_) => {}
        }
    }
}

/// The columns of a schema that can be shown.
fn columns_of(schema: &Schema, scope: Scope) -> Vec<SceneColumn> {
    schema.fields().iter().filter_map(|field| column_of(field, scope)).collect()
}

fn column_of(field: &Field, scope: Scope) -> Option<SceneColumn> {
    let role = field.role();
    let is_key = matches!(
        role,
        Some(
            NumberRole::ExampleId
                | NumberRole::ForeignTableId
                | NumberRole::Epoch
                | NumberRole::OutOfDistribution
                | NumberRole::Image
                | NumberRole::Finite
        )
    );
    if is_key {
        return None;
    }
    let mut classes = value_map(field);
    let kind = match field.data_type() {
        DataType::Boolean => ColumnKind::Boolean,
        DataType::Utf8 | DataType::LargeUtf8 => ColumnKind::Text,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => ColumnKind::Number,
        kind if kind.is_integer() => {
            let is_class = !classes.is_empty() || matches!(role, Some(NumberRole::Label | NumberRole::Prediction));
            if is_class { ColumnKind::Category } else { ColumnKind::Number }
        }
        _ => return None,
    };
    if kind != ColumnKind::Category {
        classes.clear();
    }
    let data_type = match field.data_type() {
        DataType::Float16 => DataType::Float32,
        other if other.is_integer() => DataType::Int64,
        other => other.clone(),
    };
    Some(SceneColumn { name: field.name().clone(), kind, role, classes, data_type, scope })
}

/// The type of numbers that holds those of both.
fn wider(a: &DataType, b: &DataType) -> DataType {
    // Not even all int32 are a float32.
    if a == b { a.clone() } else { DataType::Float64 }
}

/// The numbers of `array` as `data_type`, which [`wider`] has chosen; null where there is none, also for NaN.
pub(super) fn numbers_as(data_type: &DataType, array: &ArrayRef) -> ArrayRef {
    match data_type {
        DataType::Int64 => Arc::new(Int64Array::from(whole_numbers(array))),
        DataType::Float64 => {
            let exact = array.as_primitive_opt::<Float64Type>().map(|values| values.iter().collect::<Vec<_>>());
            let values = exact.unwrap_or_else(|| match array.data_type().is_integer() {
                true => whole_numbers(array).into_iter().map(|value| value.map(|value| value as f64)).collect(),
                false => numbers(array).into_iter().map(|value| Some(f64::from(value))).collect(),
            });
            Arc::new(Float64Array::from_iter(values.into_iter().map(|value| value.filter(|x| !x.is_nan()))))
        }
        _ => Arc::new(Float32Array::from_iter(numbers(array).into_iter().map(|x| (!x.is_nan()).then_some(x)))),
    }
}

/// Puts the values of a batch, whose rows have these slots, where they belong.
pub(super) fn scatter(
    array: &ArrayRef,
    slots: impl Iterator<Item = usize>,
    classes: &BTreeMap<i64, String>,
    into: &mut Values,
) {
    match into {
        Values::Category(values) => {
            let places: BTreeMap<i64, i32> = classes.keys().copied().zip(0..).collect();
            let numbers = whole_numbers(array);
            for (row, slot) in slots.enumerate() {
                values[slot] = numbers[row].and_then(|class| places.get(&class).copied());
            }
        }
        Values::Number(values) => {
            let numbers = numbers(array);
            slots.enumerate().for_each(|(row, slot)| values[slot] = numbers[row]);
        }
        Values::Boolean(values) => {
            let Some(array) = array.as_boolean_opt() else { return };
            for (row, slot) in slots.enumerate() {
                values[slot] = array.is_valid(row).then(|| array.value(row));
            }
        }
        Values::Text(values) => {
            let small = array.as_string_opt::<i32>();
            let large = array.as_string_opt::<i64>();
            for (row, slot) in slots.enumerate().filter(|(row, _)| array.is_valid(*row)) {
                let text = small.map(|array| array.value(row)).or_else(|| large.map(|array| array.value(row)));
                values[slot] = text.map(str::to_owned);
            }
        }
    }
}

/// Integers of any width, `None` where null.
pub(super) fn whole_numbers(array: &ArrayRef) -> Vec<Option<i64>> {
    use arrow_array::types::{
        Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    };
    macro_rules! try_each {
        ($($kind:ty),*) => {
            $(if let Some(values) = array.as_primitive_opt::<$kind>() {
                return values.iter().map(|value| value.and_then(|value| i64::try_from(value).ok())).collect();
            })*
        };
    }
    try_each!(Int64Type, Int32Type, Int16Type, Int8Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type);
    vec![None; array.len()]
}

/// Numbers of any type, NaN where null.
fn numbers(array: &ArrayRef) -> Vec<f32> {
    if let Some(values) = array.as_primitive_opt::<Float32Type>() {
        return values.iter().map(|value| value.unwrap_or(f32::NAN)).collect();
    }
    if let Some(values) = array.as_primitive_opt::<Float64Type>() {
        return values.iter().map(|value| value.map_or(f32::NAN, |value| value as f32)).collect();
    }
    if let Some(values) = array.as_primitive_opt::<Float16Type>() {
        return values.iter().map(|value| value.map_or(f32::NAN, |value| value.to_f32())).collect();
    }
    whole_numbers(array).into_iter().map(|value| value.map_or(f32::NAN, |value| value as f32)).collect()
}
