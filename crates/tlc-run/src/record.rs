//! A run's record, `run.json`: what the run consists of.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tlc_core::ulid::Ulid;
use tlc_core::{Aggregate, Url};

pub(crate) const FORMAT: &str = "tlc.run/1";

/// The content of a run's record. URLs are relative to the project where they lie inside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Format and version: `tlc.run/1`.
    pub schema: String,
    /// The run's identity, which survives moves.
    pub id: Ulid,
    /// Its name, unique in the project.
    pub name: String,
    /// When it began.
    pub created: Timestamp,
    /// How it stands.
    pub status: RunStatus,
    /// What it was started with.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// Its metrics tables, oldest first.
    #[serde(default)]
    pub metrics: Vec<MetricsEntry>,
    /// Tables that were replaced and are to be deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to_delete: Vec<Url>,
    /// Fields of later versions, kept as they are.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunStatus {
    /// Being written, or ended without saying so.
    Running,
    /// Everything was done.
    Completed,
    /// Stopped on request or by an error; can be continued.
    Interrupted,
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Interrupted => "interrupted",
        })
    }
}

/// One metrics table of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricsEntry {
    /// Its place.
    pub url: Url,
    /// Its identity.
    pub table_id: Ulid,
    /// The name it was given, without what makes it unique.
    pub name: String,
    /// The table whose rows it describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign_table: Option<Url>,
    /// Values that hold for all rows.
    #[serde(default)]
    pub constants: Map<String, Value>,
    /// Its number of rows.
    pub rows: u64,
    /// Its content digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What its columns of numbers and booleans add up to, without those of constants.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aggregates: BTreeMap<String, Aggregate>,
    /// The table it was reduced from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reduced_from: Option<Url>,
}

impl MetricsEntry {
    /// The constant `epoch`, if it is a whole number.
    pub fn epoch(&self) -> Option<i64> {
        epoch(&self.constants)
    }

    /// The constant `split`, if it is a text.
    pub fn split(&self) -> Option<&str> {
        split(&self.constants)
    }

    /// The table whose rows a reduced one has, as far back as `entries`, those of its run, tell; its own place if it was
    /// not reduced. Tables with one origin are the same samples, once more.
    pub fn origin<'a>(&'a self, entries: &'a [MetricsEntry]) -> &'a Url {
        let mut table = self;
        // Not for ever: anybody may have written the record.
        for _ in 0..entries.len() {
            let Some(source) = &table.reduced_from else { break };
            match entries.iter().find(|entry| entry.url == *source) {
                Some(next) => table = next,
                None => return source,
            }
        }
        &table.url
    }
}

pub(crate) fn epoch(constants: &Map<String, Value>) -> Option<i64> {
    constants.get("epoch")?.as_i64()
}

pub(crate) fn split(constants: &Map<String, Value>) -> Option<&str> {
    constants.get("split")?.as_str()
}
