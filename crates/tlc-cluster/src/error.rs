//! What can go wrong with functions, queries and jobs.

use std::io;

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
    /// A column that cannot be one of the new table.
    #[error(
        "cannot keep column {column:?} of {url}: its type is {kind}; numbers, times, booleans, texts, binary values and \
         lists of them can be kept, so make a table without it"
    )]
    Kept {
        /// The column.
        column: String,
        /// The table.
        url: Url,
        /// Its type.
        kind: String,
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
    /// A process of a cluster that cannot be run as it was asked for.
    #[error("cannot run {process}: {option} is {value}; {accepted}")]
    Option {
        /// Which, such as "an executor".
        process: &'static str,
        /// Which option.
        option: &'static str,
        /// What was given.
        value: String,
        /// What would be accepted.
        accepted: String,
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
    /// A job that failed when parts of its table were written, which stay.
    #[error(
        "cannot finish {url}; its parts that are written stay: the same job goes on with them, and `tlc doctor --repair` \
         removes them when nobody has written there for an hour"
    )]
    Stopped {
        /// The table that was to be.
        url: Url,
        /// Why.
        #[source]
        source: Box<ClusterError>,
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

    /// Whether a disk or a network failed: at another time, or on another machine, it may go well.
    pub(crate) fn is_of_a_backend(&self) -> bool {
        match self {
            Self::Store(StoreError::Backend { .. }) => true,
            // What failed while the rows were read; see `cause_of`.
            Self::Store(StoreError::Rows { source, .. }) => source.is::<io::Error>(),
            Self::Model { source: ReduceError::Backend { source, .. }, .. } => {
                source.downcast_ref::<Self>().is_some_and(Self::is_of_a_backend)
            }
            _ => false,
        }
    }
}

/// An error for the engine. It keeps the text of all causes, since that is what reaches another process, and whether a
/// backend failed, since then a cluster tries the task again. All others would be the same at every attempt.
impl From<ClusterError> for DataFusionError {
    fn from(error: ClusterError) -> Self {
        let text = with_causes(&error);
        match error.is_of_a_backend() {
            true => DataFusionError::IoError(io::Error::other(text)),
            false => DataFusionError::Execution(text),
        }
    }
}

/// An engine's error as the cause of another: what we said, without what the engine puts before it. A backend's failure
/// stays an [`io::Error`].
pub(crate) fn cause_of(error: DataFusionError) -> Source {
    match error {
        DataFusionError::Execution(text) => text.into(),
        DataFusionError::IoError(error) => error.into(),
        other => other.into(),
    }
}

/// What an engine's error says, with its causes. An error of input or output repeats its cause, and is told once.
pub(crate) fn told(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::IoError(error) => error.to_string(),
        _ => with_causes(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_backends_failures_are_tried_again() {
        let url: Url = "s3://bucket/t.lance".parse().expect("a URL");
        let reset = || StoreError::backend("read", &url, "connection reset");
        let rows = |error: ClusterError| StoreError::rows(&url, cause_of(error.into()));
        let arrays = |error: ClusterError| ClusterError::Model {
            url: url.clone(),
            source: ReduceError::backend("read the model's arrays", error),
        };
        let missing = || StoreError::NotFound { url: url.clone() };
        let changed = || ClusterError::Changed { url: url.clone(), expected: "a".to_owned(), found: "b".to_owned() };
        for (error, is_tried_again) in [
            (ClusterError::from(reset()), true),
            (rows(reset().into()).into(), true),
            (arrays(reset().into()), true),
            (missing().into(), false),
            (rows(missing().into()).into(), false),
            (rows(changed()).into(), false),
            (arrays(missing().into()), false),
            (StoreError::exists(&url).into(), false),
            (ClusterError::Model { url: url.clone(), source: ReduceError::model("it is cut") }, false),
        ] {
            let text = with_causes(&error);
            let error = DataFusionError::from(error);
            assert_eq!(matches!(error, DataFusionError::IoError(_)), is_tried_again, "{text}");
            assert!(told(&error).contains(&text), "{text}");
        }
        let text = with_causes(&rows(reset().into()));
        let expected = "the rows for s3://bucket/t.lance could not be produced, so no table was written: cannot read \
                        s3://bucket/t.lance: connection reset";
        assert_eq!(text, expected, "each cause is told once");
    }
}
