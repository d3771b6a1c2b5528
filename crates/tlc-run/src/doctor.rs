//! What is wrong with a project, and how it is put right.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use tlc_core::ulid::Ulid;
use tlc_core::{Lineage, ModelRef, Progress, StoreError, TableInfo, Url, with_causes};

use crate::inventory::{DEPTH, id_of};
use crate::links::is_link;
use crate::reduce::{Interrupted, PIECES_SUFFIX, check_model};
use crate::{Inventory, Project, RunError};

/// How a project is looked over.
#[derive(Debug, Clone)]
pub struct DoctorOptions {
    /// Whether what can be put right is. Default false: it is only told.
    pub repair: bool,
    /// Whether all rows are read and compared with their digests. Default true.
    pub verify: bool,
    /// Where something was written more recently, somebody may still be at work, and it is let be. Default one hour.
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
    /// What was in the way of looking closer, or of putting it right.
    pub failure: Option<String>,
}

impl Finding {
    fn new(url: Url, problem: Problem) -> Self {
        Self { problem, url, is_repaired: false, failure: None }
    }
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
    /// A run lists something that is outside of the project, where it is not followed. Cannot be put right.
    Outside {
        /// The run.
        run: String,
    },
    /// A run lists a table that is not there. Put right: the entry gets the table's new place; it is removed if the table is
    /// nowhere in the project.
    MissingTable {
        /// The run.
        run: String,
    },
    /// A table that was replaced and was to be deleted. Put right: it is, if what took its place is whole and nothing else
    /// needs it.
    InterruptedDeletion {
        /// The run.
        run: String,
    },
    /// A table that was written for a run which does not list it. Put right: it is deleted.
    UnlistedTable,
    /// What a writer left that was killed before its table was whole. Put right: it is removed.
    UnfinishedTable,
    /// A model that no table was made with. Put right: it is removed.
    UnusedModel,
    /// What is finished of a reduction that was stopped; it goes on from there when it is asked for again. Put right: it
    /// is removed.
    InterruptedReduction,
    /// What a deletion (`x.lance.deleted-…`), or a write of a small object (`.run.json.deleted-…`, beside the one that it was
    /// to replace and did not), left that was killed; nothing else shows it. Put right: it is removed.
    Leftover,
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
            Self::Outside { run } => write!(f, "run {run:?} lists it, but it is outside of the project"),
            Self::InterruptedDeletion { .. } => {
                f.write_str("was replaced and is to be deleted; the deletion was interrupted")
            }
            Self::UnlistedTable => f.write_str("was written for a run that does not list it; its writer was stopped"),
            Self::UnfinishedTable => f.write_str("no whole table; its writer, or its deletion, was stopped"),
            Self::UnusedModel => f.write_str("no table was made with this model; its writer was stopped"),
            Self::InterruptedReduction => f.write_str(
                "finished pieces of a reduction that was stopped; reduce again to go on, or remove them by a repair",
            ),
            Self::Leftover => f.write_str(
                "there for nobody, but it takes space; a deletion, or the write of a small file, was stopped",
            ),
        }
    }
}

