//! What can go wrong with functions, queries and jobs.

use datafusion::error::DataFusionError;
use tlc_core::{Cancelled, ReduceError, StoreError, Url, UrlError, with_causes};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a function, a query or a job failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// A model that cannot be used.
    #[error("cannot use the model {url}")]
    Model {
        /// Its folder.
        url: Url,
        /// Why.
        #[source]
        source: ReduceError,
    },
    /// A model that is not the one that was asked for.
    #[error("cannot use the model {url}: its document has the digest {found}, {expected} was asked for")]
    ModelDigest {
        /// Its folder.
        url: Url,
        /// The digest of what is there.
        found: String,
        /// The digest that was given.
        expected: String,
    },
    /// Arguments of a function.
    #[error("{function}: {reason}")]
    Arguments {
        /// Its name.
        function: &'static str,
        /// What is wrong and what would be accepted.
        reason: String,
    },
    /// A column that the model does not fit.
    #[error("cannot reduce column {column:?} of {url}: {reason}")]
    Column {
        /// The column.
        column: String,
        /// The table.
        url: Url,
        /// What is wrong and what would be accepted.
        reason: String,
    },
    /// A table without a column to reduce, or with several.
    #[error("cannot choose a column of {url} to reduce: {reason}")]
    NoColumn {
        /// The table.
        url: Url,
        /// What was found and what would be accepted.
        reason: String,
    },
    /// The table is not the one that the job was made for.
    #[error("{url} changed since the job began: it had {expected}, now it has {found}; begin the job again")]
    Changed {
        /// The table.
        url: Url,
        /// What it was.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Tasks whose results do not make one table.
    #[error("the tasks that wrote {url} do not make one table: {reason}")]
    Parts {
        /// The table that was to be.
        url: Url,
        /// What is missing or doubled.
        reason: String,
    },
    /// A process of another version takes part in a job.
    #[error("the job was made by {job}, but this {process} is {here}; use one version of tlc on the whole cluster")]
    Version {
        /// What made the job.
        job: String,
        /// Scheduler or executor.
        process: &'static str,
        /// What was to run it.
        here: &'static str,
    },
    /// A part of a job that a process cannot read.
    #[error("a part of the job cannot be read: {reason}; this {process} is {here}, and the whole cluster must be")]
    Node {
        /// What is wrong with it.
        reason: String,
        /// Scheduler or executor.
        process: &'static str,
        /// What was to run it.
        here: &'static str,
    },
    /// A text that is no address of a cluster.
    #[error("{text:?} is no address of a cluster: {reason}; df://host:port is needed, such as df://127.0.0.1:50050")]
    Address {
        /// The text.
        text: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Nobody answers there.
    #[error("cannot reach the cluster {address}; `tlc cluster scheduler` starts one")]
    Unreachable {
        /// Its address.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Somebody answers there, but not as a scheduler does.
    #[error("the cluster {address} does not answer as a scheduler of {expected} does: {reason}")]
    Answer {
        /// Its address.
        address: String,
        /// The version of this process.
        expected: &'static str,
        /// What was answered.
        reason: String,
    },
    /// A job that the scheduler does not take.
    #[error("the cluster {address} refuses the job: {reason}")]
    Refused {
        /// Its address.
        address: String,
        /// What the scheduler says.
        reason: String,
    },
    /// A job that the cluster gave up.
    #[error("the cluster {address} gave job {job} up, with {done} of {tasks} parts written: {reason}")]
    Job {
        /// Its address.
        address: String,
        /// What the cluster calls the job.
        job: String,
        /// Parts that were written.
        done: u64,
        /// Parts in all.
        tasks: u64,
        /// What the cluster says.
        reason: String,
    },
    /// A job that does not go on, and did not when it was submitted again.
    #[error(
        "the cluster {address} does not get on with job {job}, with {done} of {tasks} parts written: {reason}; it was \
         submitted {attempts} times"
    )]
    Stalled {
        /// Its address.
        address: String,
        /// What the cluster calls the job that was submitted last.
        job: String,
        /// Parts that were written.
        done: u64,
        /// Parts in all.
        tasks: u64,
        /// What was seen of it.
        reason: String,
        /// How often it was submitted.
        attempts: u32,
    },
    /// A query that cannot be answered.
    #[error("cannot answer the query: {reason}")]
    Query {
        /// What the engine says.
        reason: String,
    },
    /// The engine failed, or a process of a cluster.
    #[error("cannot {action}")]
    Engine {
        /// What was attempted, as a verb phrase.
        action: &'static str,
        /// Why.
        #[source]
        source: Source,
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

impl ClusterError {
    pub(crate) fn engine(action: &'static str, source: impl Into<Source>) -> Self {
        Self::Engine { action, source: source.into() }
    }

    /// Whether the caller asked to stop, wherever that was noticed.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled(_) | Self::Store(StoreError::Cancelled(_)))
    }
}

/// An error for the engine. It keeps the text of all causes, since that is what reaches another process.
impl From<ClusterError> for DataFusionError {
    fn from(error: ClusterError) -> Self {
        DataFusionError::Execution(with_causes(&error))
    }
}
