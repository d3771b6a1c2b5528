//! Files of other programs as tables, and tables as such files.

mod arrays;
mod whole;

use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, DataType, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tlc_core::{BatchStream, StoreError, Url};

use crate::TableError;

pub use whole::write_bytes;

const BATCH_ROWS: usize = 8192;

/// A kind of file, by its extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileFormat {
    /// `.parquet`
    Parquet,
    /// `.csv`, with a header; types are guessed from the first thousand rows.
    Csv,
    /// `.arrow`, `.ipc` or `.feather`: Arrow's file format.
    Arrow,
    /// `.npy`: one array, `(n,)` or `(n, d)`; its column is named after the file. Read only.
    Npy,
    /// `.safetensors`: arrays of one length, each a column. Read only.
    Safetensors,
}

impl FileFormat {
    const EXTENSIONS: [(&'static str, FileFormat); 7] = [
        ("parquet", Self::Parquet),
        ("csv", Self::Csv),
        ("arrow", Self::Arrow),
        ("ipc", Self::Arrow),
        ("feather", Self::Arrow),
        ("npy", Self::Npy),
        ("safetensors", Self::Safetensors),
    ];

    /// What the name of `path` says.
    ///
    /// # Errors
    /// Another extension; the known ones are listed.
    pub fn of(path: &Path) -> Result<Self, TableError> {
        let extension =
            path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default();
        let found = Self::EXTENSIONS.iter().find(|(known, _)| *known == extension).map(|(_, format)| *format);
        found.ok_or_else(|| {
            let known = Self::EXTENSIONS.map(|(extension, _)| extension).join(", ");
            TableError::Format {
                path: path.to_owned(),
                reason: format!("its extension is {extension:?}; known: {known}"),
            }
        })
    }
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::EXTENSIONS.iter().find(|(_, format)| format == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// The rows of a file, batch by batch.
///
/// Columns that the tables of tlc do not have, such as dictionaries, are refused by name when the table is written.
///
/// # Errors
/// An unknown extension; a file that cannot be read or is not what its name says.
pub fn read_file(path: &Path) -> Result<(SchemaRef, BatchStream<'static>), TableError> {
    let format = FileFormat::of(path)?;
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| TableError::File {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let open = || File::open(path).map_err(|error| failed(error.into()));
    match format {
        FileFormat::Parquet => {
            let reader = ParquetRecordBatchReaderBuilder::try_new(open()?)
                .and_then(|builder| builder.with_batch_size(BATCH_ROWS).build())
                .map_err(|error| failed(error.into()))?;
            Ok((reader.schema(), stream(path, reader)))
        }
        FileFormat::Csv => {
            let format = arrow_csv::reader::Format::default().with_header(true);
            let (schema, _) =
                format.infer_schema(BufReader::new(open()?), Some(1000)).map_err(|error| failed(error.into()))?;
            let reader = arrow_csv::ReaderBuilder::new(Arc::new(schema))
                .with_header(true)
                .with_batch_size(BATCH_ROWS)
                .build(open()?)
                .map_err(|error| failed(error.into()))?;
            Ok((reader.schema(), stream(path, reader)))
        }
        FileFormat::Arrow => {
            let reader =
                arrow_ipc::reader::FileReader::try_new_buffered(open()?, None).map_err(|error| failed(error.into()))?;
            Ok((reader.schema(), stream(path, reader)))
        }
        FileFormat::Npy => arrays::read_npy(path),
        FileFormat::Safetensors => arrays::read_safetensors(path),
    }
}

fn stream(
    path: &Path,
    rows: impl Iterator<Item = Result<RecordBatch, ArrowError>> + Send + 'static,
) -> BatchStream<'static> {
    let url = std::path::absolute(path).ok().and_then(|path| Url::from_path(&path).ok());
    let url = url.unwrap_or_else(|| Url::from_path(Path::new("/")).expect("absolute"));
    Box::new(rows.map(move |batch| batch.map_err(|error| StoreError::backend("read", &url, error))))
}

/// Writes rows into a file of the kind that its name says, and returns their number. The file appears when it is whole.
///
/// CSV holds numbers, texts and booleans; vectors become one column per value.
///
/// # Errors
/// An unknown extension, or one that can only be read; a column that the format cannot hold; a full disk; the first
/// error of `rows`.
pub fn write_file(path: &Path, schema: &SchemaRef, rows: BatchStream<'_>) -> Result<u64, TableError> {
    let format = FileFormat::of(path)?;
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| TableError::File {
        action: "write",
        path: path.to_owned(),
        source,
    };
    whole::write_whole(path, |mut file| {
        let mut n_rows = 0;
        match format {
            FileFormat::Parquet => {
                let mut writer = ArrowWriter::try_new(&mut file, schema.clone(), None).map_err(|e| failed(e.into()))?;
                for batch in rows {
                    let batch = batch?;
                    n_rows += batch.num_rows() as u64;
                    writer.write(&batch).map_err(|error| failed(error.into()))?;
                }
                writer.close().map_err(|error| failed(error.into()))?;
            }
            FileFormat::Arrow => {
                let mut writer =
                    arrow_ipc::writer::FileWriter::try_new(&mut file, schema).map_err(|error| failed(error.into()))?;
                for batch in rows {
                    let batch = batch?;
                    n_rows += batch.num_rows() as u64;
                    writer.write(&batch).map_err(|error| failed(error.into()))?;
                }
                writer.finish().map_err(|error| failed(error.into()))?;
            }
            FileFormat::Csv => {
                let mut writer = arrow_csv::WriterBuilder::new().with_header(true).build(&mut file);
                for batch in rows {
                    let batch = arrays::spread_vectors(&batch?).map_err(|error| failed(error.into()))?;
                    n_rows += batch.num_rows() as u64;
                    writer.write(&batch).map_err(|error| failed(error.into()))?;
                }
            }
            FileFormat::Npy | FileFormat::Safetensors => {
                let reason = format!("{format} files can only be read; write .parquet, .csv or .arrow");
                return Err(TableError::Format { path: path.to_owned(), reason });
            }
        }
        Ok(n_rows)
    })
}

fn is_vector(kind: &DataType) -> bool {
    matches!(kind, DataType::FixedSizeList(..))
}

#[cfg(test)]
mod tests;
