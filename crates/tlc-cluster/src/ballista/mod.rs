//! Jobs on an Apache Ballista cluster, and the processes of one.
//!
//! Scheduling, retry and the exchange of results are Ballista's. Ours is the [codec](codec) for two plan nodes and three
//! functions; a job is submitted as a ready physical plan.

mod address;
mod codec;
mod processes;

pub use address::ClusterAddress;
pub use processes::{ExecutorOptions, SchedulerOptions, run_executor, run_scheduler, run_standalone};

use std::sync::Arc;

use arrow_array::RecordBatch;
use ballista_core::execution_plans::execute_physical_plan;
use ballista_core::extension::SessionConfigExt;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::prelude::SessionConfig;
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures::TryStreamExt;
use tlc_core::ulid::Ulid;

use crate::ClusterError;
use crate::error::chain;
use crate::plan::VERSION;
use codec::NodeCodec;

/// Runs a plan and gives what its partitions give.
pub(crate) async fn run(
    address: &ClusterAddress,
    plan: Arc<dyn ExecutionPlan>,
) -> Result<Vec<RecordBatch>, ClusterError> {
    let config = SessionConfig::new_with_ballista().with_ballista_job_name("tlc apply");
    let (settings, codec, session) = (config.ballista_config(), NodeCodec::default(), Ulid::generate().to_string());
    // A stage that collects what the tasks say: what an executor that was lost had said is asked for again by the
    // scheduler. What the last stage gives is fetched from here, and nobody would ask again.
    let plan: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(plan));
    let rows = execute_physical_plan::<PhysicalPlanNode>(address.endpoint(), &settings, plan, &codec, session, config);
    let gave_up = |error: DataFusionError| {
        let reason = reason(&chain(&error));
        ClusterError::Job { address: address.to_string(), reason }
    };
    rows.await.map_err(gave_up)?.try_collect().await.map_err(gave_up)
}

/// What a task said. The scheduler passes it on in the debug form of the error, quoted, within its own words.
fn reason(text: &str) -> String {
    if text.contains("BallistaPhysicalPlanNode") {
        return format!(
            "its scheduler does not know the plans of tlc; start it by `tlc cluster scheduler` ({VERSION})"
        );
    }
    const BEGIN: &str = "Execution(\"";
    let Some(at) = text.find(BEGIN) else { return text.to_owned() };
    let mut said = String::new();
    let mut rest = text[at + BEGIN.len()..].chars();
    while let Some(c) = rest.next() {
        match c {
            '"' => break,
            '\\' => match rest.next() {
                Some('n') => said.push('\n'),
                Some(escaped) => said.push(escaped),
                None => break,
            },
            c => said.push(c),
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_task_said_is_told_in_its_own_words() {
        let error = DataFusionError::Execution("column \"e\" of\ntable".to_owned());
        let text = format!("Job 7 failed: Task failed due to runtime execution error: DataFusionError({error:?})");
        assert_eq!(reason(&text), "column \"e\" of\ntable");
        assert_eq!(reason("Stream closed"), "Stream closed");
        assert!(reason("Could not deserialize BallistaPhysicalPlanNode: …").contains("tlc cluster scheduler"));
    }
}
