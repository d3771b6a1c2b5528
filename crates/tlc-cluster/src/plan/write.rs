//! The root: each task writes its rows into a part of a new table, and says which.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execution_plan::{EmissionType, ExecutionPlanProperties};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use futures::StreamExt;
use tlc_core::{StoreError, Url};
use tlc_table::TablePart;
use tokio::runtime::Handle;

use super::{QUEUED_BATCHES, properties};
use crate::ClusterError;
use crate::models::store;

/// Writes what its child gives into parts of the table at `out`, one for each partition, and gives one row for each:
/// its number and the [`TablePart`] as JSON.
///
/// Columns of structs are taken apart into their fields, which tables do not have: so one call of a model fills several
/// columns.
#[derive(Debug, Clone)]
pub(crate) struct WriteExec {
    pub(crate) out: Url,
    /// The columns of the table, by which the child's are renamed.
    pub(crate) columns: SchemaRef,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl WriteExec {
    pub(crate) fn new(out: Url, columns: SchemaRef, input: Arc<dyn ExecutionPlan>) -> Self {
        let n_partitions = input.output_partitioning().partition_count();
        let properties = properties(written(), n_partitions, EmissionType::Final);
        Self { out, columns, input, properties }
    }
}

/// What is said of each part.
fn written() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("partition", DataType::UInt64, false),
        Field::new("part", DataType::Utf8, false),
    ]))
}

impl DisplayAs for WriteExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteExec: table={}", self.out)
    }
}

impl ExecutionPlan for WriteExec {
    fn name(&self) -> &str {
        "WriteExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    /// Its partitions are the parts of the table, in order; nobody may deal rows anew.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match <[_; 1]>::try_from(children) {
            Ok([input]) => Ok(Arc::new(Self::new(self.out.clone(), self.columns.clone(), input))),
            Err(children) => internal_err!("WriteExec has one child, {} were given", children.len()),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut input = self.input.execute(partition, context)?;
        let (out, columns) = (self.out.clone(), self.columns.clone());
        let mut builder = RecordBatchReceiverStream::builder(written(), QUEUED_BATCHES);
        let sender = builder.tx();
        builder.spawn_blocking(move || {
            let runtime = Handle::current();
            let rows = std::iter::from_fn(|| {
                if sender.is_closed() {
                    return Some(Err(StoreError::rows(&out, "nobody waits for them any more")));
                }
                let batch = runtime.block_on(input.next())?;
                Some(batch.and_then(|batch| flat(&columns, &batch)).map_err(|error| StoreError::rows(&out, error)))
            });
            let part = store().write_part(&out, &columns, Box::new(rows)).map_err(ClusterError::from)?;
            let part = serde_json::to_string(&part).map_err(|error| ClusterError::engine("describe a part", error))?;
            let row: Vec<ArrayRef> =
                vec![Arc::new(UInt64Array::from(vec![partition as u64])), Arc::new(StringArray::from(vec![part]))];
            // Nobody waits if the send fails.
            let _ = sender.blocking_send(Ok(RecordBatch::try_new(written(), row)?));
            Ok(())
        });
        Ok(builder.build())
    }
}

/// The batch under the table's schema, with structs taken apart.
fn flat(columns: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch> {
    let parts = |column: &ArrayRef| match column.as_struct_opt() {
        Some(parts) => parts.columns().to_vec(),
        None => vec![column.clone()],
    };
    Ok(RecordBatch::try_new(columns.clone(), batch.columns().iter().flat_map(parts).collect())?)
}

/// The parts that `n` tasks wrote, in the order of their rows.
pub(crate) fn parts_in_order(out: &Url, n: usize, written: &[RecordBatch]) -> Result<Vec<TablePart>, ClusterError> {
    let refused = |reason: String| ClusterError::Parts { url: out.clone(), reason };
    let mut parts = BTreeMap::new();
    for batch in written {
        let numbers = batch.column(0).as_primitive_opt::<UInt64Type>();
        let texts = batch.column(1).as_string_opt::<i32>();
        let (Some(numbers), Some(texts)) = (numbers, texts) else {
            return Err(refused("their answers have other columns".to_owned()));
        };
        for row in 0..batch.num_rows() {
            let part: TablePart = serde_json::from_str(texts.value(row)).map_err(|error| {
                refused(format!("the answer of task {} is unreadable: {error}", numbers.value(row)))
            })?;
            if parts.insert(numbers.value(row), part).is_some() {
                return Err(refused(format!("task {} answered twice", numbers.value(row))));
            }
        }
    }
    if !parts.keys().copied().eq(0..n as u64) {
        return Err(refused(format!("{n} tasks were given, {} answered: {:?}", parts.len(), parts.keys())));
    }
    Ok(parts.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(partition: u64, rows: u64) -> RecordBatch {
        let part = format!(r#"{{"rows":{rows},"fragments":[]}}"#);
        let columns: Vec<ArrayRef> =
            vec![Arc::new(UInt64Array::from(vec![partition])), Arc::new(StringArray::from(vec![part]))];
        RecordBatch::try_new(written(), columns).expect("two columns")
    }

    #[test]
    fn answers_are_put_in_order_and_each_is_there_once() {
        let out: Url = "file:///t.lance".parse().expect("a URL");
        let parts = parts_in_order(&out, 3, &[answer(2, 30), answer(0, 10), answer(1, 20)]).expect("complete");
        assert_eq!(parts.iter().map(TablePart::rows).collect::<Vec<_>>(), [10, 20, 30]);
        let missing = parts_in_order(&out, 3, &[answer(2, 30), answer(0, 10)]).expect_err("one is missing");
        assert!(missing.to_string().contains("3 tasks were given, 2 answered"), "{missing}");
        let twice = parts_in_order(&out, 1, &[answer(0, 30), answer(0, 10)]).expect_err("one too many");
        assert!(twice.to_string().contains("task 0 answered twice"), "{twice}");
    }
}
