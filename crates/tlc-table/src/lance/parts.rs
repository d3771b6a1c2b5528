//! A table that several writers make together, perhaps on several machines: whoever begins it claims its place, each
//! writer adds files that nobody sees yet, and one commit makes all of it visible.
//!
//! Whoever begins it gives a key, which stands for its rows and how they are dealt among the parts. Another one who
//! comes with the same key joins: after the first has died, or beside it. Who is dead cannot be known from afar, and need
//! not be: parts of one key have the same rows, and of two commits one wins. A note beside the records says whether somebody
//! has joined; from then on nobody takes the parts away. Before, who is alone may, which the note says first, so that
//! nobody joins what is about to go.
//!
//! The key is the same whenever the same rows are written, the claim is not. A writer that is late may say of a part that
//! it is there when its files have just been taken away; in a bucket that record stays. So each claim has an identity of
//! its own, which the note tells, and records count for that claim only.
//!
//! Parts have numbers. A writer that has written one says so by a record in the table's folder, which only the first of
//! several can write: so a part may be tried any number of times, by several writers at once, and counts once, and
//! whoever waits sees how many there are. What the others wrote are files that no manifest names, like those of a writer
//! that died; they are removed with the commit.

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use lance::Dataset;
use lance::dataset::CommitBuilder;
use lance::dataset::transaction::{Operation, Transaction};
use lance::session::Session;
use lance::table::format::{Fragment, IndexMetadata, Manifest, Transaction as ManifestTransaction};
use lance_io::object_store::ObjectStore;
use lance_table::io::commit::{CommitError, CommitHandler, ManifestLocation, ManifestNamingScheme, ManifestWriter};
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use tlc_core::digest::TableDigest;
use tlc_core::ulid::Ulid;
use tlc_core::{BatchStream, ObjectVersion, Progress, Scan, StoreError, TableInfo, Url, WriteCondition};

use super::write::{commit, finish, set_digest, withdraw, write_files};
use super::{LanceStore, new_session, read};
use crate::backend::Backend;
use crate::cause::{Cause, brief};
use crate::runtime::wait;

/// In the folder of a table that is being written: which parts are.
const RECORDS: &str = "_tlc_parts";
/// In a table's folder: where Lance keeps its rows.
const DATA_FOLDER: &str = "data";
/// Ends the name of a record; before it is the part's number.
const RECORD_SUFFIX: &str = ".json";
/// Beside the records, in a folder that has the key for its name: who makes the table. Records are in one that has the
/// attempt for its name.
const NOTE: &str = "drivers";
/// How long after a claim its note may come, and how often it is looked for.
const NOTED_WITHIN: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(50);

/// Who makes a table in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Drivers {
    /// Who began it.
    One,
    /// Others have joined, whether the first is alive or not.
    Several,
    /// Nobody any more; its parts are being taken away.
    Nobody,
}

/// What is said of a claim, to whoever comes with the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    drivers: Drivers,
    /// What the claim is told by from earlier ones of the same key.
    attempt: Ulid,
}

/// Files with some rows of a table that is not committed yet. It can be serialised, to be sent to whoever commits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TablePart {
    rows: u64,
    fragments: Vec<Fragment>,
}

impl TablePart {
    /// Its number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

/// A table whose place is claimed and whose parts are being written. Dropped, it leaves them, as if its process had been
/// killed: whoever begins the table by the same key goes on with them. [`give_up`](Self::give_up) takes them away.
pub struct TableInParts {
    session: Arc<Session>,
    backend: Arc<dyn Backend>,
    url: Url,
    key: Ulid,
    attempt: Ulid,
}

impl std::fmt::Debug for TableInParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableInParts").field("url", &self.url).finish_non_exhaustive()
    }
}

