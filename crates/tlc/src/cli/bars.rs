//! Progress bars on the terminal; nothing where there is none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tlc::core::ProgressSink;

/// The terminal: bars below, lines above them.
#[derive(Clone)]
pub(crate) struct Screen {
    bars: MultiProgress,
    tasks: Arc<Mutex<BTreeMap<u64, ProgressBar>>>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self { bars: MultiProgress::new(), tasks: Arc::default() }
    }

    /// Prints a line to standard output without tearing the bars.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        self.bars.suspend(|| say!("{}", text.as_ref()));
    }

    /// Removes all bars.
    pub(crate) fn clear(&self) {
        // Fails only if the terminal went away.
        let _ = self.bars.clear();
    }

    fn tasks(&self) -> MutexGuard<'_, BTreeMap<u64, ProgressBar>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProgressSink for Screen {
    fn begin(&self, task: u64, name: &str, total: u64) {
        let style = ProgressStyle::with_template("  {msg:32!} {bar:30} {human_pos}/{human_len} {per_sec:>14} {eta:>5}")
            .expect("a valid template");
        let bar = self.bars.add(ProgressBar::new(total).with_style(style).with_message(name.to_owned()));
        self.tasks().insert(task, bar);
    }

    fn advance(&self, task: u64, steps: u64) {
        if let Some(bar) = self.tasks().get(&task) {
            bar.inc(steps);
        }
    }

    fn end(&self, task: u64) {
        if let Some(bar) = self.tasks().remove(&task) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }
}
