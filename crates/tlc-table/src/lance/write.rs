//! Creating a table: reserve its place, stream the rows, flush them, commit once, flush the rest.
//!
//! Whoever looks may read a table from its commit on, so nothing that fails later takes it away again. What can fail for
//! want of room or by a bad disk, the rows, is therefore flushed before.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use async_trait::async_trait;
use lance::Dataset;
use lance::dataset::transaction::{Operation, Transaction};
use lance::dataset::{CommitBuilder, InsertBuilder, WriteMode, WriteParams};
use lance::session::Session;
use lance::table::format::{IndexMetadata, Manifest, Transaction as ManifestTransaction};
use lance_io::object_store::ObjectStore;
use lance_table::io::commit::{
    CommitError, CommitHandler, ManifestLocation, ManifestNamingScheme, ManifestWriter, commit_handler_from_url,
};
use object_store::path::Path;
use tlc_core::digest::TableDigest;
use tlc_core::{BatchStream, StoreError, TableInfo, Url};

use super::DIGEST_KEY;
use crate::backend::Backend;
use crate::cause::{Cause, brief};
use crate::runtime::{QUEUED_BATCHES, wait};

/// The file format; pinned, since the default moves with Lance's releases.
const STORAGE_VERSION: &str = "2.2";

pub(super) fn create(
    session: &Arc<Session>,
    backend: Arc<dyn Backend>,
    url: &Url,
    schema: &SchemaRef,
    rows: BatchStream<'_>,
) -> Result<TableInfo, StoreError> {
    let place = Place::claim(backend, url)?;
    let backend = place.backend.clone();
    let uri = backend.lance_uri(url)?;
    let mut digest = TableDigest::new(schema);
    let mut transaction = write_files(session, &uri, url, schema, rows, Some(&mut digest))?;
    set_digest(&mut transaction, digest.finish());
    backend.flush_rows(url)?;
    let dataset = commit(session, &uri, url, transaction)?;
    place.keep();
    finish(session, backend.as_ref(), url, &dataset)
}

/// The place of a table that is being written, given back unless it is kept.
struct Place {
    backend: Arc<dyn Backend>,
    url: Url,
    is_kept: bool,
}

impl Place {
    fn claim(backend: Arc<dyn Backend>, url: &Url) -> Result<Self, StoreError> {
        backend.claim(url)?;
        Ok(Self { backend, url: url.clone(), is_kept: false })
    }

    /// Its table was committed.
    fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_kept {
            withdraw(self.backend.as_ref(), &self.url);
        }
    }
}

/// Gives a place back. Who wanted its table is told something else already, so a failure is no error.
pub(super) fn withdraw(backend: &dyn Backend, url: &Url) {
    if let Err(error) = backend.withdraw(url) {
        tracing::warn!(%url, %error, "cannot remove an unfinished table; it takes space until `tlc doctor --repair`");
    }
}

/// What was committed, after it was flushed.
pub(super) fn finish(
    session: &Arc<Session>,
    backend: &dyn Backend,
    url: &Url,
    dataset: &Dataset,
) -> Result<TableInfo, StoreError> {
    backend.flush(url).map_err(|error| StoreError::NotFlushed { url: url.clone(), source: error.into() })?;
    Ok(super::read::info(session, backend, url).unwrap_or_else(|error| {
        // The network may be gone just now. The table is there all the same.
        tracing::warn!(%url, %error, "cannot read back what is known of a table that was written");
        info_of(dataset, url)
    }))
}

/// What a commit knows of its table, without reading anything.
fn info_of(dataset: &Dataset, url: &Url) -> TableInfo {
    let schema = Schema::from(dataset.schema());
    let digest = schema.metadata().get(DIGEST_KEY).cloned();
    let rows = dataset.fragments().iter().map(|fragment| fragment.physical_rows.unwrap_or(0) as u64).sum();
    TableInfo { url: url.clone(), schema: Arc::new(schema), rows, digest }
}

