//! New revisions of a table: the same rows and columns, changed by an operation that can be repeated.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float32Builder, Int64Builder, StringBuilder};
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, cast::AsArray};
use arrow_schema::{DataType, Field, Schema};
use serde::Serialize;
use serde_json::Value;
use tlc_core::digest::TableDigest;
use tlc_core::{BatchStream, Column, Filter, Operation, Scan, StoreError};

use super::create::write;
use super::{NewTable, Table, class_number};
use crate::TableError;

/// Rows that are taken at once.
const CHUNK: usize = 8192;

/// What makes a revision out of a table. The same derivation of the same table gives the same rows, to the bit.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", content = "args", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Derivation {
    /// The rows of which a condition holds.
    Filter {
        /// The condition.
        filter: Filter,
    },
    /// The rows with these numbers, in this order.
    Take {
        /// Row numbers.
        rows: Vec<u64>,
    },
    /// All rows, some of them with another value in one column.
    Edit {
        /// The column.
        column: String,
        /// New values by row number: numbers, texts, booleans, null, or names of classes.
        values: BTreeMap<u64, Value>,
    },
    /// All rows as they are, with no past.
    Squash,
}

impl Derivation {
    fn operation(&self) -> Operation {
        let json = serde_json::to_value(self).expect("plain data");
        let mut operation = Operation::new(json["type"].as_str().unwrap_or_default(), 1);
        operation.args = json["args"].as_object().cloned().unwrap_or_default();
        operation
    }

    /// The derivation that an operation of lineage is; `None` if it is of another kind.
    pub fn from_operation(operation: &Operation) -> Option<Self> {
        // By hand: a tagged enumeration does not read numbers back from the keys of a map.
        let arg = |name: &str| operation.args.get(name).cloned().unwrap_or_default();
        let derivation = match operation.kind.as_str() {
            "filter" => Self::Filter { filter: serde_json::from_value(arg("filter")).ok()? },
            "take" => Self::Take { rows: serde_json::from_value(arg("rows")).ok()? },
            "edit" => Self::Edit {
                column: arg("column").as_str()?.to_owned(),
                values: serde_json::from_value(arg("values")).ok()?,
            },
            "squash" => Self::Squash,
            _ => return None,
        };
        (operation.version == 1).then_some(derivation)
    }
}

impl Table {
    /// A revision with the rows of which `filter` holds.
    ///
    /// # Errors
    /// A filter that does not fit; a failing store.
    pub fn filtered(&self, filter: &Filter) -> Result<Table, TableError> {
        self.derived(&Derivation::Filter { filter: filter.clone() }, None)
    }

    /// A revision with the rows with these numbers, in this order.
    ///
    /// # Errors
    /// A number that the table does not have; a failing store.
    pub fn taken(&self, rows: &[u64]) -> Result<Table, TableError> {
        self.derived(&Derivation::Take { rows: rows.to_vec() }, None)
    }

    /// A revision with other values in one column, such as corrected labels.
    ///
    /// # Errors
    /// A row or column that the table does not have; a value that does not fit; a failing store.
    pub fn edited(
        &self,
        column: &str,
        values: impl IntoIterator<Item = (u64, impl Into<Value>)>,
    ) -> Result<Table, TableError> {
        let values = values.into_iter().map(|(row, value)| (row, value.into())).collect();
        self.derived(&Derivation::Edit { column: column.to_owned(), values }, None)
    }

    /// A copy without a past: what it was made from is neither needed nor known any more.
    ///
    /// # Errors
    /// A failing store.
    pub fn squashed(&self) -> Result<Table, TableError> {
        self.derived(&Derivation::Squash, None)
    }

    /// The revision that `derivation` makes, with a description if it is given.
    ///
    /// # Errors
    /// A derivation that does not fit; a failing store.
    pub fn derived(&self, derivation: &Derivation, description: Option<&str>) -> Result<Table, TableError> {
        let mut new = NewTable::new(self.name()).operation(derivation.operation());
        if let Some(text) = description.or_else(|| self.description()) {
            new = new.description(text);
        }
        if *derivation != Derivation::Squash {
            new = new.input(self.info.as_input());
        }
        write(self.store.clone(), &self.folder()?, &new, self.schema(), self.rows_of(derivation)?)
    }

