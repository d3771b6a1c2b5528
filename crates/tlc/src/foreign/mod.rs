//! Files of other programs, so that they can be looked at: `tlc view points.parquet`.
//!
//! Nothing is written: the rows are kept in memory. Columns get the types that tables of tlc have (`columns.rs`), and
//! roles by their types and names (`roles.rs`). Coordinates are shown as they are; of embeddings a map is made.

mod columns;
mod roles;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{Array as _, RecordBatch};
use arrow_schema::{ArrowError, SchemaRef};
use tlc_core::{
    Column, NumberRole, Operation, PluginError, Progress, Reducer, Scan, StoreError, TableStore, Url, UrlError,
    columns_with_role,
};
use tlc_run::{Project, ReduceOptions, RunError, reduce_embeddings};
use tlc_table::{FileFormat, LanceStore, MemoryStore, NewTable, Table, TableError, read_file};

/// A file that is to be looked at, and what to take of it.
#[derive(Debug, Clone)]
pub struct ForeignFile {
    /// Parquet, CSV, Arrow, npy, safetensors, or the folder of a Lance table.
    pub path: PathBuf,
    /// Files with further columns of the same rows, such as labels.
    pub with: Vec<PathBuf>,
    /// The column of vectors to make a map of, or columns of numbers that are one vector together. Default: none, and
    /// then it is found by types and names.
    pub embedding: Vec<String>,
}

/// Why a file cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForeignError {
    /// Neither coordinates nor embeddings.
    #[error(
        "{path} has no vectors and no columns x and y; name a column of vectors, or four or more columns of numbers, of: \
         {columns}"
    )]
    NoVectors {
        /// The file.
        path: PathBuf,
        /// Its columns, with types.
        columns: String,
    },
    /// A column that was named and cannot be used.
    #[error("column {column:?} of {path} cannot be the embedding: {reason}")]
    Column {
        /// The column.
        column: String,
        /// The file.
        path: PathBuf,
        /// What is wrong and what would be accepted.
        reason: String,
    },
    /// A file with columns for other rows.
    #[error("{path} has {found} rows, {first} has {expected}; files that go together have as many")]
    Rows {
        /// The file.
        path: PathBuf,
        /// Its rows.
        found: usize,
        /// The file that is looked at.
        first: PathBuf,
        /// Its rows.
        expected: usize,
    },
    /// Columns that cannot be read.
    #[error("cannot read {path}")]
    Arrow {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ArrowError,
    },
    /// The file, or the table in memory.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The reduction.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The reducer.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// A URL that cannot be formed.
    #[error(transparent)]
    Url(#[from] UrlError),
}

impl ForeignFile {
    /// Whether tlc did not write what is at `path`, but can read it: a file whose name ends as one of the known kinds'
    /// do, or the folder of a Lance table without roles and lineage.
    pub fn is_foreign(path: &Path) -> bool {
        if !is_lance(path) {
            return path.is_file() && FileFormat::of(path).is_ok();
        }
        let info = url_of(path).and_then(|url| Ok(LanceStore::default().info(&url)?));
        info.is_ok_and(|info| {
            let has = |role| !columns_with_role(&info.schema, &role).is_empty();
            info.lineage().is_none() && !has(NumberRole::ReducedEmbedding) && !has(NumberRole::NnEmbedding)
        })
    }

    /// Reads the file into a table in memory, and gives it a map by `reducer` if it has none or an
    /// [`embedding`](Self::embedding) is named. The project and the table are as those on disk.
    ///
    /// # Errors
    /// [`ForeignError`]; cancellation.
    pub fn open(&self, reducer: Box<dyn Reducer>, progress: &Progress) -> Result<(Project, Url), ForeignError> {
        let columns = self.columns(progress)?;
        let has = |role: NumberRole| {
            use tlc_core::FieldRoles as _;
            columns.iter().any(|column| column.field.role().as_ref() == Some(&role))
        };
        let is_reduced =
            has(NumberRole::NnEmbedding) && (!has(NumberRole::ReducedEmbedding) || !self.embedding.is_empty());
        let store: Arc<dyn TableStore> = Arc::new(MemoryStore::default());
        let project = Project::new(store.clone(), "memory://view".parse()?);
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let file = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let new = NewTable::new(&stem).operation(Operation::new("import", 1).with("file", file));
        let table = Table::from_columns(store, &project.root().join("datasets/files")?, new, columns)?;
        if !is_reduced {
            return Ok((project, table.url().clone()));
        }
        let reduced = reduce_embeddings(&project, table.url(), &ReduceOptions::new([reducer]), progress)?;
        Ok((project, reduced))
    }

    /// The columns of all files, with roles; an error if they hold nothing that can be shown on a map.
    fn columns(&self, progress: &Progress) -> Result<Vec<Column>, ForeignError> {
        let mut all: Vec<Column> = Vec::new();
        let mut n_rows = None;
        for path in std::iter::once(&self.path).chain(&self.with) {
            let batch = read(path, progress)?;
            let expected = *n_rows.get_or_insert(batch.num_rows());
            if batch.num_rows() != expected {
                let (path, first) = (path.clone(), self.path.clone());
                return Err(ForeignError::Rows { path, found: batch.num_rows(), first, expected });
            }
            let failed = |source| ForeignError::Arrow { path: path.clone(), source };
            for mut column in columns::plain(&batch).map_err(failed)? {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                while all.iter().any(|known| known.field.name() == column.field.name()) {
                    let name = format!("{stem}_{}", column.field.name());
                    column.field.set_name(name);
                }
                all.push(column);
            }
        }
        roles::assign(all, &self.path, &self.embedding)
    }
}

fn is_lance(path: &Path) -> bool {
    path.is_dir() && path.extension().is_some_and(|extension| extension == "lance")
}

fn url_of(path: &Path) -> Result<Url, ForeignError> {
    let failed = |source| TableError::File { action: "find", path: path.to_owned(), source: Box::new(source) };
    Ok(Url::from_path(&std::path::absolute(path).map_err(failed)?)?)
}

/// All rows.
fn read(path: &Path, progress: &Progress) -> Result<RecordBatch, ForeignError> {
    let (schema, rows): (SchemaRef, _) = match is_lance(path) {
        true => {
            let (store, url) = (LanceStore::default(), url_of(path)?);
            (store.info(&url)?.schema, store.scan(&url, Scan::default())?)
        }
        false => read_file(path)?,
    };
    let task = progress.task(&format!("read {}", path.file_name().unwrap_or_default().to_string_lossy()), 0);
    let mut batches = Vec::new();
    for batch in rows {
        let batch = batch?;
        task.advance(batch.num_rows() as u64).map_err(StoreError::from)?;
        batches.push(batch);
    }
    let failed = |source| ForeignError::Arrow { path: path.to_owned(), source };
    // As the batches have it: some readers give them another schema than they announce.
    let schema = batches.first().map_or(schema, RecordBatch::schema);
    match batches.as_slice() {
        [one] => Ok(one.clone()),
        several => arrow_select::concat::concat_batches(&schema, several).map_err(failed),
    }
}

/// How many of a column's values there are.
fn n_valid(column: &Column) -> usize {
    column.values.len() - column.values.null_count()
}
