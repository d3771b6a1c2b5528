//! Conditions on rows, as values: never text that is put into a query.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;

use arrow_array::builder::BooleanBuilder;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, cast::AsArray};
use arrow_schema::{DataType, Field};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::value_map;

/// Which rows to take.
///
/// A column with names for its values, such as a label, compares with a name as well as with a number. A null compares
/// with nothing, so that neither a condition nor its opposite holds of it; [`is_null`](Self::is_null) finds it.
///
/// ```
/// use tlc_core::Filter;
/// let filter = Filter::eq("label", "Shirt").and(Filter::gt("loss", 2.0)).or(Filter::is_null("loss"));
/// assert_eq!(filter.to_string(), "(label = \"Shirt\" and loss > 2.0) or loss is null");
/// assert_eq!(serde_json::from_value::<Filter>(serde_json::to_value(&filter)?)?, filter);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Filter {
    /// A column beside a value.
    Compare {
        /// The column.
        column: String,
        /// How.
        is: Comparison,
        /// A number, text or boolean.
        value: Value,
    },
    /// A column beside another of the same row.
    CompareColumns {
        /// The column.
        column: String,
        /// How.
        is: Comparison,
        /// The other column, of the same kind: number, text or boolean.
        other: String,
    },
    /// A column that holds one of these values.
    In {
        /// The column.
        column: String,
        /// Numbers, texts or booleans.
        values: Vec<Value>,
    },
    /// A column that holds nothing.
    IsNull {
        /// The column.
        column: String,
    },
    /// All of these.
    And(Vec<Filter>),
    /// Any of these.
    Or(Vec<Filter>),
    /// Not this.
    Not(Box<Filter>),
}

/// How a column's value stands to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Comparison {
    /// The same.
    Eq,
    /// Not the same.
    Ne,
    /// Less.
    Lt,
    /// Less or the same.
    Le,
    /// More.
    Gt,
    /// More or the same.
    Ge,
}

impl Filter {
    fn compare(column: &str, is: Comparison, value: impl Into<Value>) -> Self {
        Self::Compare { column: column.to_owned(), is, value: value.into() }
    }

    /// `column = value`
    pub fn eq(column: &str, value: impl Into<Value>) -> Self {
        Self::compare(column, Comparison::Eq, value)
    }

    /// `column != value`
    pub fn ne(column: &str, value: impl Into<Value>) -> Self {
        Self::compare(column, Comparison::Ne, value)
    }

    /// `column < value`
    pub fn lt(column: &str, value: impl Into<Value>) -> Self {
        Self::compare(column, Comparison::Lt, value)
    }

    /// `column <= value`
    pub fn le(column: &str, value: impl Into<Value>) -> Self {
        Self::compare(column, Comparison::Le, value)
    }

    /// `column > value`
    pub fn gt(column: &str, value: impl Into<Value>) -> Self {
        Self::compare(column, Comparison::Gt, value)
    }

    /// `column >= value`
    pub fn ge(column: &str, value: impl Into<Value>) -> Self {
        Self::compare(column, Comparison::Ge, value)
    }

    /// `column` is one of `values`.
    pub fn is_in(column: &str, values: impl IntoIterator<Item = impl Into<Value>>) -> Self {
        Self::In { column: column.to_owned(), values: values.into_iter().map(Into::into).collect() }
    }

    /// `column` holds nothing.
    pub fn is_null(column: &str) -> Self {
        Self::IsNull { column: column.to_owned() }
    }

    /// Both.
    #[must_use]
    pub fn and(self, other: Filter) -> Self {
        match self {
            Self::And(mut all) => {
                all.push(other);
                Self::And(all)
            }
            one => Self::And(vec![one, other]),
        }
    }

    /// Either or both.
    #[must_use]
    pub fn or(self, other: Filter) -> Self {
        match self {
            Self::Or(mut all) => {
                all.push(other);
                Self::Or(all)
            }
            one => Self::Or(vec![one, other]),
        }
    }

