//! Opening and scanning a table: in the version that its URL names, or else in version 1. That is the only one of a table
//! of tlc, whose stray newer ones are not looked at. A table of another program that has newer ones is refused without a
//! version, since neither the first nor the latest is the one that stays.
//!
//! A version never changes: whoever reads it twice, or remembers it in lineage, means the same rows. Of these some may have
//! been deleted by a later version than wrote them; they stay in its files, with a vector that says which they are. Lance 14
//! leaves them out everywhere: `count_rows` subtracts them, a scan skips them, its `limit` and `offset` count the rows that
//! are left (`Scanner::plan_metadata_scan_range`), and `take` takes places among these, which it maps past the others
//! (`take::row_offsets_to_row_addresses`), not row ids or addresses. So a row's number is its place in the scan in all of
//! them (`a_version_of_another_programs_table_is_read_as_it_was`).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use futures::StreamExt;
use lance::Dataset;
use lance::dataset::ProjectionRequest;
use lance::dataset::builder::DatasetBuilder;
use lance::session::Session;
use tlc_core::{BatchStream, Filter, Scan, StoreError, TableInfo, Url, check_row_numbers, select, suggest};

use super::DIGEST_KEY;
use crate::backend::Backend;
use crate::cause::{Cause, brief};
use crate::runtime::{Pumped, pump, wait};

const VERSION: u64 = 1;
/// Bytes that Lance reads ahead of who takes them; its own default are 2 GiB.
const IO_BUFFER_BYTES: u64 = 128 << 20;

pub(super) fn open(session: &Arc<Session>, backend: &dyn Backend, url: &Url) -> Result<Dataset, StoreError> {
    let uri = backend.lance_uri(url)?;
    if !backend.has_table(url)? {
        return Err(StoreError::NotFound { url: url.clone() });
    }
    let version = url.version().unwrap_or(VERSION);
    let opened = wait(|| async {
        DatasetBuilder::from_uri(&uri).with_version(version).with_session(session.clone()).load().await
    });
    let failed = |cause: Cause| StoreError::backend("open the damaged or unreachable table", url, brief(url, cause));
    let opened = opened.map_err(|panic| failed(panic.into())).and_then(|it| it.map_err(|error| failed(error.into())));
    let dataset = opened.map_err(|failure| without_version(session, &uri, url).unwrap_or(failure))?;
    // Anybody may have written the manifest, and such a table's rows could be any files of whoever reads it.
    if let Some(base) = dataset.manifest().base_paths.values().next() {
        let reason =
            format!("its manifest points at files outside of the table, in {:?}; these are not read", base.path);
        return Err(StoreError::Unsupported { url: url.clone(), reason });
    }
    match (is_of_tlc(&dataset), url.version()) {
        (true, None | Some(VERSION)) | (false, Some(_)) => {}
        (true, Some(other)) => return Err(other_version_of_tlc(url, other)),
        (false, None) => refuse_later_versions(&dataset, url)?,
    }
    Ok(dataset)
}

/// What tlc wrote says so by its digest, and stays version 1 whatever others add.
fn is_of_tlc(dataset: &Dataset) -> bool {
    dataset.schema().metadata.contains_key(DIGEST_KEY)
}

/// What another program wrote and added to means its latest version, and that may be another one at the next read:
/// lineage, row numbers and whoever reads a table twice rely on one.
fn refuse_later_versions(dataset: &Dataset, url: &Url) -> Result<(), StoreError> {
    let failed = |cause: Cause| StoreError::backend("look for later versions of", url, brief(url, cause));
    let latest = wait(|| dataset.latest_version_id())
        .map_err(|panic| failed(panic.into()))?
        .map_err(|error| failed(error.into()))?;
    if latest == VERSION { Ok(()) } else { Err(StoreError::ManyVersions { url: url.clone(), latest }) }
}

/// Why a table has no such version, if it has others: programs remove the old ones of their tables, and people mistype.
/// `None` if there is one, which is damaged then, or if no other can be read either.
fn without_version(session: &Arc<Session>, uri: &str, url: &Url) -> Option<StoreError> {
    let read = wait(|| async {
        let latest = DatasetBuilder::from_uri(uri).with_session(session.clone()).load().await?;
        let versions = latest.version_refs().await?;
        Ok::<_, lance::Error>((latest, versions))
    });
    let (latest, versions) = read.ok()?.ok()?;
    let wanted = url.version().unwrap_or(VERSION);
    if versions.iter().any(|it| it.version == wanted) {
        return None;
    }
    let newest = latest.version().version;
    match (is_of_tlc(&latest), url.version()) {
        // Its manifest is lost.
        (true, None | Some(VERSION)) => None,
        (true, Some(other)) => Some(other_version_of_tlc(url, other)),
        (false, None) => Some(StoreError::ManyVersions { url: url.clone(), latest: newest }),
        (false, Some(version)) => {
            let named = url.clone().with_version(Some(newest));
            let reason = format!("it has no version {version}, perhaps not any more; its latest is {newest}: {named}");
            Some(StoreError::Unsupported { url: url.clone(), reason })
        }
    }
}

fn other_version_of_tlc(url: &Url, version: u64) -> StoreError {
    let reason = format!("tlc wrote it, and such tables have version {VERSION} only; leave ?version={version} out");
    StoreError::Unsupported { url: url.clone(), reason }
}

