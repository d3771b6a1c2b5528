//! Which executor gets which task: the one that has most room, but a task that failed goes to another one, if there is.
//!
//! Ballista's own rules know nothing of failures. An executor whose disk is full fails at once and is free again while
//! all others are at work: it would be given the same task until that has failed too often.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::serde::protobuf::{AvailableTaskSlots, job_status};
use ballista_core::serde::scheduler::PartitionId;
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
    /// Who was given each task last.
    last: Mutex<BTreeMap<Task, String>>,
}

impl Dealer {
    /// For the executors of `cluster`.
    pub(super) fn new(cluster: Arc<dyn ClusterState>) -> Self {
        Self { cluster, last: Mutex::default() }
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
        let has_others = self.cluster.registered_executor_metadata().await.len() > 1;
        let mut last = self.last.lock().await;
        last.retain(|(job, ..), _| running_jobs.contains_key(job));
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
                    let task = (job_id.clone(), stage.stage_id, partition_id);
                    let n_failures = stage.task_failure_numbers[partition_id];
                    let avoided = last.get(&task).filter(|_| has_others && n_failures > 0);
                    let Some(slot) = roomiest(&mut slots, avoided) else { continue };
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
                    last.insert(task, executor.clone());
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

/// Of the executors with room the one that has most, but `avoided`.
fn roomiest<'a>(
    slots: &'a mut [&mut AvailableTaskSlots],
    avoided: Option<&String>,
) -> Option<&'a mut AvailableTaskSlots> {
    let may = |slot: &AvailableTaskSlots| slot.slots > 0 && avoided != Some(&slot.executor_id);
    slots.iter_mut().map(|slot| &mut **slot).filter(|slot| may(slot)).max_by_key(|slot| slot.slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_goes_where_most_room_is_but_not_where_it_failed() {
        let slots = |executor_id: &str, slots| AvailableTaskSlots { executor_id: executor_id.to_owned(), slots };
        let (mut a, mut b, mut full) = (slots("a", 1), slots("b", 3), slots("full", 0));
        let mut all = [&mut a, &mut b, &mut full];
        let mut chosen = |avoided: Option<&String>| roomiest(&mut all, avoided).map(|slot| slot.executor_id.clone());
        assert_eq!(chosen(None).as_deref(), Some("b"));
        assert_eq!(chosen(Some(&"b".to_owned())).as_deref(), Some("a"));
        let (mut b, mut full) = (slots("b", 3), slots("full", 0));
        assert_eq!(roomiest(&mut [&mut b, &mut full], Some(&"b".to_owned())), None, "it waits for another");
    }
}
