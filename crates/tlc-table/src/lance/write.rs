//! Creating a table: reserve its place, stream the rows, commit once, flush.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use lance::dataset::transaction::{Operation, Transaction};
use lance::dataset::{CommitBuilder, InsertBuilder, WriteMode, WriteParams};
use lance::session::Session;
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
    let uri = place.backend.lance_uri(url)?;
    let mut digest = TableDigest::new(schema);
    let mut transaction = write_files(session, &uri, url, schema, rows, Some(&mut digest))?;
    set_digest(&mut transaction, digest.finish());
    commit(session, &uri, url, transaction)?;
    place.finish(session)
}

/// The table's place, given back unless the table was committed.
pub(super) struct Place {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) url: Url,
    is_kept: bool,
}

impl Place {
    pub(super) fn claim(backend: Arc<dyn Backend>, url: &Url) -> Result<Self, StoreError> {
        backend.claim(url)?;
        Ok(Self { backend, url: url.clone(), is_kept: false })
    }

    /// Keeps the table, which was committed.
    pub(super) fn finish(mut self, session: &Arc<Session>) -> Result<TableInfo, StoreError> {
        self.backend.flush(&self.url)?;
        let info = super::read::info(session, self.backend.as_ref(), &self.url)?;
        self.is_kept = true;
        Ok(info)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = self.backend.withdraw(&self.url)
        {
            tracing::warn!(url = %self.url, %error, "cannot remove an unfinished table; it takes space until `tlc doctor --repair`");
        }
    }
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

/// Makes the table visible.
pub(super) fn commit(session: &Arc<Session>, uri: &str, url: &Url, transaction: Transaction) -> Result<(), StoreError> {
    let failed = |cause: Cause| StoreError::backend("write", url, brief(url, cause));
    let commit = wait(|| async { CommitBuilder::new(uri).with_session(session.clone()).execute(transaction).await });
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
