//! Readers of image data sets that people have on disk.

mod cifar;
mod folder;
mod idx;
mod preparation;
mod table;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

pub use folder::ImageFolder;
pub use preparation::Preparation;
pub use table::TableDataset;

/// Images with labels, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledImages {
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// `n · channels · height · width` bytes, image by image, channel by channel.
    pub pixels: Vec<u8>,
    /// Class indices, `(n,)`.
    pub labels: Vec<i64>,
}

impl LabelledImages {
    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Bytes per image.
    pub fn image_bytes(&self) -> usize {
        self.shape.iter().product()
    }

    /// Keeps the first `n` images.
    pub fn truncate(&mut self, n: usize) {
        self.labels.truncate(n);
        self.pixels.truncate(n * self.image_bytes());
    }
}

/// A data set with a training and a validation part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageDataset {
    /// A short name, usable in paths.
    pub name: &'static str,
    /// Names of the classes.
    pub class_names: Vec<String>,
    /// To train on.
    pub train: LabelledImages,
    /// To validate on.
    pub validation: LabelledImages,
}

/// Why a data set cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// No known data set in a folder.
    #[error("{folder} holds no data set that tlc can read: {expected}")]
    Unknown {
        /// The folder.
        folder: PathBuf,
        /// What was looked for.
        expected: &'static str,
    },
    /// A file that cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A table that cannot be run a model on.
    #[error("cannot use the table {url}: {reason}")]
    Table {
        /// The table.
        url: tlc_core::Url,
        /// What was found and what is needed.
        reason: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] tlc_core::StoreError),
    /// A file that is not what its name says.
    #[error("{path} is not usable: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What was found and what is needed.
        reason: String,
    },
}

const EXPECTED: &str = "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and \
     t10k-labels-idx1-ubyte (each also as .gz), or CIFAR-10's data_batch_1.bin to data_batch_5.bin and test_batch.bin";

/// Reads the data set in `folder`: idx files as of MNIST and Fashion-MNIST, plain or gzipped, or
/// CIFAR-10's binary version.
///
/// # Errors
/// Files that are missing, cut short or of the wrong kind.
pub fn read(folder: &Path) -> Result<ImageDataset, DatasetError> {
    if cifar::is_in(folder) {
        cifar::read(folder)
    } else if idx::is_in(folder) {
        idx::read(folder)
    } else {
        Err(DatasetError::Unknown { folder: folder.to_owned(), expected: EXPECTED })
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, DatasetError> {
    let failed = |source| DatasetError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut content = Vec::new();
    if path.extension().is_some_and(|extension| extension == "gz") {
        GzDecoder::new(file).read_to_end(&mut content).map_err(failed)?;
    } else {
        file.read_to_end(&mut content).map_err(failed)?;
    }
    Ok(content)
}

fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests;
