//! What can go wrong with runs.

use tlc_core::{Cancelled, ReduceError, StoreError, Url, UrlError};

/// Why an operation on a project or run failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A name that cannot be part of a path.
    #[error(
        "{what} name {name:?} is not usable: use letters, digits, '.', '_' and '-', not starting with '.', without '.lance' \
         or '.pieces'"
    )]
    Name {
        /// Run, dataset or table.
        what: &'static str,
        /// The name given.
        name: String,
    },
    /// A table that the same operation made before is another one.
    #[error(
        "cannot use {url} again: the same operation made it of other {what}; name in the operation what is different"
    )]
    Differs {
        /// The table that is there.
        url: Url,
        /// Its `columns` or its `rows`.
        what: &'static str,
    },
    /// No run of this name.
    #[error("project {project} has no run {name:?}; its runs are {known}")]
    UnknownRun {
        /// The name given.
        name: String,
        /// The project.
        project: Url,
        /// The runs there are.
        known: String,
    },
    /// Columns that make no table.
    #[error("cannot make the table {name:?}: {reason}")]
    Columns {
        /// The table's name.
        name: String,
        /// What is wrong and what would be accepted.
        reason: String,
    },
    /// A run record of another format, or none at all.
    #[error("the run record {url} cannot be read: {reason}")]
    Record {
        /// Its place.
        url: Url,
        /// What is wrong.
        reason: String,
    },
    /// A URL in a record or a lineage that leads out of the project.
    #[error("{url} is not followed: it is outside of the project {project}")]
    Outside {
        /// The URL.
        url: Url,
        /// The project.
        project: Url,
    },
    /// No metrics table describes the rows of this table.
    #[error("{among} has no tables with embeddings for {url}; it has some for {known}")]
    NoTablesFor {
        /// Where they were looked for.
        among: String,
        /// The foreign table given.
        url: Url,
        /// The foreign tables there are.
        known: String,
    },
    /// The table to fit on is not one of the run's tables with embeddings.
    #[error("cannot fit on {url}: it is not a table with embeddings of run {run:?}")]
    NotAFitTable {
        /// The run.
        run: String,
        /// The table given.
        url: Url,
    },
    /// A column that cannot be reduced.
    #[error("cannot reduce column {column:?} of {url}: {reason}")]
    Column {
        /// The column.
        column: String,
        /// The table.
        url: Url,
        /// What is wrong and what would be accepted.
        reason: String,
    },
    /// Somebody else replaced a table while it was reduced.
    #[error("cannot replace {url}: it is no longer in the run's record; reduce again")]
    Replaced {
        /// The table.
        url: Url,
    },
    /// A table that cannot be deleted, since something needs it.
    #[error("cannot delete {url}: {needs}")]
    Needed {
        /// The table.
        url: Url,
        /// Who needs it, and for what.
        needs: String,
    },
    /// Something that the doctor cannot put right.
    #[error("cannot put {url} right: {reason}")]
    Repair {
        /// The place.
        url: Url,
        /// What is in the way.
        reason: String,
    },
    /// A table whose making cannot be repeated.
    #[error("cannot replay {url}: {reason}")]
    Replay {
        /// The table.
        url: Url,
        /// What is wrong or missing.
        reason: String,
    },
    /// Options that contradict each other.
    #[error("cannot reduce: {reason}")]
    Options {
        /// What is wrong and what would be accepted.
        reason: String,
    },
    /// A model that cannot be used.
    #[error("cannot use the model {url}")]
    Model {
        /// Its folder.
        url: Url,
        /// Why.
        #[source]
        source: ReduceError,
    },
    /// A reducer failed on a column.
    #[error("cannot reduce column {column:?} of {url} with {method}")]
    Reduce {
        /// The column.
        column: String,
        /// The table.
        url: Url,
        /// The method.
        method: &'static str,
        /// Why.
        #[source]
        source: ReduceError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A URL that cannot be formed.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The caller asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl RunError {
    /// Whether the caller asked to stop, wherever that was noticed.
    pub fn is_cancelled(&self) -> bool {
        matches!(
            self,
            RunError::Cancelled(_)
                | RunError::Store(StoreError::Cancelled(_))
                | RunError::Reduce { source: ReduceError::Cancelled(_), .. }
        )
    }
}
