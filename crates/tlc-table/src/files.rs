//! Local files: durable, replaced at once, deleted without a half-visible state.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tlc_core::ulid::Ulid;
use tlc_core::{ObjectVersion, StoreError, UniqueName, Url, WriteCondition, digest};

use crate::backend::{Backend, MANIFEST_FOLDER, MANIFEST_SUFFIX, TABLE_SUFFIX};
use crate::manifests::Manifests;

/// Marks what is being deleted; such names are never listed.
const DELETED_SUFFIX: &str = "deleted";

/// Folders of a local file system.
pub(crate) struct LocalFiles;

impl Backend for LocalFiles {
    fn lance_uri(&self, url: &Url) -> Result<String, StoreError> {
        Ok(local_path(url)?.to_string_lossy().into_owned())
    }

    fn has_table(&self, url: &Url) -> Result<bool, StoreError> {
        Ok(is_table(&local_path(url)?))
    }

    /// By one `mkdir`.
    fn claim(&self, url: &Url) -> Result<(), StoreError> {
        let path = local_path(url)?;
        let failed = |error| StoreError::backend("create", url, error);
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
        match fs::create_dir(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let is_unfinished = path.is_dir() && !is_table(&path);
                Err(StoreError::AlreadyExists { url: url.clone(), is_unfinished })
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn is_claimed(&self, url: &Url) -> Result<bool, StoreError> {
        Ok(local_path(url)?.is_dir())
    }

    fn withdraw(&self, url: &Url) -> Result<(), StoreError> {
        remove_tree(&local_path(url)?).map_err(|error| StoreError::backend("remove", url, error))
    }

    fn flush_rows(&self, url: &Url) -> Result<(), StoreError> {
        sync_tree(&local_path(url)?).map_err(|error| StoreError::backend("flush", url, error))
    }

    fn flush(&self, url: &Url) -> Result<(), StoreError> {
        let path = local_path(url)?;
        if let Err(error) = Manifests::of(&path).keep_copy() {
            // The table is whole without it; only a manifest that is damaged later cannot be put back.
            tracing::warn!(%url, %error, "cannot keep a copy of a table's manifest");
        }
        sync_tree(&path).map_err(|error| StoreError::backend("flush", url, error))
    }

    fn delete(&self, url: &Url) -> Result<(), StoreError> {
        let path = local_path(url)?;
        let failed = |error| StoreError::backend("delete", url, error);
        sweep_removed(&path).map_err(failed)?;
        if !is_table(&path) {
            return Err(StoreError::NotFound { url: url.clone() });
        }
        remove_tree(&path).map_err(failed)
    }

    fn list_tables(&self, folder: &Url) -> Result<Vec<Url>, StoreError> {
        let wanted = |path: &Path| path.to_string_lossy().ends_with(TABLE_SUFFIX) && is_table(path);
        let names = visible_names_in(&local_path(folder)?, wanted)
            .map_err(|error| StoreError::backend("list", folder, error))?;
        names.into_iter().map(|name| Ok(folder.join(&name)?)).collect()
    }

    fn size_bytes(&self, url: &Url) -> Result<u64, StoreError> {
        size_bytes(&local_path(url)?).map_err(|error| StoreError::backend("measure", url, error))
    }

    fn read_object(&self, url: &Url) -> Result<(Vec<u8>, ObjectVersion), StoreError> {
        read_object(url)
    }

    fn write_object(&self, url: &Url, content: &[u8], condition: &WriteCondition) -> Result<ObjectVersion, StoreError> {
        write_object(url, content, condition)
    }

    fn list_folders(&self, folder: &Url) -> Result<Vec<String>, StoreError> {
        visible_names_in(&local_path(folder)?, Path::is_dir).map_err(|error| StoreError::backend("list", folder, error))
    }

    fn list_objects(&self, folder: &Url) -> Result<Vec<String>, StoreError> {
        visible_names_in(&local_path(folder)?, Path::is_file)
            .map_err(|error| StoreError::backend("list", folder, error))
    }

    fn delete_object(&self, url: &Url) -> Result<(), StoreError> {
        match fs::remove_file(local_path(url)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::backend("delete", url, error)),
            _ => Ok(()),
        }
    }

    fn delete_folder(&self, folder: &Url) -> Result<(), StoreError> {
        let path = local_path(folder)?;
        let is_left = is_leftover(&path.file_name().unwrap_or_default().to_string_lossy());
        let removed = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            // It has disappeared already.
            Ok(_) if is_left => remove_bytes(&path),
            Ok(_) => remove_tree(&path),
        };
        removed.map_err(|error| StoreError::backend("delete", folder, error))
    }

    fn last_modified(&self, url: &Url) -> Result<Option<SystemTime>, StoreError> {
        last_modified(&local_path(url)?).map_err(|error| StoreError::backend("look at", url, error))
    }

    fn list_leftovers(&self, folder: &Url) -> Result<Vec<Url>, StoreError> {
        let names =
            names_in(&local_path(folder)?, |path| is_leftover(&path.file_name().unwrap_or_default().to_string_lossy()));
        let names = names.map_err(|error| StoreError::backend("list", folder, error))?;
        names.into_iter().map(|name| Ok(folder.join(&name)?)).collect()
    }
}

fn local_path(url: &Url) -> Result<PathBuf, StoreError> {
    url.to_path().ok_or_else(|| StoreError::Unsupported {
        url: url.clone(),
        reason: "a local folder (file:///…) is needed here".to_owned(),
    })
}

