//! Putting a table's manifest right, where nothing is lost by that.

use std::io;
use std::path::Path;

use tlc_core::{Progress, StoreError, TableStore, Url};

use super::LanceStore;
use crate::manifests::{self, Manifests};

/// See [`TableStore::repair`]; for a table on a local disk.
pub(super) fn repair(
    url: &Url,
    table: &Path,
    dry_run: bool,
    progress: &Progress,
) -> Result<Option<String>, StoreError> {
    let failed = |error: io::Error| StoreError::backend("repair", url, error);
    let manifests = Manifests::of(table);
    if manifests.differs_from_copy().map_err(failed)? && is_damaged(url, progress)? {
        let found = "its manifest is not the one that was written, of which there is a copy".to_owned();
        if dry_run {
            return Ok(Some(found));
        }
        let restored = manifests.restore().map_err(failed)?;
        if !is_damaged(url, progress)? {
            return Ok(Some(found));
        }
        // The copy does not help either: more is damaged.
        restored.undo().map_err(failed)?;
        return Ok(None);
    }
    let mut n_torn = 0;
    for later in manifests.later().map_err(failed)? {
        // One that is whole says nothing wrong, also if this version cannot read it: it is another program's.
        if !manifests::is_torn(&later).map_err(failed)? {
            break;
        }
        n_torn += 1;
        if dry_run {
            break;
        }
        manifests.set_aside(&later).map_err(failed)?;
    }
    let found = "another program began to write a later version, which is torn: other programs cannot open the table";
    Ok((n_torn > 0).then(|| found.to_owned()))
}

/// Whether the table does not hold what was written. A store of its own, since caches may know better than the disk.
fn is_damaged(url: &Url, progress: &Progress) -> Result<bool, StoreError> {
    match LanceStore::default().verify(url, progress) {
        Ok(()) => Ok(false),
        Err(StoreError::Cancelled(cancelled)) => Err(cancelled.into()),
        Err(_) => Ok(true),
    }
}
