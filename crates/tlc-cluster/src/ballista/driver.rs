//! A job as its driver sees it, until all parts of its table are written.
//!
//! Parts are what counts, not what the cluster says of the job: tasks keep them beside the table, whichever executor
//! runs them and however often. So nothing of a job is lost with an executor, and one that does not go on is cancelled and
//! submitted again at no cost but the parts that were being written: those that are written are skipped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::error::DataFusionError;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion_proto::physical_plan::AsExecutionPlan;
use datafusion_proto::protobuf::PhysicalPlanNode;
use tlc_core::{Progress, Task, Url, with_causes};
use tlc_table::TableInParts;

use super::ClusterAddress;
use super::client::{Scheduler, Status};
use super::codec::NodeCodec;
use crate::ClusterError;
use crate::runtime::Engine;

/// How often the scheduler is asked, and the store for parts.
const ASK: Duration = Duration::from_millis(100);
const COUNT: Duration = Duration::from_secs(1);
/// How long a scheduler may know nothing of a job that was submitted to it.
const UNKNOWN: Duration = Duration::from_secs(10);
/// How often in a row it is tried to submit a job without a part being written.
const ATTEMPTS: u32 = 3;

/// What a cluster has to do.
pub(crate) struct Job<'a> {
    /// Each partition is a task, which writes the part of its number.
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    pub(crate) table: &'a TableInParts,
    /// The table's URL.
    pub(crate) out: &'a Url,
    /// Rows in all, for the progress.
    pub(crate) rows: u64,
    /// How long it may take until one more part is written.
    pub(crate) patience: Duration,
}

/// Runs a job until all parts are written.
pub(crate) fn run(
    engine: &Engine,
    address: &ClusterAddress,
    job: &Job<'_>,
    progress: &Progress,
) -> Result<(), ClusterError> {
    let plan = encoded(&job.plan).map_err(|error| ClusterError::engine("send a plan", error))?;
    let tasks = job.plan.output_partitioning().partition_count() as u64;
    let (scheduler, bar) = (Scheduler::new(engine, address)?, progress.task("apply", job.rows));
    Driver { scheduler, address, job, plan, tasks, done: 0, bar, progress }.run()
}

/// As a scheduler takes it.
pub(super) fn encoded(plan: &Arc<dyn ExecutionPlan>) -> Result<Vec<u8>, DataFusionError> {
    let mut bytes = Vec::new();
    let node = PhysicalPlanNode::try_from_physical_plan(plan.clone(), &NodeCodec::of_scheduler())?;
    node.try_encode(&mut bytes)?;
    Ok(bytes)
}

struct Driver<'a> {
    scheduler: Scheduler<'a>,
    address: &'a ClusterAddress,
    job: &'a Job<'a>,
    plan: Vec<u8>,
    tasks: u64,
    /// Parts that are written.
    done: u64,
    bar: Task,
    progress: &'a Progress,
}

/// Why a job is not watched any more.
enum Ended {
    /// All parts are written, and the cluster knows.
    Finished,
    /// All parts are written; the cluster is still at something.
    Complete,
    /// It does not go on, as far as can be seen for this reason.
    Stuck(String),
}