fn is_table(path: &Path) -> bool {
    let is_manifest = |entry: fs::DirEntry| entry.file_name().to_string_lossy().ends_with(MANIFEST_SUFFIX);
    fs::read_dir(path.join(MANIFEST_FOLDER)).is_ok_and(|entries| entries.flatten().any(is_manifest))
}

/// Flushes every file and folder at and below `path`, and the folders that lead to it.
///
/// Lance never does: without this, a power loss after "written" can leave empty files.
fn sync_tree(path: &Path) -> io::Result<()> {
    fn sync(path: &Path) -> io::Result<()> {
        if path.is_dir() {
            for entry in fs::read_dir(path)? {
                match sync(&entry?.path()) {
                    // Removed meanwhile by who wrote it: no manifest names it.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    synced => synced?,
                }
            }
        }
        File::open(path)?.sync_all()
    }
    sync(path)?;
    sync_parents(path)
}

fn sync_parents(path: &Path) -> io::Result<()> {
    // Two levels up hold the names of what was just made; higher ones existed or were synced before.
    path.ancestors()
        .skip(1)
        .take(3)
        .filter(|folder| folder.is_dir())
        .try_for_each(|folder| File::open(folder)?.sync_all())
}

/// Makes `path` disappear at once, and then its bytes.
fn remove_tree(path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let doomed = path.with_file_name(UniqueName::new(&format!("{name}.{DELETED_SUFFIX}")).to_string());
    fs::rename(path, &doomed)?;
    sync_parents(&doomed)?;
    remove_bytes(&doomed)
}

/// Removes a folder with all that is in it, or a file; of a link, the link.
fn remove_bytes(path: &Path) -> io::Result<()> {
    match path.symlink_metadata()?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

/// Whether a name is one that [`remove_tree`] or [`write_object`] gives for as long as it takes: with an identity at its end,
/// since such things are removed, and a user may call a folder `notes.deleted-by-me`.
fn is_leftover(name: &str) -> bool {
    let id = name.rsplit_once(&format!(".{DELETED_SUFFIX}-")).map(|(_, id)| id);
    id.is_some_and(|id| Ulid::from_string(id).is_ok())
}

/// Removes what an interrupted [`remove_tree`] of `path` left.
fn sweep_removed(path: &Path) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let prefix = format!("{}.{DELETED_SUFFIX}-", name.to_string_lossy());
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&prefix) && is_leftover(&name) {
            remove_bytes(&entry.path())?;
        }
    }
    Ok(())
}

/// As [`names_in`], without what is being deleted.
fn visible_names_in(folder: &Path, wanted: impl Fn(&Path) -> bool) -> io::Result<Vec<String>> {
    let mut names = names_in(folder, wanted)?;
    names.retain(|name| !is_leftover(name));
    Ok(names)
}

/// The sorted names in `folder` that satisfy `wanted`; none if there is no such folder.
fn names_in(folder: &Path, wanted: impl Fn(&Path) -> bool) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if wanted(&entry.path()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The bytes of all files at and below `path`; 0 if there is nothing.
fn size_bytes(path: &Path) -> io::Result<u64> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        metadata => metadata?,
    };
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    fs::read_dir(path)?.try_fold(0, |sum, entry| Ok(sum + size_bytes(&entry?.path())?))
}

/// When the newest of everything at and below `path` was written; links are not followed.
fn last_modified(path: &Path) -> io::Result<Option<SystemTime>> {
    // What disappears meanwhile is not there.
    let found = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Ok(None),
        _ => Err(error),
    };
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) => return found(error),
    };
    let mut newest = Some(metadata.modified()?);
    if metadata.is_dir() {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => return found(error),
        };
        for entry in entries {
            newest = newest.max(last_modified(&entry?.path())?);
        }
    }
    Ok(newest)
}

fn read_object(url: &Url) -> Result<(Vec<u8>, ObjectVersion), StoreError> {
    let path = local_path(url)?;
    match fs::read(&path) {
        Ok(content) => {
            let version = ObjectVersion(digest::of_bytes(&content));
            Ok((content, version))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::NotFound { url: url.clone() }),
        Err(error) => Err(StoreError::backend("read", url, error)),
    }
}

/// Writes beside the target, flushes, renames. Writers of one folder take turns by a lock that the
/// operating system releases when its holder dies.
fn write_object(url: &Url, content: &[u8], condition: &WriteCondition) -> Result<ObjectVersion, StoreError> {
    let path = local_path(url)?;
    let failed = |error: io::Error| StoreError::backend("write", url, error);
    let folder = path
        .parent()
        .ok_or_else(|| StoreError::Unsupported { url: url.clone(), reason: "an object needs a folder".to_owned() })?;
    let is_new = matches!(condition, WriteCondition::Absent);
    if is_new {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let lock = match File::open(folder) {
        // Removed since the object was read. A folder made anew would be in the way of whoever wants its place.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_new => {
            return Err(StoreError::NotFound { url: url.clone() });
        }
        opened => opened.map_err(failed)?,
    };
    lock.lock().map_err(failed)?;
    match condition {
        WriteCondition::Absent if path.exists() => return Err(StoreError::exists(url)),
        WriteCondition::Absent => {}
        WriteCondition::Unchanged(expected) => {
            if read_object(url)?.1 != *expected {
                return Err(StoreError::Conflict { url: url.clone() });
            }
        }
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(UniqueName::new(&format!(".{name}.{DELETED_SUFFIX}")).to_string());
    let written = (|| {
        let mut file = File::create_new(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        sync_parents(&path)
    })();
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(failed(error));
    }
    Ok(ObjectVersion(digest::of_bytes(content)))
}
