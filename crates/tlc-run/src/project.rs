//! A folder of datasets and runs.
//!
//! ```text
//! <project>/datasets/<dataset>/<table>-<ulid>.lance
//! <project>/runs/<run>/run.json
//! <project>/runs/<run>/metrics/<name>-<ulid>.lance
//! <project>/runs/<run>/reduced/<name>-<ulid>.lance
//! <project>/runs/<run>/models/<column>-<ulid>/
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::Schema;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tlc_core::digest::{self, TableDigest};
use tlc_core::ulid::Ulid;
use tlc_core::{
    BatchStream, Column, Lineage, MetricsTable, Operation, Places, Scan, StoreError, TableInfo, TableStore, UniqueName,
    Url, UrlError, WriteCondition,
};

use crate::columns::rows_of;
use crate::links::is_link;
use crate::record::FORMAT;
use crate::reduce::PIECES_SUFFIX;
use crate::{PRODUCER, Run, RunError, RunRecord, RunStatus};

/// A folder of datasets and runs in a store.
#[derive(Debug, Clone)]
pub struct Project {
    store: Arc<dyn TableStore>,
    places: Places,
}

impl Project {
    /// The project at `root`, which need not exist yet.
    pub fn new(store: Arc<dyn TableStore>, root: Url) -> Self {
        Self::in_places(store, Places::new(root))
    }

    /// The project with aliases of folders outside of it.
    pub fn in_places(store: Arc<dyn TableStore>, places: Places) -> Self {
        Self { store, places }
    }

    /// Its folder.
    pub fn root(&self) -> &Url {
        self.places.root()
    }

    /// Its folder and the aliases: how URLs that are stored in it are read and written.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Where its tables are kept.
    pub fn store(&self) -> &dyn TableStore {
        self.store.as_ref()
    }

    /// Where its tables are kept, for whoever outlives the project's value.
    pub fn shared_store(&self) -> Arc<dyn TableStore> {
        self.store.clone()
    }