/// Writes the rows into files that no manifest names yet.
pub(super) fn write_files(
    session: &Arc<Session>,
    uri: &str,
    url: &Url,
    schema: &SchemaRef,
    rows: BatchStream<'_>,
    mut digest: Option<&mut TableDigest>,
) -> Result<Transaction, StoreError> {
    let params = WriteParams {
        mode: WriteMode::Create,
        data_storage_version: Some(STORAGE_VERSION.parse().expect("a version that Lance knows")),
        session: Some(session.clone()),
        ..WriteParams::default()
    };
    let (sender, receiver) = sync_channel(QUEUED_BATCHES);
    let reader = ChannelReader { schema: schema.clone(), receiver };
    let mut failure = None;
    let written = std::thread::scope(|scope| {
        let params = &params;
        let reader: Box<dyn RecordBatchReader + Send> = Box::new(reader);
        let writer =
            scope.spawn(move || {
                wait(move || async move {
                    InsertBuilder::new(uri).with_params(params).execute_uncommitted_stream(reader).await
                })
            });
        for batch in rows {
            let checked = batch.and_then(|batch| check_and_digest(url, schema, batch, digest.as_deref_mut()));
            let stop = checked.is_err();
            let item = checked.map_err(|error| {
                failure = Some(error);
                ArrowError::ComputeError("the rows could not be produced".to_owned())
            });
            // A failed send means that the writer died; its error comes below.
            if sender.send(item).is_err() || stop {
                break;
            }
        }
        drop(sender);
        writer.join().expect("the writer returns its panics")
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    let failed = |cause: Cause| StoreError::backend("write", url, brief(url, cause));
    written.map_err(|panic| failed(panic.into()))?.map_err(|error| failed(error.into()))
}

/// Makes the content's digest part of what will be committed.
pub(super) fn set_digest(transaction: &mut Transaction, digest: String) {
    if let Operation::Overwrite { schema, .. } = &mut transaction.operation {
        schema.metadata.insert(DIGEST_KEY.to_owned(), digest);
    }
}

/// Makes the table visible, unless one is.
pub(super) fn commit(
    session: &Arc<Session>,
    uri: &str,
    url: &Url,
    transaction: Transaction,
) -> Result<Dataset, StoreError> {
    let failed = |cause: Cause| StoreError::backend("write", url, brief(url, cause));
    let commit = wait(|| async {
        let first = FirstOnly(commit_handler_from_url(uri, &None).await?);
        let builder = CommitBuilder::new(uri).with_session(session.clone()).with_commit_handler(Arc::new(first));
        builder.execute(transaction).await
    });
    commit.map_err(|panic| failed(panic.into()))?.map_err(|error| failed(error.into()))
}

/// Commits the first version of a table and no other: Lance would overwrite one that somebody committed meanwhile.
#[derive(Debug)]
struct FirstOnly(Arc<dyn CommitHandler>);

#[async_trait]
impl CommitHandler for FirstOnly {
    fn is_version_not_found_definitive(&self) -> bool {
        self.0.is_version_not_found_definitive()
    }

    fn propagate_commit_error_after_success(&self) -> bool {
        self.0.propagate_commit_error_after_success()
    }

    async fn commit(
        &self,
        manifest: &mut Manifest,
        indices: Option<Vec<IndexMetadata>>,
        base_path: &Path,
        object_store: &ObjectStore,
        manifest_writer: ManifestWriter,
        naming_scheme: ManifestNamingScheme,
        transaction: Option<ManifestTransaction>,
    ) -> Result<ManifestLocation, CommitError> {
        if manifest.version != 1 {
            // Not a conflict: after one, Lance would try the next version.
            return Err(CommitError::OtherError(lance::Error::invalid_input("a table is there already")));
        }
        self.0.commit(manifest, indices, base_path, object_store, manifest_writer, naming_scheme, transaction).await
    }
}

fn check_and_digest(
    url: &Url,
    schema: &Schema,
    batch: RecordBatch,
    digest: Option<&mut TableDigest>,
) -> Result<RecordBatch, StoreError> {
    let invalid = |reason: String| StoreError::InvalidData { url: url.clone(), reason };
    let found = batch.schema();
    let same = found.fields().len() == schema.fields().len()
        && found
            .fields()
            .iter()
            .zip(schema.fields())
            .all(|(found, expected)| found.name() == expected.name() && found.data_type() == expected.data_type());
    if !same {
        let names = |schema: &Schema| {
            let columns = schema.fields().iter().map(|field| format!("{}: {}", field.name(), field.data_type()));
            columns.collect::<Vec<_>>().join(", ")
        };
        return Err(invalid(format!(
            "a batch has the columns ({}), announced were ({})",
            names(&found),
            names(schema)
        )));
    }
    digest.map_or(Ok(()), |digest| digest.update(&batch)).map_err(invalid)?;
    Ok(batch)
}

/// Batches that another thread makes, as Lance wants them.
struct ChannelReader {
    schema: SchemaRef,
    receiver: Receiver<Result<RecordBatch, ArrowError>>,
}

impl Iterator for ChannelReader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.receiver.recv().ok()
    }
}

