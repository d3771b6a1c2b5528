//! Work that takes longer than an answer may: one piece at a time, whose progress every viewer sees and may stop.

use std::collections::BTreeMap;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tlc_core::{Progress, ProgressSink, with_causes};

use super::errors::Refused;

/// Why work failed.
pub(super) type Failure = Box<dyn Error + Send + Sync>;

/// The work of a server.
pub(super) struct Jobs {
    /// Who else is told of progress, such as a terminal.
    also: Option<Arc<dyn ProgressSink>>,
    latest: Mutex<Option<Job>>,
}

/// One piece of work, under way or over.
struct Job {
    title: String,
    progress: Progress,
    tasks: Arc<Tasks>,
    outcome: Arc<OnceLock<Outcome>>,
    thread: Option<JoinHandle<()>>,
}

enum Outcome {
    Done,
    Cancelled,
    Failed { error: String, advice: &'static str },
}

/// The parts of a piece of work that are under way.
struct Tasks {
    also: Option<Arc<dyn ProgressSink>>,
    /// Name, steps done, steps in all.
    under_way: Mutex<BTreeMap<u64, (String, u64, u64)>>,
}

impl Jobs {
    pub(super) fn new(also: Option<Arc<dyn ProgressSink>>) -> Self {
        Self { also, latest: Mutex::default() }
    }

    fn latest(&self) -> MutexGuard<'_, Option<Job>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts `work`, unless there is some already.
    pub(super) fn begin(
        &self,
        title: String,
        work: impl FnOnce(&Progress) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), Refused> {
        let mut latest = self.latest();
        if let Some(job) = latest.as_ref().filter(|job| job.outcome.get().is_none()) {
            let error = format!("another piece of work is under way: {}", job.title);
            return Err(Refused::new(StatusCode::CONFLICT, error, "Wait for it, or stop it."));
        }
        let tasks = Arc::new(Tasks { also: self.also.clone(), under_way: Mutex::default() });
        let (progress, outcome) = (Progress::new(tasks.clone()), Arc::new(OnceLock::new()));
        let (its_progress, its_outcome) = (progress.clone(), outcome.clone());
        let run = move || {
            let result = catch_unwind(AssertUnwindSafe(|| work(&its_progress)));
            let failed = |error: String, advice| Outcome::Failed { error, advice };
            let outcome = match result {
                Ok(Ok(())) => Outcome::Done,
                Ok(Err(_)) if its_progress.check().is_err() => Outcome::Cancelled,
                Ok(Err(error)) => failed(with_causes(error.as_ref()), "Put right what it says, and try again."),
                Err(_) => failed("the work panicked".to_owned(), "See the terminal in which tlc view runs."),
            };
            // Nobody else sets it.
            let _ = its_outcome.set(outcome);
        };
        let started = std::thread::Builder::new().name("tlc view: work".to_owned()).spawn(run);
        let thread = started.map_err(|error| {
            let error = format!("no thread can be started: {error}");
            Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error, "Close other programs, and try again.")
        })?;
        *latest = Some(Job { title, progress, tasks, outcome, thread: Some(thread) });
        Ok(())
    }

    /// Asks the work to stop.
    pub(super) fn cancel(&self) {
        if let Some(job) = self.latest().as_ref() {
            job.progress.cancel();
        }
    }

    /// Stops the work and waits for its end, after which nothing half-done is left.
    pub(super) fn end(&self) {
        self.cancel();
        let thread = self.latest().as_mut().and_then(|job| job.thread.take());
        if let Some(thread) = thread {
            // It does not panic.
            let _ = thread.join();
        }
    }

    /// How the latest work stands, as the page reads it.
    pub(super) fn to_json(&self) -> Value {
        let latest = self.latest();
        let Some(job) = latest.as_ref() else {
            return json!({ "state": "none", "title": "", "tasks": [], "error": null, "advice": null });
        };
        let (state, error, advice) = match job.outcome.get() {
            None => ("running", None, None),
            Some(Outcome::Done) => ("done", None, None),
            Some(Outcome::Cancelled) => ("cancelled", None, Some("Nothing was written.")),
            Some(Outcome::Failed { error, advice }) => ("failed", Some(error.as_str()), Some(*advice)),
        };
        let under_way = job.tasks.under_way();
        let tasks: Vec<Value> = under_way
            .values()
            .map(|(name, done, total)| json!({ "name": name, "done": done, "total": total }))
            .collect();
        json!({ "state": state, "title": job.title, "tasks": tasks, "error": error, "advice": advice })
    }
}

impl Tasks {
    fn under_way(&self) -> MutexGuard<'_, BTreeMap<u64, (String, u64, u64)>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProgressSink for Tasks {
    fn begin(&self, task: u64, name: &str, total: u64) {
        self.under_way().insert(task, (name.to_owned(), 0, total));
        self.also.iter().for_each(|sink| sink.begin(task, name, total));
    }

    fn advance(&self, task: u64, steps: u64) {
        if let Some((_, done, _)) = self.under_way().get_mut(&task) {
            *done += steps;
        }
        self.also.iter().for_each(|sink| sink.advance(task, steps));
    }

    fn end(&self, task: u64) {
        self.under_way().remove(&task);
        self.also.iter().for_each(|sink| sink.end(task));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn state(jobs: &Jobs) -> String {
        jobs.to_json()["state"].as_str().unwrap_or_default().to_owned()
    }

    #[test]
    fn one_piece_of_work_at_a_time_is_seen_and_stopped() {
        let jobs = Jobs::new(None);
        assert_eq!(state(&jobs), "none");
        let (begun, is_begun) = mpsc::channel();
        let work = move |progress: &Progress| -> Result<(), Failure> {
            let task = progress.task("count", 10);
            task.advance(3)?;
            begun.send(()).expect("somebody waits");
            loop {
                task.advance(0)?;
                std::thread::yield_now();
            }
        };
        jobs.begin("Counting".to_owned(), work).expect("nothing is under way");
        is_begun.recv().expect("it begins");
        let json = jobs.to_json();
        assert_eq!(
            (&json["state"], &json["tasks"][0]),
            (&json!("running"), &json!({ "name": "count", "done": 3, "total": 10 }))
        );
        let refused = jobs.begin("More".to_owned(), |_| Ok(())).expect_err("one is under way");
        assert!(refused.status == StatusCode::CONFLICT && refused.error.contains("Counting"), "{}", refused.error);
        jobs.end();
        assert_eq!(state(&jobs), "cancelled");
        assert_eq!(jobs.to_json()["tasks"], json!([]));
    }

    #[test]
    fn failures_and_panics_are_told() {
        let jobs = Jobs::new(None);
        jobs.begin("a".to_owned(), |_| Err("no such file".into())).expect("free");
        jobs.latest().as_mut().and_then(|job| job.thread.take()).expect("a thread").join().expect("no panic leaves it");
        assert_eq!((state(&jobs), &jobs.to_json()["error"]), ("failed".to_owned(), &json!("no such file")));
        jobs.begin("b".to_owned(), |_| panic!("a bug")).expect("free again");
        jobs.latest().as_mut().and_then(|job| job.thread.take()).expect("a thread").join().expect("no panic leaves it");
        assert_eq!((state(&jobs), &jobs.to_json()["error"]), ("failed".to_owned(), &json!("the work panicked")));
    }
}