impl Driver<'_> {
    fn run(mut self) -> Result<(), ClusterError> {
        // Jobs that the scheduler took; attempts in a row by which no part was written; the job that was taken last.
        let (mut attempts, mut idle, mut last) = (0, 0, None);
        loop {
            let before = self.done;
            let submitted = self.scheduler.submit(&self.plan);
            let was_taken = submitted.is_ok();
            let (id, reason) = match (submitted, last.take()) {
                (Ok(id), _) => {
                    attempts += 1;
                    tracing::info!(cluster = %self.address, job = id, "submitted");
                    let watched = self.watch(&id);
                    if !matches!(watched, Ok(Ended::Finished)) {
                        // Also when somebody wants to stop.
                        self.scheduler.cancel(&id);
                    }
                    match watched? {
                        Ended::Finished | Ended::Complete => return Ok(()),
                        Ended::Stuck(reason) => (id, reason),
                    }
                }
                // It would be refused again: a scheduler of another version was started meanwhile, for example.
                (Err(error), None) | (Err(error @ ClusterError::Refused { .. }), Some(_)) => return Err(error),
                (Err(error), Some(id)) => (id, with_causes(&error)),
            };
            idle = if self.done > before { 0 } else { idle + 1 };
            if idle == ATTEMPTS {
                return Err(self.stalled(id, reason, attempts));
            }
            let (done, tasks) = (self.done, self.tasks);
            tracing::warn!(cluster = %self.address, job = id, done, tasks, reason, "the job is submitted again");
            if !was_taken {
                self.wait_for_scheduler(&id)?;
            }
            last = Some(id);
        }
    }

    /// Waits as long as patience lasts, or until a scheduler that was away answers.
    fn wait_for_scheduler(&self, id: &str) -> Result<(), ClusterError> {
        let begin = Instant::now();
        // One that answers and takes no job is given the time, too.
        let was_away = self.scheduler.status(id).is_err();
        while begin.elapsed() < self.job.patience && !(was_away && self.scheduler.status(id).is_ok()) {
            std::thread::sleep(ASK);
            self.progress.check()?;
        }
        Ok(())
    }

    fn watch(&mut self, id: &str) -> Result<Ended, ClusterError> {
        let begin = Instant::now();
        let (mut counted, mut advanced, mut known) = (begin, begin, begin);
        // Why nobody knows how many parts there are.
        let mut uncounted = None;
        loop {
            std::thread::sleep(ASK);
            self.progress.check()?;
            let status = self.scheduler.status(id);
            let is_over = matches!(status, Ok(Status::Successful | Status::Failed(_)));
            if counted.elapsed() >= COUNT || (is_over && uncounted.is_none()) {
                counted = Instant::now();
                match self.count() {
                    Ok(has_more) => {
                        uncounted = None;
                        advanced = if has_more { counted } else { advanced };
                    }
                    // It may pass, and all parts would be lost with the job: as if none had been written.
                    Err(error) if error.is_of_a_backend() => {
                        let error = with_causes(&error);
                        if uncounted.is_none() {
                            tracing::warn!(cluster = %self.address, job = id, error, "cannot count the parts of a job");
                        }
                        uncounted = Some(format!("its parts cannot be counted: {error}"));
                    }
                    Err(error) => return Err(error),
                }
                if self.done == self.tasks {
                    return Ok(if status.is_ok_and(|it| it == Status::Successful) {
                        Ended::Finished
                    } else {
                        Ended::Complete
                    });
                }
            }
            let seen = match status {
                Ok(Status::Running) => {
                    known = Instant::now();
                    "it runs, but no part was written".to_owned()
                }
                Ok(Status::Unknown) if known.elapsed() >= UNKNOWN => {
                    return Ok(Ended::Stuck(
                        "its scheduler does not know it; it may have been started anew".to_owned(),
                    ));
                }
                Ok(Status::Unknown) => "its scheduler does not know it".to_owned(),
                Ok(Status::Successful) if uncounted.is_some() => "the cluster says that all are done".to_owned(),
                Ok(Status::Successful) => {
                    let reason = format!("the cluster says that all are done, and {} of {} are", self.done, self.tasks);
                    return Err(ClusterError::Parts { url: self.job.out.clone(), reason });
                }
                Ok(Status::Failed(reason)) => {
                    let (address, job) = (self.address.to_string(), id.to_owned());
                    return Err(ClusterError::Job { address, job, done: self.done, tasks: self.tasks, reason });
                }
                Err(error) => with_causes(&error),
            };
            if advanced.elapsed() >= self.job.patience {
                let seen = uncounted.unwrap_or(seen);
                return Ok(Ended::Stuck(format!("{seen} for {} s", self.job.patience.as_secs())));
            }
        }
    }

    /// Counts the parts that are written. Whether there are more than before.
    fn count(&mut self) -> Result<bool, ClusterError> {
        let (before, done) = (self.done, self.job.table.kept_parts()?.range(..self.tasks).count() as u64);
        let rows = |parts: u64| self.job.rows * parts / self.tasks;
        self.bar.advance(rows(done.max(before)) - rows(before))?;
        self.done = done;
        Ok(done > before)
    }

    fn stalled(&self, job: String, reason: String, attempts: u32) -> ClusterError {
        let (address, done, tasks) = (self.address.to_string(), self.done, self.tasks);
        ClusterError::Stalled { address, job, done, tasks, reason, attempts }
    }
}
