//! Records of one size in a file that nobody else sees.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use tlc_core::ReduceError;

use super::DiskOptions;

/// Records of so many 32-bit words in a file without a name.
#[derive(Debug)]
pub(super) struct RecordFile {
    /// Locked, since a read is a seek and a read.
    file: Mutex<File>,
    pub(super) record: usize,
    pub(super) n_records: usize,
}

impl RecordFile {
    pub(super) fn new(options: &DiskOptions, record: usize, n_records: usize) -> Result<Self, ReduceError> {
        let file = tempfile::tempfile_in(&options.folder)
            .map_err(|error| ReduceError::backend("make a temporary file for neighbours", error))?;
        Ok(Self { file: Mutex::new(file), record, n_records })
    }

    fn offset(&self, record: usize) -> SeekFrom {
        SeekFrom::Start(4 * record as u64 * self.record as u64)
    }

    pub(super) fn write(&mut self, first: usize, words: impl Iterator<Item = u32>) -> Result<(), ReduceError> {
        let bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        let place = self.offset(first);
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        let written = file.seek(place).and_then(|_| file.write_all(&bytes));
        written.map_err(|error| ReduceError::backend("write into the temporary file for neighbours", error))
    }

    pub(super) fn read(&self, records: Range<usize>) -> Result<Vec<u32>, ReduceError> {
        let mut bytes = vec![0; 4 * self.record * records.len()];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let read = file.seek(self.offset(records.start)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|error| ReduceError::backend("read the temporary file for neighbours", error))?;
        let (words, _) = bytes.as_chunks::<4>();
        Ok(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }
}
