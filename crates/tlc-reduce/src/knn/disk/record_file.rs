//! Records of one size in a file that nobody else sees.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tlc_core::ReduceError;

use super::DiskOptions;

/// Records of so many 32-bit words in a file without a name.
#[derive(Debug)]
pub(super) struct RecordFile {
    /// Locked, since a read is a seek and a read.
    file: Mutex<File>,
    folder: PathBuf,
    pub(super) record: usize,
    pub(super) n_records: usize,
}

impl RecordFile {
    pub(super) fn new(options: &DiskOptions, record: usize, n_records: usize) -> Result<Self, ReduceError> {
        let folder = options.folder.clone();
        match tempfile::tempfile_in(&folder) {
            Ok(file) => Ok(Self { file: Mutex::new(file), folder, record, n_records }),
            Err(source) => {
                Err(ReduceError::backend("make a temporary file for neighbours", InFolder { folder, source }))
            }
        }
    }

    fn failed(&self, action: &'static str, source: io::Error) -> ReduceError {
        ReduceError::backend(action, InFolder { folder: self.folder.clone(), source })
    }

    fn offset(&self, record: usize) -> SeekFrom {
        SeekFrom::Start(4 * record as u64 * self.record as u64)
    }

    pub(super) fn write(&mut self, first: usize, words: impl Iterator<Item = u32>) -> Result<(), ReduceError> {
        let bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        let place = self.offset(first);
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        let written = file.seek(place).and_then(|_| file.write_all(&bytes));
        written.map_err(|error| self.failed("write into the temporary file for neighbours", error))
    }

    pub(super) fn read(&self, records: Range<usize>) -> Result<Vec<u32>, ReduceError> {
        let mut bytes = vec![0; 4 * self.record * records.len()];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let read = file.seek(self.offset(records.start)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|error| self.failed("read the temporary file for neighbours", error))?;
        let (words, _) = bytes.as_chunks::<4>();
        Ok(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }
}

/// Where a file without a name is. Mostly its disk is full, and another folder is what helps.
#[derive(Debug)]
struct InFolder {
    folder: PathBuf,
    source: io::Error,
}

impl fmt::Display for InFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is in {}; name a folder with more room by TMPDIR or by the option for it", self.folder.display())
    }
}

impl std::error::Error for InFolder {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use tlc_core::with_causes;

    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_names_its_folder() {
        let folder = PathBuf::from("/folder/of/temporary/files");
        // One that may only be read refuses writes like a full disk.
        let file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).expect("readable");
        let mut file = RecordFile { file: Mutex::new(file), folder, record: 2, n_records: 1 };
        let check = |error: ReduceError, action: &str| {
            let text = with_causes(&error);
            let expected = [action, "/folder/of/temporary/files", "TMPDIR"];
            assert!(expected.iter().all(|part| text.contains(part)), "{text}");
        };
        check(file.write(0, [1, 2].into_iter()).expect_err("read-only"), "write into the temporary file");
        check(file.read(1 << 20..1 + (1 << 20)).expect_err("beyond its end"), "read the temporary file");
    }
}
