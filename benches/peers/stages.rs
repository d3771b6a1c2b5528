//! How long the stages of a fit or a transform take, by the tasks that it reports.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tlc_core::{Progress, ProgressSink};

/// Takes the wall time between reports for the innermost task that runs, so that stages add up to the whole.
#[derive(Debug)]
pub(crate) struct StageClock(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Tasks that began and did not end, innermost last.
    running: Vec<(u64, String)>,
    since: Instant,
    seconds: BTreeMap<String, f64>,
}

impl StageClock {
    /// A clock, and what to hand to the work that it shall watch.
    pub(crate) fn start() -> (Arc<Self>, Progress) {
        let state = State { running: Vec::new(), since: Instant::now(), seconds: BTreeMap::new() };
        let clock = Arc::new(Self(Mutex::new(state)));
        (clock.clone(), Progress::new(clock))
    }

    /// Seconds of each stage by its name; `other` is time outside of all.
    pub(crate) fn seconds(&self) -> BTreeMap<String, f64> {
        self.turn(|_| ());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).seconds.clone()
    }

    /// Books what has passed, then lets `change` begin or end a task.
    fn turn(&self, change: impl FnOnce(&mut Vec<(u64, String)>)) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let passed = (now - state.since).as_secs_f64();
        let stage = state.running.last().map_or("other", |(_, name)| name).to_owned();
        *state.seconds.entry(stage).or_default() += passed;
        state.since = now;
        change(&mut state.running);
    }
}

impl ProgressSink for StageClock {
    fn begin(&self, task: u64, name: &str, _total: u64) {
        self.turn(|running| running.push((task, name.to_owned())));
    }

    fn advance(&self, _task: u64, _steps: u64) {}

    fn end(&self, task: u64) {
        self.turn(|running| running.retain(|(other, _)| *other != task));
    }
}