pub(super) fn info(session: &Arc<Session>, backend: &dyn Backend, url: &Url) -> Result<TableInfo, StoreError> {
    info_of(&open(session, backend, url)?, url)
}

fn info_of(dataset: &Dataset, url: &Url) -> Result<TableInfo, StoreError> {
    let schema = Schema::from(dataset.schema());
    let failed = |cause: Cause| StoreError::backend("count the rows of", url, brief(url, cause));
    let rows = wait(|| dataset.count_rows(None))
        .map_err(|panic| failed(panic.into()))?
        .map_err(|error| failed(error.into()))?;
    let digest = schema.metadata().get(DIGEST_KEY).cloned();
    Ok(TableInfo { url: url.clone(), schema: Arc::new(schema), rows: rows as u64, digest })
}

pub(super) fn scan(
    session: &Arc<Session>,
    backend: &dyn Backend,
    url: &Url,
    scan: Scan,
) -> Result<BatchStream<'static>, StoreError> {
    scan_dataset(&open(session, backend, url)?, url, scan, None)
}

/// What `scan` chooses of a dataset's rows, or of these only.
pub(super) fn scan_dataset(
    dataset: &Dataset,
    url: &Url,
    scan: Scan,
    rows: Option<Range<u64>>,
) -> Result<BatchStream<'static>, StoreError> {
    let columns = scan.columns_to_read();
    let filtered_by = scan.filter.iter().flat_map(Filter::columns).map(str::to_owned);
    let named: Vec<String> = columns.iter().flatten().cloned().chain(filtered_by).collect();
    check_columns(url, &Schema::from(dataset.schema()), &named)?;
    let batch_rows = scan.batch_rows.max(1);
    let mut scanner = dataset.scan();
    scanner.batch_size(batch_rows).scan_in_order(true).io_buffer_size(IO_BUFFER_BYTES);
    let failed = |cause: Cause| StoreError::backend("read", url, brief(url, cause));
    if let Some(columns) = &columns {
        scanner.project(columns).map_err(|error| failed(error.into()))?;
    }
    if let Some(rows) = rows {
        // Lance reads only the fragments that hold them, and of these only the pages, also where rows were deleted.
        let (offset, limit) = (rows.start.cast_signed(), rows.end.saturating_sub(rows.start).cast_signed());
        scanner.limit(Some(limit), Some(offset)).map_err(|error| failed(error.into()))?;
    }
    let stream = wait(|| scanner.try_into_stream())
        .map_err(|panic| failed(panic.into()))?
        .map_err(|error| failed(error.into()))?;
    let receiver = pump(stream.map(|batch| batch.map_err(Cause::from)));
    let rows = Batches { url: url.clone(), batch_rows, receiver: Some(receiver), ready: VecDeque::new() };
    Ok(select(url, Box::new(rows), &scan))
}

pub(super) fn take(
    session: &Arc<Session>,
    backend: &dyn Backend,
    url: &Url,
    rows: &[u64],
    columns: Option<&[String]>,
) -> Result<RecordBatch, StoreError> {
    let dataset = open(session, backend, url)?;
    let schema = Schema::from(dataset.schema());
    check_row_numbers(&info_of(&dataset, url)?, rows)?;
    if let Some(columns) = columns {
        check_columns(url, &schema, columns)?;
    }
    let names = columns.map(<[String]>::to_vec);
    let names = names.unwrap_or_else(|| schema.fields().iter().map(|field| field.name().clone()).collect());
    let projection = ProjectionRequest::from_columns(names, dataset.schema());
    let failed = |cause: Cause| StoreError::backend("read rows of", url, brief(url, cause));
    let taken = wait(|| dataset.take(rows, projection));
    taken.map_err(|panic| failed(panic.into()))?.map_err(|error| failed(error.into()))
}

fn check_columns(url: &Url, schema: &Schema, columns: &[String]) -> Result<(), StoreError> {
    match columns.iter().find(|column| schema.field_with_name(column).is_err()) {
        None => Ok(()),
        Some(unknown) => {
            let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            let near = suggest(unknown, names.iter().copied());
            let hint = if near.is_empty() { String::new() } else { format!(" (near: {})", near.join(", ")) };
            let reason = format!("it has no column {unknown:?}{hint}; its columns are {}", names.join(", "));
            Err(StoreError::Unsupported { url: url.clone(), reason })
        }
    }
}

/// The rows as they come from the pump, in batches of at most `batch_rows`.
struct Batches {
    url: Url,
    batch_rows: usize,
    receiver: Option<Receiver<Pumped<Result<RecordBatch, Cause>>>>,
    ready: VecDeque<RecordBatch>,
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Some(Ok(batch));
            }
            let failure = match self.receiver.as_ref()?.recv() {
                Ok(Pumped::Item(Ok(batch))) => {
                    let starts = (0..batch.num_rows()).step_by(self.batch_rows);
                    let cut = |start| batch.slice(start, self.batch_rows.min(batch.num_rows() - start));
                    self.ready.extend(starts.map(cut));
                    continue;
                }
                Ok(Pumped::Item(Err(cause))) => Some(StoreError::backend("read", &self.url, brief(&self.url, cause))),
                Ok(Pumped::End) => None,
                Err(_) => Some(StoreError::Damaged {
                    url: self.url.clone(),
                    reason: "reading its pages made the storage engine panic".to_owned(),
                }),
            };
            self.receiver = None;
            return failure.map(Err);
        }
    }
}
