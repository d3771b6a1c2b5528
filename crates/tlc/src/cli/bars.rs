//! How far work is: bars on the terminal. Where there is none to draw on (cron, nohup, the log of a container), a plain
//! line about every ten seconds, so that hours of work do not look like a program that hangs.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, HumanFloatCount, MultiProgress, ProgressBar, ProgressStyle};
use tlc::core::ProgressSink;

/// Between two lines, and before the first: what takes less prints none.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Where progress is seen: bars below, lines above them.
#[derive(Clone)]
pub(crate) struct Screen {
    bars: MultiProgress,
    tasks: Arc<Mutex<Tasks>>,
}

struct Tasks {
    /// Bars count also where nobody sees them.
    under_way: BTreeMap<u64, ProgressBar>,
    /// Of the lines; `None` where there are bars.
    pace: Option<Pace>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let bars = MultiProgress::new();
        let pace = bars.is_hidden().then(|| Pace::new(Instant::now()));
        Self { bars, tasks: Arc::new(Mutex::new(Tasks { under_way: BTreeMap::new(), pace })) }
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

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProgressSink for Screen {
    fn begin(&self, task: u64, name: &str, total: u64) {
        let style = ProgressStyle::with_template("  {msg:32!} {bar:30} {human_pos}/{human_len} {per_sec:>14} {eta:>5}")
            .expect("a valid template");
        let bar = self.bars.add(ProgressBar::new(total).with_style(style).with_message(name.to_owned()));
        self.tasks().begin(task, bar);
    }

    fn advance(&self, task: u64, steps: u64) {
        // Written without the lock, so that whoever reads slowly holds up one thread at most.
        let line = self.tasks().advance(task, steps);
        if let Some(line) = line {
            // Work does not end because nobody reads how far it is.
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    fn end(&self, task: u64) {
        let bar = self.tasks().under_way.remove(&task);
        if let Some(bar) = bar {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }
}

impl Tasks {
    fn begin(&mut self, task: u64, bar: ProgressBar) {
        if self.under_way.is_empty()
            && let Some(pace) = &mut self.pace
        {
            pace.begin(Instant::now());
        }
        self.under_way.insert(task, bar);
    }

    /// Counts, and gives the line that is due, if one is.
    fn advance(&mut self, task: u64, steps: u64) -> Option<String> {
        let bar = self.under_way.get(&task)?;
        bar.inc(steps);
        let is_due = self.pace.as_mut()?.is_due(Instant::now());
        let total = bar.length().unwrap_or(0);
        is_due.then(|| plain_line(&bar.message(), bar.position(), total, bar.per_sec(), bar.eta()))
    }
}

/// When lines are due.
struct Pace {
    due: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { due: now + LINE_EVERY }
    }

    /// A task begins, and no other is under way. Tasks that follow each other are one piece of work; after a pause, as
    /// in a server, it is another one, which may soon be done.
    fn begin(&mut self, now: Instant) {
        if now > self.due + LINE_EVERY {
            self.due = now + LINE_EVERY;
        }
    }

    /// Whether a line is due; then the next one is so later.
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.due;
        if is_due {
            self.due = now + LINE_EVERY;
        }
        is_due
    }
}

/// What a bar shows, in words; a `total` of 0 is not known, and neither is a rate of 0.
fn plain_line(name: &str, done: u64, total: u64, per_sec: f64, left: Duration) -> String {
    let mut line = format!("{name}: {}", HumanCount(done));
    if total > 0 {
        line += &format!(" of {}", HumanCount(total));
    }
    if per_sec > 0.0 {
        let decimals = usize::from(per_sec < 10.0);
        line += &format!(", {:.decimals$}/s", HumanFloatCount(per_sec));
    }
    if !left.is_zero() {
        line += &format!(", {:#} left", HumanDuration(left));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_a_bar_shows() {
        for (line, expected) in [
            (
                plain_line("place rows", 6_553_600, 10_000_000, 31_190.4, Duration::from_secs(300)),
                "place rows: 6,553,600 of 10,000,000, 31,190/s, 5m left",
            ),
            (
                plain_line("umap layout", 3, 200, 0.52, Duration::from_secs(80)),
                "umap layout: 3 of 200, 0.5/s, 80s left",
            ),
            (plain_line("look at rows", 8192, 0, 500.0, Duration::ZERO), "look at rows: 8,192, 500/s"),
            (plain_line("make cells", 0, 1, 0.0, Duration::ZERO), "make cells: 0 of 1"),
        ] {
            assert_eq!(line, expected);
        }
    }

    #[test]
    fn lines_come_every_ten_seconds_of_work_that_takes_as_long() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(start);
        pace.begin(at(1));
        assert!(!pace.is_due(at(9)) && pace.is_due(at(12)));
        assert!(!pace.is_due(at(21)) && pace.is_due(at(22)));
        // The next task of the same work.
        pace.begin(at(35));
        assert!(pace.is_due(at(36)));
        // Work that is asked for an hour later.
        pace.begin(at(3600));
        assert!(!pace.is_due(at(3609)) && pace.is_due(at(3610)));
    }
}
