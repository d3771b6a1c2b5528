//! The async runtime of queries and jobs, and the place that waits for it.

use std::future::Future;
use std::time::Duration;

use tlc_core::Progress;
use tokio::runtime::{Builder, Runtime};

use crate::ClusterError;

/// How often a wish to stop is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Threads for asynchronous work.
#[derive(Debug)]
pub(crate) struct Engine(Option<Runtime>);

impl Engine {
    pub(crate) fn new() -> Result<Self, ClusterError> {
        let runtime = Builder::new_multi_thread().enable_all().thread_name("tlc-cluster").build();
        Ok(Self(Some(runtime.map_err(|error| ClusterError::engine("start threads", error))?)))
    }

    /// Runs the future that `work` makes to its end, or until the caller wants to stop. On a thread of its own, so that
    /// it works inside somebody else's runtime; a panic ends as an error.
    pub(crate) fn wait<F: Future>(
        &self,
        action: &'static str,
        progress: &Progress,
        work: impl FnOnce() -> F + Send,
    ) -> Result<F::Output, ClusterError>
    where
        F::Output: Send,
    {
        let runtime = self.0.as_ref().expect("it is taken by its drop only");
        let stopped = async {
            loop {
                tokio::time::sleep(LOOK).await;
                if let Err(cancelled) = progress.check() {
                    return cancelled;
                }
            }
        };
        let run = || {
            runtime.block_on(async {
                tokio::select! {
                    output = work() => Ok(output),
                    cancelled = stopped => Err(ClusterError::from(cancelled)),
                }
            })
        };
        let ended = std::thread::scope(|scope| scope.spawn(run).join());
        ended.unwrap_or_else(|_| Err(ClusterError::engine(action, "it panicked; its message is above")))
    }
}

impl Drop for Engine {
    /// Does not wait: a task that blocks would hold a caller who wants to stop.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