impl LanceStore {
    /// Claims the place of a table whose rows [`write_part`](Self::write_part) adds, or joins those who make it by the same
    /// `key`, dead or alive. They must be about to write the same rows into the parts of the same numbers; a new
    /// identity (`Ulid::generate()`) is a key that nobody shares.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use arrow_array::{Int64Array, RecordBatch};
    /// # use arrow_schema::{DataType, Field, Schema};
    /// # use tlc_core::ulid::Ulid;
    /// # use tlc_core::{Progress, TableStore};
    /// # use tlc_table::LanceStore;
    /// # let folder = tempfile::tempdir()?;
    /// # let url = tlc_core::Url::from_path(folder.path())?.join("numbers.lance")?;
    /// let store = LanceStore::default();
    /// let schema = Arc::new(Schema::new(vec![Field::new("example_id", DataType::Int64, false)]));
    /// let rows = |ids| RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(ids))]).expect("one column");
    /// let table = store.begin_parts(&url, Ulid::generate())?;
    /// let last = store.write_part(&url, &schema, Box::new([Ok(rows(vec![2, 3]))].into_iter()))?;
    /// let first = store.write_part(&url, &schema, Box::new([Ok(rows(vec![0, 1]))].into_iter()))?;
    /// let info = table.commit(&schema, vec![first, last], &Progress::default())?;
    /// assert_eq!(info.rows, 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`], also if it is being written by another key; a failing backend.
    pub fn begin_parts(&self, url: &Url, key: Ulid) -> Result<TableInParts, StoreError> {
        let backend = self.backend(url)?;
        let attempt = match backend.claim(url) {
            Ok(()) => note_first(backend.as_ref(), url, key)?,
            Err(taken @ StoreError::AlreadyExists { is_unfinished: true, .. }) => {
                join(backend.as_ref(), url, key)?.ok_or(taken)?
            }
            Err(error) => return Err(error),
        };
        Ok(TableInParts { session: self.engine.session.clone(), backend, url: url.clone(), key, attempt })
    }

    /// Writes `rows`, which have the columns of `schema`, as a part of the table that was begun at `url`. Any process
    /// may do so, and several at once.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if no table was begun there, or whoever began it gave up, and
    /// [`StoreError::AlreadyExists`] if it is committed; the first error of `rows`; rows of another schema; a failing
    /// backend.
    pub fn write_part(&self, url: &Url, schema: &SchemaRef, rows: BatchStream<'_>) -> Result<TablePart, StoreError> {
        let backend = self.backend(url)?;
        need_begun(backend.as_ref(), url)?;
        let uri = backend.lance_uri(url)?;
        // Once more when there is something to write, which may take long: files would make the folder anew that whoever
        // gave up took away.
        let mut is_first = true;
        let rows = rows.map(|batch| {
            if std::mem::take(&mut is_first) {
                need_begun(backend.as_ref(), url)?;
            }
            batch
        });
        let transaction = write_files(&self.engine.session, &uri, url, schema, Box::new(rows), None)?;
        let fragments = match transaction.operation {
            Operation::Overwrite { fragments, .. } => fragments,
            other => {
                let reason = format!("writing rows gave the operation {}", other.name());
                return Err(StoreError::Damaged { url: url.clone(), reason });
            }
        };
        let rows = fragments.iter().map(|fragment| fragment.physical_rows.unwrap_or(0) as u64).sum();
        Ok(TablePart { rows, fragments })
    }

    /// Says that part `number` of the table that was begun at `url` is written; `key` is what
    /// [`TableInParts::key`] gives. Gives the part that counts: of several writers of one number that of the first, whose
    /// rows must be the same. The files of a part that does not count are removed.
    ///
    /// # Errors
    /// As [`write_part`](Self::write_part); a record that cannot be read.
    pub fn keep_part(&self, url: &Url, key: Ulid, number: u64, part: TablePart) -> Result<TablePart, StoreError> {
        let backend = self.backend(url)?;
        let kept = self.first_part(backend.as_ref(), url, key, number, &part);
        let is_lost = match &kept {
            Ok(first) => !share_files(&first.fragments, &part.fragments),
            Err(StoreError::NotFound { .. }) => true,
            // Committed meanwhile, perhaps with this very part, if its writer says so a second time.
            Err(StoreError::AlreadyExists { .. }) => self.names_part(backend.as_ref(), url, &part).is_ok_and(|is| !is),
            // It may count all the same.
            Err(_) => false,
        };
        if is_lost && let Err(error) = remove_files(backend.as_ref(), url, &part) {
            tracing::warn!(%url, part = number, %error, "cannot remove a part that somebody else wrote, too; it takes space");
        }
        kept
    }

    /// Whether the table that was committed has a file of `part`.
    fn names_part(&self, backend: &dyn Backend, url: &Url, part: &TablePart) -> Result<bool, StoreError> {
        let dataset = read::open(&self.engine.session, backend, url)?;
        Ok(share_files(dataset.fragments(), &part.fragments))
    }

