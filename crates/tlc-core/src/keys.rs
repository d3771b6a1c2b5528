//! What a metrics table has besides what was measured: which samples its rows are of, and what holds for all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float32Array, Int64Array, StringArray};
use arrow_schema::{DataType, Field};
use serde_json::{Map, Value};

use crate::{Column, ConstantError, FieldRoles, NumberRole, Url};

/// The columns that a metrics table begins with, `ids.len()` rows each: `example_id`; `input_table_id`, whose value map
/// holds the URL of the table that the samples are rows of, if there is one; the constants, of which `epoch` gets the
/// role of that name.
///
/// ```
/// let constants = [("epoch".to_owned(), 3.into())].into_iter().collect();
/// let columns = tlc_core::key_columns(&[0, 1], Some(&"/p/datasets/train.lance".parse()?), &constants)?;
/// let names: Vec<&String> = columns.iter().map(|column| column.field.name()).collect();
/// assert_eq!(names, ["example_id", "input_table_id", "epoch"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A constant that is neither a number, a text nor a boolean.
pub fn key_columns(
    ids: &[i64],
    foreign_table: Option<&Url>,
    constants: &Map<String, Value>,
) -> Result<Vec<Column>, ConstantError> {
    let n = ids.len();
    let field = Field::new("example_id", DataType::Int64, false).with_role(NumberRole::ExampleId);
    let mut columns = vec![Column { field, values: Arc::new(Int64Array::from(ids.to_vec())) }];
    if let Some(url) = foreign_table {
        let field = Field::new("input_table_id", DataType::Int64, false)
            .with_role(NumberRole::ForeignTableId)
            .with_value_map(&BTreeMap::from([(0, url.to_string())]));
        columns.push(Column { field, values: Arc::new(Int64Array::from(vec![0; n])) });
    }
    for (name, value) in constants {
        columns.push(constant_column(name, value, n)?);
    }
    Ok(columns)
}

fn constant_column(name: &str, value: &Value, n: usize) -> Result<Column, ConstantError> {
    let (kind, values): (DataType, ArrayRef) = match value {
        Value::Bool(value) => (DataType::Boolean, Arc::new(BooleanArray::from(vec![*value; n]))),
        Value::String(value) => (DataType::Utf8, Arc::new(StringArray::from(vec![value.as_str(); n]))),
        Value::Number(value) => match (value.as_i64(), value.as_f64()) {
            (Some(value), _) => (DataType::Int64, Arc::new(Int64Array::from(vec![value; n]))),
            (None, value) => {
                (DataType::Float32, Arc::new(Float32Array::from(vec![value.unwrap_or(f64::NAN) as f32; n])))
            }
        },
        other => return Err(ConstantError { name: name.to_owned(), value: other.to_string() }),
    };
    let field = Field::new(name, kind, true);
    let field = if name == "epoch" { field.with_role(NumberRole::Epoch) } else { field };
    Ok(Column { field, values })
}

/// What a metrics table with these constants is called if nobody says: `{split}-epoch-{epoch}`, or the part of it that
/// is known, or `metrics`.
///
/// ```
/// let constants = [("epoch".to_owned(), 3.into()), ("split".to_owned(), "val".into())].into_iter().collect();
/// assert_eq!(tlc_core::metrics_name(&constants), "val-epoch-3");
/// assert_eq!(tlc_core::metrics_name(&Default::default()), "metrics");
/// ```
pub fn metrics_name(constants: &Map<String, Value>) -> String {
    let split = constants.get("split").and_then(Value::as_str).filter(|split| !split.is_empty()).map(str::to_owned);
    let epoch = constants.get("epoch").and_then(Value::as_i64).map(|epoch| format!("epoch-{epoch}"));
    let parts: Vec<String> = split.into_iter().chain(epoch).collect();
    if parts.is_empty() { "metrics".to_owned() } else { parts.join("-") }
}

#[cfg(test)]
mod tests {
    use arrow_array::{cast::AsArray, types::Float32Type};
    use serde_json::json;

    use super::*;

    fn constants(value: Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn constants_become_columns_of_their_type() {
        let all = constants(json!({ "epoch": 3, "rate": 0.5, "split": "val", "warm": true }));
        let columns = key_columns(&[4, 7, 4], None, &all).expect("plain values");
        let found: Vec<_> = columns.iter().map(|column| (column.field.name().as_str(), column.values.len())).collect();
        assert_eq!(found, [("example_id", 3), ("epoch", 3), ("rate", 3), ("split", 3), ("warm", 3)]);
        let role = |at: usize| columns[at].field.role();
        assert_eq!((role(0), role(1), role(3)), (Some(NumberRole::ExampleId), Some(NumberRole::Epoch), None));
        assert_eq!(columns[2].values.as_primitive::<Float32Type>().values(), &[0.5; 3]);
        let error = key_columns(&[0], None, &constants(json!({ "shape": [1, 2] }))).expect_err("a list").to_string();
        assert_eq!(error, "constant \"shape\" is [1,2]; a number, text or boolean is needed");
    }

    #[test]
    fn names_follow_from_what_is_known() {
        let name = |value: Value| metrics_name(&constants(value));
        assert_eq!(name(json!({ "epoch": 0 })), "epoch-0");
        assert_eq!(name(json!({ "split": "val" })), "val");
        assert_eq!(name(json!({ "split": "", "epoch": "first" })), "metrics", "neither is one");
    }
}
