//! Looks after the jobs of a scheduler, where Ballista 54.1 does not.
//!
//! 1. When an executor is lost, its scheduler takes the executor's tasks back, but offers them to the others only when
//!    something else happens: a task ends, a job or an executor comes. If the others were done by then, nothing does, and
//!    the job waits for ever. So tasks are offered again all the time. (Ballista's later versions offer them by themselves.)
//! 2. A task that is dealt to an executor at the moment when that is given up stays with it. So tasks of executors that
//!    are not there are taken back.
//! 3. A job waits for ever while there are no executors. So it is given up after some time.
//! 4. A task that kills whoever runs it, mostly for want of memory, is given to one executor after the other, until there
//!    are none. So the job of a task that lost several is given up.
//! 5. A job that is given up here stays among those that run, with the tasks that do, until its driver has read why and
//!    cancels it. So it is cancelled if its driver does not.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ballista_core::JobId;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;
use ballista_core::serde::protobuf::{UpdateTaskStatusParams, job_status};
use ballista_scheduler::cluster::ClusterState;
use ballista_scheduler::scheduler_server::SchedulerServer;
use ballista_scheduler::state::task_manager::JobInfoCache;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use tonic::Request;

const LOOK: Duration = Duration::from_secs(1);
/// How many executors may be lost with one task. Machines fail, but hardly as many with the same task.
const MAX_LOST: usize = 3;
/// How long a driver may take to read why its job was given up. It asks several times a second.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// A scheduler for plans as DataFusion sends them.
pub(super) type Server = SchedulerServer<LogicalPlanNode, PhysicalPlanNode>;

/// Looks after the jobs of `server`, whose executors are in `cluster`, for ever. A job is given up when there was no
/// executor for as long as `patience`.
pub(super) async fn keep(server: Server, cluster: Arc<dyn ClusterState>, patience: Duration) -> Infallible {
    let mut alone_since = None;
    let (mut losses, mut given_up) = (Losses::default(), GivenUp::default());
    loop {
        tokio::time::sleep(LOOK).await;
        let jobs = server.state.task_manager.get_running_job_cache();
        let (mut running, mut failed) = (BTreeMap::new(), BTreeSet::new());
        for (id, job) in jobs.iter() {
            let graph = job.execution_graph.read().await;
            if matches!(graph.status().status, Some(job_status::Status::Failed(_))) {
                failed.insert(id.clone());
            }
            let tasks = graph.running_tasks();
            running.extend(tasks.into_iter().map(|task| ((id.to_string(), task.partition_id), task.executor_id)));
        }
        // After their tasks, so that one that has just come is not taken for lost.
        let executors = cluster.registered_executor_metadata().await.into_iter();
        let there: BTreeMap<String, String> =
            executors.map(|executor| (executor.id, format!("{}:{}", executor.host, executor.port))).collect();
        let lost: BTreeSet<&String> = running.values().filter(|executor| !there.contains_key(*executor)).collect();
        for lost in lost {
            if let Err(error) = server.state.task_manager.executor_lost(lost).await {
                tracing::warn!(executor = lost, %error, "cannot take the tasks of a lost executor back");
            }
        }
        losses.forget_all_but(|job| jobs.contains_key(job));
        for (id, reason) in losses.look(running, &there) {
            if let Some(job) = jobs.get(id.as_str()) {
                fail(job, reason).await;
            }
        }
        for id in given_up.look(&failed, Instant::now()) {
            // Not sooner: who asks for a job that was cancelled learns that, and not why it was given up.
            if let Err(error) = server.cancel_job(id.clone()).await {
                tracing::warn!(job = %id, %error, "cannot cancel a job whose driver does not");
            }
        }
        match there.into_keys().next() {
            _ if failed.len() == jobs.len() => alone_since = None,
            Some(executor) => {
                alone_since = None;
                // A report of no task of any executor: what follows each report is that tasks are offered.
                let report = UpdateTaskStatusParams { executor_id: executor, task_status: Vec::new() };
                if let Err(error) = SchedulerGrpc::update_task_status(&server, Request::new(report)).await {
                    tracing::warn!(%error, "cannot offer tasks");
                }
            }
            None if alone_since.get_or_insert_with(Instant::now).elapsed() >= patience => {
                let reason = format!(
                    "there was no executor for {} s; `tlc cluster executor --scheduler df://{}` starts one",
                    patience.as_secs(),
                    server.scheduler_name
                );
                for job in jobs.values() {
                    fail(job, reason.clone()).await;
                }
            }
            None => {}
        }
    }
}

/// Gives a job up, if that has not happened already.
async fn fail(job: &JobInfoCache, reason: String) {
    let mut graph = job.execution_graph.write().await;
    if matches!(graph.status().status, Some(job_status::Status::Running(_))) {
        graph.fail_job(reason);
    }
}

/// The jobs that were given up and not cancelled, and since when.
#[derive(Debug, Default)]
struct GivenUp(BTreeMap<JobId, Instant>);

impl GivenUp {
    /// Notes which jobs are `failed` now. Those whose drivers had the time to cancel them.
    fn look(&mut self, failed: &BTreeSet<JobId>, now: Instant) -> Vec<JobId> {
        self.0.retain(|id, _| failed.contains(id));
        for id in failed {
            self.0.entry(id.clone()).or_insert(now);
        }
        let late = self.0.iter_mut().filter(|(_, since)| now.duration_since(**since) >= READ_WITHIN);
        let told = late.map(|(id, since)| {
            // Not again at the next look: a scheduler that is busy may take its time.
            *since = now;
            id.clone()
        });
        told.collect()
    }
}

