//! Everything that a project holds, and what of it is needed by what else.

use std::fmt;

use tlc_core::ulid::Ulid;
use tlc_core::{LineageInput, Places, StoreError, TableInfo, Url};

use crate::reduce::PIECES_SUFFIX;
use crate::{ListedRun, Project, RunError, RunRecord};

/// Folders below the project that are looked into for tables.
pub(crate) const DEPTH: usize = 6;

/// Everything that a project holds, at one time.
#[derive(Debug)]
pub struct Inventory {
    places: Places,
    /// Its tables, sorted by URL.
    pub tables: Vec<TableInfo>,
    /// Tables that cannot be opened, and why.
    pub damaged_tables: Vec<(Url, StoreError)>,
    /// Its runs by name.
    pub runs: Vec<(String, RunRecord)>,
    /// Runs whose record cannot be read, and why.
    pub damaged_runs: Vec<(String, RunError)>,
}

/// For what a table is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// A run lists it among its metrics tables.
    Run(String),
    /// This table was made from it, and could not be made again.
    MadeFrom(Url),
    /// This table describes its rows.
    Describes(Url),
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Need::Run(name) => write!(f, "run {name:?} lists it"),
            Need::MadeFrom(url) => write!(f, "{url} was made from it"),
            Need::Describes(url) => write!(f, "{url} describes its rows"),
        }
    }
}

impl Project {
    /// Looks at all tables and runs, without reading rows.
    ///
    /// # Errors
    /// A failing store; what is damaged is part of the answer.
    pub fn inventory(&self) -> Result<Inventory, RunError> {
        let mut inventory = Inventory {
            places: self.places().clone(),
            tables: Vec::new(),
            damaged_tables: Vec::new(),
            runs: Vec::new(),
            damaged_runs: Vec::new(),
        };
        for url in self.table_urls()? {
            match self.store().info(&url) {
                Ok(info) => inventory.tables.push(info),
                // Somebody deleted it meanwhile.
                Err(StoreError::NotFound { .. }) => {}
                Err(error) => inventory.damaged_tables.push((url, error)),
            }
        }
        for ListedRun { name, record } in self.runs()? {
            match record {
                Ok(record) => inventory.runs.push((name, record)),
                Err(error) => inventory.damaged_runs.push((name, error)),
            }
        }
        Ok(inventory)
    }

    /// The places of its tables, sorted; none is opened.
    pub(crate) fn table_urls(&self) -> Result<Vec<Url>, RunError> {
        let mut urls = Vec::new();
        self.look_into(self.root(), DEPTH, &mut urls)?;
        urls.sort();
        Ok(urls)
    }

    fn look_into(&self, folder: &Url, depth: usize, urls: &mut Vec<Url>) -> Result<(), RunError> {
        urls.extend(self.store().list_tables(folder)?);
        for name in self.store().list_folders(folder)? {
            // What is called so is a table, what is left of one, or parts of one that is being made.
            if depth > 0 && !name.contains(".lance") && !name.ends_with(PIECES_SUFFIX) {
                self.look_into(&folder.join(&name)?, depth - 1, urls)?;
            }
        }
        Ok(())
    }
}

impl Inventory {
    /// The table at `url`.
    pub fn table(&self, url: &Url) -> Option<&TableInfo> {
        self.tables.iter().find(|info| info.url == *url)
    }

    /// The table with this identity, wherever it is.
    pub fn table_with_id(&self, id: Ulid) -> Option<&TableInfo> {
        self.tables.iter().find(|info| id_of(info) == Some(id))
    }

    /// Whether the table was written for a run whose record does not list it: what a killed writer leaves, or what
    /// another one has not recorded yet.
    pub fn is_leftover(&self, info: &TableInfo) -> bool {
        let Some(run) = info.lineage().and_then(|lineage| lineage.run) else { return false };
        let own = info.url.relative_to(self.places.root());
        let is_listed =
            |record: &RunRecord| record.metrics.iter().any(|entry| entry.url == own) || record.to_delete.contains(&own);
        let of_run = self.runs.iter().find(|(name, _)| run.file_name() == name);
        of_run.is_some_and(|(_, record)| !is_listed(record))
    }

    /// Who needs the table at `url`, and for what. Leftovers need nothing.
    pub fn needs(&self, url: &Url) -> Vec<Need> {
        let is_it = |other: &Url| self.places.expanded_if_known(other).is_ok_and(|other| other == *url);
        // Also by its identity: what names it absolutely may have been written before the project was moved.
        let own = self.table(url).and_then(id_of);
        let is_read = |input: &LineageInput| is_it(&input.url) || (own.is_some() && input.table_id == own);
        let mut needs = Vec::new();
        for (name, record) in &self.runs {
            if record.metrics.iter().any(|entry| is_it(&entry.url)) {
                needs.push(Need::Run(name.clone()));
            }
        }
        for info in self.tables.iter().filter(|info| info.url != *url && !self.is_leftover(info)) {
            if info.lineage().is_some_and(|lineage| lineage.inputs.iter().any(is_read)) {
                needs.push(Need::MadeFrom(info.url.clone()));
            }
            if info.foreign_table(&self.places).is_ok_and(|foreign| foreign.is_some_and(|foreign| foreign == *url)) {
                needs.push(Need::Describes(info.url.clone()));
            }
        }
        needs
    }
}

/// The identity that a table says it has.
pub(crate) fn id_of(info: &TableInfo) -> Option<Ulid> {
    info.lineage().map(|lineage| lineage.table_id)
}
