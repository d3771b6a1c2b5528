//! Tables in Lance format on local disk.
//!
//! What Lance 14 does not promise, and this store adds:
//! - creation is exclusive: the table's folder is made by one `mkdir`, which only one of several writers
//!   can win (Lance's own `Create` turns into an overwrite);
//! - the content digest is computed while rows stream by, and is part of the one commit;
//! - files and folders are flushed before a table is reported as written;
//! - a damaged table gives an error, never a panic.

mod read;
mod write;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use lance::session::Session;
use serde::{Deserialize, Serialize};
use tlc_core::{
    BatchStream, ObjectVersion, PluginInfo, PluginKind, Scan, StoreError, TableInfo, TableStore, Url, WriteCondition,
};

use crate::files;

/// Lance's default caches take up to 7 GiB; ours hold some metadata.
const INDEX_CACHE_BYTES: usize = 16 << 20;
const METADATA_CACHE_BYTES: usize = 64 << 20;
/// Where a table keeps its digest, in the schema's metadata.
const DIGEST_KEY: &str = "tlc:digest";
const TABLE_SUFFIX: &str = ".lance";
const MANIFEST_FOLDER: &str = "_versions";

/// Keeps tables as Lance datasets on local disk; see the [crate](crate) for an example.
///
/// Cloning is cheap and shares caches.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanceStore {
    #[serde(skip, default = "new_session")]
    session: Arc<Session>,
}

impl Default for LanceStore {
    fn default() -> Self {
        Self { session: new_session() }
    }
}

impl std::fmt::Debug for LanceStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LanceStore").finish_non_exhaustive()
    }
}

fn new_session() -> Arc<Session> {
    Arc::new(Session::new(INDEX_CACHE_BYTES, METADATA_CACHE_BYTES, Arc::default()))
}

tlc_core::inventory::submit! {
    PluginInfo {
        kind: PluginKind::TableStore,
        tag: "lance/1",
        crate_name: env!("CARGO_PKG_NAME"),
        crate_version: env!("CARGO_PKG_VERSION"),
        summary: "Lance datasets on local disk",
    }
}

/// Whether a folder holds a committed table, readable or not.
fn is_table(path: &Path) -> bool {
    let is_manifest = |entry: fs::DirEntry| entry.path().extension().is_some_and(|extension| extension == "manifest");
    fs::read_dir(path.join(MANIFEST_FOLDER)).is_ok_and(|entries| entries.flatten().any(is_manifest))
}

#[typetag::serde(name = "lance/1")]
impl TableStore for LanceStore {
    fn create(&self, url: &Url, schema: SchemaRef, rows: BatchStream<'_>) -> Result<TableInfo, StoreError> {
        write::create(&self.session, url, &schema, rows)
    }

    fn info(&self, url: &Url) -> Result<TableInfo, StoreError> {
        read::info(&self.session, url)
    }

    fn scan(&self, url: &Url, scan: Scan) -> Result<BatchStream<'static>, StoreError> {
        read::scan(&self.session, url, scan)
    }

    fn take(&self, url: &Url, rows: &[u64], columns: Option<&[String]>) -> Result<RecordBatch, StoreError> {
        read::take(&self.session, url, rows, columns)
    }

    fn delete(&self, url: &Url) -> Result<(), StoreError> {
        let path = files::local_path(url)?;
        let failed = |error| StoreError::backend("delete", url, error);
        files::sweep_removed(&path).map_err(failed)?;
        if !is_table(&path) {
            return Err(StoreError::NotFound { url: url.clone() });
        }
        files::remove_tree(&path).map_err(failed)
    }

    fn list_tables(&self, folder: &Url) -> Result<Vec<Url>, StoreError> {
        let path = files::local_path(folder)?;
        let wanted = |path: &Path| path.to_string_lossy().ends_with(TABLE_SUFFIX) && is_table(path);
        let names = files::names_in(&path, wanted).map_err(|error| StoreError::backend("list", folder, error))?;
        names.into_iter().map(|name| Ok(folder.join(&name)?)).collect()
    }

    fn size_bytes(&self, url: &Url) -> Result<u64, StoreError> {
        files::size_bytes(&files::local_path(url)?).map_err(|error| StoreError::backend("measure", url, error))
    }

    fn read_object(&self, url: &Url) -> Result<(Vec<u8>, ObjectVersion), StoreError> {
        files::read_object(url)
    }

    fn write_object(&self, url: &Url, content: &[u8], condition: WriteCondition) -> Result<ObjectVersion, StoreError> {
        files::write_object(url, content, &condition)
    }

    fn list_folders(&self, folder: &Url) -> Result<Vec<String>, StoreError> {
        files::names_in(&files::local_path(folder)?, Path::is_dir)
            .map_err(|error| StoreError::backend("list", folder, error))
    }

    fn delete_folder(&self, folder: &Url) -> Result<(), StoreError> {
        let path = files::local_path(folder)?;
        if !path.is_dir() {
            return Ok(());
        }
        files::remove_tree(&path).map_err(|error| StoreError::backend("delete", folder, error))
    }
}

#[cfg(test)]
mod tests;
