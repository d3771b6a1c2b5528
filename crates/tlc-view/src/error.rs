//! What can go wrong while tables are looked at.

use tlc_core::{Cancelled, StoreError, Url, UrlError};
use tlc_run::RunError;

/// Why something cannot be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// Something that is not part of what is shown.
    #[error("there is no {what} {name:?}; there is {known}")]
    Unknown {
        /// Layout, table, column…
        what: &'static str,
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A table that cannot be shown.
    #[error("cannot show {url}: {reason}")]
    Unusable {
        /// The table.
        url: Url,
        /// What was found and what is needed.
        reason: String,
    },
    /// The run.
    #[error(transparent)]
    Run(#[from] RunError),
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