    /// The rows of which this does not hold; those of which it cannot be said stay out.
    #[must_use]
    pub fn negated(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// The columns that it looks at.
    pub fn columns(&self) -> BTreeSet<&str> {
        match self {
            Self::Compare { column, .. } | Self::In { column, .. } | Self::IsNull { column } => {
                BTreeSet::from([column.as_str()])
            }
            Self::CompareColumns { column, other, .. } => BTreeSet::from([column.as_str(), other.as_str()]),
            Self::And(parts) | Self::Or(parts) => parts.iter().flat_map(Self::columns).collect(),
            Self::Not(part) => part.columns(),
        }
    }

    /// For each row of `batch` whether it holds; null where that cannot be said.
    ///
    /// # Errors
    /// A column that the batch does not have; a value that does not fit the column.
    pub fn mask(&self, batch: &RecordBatch) -> Result<BooleanArray, String> {
        match self {
            Self::Compare { column, is, value } => {
                let compared = Compared::new(batch, column)?;
                let value = compared.operand(value)?;
                Ok(compared.each(|cell| is.holds(cell, &value)))
            }
            Self::CompareColumns { column, is, other } => {
                let (left, right) = (Compared::new(batch, column)?, Compared::new(batch, other)?);
                if left.kind() != right.kind() {
                    let (left, right) = (left.array.data_type(), right.array.data_type());
                    return Err(format!(
                        "column {column:?} of {left} is compared with {other:?} of {right}; columns of one kind are needed"
                    ));
                }
                let holds = |row| Some(is.holds(&left.cell(row)?, &right.cell(row)?));
                Ok((0..batch.num_rows()).map(holds).collect())
            }
            Self::In { column, values } => {
                let compared = Compared::new(batch, column)?;
                let values: Vec<Cell> = values.iter().map(|value| compared.operand(value)).collect::<Result<_, _>>()?;
                Ok(compared.each(|cell| values.iter().any(|value| cell == value)))
            }
            Self::IsNull { column } => {
                let array = array(batch, column)?.1;
                Ok((0..array.len()).map(|row| Some(array.is_null(row))).collect())
            }
            Self::And(parts) => fold(parts, batch, true, |a, b| match (a, b) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            }),
            Self::Or(parts) => fold(parts, batch, false, |a, b| match (a, b) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            }),
            Self::Not(part) => Ok(part.mask(batch)?.iter().map(|holds| holds.map(|holds| !holds)).collect()),
        }
    }
}

type Combine = fn(Option<bool>, Option<bool>) -> Option<bool>;

fn fold(parts: &[Filter], batch: &RecordBatch, neutral: bool, combine: Combine) -> Result<BooleanArray, String> {
    let mut all = vec![Some(neutral); batch.num_rows()];
    for part in parts {
        for (known, holds) in all.iter_mut().zip(part.mask(batch)?.iter()) {
            *known = combine(*known, holds);
        }
    }
    Ok(all.into_iter().collect())
}

fn array<'a>(batch: &'a RecordBatch, column: &str) -> Result<(&'a Field, &'a ArrayRef), String> {
    let index =
        batch.schema_ref().index_of(column).map_err(|_| format!("there is no column {column:?} to filter by"))?;
    Ok((batch.schema_ref().field(index), batch.column(index)))
}

/// One value that can be compared.
#[derive(Debug, Clone)]
enum Cell {
    Boolean(bool),
    Number(f64),
    Whole(i128),
    Text(String),
}

impl PartialEq for Cell {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Cell {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Cell::Boolean(a), Cell::Boolean(b)) => a.partial_cmp(b),
            (Cell::Text(a), Cell::Text(b)) => a.partial_cmp(b),
            (Cell::Whole(a), Cell::Whole(b)) => a.partial_cmp(b),
            (Cell::Number(a), Cell::Number(b)) => a.partial_cmp(b),
            (Cell::Whole(a), Cell::Number(b)) => (*a as f64).partial_cmp(b),
            (Cell::Number(a), Cell::Whole(b)) => a.partial_cmp(&(*b as f64)),
            _ => None,
        }
    }
}

impl Comparison {
    fn holds(self, cell: &Cell, value: &Cell) -> bool {
        match self {
            Self::Eq => cell == value,
            Self::Ne => cell != value,
            Self::Lt => cell < value,
            Self::Le => cell <= value,
            Self::Gt => cell > value,
            Self::Ge => cell >= value,
        }
    }
}

/// A column whose cells can be compared.
struct Compared<'a> {
    field: &'a Field,
    array: &'a ArrayRef,
}

