//! Errors of the contract.
//!
//! A message says what was attempted, the offending value and what would be accepted; the cause is
//! in `source()` and not repeated in the text.

use crate::{Cancelled, PluginError, Url};

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// A text that is not a usable [`Url`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a usable URL: {reason}")]
pub struct UrlError {
    text: String,
    reason: String,
}

impl UrlError {
    pub(crate) fn new(text: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { text: text.into(), reason: reason.into() }
    }
}

/// A value that cannot be a column of one value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("constant {name:?} is {value}; a number, text or boolean is needed")]
#[non_exhaustive]
pub struct ConstantError {
    /// The constant.
    pub name: String,
    /// Its value, as JSON.
    pub value: String,
}

/// What went wrong, and why, in one line: an error and its causes, for places that have room for one text.
///
/// ```
/// let url: tlc_core::Url = "memory://p/t.lance".parse()?;
/// let error = tlc_core::StoreError::backend("write", &url, "no space left on device");
/// assert_eq!(tlc_core::with_causes(&error), "cannot write memory://p/t.lance: no space left on device");
/// # Ok::<(), tlc_core::UrlError>(())
/// ```
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Why a [`TableStore`](crate::TableStore) refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nothing is at this place.
    #[error("nothing is stored at {url}")]
    NotFound {
        /// The place asked for.
        url: Url,
    },
    /// Tables are immutable: a place is written once.
    #[error("cannot create {url}: {}", taken(*is_unfinished))]
    AlreadyExists {
        /// The place asked for.
        url: Url,
        /// Whether it was only taken: a table is being written there, or its writer was stopped.
        is_unfinished: bool,
    },
    /// Somebody else changed the object since it was read.
    #[error("cannot replace {url}: it changed since it was read; read it again and repeat the change")]
    Conflict {
        /// The place asked for.
        url: Url,
    },
    /// The store does not serve this kind of place.
    #[error("this store cannot serve {url}: {reason}")]
    Unsupported {
        /// The place asked for.
        url: Url,
        /// What the store accepts.
        reason: String,
    },
    /// Another program changed its table, and neither the first nor the latest version is the one that stays.
    #[error(
        "cannot read {url}: another program changed it after it was made, and tables are read in one version, which stays as \
         it is; its latest version is {latest}: name it, {}",
        url.clone().with_version(Some(*latest))
    )]
    ManyVersions {
        /// The table, without a version.
        url: Url,
        /// The number of its latest version.
        latest: u64,
    },
    /// The table's bytes are not what was written.
    #[error("{url} is damaged: {reason}")]
    Damaged {
        /// The table or object.
        url: Url,
        /// What does not fit.
        reason: String,
    },
    /// The rows do not have the schema that was announced.
    #[error("cannot write {url}: {reason}")]
    InvalidData {
        /// The table.
        url: Url,
        /// What is wrong with the rows.
        reason: String,
    },
    /// The producer of the rows failed; nothing was written.
    #[error("the rows for {url} could not be produced, so no table was written")]
    Rows {
        /// The table.
        url: Url,
        /// Why.
        #[source]
        source: Source,
    },
    /// The table is there and whole, but nobody knows whether a power loss leaves it so.
    #[error(
        "{url} is written, and can be read, but could not be flushed to its disk, so a power loss may damage it: use it as \
         it is, or delete it and write it again"
    )]
    NotFlushed {
        /// The table.
        url: Url,
        /// Why.
        #[source]
        source: Source,
    },
    /// The backend failed.
    #[error("cannot {action} {url}")]
    Backend {
        /// What was attempted, as a verb phrase.
        action: &'static str,
        /// The table or object.
        url: Url,
        /// The backend's own error.
        #[source]
        source: Source,
    },
    /// A URL that cannot be formed.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The caller asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

fn taken(is_unfinished: bool) -> &'static str {
    match is_unfinished {
        true => {
            "it is being written, or its writer was stopped; `tlc doctor --repair` frees its place when nobody has \
             written there for an hour"
        }
        false => "it already exists, and tables are never overwritten",
    }
}

