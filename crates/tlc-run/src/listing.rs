//! What a project holds, told quickly: a run's record describes its tables, so these are not opened.

use std::collections::BTreeMap;

use tlc_core::{StoreError, TableInfo, Url};

use crate::{MetricsEntry, Project, Run, RunError, RunRecord};

/// The runs and tables of a project, as far as they are known without opening what a run's record describes. What is
/// damaged is part of it; whether a run's tables are whole is asked of [`Project::doctor`].
#[derive(Debug)]
pub struct Listing {
    /// Its runs, sorted by name.
    pub runs: Vec<ListedRun>,
    /// Its tables, sorted by URL.
    pub tables: Vec<(Url, ListedTable)>,
}

/// A run that is listed.
#[derive(Debug)]
pub struct ListedRun {
    /// Its name.
    pub name: String,
    /// What its record says, or why that cannot be read.
    pub record: Result<RunRecord, RunError>,
}

/// What is known of a table that is listed.
#[derive(Debug)]
pub enum ListedTable {
    /// It is one of a run's metrics tables, and was not opened.
    OfRun {
        /// The run's name.
        run: String,
        /// What the record says of it.
        entry: Box<MetricsEntry>,
    },
    /// No run lists it: a table of a dataset, or one that was derived or reduced by itself.
    Other(TableInfo),
    /// No run lists it, and it cannot be opened.
    Damaged(StoreError),
    /// A run lists it, but it is not there.
    Missing {
        /// The run's name.
        run: String,
    },
}

impl Project {
    /// Its runs and what their records say, sorted by name. One read for each run.
    ///
    /// ```no_run
    /// # fn show(project: &tlc_run::Project) -> Result<(), tlc_run::RunError> {
    /// for run in project.runs()? {
    ///     match run.record {
    ///         Ok(record) => println!("{}: {}, {} tables", run.name, record.status, record.metrics.len()),
    ///         Err(error) => println!("{}: {error}", run.name),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A failing store; a record that cannot be read is part of the answer.
    pub fn runs(&self) -> Result<Vec<ListedRun>, RunError> {
        let mut runs = Vec::new();
        for name in self.store().list_folders(&self.root().join("runs")?)? {
            match Run::at(self.clone(), name.clone()).and_then(|run| run.record()) {
                // A folder without a record is what a killed writer left.
                Err(RunError::Store(StoreError::NotFound { .. })) => {}
                // Whether the record is damaged is not known then; it may be whole, and list what seems to be needless.
                Err(error @ RunError::Store(_)) => return Err(error),
                record => runs.push(ListedRun { name, record }),
            }
        }
        Ok(runs)
    }

    /// Its runs and tables. Costs one read for each run and for each table that no run lists, and the listing of
    /// folders.
    ///
    /// # Errors
    /// A failing store; what is damaged is part of the answer.
    pub fn listing(&self) -> Result<Listing, RunError> {
        let runs = self.runs()?;
        let mut of_runs = BTreeMap::new();
        for ListedRun { name, record } in &runs {
            for entry in record.iter().flat_map(|record| &record.metrics) {
                // What leads out of the project is none of its tables, whatever a record says.
                if let Ok(url) = self.inside(&entry.url) {
                    of_runs.insert(url, (name.clone(), Box::new(entry.clone())));
                }
            }
        }
        let mut tables = Vec::new();
        for url in self.table_urls()? {
            let table = match of_runs.remove(&url) {
                Some((run, entry)) => ListedTable::OfRun { run, entry },
                None => match self.store().info(&url) {
                    Ok(info) => ListedTable::Other(info),
                    // Somebody deleted it meanwhile.
                    Err(StoreError::NotFound { .. }) => continue,
                    Err(error) => ListedTable::Damaged(error),
                },
            };
            tables.push((url, table));
        }
        tables.extend(of_runs.into_iter().map(|(url, (run, _))| (url, ListedTable::Missing { run })));
        tables.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Listing { runs, tables })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::{DataType, Field, Schema};
    use serde_json::{Map, json};
    use tlc_core::{Lineage, MetricsSink, MetricsTable, Operation};
    use tlc_table::LanceStore;

