//! What is wrong with a project, and how it is put right.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use tlc_core::ulid::Ulid;
use tlc_core::{Lineage, ModelRef, Progress, StoreError, TableInfo, Url};

use crate::inventory::{DEPTH, id_of};
use crate::reduce::{PIECES_SUFFIX, check_model};
use crate::{Project, RunError};

/// How a project is looked over.
#[derive(Debug, Clone)]
pub struct DoctorOptions {
    /// Whether what can be put right is. Default false: it is only told.
    pub repair: bool,
    /// Whether all rows are read and compared with their digests. Default true.
    pub verify: bool,
    /// What is younger may belong to somebody who is still at work, and is let be. Default one hour.
    pub least_age: Duration,
}

impl Default for DoctorOptions {
    fn default() -> Self {
        Self { repair: false, verify: true, least_age: Duration::from_secs(3600) }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub problem: Problem,
    /// Where.
    pub url: Url,
    /// Whether it was put right.
    pub is_repaired: bool,
}

/// What can be wrong with a project.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// A table that cannot be opened, or whose rows are not those that were written. Cannot be put right.
    DamagedTable(String),
    /// A table with a manifest that is torn or lost, while its rows are whole. Put right: by a copy, or where another
    /// program left a torn one, by setting that aside. Nothing is deleted.
    TornManifest(String),
    /// A model, which a table was made with, whose files are not those that were written. Cannot be put right.
    DamagedModel(String),
    /// A run whose record cannot be read. Cannot be put right.
    DamagedRun(String),
    /// A run lists a table that is not there. Put right: the entry is removed.
    MissingTable {
        /// The run.
        run: String,
    },
    /// A table that was replaced and was to be deleted. Put right: it is.
    InterruptedDeletion,
    /// A table that was written for a run which does not list it. Put right: it is deleted.
    UnlistedTable,
    /// What a writer left that was killed before its table was whole. Put right: it is removed.
    UnfinishedTable,
    /// A model that no table was made with. Put right: it is removed.
    UnusedModel,
    /// What is finished of a reduction that was stopped; it goes on from there when it is asked for again. Put right: it
    /// is removed.
    InterruptedReduction,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DamagedTable(reason) => {
                write!(f, "damaged: {reason}; restore it from a copy, or delete it with `tlc rm --force`")
            }
            Self::DamagedModel(reason) => {
                write!(f, "damaged: {reason}; restore it from a copy: new rows cannot be placed with it")
            }
            Self::TornManifest(reason) => f.write_str(reason),
            Self::DamagedRun(reason) => write!(f, "its record cannot be read: {reason}; restore run.json from a copy"),
            Self::MissingTable { run } => write!(f, "run {run:?} lists it, but it is not there"),
            Self::InterruptedDeletion => f.write_str("was replaced and is to be deleted; the deletion was interrupted"),
            Self::UnlistedTable => f.write_str("was written for a run that does not list it; its writer was stopped"),
            Self::UnfinishedTable => f.write_str("no whole table; its writer, or its deletion, was stopped"),
            Self::UnusedModel => f.write_str("no table was made with this model; its writer was stopped"),
            Self::InterruptedReduction => f.write_str(
                "finished pieces of a reduction that was stopped; reduce again to go on, or remove them by a repair",
            ),
        }
    }
}

