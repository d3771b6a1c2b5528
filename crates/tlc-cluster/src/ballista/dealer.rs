//! Which executor gets which task: the one that has most room, but a task that failed goes to one that has not tried it,
//! if there is.
//!
//! Ballista's own rules know nothing of failures. An executor whose disk is full fails at once and is free again while
//! all others are at work: it would be given the same task until that has failed too often. So would two such executors in
//! turn: a task waits for those that have not tried it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::serde::protobuf::{AvailableTaskSlots, job_status};
use ballista_core::serde::scheduler::{ExecutorMetadata, PartitionId};
use ballista_scheduler::cluster::{BoundTask, ClusterState, DistributionPolicy};
use ballista_scheduler::state::execution_graph::{TaskDescription, create_task_info};
use ballista_scheduler::state::task_manager::JobInfoCache;
use datafusion::error::Result;
use tokio::sync::Mutex;

/// A job, a stage of it, and a task of that.
type Task = (JobId, usize, usize);

/// Deals the tasks of a scheduler.
pub(super) struct Dealer {
    cluster: Arc<dyn ClusterState>,
    /// Who was given each task since it was begun, one after the other.
    tried: Mutex<BTreeMap<Task, Vec<String>>>,
}

impl Dealer {
    /// For the executors of `cluster`.
    pub(super) fn new(cluster: Arc<dyn ClusterState>) -> Self {
        Self { cluster, tried: Mutex::default() }
    }
}

impl fmt::Debug for Dealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dealer").finish_non_exhaustive()
    }
}

#[async_trait]
impl DistributionPolicy for Dealer {
    async fn bind_tasks(
        &self,
        mut slots: Vec<&mut AvailableTaskSlots>,
        running_jobs: Arc<HashMap<JobId, JobInfoCache>>,
    ) -> Result<Vec<BoundTask>> {
        let registered = self.cluster.registered_executor_metadata().await;
        let mut tried = self.tried.lock().await;
        tried.retain(|(job, ..), _| running_jobs.contains_key(job));
        let mut bound = Vec::new();
        for (job_id, job) in running_jobs.iter() {
            if !matches!(job.status, Some(job_status::Status::Running(_))) {
                continue;
            }
            let mut graph = job.execution_graph.write().await;
            let session_id = graph.session_id().to_owned();
            let mut stages = Vec::new();
            while let Some((stage, next_id)) = graph.fetch_running_stage(&stages) {
                stages.push(stage.stage_id);
                for partition_id in 0..stage.task_infos.len() {
                    if slots.iter().all(|slot| slot.slots == 0) {
                        return Ok(bound);
                    }
                    if stage.task_infos[partition_id].is_some() {
                        continue;
                    }
                    let tried = tried.entry((job_id.clone(), stage.stage_id, partition_id)).or_default();
                    let n_failures = stage.task_failure_numbers[partition_id];
                    if n_failures == 0 {
                        // Who was lost with it has not failed.
                        tried.clear();
                    }
                    let Some(slot) = roomiest(&mut slots, avoided(tried, &registered)) else { continue };
                    slot.slots -= 1;
                    let executor = slot.executor_id.clone();
                    let task_id = *next_id;
                    *next_id += 1;
                    stage.task_infos[partition_id] = Some(create_task_info(executor.clone(), task_id));
                    let description = TaskDescription {
                        session_id: session_id.clone(),
                        partition: PartitionId { job_id: job_id.clone(), stage_id: stage.stage_id, partition_id },
                        stage_attempt_num: stage.stage_attempt_num,
                        task_id,
                        task_attempt: n_failures,
                        plan: stage.plan.clone(),
                        session_config: stage.session_config.clone(),
                    };
                    tried.push(executor.clone());
                    bound.push((executor, description));
                }
            }
        }
        Ok(bound)
    }

    fn name(&self) -> &str {
        "tlc"
    }
}

/// Who is not given a task that failed: all that `tried` it, while there are others; then the last of them, if there are
/// others.
fn avoided<'a>(tried: &'a [String], registered: &[ExecutorMetadata]) -> &'a [String] {
    let leaves_one = |avoided: &&[String]| registered.iter().any(|executor| !avoided.contains(&executor.id));
    let last = &tried[tried.len().saturating_sub(1)..];
    [tried, last].into_iter().find(leaves_one).unwrap_or_default()
}

/// Of the executors with room the one that has most, but none of `avoided`.
fn roomiest<'a>(slots: &'a mut [&mut AvailableTaskSlots], avoided: &[String]) -> Option<&'a mut AvailableTaskSlots> {
    let may = |slot: &AvailableTaskSlots| slot.slots > 0 && !avoided.contains(&slot.executor_id);
    slots.iter_mut().map(|slot| &mut **slot).filter(|slot| may(slot)).max_by_key(|slot| slot.slots)
}

