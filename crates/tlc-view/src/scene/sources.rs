//! The stored tables that a scene is made of, and what they say of themselves.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tlc_core::{Aggregate, NumberRole, Places, TableInfo, UniqueName, Url, columns_with_role};

use crate::ViewError;

/// A stored table that is to be shown.
pub(super) struct Source {
    pub(super) info: TableInfo,
    pub(super) name: String,
    pub(super) foreign_table: Option<Url>,
    pub(super) reduced_from: Option<Url>,
    /// The table whose rows it has.
    pub(super) origin: Url,
    pub(super) constants: Map<String, Value>,
    pub(super) aggregates: BTreeMap<String, Aggregate>,
}

impl Source {
    pub(super) fn epoch(&self) -> Option<i64> {
        self.constants.get("epoch").and_then(Value::as_i64)
    }
}

/// The column that says which samples the rows are of.
pub(super) fn id_column(source: &Source) -> Option<String> {
    columns_with_role(&source.info.schema, &NumberRole::ExampleId).into_iter().next()
}

/// The table that a table was reduced from, as its lineage names it.
pub(super) fn reduced_from(places: &Places, info: &TableInfo) -> Result<Option<Url>, ViewError> {
    let lineage = info.lineage().filter(|lineage| !lineage.models.is_empty());
    let input = lineage.and_then(|lineage| lineage.inputs.into_iter().next());
    Ok(input.map(|input| places.expanded(&input.url)).transpose()?)
}

/// `train` of `…/train-01J….lance`.
pub(super) fn name_of(url: &Url) -> String {
    UniqueName::stem_of(url.file_name()).to_owned()
}
