//! Everything that a project holds, and what of it is needed by what else.

use std::collections::BTreeSet;
use std::fmt;

use tlc_core::ulid::Ulid;
use tlc_core::{Lineage, Places, StoreError, TableInfo, Url};

use crate::links::Links;
use crate::reduce::PIECES_SUFFIX;
use crate::{ListedRun, Project, RunError, RunRecord};

/// How often a table is tried to be opened that a store fails to open.
const ATTEMPTS: usize = 3;
/// Folders below the project that are looked into for tables.
pub(crate) const DEPTH: usize = 6;

/// Everything that a project holds, at one time.
#[derive(Debug)]
pub struct Inventory {
    places: Places,
    links: Links,
    /// Of each of the `tables`.
    lineages: Vec<Option<Lineage>>,
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
    /// This table was made with a model that goes with it.
    UsesModel(Url),
    /// This table or run cannot be read, and may need it.
    Unknown(Url),
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Need::Run(name) => write!(f, "run {name:?} lists it"),
            Need::MadeFrom(url) => write!(f, "{url} was made from it"),
            Need::Describes(url) => write!(f, "{url} describes its rows"),
            Need::UsesModel(url) => write!(f, "{url} was made with a model of it"),
            Need::Unknown(url) => write!(f, "{url} cannot be read, and may need it"),
        }
    }
}

impl Project {
    /// Looks at all tables and runs, without reading rows.
    ///
    /// # Errors
    /// A failing store; what is damaged is part of the answer.
    pub fn inventory(&self) -> Result<Inventory, RunError> {
        let (mut tables, mut damaged_tables) = (Vec::new(), Vec::new());
        for url in self.table_urls()? {
            match self.look_at(&url) {
                Ok(info) => tables.push(info),
                // Somebody deleted it meanwhile; or it is another program's, which has no lineage and so needs nothing.
                Err(StoreError::NotFound { .. } | StoreError::ManyVersions { .. }) => {}
                Err(error) => damaged_tables.push((url, error)),
            }
        }
        self.inventory_of(tables, damaged_tables)
    }

    /// A store that fails is asked again: what cannot be read holds back deletions, also when the store is well again.
    fn look_at(&self, url: &Url) -> Result<TableInfo, StoreError> {
        for _ in 1..ATTEMPTS {
            match self.store().info(url) {
                Err(StoreError::Backend { .. }) => {}
                known => return known,
            }
        }
        self.store().info(url)
    }

    /// These tables beside the runs as they are now: a table is recorded after it was written, so runs are read last.
    pub(crate) fn inventory_of(
        &self,
        tables: Vec<TableInfo>,
        damaged_tables: Vec<(Url, StoreError)>,
    ) -> Result<Inventory, RunError> {
        let links = Links::below(self.root());
        let (mut runs, mut damaged_runs) = (Vec::new(), Vec::new());
        for ListedRun { name, record } in self.runs()? {
            match record {
                _ if links.is_second_way(&self.root().join("runs")?.join(&name)?) => {}
                Ok(record) => runs.push((name, record)),
                Err(error) => damaged_runs.push((name, error)),
            }
        }
        let lineages = tables.iter().map(TableInfo::lineage).collect();
        Ok(Inventory { places: self.places().clone(), links, lineages, tables, damaged_tables, runs, damaged_runs })
    }

    /// The places of its tables, sorted; none is opened.
    pub(crate) fn table_urls(&self) -> Result<Vec<Url>, RunError> {
        let mut urls = Vec::new();
        self.look_into(self.root(), DEPTH, &Links::below(self.root()), &mut urls)?;
        urls.sort();
        Ok(urls)
    }