    /// A revision with more columns.
    ///
    /// # Errors
    /// A column of another length or of a name that is taken; a failing store.
    pub fn with_columns(&self, columns: Vec<Column>) -> Result<Table, TableError> {
        let refused = |reason: String| self.unfit("add columns to", reason);
        for column in &columns {
            let (name, n) = (column.field.name(), column.values.len() as u64);
            if n != self.rows() {
                return Err(refused(format!("{name:?} has {n} values for {} rows", self.rows())));
            }
            if self.schema().field_with_name(name).is_ok() {
                return Err(refused(format!("it has a column {name:?} already")));
            }
        }
        let added = Schema::new(columns.iter().map(|column| column.field.clone()).collect::<Vec<Field>>());
        let values: Vec<ArrayRef> = columns.iter().map(|column| column.values.clone()).collect();
        let all = RecordBatch::try_new(Arc::new(added.clone()), values).map_err(|error| refused(error.to_string()))?;
        let mut content = TableDigest::new(&added);
        content.update(&all).map_err(refused)?;
        let names: Vec<&String> = added.fields().iter().map(|field| field.name()).collect();
        let operation = Operation::new("add_columns", 1)
            .with("columns", serde_json::json!(names))
            .with(Operation::CONTENT, content.finish());
        let new = NewTable::new(self.name()).operation(operation).input(self.info.as_input());
        let fields: Vec<_> = self.columns().iter().chain(added.fields()).cloned().collect();
        let schema = Schema::new_with_metadata(fields, self.schema().metadata().clone());
        let (url, with_added) = (self.url().clone(), Arc::new(schema.clone()));
        let mut start = 0;
        let rows = self.scan(Scan::default())?.map(move |batch| {
            let batch = batch?;
            let part = all.slice(start, batch.num_rows());
            start += batch.num_rows();
            let values = batch.columns().iter().chain(part.columns()).cloned().collect();
            RecordBatch::try_new(with_added.clone(), values)
                .map_err(|error| StoreError::backend("add columns to", &url, error))
        });
        write(self.store.clone(), &self.folder()?, &new, &schema, Box::new(rows))
    }

    /// The digest that the revision has which `derivation` makes, without writing it.
    ///
    /// # Errors
    /// As [`derived`](Self::derived).
    pub fn digest_of(&self, derivation: &Derivation) -> Result<String, TableError> {
        let mut digest = TableDigest::new(self.schema());
        for batch in self.rows_of(derivation)? {
            digest.update(&batch?).map_err(|reason| self.unfit("digest", reason))?;
        }
        Ok(digest.finish())
    }

