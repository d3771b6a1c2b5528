//! Looks after the jobs of a scheduler, where Ballista 54.1 does not.
//!
//! 1. When an executor is lost, its scheduler takes the executor's tasks back, but offers them to the others only when
//!    something else happens: a task ends, a job or an executor comes. If the others were done by then, nothing does, and
//!    the job waits for ever. So tasks are offered again all the time. (Ballista's later versions offer them by themselves.)
//! 2. A task that is dealt to an executor at the moment when that is given up stays with it. So tasks of executors that
//!    are not there are taken back.
//! 3. A job waits for ever while there are no executors. So it is given up after some time.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;
use ballista_core::serde::protobuf::{UpdateTaskStatusParams, job_status};
use ballista_scheduler::cluster::ClusterState;
use ballista_scheduler::scheduler_server::SchedulerServer;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use tonic::Request;

const LOOK: Duration = Duration::from_secs(1);

/// A scheduler for plans as DataFusion sends them.
pub(super) type Server = SchedulerServer<LogicalPlanNode, PhysicalPlanNode>;

/// Looks after the jobs of `server`, whose executors are in `cluster`, for ever. A job is given up when there was no
/// executor for as long as `patience`.
pub(super) async fn keep(server: Server, cluster: Arc<dyn ClusterState>, patience: Duration) -> Infallible {
    let mut alone_since = None;
    loop {
        tokio::time::sleep(LOOK).await;
        let jobs = server.state.task_manager.get_running_job_cache();
        let mut busy = BTreeSet::new();
        for job in jobs.values() {
            let running = job.execution_graph.read().await.running_tasks();
            busy.extend(running.into_iter().map(|task| task.executor_id));
        }
        // After their tasks, so that one that has just come is not taken for lost.
        let mut there: BTreeSet<String> =
            cluster.registered_executor_metadata().await.into_iter().map(|executor| executor.id).collect();
        for lost in busy.difference(&there) {
            if let Err(error) = server.state.task_manager.executor_lost(lost).await {
                tracing::warn!(executor = lost, %error, "cannot take the tasks of a lost executor back");
            }
        }
        match there.pop_first() {
            _ if jobs.is_empty() => alone_since = None,
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
                    let mut graph = job.execution_graph.write().await;
                    if matches!(graph.status().status, Some(job_status::Status::Running(_))) {
                        graph.fail_job(reason.clone());
                    }
                }
            }
            None => {}
        }
    }
}
