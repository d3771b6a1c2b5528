//! Files that appear when they are whole.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::TableError;

/// What a file is written through.
pub(super) type Part<'a> = BufWriter<&'a mut File>;

/// Writes a file that appears when it is whole. Of several at once that write one path, the last to end wins.
///
/// # Errors
/// A folder that cannot be written, a full disk.
pub fn write_bytes(path: &Path, content: &[u8]) -> Result<(), TableError> {
    write_whole(path, |part| part.write_all(content).map_err(|error| failed(path, error)))
}

/// Has `write` fill a file of a name of its own beside `path`, which then takes its place; if it fails, nothing is left.
pub(super) fn write_whole<T>(
    path: &Path,
    write: impl FnOnce(&mut Part<'_>) -> Result<T, TableError>,
) -> Result<T, TableError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tlc-").suffix(".part");
    // As any other new file, not for its owner alone: the umask takes away from it.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(|error| failed(path, error))?;
    let mut part = BufWriter::new(file.as_file_mut());
    let written = write(&mut part)?;
    part.flush().map_err(|error| failed(path, error))?;
    drop(part);
    file.persist(path).map_err(|error| failed(path, error.error))?;
    Ok(written)
}

fn failed(path: &Path, error: std::io::Error) -> TableError {
    TableError::File { action: "write", path: path.to_owned(), source: error.into() }
}