impl Project {
    /// Looks for what is damaged and what was left half done, and puts right what can be, if that is asked for.
    ///
    /// # Errors
    /// A store that cannot be looked through; cancellation. What was put right until then stays so. What cannot be looked
    /// at, or put right, is part of the answer.
    pub fn doctor(&self, options: &DoctorOptions, progress: &Progress) -> Result<Vec<Finding>, RunError> {
        let inventory = self.inventory()?;
        let mut findings = Vec::new();
        // What a store can put right is looked for first: it would seem to be damaged, or no table at all.
        let unfinished = self.unfinished_tables(self.root(), DEPTH)?;
        let mut torn = BTreeSet::new();
        let tables = inventory.tables.iter().map(|info| &info.url);
        for url in tables.chain(inventory.damaged_tables.iter().map(|(url, _)| url)).chain(&unfinished) {
            let problem = match self.store().repair(url, true, progress) {
                Ok(None) => continue,
                Ok(Some(reason)) => Problem::TornManifest(reason),
                Err(StoreError::Cancelled(cancelled)) => return Err(cancelled.into()),
                Err(error) => Problem::DamagedTable(with_causes(&error)),
            };
            torn.insert(url.clone());
            findings.push(Finding::new(url.clone(), problem));
        }
        for (url, error) in inventory.damaged_tables.iter().filter(|(url, _)| !torn.contains(url)) {
            findings.push(Finding::new(url.clone(), damaged(error)));
        }
        for (name, error) in &inventory.damaged_runs {
            let url = self.root().join("runs")?.join(name)?;
            findings.push(Finding::new(url, Problem::DamagedRun(error.to_string())));
        }
        for info in inventory.tables.iter().filter(|info| options.verify && !torn.contains(&info.url)) {
            match self.store().verify(&info.url, progress) {
                Ok(()) | Err(StoreError::NotFound { .. }) => {}
                Err(StoreError::Cancelled(cancelled)) => return Err(cancelled.into()),
                Err(error) => findings.push(Finding::new(info.url.clone(), damaged(&error))),
            }
        }
        if options.verify {
            findings.extend(self.damaged_models(&inventory.tables));
        }
        for (name, record) in &inventory.runs {
            let run = || name.clone();
            for url in &record.to_delete {
                findings.push(match self.inside(url) {
                    Ok(url) => Finding::new(url, Problem::InterruptedDeletion { run: run() }),
                    Err(_) => Finding::new(url.clone(), Problem::Outside { run: run() }),
                });
            }
            for entry in &record.metrics {
                let Ok(url) = self.inside(&entry.url) else {
                    findings.push(Finding::new(entry.url.clone(), Problem::Outside { run: run() }));
                    continue;
                };
                // Asked for by itself where it was not met: a link may lead to it.
                if inventory.table(&url).is_none() && !torn.contains(&url) && self.is_missing(&url) {
                    findings.push(Finding::new(url, Problem::MissingTable { run: run() }));
                }
            }
        }
        // What is half done may be somebody's work of this moment.
        let mut push_old = |url: Url, problem: Problem| {
            let age = self.is_old(&url, options.least_age);
            if !matches!(age, Ok(false)) {
                let failure = age.err().map(|error| with_causes(&error));
                findings.push(Finding { failure, ..Finding::new(url, problem) });
            }
        };
        for info in inventory.tables.iter().filter(|info| inventory.is_leftover(info)) {
            push_old(info.url.clone(), Problem::UnlistedTable);
        }
        for url in unfinished.into_iter().filter(|url| !torn.contains(url)) {
            push_old(url, Problem::UnfinishedTable);
        }
        for it in self.interrupted_reductions()?.iter().filter(|it| was_stopped(it, options.least_age)) {
            push_old(it.folder.clone(), Problem::InterruptedReduction);
        }
        let at_work = self.reductions_at_work(options.least_age)?;
        // What cannot be read may have been made with any of them.
        let is_any_unreadable = !inventory.damaged_tables.is_empty() || !torn.is_empty();
        for url in self.models()?.into_iter().filter(|_| !is_any_unreadable) {
            if !Self::is_used(&url, &inventory, &at_work) {
                push_old(url, Problem::UnusedModel);
            }
        }
        for url in self.leftovers(self.root(), DEPTH)? {
            push_old(url, Problem::Leftover);
        }
        if options.repair {
            for finding in findings.iter_mut().filter(|finding| finding.failure.is_none()) {
                match self.put_right(&finding.url, &finding.problem, options, progress) {
                    Ok(is_repaired) => finding.is_repaired = is_repaired,
                    Err(error) if error.is_cancelled() => return Err(error),
                    Err(error) => finding.failure = Some(with_causes(&error)),
                }
            }
        }
        Ok(findings)
    }

    /// Puts right what can be. Whether it could. The project was looked through some time ago, so each finding is looked at
    /// once more: what is no longer so is right already.
    fn put_right(
        &self,
        url: &Url,
        problem: &Problem,
        options: &DoctorOptions,
        progress: &Progress,
    ) -> Result<bool, RunError> {
        match problem {
            Problem::DamagedTable(_) | Problem::DamagedModel(_) | Problem::DamagedRun(_) | Problem::Outside { .. } => {
                return Ok(false);
            }
            Problem::TornManifest(_) => {
                self.check_writable(url)?;
                return Ok(self.store().repair(url, false, progress)?.is_some());
            }
            Problem::MissingTable { run } => self.find_or_forget(url, run)?,
            Problem::InterruptedDeletion { run } => {
                let run = self.open_run(run)?;
                let listed = run.record()?.to_delete.into_iter();
                let inventory = self.inventory()?;
                for source in listed.filter(|listed| self.inside(listed).is_ok_and(|listed| listed == *url)) {
                    run.finish_deletion(&source, &inventory)?;
                }
            }
            Problem::UnlistedTable => {
                let is_left = match self.store().info(url) {
                    Ok(info) => self.inventory_of(vec![info.clone()], Vec::new())?.is_leftover(&info),
                    Err(StoreError::NotFound { .. }) => false,
                    Err(error) => return Err(error.into()),
                };
                if is_left && self.is_old(url, options.least_age)? {
                    self.delete_recorded(url, Vec::new())?;
                }
            }
            Problem::UnfinishedTable => {
                if self.is_missing(url) && self.is_old(url, options.least_age)? {
                    self.remove(url)?;
                }
            }
            Problem::UnusedModel => {
                let inventory = self.inventory()?;
                let at_work = self.reductions_at_work(options.least_age)?;
                let is_unused = inventory.damaged_tables.is_empty() && !Self::is_used(url, &inventory, &at_work);
                if is_unused && self.is_old(url, options.least_age)? {
                    self.remove(url)?;
                }
            }
            Problem::InterruptedReduction => {
                let interrupted = self.interrupted_reductions()?;
                let is_stopped = interrupted.iter().any(|it| it.folder == *url && was_stopped(it, options.least_age));
                if is_stopped && self.is_old(url, options.least_age)? {
                    self.remove(url)?;
                }
            }
            Problem::Leftover => {
                if self.is_old(url, options.least_age)? {
                    self.remove(url)?;
                }
            }
        }
        Ok(true)
    }

