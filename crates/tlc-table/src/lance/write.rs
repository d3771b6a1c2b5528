//! Creating a table: reserve its place, stream the rows, commit once, flush.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use lance::dataset::transaction::Operation;
use lance::dataset::{CommitBuilder, InsertBuilder, WriteMode, WriteParams};
use lance::session::Session;
use tlc_core::digest::TableDigest;
use tlc_core::{BatchStream, StoreError, TableInfo, Url};

use super::DIGEST_KEY;
use crate::files;
use crate::runtime::{QUEUED_BATCHES, wait};

/// The file format; pinned, since the default moves with Lance's releases.
const STORAGE_VERSION: &str = "2.2";

pub(super) fn create(
    session: &Arc<Session>,
    url: &Url,
    schema: &SchemaRef,
    rows: BatchStream<'_>,
) -> Result<TableInfo, StoreError> {
    let path = files::local_path(url)?;
    let place = Place::reserve(url, &path)?;
    write_and_commit(session, url, &path, schema, rows)?;
    files::sync_tree(&path).map_err(|error| StoreError::backend("flush", url, error))?;
    let info = super::read::info(session, url)?;
    place.keep();
    Ok(info)
}

/// The table's folder, removed again unless the table was committed.
struct Place<'a>(Option<&'a Path>);

impl<'a> Place<'a> {
    fn reserve(url: &Url, path: &'a Path) -> Result<Self, StoreError> {
        let failed = |error| StoreError::backend("create", url, error);
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
        match fs::create_dir(path) {
            Ok(()) => Ok(Self(Some(path))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(StoreError::AlreadyExists { url: url.clone() })
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.0
            && let Err(error) = files::remove_tree(path)
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove an unfinished table; it is invisible, but takes space");
        }
    }
}

fn write_and_commit(
    session: &Arc<Session>,
    url: &Url,
    path: &Path,
    schema: &SchemaRef,
    rows: BatchStream<'_>,
) -> Result<(), StoreError> {
    let uri = path.to_string_lossy();
    let params = WriteParams {
        mode: WriteMode::Create,
        data_storage_version: Some(STORAGE_VERSION.parse().expect("a version that Lance knows")),
        session: Some(session.clone()),
        ..WriteParams::default()
    };
    let (sender, receiver) = sync_channel(QUEUED_BATCHES);
    let reader = ChannelReader { schema: schema.clone(), receiver };
    let mut digest = TableDigest::new(schema);
    let mut failure = None;
    let written = std::thread::scope(|scope| {
        let (uri, params) = (&uri, &params);
        let reader: Box<dyn RecordBatchReader + Send> = Box::new(reader);
        let writer = scope.spawn(move || {
            wait(move || async move {
                InsertBuilder::new(uri.as_ref()).with_params(params).execute_uncommitted_stream(reader).await
            })
        });
        for batch in rows {
            let checked = batch.and_then(|batch| check_and_digest(url, schema, batch, &mut digest));
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
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::backend("write", url, source);
    let mut transaction = written.map_err(|panic| failed(panic.into()))?.map_err(|error| failed(error.into()))?;
    if let Operation::Overwrite { schema, .. } = &mut transaction.operation {
        schema.metadata.insert(DIGEST_KEY.to_owned(), digest.finish());
    }
    let commit =
        wait(|| async { CommitBuilder::new(uri.as_ref()).with_session(session.clone()).execute(transaction).await });
    let dataset = commit.map_err(|panic| failed(panic.into()))?.map_err(|error| failed(error.into()))?;
    match dataset.version().version {
        1 => Ok(()),
        // Somebody wrote here although the place was ours.
        version => Err(StoreError::Damaged {
            url: url.clone(),
            reason: format!("a new table has version {version} instead of 1"),
        }),
    }
}

fn check_and_digest(
    url: &Url,
    schema: &Schema,
    batch: RecordBatch,
    digest: &mut TableDigest,
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
    digest.update(&batch).map_err(invalid)?;
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