/// A job and a task of it. A job has one stage, and its tasks have the numbers of the parts that they write.
type Task = (String, usize);

/// Which executors were lost with which tasks.
#[derive(Debug, Default)]
struct Losses {
    /// Who ran each task at the last look.
    running: BTreeMap<Task, String>,
    /// Identities of those that were lost.
    lost: BTreeMap<Task, BTreeSet<String>>,
    /// What executors are called by people, of those that run tasks or did.
    names: BTreeMap<String, String>,
}

impl Losses {
    fn forget_all_but(&mut self, is_there: impl Fn(&str) -> bool) {
        self.running.retain(|(job, _), _| is_there(job));
        self.lost.retain(|(job, _), _| is_there(job));
        let of_use: BTreeSet<&String> = self.running.values().chain(self.lost.values().flatten()).collect();
        let of_use: BTreeSet<String> = of_use.into_iter().cloned().collect();
        self.names.retain(|id, _| of_use.contains(id));
    }

    /// Notes who runs what now, and which executors are `there`, with their names. The jobs to give up, each with the
    /// reason.
    fn look(&mut self, running: BTreeMap<Task, String>, there: &BTreeMap<String, String>) -> Vec<(String, String)> {
        let mut given_up = Vec::new();
        // One that was lost since the last look may have been noticed by others, who took its tasks back.
        let before = std::mem::take(&mut self.running);
        for (task, executor) in before.iter().chain(&running) {
            match there.get(executor) {
                Some(name) => {
                    self.names.entry(executor.clone()).or_insert_with(|| name.clone());
                }
                None => {
                    let lost = self.lost.entry(task.clone()).or_default();
                    if lost.insert(executor.clone()) && lost.len() == MAX_LOST {
                        given_up.push((task.0.clone(), reason(task.1, lost, &self.names)));
                    }
                }
            }
        }
        self.running = running;
        given_up
    }
}

fn reason(part: usize, lost: &BTreeSet<String>, names: &BTreeMap<String, String>) -> String {
    let executors: Vec<&str> = lost.iter().map(|id| names.get(id).unwrap_or(id).as_str()).collect();
    format!(
        "part {part} was being written by each of the executors {} when it was lost; perhaps it needs more memory than \
         they have: fewer tasks at once (`tlc cluster executor --tasks`) or fewer rows per task (`tlc apply \
         --rows-per-task`) need less",
        executors.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_loses_one_executor_after_the_other_ends_its_job() {
        let mut losses = Losses::default();
        let names = |ids: &[&str]| -> BTreeMap<String, String> {
            ids.iter().map(|id| ((*id).to_owned(), format!("machine-{id}:50051"))).collect()
        };
        let running = |tasks: &[(&str, usize, &str)]| -> BTreeMap<Task, String> {
            tasks.iter().map(|(job, part, executor)| (((*job).to_owned(), *part), (*executor).to_owned())).collect()
        };
        // Part 7 is with a, b and c in turn, which are lost; d does all others.
        type Look<'a> = (&'a [(&'a str, usize, &'a str)], &'a [&'a str]);
        let looks: [Look<'_>; 5] = [
            (&[("j", 7, "a"), ("j", 1, "d")], &["a", "b", "c", "d"]),
            (&[("j", 7, "b"), ("j", 2, "d")], &["b", "c", "d"]),
            // Given up, but its task was not taken back yet.
            (&[("j", 7, "b"), ("j", 3, "d")], &["c", "d"]),
            (&[("j", 7, "c"), ("j", 4, "d")], &["c", "d"]),
            (&[("j", 8, "d")], &["d"]),
        ];
        for (at, (tasks, there)) in looks.iter().enumerate() {
            let given_up = losses.look(running(tasks), &names(there));
            assert_eq!(given_up.len(), usize::from(at == 4), "{at}: {given_up:?}");
            for (job, reason) in given_up {
                assert_eq!(job, "j");
                let executors = "each of the executors machine-a:50051, machine-b:50051, machine-c:50051";
                assert!(reason.contains("part 7 ") && reason.contains(executors), "{reason}");
                assert!(reason.contains("--rows-per-task") && reason.contains("--tasks"), "{reason}");
            }
        }
        assert!(losses.look(running(&[]), &names(&["d"])).is_empty(), "it is said once");
        losses.forget_all_but(|job| job != "j");
        assert!(losses.lost.is_empty() && losses.names.is_empty());
    }

    #[test]
    fn a_job_that_its_driver_does_not_cancel_is_cancelled_after_a_while() {
        let (mut given_up, begin) = (GivenUp::default(), Instant::now());
        let mut look = |ids: &[&str], secs: u64| -> Vec<JobId> {
            let failed: BTreeSet<JobId> = ids.iter().map(|id| JobId::from(*id)).collect();
            given_up.look(&failed, begin + Duration::from_secs(secs))
        };
        assert!(look(&["dead", "alive"], 0).is_empty());
        assert!(look(&["dead"], 10).is_empty());
        assert!(look(&["dead", "late"], 59).is_empty());
        assert_eq!(look(&["dead", "late"], 60), [JobId::from("dead")]);
        assert!(look(&["dead", "late"], 61).is_empty(), "it is told once");
        assert_eq!(look(&["late"], 119), [JobId::from("late")]);
    }
}