    fn remove(&self, folder: &Url) -> Result<(), RunError> {
        self.check_deletable(folder)?;
        Ok(self.store().delete_folder(folder)?)
    }

    /// Corrects the entry of a table that is not where `run` lists it, as after its folder was renamed. It is forgotten only
    /// if the table is nowhere, and nothing that cannot be read may be it.
    fn find_or_forget(&self, url: &Url, run: &str) -> Result<(), RunError> {
        if !self.is_missing(url) {
            return Ok(());
        }
        let inventory = self.inventory()?;
        let run = self.open_run(run)?;
        let unreadable = inventory.damaged_tables.first().map(|(url, _)| url);
        run.try_update(|record| {
            let mut kept = Vec::new();
            for mut entry in std::mem::take(&mut record.metrics) {
                let is_it = self.inside(&entry.url).is_ok_and(|listed| listed == *url);
                // Of several copies the one in the run's own folder.
                let copies = || inventory.tables.iter().filter(|info| id_of(info) == Some(entry.table_id));
                let found = copies().find(|info| info.url.is_within(run.url())).or_else(|| copies().next());
                match (is_it, found, unreadable) {
                    (false, _, _) => {}
                    (true, Some(info), _) => entry.url = self.places().stored(&info.url),
                    (true, None, Some(unreadable)) => {
                        let reason = format!("{unreadable} cannot be read, and may be this table");
                        return Err(RunError::Repair { url: url.clone(), reason });
                    }
                    (true, None, None) => continue,
                }
                kept.push(entry);
            }
            record.metrics = kept;
            Ok(())
        })
    }

    /// Whether no whole table is there.
    fn is_missing(&self, url: &Url) -> bool {
        matches!(self.store().info(url), Err(StoreError::NotFound { .. }))
    }

    /// Whether a table was made with the model in folder `url`, or is being made by one of the reductions `at_work`: by its
    /// name, which no other has, since a run that was renamed or copied keeps its models although their URLs are other ones.
    fn is_used(url: &Url, inventory: &Inventory, at_work: &[Lineage]) -> bool {
        let names_it =
            |lineage: &Lineage| lineage.models.values().any(|model| model.url.file_name() == url.file_name());
        at_work.iter().any(names_it) || inventory.tables.iter().filter_map(TableInfo::lineage).any(|it| names_it(&it))
    }

    /// Of the reductions that have finished pieces of a table not long ago: of the tables to be.
    fn reductions_at_work(&self, least_age: Duration) -> Result<Vec<Lineage>, RunError> {
        let interrupted = self.interrupted_reductions()?.into_iter();
        let mut at_work = Vec::new();
        for it in interrupted {
            if !(was_stopped(&it, least_age) && self.is_old(&it.folder, least_age)?) {
                at_work.extend(it.lineage);
            }
        }
        Ok(at_work)
    }

    /// Whether what is there was begun, and last written to, at least `least_age` ago. One who is at work for long is known
    /// by what was written, one who is about to write by the name.
    fn is_old(&self, url: &Url, least_age: Duration) -> Result<bool, RunError> {
        if id_in_name(url).is_some_and(|id| age(id) < least_age) {
            return Ok(false);
        }
        // Nothing is older than nothing; a time to come is one of a clock that went backwards.
        let age = |time| SystemTime::now().duration_since(time).unwrap_or_default();
        Ok(self.store().last_modified(url)?.is_none_or(|time| age(time) >= least_age))
    }