#[cfg(test)]
mod tests {
    use std::io;

    use arrow_schema::Schema;
    use ballista_core::error::BallistaError;
    use ballista_core::extension::SessionConfigExt;
    use ballista_core::serde::protobuf::{FailedTask, TaskStatus, task_status};
    use ballista_core::serde::scheduler::{ExecutorOperatingSystemSpecification, ExecutorSpecification};
    use ballista_scheduler::cluster::memory::InMemoryClusterState;
    use ballista_scheduler::planner::DefaultDistributedPlanner;
    use ballista_scheduler::state::execution_graph::{ExecutionGraph, StaticExecutionGraph};
    use datafusion::physical_plan::empty::EmptyExec;
    use datafusion::prelude::SessionConfig;

    use super::*;

    #[test]
    fn a_task_goes_where_most_room_is_but_not_where_it_failed() {
        let slots = |executor_id: &str, slots| AvailableTaskSlots { executor_id: executor_id.to_owned(), slots };
        let (mut a, mut b, mut full) = (slots("a", 1), slots("b", 3), slots("full", 0));
        let mut all = [&mut a, &mut b, &mut full];
        let mut chosen = |avoided: &[String]| roomiest(&mut all, avoided).map(|slot| slot.executor_id.clone());
        assert_eq!(chosen(&[]).as_deref(), Some("b"));
        assert_eq!(chosen(&["b".to_owned()]).as_deref(), Some("a"));
        let (mut b, mut full) = (slots("b", 3), slots("full", 0));
        assert_eq!(roomiest(&mut [&mut b, &mut full], &["b".to_owned()]), None, "it waits for another");
    }

    fn registered(id: &str) -> ExecutorMetadata {
        ExecutorMetadata {
            id: id.to_owned(),
            host: id.to_owned(),
            port: 1,
            grpc_port: 2,
            specification: ExecutorSpecification::default(),
            os_info: ExecutorOperatingSystemSpecification::default(),
        }
    }

    #[test]
    fn who_is_alone_gets_a_task_again() {
        let (both, tried) = ([registered("x"), registered("y")], ["x".to_owned()]);
        assert!(avoided(&[], &both).is_empty());
        assert!(avoided(&tried, &[]).is_empty());
        assert!(avoided(&tried, &both[..1]).is_empty());
        assert_eq!(avoided(&tried, &both), tried);
    }

    #[tokio::test]
    async fn a_task_that_two_executors_failed_waits_for_the_third() {
        let cluster = InMemoryClusterState::default();
        for id in ["x", "y", "z"] {
            cluster.save_executor_metadata(registered(id)).await.expect("it is kept in memory");
        }
        let dealer = Dealer::new(Arc::new(cluster));
        let (id, plan) = (JobId::from("j"), Arc::new(EmptyExec::new(Arc::new(Schema::empty()))));
        let (config, mut planner) = (Arc::new(SessionConfig::new_with_ballista()), DefaultDistributedPlanner::new());
        let graph = StaticExecutionGraph::new("s", &id, "j", "session", plan, 0, config, &mut planner, None);
        let mut graph = graph.expect("a plan of one stage");
        assert!(graph.revive());
        let job = JobInfoCache::new(Box::new(graph));
        let jobs = Arc::new(HashMap::from([(id, job.clone())]));
        // The first two are always idle and fail the task at once; the third is at work, at first.
        for (room, expected) in [(0, Some("y")), (0, Some("x")), (0, None), (1, Some("z")), (1, Some("y"))] {
            let slots = |executor_id: &str, slots| AvailableTaskSlots { executor_id: executor_id.to_owned(), slots };
            let (mut x, mut y, mut z) = (slots("x", 1), slots("y", 1), slots("z", room));
            let bound = dealer.bind_tasks(vec![&mut x, &mut y, &mut z], jobs.clone()).await.expect("dealt");
            assert_eq!(bound.first().map(|(executor, _)| executor.as_str()), expected);
            let Some((executor, task)) = bound.into_iter().next() else { continue };
            let failed = FailedTask::from(BallistaError::IoError(io::Error::other("no space")));
            let status = TaskStatus {
                task_id: task.task_id as u32,
                job_id: task.partition.job_id.to_string(),
                stage_id: task.partition.stage_id as u32,
                stage_attempt_num: task.stage_attempt_num as u32,
                partition_id: task.partition.partition_id as u32,
                status: Some(task_status::Status::Failed(failed)),
                ..TaskStatus::default()
            };
            let mut graph = job.execution_graph.write().await;
            graph.update_task_status(&registered(&executor), vec![status], 4, 4).expect("a task of the graph");
        }
    }
}
