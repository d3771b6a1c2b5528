//! The two nodes of a plan that are ours: [`RowsExec`] reads ranges of a table's rows, [`WriteExec`] writes what comes
//! out of them into parts of a new table. What lies between is DataFusion's.
//!
//! Both hold only texts and numbers, no connection and no credentials: whoever runs a task reads and writes with those
//! of its own environment.

mod rows;
mod write;

#[cfg(feature = "ballista")]
pub(crate) use rows::RowsSpec;
pub(crate) use rows::{PinnedTable, RowsExec, columns_of, ranges_of};
pub(crate) use write::{WriteExec, parts_in_order};

use std::sync::Arc;

use arrow_schema::SchemaRef;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::{Partitioning, PlanProperties};

/// Batches that wait between a node's thread and its reader.
const QUEUED_BATCHES: usize = 2;

pub(crate) fn properties(schema: SchemaRef, n_partitions: usize, emission: EmissionType) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(n_partitions),
        emission,
        Boundedness::Bounded,
    ))
}