    /// The models that `tables` were made with and that are there, but not as they were written.
    fn damaged_models(&self, tables: &[TableInfo]) -> Vec<Finding> {
        let lineages = tables.iter().filter_map(TableInfo::lineage);
        let models: BTreeMap<Url, ModelRef> = lineages
            .flat_map(|lineage| lineage.models.into_values())
            .filter_map(|model| Some((self.inside(&model.url).ok()?, model)))
            .collect();
        let mut found = Vec::new();
        for (url, model) in models {
            match check_model(self, &model) {
                Ok(()) | Err(RunError::Store(StoreError::NotFound { .. })) => {}
                Err(RunError::Model { source, .. }) => {
                    found.push(Finding::new(url, Problem::DamagedModel(with_causes(&source))));
                }
                Err(error) => found.push(Finding::new(url, Problem::DamagedModel(with_causes(&error)))),
            }
        }
        found
    }

    /// What was left that only the store knows of. Links are not followed, since it is looked for to be removed.
    fn leftovers(&self, folder: &Url, depth: usize) -> Result<Vec<Url>, RunError> {
        let mut found = self.store().list_leftovers(folder)?;
        for name in self.store().list_folders(folder)? {
            let url = folder.join(&name)?;
            let is_of_table = name.contains(".lance") || name.ends_with(PIECES_SUFFIX);
            if depth > 0 && !is_of_table && !is_link(&url) {
                found.extend(self.leftovers(&url, depth - 1)?);
            }
        }
        Ok(found)
    }

    /// Folders that are called as tables are, and are none; not through links.
    fn unfinished_tables(&self, folder: &Url, depth: usize) -> Result<Vec<Url>, RunError> {
        let mut found = Vec::new();
        for name in self.store().list_folders(folder)? {
            let url = folder.join(&name)?;
            if is_link(&url) {
                continue;
            }
            if !name.contains(".lance") {
                if depth > 0 && !name.ends_with(PIECES_SUFFIX) {
                    found.extend(self.unfinished_tables(&url, depth - 1)?);
                }
            } else if self.is_missing(&url) {
                found.push(url);
            }
        }
        Ok(found)
    }

    /// The folders of models of all runs; not through links.
    fn models(&self) -> Result<Vec<Url>, RunError> {
        let runs = self.root().join("runs")?;
        let mut models = Vec::new();
        for run in self.store().list_folders(&runs)? {
            let folder = runs.join(&run)?.join("models")?;
            if is_link(&runs.join(&run)?) || is_link(&folder) {
                continue;
            }
            for name in self.store().list_folders(&folder)? {
                models.push(folder.join(&name)?);
            }
        }
        Ok(models)
    }
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

/// Whether a reduction has finished no piece for `least_age`.
fn was_stopped(reduction: &Interrupted, least_age: Duration) -> bool {
    reduction.newest.is_none_or(|id| age(id) >= least_age)
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
    fn a_finding_is_looked_at_again_before_anything_is_removed() {
        let project =
            Project::new(Arc::new(tlc_table::MemoryStore::default()), "memory://test/project".parse().expect("a URL"));
        let run = project.create_run("r", Map::new()).expect("creatable");
        let mut lineage = Lineage::new("test/1", Operation::new("made-up", 1));
        let model = run.url().join("models/m").expect("a name");
        let reference = serde_json::json!({ "url": model, "digest": "sha256:0" });
        lineage.models.insert("id".into(), serde_json::from_value(reference).expect("a model"));
        let schema = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
        let table = MetricsTable { name: "m".into(), foreign_table: None, constants: Map::new(), lineage };
        let url = run.write_metrics(table, &schema, Box::new(std::iter::empty())).expect("writable").url;
        let file = model.join("model.json").expect("a name");
        project.store().write_object(&file, b"{}", WriteCondition::Absent).expect("writable");
        // As others may have made of what was found some time ago.
        let now = DoctorOptions { least_age: Duration::ZERO, repair: true, ..DoctorOptions::default() };
        let r = || "r".to_owned();
        for problem in [
            Problem::UnlistedTable,
            Problem::UnfinishedTable,
            Problem::InterruptedDeletion { run: r() },
            Problem::MissingTable { run: r() },
        ] {
            project.put_right(&url, &problem, &now, &Progress::default()).expect("nothing to do");
            assert!(project.store().info(&url).is_ok(), "{problem}");
            assert_eq!(run.metrics().expect("readable").len(), 1, "{problem}");
        }
        project.put_right(&model, &Problem::UnusedModel, &now, &Progress::default()).expect("nothing to do");
        assert!(project.store().read_object(&file).is_ok(), "it is used");
    }

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
            record.metrics[0].reduced_from = Some(relative.clone());
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
            (doomed.clone(), Problem::InterruptedDeletion { run: "r".into() }),
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
