//! What was deleted, when, by whom, and what took its place.
//!
//! A note is written before the table disappears, so a deleted table can be explained for ever; one whose table is
//! still there belongs to a deletion that was interrupted: the run's record still says so, and the next reduction
//! finishes it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tlc_core::ulid::Ulid;
use tlc_core::{StoreError, TableInfo, Url, WriteCondition};

use crate::links::{Links, is_link};
use crate::{PRODUCER, Project, RunError};

/// The log's name in a project's folder.
const FILE: &str = "deletions.json";
const FORMAT: &str = "tlc.deletions/1";

/// A note on a table that was deleted. URLs are relative to the project where they lie inside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deletion {
    /// Where it was.
    pub url: Url,
    /// Its identity, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_id: Option<Ulid>,
    /// Its number of rows.
    pub rows: u64,
    /// Its content digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// When it was deleted.
    pub deleted: Timestamp,
    /// User and program.
    pub by: String,
    /// The tables that took its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced_by: Vec<Url>,
}

#[derive(Serialize, Deserialize)]
struct Log {
    schema: String,
    deletions: Vec<Deletion>,
}

impl Project {
    /// What was deleted, oldest first.
    ///
    /// # Errors
    /// An unreadable log; a failing store.
    pub fn deletions(&self) -> Result<Vec<Deletion>, RunError> {
        Ok(self.read_log()?.0.deletions)
    }

    /// Deletes the table at `url`, after a note in the log. Unless it is `forced`, a table stays that a run lists, that
    /// describes what another table is about, or that another was made from; and any, while something cannot be read that may
    /// need it.
    ///
    /// # Errors
    /// [`RunError::Needed`], with who needs it; [`RunError::Outside`]; [`StoreError::NotFound`]; a failing store.
    pub fn delete_table(&self, url: &Url, forced: bool) -> Result<(), RunError> {
        let url = self.inside(url)?;
        self.check_deletable(&url)?;
        let url = self.behind_links(&url)?;
        let found = self.store().info(&url);
        if !(forced && self.is_table(&url)?) {
            found?;
        }
        if !forced {
            self.check_unneeded(&url)?;
        }
        self.delete_recorded(&url, Vec::new())
    }

    /// The place without the links that lead to it, which is what records and lineages name; a link itself stays one.
    fn behind_links(&self, url: &Url) -> Result<Url, RunError> {
        match url.parent() {
            Some(folder) => Ok(Links::below(self.root()).followed(&folder).join(url.file_name())?),
            None => Ok(url.clone()),
        }
    }

    /// Whether a table is there, readable or not.
    fn is_table(&self, url: &Url) -> Result<bool, RunError> {
        let Some(folder) = url.parent() else { return Ok(false) };
        Ok(self.store().list_tables(&folder)?.contains(url))
    }

    /// Refuses what is not in the project, or what a symbolic link takes out of it: the text of a URL does not show it, and
    /// whoever wrote the record or unpacked the project may have made it. A link itself may be deleted, since that is all
    /// that goes.
    pub(crate) fn check_deletable(&self, url: &Url) -> Result<(), RunError> {
        // The rest of it would be deleted as well.
        url.refuse_version()?;
        let leads_in = |folder: Url| Links::below(self.root()).is_inside(&folder);
        match url.is_within(self.root()) && url.parent().is_some_and(leads_in) {
            true => Ok(()),
            false => Err(RunError::Outside { url: url.clone(), project: self.root().clone() }),
        }
    }

    /// Refuses to write to what is not in the project, the place itself included.
    pub(crate) fn check_writable(&self, url: &Url) -> Result<(), RunError> {
        match url.is_within(self.root()) && Links::below(self.root()).is_inside(url) {
            true => Ok(()),
            false => Err(RunError::Outside { url: url.clone(), project: self.root().clone() }),
        }
    }

