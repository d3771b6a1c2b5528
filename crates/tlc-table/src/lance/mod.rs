//! Tables in Lance format, on local disk and in object stores.
//!
//! What Lance 14 does not promise, and this store adds:
//! - creation is exclusive: the table's place is claimed by one `mkdir` or one conditional write, which only one of
//!   several writers can win (Lance's own `Create` turns into an overwrite);
//! - the content digest is computed while rows stream by, and is part of the one commit;
//! - local files and folders are flushed before a table is reported as written;
//! - a damaged table gives an error, never a panic.

mod parts;
mod read;
mod repair;
mod write;

use std::sync::Arc;
use std::time::SystemTime;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use lance::io::ObjectStoreRegistry;
use lance::session::Session;
use serde::{Deserialize, Serialize};
use tlc_core::{
    BatchStream, ObjectVersion, PluginInfo, PluginKind, Progress, Scan, Scheme, StoreError, TableInfo, TableStore, Url,
    WriteCondition,
};

use crate::backend::Backend;
use crate::files::LocalFiles;
#[cfg(feature = "remote")]
use crate::remote::{Buckets, Environment};

pub use parts::{TableInParts, TablePart};

/// Lance's default caches take up to 7 GiB; ours hold some metadata.
const INDEX_CACHE_BYTES: usize = 16 << 20;
const METADATA_CACHE_BYTES: usize = 64 << 20;
/// Where a table keeps its digest, in the schema's metadata.
const DIGEST_KEY: &str = "tlc:digest";

/// Keeps tables as Lance datasets: on local disk, and by the features `s3`, `gcs` and `azure` below `s3://bucket/…`,
/// `gs://bucket/…` and `az://container/…`. See the [crate](crate) for an example.
///
/// Tables that other programs wrote are read, too. Where they have several versions, a URL names the one that is meant:
/// `s3://bucket/t.lance?version=7`.
///
/// Endpoints and credentials of object stores come from the environment alone: `AWS_ACCESS_KEY_ID`,
/// `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ALLOW_HTTP` …; `GOOGLE_APPLICATION_CREDENTIALS` …;
/// `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY` …, or the roles of the machine. They are kept in memory,
/// never in a table. A request that fails is repeated for at most a minute. An object store must honour conditional
/// writes (`If-None-Match`, `If-Match`); the first write into a bucket tries that out and refuses one that does not.
///
/// Cloning is cheap and shares caches and connections.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanceStore {
    #[serde(skip)]
    engine: Engine,
}

/// What is shared by clones, and is no configuration.
#[derive(Clone)]
struct Engine {
    session: Arc<Session>,
    #[cfg(feature = "remote")]
    buckets: Arc<Buckets>,
}

fn new_session(registry: Arc<ObjectStoreRegistry>) -> Arc<Session> {
    Arc::new(Session::new(INDEX_CACHE_BYTES, METADATA_CACHE_BYTES, registry))
}

impl Default for Engine {
    #[cfg(feature = "remote")]
    fn default() -> Self {
        Self::of(Environment::OfProcess)
    }

    #[cfg(not(feature = "remote"))]
    fn default() -> Self {
        Self { session: new_session(Arc::default()) }
    }
}

