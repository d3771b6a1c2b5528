//! How long work reports how far it is, and learns that it shall stop.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The caller asked to stop; nothing half-done is left visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cancelled on request")]
pub struct Cancelled;

/// Receives progress: a terminal bar, a log, a page.
///
/// Calls come from any thread and must return quickly.
pub trait ProgressSink: Send + Sync {
    /// Work named `name` of `total` steps begins (0: unknown); `task` identifies it from now on.
    fn begin(&self, task: u64, name: &str, total: u64);
    /// `steps` more are done.
    fn advance(&self, task: u64, steps: u64);
    /// The work ended, complete or not.
    fn end(&self, task: u64);
}

/// Handed to every long operation: reports its progress, carries the wish to stop.
///
/// Clones share both. [`Progress::default`] reports nowhere and can still be cancelled.
///
/// ```
/// use tlc_core::Progress;
/// let progress = Progress::default();
/// let task = progress.task("read rows", 2);
/// task.advance(1)?;
/// progress.cancel();
/// assert!(task.advance(1).is_err());
/// # Ok::<(), tlc_core::Cancelled>(())
/// ```
#[derive(Clone, Default)]
pub struct Progress {
    sink: Option<Arc<dyn ProgressSink>>,
    cancelled: Arc<AtomicBool>,
    next_task: Arc<std::sync::atomic::AtomicU64>,
}

impl Progress {
    /// Reports to `sink`.
    pub fn new(sink: Arc<dyn ProgressSink>) -> Self {
        Self { sink: Some(sink), ..Self::default() }
    }

    /// Asks all work that holds a clone of this to stop soon.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Fails once [`cancel`](Self::cancel) was called.
    ///
    /// # Errors
    /// [`Cancelled`].
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.cancelled.load(Ordering::Relaxed) { Err(Cancelled) } else { Ok(()) }
    }

    /// Begins a piece of work of `total` steps (0: unknown); it ends when the task is dropped.
    pub fn task(&self, name: &str, total: u64) -> Task {
        let id = self.next_task.fetch_add(1, Ordering::Relaxed);
        if let Some(sink) = &self.sink {
            sink.begin(id, name, total);
        }
        Task { progress: self.clone(), id }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("cancelled", &self.check().is_err()).finish_non_exhaustive()
    }
}

/// One piece of work in progress.
#[derive(Debug)]
pub struct Task {
    progress: Progress,
    id: u64,
}

impl Task {
    /// Reports `steps` more as done.
    ///
    /// # Errors
    /// [`Cancelled`] once somebody asked to stop.
    pub fn advance(&self, steps: u64) -> Result<(), Cancelled> {
        if let Some(sink) = &self.progress.sink {
            sink.advance(self.id, steps);
        }
        self.progress.check()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(sink) = &self.progress.sink {
            sink.end(self.id);
        }
    }
}