impl RecordBatchReader for ChannelReader {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use arrow_array::Int64Array;
    use arrow_schema::{DataType, Field};
    use tlc_core::{ObjectVersion, Progress, TableStore, WriteCondition, with_causes};

    use super::*;
    use crate::LanceStore;
    use crate::files::LocalFiles;
    use crate::lance::Engine;

    /// A disk that fails when it is told to keep what was written: the rows, or all the rest.
    struct BadDisk {
        keeps_rows: bool,
    }

    impl BadDisk {
        fn fail(url: &Url) -> StoreError {
            StoreError::backend("flush", url, std::io::Error::from_raw_os_error(5))
        }
    }

    impl Backend for BadDisk {
        fn flush_rows(&self, url: &Url) -> Result<(), StoreError> {
            self.keeps_rows.then_some(()).ok_or_else(|| Self::fail(url))
        }

        fn flush(&self, url: &Url) -> Result<(), StoreError> {
            Err(Self::fail(url))
        }

        fn lance_uri(&self, url: &Url) -> Result<String, StoreError> {
            LocalFiles.lance_uri(url)
        }

        fn has_table(&self, url: &Url) -> Result<bool, StoreError> {
            LocalFiles.has_table(url)
        }

        fn claim(&self, url: &Url) -> Result<(), StoreError> {
            LocalFiles.claim(url)
        }

        fn is_claimed(&self, url: &Url) -> Result<bool, StoreError> {
            LocalFiles.is_claimed(url)
        }

        fn withdraw(&self, url: &Url) -> Result<(), StoreError> {
            LocalFiles.withdraw(url)
        }

        fn delete(&self, url: &Url) -> Result<(), StoreError> {
            LocalFiles.delete(url)
        }

        fn list_tables(&self, folder: &Url) -> Result<Vec<Url>, StoreError> {
            LocalFiles.list_tables(folder)
        }

        fn size_bytes(&self, url: &Url) -> Result<u64, StoreError> {
            LocalFiles.size_bytes(url)
        }

        fn read_object(&self, url: &Url) -> Result<(Vec<u8>, ObjectVersion), StoreError> {
            LocalFiles.read_object(url)
        }

        fn write_object(
            &self,
            url: &Url,
            content: &[u8],
            condition: &WriteCondition,
        ) -> Result<ObjectVersion, StoreError> {
            LocalFiles.write_object(url, content, condition)
        }

        fn list_folders(&self, folder: &Url) -> Result<Vec<String>, StoreError> {
            LocalFiles.list_folders(folder)
        }

        fn list_objects(&self, folder: &Url) -> Result<Vec<String>, StoreError> {
            LocalFiles.list_objects(folder)
        }

        fn delete_object(&self, url: &Url) -> Result<(), StoreError> {
            LocalFiles.delete_object(url)
        }

        fn delete_folder(&self, folder: &Url) -> Result<(), StoreError> {
            LocalFiles.delete_folder(folder)
        }

        fn last_modified(&self, url: &Url) -> Result<Option<SystemTime>, StoreError> {
            LocalFiles.last_modified(url)
        }

