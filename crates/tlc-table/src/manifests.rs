//! A second copy of a local table's manifest.
//!
//! The manifest is the one small file without which none of a table's rows can be read, and Lance keeps it once and
//! without a checksum. A copy lies beside the data, from which it is put back when it was torn, lost or flipped; the
//! content digest that is in it then says whether the rows are those that were written. On object stores there is none:
//! these write a file whole or not at all, and keep checksums.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tlc_core::UniqueName;

use crate::backend::{MANIFEST_FOLDER, MANIFEST_SUFFIX};

/// In a table's folder: the copy, and what was set aside.
const COPY_FOLDER: &str = "_tlc_manifest";
/// The newest version that Lance remembers, right or wrong.
const VERSION_HINT: &str = "latest_version_hint.json";
/// Ends every manifest: the place of its message, eight bytes; its format's version, four; and the magic number.
const FOOTER_BYTES: usize = 16;
const MAGIC: &[u8] = b"LANC";

/// The manifests of one table's folder.
pub(crate) struct Manifests<'a> {
    table: &'a Path,
}

impl<'a> Manifests<'a> {
    pub(crate) fn of(table: &'a Path) -> Self {
        Self { table }
    }

    /// Keeps a copy of the manifest of a table that was just committed.
    pub(crate) fn keep_copy(&self) -> io::Result<()> {
        let copies = self.table.join(COPY_FOLDER);
        for manifest in manifests_in(&self.table.join(MANIFEST_FOLDER))? {
            fs::create_dir_all(&copies)?;
            fs::copy(&manifest, copies.join(manifest.file_name().unwrap_or_default()))?;
        }
        Ok(())
    }

    /// Whether there is a copy that says something else than the manifest, or more than none.
    pub(crate) fn differs_from_copy(&self) -> io::Result<bool> {
        let Some(copy) = self.copy()? else { return Ok(false) };
        let copied = fs::read(&copy)?;
        match fs::read(self.original(&copy)) {
            Ok(original) => Ok(original != copied),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(!copied.is_empty()),
            Err(error) => Err(error),
        }
    }

    /// Puts the copy in the manifest's place, at once; what was there is set aside, and put back by
    /// [`undo`](Restored::undo).
    pub(crate) fn restore(&self) -> io::Result<Restored> {
        let copy = self.copy()?.ok_or_else(|| io::Error::other("no copy of the manifest was kept"))?;
        let original = self.original(&copy);
        fs::create_dir_all(self.table.join(MANIFEST_FOLDER))?;
        let aside = match original.exists() {
            true => {
                let aside = self.aside(&original);
                fs::hard_link(&original, &aside)?;
                Some(aside)
            }
            false => None,
        };
        let fresh = self.aside(&copy);
        fs::copy(&copy, &fresh)?;
        File::open(&fresh)?.sync_all()?;
        fs::rename(&fresh, &original)?;
        self.sync_folders()?;
        Ok(Restored { original, aside })
    }

    /// Manifests of later versions, which tlc never writes and never reads; newest first.
    pub(crate) fn later(&self) -> io::Result<Vec<PathBuf>> {
        let Some(copy) = self.copy()? else { return Ok(Vec::new()) };
        let own = self.original(&copy);
        // Their numbers count down.
        Ok(manifests_in(&self.table.join(MANIFEST_FOLDER))?.into_iter().filter(|path| *path < own).collect())
    }

    /// Takes a manifest out of the way of other programs, without deleting it.
    pub(crate) fn set_aside(&self, manifest: &Path) -> io::Result<()> {
        fs::rename(manifest, self.aside(manifest))?;
        match fs::remove_file(self.table.join(MANIFEST_FOLDER).join(VERSION_HINT)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.sync_folders()
    }

    fn copy(&self) -> io::Result<Option<PathBuf>> {
        match manifests_in(&self.table.join(COPY_FOLDER)) {
            Ok(copies) => Ok(copies.into_iter().next()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn original(&self, copy: &Path) -> PathBuf {
        self.table.join(MANIFEST_FOLDER).join(copy.file_name().unwrap_or_default())
    }

    /// A name that nothing has and that no program takes for a manifest.
    fn aside(&self, manifest: &Path) -> PathBuf {
        let name = manifest.file_name().unwrap_or_default().to_string_lossy();
        self.table.join(COPY_FOLDER).join(UniqueName::new(&format!("{name}.aside")).to_string())
    }

    fn sync_folders(&self) -> io::Result<()> {
        [MANIFEST_FOLDER, COPY_FOLDER].iter().try_for_each(|folder| File::open(self.table.join(folder))?.sync_all())
    }
}

/// A manifest that was put back.
pub(crate) struct Restored {
    original: PathBuf,
    aside: Option<PathBuf>,
}

impl Restored {
    /// As it was before.
    pub(crate) fn undo(self) -> io::Result<()> {
        match self.aside {
            Some(aside) => fs::rename(aside, self.original),
            None => fs::remove_file(self.original),
        }
    }
}

/// Whether the file of a manifest is not whole: its end says where it begins, and its beginning how long it is. Only what
/// is read can be torn; a file that cannot be read is an error.
pub(crate) fn is_torn(manifest: &Path) -> io::Result<bool> {
    let bytes = fs::read(manifest)?;
    let Some((message, footer)) = bytes.split_last_chunk::<FOOTER_BYTES>() else { return Ok(true) };
    let is_whole = footer.ends_with(MAGIC) && {
        let start = u64::from_le_bytes(*footer.first_chunk().expect("a footer has more bytes"));
        let section = usize::try_from(start).ok().and_then(|start| message.get(start..));
        section.and_then(|section| section.split_first_chunk()).is_some_and(|(length, message)| {
            usize::try_from(u32::from_le_bytes(*length)).is_ok_and(|length| length == message.len())
        })
    };
    Ok(!is_whole)
}

/// Sorted.
fn manifests_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(MANIFEST_SUFFIX) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}
