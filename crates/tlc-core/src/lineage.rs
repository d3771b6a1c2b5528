//! Where a table comes from.
//!
//! The JSON follows OpenLineage: inputs by URL, one operation, and for each column the input
//! columns it was made from. It is written into the table's schema when the table is created and
//! never changes; inputs that were deleted since stay listed.

use std::collections::{BTreeMap, HashMap};

use arrow_schema::Schema;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ulid::Ulid;

use crate::Url;

const LINEAGE_KEY: &str = "tlc:lineage";
const FORMAT: &str = "tlc.lineage/1";

/// Which tables a table was made from, and how.
///
/// ```
/// use tlc_core::{Lineage, Operation};
/// let lineage = Lineage::new("my-trainer/1.0", Operation::new("collect", 1));
/// let schema = lineage.write_into(&arrow_schema::Schema::empty());
/// assert_eq!(Lineage::read_from(&schema), Some(lineage));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// Format and version of this record: `tlc.lineage/1`.
    pub schema: String,
    /// The table's identity, which survives moves.
    pub table_id: Ulid,
    /// When the table was created.
    pub created: Timestamp,
    /// Program and version that wrote it.
    pub producer: String,
    /// The run it belongs to, relative to the project root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Url>,
    /// The tables that were read.
    #[serde(default)]
    pub inputs: Vec<LineageInput>,
    /// What was done.
    pub operation: Operation,
    /// The fitted model that was applied, one per reduced column.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, ModelRef>,
    /// For each column that was computed: the input columns it came from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, ColumnLineage>,
    /// Fields of later versions, kept as they are.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One table that was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LineageInput {
    /// Its place, relative to the project root where it lies inside; with its version, where one was asked for.
    pub url: Url,
    /// Its version; always 1 for tables of tlc.
    pub version: u64,
    /// Its identity, if it has one.
    pub table_id: Option<Ulid>,
    /// Its number of rows.
    pub rows: u64,
    /// Its content digest, if it has one.
    pub digest: Option<String>,
}

/// What was done to make a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Its kind, for example `collect`, `pacmap`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The version of its meaning.
    pub version: u32,
    /// Its arguments.
    #[serde(default)]
    pub args: Map<String, Value>,
}

impl Operation {
    /// The argument by which an operation says what the rows are that it makes, as a digest of them or of the file that
    /// they are read from. Tables of two operations with the same one have the same rows; of others that must be seen.
    pub const CONTENT: &str = "content";

    /// An operation without arguments.
    pub fn new(kind: impl Into<String>, version: u32) -> Self {
        Self { kind: kind.into(), version, args: Map::new() }
    }

    /// The operation with one more argument.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.args.insert(name.to_owned(), value.into());
        self
    }
}

/// A fitted model that was applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelRef {
    /// Its folder.
    pub url: Url,
    /// Digest of its document, which holds the digests of its other files.
    pub digest: String,
}

/// The origin of a column, in OpenLineage's terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnLineage {
    /// The input columns.
    pub from: Vec<ColumnSource>,
    /// `DIRECT` if values were derived from values.
    #[serde(rename = "type")]
    pub kind: String,
    /// For example `TRANSFORMATION`.
    pub subtype: String,
}

/// A column of one of the inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnSource {
    /// Index into [`Lineage::inputs`].
    pub input: usize,
    /// The column's name.
    pub field: String,
}

impl Lineage {
    /// The lineage of a new table, with a fresh identity.
    pub fn new(producer: impl Into<String>, operation: Operation) -> Self {
        Self {
            schema: FORMAT.to_owned(),
            table_id: Ulid::generate(),
            created: Timestamp::now(),
            producer: producer.into(),
            run: None,
            inputs: Vec::new(),
            operation,
            models: BTreeMap::new(),
            columns: BTreeMap::new(),
            extra: Map::new(),
        }
    }

    /// Records that `target` was derived from column `field` of input number `input`.
    pub fn derive_column(&mut self, target: &str, input: usize, field: &str) {
        let from = vec![ColumnSource { input, field: field.to_owned() }];
        let origin = ColumnLineage { from, kind: "DIRECT".into(), subtype: "TRANSFORMATION".into() };
        self.columns.insert(target.to_owned(), origin);
    }

    /// Records that column `name` is that of input number `input`.
    pub fn keep_column(&mut self, name: &str, input: usize) {
        let from = vec![ColumnSource { input, field: name.to_owned() }];
        let origin = ColumnLineage { from, kind: "DIRECT".into(), subtype: "IDENTITY".into() };
        self.columns.insert(name.to_owned(), origin);
    }

    /// `schema` with this lineage in its metadata.
    pub fn write_into(&self, schema: &Schema) -> Schema {
        let json = serde_json::to_string(self).expect("lineage is plain data");
        let mut metadata: HashMap<String, String> = schema.metadata().clone();
        metadata.insert(LINEAGE_KEY.to_owned(), json);
        Schema::new_with_metadata(schema.fields().clone(), metadata)
    }

    /// The lineage in a schema's metadata, or `None` if there is none or it cannot be read.
    pub fn read_from(schema: &Schema) -> Option<Self> {
        serde_json::from_str(schema.metadata().get(LINEAGE_KEY)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_later_versions_are_kept() {
        let lineage = Lineage::new("t/1", Operation::new("collect", 1).with("layers", vec![90]));
        let mut json = serde_json::to_value(&lineage).expect("plain data");
        json["quality"] = Value::from(0.9);
        let read: Lineage = serde_json::from_value(json.clone()).expect("readable");
        assert_eq!(read.extra["quality"], 0.9);
        assert_eq!(serde_json::to_value(&read).expect("plain data"), json);
    }
}
