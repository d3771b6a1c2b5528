//! Where a job runs: task after task in this process, or on a cluster.

use std::sync::Arc;

use arrow_array::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::TryStreamExt;
use tlc_core::Progress;
use tlc_table::TableInParts;

use super::{Apply, Where};
use crate::ClusterError;
use crate::error::cause_of;
use crate::runtime::Engine;

/// A place that can be reached.
pub(super) enum Place {
    Here(Engine),
    #[cfg(feature = "ballista")]
    Cluster(Engine, crate::ClusterAddress),
}

impl Place {
    /// Before anything is written.
    pub(super) fn of(place: &Where) -> Result<Self, ClusterError> {
        match place {
            Where::Here => Ok(Self::Here(Engine::new()?)),
            #[cfg(feature = "ballista")]
            Where::Cluster(address) => {
                address.check()?;
                Ok(Self::Cluster(Engine::new()?, address.clone()))
            }
        }
    }

    /// Until all parts of `table` are written.
    #[cfg_attr(not(feature = "ballista"), expect(unused_variables, reason = "a cluster needs more than this process"))]
    pub(super) fn run(
        &self,
        job: &Apply,
        plan: Arc<dyn ExecutionPlan>,
        table: &TableInParts,
        rows: u64,
        progress: &Progress,
    ) -> Result<(), ClusterError> {
        match self {
            Self::Here(engine) => run_here(engine, &plan, rows, progress),
            #[cfg(feature = "ballista")]
            Self::Cluster(engine, address) => {
                let job = crate::ballista::Job { plan, table, out: &job.out, rows, patience: job.patience };
                crate::ballista::run(engine, address, &job, progress)
            }
        }
    }
}

/// One task after the other: memory is that of one, and a model's transform uses all cores anyway.
fn run_here(
    engine: &Engine,
    plan: &Arc<dyn ExecutionPlan>,
    rows: u64,
    progress: &Progress,
) -> Result<(), ClusterError> {
    let n_tasks = plan.output_partitioning().partition_count();
    let task = progress.task("apply", rows);
    let mut done = 0;
    for partition in 0..n_tasks {
        let plan = plan.clone();
        let batches: Result<Vec<RecordBatch>, DataFusionError> =
            engine.wait("apply the model", progress, || async move {
                plan.execute(partition, Arc::new(TaskContext::default()))?.try_collect().await
            })?;
        batches.map_err(|error| ClusterError::engine("apply the model", cause_of(error)))?;
        let until = rows * (partition as u64 + 1) / n_tasks as u64;
        task.advance(until - done)?;
        done = until;
    }
    Ok(())
}
