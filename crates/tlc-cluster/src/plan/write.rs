//! The root: each task writes its rows into a part of a new table, and says so beside it.
//!
//! A task may run any number of times, also at once, on executors that know nothing of each other: the first that is
//! done counts, and one that finds its part written has nothing to do. So a job can be submitted again at any time.

use std::fmt;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch, UInt64Array};
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
use tlc_core::ulid::Ulid;
use tlc_core::{StoreError, Url};
use tlc_table::TablePart;
use tokio::runtime::Handle;

use super::{QUEUED_BATCHES, properties};
use crate::ClusterError;
use crate::error::cause_of;
use crate::models::store;

/// Readers of what is said of the parts, which is much waiting for a distant store.
const READERS: usize = 16;

/// Writes what its child gives into parts of the table at `out`, one for each partition, which are kept under `key`.
/// Gives one row for each, its number: whoever waits looks at the parts.
///
/// A struct is taken apart into its fields where the table has columns in its place: so one call of a model fills several.
#[derive(Debug, Clone)]
pub(crate) struct WriteExec {
    pub(crate) out: Url,
    pub(crate) key: Ulid,
    /// The columns of the table, by which the child's are renamed.
    pub(crate) columns: SchemaRef,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl WriteExec {
    pub(crate) fn new(out: Url, key: Ulid, columns: SchemaRef, input: Arc<dyn ExecutionPlan>) -> Self {
        let n_partitions = input.output_partitioning().partition_count();
        let properties = properties(written(), n_partitions, EmissionType::Final);
        Self { out, key, columns, input, properties }
    }
}

fn written() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("part", DataType::UInt64, false)]))
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
            Ok([input]) => Ok(Arc::new(Self::new(self.out.clone(), self.key, self.columns.clone(), input))),
            Err(children) => internal_err!("WriteExec has one child, {} were given", children.len()),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let task = self.clone();
        let mut builder = RecordBatchReceiverStream::builder(written(), QUEUED_BATCHES);
        let sender = builder.tx();
        builder.spawn_blocking(move || {
            let (out, key, number) = (&task.out, task.key, partition as u64);
            if store().kept_part(out, key, number).map_err(ClusterError::from)?.is_none() {
                let mut input = task.input.execute(partition, context)?;
                let runtime = Handle::current();
                let is_left = || sender.is_closed().then(|| StoreError::rows(out, "nobody waits for them any more"));
                let rows = std::iter::from_fn(|| {
                    if let Some(left) = is_left() {
                        return Some(Err(left));
                    }
                    let batch = runtime.block_on(input.next())?;
                    // Who waited may have given up meanwhile, and taken the table's folder away.
                    if let Some(left) = is_left() {
                        return Some(Err(left));
                    }
                    let batch = batch.and_then(|batch| flat(&task.columns, &batch));
                    Some(batch.map_err(|error| StoreError::rows(out, cause_of(error))))
                });
                let part = store().write_part(out, &task.columns, Box::new(rows)).map_err(ClusterError::from)?;
                store().keep_part(out, key, number, part).map_err(ClusterError::from)?;
            }
            let row: ArrayRef = Arc::new(UInt64Array::from(vec![number]));
            // Nobody waits if the send fails.
            let _ = sender.blocking_send(Ok(RecordBatch::try_new(written(), vec![row])?));
            Ok(())
        });
        Ok(builder.build())
    }
}

/// The batch under the table's schema. A struct is taken apart where the table has no struct in its place.
fn flat(columns: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch> {
    let mut flat: Vec<ArrayRef> = Vec::with_capacity(columns.fields().len());
    for column in batch.columns() {
        let wanted = columns.fields().get(flat.len()).map(|field| field.data_type());
        match column.as_struct_opt() {
            Some(parts) if !matches!(wanted, Some(DataType::Struct(_))) => flat.extend_from_slice(parts.columns()),
            _ => flat.push(column.clone()),
        }
    }
    Ok(RecordBatch::try_new(columns.clone(), flat)?)
}

/// The `n` parts that were kept under `key`, in the order of their rows.
pub(crate) fn parts_in_order(out: &Url, key: Ulid, n: usize) -> Result<Vec<TablePart>, ClusterError> {
    let part = |number: u64| match store().kept_part(out, key, number)? {
        Some(part) => Ok(part),
        None => Err(ClusterError::Parts { url: out.clone(), reason: format!("part {number} of {n} is missing") }),
    };
    let numbers: Vec<u64> = (0..n as u64).collect();
    let parts: Result<Vec<Vec<TablePart>>, ClusterError> = std::thread::scope(|scope| {
        let share = |numbers: &[u64]| numbers.iter().map(|number| part(*number)).collect::<Result<Vec<_>, _>>();
        let shares = numbers.chunks(n.div_ceil(READERS).max(1));
        let readers: Vec<_> = shares.map(|numbers| scope.spawn(move || share(numbers))).collect();
        readers.into_iter().map(|reader| reader.join().expect("a store returns its panics")).collect()
    });
    Ok(parts?.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use datafusion::physical_plan::empty::EmptyExec;
    use futures::TryStreamExt;
    use tlc_core::{BatchStream, Lineage, Operation, Progress, TableStore};

    use super::*;

    fn schema() -> SchemaRef {
        let schema = Schema::new(vec![Field::new("id", DataType::UInt64, false)]);
        Arc::new(Lineage::new("test/1", Operation::new("made-up", 1)).write_into(&schema))
    }

    fn rows(schema: &SchemaRef, ids: std::ops::Range<u64>) -> BatchStream<'static> {
        let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(UInt64Array::from_iter_values(ids))]);
        Box::new([Ok(batch.expect("one column"))].into_iter())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_task_whose_part_is_written_has_nothing_to_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = Url::from_path(folder.path()).expect("an absolute path").join("t.lance").expect("valid");
        let (schema, table) = (schema(), store().begin_parts(&out, Ulid::generate()).expect("a free place"));
        let keep = |number: u64, ids| {
            let part = store().write_part(&out, &schema, rows(&schema, ids)).expect("writable");
            store().keep_part(&out, table.key(), number, part).expect("the first")
        };
        keep(1, 10..30);
        let missing = parts_in_order(&out, table.key(), 2).expect_err("one is missing").to_string();
        assert!(missing.contains("part 0 of 2 is missing"), "{missing}");
        // Whoever ran this task would write a part without rows.
        let nothing = Arc::new(EmptyExec::new(schema.clone()).with_partitions(2));
        let task = Arc::new(WriteExec::new(out.clone(), table.key(), schema.clone(), nothing));
        let run = |number: usize| task.execute(number, Arc::new(TaskContext::default())).expect("it begins");
        let said: Vec<RecordBatch> = run(1).try_collect().await.expect("it ends");
        assert_eq!(said[0].column(0).as_ref(), &UInt64Array::from(vec![1]));
        keep(0, 0..10);
        let parts = parts_in_order(&out, table.key(), 2).expect("complete");
        assert_eq!(parts.iter().map(TablePart::rows).collect::<Vec<_>>(), [10, 20]);
        // A task of a job that was given up finds no place, and makes none.
        assert!(table.give_up().expect("removable"), "it is alone");
        run(0).try_collect::<Vec<_>>().await.expect_err("nobody waits for it");
        assert!(!out.to_path().expect("local").exists());
        assert!(store().info(&out).is_err());
        let table = store().begin_parts(&out, Ulid::generate()).expect("free");
        table.commit(&schema, Vec::new(), &Progress::default()).expect("empty");
    }
}