    /// Writes a table of `dataset`, or returns the one that is there already: same name and same lineage
    /// operation. Of processes that do so at once all get the same table.
    ///
    /// `rows` are compared with the table that is returned, which costs making them, unless the operation says by its
    /// argument [`content`](Operation::CONTENT) what they are.
    ///
    /// # Errors
    /// An unusable name; [`RunError::Differs`] if the same operation made other rows before; a failing store or row stream.
    pub fn create_table(
        &self,
        dataset: &str,
        name: &str,
        schema: &Schema,
        lineage: &Lineage,
        rows: BatchStream<'_>,
    ) -> Result<TableInfo, RunError> {
        check_name("table", name)?;
        let folder = self.dataset_folder(dataset)?;
        // Says which table holds what the operation makes. Written after the table, by the first of those who made it.
        let operation = serde_json::to_vec(&lineage.operation).expect("lineage is plain data");
        let digest = digest::of_bytes(&operation);
        let short: String = digest.trim_start_matches("sha256:").chars().take(16).collect();
        let pointer = folder.join(&format!("{name}-{short}.json"))?;
        let (found, mut condition) = self.table_at(&pointer)?;
        if let Some(info) = found {
            return same_as(info, lineage, schema, rows);
        }
        let url = folder.join(&format!("{}.lance", UniqueName::with_id(name, lineage.table_id)))?;
        let info = self.store.create(&url, Arc::new(lineage.write_into(schema)), rows)?;
        loop {
            let content = serde_json::to_vec(&url.relative_to(self.root())).expect("a URL is plain data");
            match self.store.write_object(&pointer, &content, condition) {
                Ok(_) => return Ok(info),
                Err(StoreError::AlreadyExists { .. } | StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            // Another process made the same table meanwhile; everybody takes that one.
            let (found, next) = self.table_at(&pointer)?;
            if let Some(first) = found {
                let rows = self.store.scan(&url, Scan::default());
                let same = rows.map_err(RunError::from).and_then(|rows| same_as(first, lineage, schema, rows));
                self.store.delete(&url)?;
                return same;
            }
            condition = next;
        }
    }

    /// As [`create_table`](Self::create_table), of columns in memory: the table whose rows the samples are. The same
    /// columns under the same name are the same table, also in another process; others make another one.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use tlc_core::Column;
    /// # use tlc_run::Project;
    /// # use tlc_table::MemoryStore;
    /// # let project = Project::new(Arc::new(MemoryStore::default()), "memory://p/project".parse()?);
    /// let columns = || vec![Column::labels("label", [0, 1, 1], ["cat", "dog"])];
    /// let train = project.table_from_columns("pets", "train", columns())?;
    /// assert_eq!(train.rows, 3);
    /// assert_eq!(project.table_from_columns("pets", "train", columns())?.url, train.url);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RunError::Columns`]: no columns or rows, columns of different lengths or of one name; as
    /// [`create_table`](Self::create_table).
    pub fn table_from_columns(&self, dataset: &str, name: &str, columns: Vec<Column>) -> Result<TableInfo, RunError> {
        let rows = rows_of(name, columns)?;
        let schema = rows.schema();
        let refused = |reason: String| RunError::Columns { name: name.to_owned(), reason };
        let mut content = TableDigest::new(&schema);
        content.update(&rows).map_err(refused)?;
        // The digest is of values; what they mean, such as names of classes, is metadata.
        let meanings: BTreeMap<&String, BTreeMap<&String, &String>> =
            schema.fields().iter().map(|field| (field.name(), field.metadata().iter().collect())).collect();
        let operation =
            Operation::new("create", 1).with(Operation::CONTENT, content.finish()).with("columns", json!(meanings));
        let lineage = Lineage::new(PRODUCER, operation);
        self.create_table(dataset, name, &schema, &lineage, Box::new([Ok(rows)].into_iter()))
    }

    /// The table that a small object names, if both are there; and when that object may be written.
    fn table_at(&self, pointer: &Url) -> Result<(Option<TableInfo>, WriteCondition), RunError> {
        let (content, version) = match self.store.read_object(pointer) {
            Ok(read) => read,
            Err(StoreError::NotFound { .. }) => return Ok((None, WriteCondition::Absent)),
            Err(error) => return Err(error.into()),
        };
        let condition = WriteCondition::Unchanged(version);
        let Ok(url) = serde_json::from_slice::<Url>(&content) else { return Ok((None, condition)) };
        match self.store.info(&self.inside(&url)?) {
            Ok(info) => Ok((Some(info), condition)),
            Err(StoreError::NotFound { .. }) => Ok((None, condition)),
            Err(error) => Err(error.into()),
        }
    }

    /// Begins a run. If the name is taken, `-2`, `-3`, … is appended: a run is never overwritten.
    ///
    /// # Errors
    /// An unusable name; a failing store.
    pub fn create_run(&self, name: &str, parameters: Map<String, Value>) -> Result<Run, RunError> {
        for attempt in 1_u32.. {
            let name = if attempt == 1 { name.to_owned() } else { format!("{name}-{attempt}") };
            if let Some(run) = self.begin_run(&name, &parameters)? {
                return Ok(run);
            }
        }
        unreachable!("some number is free")
    }

    /// The run of this name, begun with `parameters` if there is none: for processes that collect into one run, of
    /// which any may be the first.
    ///
    /// # Errors
    /// As [`create_run`](Self::create_run) and [`open_run`](Self::open_run).
    pub fn open_or_create_run(&self, name: &str, parameters: Map<String, Value>) -> Result<Run, RunError> {
        match self.begin_run(name, &parameters)? {
            Some(run) => Ok(run),
            None => self.open_run(name),
        }
    }

    /// A new run, or `None` if the name is taken.
    fn begin_run(&self, name: &str, parameters: &Map<String, Value>) -> Result<Option<Run>, RunError> {
        check_name("run", name)?;
        let record = RunRecord {
            schema: FORMAT.to_owned(),
            id: Ulid::generate(),
            name: name.to_owned(),
            created: Timestamp::now(),
            status: RunStatus::Running,
            parameters: parameters.clone(),
            metrics: Vec::new(),
            to_delete: Vec::new(),
            extra: Map::new(),
        };
        let content = serde_json::to_vec_pretty(&record).expect("a record is plain data");
        let run = Run::at(self.clone(), name.to_owned())?;
        match self.store.write_object(run.record_url(), &content, WriteCondition::Absent) {
            Ok(_) => Ok(Some(run)),
            Err(StoreError::AlreadyExists { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The run called `name`.
    ///
    /// # Errors
    /// [`RunError::UnknownRun`]; an unreadable record.
    pub fn open_run(&self, name: &str) -> Result<Run, RunError> {
        check_name("run", name)?;
        let run = Run::at(self.clone(), name.to_owned())?;
        match run.record() {
            Err(RunError::Store(StoreError::NotFound { .. })) => Err(self.unknown_run(name)?),
            Err(error) => Err(error),
            Ok(_) => Ok(run),
        }
    }

    /// The names of its runs, sorted.
    ///
    /// # Errors
    /// A failing store.
    pub fn run_names(&self) -> Result<Vec<String>, RunError> {
        let folder = self.root().join("runs")?;
        let mut names = Vec::new();
        for name in self.store.list_folders(&folder)? {
            // A folder without a record is what a killed writer left.
            if self.store.size_bytes(&folder.join(&name)?.join("run.json")?)? > 0 {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Removes a run with its metrics tables and models, also if its record is damaged or missing.
    /// Datasets stay. The log of deletions says which tables it had. Unless it is `forced`, a run stays of which another
    /// run or a table elsewhere needs something. Of a link to a run only the link goes.
    ///
    /// # Errors
    /// [`RunError::UnknownRun`]; [`RunError::Needed`], with who needs it; a failing store.
    pub fn delete_run(&self, name: &str, forced: bool) -> Result<(), RunError> {
        check_name("run", name)?;
        let folder = self.root().join("runs")?;
        if !self.store.list_folders(&folder)?.iter().any(|known| known == name) {
            return Err(self.unknown_run(name)?);
        }
        let folder = folder.join(name)?;
        self.check_deletable(&folder)?;
        if !is_link(&folder) {
            if !forced {
                self.check_unneeded(&folder)?;
            }
            self.note_deletions_below(&folder)?;
        }
        Ok(self.store.delete_folder(&folder)?)
    }

    /// Writes a table into `folder`, under a name that nobody else uses.
    pub(crate) fn write_table(
        &self,
        folder: &Url,
        table: &MetricsTable,
        schema: &Schema,
        rows: BatchStream<'_>,
    ) -> Result<TableInfo, StoreError> {
        let name = UniqueName::with_id(&table.name, table.lineage.table_id);
        let url = folder.join(&format!("{name}.lance"))?;
        self.store.create(&url, Arc::new(table.lineage.write_into(schema)), rows)
    }

    /// The absolute form of a URL that a record or a lineage names; refuses what leads out of the project, since
    /// anybody may have written these.
    pub(crate) fn inside(&self, url: &Url) -> Result<Url, RunError> {
        let absolute = self.places.expanded(url)?;
        match absolute.is_within(self.root()) {
            true => Ok(absolute),
            false => Err(RunError::Outside { url: absolute, project: self.root().clone() }),
        }
    }

    /// As [`inside`](Self::inside), but what lies below a folder with an alias is accepted, too: for what is only read.
    pub(crate) fn readable(&self, url: &Url) -> Result<Url, RunError> {
        let absolute = self.places.expanded(url)?;
        match self.places.covers(&absolute) {
            true => Ok(absolute),
            false => Err(RunError::Outside { url: absolute, project: self.root().clone() }),
        }
    }

    /// The folder for what is made of the table at `source`: beside it if it lies in the project, otherwise
    /// `datasets/from-outside` in the project. Who reads a table in somebody's bucket need not be allowed to write there,
    /// nor be expected to.
    ///
    /// # Errors
    /// A project whose URL nothing can be joined to.
    pub fn folder_beside(&self, source: &Url) -> Result<Url, UrlError> {
        match source.parent() {
            Some(folder) if folder.is_within(self.root()) => Ok(folder),
            _ => self.root().join("datasets/from-outside"),
        }
    }

    fn unknown_run(&self, name: &str) -> Result<RunError, RunError> {
        let names = self.run_names()?;
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Ok(RunError::UnknownRun { name: name.to_owned(), project: self.root().clone(), known })
    }

    /// The folder of the tables of `dataset`.
    ///
    /// # Errors
    /// [`RunError::Name`], for what cannot be the name of one folder below `datasets`.
    pub fn dataset_folder(&self, dataset: &str) -> Result<Url, RunError> {
        check_name("dataset", dataset)?;
        Ok(self.root().join("datasets")?.join(dataset)?)
    }
}

/// `info`, if it is what `lineage` makes.
fn same_as(info: TableInfo, lineage: &Lineage, schema: &Schema, rows: BatchStream<'_>) -> Result<TableInfo, RunError> {
    if lineage.operation.args.contains_key(Operation::CONTENT) {
        return Ok(info);
    }
    match info.difference(schema, rows)? {
        Some(what) => Err(RunError::Differs { url: info.url, what }),
        None => Ok(info),
    }
}

fn check_name(what: &'static str, name: &str) -> Result<(), RunError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    // What is called so is taken for a table, or parts of one, and no table is looked for in it.
    let is_of_table = name.contains(".lance") || name.ends_with(PIECES_SUFFIX);
    if !name.is_empty() && !name.starts_with('.') && !is_of_table && name.chars().all(allowed) {
        return Ok(());
    }
    Err(RunError::Name { what, name: name.to_owned() })
}