impl Project {
    /// Looks for what is damaged and what was left half done, and puts right what can be, if that is asked for.
    ///
    /// # Errors
    /// A failing store; cancellation. What was put right until then stays so.
    pub fn doctor(&self, options: &DoctorOptions, progress: &Progress) -> Result<Vec<Finding>, RunError> {
        let inventory = self.inventory()?;
        let mut findings = Vec::new();
        // What a store can put right is looked for first: it would seem to be damaged, or no table at all.
        let unfinished = self.unfinished_tables(self.root(), DEPTH)?;
        let mut torn = BTreeSet::new();
        let tables = inventory.tables.iter().map(|info| &info.url);
        for url in tables.chain(inventory.damaged_tables.iter().map(|(url, _)| url)).chain(&unfinished) {
            if let Some(reason) = self.store().repair(url, true, progress)? {
                torn.insert(url.clone());
                findings.push((url.clone(), Problem::TornManifest(reason)));
            }
        }
        for (url, error) in inventory.damaged_tables.iter().filter(|(url, _)| !torn.contains(url)) {
            findings.push((url.clone(), damaged(error)));
        }
        for (name, error) in &inventory.damaged_runs {
            findings.push((self.root().join("runs")?.join(name)?, Problem::DamagedRun(error.to_string())));
        }
        for info in inventory.tables.iter().filter(|info| options.verify && !torn.contains(&info.url)) {
            match self.store().verify(&info.url, progress) {
                Ok(()) | Err(StoreError::NotFound { .. }) => {}
                Err(StoreError::Cancelled(cancelled)) => return Err(cancelled.into()),
                Err(error) => findings.push((info.url.clone(), damaged(&error))),
            }
        }
        if options.verify {
            findings.extend(self.damaged_models(&inventory.tables)?);
        }
        for (name, record) in &inventory.runs {
            for url in &record.to_delete {
                findings.push((self.inside(url)?, Problem::InterruptedDeletion));
            }
            for entry in &record.metrics {
                let url = self.inside(&entry.url)?;
                if inventory.table(&url).is_none()
                    && !torn.contains(&url)
                    && !inventory.damaged_tables.iter().any(|(damaged, _)| *damaged == url)
                {
                    findings.push((url, Problem::MissingTable { run: name.clone() }));
                }
            }
        }
        let is_old = |id: Option<Ulid>| id.is_none_or(|id| age(id) >= options.least_age);
        let leftovers = inventory.tables.iter().filter(|info| inventory.is_leftover(info) && is_old(id_of(info)));
        findings.extend(leftovers.map(|info| (info.url.clone(), Problem::UnlistedTable)));
        for url in unfinished.into_iter().filter(|url| !torn.contains(url)) {
            if is_old(id_in_name(&url)) {
                findings.push((url, Problem::UnfinishedTable));
            }
        }
        let interrupted = self.interrupted_reductions()?;
        let old_pieces = interrupted.iter().filter(|it| is_old(it.newest));
        findings.extend(old_pieces.map(|it| (it.folder.clone(), Problem::InterruptedReduction)));
        let of_interrupted: Vec<&Lineage> =
            interrupted.iter().filter(|it| !is_old(it.newest)).filter_map(|it| it.lineage.as_ref()).collect();
        // What cannot be read may have been made with any of them.
        let is_any_unreadable = !inventory.damaged_tables.is_empty() || !torn.is_empty();
        for url in self.models()?.into_iter().filter(|_| !is_any_unreadable) {
            let names_it = |lineage: &Lineage| {
                let models = lineage.models.values();
                models.into_iter().any(|model| self.places().expanded(&model.url).is_ok_and(|used| used == url))
            };
            let is_used = |info: &TableInfo| info.lineage().is_some_and(|lineage| names_it(&lineage));
            let is_in_use = of_interrupted.iter().any(|lineage| names_it(lineage));
            if is_old(id_in_name(&url)) && !is_in_use && !inventory.tables.iter().any(is_used) {
                findings.push((url, Problem::UnusedModel));
            }
        }
        let mut result = Vec::new();
        for (url, problem) in findings {
            let is_repaired = options.repair && self.put_right(&url, &problem, progress)?;
            result.push(Finding { problem, url, is_repaired });
        }
        Ok(result)
    }

    /// Puts right what can be. Whether it could.
    fn put_right(&self, url: &Url, problem: &Problem, progress: &Progress) -> Result<bool, RunError> {
        match problem {
            Problem::DamagedTable(_) | Problem::DamagedModel(_) | Problem::DamagedRun(_) => return Ok(false),
            Problem::TornManifest(_) => return Ok(self.store().repair(url, false, progress)?.is_some()),
            Problem::MissingTable { run } => {
                let relative = url.relative_to(self.root());
                self.open_run(run)?.update(|record| record.metrics.retain(|entry| entry.url != relative))?;
            }
            Problem::InterruptedDeletion => {
                let run = url.parent().and_then(|folder| folder.parent());
                let Some(run) = run else { return Ok(false) };
                self.open_run(run.file_name())?.finish_deletions()?;
            }
            Problem::UnlistedTable => self.delete_recorded(url, Vec::new())?,
            Problem::UnfinishedTable | Problem::UnusedModel | Problem::InterruptedReduction => {
                self.check_deletable(url)?;
                self.store().delete_folder(url)?;
            }
        }
        Ok(true)
    }