    fn rows_of(&self, derivation: &Derivation) -> Result<BatchStream<'static>, TableError> {
        match derivation {
            Derivation::Filter { filter } => self.scan(Scan::default().filter(filter.clone())),
            Derivation::Take { rows } => {
                // An unknown row is said before anything is written.
                tlc_core::check_row_numbers(&self.info, rows)?;
                let chunks: Vec<Vec<u64>> = rows.chunks(CHUNK).map(<[u64]>::to_vec).collect();
                let table = self.clone();
                Ok(Box::new(chunks.into_iter().map(move |rows| table.store.take(table.url(), &rows, None))))
            }
            Derivation::Edit { column, values } => self.edited_rows(column, values.clone()),
            Derivation::Squash => self.scan(Scan::default()),
        }
    }

    fn edited_rows(&self, column: &str, values: BTreeMap<u64, Value>) -> Result<BatchStream<'static>, TableError> {
        let refused = |reason: String| self.unfit("edit", reason);
        let index = self.schema().index_of(column).map_err(|_| refused(format!("it has no column {column:?}")))?;
        let field = self.schema().field(index).clone();
        if let Some(row) = values.keys().find(|&&row| row >= self.rows()) {
            return Err(refused(format!("it has no row {row}; it has {} rows, counted from 0", self.rows())));
        }
        let values: BTreeMap<u64, Value> = values
            .into_iter()
            .map(|(row, value)| Ok((row, fitting(&field, value).map_err(refused)?)))
            .collect::<Result<_, TableError>>()?;
        let url = self.url().clone();
        let mut start = 0;
        Ok(Box::new(self.scan(Scan::default())?.map(move |batch| {
            let batch = batch?;
            let end = start + batch.num_rows() as u64;
            let here: BTreeMap<usize, &Value> =
                values.range(start..end).map(|(row, value)| ((row - start) as usize, value)).collect();
            start = end;
            let mut columns = batch.columns().to_vec();
            if !here.is_empty() {
                columns[index] = replaced(&columns[index], &here);
            }
            RecordBatch::try_new(batch.schema(), columns).map_err(|error| StoreError::backend("edit", &url, error))
        })))
    }

    fn folder(&self) -> Result<tlc_core::Url, TableError> {
        self.url().parent().ok_or_else(|| self.unfit("derive from", "it is in no folder".to_owned()))
    }
}

/// `value` as the column holds it.
fn fitting(field: &Field, value: Value) -> Result<Value, String> {
    let (name, kind) = (field.name(), field.data_type());
    if !matches!(kind, DataType::Int64 | DataType::Float32 | DataType::Boolean | DataType::Utf8) {
        let known = "int64, float32, boolean and text can be edited";
        return Err(format!("column {name:?} of {kind} cannot become {value}; {known}"));
    }
    match (kind, &value) {
        (_, Value::Null) if field.is_nullable() => Ok(value),
        (_, Value::Null) => Err(format!("column {name:?} cannot be null")),
        (DataType::Int64, Value::String(class)) => match class_number(field, class) {
            Some(number) => Ok(number.into()),
            None => Err(format!("column {name:?} has no class {class:?}")),
        },
        (DataType::Int64, Value::Number(number)) if number.is_i64() => Ok(value),
        (DataType::Float32, Value::Number(_))
        | (DataType::Boolean, Value::Bool(_))
        | (DataType::Utf8, Value::String(_)) => Ok(value),
        _ => Err(format!("column {name:?} of {kind} cannot become {value}")),
    }
}

/// The column with other values at some places; the values fit it.
fn replaced(column: &ArrayRef, values: &BTreeMap<usize, &Value>) -> ArrayRef {
    macro_rules! rebuild {
        ($builder:expr, $old:expr, $new:expr) => {{
            let mut builder = $builder;
            for row in 0..column.len() {
                builder.append_option(match values.get(&row) {
                    Some(value) => $new(*value),
                    None if column.is_null(row) => None,
                    None => Some($old(row)),
                });
            }
            Arc::new(builder.finish())
        }};
    }
    match column.data_type() {
        DataType::Int64 => {
            let old = column.as_primitive::<Int64Type>();
            rebuild!(Int64Builder::new(), |row| old.value(row), |value: &Value| value.as_i64())
        }
        DataType::Float32 => {
            let old = column.as_primitive::<Float32Type>();
            rebuild!(Float32Builder::new(), |row| old.value(row), |value: &Value| value.as_f64().map(|x| x as f32))
        }
        DataType::Boolean => {
            let old = column.as_boolean();
            rebuild!(BooleanBuilder::new(), |row| old.value(row), |value: &Value| value.as_bool())
        }
        _ => {
            let old = column.as_string::<i32>();
            let mut builder = StringBuilder::new();
            for row in 0..column.len() {
                builder.append_option(match values.get(&row) {
                    Some(value) => value.as_str(),
                    None if column.is_null(row) => None,
                    None => Some(old.value(row)),
                });
            }
            Arc::new(builder.finish())
        }
    }
}
