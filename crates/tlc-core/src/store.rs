//! Where tables and small objects are kept.

use std::fmt::Debug;
use std::time::SystemTime;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use arrow_select::interleave::interleave_record_batch;

use crate::digest::TableDigest;
use crate::schema::{NumberRole, columns_with_role, meanings, value_map};
use crate::{Filter, Lineage, LineageInput, Places, Progress, StoreError, Url, UrlError};

/// Rows of a table, batch by batch; the first error ends it.
pub type BatchStream<'a> = Box<dyn Iterator<Item = Result<RecordBatch, StoreError>> + Send + 'a>;

/// What a store knows about a table without reading its rows.
#[derive(Debug, Clone)]
pub struct TableInfo {
    /// Where it is, with the version that was asked for, if one was.
    pub url: Url,
    /// Columns with roles, and metadata with lineage.
    pub schema: SchemaRef,
    /// Its number of rows.
    pub rows: u64,
    /// Digest of its content as written (see [`digest`](crate::digest)); `None` for tables that
    /// other programs wrote.
    pub digest: Option<String>,
}

impl TableInfo {
    /// Where the table comes from, if it says so.
    pub fn lineage(&self) -> Option<Lineage> {
        Lineage::read_from(&self.schema)
    }

    /// The table whose rows it describes, as its column with the role `foreign_table_id` says; `None` if there is no
    /// such column. It stays below its alias where `places` does not know that.
    ///
    /// # Errors
    /// A text that is no URL.
    pub fn foreign_table(&self, places: &Places) -> Result<Option<Url>, UrlError> {
        let columns = columns_with_role(&self.schema, &NumberRole::ForeignTableId);
        let field = columns.first().and_then(|column| self.schema.field_with_name(column).ok());
        let text = field.and_then(|field| value_map(field).into_values().next());
        text.map(|text| places.expanded_if_known(&text.parse()?)).transpose()
    }

    /// What is not the same in a table of this `schema` and these `rows`, which are read: `columns`, by their names,
    /// roles or classes, or `rows`, by their digest. `None` if nothing is. For whoever uses a table again instead of
    /// writing one.
    ///
    /// # Errors
    /// The first error of `rows`; a column whose type has no digest.
    pub fn difference(&self, schema: &Schema, rows: BatchStream<'_>) -> Result<Option<&'static str>, StoreError> {
        if meanings(&self.schema) != meanings(schema) {
            return Ok(Some("columns"));
        }
        let Some(own) = &self.digest else { return Ok(None) };
        let mut digest = TableDigest::new(schema);
        for batch in rows {
            let unfit = |reason| StoreError::InvalidData { url: self.url.clone(), reason };
            digest.update(&batch?).map_err(unfit)?;
        }
        Ok((digest.finish() != *own).then_some("rows"))
    }

    /// The table as an input of what is made of it.
    pub fn as_input(&self) -> LineageInput {
        LineageInput {
            url: self.url.clone(),
            version: self.url.version().unwrap_or(1),
            table_id: self.lineage().map(|lineage| lineage.table_id),
            rows: self.rows,
            digest: self.digest.clone(),
        }
    }
}

/// Which part of a table to read.
///
/// The default reads everything, in batches of 8,192 rows.
#[derive(Debug, Clone)]
pub struct Scan {
    /// The columns, in this order; `None` for all.
    pub columns: Option<Vec<String>>,
    /// The rows; `None` for all.
    pub filter: Option<Filter>,
    /// At most so many of the rows that are chosen; `None` for all.
    pub limit: Option<u64>,
    /// Rows per batch; the last may be shorter.
    pub batch_rows: usize,
}

impl Default for Scan {
    fn default() -> Self {
        Self { columns: None, filter: None, limit: None, batch_rows: 8192 }
    }
}

impl Scan {
    /// Reads only these columns.
    pub fn columns(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { columns: Some(names.into_iter().map(Into::into).collect()), ..Self::default() }
    }

    /// With only the rows of which `filter` holds.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// With at most `limit` rows.
    #[must_use]
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The columns that must be read: those that are asked for, then those that are only filtered by. For implementers
    /// of [`TableStore::scan`], who then [`select`].
    pub fn columns_to_read(&self) -> Option<Vec<String>> {
        let mut columns = self.columns.clone()?;
        for column in self.filter.iter().flat_map(Filter::columns) {
            if !columns.iter().any(|known| known == column) {
                columns.push(column.to_owned());
            }
        }
        Some(columns)
    }
}

/// Identifies the content of a small object, for [`WriteCondition::Unchanged`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectVersion(pub String);

/// When a small object may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteCondition {
    /// Only if nothing is there.
    Absent,
    /// Only if it still is the version that was read.
    Unchanged(ObjectVersion),
}

