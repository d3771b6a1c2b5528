//! Which tables came of which.

use std::collections::HashMap;

use tlc_core::Places;
use tlc_core::ulid::Ulid;

use super::Table;
use crate::TableError;

impl Table {
    /// This table, what it was made from and what was made of it in the same folder, oldest first.
    ///
    /// # Errors
    /// A failing store.
    pub fn revisions(&self) -> Result<Vec<Table>, TableError> {
        let neighbours = self.neighbours()?;
        let Some(own) = self.id() else { return Ok(vec![self.clone()]) };
        let parents: HashMap<Ulid, Vec<Ulid>> =
            neighbours.iter().filter_map(|table| Some((table.id()?, table.parents()))).collect();
        let is_related = |id: Ulid| is_above(&parents, own, id) || is_above(&parents, id, own);
        Ok(neighbours.into_iter().filter(|table| table.id().is_some_and(is_related)).collect())
    }

    /// The newest table that was made of this one in the same folder, in one step or several, and that nothing was made
    /// of; itself if there is none. A clock that went backwards does not matter along a line of revisions, only between
    /// two that were made of the same table.
    ///
    /// # Errors
    /// A failing store.
    pub fn latest(&self) -> Result<Table, TableError> {
        let neighbours = self.neighbours()?;
        let Some(own) = self.id() else { return Ok(self.clone()) };
        let parents: HashMap<Ulid, Vec<Ulid>> =
            neighbours.iter().filter_map(|table| Some((table.id()?, table.parents()))).collect();
        let has_children = |id: Ulid| parents.values().any(|parents| parents.contains(&id));
        let is_latest =
            |table: &&Table| table.id().is_some_and(|id| id != own && is_above(&parents, own, id) && !has_children(id));
        Ok(neighbours.iter().rfind(is_latest).unwrap_or(self).clone())
    }

    /// Whether it was made of `other`, in one step or several, or is that table.
    ///
    /// # Errors
    /// A failing store.
    pub fn is_descendant_of(&self, other: &Table) -> Result<bool, TableError> {
        let (Some(own), Some(ancestor)) = (self.id(), other.id()) else {
            return Ok(self.url() == other.url());
        };
        let mut parents: HashMap<Ulid, Vec<Ulid>> = HashMap::new();
        for table in self.neighbours()? {
            parents.extend(table.id().map(|id| (id, table.parents())));
        }
        parents.insert(own, self.parents());
        Ok(is_above(&parents, ancestor, own))
    }

    /// The tables of the same folder, oldest first.
    pub(super) fn neighbours(&self) -> Result<Vec<Table>, TableError> {
        let Some(folder) = self.url().parent() else { return Ok(vec![self.clone()]) };
        let mut tables = Vec::new();
        for url in self.store.list_tables(&folder)? {
            match Self::from_url(self.store.clone(), &url) {
                Ok(table) => tables.push(table),
                Err(error) => tracing::warn!(table = %url, %error, "left out of the revisions: it cannot be read"),
            }
        }
        // Identities grow with time.
        tables.sort_by_key(Table::id);
        Ok(tables)
    }

    /// Whether `other` is among its inputs.
    pub(super) fn is_made_from(&self, other: &Table) -> bool {
        let (id, inputs) = (other.id(), self.lineage().map(|lineage| lineage.inputs).unwrap_or_default());
        inputs.iter().any(|input| (id.is_some() && input.table_id == id) || input.url == *other.url())
    }

    /// Whether its rows are of the samples of `other`, as far as names tell: they are unique, and a place that is
    /// relative to a project is not known here.
    pub(super) fn describes(&self, other: &Table) -> Result<bool, TableError> {
        let places = Places::new(other.url().parent().unwrap_or_else(|| other.url().clone()));
        let foreign = self.info.foreign_table(&places)?;
        Ok(foreign.is_some_and(|foreign| foreign.file_name() == other.url().file_name()))
    }

    fn id(&self) -> Option<Ulid> {
        self.lineage().map(|lineage| lineage.table_id)
    }

    fn parents(&self) -> Vec<Ulid> {
        let inputs = self.lineage().map(|lineage| lineage.inputs).unwrap_or_default();
        inputs.into_iter().filter_map(|input| input.table_id).collect()
    }
}

/// Whether `ancestor` is `of` or above it. Lineage comes from files, so it may be circular.
fn is_above(parents: &HashMap<Ulid, Vec<Ulid>>, ancestor: Ulid, of: Ulid) -> bool {
    let mut seen = std::collections::HashSet::new();
    let mut waiting = vec![of];
    while let Some(id) = waiting.pop() {
        if id == ancestor {
            return true;
        }
        if seen.insert(id) {
            waiting.extend(parents.get(&id).into_iter().flatten());
        }
    }
    false
}
