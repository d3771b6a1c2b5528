//! A table that is reduced.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tlc_core::{Aggregate, NumberRole, TableInfo, UniqueName, Url, columns_with_role};

use super::ReduceOptions;
use crate::{MetricsEntry, Project, RunError};

/// A table that is reduced, and what its successor inherits.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) info: TableInfo,
    pub(super) name: String,
    pub(super) foreign_table: Option<Url>,
    pub(super) constants: Map<String, Value>,
    pub(super) aggregates: BTreeMap<String, Aggregate>,
}

impl Source {
    /// A table of a run; the entry's URLs are absolute.
    pub(super) fn of_run(project: &Project, entry: MetricsEntry) -> Result<Self, RunError> {
        let MetricsEntry { url, name, foreign_table, constants, aggregates, .. } = entry;
        Ok(Self { info: project.store().info(&url)?, name, foreign_table, constants, aggregates })
    }

    /// Any table.
    pub(super) fn of_table(project: &Project, url: &Url) -> Result<Self, RunError> {
        let info = project.store().info(&project.places().expanded(url)?)?;
        let name = UniqueName::stem_of(info.url.file_name()).to_owned();
        let foreign_table = info.foreign_table(project.places())?;
        Ok(Self { info, name, foreign_table, constants: Map::new(), aggregates: BTreeMap::new() })
    }

    pub(super) fn url(&self) -> &Url {
        &self.info.url
    }

    /// The columns to reduce; none if it lacks one that was named.
    pub(super) fn embedding_columns(&self, options: &ReduceOptions) -> Vec<String> {
        match &options.source_embedding_columns {
            None => columns_with_role(&self.info.schema, &NumberRole::NnEmbedding),
            Some(named) if named.iter().all(|name| self.has_column(name)) => named.clone(),
            Some(_) => Vec::new(),
        }
    }

    pub(super) fn has_column(&self, name: &str) -> bool {
        self.info.schema.field_with_name(name).is_ok()
    }
}