    /// Notes and deletes; nothing at `url` is fine. Of a link only the link goes, so there is nothing to note.
    pub(crate) fn delete_recorded(&self, url: &Url, replaced_by: Vec<Url>) -> Result<(), RunError> {
        self.check_deletable(url)?;
        if !is_link(url) {
            self.note_deletion(url, replaced_by)?;
        }
        match self.store().delete(url) {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses what something else needs.
    pub(crate) fn check_unneeded(&self, url: &Url) -> Result<(), RunError> {
        let needs: Vec<String> = self.inventory()?.needs(url).iter().map(ToString::to_string).collect();
        match needs.is_empty() {
            true => Ok(()),
            false => Err(RunError::Needed { url: url.clone(), needs: needs.join("; ") }),
        }
    }

    /// Notes that the table at `url` is about to be deleted; nothing there is fine.
    fn note_deletion(&self, url: &Url, replaced_by: Vec<Url>) -> Result<(), RunError> {
        let info = match self.store().info(url) {
            Ok(info) => Some(info),
            Err(StoreError::NotFound { .. }) => return Ok(()),
            // What cannot be read any more is deleted all the same.
            Err(_) if self.is_table(url)? => None,
            Err(error) => return Err(error.into()),
        };
        let root = self.root();
        let replaced_by = replaced_by.into_iter().map(|url| url.relative_to(root)).collect();
        self.write_notes(vec![Deletion { replaced_by, ..note(url.relative_to(root), info.as_ref()) }])
    }

    /// Notes that all tables below `folder` are about to be deleted.
    pub(crate) fn note_deletions_below(&self, folder: &Url) -> Result<(), RunError> {
        let inventory = self.inventory()?;
        let readable = inventory.tables.iter().map(|info| (&info.url, Some(info)));
        let damaged = inventory.damaged_tables.iter().map(|(url, _)| (url, None));
        let below = readable.chain(damaged).filter(|(url, _)| url.is_within(folder));
        self.write_notes(below.map(|(url, info)| note(url.relative_to(self.root()), info)).collect())
    }

    /// Adds those notes that are not in the log yet.
    fn write_notes(&self, notes: Vec<Deletion>) -> Result<(), RunError> {
        loop {
            let (mut log, condition) = self.read_log()?;
            let is_known = |note: &&Deletion| {
                log.deletions.iter().any(|known| known.url == note.url && known.table_id == note.table_id)
            };
            let new: Vec<Deletion> = notes.iter().filter(|note| !is_known(note)).cloned().collect();
            if new.is_empty() {
                return Ok(());
            }
            log.deletions.extend(new);
            let content = serde_json::to_vec_pretty(&log).expect("a log is plain data");
            match self.store().write_object(&self.root().join(FILE)?, &content, condition) {
                Err(StoreError::Conflict { .. } | StoreError::AlreadyExists { .. }) => {}
                result => return result.map(|_| ()).map_err(RunError::from),
            }
        }
    }

    /// The log, and the condition under which it may be replaced.
    fn read_log(&self) -> Result<(Log, WriteCondition), RunError> {
        let url = self.root().join(FILE)?;
        let (content, version) = match self.store().read_object(&url) {
            Ok(read) => read,
            Err(StoreError::NotFound { .. }) => {
                let log = Log { schema: FORMAT.to_owned(), deletions: Vec::new() };
                return Ok((log, WriteCondition::Absent));
            }
            Err(error) => return Err(error.into()),
        };
        let unreadable = |reason: String| RunError::Record { url: url.clone(), reason };
        let log: Log = serde_json::from_slice(&content).map_err(|error| unreadable(error.to_string()))?;
        if log.schema != FORMAT {
            return Err(unreadable(format!("its format is {:?}; this version reads {FORMAT:?}", log.schema)));
        }
        Ok((log, WriteCondition::Unchanged(version)))
    }
}

/// A note on a table of which `info` is known, if it could be read.
fn note(url: Url, info: Option<&TableInfo>) -> Deletion {
    Deletion {
        url,
        table_id: info.and_then(TableInfo::lineage).map(|lineage| lineage.table_id),
        rows: info.map_or(0, |info| info.rows),
        digest: info.and_then(|info| info.digest.clone()),
        deleted: Timestamp::now(),
        by: who(),
        replaced_by: Vec::new(),
    }
}

/// The user, as far as the environment says, and the program.
fn who() -> String {
    let user = ["USER", "USERNAME", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    match user {
        Some(user) => format!("{user} with {PRODUCER}"),
        None => PRODUCER.to_owned(),
    }
}
