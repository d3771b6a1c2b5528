//! Where the parallel work of a fit runs.

use rayon::{ThreadPool, ThreadPoolBuilder};
use tlc_core::ReduceError;

/// The caller's thread pool, or one of our own; never a change of the global one.
#[derive(Debug)]
pub(crate) struct Jobs(Option<ThreadPool>);

impl Jobs {
    /// -1: the pool that the call comes from; otherwise a pool of `n_jobs` threads.
    pub(crate) fn new(n_jobs: i64) -> Result<Self, ReduceError> {
        let Ok(n_threads) = usize::try_from(n_jobs) else {
            return Ok(Self(None));
        };
        let pool = ThreadPoolBuilder::new().num_threads(n_threads).build();
        Ok(Self(Some(pool.map_err(|error| ReduceError::backend("start the threads of a fit", error))?)))
    }

    pub(crate) fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.0 {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}