#[cfg(feature = "remote")]
impl Engine {
    fn of(environment: Environment) -> Self {
        let registry = Arc::new(ObjectStoreRegistry::default());
        let buckets = Buckets::new(environment, &registry);
        Self { session: new_session(registry), buckets }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl LanceStore {
    /// A store that finds the endpoints and credentials of object stores in `variables` instead of the environment:
    /// for a program that works with two of them at once.
    ///
    /// ```no_run
    /// # use tlc_table::LanceStore;
    /// let variables = [("AWS_ENDPOINT_URL", "https://s3.example.org"), ("AWS_SKIP_SIGNATURE", "true")];
    /// let public = LanceStore::with_environment(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    /// ```
    #[cfg(feature = "remote")]
    pub fn with_environment(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { engine: Engine::of(Environment::Given(variables.into_iter().collect())) }
    }

    /// What tells the table at `url` from any other that was there before or will be: when it was written, and by which
    /// transaction. For tables of other programs, which have no digest; two with the same rows differ.
    ///
    /// # Errors
    /// As [`info`](TableStore::info).
    pub fn written(&self, url: &Url) -> Result<String, StoreError> {
        let dataset = read::open(&self.engine.session, self.reading(url)?.as_ref(), url)?;
        let manifest = dataset.manifest();
        let transaction = manifest.transaction_file.as_deref().unwrap_or("no transaction");
        Ok(format!("{} ns, {transaction}", manifest.timestamp_nanos))
    }

    /// Who serves the place of `url`, for everything but reading a table: whatever writes, lists or deletes passes here, so
    /// that none of it is done to a version.
    fn backend(&self, url: &Url) -> Result<Arc<dyn Backend>, StoreError> {
        url.refuse_version()?;
        self.reading(url)
    }

    /// Who serves the place of `url`, for reading the table there, perhaps in a version that `url` names.
    fn reading(&self, url: &Url) -> Result<Arc<dyn Backend>, StoreError> {
        let unsupported = |reason: &str| Err(StoreError::Unsupported { url: url.clone(), reason: reason.to_owned() });
        match url.scheme() {
            Some(Scheme::File) => Ok(Arc::new(LocalFiles)),
            #[cfg(feature = "remote")]
            Some(Scheme::S3 | Scheme::Gs | Scheme::Az) => Ok(self.engine.buckets.get(url)?),
            #[cfg(not(feature = "remote"))]
            Some(Scheme::S3 | Scheme::Gs | Scheme::Az) => unsupported(
                "this build serves local folders (file:///…) only; the features s3, gcs and azure add object stores",
            ),
            Some(_) => unsupported("it serves local folders (file:///…) and object stores (s3://, gs://, az://)"),
            None => unsupported("an absolute URL is needed"),
        }
    }
}

tlc_core::inventory::submit! {
    PluginInfo {
        kind: PluginKind::TableStore,
        tag: "lance/1",
        crate_name: env!("CARGO_PKG_NAME"),
        crate_version: env!("CARGO_PKG_VERSION"),
        summary: "Lance datasets on local disk and in object stores",
    }
}

#[typetag::serde(name = "lance/1")]
impl TableStore for LanceStore {
    fn create(&self, url: &Url, schema: SchemaRef, rows: BatchStream<'_>) -> Result<TableInfo, StoreError> {
        write::create(&self.engine.session, self.backend(url)?, url, &schema, rows)
    }

    fn info(&self, url: &Url) -> Result<TableInfo, StoreError> {
        read::info(&self.engine.session, self.reading(url)?.as_ref(), url)
    }

    fn scan(&self, url: &Url, scan: Scan) -> Result<BatchStream<'static>, StoreError> {
        read::scan(&self.engine.session, self.reading(url)?.as_ref(), url, scan)
    }

    fn take(&self, url: &Url, rows: &[u64], columns: Option<&[String]>) -> Result<RecordBatch, StoreError> {
        read::take(&self.engine.session, self.reading(url)?.as_ref(), url, rows, columns)
    }

    fn repair(&self, url: &Url, dry_run: bool, progress: &Progress) -> Result<Option<String>, StoreError> {
        url.refuse_version()?;
        match url.to_path() {
            Some(table) => repair::repair(url, &table, dry_run, progress),
            None => Ok(None),
        }
    }

    fn delete(&self, url: &Url) -> Result<(), StoreError> {
        self.backend(url)?.delete(url)
    }

    fn list_tables(&self, folder: &Url) -> Result<Vec<Url>, StoreError> {
        self.backend(folder)?.list_tables(folder)
    }

    fn size_bytes(&self, url: &Url) -> Result<u64, StoreError> {
        self.reading(url)?.size_bytes(url)
    }

    fn read_object(&self, url: &Url) -> Result<(Vec<u8>, ObjectVersion), StoreError> {
        self.backend(url)?.read_object(url)
    }

    fn write_object(&self, url: &Url, content: &[u8], condition: WriteCondition) -> Result<ObjectVersion, StoreError> {
        self.backend(url)?.write_object(url, content, &condition)
    }

    fn list_folders(&self, folder: &Url) -> Result<Vec<String>, StoreError> {
        self.backend(folder)?.list_folders(folder)
    }

    fn delete_folder(&self, folder: &Url) -> Result<(), StoreError> {
        self.backend(folder)?.delete_folder(folder)
    }

    fn last_modified(&self, url: &Url) -> Result<Option<SystemTime>, StoreError> {
        self.reading(url)?.last_modified(url)
    }

    fn list_leftovers(&self, folder: &Url) -> Result<Vec<Url>, StoreError> {
        self.backend(folder)?.list_leftovers(folder)
    }
}

#[cfg(test)]
mod tests;
