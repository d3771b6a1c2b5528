//! A node that this executor must not run: it says why when it is run.

use std::fmt;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use tlc_core::with_causes;

use crate::{ClusterError, plan};

/// Stands for a node with this schema, and fails.
#[derive(Debug)]
pub(super) struct RefusedExec {
    reason: String,
    properties: Arc<PlanProperties>,
}

impl RefusedExec {
    pub(super) fn new(schema: SchemaRef, reason: ClusterError) -> Self {
        Self { reason: with_causes(&reason), properties: plan::properties(schema, 1, EmissionType::Final) }
    }
}

impl DisplayAs for RefusedExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RefusedExec: {}", self.reason)
    }
}

impl ExecutionPlan for RefusedExec {
    fn name(&self) -> &str {
        "RefusedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, _children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    /// Of whatever partition: what it stands for is not known.
    fn execute(&self, _partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Err(DataFusionError::Execution(self.reason.clone()))
    }
}
