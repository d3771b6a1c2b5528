//! Object stores: S3, Google Cloud Storage, Azure Blob Storage.
//!
//! There are no folders to make and none to rename, so what `mkdir` and `rename` decide on a local disk is decided by
//! conditional writes here:
//! - a table's place is claimed by an object that is written only if it is absent;
//! - a table that is deleted gets a mark, then loses its manifests, by which it disappears, then the rest; a deletion
//!   that was cut short is finished by the next one, which sees the mark;
//! - small objects are replaced only if their ETag is still the one that was read.

mod conditional;
mod connect;
mod endpoint;
mod explain;
mod provider;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use tlc_core::{ObjectVersion, StoreError, Url, WriteCondition};

use crate::backend::{Backend, MANIFEST_FOLDER, MANIFEST_SUFFIX, TABLE_SUFFIX};
use crate::runtime::wait;

pub(crate) use connect::Environment;
pub(crate) use explain::explain;
pub(crate) use provider::Buckets;

/// In a table's folder: who wrote it. Taken away last.
const CLAIM: &str = "_tlc_claim";
/// In a table's folder: it is being deleted.
const DELETING: &str = "_tlc_deleting";
/// Requests at once, where many small ones are needed.
const PARALLEL: usize = 16;

/// A client of one bucket, which can also be asked for the first of many keys alone.
trait Objects: ObjectStore + PaginatedListStore {}

impl<T: ObjectStore + PaginatedListStore> Objects for T {}

/// One bucket or container.
pub(crate) struct Bucket {
    /// Its URL.
    root: Url,
    objects: Arc<dyn Objects>,
    /// Whether its server may list folders in which nothing is any more.
    may_list_empty: bool,
    /// Whether it was tried out that conditional writes are conditional.
    is_probed: AtomicBool,
}

impl Bucket {
    fn new(root: Url, objects: Arc<dyn Objects>, may_list_empty: bool) -> Self {
        Self { root, objects, may_list_empty, is_probed: AtomicBool::new(false) }
    }

