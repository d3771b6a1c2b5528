//! What can go wrong with tables.

use std::path::PathBuf;

use tlc_core::{Cancelled, StoreError, Url, UrlError};

/// Why an operation on a table failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// Data, names or options that do not fit.
    #[error("cannot make the table {name:?}: {reason}")]
    Data {
        /// The table's name.
        name: String,
        /// What is wrong and what would be accepted.
        reason: String,
    },
    /// A table of this name is there and must not be.
    #[error("a table {name:?} is there already, at {url}; use it, or choose rename or overwrite")]
    Exists {
        /// The name.
        name: String,
        /// The table.
        url: Url,
    },
    /// An operation that the table does not support.
    #[error("cannot {action} {url}: {reason}")]
    Unfit {
        /// What was attempted, as a verb phrase.
        action: &'static str,
        /// The table.
        url: Url,
        /// What is wrong and what would be accepted.
        reason: String,
    },
    /// A file that cannot be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file of a kind that is not known, or that holds no table.
    #[error("{path} is not usable: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What was found and what is needed.
        reason: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A URL that cannot be formed.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The caller asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}
