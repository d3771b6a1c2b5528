//! How an executor runs a task: as Ballista does, but so that its scheduler knows what failed, and where.
//!
//! Ballista 54.1 tries a task again whose error is one of input or output, four times in all. But an executor has made
//! texts of all errors of a task's rows before its scheduler sees them, so that none would ever be tried again. Here they
//! become errors again, and say on which machine they happened: a full disk must be found. So does a panic, which comes
//! through DataFusion's streams as one.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::serde::protobuf::ShuffleWritePartition;
use ballista_executor::execution_engine::{DefaultExecutionEngine, ExecutionEngine, QueryStageExecutor};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::prelude::SessionConfig;
use futures::FutureExt;

use super::said::Said;

/// How long a task is held that a disk or a network failed: what is wrong may pass, and four attempts are soon over.
const PAUSE: Duration = Duration::from_secs(1);

/// The engine of one executor.
pub(super) struct TaskEngine {
    ballista: DefaultExecutionEngine,
    /// By which name and port it is reached.
    executor: String,
}

impl TaskEngine {
    pub(super) fn new(executor: String) -> Self {
        Self { ballista: DefaultExecutionEngine::new(), executor }
    }
}

impl ExecutionEngine for TaskEngine {
    fn create_query_stage_exec(
        &self,
        job_id: JobId,
        stage_id: usize,
        partition_id: usize,
        plan: Arc<dyn ExecutionPlan>,
        work_dir: &str,
        config: &SessionConfig,
    ) -> Result<Arc<dyn QueryStageExecutor>> {
        let stage = self.ballista.create_query_stage_exec(job_id, stage_id, partition_id, plan, work_dir, config)?;
        Ok(Arc::new(Stage { stage, executor: self.executor.clone() }))
    }
}

#[derive(Debug)]
struct Stage {
    stage: Arc<dyn QueryStageExecutor>,
    executor: String,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.stage)
    }
}

#[async_trait]
impl QueryStageExecutor for Stage {
    async fn execute_query_stage(
        &self,
        input_partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<Vec<ShuffleWritePartition>> {
        // What a panic leaves is the task's own, and is dropped.
        let task = AssertUnwindSafe(self.stage.execute_query_stage(input_partition, context)).catch_unwind();
        let error = match task.await {
            Ok(Ok(written)) => return Ok(written),
            Ok(Err(error)) => restored(&error, &self.executor),
            Err(panic) => panicked(&*panic, &self.executor),
        };
        if matches!(error, DataFusionError::IoError(_)) {
            tokio::time::sleep(PAUSE).await;
        }
        Err(error)
    }

    fn collect_plan_metrics(&self) -> Vec<MetricsSet> {
        self.stage.collect_plan_metrics()
    }
}

/// What a task's error was before it became a text, with the executor that it happened on.
fn restored(error: &DataFusionError, executor: &str) -> DataFusionError {
    let said = Said::find_in(&format!("{error:?}"));
    let text = format!("{} (on the executor {executor})", said.text);
    match said.is_io {
        true => DataFusionError::IoError(io::Error::other(text)),
        false => DataFusionError::Execution(text),
    }
}

/// A panic as an error, with the executor that it happened on. It is a fault of our own, and would be the same elsewhere.
fn panicked(panic: &(dyn Any + Send), executor: &str) -> DataFusionError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    DataFusionError::Execution(format!("the task panicked: {text} (on the executor {executor})"))
}

#[cfg(test)]
mod tests {
    use ballista_core::error::BallistaError;
    use ballista_core::serde::protobuf::FailedTask;

    use super::*;

    #[test]
    fn a_task_is_tried_again_if_a_backend_failed_and_names_its_machine() {
        for (own, is_tried_again) in [
            (DataFusionError::IoError(io::Error::other("cannot write \"t\": no space")), true),
            (DataFusionError::Execution("cannot write \"t\": no space".to_owned()), false),
        ] {
            let own = BallistaError::DataFusionError(Box::new(own));
            let of_its_rows = DataFusionError::Execution(format!("{own:?}"));
            let failed = BallistaError::DataFusionError(Box::new(restored(&of_its_rows, "worker:50051")));
            let failed = FailedTask::from(failed);
            assert_eq!(failed.retryable, is_tried_again, "{}", failed.error);
            let said = Said::find_in(&failed.error).text;
            assert_eq!(said, "cannot write \"t\": no space (on the executor worker:50051)");
        }
    }

    #[derive(Debug)]
    struct Panicking;

    impl fmt::Display for Panicking {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a stage that panics")
        }
    }

    #[async_trait]
    impl QueryStageExecutor for Panicking {
        async fn execute_query_stage(
            &self,
            input_partition: usize,
            _context: Arc<TaskContext>,
        ) -> Result<Vec<ShuffleWritePartition>> {
            panic!("row {input_partition} is not there")
        }

        fn collect_plan_metrics(&self) -> Vec<MetricsSet> {
            Vec::new()
        }
    }

    #[tokio::test]
    async fn a_task_that_panics_names_its_machine_and_is_not_tried_again() {
        let stage = Stage { stage: Arc::new(Panicking), executor: "worker:50051".to_owned() };
        let error = stage.execute_query_stage(7, Arc::new(TaskContext::default())).await.expect_err("it panics");
        let failed = FailedTask::from(BallistaError::DataFusionError(Box::new(error)));
        assert!(!failed.retryable, "{}", failed.error);
        let said = Said::find_in(&failed.error).text;
        assert_eq!(said, "the task panicked: row 7 is not there (on the executor worker:50051)");
    }
}