impl<'a> Compared<'a> {
    fn new(batch: &'a RecordBatch, column: &str) -> Result<Self, String> {
        let (field, array) = array(batch, column)?;
        let kind = array.data_type();
        if kind.is_numeric() || matches!(kind, DataType::Boolean | DataType::Utf8 | DataType::LargeUtf8) {
            return Ok(Self { field, array });
        }
        Err(format!("column {column:?} is of {kind}; numbers, booleans and texts can be filtered by"))
    }

    /// Number, boolean or text.
    fn kind(&self) -> u8 {
        match self.array.data_type() {
            DataType::Boolean => 1,
            DataType::Utf8 | DataType::LargeUtf8 => 2,
            _ => 0,
        }
    }

    /// `value` as a cell of this column.
    fn operand(&self, value: &Value) -> Result<Cell, String> {
        let (column, kind) = (self.field.name(), self.array.data_type());
        let refused = |what: &str| Err(format!("column {column:?} is compared with {value}; {what} is needed"));
        match value {
            Value::Bool(value) if kind == &DataType::Boolean => Ok(Cell::Boolean(*value)),
            Value::String(text) if matches!(kind, DataType::Utf8 | DataType::LargeUtf8) => Ok(Cell::Text(text.clone())),
            Value::String(name) if kind.is_integer() => {
                let names = value_map(self.field);
                match names.iter().find(|(_, known)| *known == name) {
                    Some((number, _)) => Ok(Cell::Whole(i128::from(*number))),
                    None if names.is_empty() => refused("a number"),
                    None => {
                        let known: Vec<&str> = names.values().take(20).map(String::as_str).collect();
                        refused(&format!("a number or one of {}", known.join(", ")))
                    }
                }
            }
            Value::Number(number) if kind.is_floating() => {
                // As the column holds it, so that 0.1 equals a float32 that was written as 0.1.
                let number = number.as_f64().unwrap_or(f64::NAN);
                Ok(Cell::Number(if kind == &DataType::Float64 { number } else { f64::from(number as f32) }))
            }
            Value::Number(number) if kind.is_integer() => match (number.as_i128(), number.as_f64()) {
                (Some(whole), _) => Ok(Cell::Whole(whole)),
                (None, Some(number)) => Ok(Cell::Number(number)),
                (None, None) => refused("a number"),
            },
            _ if kind == &DataType::Boolean => refused("true or false"),
            _ if kind.is_numeric() => refused("a number"),
            _ => refused("a text"),
        }
    }

    fn each(&self, holds: impl Fn(&Cell) -> bool) -> BooleanArray {
        let mut mask = BooleanBuilder::with_capacity(self.array.len());
        for row in 0..self.array.len() {
            mask.append_option(self.cell(row).map(|cell| holds(&cell)));
        }
        mask.finish()
    }