    /// A link within the project shows what is found anyway; one that leads out of it shows data that lie elsewhere.
    fn look_into(&self, folder: &Url, depth: usize, links: &Links, urls: &mut Vec<Url>) -> Result<(), RunError> {
        urls.extend(self.store().list_tables(folder)?.into_iter().filter(|url| !links.is_second_way(url)));
        for name in self.store().list_folders(folder)? {
            let url = folder.join(&name)?;
            // What is called so is a table, what is left of one, or parts of one that is being made.
            let is_of_table = name.contains(".lance") || name.ends_with(PIECES_SUFFIX);
            if depth > 0 && !is_of_table && !links.is_second_way(&url) {
                self.look_into(&url, depth - 1, links, urls)?;
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

    /// Whether the table was written for a run, lies in that run's folder, and no record lists it: what a killed writer
    /// leaves, or what another one has not recorded yet. One that was copied, renamed with its run, or is reached through
    /// a link is none; nor is any while a record cannot be read, which may list it.
    pub fn is_leftover(&self, info: &TableInfo) -> bool {
        let Some(lineage) = info.lineage() else { return false };
        let Some(run) = lineage.run.as_ref().map(Url::file_name) else { return false };
        let own = info.url.relative_to(self.places.root());
        let is_listed = |record: &RunRecord| {
            record.metrics.iter().any(|entry| entry.table_id == lineage.table_id || entry.url == own)
                || record.to_delete.contains(&own)
        };
        self.damaged_runs.is_empty()
            && self.runs.iter().any(|(name, _)| name == run)
            && self.run_folder(run).is_some_and(|folder| info.url.is_within(&folder))
            && self.links.followed(&info.url) == info.url
            && !self.runs.iter().any(|(_, record)| is_listed(record))
    }

    /// Who needs the table at `url`, or something in that folder, and for what; also by its identity, since a URL may have
    /// been written before something was moved. Leftovers need nothing; what cannot be read may need anything.
    pub fn needs(&self, url: &Url) -> Vec<Need> {
        let place = self.links.followed(url);
        let is_in = |other: &Url| {
            let absolute = self.places.expanded_if_known(other);
            absolute.is_ok_and(|other| self.links.followed(&other).is_within(&place))
        };
        let tables = || self.tables.iter().zip(&self.lineages);
        let own = tables().filter(|(info, _)| is_in(&info.url));
        let ids: BTreeSet<Ulid> = own.filter_map(|(_, lineage)| Some(lineage.as_ref()?.table_id)).collect();
        let is_it = |url: &Url, id: Option<Ulid>| id.is_some_and(|id| ids.contains(&id)) || is_in(url);
        let is_run_in = |name: &str| self.run_folder(name).is_some_and(|folder| is_in(&folder));
        let mut needs = Vec::new();
        for (name, record) in self.runs.iter().filter(|(name, _)| !is_run_in(name)) {
            if record.metrics.iter().any(|entry| is_it(&entry.url, Some(entry.table_id))) {
                needs.push(Need::Run(name.clone()));
            }
        }
        for (info, lineage) in tables().filter(|(info, _)| !is_in(&info.url)) {
            let inputs = lineage.iter().flat_map(|lineage| &lineage.inputs);
            let models = lineage.iter().flat_map(|lineage| lineage.models.values());
            let mut its = Vec::new();
            if inputs.into_iter().any(|input| is_it(&input.url, input.table_id)) {
                its.push(Need::MadeFrom(info.url.clone()));
            }
            if info.foreign_table(&self.places).is_ok_and(|foreign| foreign.is_some_and(|foreign| is_in(&foreign))) {
                its.push(Need::Describes(info.url.clone()));
            }
            if models.into_iter().any(|model| is_in(&model.url)) {
                its.push(Need::UsesModel(info.url.clone()));
            }
            if !its.is_empty() && !self.is_leftover(info) {
                needs.append(&mut its);
            }
        }
        let damaged_tables = self.damaged_tables.iter().map(|(url, _)| url.clone());
        let damaged_runs = self.damaged_runs.iter().filter_map(|(name, _)| self.run_folder(name));
        needs.extend(damaged_tables.chain(damaged_runs).filter(|url| !is_in(url)).map(Need::Unknown));
        needs
    }

    fn run_folder(&self, name: &str) -> Option<Url> {
        self.places.root().join("runs").and_then(|runs| runs.join(name)).ok()
    }
}

/// The identity that a table says it has.
pub(crate) fn id_of(info: &TableInfo) -> Option<Ulid> {
    info.lineage().map(|lineage| lineage.table_id)
}