    /// The part `number`, after it was tried to be `part`.
    fn first_part(
        &self,
        backend: &dyn Backend,
        url: &Url,
        key: Ulid,
        number: u64,
        part: &TablePart,
    ) -> Result<TablePart, StoreError> {
        need_begun(backend, url)?;
        sync_files(url, part)?;
        let content =
            serde_json::to_vec(part).map_err(|error| StoreError::backend("describe a part of", url, error))?;
        match backend.write_object(&record(url, key, number)?, &content, &WriteCondition::Absent) {
            Ok(_) => Ok(part.clone()),
            Err(StoreError::AlreadyExists { url: record, .. }) => match self.kept_part(url, key, number)? {
                Some(first) => Ok(first),
                None => Err(StoreError::NotFound { url: record }), // The table was given up just now.
            },
            Err(error) => Err(error),
        }
    }

    /// Part `number` of the table that was begun at `url`, if somebody has written it; `key` is what
    /// [`TableInParts::key`] gives.
    ///
    /// # Errors
    /// A record that cannot be read; a failing backend.
    pub fn kept_part(&self, url: &Url, key: Ulid, number: u64) -> Result<Option<TablePart>, StoreError> {
        read_part(self.backend(url)?.as_ref(), &record(url, key, number)?)
    }

    /// The rows with these numbers, of all columns or those of `columns`; numbers beyond the last row are left out.
    ///
    /// # Errors
    /// As [`scan`](tlc_core::TableStore::scan).
    pub fn scan_range(
        &self,
        url: &Url,
        columns: Option<&[String]>,
        rows: Range<u64>,
    ) -> Result<BatchStream<'static>, StoreError> {
        let dataset = read::open(&self.engine.session, self.reading(url)?.as_ref(), url)?;
        let scan = Scan { columns: columns.map(<[String]>::to_vec), ..Scan::default() };
        read::scan_dataset(&dataset, url, scan, Some(rows))
    }
}

fn records(url: &Url, attempt: Ulid) -> Result<Url, StoreError> {
    Ok(url.join(RECORDS)?.join(&attempt.to_string())?)
}

fn record(url: &Url, attempt: Ulid, number: u64) -> Result<Url, StoreError> {
    Ok(records(url, attempt)?.join(&format!("{number}{RECORD_SUFFIX}"))?)
}

fn note(url: &Url, key: Ulid) -> Result<Url, StoreError> {
    Ok(url.join(RECORDS)?.join(&key.to_string())?.join(NOTE)?)
}