    use super::*;
    use crate::RunStatus;

    #[test]
    fn what_a_record_describes_is_listed_without_being_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Url::from_path(folder.path()).expect("an absolute path");
        let project = Project::new(Arc::new(LanceStore::default()), root);
        let run = project.create_run("r", Map::new()).expect("creatable");
        let schema = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
        for (epoch, split) in [(0, "train"), (0, "val"), (1, "train")] {
            let constants = json!({ "epoch": epoch, "split": split });
            let table = MetricsTable {
                name: format!("{split}-{epoch}"),
                foreign_table: None,
                constants: constants.as_object().cloned().expect("an object"),
                lineage: Lineage::new("test/1", Operation::new("made-up", 1)),
            };
            run.write_metrics(table, &schema, Box::new(std::iter::empty())).expect("writable");
        }
        let lineage = Lineage::new("test/1", Operation::new("made-up", 1));
        let rows = Box::new(std::iter::empty());
        let dataset = project.create_table("toys", "train", &schema, &lineage, rows).expect("writable");
        let all = run.metrics().expect("readable");
        for entry in &all[..2] {
            let versions = entry.url.to_path().expect("local").join("_versions");
            for manifest in std::fs::read_dir(versions).expect("there") {
                std::fs::write(manifest.expect("an entry").path(), b"unreadable").expect("writable");
            }
        }
        std::fs::remove_dir_all(all[2].url.to_path().expect("local")).expect("removable");

        let project = Project::new(Arc::new(LanceStore::default()), project.root().clone());
        assert_eq!(project.inventory().expect("readable").damaged_tables.len(), 2, "who opens them notices");
        let listing = project.listing().expect("readable");
        assert!(
            matches!(&listing.runs[..], [ListedRun { name, record: Ok(record) }] if name == "r" && record.metrics.len() == 3)
        );
        let mut found: Vec<String> = Vec::new();
        for (url, table) in &listing.tables {
            found.push(match table {
                ListedTable::OfRun { run, entry } => format!("{run} {:?} {:?}", entry.epoch(), entry.split()),
                ListedTable::Other(info) if info.url == dataset.url => "dataset".to_owned(),
                ListedTable::Missing { .. } if *url == all[2].url => "missing".to_owned(),
                other => format!("{url}: {other:?}"),
            });
        }
        found.sort();
        assert_eq!(found, ["dataset", "missing", "r Some(0) Some(\"train\")", "r Some(0) Some(\"val\")"]);

        let names = |epoch, split| -> Vec<String> {
            run.metrics_of(epoch, split).expect("readable").into_iter().map(|entry| entry.name).collect()
        };
        assert_eq!(names(None, Some("train")), ["train-0", "train-1"]);
        assert_eq!(names(Some(0), None), ["train-0", "val-0"]);
        assert_eq!(names(Some(1), Some("val")), [""; 0]);
        assert_eq!(run.status().expect("readable"), RunStatus::Running);
        assert_eq!(run.status().expect("readable").to_string(), "running");
    }

    #[test]
    fn a_run_whose_record_is_damaged_is_listed_as_such() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Url::from_path(folder.path()).expect("an absolute path");
        let project = Project::new(Arc::new(LanceStore::default()), root);
        project.create_run("whole", Map::new()).expect("creatable");
        project.create_run("cut", Map::new()).expect("creatable");
        std::fs::write(folder.path().join("runs/cut/run.json"), b"{\"schema\": ").expect("writable");
        std::fs::create_dir(folder.path().join("runs/begun")).expect("writable");
        let runs = project.runs().expect("readable");
        let found: Vec<(&str, bool)> = runs.iter().map(|run| (run.name.as_str(), run.record.is_ok())).collect();
        assert_eq!(found, [("cut", false), ("whole", true)]);
    }
}
