//! What the numbers of classes are called.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use tlc_core::{Scan, StoreError, Url};

use super::columns::whole_numbers;
use super::{ColumnKind, Scene, SceneColumn, SceneTable, Scope};
use crate::ViewError;

impl Scene {
    /// Numbers stand for classes without names.
    pub(super) fn name_classes(&mut self) -> Result<(), ViewError> {
        for index in 0..self.columns.len() {
            let column = &self.columns[index];
            if column.kind != ColumnKind::Category || !column.classes.is_empty() {
                continue;
            }
            let places: Vec<&Url> = match column.scope {
                Scope::Table => self.tables.iter().flat_map(SceneTable::distinct_parts).map(|part| &part.url).collect(),
                Scope::Dataset => self.datasets.iter().filter_map(|dataset| dataset.foreign_table.as_ref()).collect(),
            };
            let mut classes = BTreeMap::new();
            for url in places {
                let batches = match self.store.scan(url, Scan::columns([&column.name])) {
                    Ok(batches) => batches,
                    // Another has the column.
                    Err(StoreError::Unsupported { .. }) => continue,
                    // A data set that was moved away has no columns to show.
                    Err(StoreError::NotFound { .. }) if column.scope == Scope::Dataset => continue,
                    Err(error) => return Err(error.into()),
                };
                for batch in batches {
                    let values = whole_numbers(batch?.column(0));
                    classes.extend(values.into_iter().flatten().map(|class| (class, class.to_string())));
                }
            }
            self.columns[index].classes = classes;
        }
        Ok(())
    }
}

impl SceneColumn {
    /// Adds names of classes that have none. Of two names for one number the first stays: tables say themselves what
    /// theirs mean, before the table that they describe does.
    pub(super) fn add_classes(&mut self, classes: BTreeMap<i64, String>) {
        let mut others = Vec::new();
        for (number, name) in classes {
            match self.classes.entry(number) {
                Entry::Vacant(free) => {
                    free.insert(name);
                }
                Entry::Occupied(known) if *known.get() != name => {
                    others.push(format!("{number} is {:?}, and {name:?} elsewhere", known.get()));
                }
                Entry::Occupied(_) => {}
            }
        }
        if let Some(first) = others.first() {
            let (column, n) = (self.name.as_str(), others.len());
            tracing::warn!(column, n, %first, "tables name classes differently; the first name is shown");
        }
    }
}