    fn cell(&self, row: usize) -> Option<Cell> {
        if self.array.is_null(row) {
            return None;
        }
        macro_rules! number {
            ($cell:ident, $wide:ty, $($kind:ident),*) => {
                $(if let Some(values) = self.array.as_primitive_opt::<$kind>() {
                    return Some(Cell::$cell(<$wide>::from(values.value(row))));
                })*
            };
        }
        number!(Number, f64, Float32Type, Float64Type, Float16Type);
        number!(Whole, i128, Int64Type, Int32Type, Int16Type, Int8Type, UInt64Type, UInt32Type, UInt16Type, UInt8Type);
        if let Some(values) = self.array.as_boolean_opt() {
            return Some(Cell::Boolean(values.value(row)));
        }
        if let Some(values) = self.array.as_string_opt::<i64>() {
            return Some(Cell::Text(values.value(row).to_owned()));
        }
        self.array.as_string_opt::<i32>().map(|values| Cell::Text(values.value(row).to_owned()))
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eq => "=",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |f: &mut fmt::Formatter<'_>, parts: &[Filter], word: &str| {
            for (i, part) in parts.iter().enumerate() {
                if i > 0 {
                    write!(f, " {word} ")?;
                }
                match part {
                    Filter::And(_) | Filter::Or(_) => write!(f, "({part})")?,
                    part => write!(f, "{part}")?,
                }
            }
            Ok(())
        };
        match self {
            Self::Compare { column, is, value } => write!(f, "{column} {is} {value}"),
            Self::CompareColumns { column, is, other } => write!(f, "{column} {is} {other}"),
            Self::In { column, values } => {
                let values: Vec<String> = values.iter().map(Value::to_string).collect();
                write!(f, "{column} in ({})", values.join(", "))
            }
            Self::IsNull { column } => write!(f, "{column} is null"),
            Self::And(parts) => join(f, parts, "and"),
            Self::Or(parts) => join(f, parts, "or"),
            Self::Not(part) => write!(f, "not ({part})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow_array::{Float32Array, Int64Array, StringArray};
    use arrow_schema::Schema;

    use super::*;
    use crate::FieldRoles;

    fn batch() -> RecordBatch {
        let names = BTreeMap::from([(0, "cat".to_owned()), (1, "dog".to_owned())]);
        let schema = Schema::new(vec![
            Field::new("label", DataType::Int64, true).with_value_map(&names),
            Field::new("loss", DataType::Float32, true),
            Field::new("name", DataType::Utf8, true),
            Field::new("correct", DataType::Boolean, true),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![Some(0), Some(1), Some(1), None])),
            Arc::new(Float32Array::from(vec![Some(0.1), Some(2.0), None, Some(f32::NAN)])),
            Arc::new(StringArray::from(vec!["a", "b", "c'; drop table", "d"])),
            Arc::new(BooleanArray::from(vec![true, false, true, false])),
        ];
        RecordBatch::try_new(Arc::new(schema), columns).expect("they fit")
    }

    fn rows(filter: &Filter) -> Vec<usize> {
        let mask = filter.mask(&batch()).expect("it fits");
        (0..4).filter(|&row| mask.is_valid(row) && mask.value(row)).collect()
    }

    #[test]
    fn conditions_choose_rows() {
        assert_eq!(rows(&Filter::eq("label", "dog")), [1, 2]);
        assert_eq!(rows(&Filter::eq("label", 1)), [1, 2]);
        assert_eq!(rows(&Filter::lt("label", 0.5)), [0]);
        assert_eq!(rows(&Filter::eq("loss", 0.1)), [0], "0.1 is what a float32 makes of it");
        assert_eq!(rows(&Filter::ge("loss", 0)), [0, 1], "NaN is not more than anything");
        assert_eq!(rows(&Filter::eq("name", "c'; drop table")), [2]);
        assert_eq!(rows(&Filter::is_in("name", ["a", "d"])), [0, 3]);
        let columns =
            |column: &str, is, other: &str| Filter::CompareColumns { column: column.into(), is, other: other.into() };
        assert_eq!(rows(&columns("label", Comparison::Lt, "loss")), [0, 1], "nothing is less than NaN or null");
        assert_eq!(rows(&columns("name", Comparison::Ne, "name")), [0_usize; 0]);
        assert_eq!(rows(&Filter::eq("correct", true).and(Filter::eq("label", "dog"))), [2]);
        assert_eq!(rows(&Filter::is_null("loss").or(Filter::is_null("label"))), [2, 3]);
        assert_eq!(rows(&Filter::eq("label", "dog").negated()), [0], "of a null nothing is said");
        assert_eq!(rows(&Filter::And(Vec::new())), [0, 1, 2, 3]);
        assert_eq!(rows(&Filter::Or(Vec::new())), [0_usize; 0]);
    }

    #[test]
    fn what_does_not_fit_is_explained() {
        let message = |filter: Filter| filter.mask(&batch()).expect_err("refused");
        assert_eq!(message(Filter::eq("nope", 1)), "there is no column \"nope\" to filter by");
        assert_eq!(
            message(Filter::eq("label", "cow")),
            "column \"label\" is compared with \"cow\"; a number or one of cat, dog is needed"
        );
        assert_eq!(
            message(Filter::eq("loss", "high")),
            "column \"loss\" is compared with \"high\"; a number is needed"
        );
        let mixed = Filter::CompareColumns { column: "label".into(), is: Comparison::Eq, other: "name".into() };
        assert!(message(mixed).contains("columns of one kind are needed"));
        assert_eq!(message(Filter::eq("correct", 1)), "column \"correct\" is compared with 1; true or false is needed");
    }
}