impl StoreError {
    /// What is there already, whole.
    pub fn exists(url: &Url) -> Self {
        Self::AlreadyExists { url: url.clone(), is_unfinished: false }
    }

    /// Wraps a backend's error with what was attempted where.
    pub fn backend(action: &'static str, url: &Url, source: impl Into<Source>) -> Self {
        Self::Backend { action, url: url.clone(), source: source.into() }
    }

    /// Wraps the failure of whoever produced the rows.
    pub fn rows(url: &Url, source: impl Into<Source>) -> Self {
        Self::Rows { url: url.clone(), source: source.into() }
    }
}

/// Why a [`Reducer`](crate::Reducer) refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReduceError {
    /// A parameter outside its range.
    #[error("{name} is {value}; {accepted}")]
    Parameter {
        /// The parameter's name.
        name: &'static str,
        /// The value given.
        value: String,
        /// What would be accepted.
        accepted: String,
    },
    /// Several parameters outside their ranges.
    #[error("{}", problems.join("; "))]
    Parameters {
        /// The message of each.
        problems: Vec<String>,
    },
    /// Data that the reducer cannot work on.
    #[error("cannot reduce the data: {reason}")]
    Data {
        /// What is wrong and what would be accepted.
        reason: String,
    },
    /// Rows that hold NaN, infinity, or values so large that squared distances may overflow.
    #[error(
        "{count} of {rows} rows hold NaN, infinity or values beyond ±1e15 (first: {first:?}); leave them out before the fit"
    )]
    NotFinite {
        /// How many rows.
        count: usize,
        /// Of how many.
        rows: usize,
        /// The first ten row numbers.
        first: Vec<usize>,
    },
    /// Model files that cannot be used.
    #[error("cannot load the model: {reason}")]
    Model {
        /// What does not fit.
        reason: String,
    },
    /// A model whose reducer this program cannot make, perhaps since its crate is not linked.
    #[error("cannot restore the reducer of crate {crate_name} {crate_version}")]
    Restore {
        /// The crate that the model was made with.
        crate_name: String,
        /// Its version.
        crate_version: String,
        /// What is wrong.
        #[source]
        source: PluginError,
    },
    /// Something below failed.
    #[error("cannot {action}")]
    Backend {
        /// What was attempted, as a verb phrase.
        action: &'static str,
        /// The cause.
        #[source]
        source: Source,
    },
    /// The caller asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl ReduceError {
    /// A parameter outside its range.
    pub fn parameter(name: &'static str, value: impl ToString, accepted: impl Into<String>) -> Self {
        Self::Parameter { name, value: value.to_string(), accepted: accepted.into() }
    }

    /// Data that cannot be reduced.
    pub fn data(reason: impl Into<String>) -> Self {
        Self::Data { reason: reason.into() }
    }

    /// A model that cannot be loaded.
    pub fn model(reason: impl Into<String>) -> Self {
        Self::Model { reason: reason.into() }
    }

    /// A failure below, with what was attempted.
    pub fn backend(action: &'static str, source: impl Into<Source>) -> Self {
        Self::Backend { action, source: source.into() }
    }
}

/// Values that cannot be one column of a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ColumnError {
    /// Texts or files that are too long together.
    #[error(
        "cannot make the column {name:?}: its values take {bytes} bytes; at most 2147483647 fit, so write them batch by batch"
    )]
    TooLong {
        /// The column.
        name: String,
        /// What its values take.
        bytes: u64,
    },
    /// Vectors of a width that a column cannot have.
    #[error("cannot make the column {name:?}: its vectors have {width} values; 1 to 2147483647 are possible")]
    Width {
        /// The column.
        name: String,
        /// Values per vector.
        width: usize,
    },
    /// Values that are not whole vectors.
    #[error("cannot make the column {name:?}: {values} values are no whole number of vectors of {width}")]
    NotVectors {
        /// The column.
        name: String,
        /// Values per vector.
        width: usize,
        /// How many values there are.
        values: usize,
    },
}