    /// Waits for `work`, and says what was attempted where if it fails.
    fn ask<T, F>(&self, action: &'static str, url: &Url, work: impl FnOnce() -> F + Send) -> Result<T, StoreError>
    where
        T: Send,
        F: Future<Output = Result<T, Error>>,
    {
        let answer = wait(work).map_err(|panic| StoreError::backend(action, url, panic))?;
        answer.map_err(|error| failure(action, url, error))
    }

    /// Refuses a bucket whose conditional writes are not: of two writers at once, both would be told that they won.
    fn need_conditional_writes(&self, url: &Url) -> Result<(), StoreError> {
        if self.is_probed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let folder = key(&url.parent().unwrap_or_else(|| self.root.clone()))?;
        let broken = self.ask("try out conditional writes for", url, || self.first_condition_not_honoured(&folder))?;
        if let Some(condition) = broken {
            let reason = format!(
                "its server does not honour {condition} on writes, so of two writers at once both would be told that they won, and \
                 one would lose its data; use a store with conditional writes"
            );
            return Err(StoreError::Unsupported { url: url.clone(), reason });
        }
        self.is_probed.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The keys of everything at or below `folder`.
    async fn keys(&self, folder: &Path) -> Result<Vec<Path>, Error> {
        self.objects.list(Some(folder)).map_ok(|object| object.location).try_collect().await
    }

    /// Removes these objects; those that are gone already are fine.
    async fn remove(&self, keys: &[Path]) -> Result<(), Error> {
        conditional::insist(|| async {
            let mut removed = self.objects.delete_stream(stream::iter(keys.to_vec()).map(Ok).boxed());
            while let Some(result) = removed.next().await {
                match result {
                    Ok(_) | Err(Error::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
        .await
    }

    /// Removes a folder so that at no time something is visible of which a part is gone: its own objects first (a run's
    /// record), then manifests, then the rest, then the marks of deletion, and at last the claims of tables.
    async fn remove_folder(&self, folder: &Path) -> Result<(), Error> {
        let mut steps: [Vec<Path>; 5] = Default::default();
        for key in self.keys(folder).await? {
            let below: Vec<_> = key.prefix_match(folder).into_iter().flatten().collect();
            let name = below.last().map_or("", |part| part.as_ref());
            let step = match &below[..] {
                _ if name == CLAIM => 4,
                _ if name == DELETING => 3,
                [_] => 0,
                _ if is_manifest(&key) => 1,
                _ => 2,
            };
            steps[step].push(key);
        }
        for keys in steps {
            if !keys.is_empty() {
                self.remove(&keys).await?;
            }
        }
        Ok(())
    }

    async fn has_manifest(&self, table: &Path) -> Result<bool, Error> {
        let mut manifests = self.objects.list(Some(&table.clone().join(MANIFEST_FOLDER)));
        while let Some(object) = manifests.try_next().await? {
            if is_manifest(&object.location) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The folders in `folder` that its server lists, sorted.
    async fn folders(&self, folder: &Path) -> Result<BTreeSet<Path>, Error> {
        Ok(self.objects.list_with_delimiter(Some(folder)).await?.common_prefixes.into_iter().collect())
    }

    /// Those of `folders` in which there is an object. One small request each, some at once.
    async fn without_empty(&self, folders: BTreeSet<Path>) -> Result<Vec<Path>, Error> {
        let looked_at = stream::iter(folders).map(|path| async move {
            let has_objects = self.has_objects(&path).await?;
            Ok::<_, Error>(has_objects.then_some(path))
        });
        looked_at.buffered(PARALLEL).try_filter_map(|path| async { Ok(path) }).try_collect().await
    }

    /// Whether an object lies below `folder`: of what may be thousands, one is asked for.
    async fn has_objects(&self, folder: &Path) -> Result<bool, Error> {
        let prefix = format!("{folder}/");
        let mut options = PaginatedListOptions { max_keys: Some(1), ..PaginatedListOptions::default() };
        loop {
            let page = self.objects.list_paginated(Some(&prefix), options.clone()).await?;
            if !page.result.objects.is_empty() {
                return Ok(true);
            }
            // A page of folders only is empty here, and others may follow.
            let Some(token) = page.page_token else { return Ok(false) };
            options.page_token = Some(token);
        }
    }
}

/// The key of a place in its bucket.
fn key(url: &Url) -> Result<Path, StoreError> {
    Path::parse(url.path())
        .map_err(|error| StoreError::Unsupported { url: url.clone(), reason: format!("its path is no key: {error}") })
}

fn is_manifest(key: &Path) -> bool {
    let mut parts = key.parts().rev();
    let is_named = parts.next().is_some_and(|name| name.as_ref().ends_with(MANIFEST_SUFFIX));
    is_named && parts.next().is_some_and(|folder| folder.as_ref() == MANIFEST_FOLDER)
}

fn failure(action: &'static str, url: &Url, error: Error) -> StoreError {
    match error {
        Error::AlreadyExists { .. } => StoreError::exists(url),
        Error::Precondition { .. } => StoreError::Conflict { url: url.clone() },
        Error::NotFound { .. } if !explain::tells_of_missing_bucket(&error) => {
            StoreError::NotFound { url: url.clone() }
        }
        other => StoreError::backend(action, url, crate::cause::brief(url, other.into())),
    }
}

impl Backend for Bucket {
    fn lance_uri(&self, url: &Url) -> Result<String, StoreError> {
        let refused =
            || StoreError::Unsupported { url: url.clone(), reason: "its bucket has no usable name".to_owned() };
        let mut uri = url::Url::parse(&self.root.to_string()).map_err(|_| refused())?;
        uri.path_segments_mut().map_err(|()| refused())?.pop_if_empty().extend(url.path().split('/'));
        Ok(uri.into())
    }

    fn has_table(&self, url: &Url) -> Result<bool, StoreError> {
        let key = key(url)?;
        self.ask("look for", url, || self.has_manifest(&key))
    }

    fn claim(&self, url: &Url) -> Result<(), StoreError> {
        self.need_conditional_writes(url)?;
        // A table without a claim: one that was copied here.
        if self.has_table(url)? {
            return Err(StoreError::exists(url));
        }
        let key = key(url)?.join(CLAIM);
        match self.ask("create", url, || self.put_if(&key, Vec::new(), &WriteCondition::Absent)) {
            Ok(_) => Ok(()),
            // Somebody was faster, who may even be done by now.
            Err(StoreError::AlreadyExists { url, .. }) => {
                let is_unfinished = !self.has_table(&url)?;
                Err(StoreError::AlreadyExists { url, is_unfinished })
            }
            Err(error) => Err(error),
        }
    }

    fn is_claimed(&self, url: &Url) -> Result<bool, StoreError> {
        let claim = key(url)?.join(CLAIM);
        self.ask("look for", url, || async {
            match self.objects.head(&claim).await {
                Ok(_) => Ok(true),
                Err(Error::NotFound { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        })
    }

    fn withdraw(&self, url: &Url) -> Result<(), StoreError> {
        let key = key(url)?;
        self.ask("remove", url, || self.remove_folder(&key))
    }

    /// What an object store has confirmed is durable.
    fn flush_rows(&self, _: &Url) -> Result<(), StoreError> {
        Ok(())
    }

    fn flush(&self, _: &Url) -> Result<(), StoreError> {
        Ok(())
    }

    fn delete(&self, url: &Url) -> Result<(), StoreError> {
        let table = key(url)?;
        let mark = table.clone().join(DELETING);
        let was_there = self.ask("delete", url, || async {
            let keys = self.keys(&table).await?;
            let is_there = keys.iter().any(is_manifest);
            if is_there {
                self.objects.put(&mark, Vec::new().into()).await?;
            }
            if is_there || keys.contains(&mark) {
                self.remove_folder(&table).await?;
            }
            Ok(is_there)
        })?;
        was_there.then_some(()).ok_or_else(|| StoreError::NotFound { url: url.clone() })
    }

    fn list_tables(&self, folder: &Url) -> Result<Vec<Url>, StoreError> {
        let path = key(folder)?;
        let tables: Vec<Path> = self.ask("list", folder, || async {
            let folders = self.folders(&path).await?.into_iter();
            let named = folders.filter(|path| path.as_ref().ends_with(TABLE_SUFFIX));
            let looked_at = stream::iter(named).map(|path| async move {
                let is_table = self.has_manifest(&path).await?;
                Ok::<_, Error>(is_table.then_some(path))
            });
            looked_at.buffered(PARALLEL).try_filter_map(|path| async { Ok(path) }).try_collect().await
        })?;
        tables.iter().filter_map(Path::filename).map(|name| Ok(folder.join(name)?)).collect()
    }

    fn size_bytes(&self, url: &Url) -> Result<u64, StoreError> {
        let key = key(url)?;
        self.ask("measure", url, || async {
            if !key.is_root() {
                match self.objects.head(&key).await {
                    Ok(object) => return Ok(object.size),
                    Err(error) if !matches!(error, Error::NotFound { .. }) => return Err(error),
                    Err(_) => {}
                }
            }
            self.objects.list(Some(&key)).try_fold(0, |sum, object| async move { Ok(sum + object.size) }).await
        })
    }

    fn read_object(&self, url: &Url) -> Result<(Vec<u8>, ObjectVersion), StoreError> {
        let key = key(url)?;
        self.ask("read", url, || self.read(&key))
    }

    fn write_object(&self, url: &Url, content: &[u8], condition: &WriteCondition) -> Result<ObjectVersion, StoreError> {
        self.need_conditional_writes(url)?;
        let key = key(url)?;
        self.ask("write", url, || self.put_if(&key, content.to_vec(), condition))
    }

    fn list_folders(&self, folder: &Url) -> Result<Vec<String>, StoreError> {
        let key = key(folder)?;
        let folders: Vec<Path> = self.ask("list", folder, || async {
            let folders = self.folders(&key).await?;
            if self.may_list_empty { self.without_empty(folders).await } else { Ok(folders.into_iter().collect()) }
        })?;
        Ok(folders.iter().filter_map(Path::filename).map(str::to_owned).collect())
    }

    fn list_objects(&self, folder: &Url) -> Result<Vec<String>, StoreError> {
        let key = key(folder)?;
        let listed = self.ask("list", folder, || self.objects.list_with_delimiter(Some(&key)))?;
        let names = listed.objects.iter().filter_map(|object| object.location.filename());
        Ok(names.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn delete_object(&self, url: &Url) -> Result<(), StoreError> {
        let keys = [key(url)?];
        self.ask("delete", url, || self.remove(&keys))
    }

    fn delete_folder(&self, folder: &Url) -> Result<(), StoreError> {
        let key = key(folder)?;
        self.ask("delete", folder, || self.remove_folder(&key))
    }

    fn last_modified(&self, url: &Url) -> Result<Option<SystemTime>, StoreError> {
        let key = key(url)?;
        self.ask("look at", url, || async {
            let newest =
                |newest: Option<SystemTime>, modified| async move { Ok(newest.max(Some(SystemTime::from(modified)))) };
            self.objects.list(Some(&key)).map_ok(|object| object.last_modified).try_fold(None, newest).await
        })
    }

    /// What is left of a table still lies in its folder, and of a run in its.
    fn list_leftovers(&self, _: &Url) -> Result<Vec<Url>, StoreError> {
        Ok(Vec::new())
    }
}