        fn list_leftovers(&self, folder: &Url) -> Result<Vec<Url>, StoreError> {
            LocalFiles.list_leftovers(folder)
        }
    }

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]))
    }

    fn rows(schema: &SchemaRef, ids: std::ops::Range<i64>) -> BatchStream<'static> {
        let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from_iter_values(ids))]);
        Box::new([Ok(batch.expect("one column"))].into_iter())
    }

    #[test]
    fn what_may_be_read_already_is_not_taken_away_by_a_failed_flush() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = Url::from_path(&folder.path().join("t.lance")).expect("an absolute path");
        let (session, schema) = (Engine::default().session, schema());
        let create = |disk: BadDisk| create(&session, Arc::new(disk), &url, &schema, rows(&schema, 0..1000));
        let error = create(BadDisk { keeps_rows: false }).expect_err("the rows may be lost");
        assert!(matches!(error, StoreError::Backend { .. }), "{error:?}");
        assert!(!folder.path().join("t.lance").exists(), "nobody could read it yet");

        let error = create(BadDisk { keeps_rows: true }).expect_err("the rest may be lost");
        assert!(matches!(error, StoreError::NotFlushed { .. }), "{error:?}");
        let text = with_causes(&error);
        assert!(text.contains("t.lance is written") && text.contains("os error 5"), "{text}");
        let store = LanceStore::default();
        assert_eq!(store.info(&url).expect("there").rows, 1000);
        store.verify(&url, &Progress::default()).expect("whole");
        let again = store.create(&url, schema.clone(), rows(&schema, 0..1000)).expect_err("it is there");
        assert!(matches!(again, StoreError::AlreadyExists { is_unfinished: false, .. }), "{again:?}");
        store.delete(&url).expect("it can be written again");
        store.create(&url, schema.clone(), rows(&schema, 0..1000)).expect("the place is free");
    }

    #[test]
    fn a_table_is_whole_without_the_copy_of_its_manifest() {
        let folder = tempfile::tempdir().expect("a folder");
        let table = folder.path().join("t.lance");
        let url = Url::from_path(&table).expect("an absolute path");
        let (store, schema) = (LanceStore::default(), schema());
        let mut batches = rows(&schema, 0..10);
        let in_the_way = table.join("_tlc_manifest");
        let rows = std::iter::from_fn(move || {
            std::fs::write(&in_the_way, b"").expect("the place is claimed");
            batches.next()
        });
        let made = store.create(&url, schema, Box::new(rows)).expect("a warning, no error");
        assert_eq!(made.rows, 10);
        store.verify(&url, &Progress::default()).expect("whole");
    }

    #[test]
    fn a_table_is_committed_once_and_the_commit_knows_what_is_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = Url::from_path(&folder.path().join("t.lance")).expect("an absolute path");
        let (session, schema) = (Engine::default().session, schema());
        let uri = LocalFiles.lance_uri(&url).expect("local");
        let mut digest = TableDigest::new(&schema);
        let transaction = |rows, digest: Option<&mut TableDigest>| {
            write_files(&session, &uri, &url, &schema, rows, digest).expect("writable")
        };
        let mut first = transaction(rows(&schema, 0..10), Some(&mut digest));
        let second = transaction(rows(&schema, 10..30), None);
        set_digest(&mut first, digest.finish());
        let committed = info_of(&commit(&session, &uri, &url, first).expect("the first"), &url);
        let read = || crate::lance::read::info(&session, &LocalFiles, &url).expect("there");
        assert_eq!((committed.rows, &committed.digest), (10, &read().digest));
        assert_eq!(committed.schema, read().schema);
        commit(&session, &uri, &url, second).expect_err("one is there");
        assert_eq!(read().rows, 10);
        let files = std::fs::read_dir(folder.path().join("t.lance/_versions")).expect("there").flatten();
        let manifests = files.filter(|file| file.path().extension().is_some_and(|ending| ending == "manifest"));
        assert_eq!(manifests.count(), 1, "it stays the only version");
    }
}
