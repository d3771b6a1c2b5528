//! Records of one size in a file that nobody else sees.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bytemuck::Pod;
use ndarray::Array2;
use tlc_core::ReduceError;

use super::DiskOptions;

/// Records of so many 32-bit numbers, as this machine has them, in a file without a name.
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

    /// Writes whole records from number `first` on.
    pub(super) fn write<T: Pod>(&mut self, first: usize, values: &[T]) -> Result<(), ReduceError> {
        let place = self.offset(first);
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        let written = file.seek(place).and_then(|_| file.write_all(bytemuck::cast_slice(values)));
        written.map_err(|error| self.failed("write into the temporary file for neighbours", error))
    }

    /// Whole records, one after the other.
    pub(super) fn read<T: Pod>(&self, records: Range<usize>) -> Result<Vec<T>, ReduceError> {
        let mut values = vec![T::zeroed(); self.record * records.len()];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let read =
            file.seek(self.offset(records.start)).and_then(|_| file.read_exact(bytemuck::cast_slice_mut(&mut values)));
        read.map_err(|error| self.failed("read the temporary file for neighbours", error))?;
        Ok(values)
    }

    /// Records of a row each, `(records, record)`.
    pub(super) fn read_rows(&self, records: Range<usize>) -> Result<Array2<f32>, ReduceError> {
        let shape = (records.len(), self.record);
        Ok(Array2::from_shape_vec(shape, self.read(records)?).expect("so many records"))
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
        check(file.write(0, &[1_u32, 2]).expect_err("read-only"), "write into the temporary file");
        check(file.read::<u32>(1 << 20..1 + (1 << 20)).expect_err("beyond its end"), "read the temporary file");
    }
}