/// Keeps immutable tables, and the small objects beside them (run records, models).
///
/// # What an implementer promises
///
/// - A table is visible entirely or not at all: a failed, cancelled or killed [`create`](Self::create)
///   leaves nothing that [`info`](Self::info) or [`list_tables`](Self::list_tables) shows. Once it is visible it
///   stays, also if what follows fails: then the error is [`StoreError::NotFlushed`].
/// - A table is created once; a second `create` at its URL is [`StoreError::AlreadyExists`], also when
///   both run at once.
/// - When `create` or [`write_object`](Self::write_object) returns, the data survive a power loss
///   as far as the medium allows.
/// - Rows come back in the order in which they were written, with schema, roles and lineage.
/// - Writing an object replaces it at once: a reader sees the old or the new content.
/// - A URL with a [version](Url::version) is read as the table was in that version, or refused; whatever else is asked
///   for at it [is refused](Url::refuse_version).
/// - Methods block, may be called from any thread, also from inside an async runtime, and never panic
///   on damaged data.
///
/// The conformance suite (feature `conformance`) checks these.
///
/// The value itself is configuration (`{"type": "lance/1"}`) and holds no credentials: these come
/// from the environment.
#[typetag::serde(tag = "type")]
pub trait TableStore: Debug + Send + Sync {
    /// Writes all `rows` into a new table at `url` and returns what was written.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`]; the first error of `rows`; a failing backend. Then there is no table, except after
    /// [`StoreError::NotFlushed`], and where the last answer of a distant store was lost.
    fn create(&self, url: &Url, schema: SchemaRef, rows: BatchStream<'_>) -> Result<TableInfo, StoreError>;

    /// Schema, size and digest of the table at `url`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Damaged`].
    fn info(&self, url: &Url) -> Result<TableInfo, StoreError>;

    /// The rows of the table at `url`.
    ///
    /// # Errors
    /// As [`info`](Self::info); an unknown column; the stream itself fails on damaged pages.
    fn scan(&self, url: &Url, scan: Scan) -> Result<BatchStream<'static>, StoreError>;

    /// The rows with these numbers, in this order, also several times, of all columns or those of `columns`.
    ///
    /// The default reads the columns from the beginning until it has found all of them; stores that can, seek.
    ///
    /// # Errors
    /// As [`scan`](Self::scan); a number that the table does not have.
    fn take(&self, url: &Url, rows: &[u64], columns: Option<&[String]>) -> Result<RecordBatch, StoreError> {
        let info = self.info(url)?;
        check_row_numbers(&info, rows)?;
        let scan = Scan { columns: columns.map(<[String]>::to_vec), ..Scan::default() };
        let last = rows.iter().max().copied();
        let mut batches = Vec::new();
        let mut starts = vec![0_u64];
        for batch in self.scan(url, scan)? {
            let end = starts.last().copied().unwrap_or(0) + batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
            batches.push(batch?);
            starts.push(end);
            if last.is_none_or(|last| last < end) {
                break;
            }
        }
        let place = |&row: &u64| {
            let batch = starts.partition_point(|&start| start <= row) - 1;
            (batch, (row - starts[batch]) as usize)
        };
        let places: Vec<(usize, usize)> = rows.iter().map(place).collect();
        let failed = |error: ArrowError| StoreError::backend("pick rows of", url, error);
        if let Some(first) = batches.first() {
            let batches: Vec<&RecordBatch> = batches.iter().collect();
            return if rows.is_empty() {
                Ok(first.slice(0, 0))
            } else {
                interleave_record_batch(&batches, &places).map_err(failed)
            };
        }
        let schema = match columns {
            None => info.schema,
            Some(names) => {
                let indices: Result<Vec<usize>, ArrowError> =
                    names.iter().map(|name| info.schema.index_of(name)).collect();
                info.schema.project(&indices.map_err(failed)?).map_err(failed)?.into()
            }
        };
        Ok(RecordBatch::new_empty(schema))
    }

    /// Removes the table at `url`. It disappears at once, its bytes soon after.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; refuses what is not a table.
    fn delete(&self, url: &Url) -> Result<(), StoreError>;

    /// The tables directly in `folder`, sorted; empty if there is no such folder.
    ///
    /// # Errors
    /// A failing backend.
    fn list_tables(&self, folder: &Url) -> Result<Vec<Url>, StoreError>;

    /// The bytes taken by everything at or below `url`; 0 if there is nothing.
    ///
    /// # Errors
    /// A failing backend.
    fn size_bytes(&self, url: &Url) -> Result<u64, StoreError>;

    /// The content and version of a small object.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn read_object(&self, url: &Url) -> Result<(Vec<u8>, ObjectVersion), StoreError>;

    /// Writes a small object and returns its version.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`] or [`StoreError::Conflict`] if the condition does not hold.
    fn write_object(&self, url: &Url, content: &[u8], condition: WriteCondition) -> Result<ObjectVersion, StoreError>;

    /// The names of the sub-folders of `folder`, sorted; empty if there is no such folder.
    ///
    /// # Errors
    /// A failing backend.
    fn list_folders(&self, folder: &Url) -> Result<Vec<String>, StoreError>;

    /// Removes a folder of small objects and whatever is below it; nothing there is fine.
    ///
    /// # Errors
    /// A failing backend.
    fn delete_folder(&self, folder: &Url) -> Result<(), StoreError>;

    /// When the newest of everything at or below `url` was written; `None` if there is nothing, or if the store does not
    /// keep times, as the default. Whoever removes what others left asks it: a writer that is still at work writes.
    ///
    /// # Errors
    /// A failing backend.
    fn last_modified(&self, url: &Url) -> Result<Option<SystemTime>, StoreError> {
        let _ = url;
        Ok(None)
    }

    /// What deletions and writes that were stopped left directly in `folder`, sorted. Nothing else shows it; it takes
    /// space until it is given to [`delete_folder`](Self::delete_folder). The default leaves nothing.
    ///
    /// # Errors
    /// A failing backend.
    fn list_leftovers(&self, folder: &Url) -> Result<Vec<Url>, StoreError> {
        let _ = folder;
        Ok(Vec::new())
    }

    /// Puts right what is damaged about the table at `url`, if there is a way that loses nothing, and says what was found;
    /// `None` if nothing was, or nothing helps. A `dry_run` only looks. The default knows no way.
    ///
    /// # Errors
    /// A failing backend.
    fn repair(&self, url: &Url, dry_run: bool, progress: &Progress) -> Result<Option<String>, StoreError> {
        let _ = (url, dry_run, progress);
        Ok(None)
    }

    /// Reads the whole table at `url` and checks it against its digest.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if rows or digest differ from what was written.
    fn verify(&self, url: &Url, progress: &Progress) -> Result<(), StoreError> {
        let info = self.info(url)?;
        let Some(expected) = &info.digest else { return Ok(()) };
        let task = progress.task("verify", info.rows);
        let mut digest = TableDigest::new(&info.schema);
        let mut rows = 0;
        for batch in self.scan(url, Scan::default())? {
            let batch = batch?;
            rows += batch.num_rows() as u64;
            digest.update(&batch).map_err(|reason| StoreError::Damaged { url: url.clone(), reason })?;
            task.advance(batch.num_rows() as u64)?;
        }
        let found = digest.finish();
        if rows != info.rows || &found != expected {
            let reason =
                format!("{rows} rows with digest {found}, but {} rows with {expected} were written", info.rows);
            return Err(StoreError::Damaged { url: url.clone(), reason });
        }
        Ok(())
    }
}

/// Refuses row numbers that a table does not have, for implementers of [`TableStore::take`].
///
/// # Errors
/// [`StoreError::Unsupported`], with the number and those there are.
pub fn check_row_numbers(info: &TableInfo, rows: &[u64]) -> Result<(), StoreError> {
    match rows.iter().find(|&&row| row >= info.rows) {
        None => Ok(()),
        Some(row) => {
            let reason = format!("it has no row {row}; it has {} rows, counted from 0", info.rows);
            Err(StoreError::Unsupported { url: info.url.clone(), reason })
        }
    }
}

/// What `scan` chooses of `rows`, which hold [`Scan::columns_to_read`]; for implementers of [`TableStore::scan`].
///
/// The stream fails where the filter does not fit the columns.
pub fn select(url: &Url, rows: BatchStream<'static>, scan: &Scan) -> BatchStream<'static> {
    if scan.filter.is_none() && scan.limit.is_none() {
        return rows;
    }
    let (url, filter, columns) = (url.clone(), scan.filter.clone(), scan.columns.clone());
    let mut left = scan.limit.unwrap_or(u64::MAX);
    let mut rows = rows;
    let mut next = move || -> Result<Option<RecordBatch>, StoreError> {
        while left > 0 {
            let Some(batch) = rows.next() else { return Ok(None) };
            let mut batch = batch?;
            let failed = |error: ArrowError| StoreError::backend("choose rows of", &url, error);
            if let Some(filter) = &filter {
                let refused = |reason: String| StoreError::Unsupported { url: url.clone(), reason };
                batch = filter_record_batch(&batch, &filter.mask(&batch).map_err(refused)?).map_err(failed)?;
            }
            if let Some(columns) = &columns {
                batch = batch.project(&(0..columns.len()).collect::<Vec<_>>()).map_err(failed)?;
            }
            let n = left.min(batch.num_rows() as u64);
            left -= n;
            if n > 0 {
                return Ok(Some(batch.slice(0, n as usize)));
            }
        }
        Ok(None)
    };
    Box::new(std::iter::from_fn(move || next().transpose()))
}