/// What the record at `record` says; `None` if there is none.
fn read_part(backend: &dyn Backend, record: &Url) -> Result<Option<TablePart>, StoreError> {
    let content = match backend.read_object(record) {
        Ok((content, _)) => content,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let damaged = |error: serde_json::Error| StoreError::Damaged { url: record.clone(), reason: error.to_string() };
    serde_json::from_slice(&content).map(Some).map_err(damaged)
}

/// What the note at `note` says, and its version; `None` if there is none.
fn read_note(backend: &dyn Backend, note: &Url) -> Result<Option<(Note, ObjectVersion)>, StoreError> {
    let (content, version) = match backend.read_object(note) {
        Ok(found) => found,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let damaged = |error: serde_json::Error| StoreError::Damaged { url: note.clone(), reason: error.to_string() };
    Ok(Some((serde_json::from_slice(&content).map_err(damaged)?, version)))
}

fn write_note(backend: &dyn Backend, at: &Url, note: Note, condition: &WriteCondition) -> Result<(), StoreError> {
    let content = serde_json::to_vec(&note).expect("two words are plain data");
    backend.write_object(at, &content, condition).map(drop)
}

/// Says who claimed the place just now; gives that back if it cannot be said. What the claim is called.
fn note_first(backend: &dyn Backend, url: &Url, key: Ulid) -> Result<Ulid, StoreError> {
    let (at, attempt) = (note(url, key)?, Ulid::generate());
    let written = write_note(backend, &at, Note { drivers: Drivers::One, attempt }, &WriteCondition::Absent);
    if written.is_err() && matches!(read_note(backend, &at), Ok(None)) {
        withdraw(backend, url);
    }
    written.map(|()| attempt)
}

/// What the claim of the table at `url` is called, if it is made by the key `key`: from now on by several.
fn join(backend: &dyn Backend, url: &Url, key: Ulid) -> Result<Option<Ulid>, StoreError> {
    let at = note(url, key)?;
    let mut found = awaited_note(backend, url, key)?;
    while let Some((Note { drivers, attempt }, version)) = found {
        match drivers {
            Drivers::Nobody => return Ok(None),
            Drivers::Several => return Ok(Some(attempt)),
            Drivers::One => {}
        }
        let joined = Note { drivers: Drivers::Several, attempt };
        match write_note(backend, &at, joined, &WriteCondition::Unchanged(version)) {
            Ok(()) => return Ok(Some(attempt)),
            // Somebody else has joined, or who was alone gives up.
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => match read_note(backend, &at) {
                Ok(None | Some((Note { drivers: Drivers::Nobody, .. }, _))) => return Ok(None),
                _ => return Err(error),
            },
        }
        found = read_note(backend, &at)?;
    }
    Ok(None)
}

/// What is said of the place by who claimed it by the key `key`, perhaps a moment ago. `None` if nobody did, or the place is
/// free by now.
fn awaited_note(backend: &dyn Backend, url: &Url, key: Ulid) -> Result<Option<(Note, ObjectVersion)>, StoreError> {
    let (at, begin, own) = (note(url, key)?, Instant::now(), key.to_string());
    loop {
        let found = read_note(backend, &at)?;
        if found.is_some() || begin.elapsed() >= NOTED_WITHIN || !backend.is_claimed(url)? {
            return Ok(found);
        }
        // Then another key has its note there, or this one has by now, and records.
        if backend.list_folders(&url.join(RECORDS)?)?.iter().any(|name| *name != own) {
            return read_note(backend, &at);
        }
        std::thread::sleep(LOOK);
    }
}

fn share_files(some: &[Fragment], others: &[Fragment]) -> bool {
    let of_others: BTreeSet<&String> = others.iter().flat_map(|it| &it.files).map(|file| &file.path).collect();
    some.iter().flat_map(|it| &it.files).any(|file| of_others.contains(&file.path))
}

/// Makes the files of a part survive a power loss, before a record says that they are there. What an object store has
/// taken does.
fn sync_files(url: &Url, part: &TablePart) -> Result<(), StoreError> {
    let Some(folder) = url.join(DATA_FOLDER)?.to_path() else { return Ok(()) };
    let files = part.fragments.iter().flat_map(|fragment| &fragment.files).map(|file| folder.join(&file.path));
    let mut paths = files.chain([folder.clone()]);
    paths
        .try_for_each(|path| File::open(path)?.sync_all())
        .map_err(|error| StoreError::backend("flush a part of", url, error))
}

/// Removes the files of a part that no manifest names.
fn remove_files(backend: &dyn Backend, url: &Url, part: &TablePart) -> Result<(), StoreError> {
    let folder = url.join(DATA_FOLDER)?;
    let files = part.fragments.iter().flat_map(|fragment| &fragment.files);
    files.map(|file| folder.join(&file.path)).try_for_each(|file| backend.delete_object(&file?))
}

/// Refuses a place whose table nobody waits for any more: files would only be in the way.
fn need_begun(backend: &dyn Backend, url: &Url) -> Result<(), StoreError> {
    if !backend.is_claimed(url)? {
        return Err(StoreError::NotFound { url: url.clone() });
    }
    match backend.has_table(url)? {
        true => Err(StoreError::exists(url)),
        false => Ok(()),
    }
}

impl TableInParts {
    /// By what its writers keep their parts: one for all who have joined. It is made anew when a place is claimed, also
    /// by a key that it had before.
    pub fn key(&self) -> Ulid {
        self.attempt
    }

    /// The numbers of the parts that are written.
    ///
    /// # Errors
    /// A failing backend.
    pub fn kept_parts(&self) -> Result<BTreeSet<u64>, StoreError> {
        let names = self.backend.list_objects(&records(&self.url, self.attempt)?)?;
        Ok(names.iter().filter_map(|name| name.strip_suffix(RECORD_SUFFIX)?.parse().ok()).collect())
    }

    /// Makes the table visible: the rows of `parts`, in this order.
    ///
    /// The parts are read once before, for the digest of the content, which goes over all rows in their order: no part
    /// can bring its share of it. What cannot be read back is thus noticed before anybody sees it.
    ///
    /// # Errors
    /// Parts that are damaged or missing, which are not [`kept`](Self::kept_parts) any more: they can be written again.
    /// A failing backend; cancellation. All other parts stay.
    /// [`StoreError::AlreadyExists`] if another one of the same key was faster. [`StoreError::NotFlushed`] if this one's
    /// table is there.
    pub fn commit(
        &self,
        schema: &SchemaRef,
        parts: Vec<TablePart>,
        progress: &Progress,
    ) -> Result<TableInfo, StoreError> {
        let (session, backend, url) = (&self.session, self.backend.as_ref(), &self.url);
        let dataset = match self.commit_first(schema, parts, progress) {
            Ok(dataset) => dataset,
            Err(StoreError::Cancelled(cancelled)) => return Err(cancelled.into()),
            Err(_) if backend.has_table(url).unwrap_or(false) => return Err(StoreError::exists(url)),
            Err(error) => return Err(error),
        };
        // Not before: if a power loss takes the manifest back, the same job goes on with the parts.
        let made = finish(session, backend, url, &dataset)?;
        remove_what_parts_left(session, backend, url);
        Ok(made)
    }

    fn commit_first(
        &self,
        schema: &SchemaRef,
        parts: Vec<TablePart>,
        progress: &Progress,
    ) -> Result<Dataset, StoreError> {
        let (session, backend, url) = (&self.session, self.backend.as_ref(), &self.url);
        need_begun(backend, url)?;
        let uri = backend.lance_uri(url)?;
        let rows = parts.iter().map(TablePart::rows).sum();
        let no_rows = Box::new(std::iter::empty());
        let mut transaction = write_files(session, &uri, url, schema, no_rows, None)?;
        set_parts(&mut transaction, parts);
        let digest = match digest_of(session, &uri, url, schema, &transaction, rows, progress) {
            Ok(digest) => digest,
            Err(StoreError::Cancelled(cancelled)) => return Err(cancelled.into()),
            Err(error) => {
                return Err(match self.forget_bad_parts(&uri, schema, &transaction, progress) {
                    Ok(()) => error,
                    Err(cancelled @ StoreError::Cancelled(_)) => cancelled,
                    Err(unknown) => {
                        tracing::warn!(%url, error = %unknown, "cannot look which parts can be read");
                        error
                    }
                });
            }
        };
        set_digest(&mut transaction, digest);
        backend.flush_rows(url)?;
        commit(session, &uri, url, transaction)
    }

    /// Takes the records away of parts that cannot be read, so that they are written again. A store must answer for
    /// that: in an outage no part can be read.
    fn forget_bad_parts(
        &self,
        uri: &str,
        schema: &SchemaRef,
        transaction: &Transaction,
        progress: &Progress,
    ) -> Result<(), StoreError> {
        let (backend, url) = (self.backend.as_ref(), &self.url);
        let data = url.join(DATA_FOLDER)?;
        for number in self.kept_parts()? {
            progress.check()?;
            let record = record(url, self.attempt, number)?;
            let Some(part) = read_part(backend, &record)? else { continue };
            let (mut alone, rows) = (transaction.clone(), part.rows());
            set_parts(&mut alone, vec![part.clone()]);
            let read = digest_of(&self.session, uri, url, schema, &alone, rows, &Progress::default());
            let Err(error) = read else { continue };
            for file in part.fragments.iter().flat_map(|fragment| &fragment.files) {
                backend.size_bytes(&data.join(&file.path)?)?;
            }
            backend.delete_object(&record)?;
            tracing::warn!(%url, part = number, %error, "a part was lost or damaged; the same job writes it again");
        }
        Ok(())
    }

    /// Takes all parts away and gives the place back, unless others have joined, or the table was committed. Whether it did.
    ///
    /// # Errors
    /// A failing backend. What is left then takes space, and the place is taken.
    pub fn give_up(self) -> Result<bool, StoreError> {
        let (backend, at, attempt) = (self.backend.as_ref(), note(&self.url, self.key)?, self.attempt);
        // Of another claim if this one's parts were taken away meanwhile, as those of a driver that was thought dead.
        let version = match read_note(backend, &at)? {
            Some((note, version)) if note == (Note { drivers: Drivers::One, attempt }) => version,
            _ => return Ok(false),
        };
        let given_up = Note { drivers: Drivers::Nobody, attempt };
        match write_note(backend, &at, given_up, &WriteCondition::Unchanged(version)) {
            Ok(()) => {}
            Err(StoreError::Conflict { .. }) => return Ok(false), // Somebody has joined just now.
            Err(error) => return Err(error),
        }
        // Nobody else commits any more; but an own commit may have been done although its answer was lost.
        if backend.has_table(&self.url)? {
            return Ok(false);
        }
        backend.withdraw(&self.url)?;
        Ok(true)
    }
}

/// Makes the rows of these parts those of a transaction.
fn set_parts(transaction: &mut Transaction, parts: Vec<TablePart>) {
    if let Operation::Overwrite { fragments, .. } = &mut transaction.operation {
        // Writers know nothing of each other: numbers are given by the commit.
        let of_parts = parts.into_iter().flat_map(|part| part.fragments);
        *fragments = of_parts.map(|fragment| Fragment { id: 0, ..fragment }).collect();
    }
}

/// The digest of the rows that a transaction would make visible.
fn digest_of(
    session: &Arc<Session>,
    uri: &str,
    url: &Url,
    schema: &SchemaRef,
    transaction: &Transaction,
    expected: u64,
    progress: &Progress,
) -> Result<String, StoreError> {
    let failed = |cause: Cause| StoreError::backend("read the parts of", url, brief(url, cause));
    // With caches of its own, since what it opens is no version of the table.
    let session = new_session(session.store_registry());
    let opened = wait(|| async {
        let builder = CommitBuilder::new(uri).with_session(session).with_commit_handler(Arc::new(OpenOnly));
        builder.execute(transaction.clone()).await
    });
    let dataset = opened.map_err(|panic| failed(panic.into()))?.map_err(|error| failed(error.into()))?;
    let task = progress.task("verify", expected);
    let (mut digest, mut found) = (TableDigest::new(schema), 0);
    for batch in read::scan_dataset(&dataset, url, Scan::default(), None)? {
        let batch = batch?;
        found += batch.num_rows() as u64;
        digest.update(&batch).map_err(|reason| StoreError::InvalidData { url: url.clone(), reason })?;
        task.advance(batch.num_rows() as u64)?;
    }
    if found != expected {
        let reason = format!("its parts hold {found} rows, {expected} were written");
        return Err(StoreError::Damaged { url: url.clone(), reason });
    }
    Ok(digest.finish())
}

/// Takes the records away, and the files of parts that were lost. They only take space, so a failure is no error.
fn remove_what_parts_left(session: &Arc<Session>, backend: &dyn Backend, url: &Url) {
    let records = url.join(RECORDS).map_err(StoreError::from);
    let removed = records.and_then(|records| backend.delete_folder(&records));
    let opened = removed.and_then(|()| read::open(session, backend, url));
    let removed = opened.and_then(|dataset: Dataset| {
        let failed = |cause: Cause| StoreError::backend("clean up", url, brief(url, cause));
        // Nobody but the writers of parts writes here, and these are done: files need not grow old first.
        let cleaned = wait(|| dataset.cleanup_old_versions(Default::default(), Some(true), Some(false)));
        cleaned.map_err(|panic| failed(panic.into()))?.map_err(|error| failed(error.into()))
    });
    if let Err(error) = removed {
        tracing::warn!(%url, %error, "cannot remove files of parts that were lost; they take space");
    }
}

/// "Commits" without writing a manifest: gives a view of a table that nobody else can see.
#[derive(Debug)]
struct OpenOnly;

#[async_trait]
impl CommitHandler for OpenOnly {
    async fn commit(
        &self,
        manifest: &mut Manifest,
        _indices: Option<Vec<IndexMetadata>>,
        base_path: &Path,
        _object_store: &ObjectStore,
        _manifest_writer: ManifestWriter,
        naming_scheme: ManifestNamingScheme,
        _transaction: Option<ManifestTransaction>,
    ) -> Result<ManifestLocation, CommitError> {
        let (version, path) = (manifest.version, naming_scheme.manifest_path(base_path, manifest.version));
        Ok(ManifestLocation { version, path, size: None, naming_scheme, e_tag: None, identity: None })
    }
}

#[cfg(test)]
mod tests;