    /// The models that `tables` were made with and that are there, but not as they were written.
    fn damaged_models(&self, tables: &[TableInfo]) -> Result<Vec<(Url, Problem)>, RunError> {
        let lineages = tables.iter().filter_map(TableInfo::lineage);
        let models: BTreeMap<Url, ModelRef> = lineages
            .flat_map(|lineage| lineage.models.into_values())
            .filter_map(|model| Some((self.inside(&model.url).ok()?, model)))
            .collect();
        let mut found = Vec::new();
        for (url, model) in models {
            match check_model(self, &model) {
                Ok(()) | Err(RunError::Store(StoreError::NotFound { .. })) => {}
                Err(RunError::Model { source, .. }) => found.push((url, Problem::DamagedModel(words(&source)))),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Folders that are called as tables are, and are none.
    fn unfinished_tables(&self, folder: &Url, depth: usize) -> Result<Vec<Url>, RunError> {
        let mut found = Vec::new();
        for name in self.store().list_folders(folder)? {
            let url = folder.join(&name)?;
            if !name.contains(".lance") {
                if depth > 0 && !name.ends_with(PIECES_SUFFIX) {
                    found.extend(self.unfinished_tables(&url, depth - 1)?);
                }
            } else if self.store().info(&url).is_err_and(|error| matches!(error, StoreError::NotFound { .. })) {
                found.push(url);
            }
        }
        Ok(found)
    }

    /// The folders of models of all runs.
    fn models(&self) -> Result<Vec<Url>, RunError> {
        let runs = self.root().join("runs")?;
        let mut models = Vec::new();
        for run in self.store().list_folders(&runs)? {
            let folder = runs.join(&run)?.join("models")?;
            for name in self.store().list_folders(&folder)? {
                models.push(folder.join(&name)?);
            }
        }
        Ok(models)
    }
}

/// What went wrong, and why, in one line.
fn words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn damaged(error: &StoreError) -> Problem {
    Problem::DamagedTable(match error {
        StoreError::Damaged { reason, .. } => reason.clone(),
        other => other.to_string(),
    })
}

/// The identity in `name-<ulid>.lance`, `….lance.deleted-<ulid>` or `name-<ulid>`.
fn id_in_name(url: &Url) -> Option<Ulid> {
    let name = url.file_name().strip_suffix(".lance").unwrap_or(url.file_name());
    Ulid::from_string(name.rsplit_once('-')?.1).ok()
}

/// How long ago an identity was made; nothing for one from the future, as after a clock went backwards.
fn age(id: Ulid) -> Duration {
    let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
    Duration::from_millis(now.saturating_sub(id.timestamp_ms()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::{DataType, Field, Schema};
    use serde_json::Map;
    use tlc_core::{Lineage, MetricsSink, MetricsTable, Operation, TableStore, WriteCondition};

    use super::*;

    #[test]
    fn what_is_half_done_is_found_told_and_put_right() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Url::from_path(folder.path()).expect("an absolute path");
        let store = Arc::new(tlc_table::LanceStore::default());
        let project = Project::new(store.clone(), root.clone());
        let run = project.create_run("r", Map::new()).expect("creatable");
        let schema = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
        let add = |name: &str| {
            let lineage = Lineage::new("test/1", Operation::new("made-up", 1));
            let table = MetricsTable { name: name.into(), foreign_table: None, constants: Map::new(), lineage };
            run.write_metrics(table, &schema, Box::new(std::iter::empty())).expect("writable").url
        };
        let [whole, missing, doomed] = ["whole", "missing", "doomed"].map(add);
        let now = DoctorOptions { least_age: Duration::ZERO, ..DoctorOptions::default() };
        assert_eq!(project.doctor(&now, &Progress::default()).expect("sound"), []);

        store.delete(&missing).expect("deleted behind the run's back");
        let relative = doomed.relative_to(&root);
        run.update(|record| {
            record.metrics.retain(|entry| entry.url != relative);
            record.to_delete.push(relative.clone());
        })
        .expect("as a kill leaves it");
        let mut lineage = Lineage::new("test/1", Operation::new("made-up", 1));
        lineage.run = Some(run.url().relative_to(&root));
        let unlisted = run.url().join("reduced/x-01M85A000000000000000000000.lance").expect("a name");
        let empty = Box::new(std::iter::empty());
        store.create(&unlisted, Arc::new(lineage.write_into(&schema)), empty).expect("writable");
        let unfinished = run.url().join("metrics/y-01M85A000000000000000000000.lance").expect("a name");
        std::fs::create_dir_all(unfinished.to_path().expect("local").join("data")).expect("writable");
        let model = run.url().join("models/m-01M85A000000000000000000000").expect("a name");
        let file = model.join("model.json").expect("a name");
        store.write_object(&file, b"{}", WriteCondition::Absent).expect("writable");

        let found = project.doctor(&now, &Progress::default()).expect("readable");
        let problems: Vec<(Url, Problem)> = found.into_iter().map(|it| (it.url, it.problem)).collect();
        let expected = [
            (doomed.clone(), Problem::InterruptedDeletion),
            (missing, Problem::MissingTable { run: "r".into() }),
            (unlisted.clone(), Problem::UnlistedTable),
            (unfinished, Problem::UnfinishedTable),
            (model, Problem::UnusedModel),
        ];
        assert_eq!(problems, expected);
        assert!(store.info(&unlisted).is_ok() && store.info(&doomed).is_ok(), "nothing was touched");
        let careful = project.doctor(&DoctorOptions::default(), &Progress::default()).expect("readable");
        assert!(careful.iter().all(|it| it.url != unlisted), "its writer may still be at work");

        let repairing = DoctorOptions { repair: true, ..now };
        project.doctor(&repairing, &Progress::default()).expect("repaired");
        assert_eq!(project.doctor(&repairing, &Progress::default()).expect("sound again"), []);
        let left: Vec<Url> = run.metrics().expect("readable").into_iter().map(|entry| entry.url).collect();
        assert!(left == std::slice::from_ref(&whole), "{left:?}");

        let versions = whole.to_path().expect("local").join("_versions");
        let mut files = std::fs::read_dir(versions).expect("there").map(|entry| entry.expect("readable").path());
        let manifest = files.find(|file| file.extension().is_some_and(|e| e == "manifest")).expect("a manifest");
        std::fs::write(&manifest, b"torn").expect("writable");
        let project = Project::new(Arc::new(tlc_table::LanceStore::default()), root);
        let looking = DoctorOptions { repair: false, ..repairing };
        let found = project.doctor(&looking, &Progress::default()).expect("readable");
        assert!(matches!(&found[..], [it] if matches!(it.problem, Problem::TornManifest(_))), "{found:?}");
        assert_eq!(std::fs::read(&manifest).expect("there"), b"torn", "nothing was touched");
        let found = project.doctor(&repairing, &Progress::default()).expect("readable");
        assert!(found.len() == 1 && found[0].is_repaired, "{found:?}");
        assert_eq!(project.doctor(&looking, &Progress::default()).expect("sound again"), []);

        let copy = whole.to_path().expect("local").join("_tlc_manifest");
        std::fs::write(&manifest, b"torn").expect("writable");
        std::fs::remove_dir_all(copy).expect("the copy is lost, too");
        let found = project.doctor(&repairing, &Progress::default()).expect("readable");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(matches!(found[0].problem, Problem::DamagedTable(_)) && !found[0].is_repaired, "{found:?}");
        assert!(project.delete_table(&whole, false).is_err(), "not without being told to");
        project.delete_table(&whole, true).expect("forced");
        assert!(!whole.to_path().expect("local").exists());
    }
}
