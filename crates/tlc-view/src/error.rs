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
    /// A table that is still being made.
    #[error("{title} is not ready yet")]
    NotReady {
        /// What will be shown.
        title: String,
    },
    /// A table that cannot be shown.
    #[error("cannot show {url}: {reason}")]
    Unusable {
        /// The table.
        url: Url,
        /// What was found and what is needed.
        reason: String,
    },
    /// A condition that does not fit.
    #[error("cannot choose rows of {title}: {reason}")]
    Filter {
        /// What is shown.
        title: String,
        /// What was found and what is needed.
        reason: String,
    },
    /// Neighbours that cannot be found.
    #[error("cannot find neighbours")]
    Neighbours {
        /// Why.
        #[source]
        source: tlc_core::ReduceError,
    },
    /// A file or answer that cannot be encoded.
    #[error("cannot encode the rows")]
    Encode {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An address that cannot be listened at.
    #[error("cannot listen at {address}; choose another port, or 0 for any that is free")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
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

impl ViewError {
    /// What the store said, if it is the store's.
    fn of_store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) | Self::Run(RunError::Store(error)) => Some(error),
            _ => None,
        }
    }

    /// Whether something is not there, or not any more.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self.of_store(), Some(StoreError::NotFound { .. }))
    }

    /// The table that cannot be read.
    pub(crate) fn unreadable(&self) -> Option<&Url> {
        match (self, self.of_store()) {
            (Self::Unusable { url, .. }, _) => Some(url),
            (
                _,
                Some(
                    StoreError::NotFound { url }
                    | StoreError::Unsupported { url, .. }
                    | StoreError::Damaged { url, .. }
                    | StoreError::Backend { url, .. },
                ),
            ) => Some(url),
            _ => None,
        }
    }
}
