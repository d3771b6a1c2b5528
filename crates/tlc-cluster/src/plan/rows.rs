//! The leaf: ranges of a table's rows, one for each task.
//!
//! Ranges of rows rather than groups of fragments: a table that was written at once is one fragment for each million
//! rows, and workers would have nothing to do. The store finds the fragments and pages that hold a range.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use datafusion::common::internal_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execution_plan::EmissionType;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use serde::{Deserialize, Serialize};
use tlc_core::{TableInfo, TableStore, Url};

use super::{QUEUED_BATCHES, properties};
use crate::ClusterError;
use crate::models::store;

/// A table as it was when a plan was made. Tables have one version, but one may be deleted and another written in its
/// place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PinnedTable {
    pub(crate) url: Url,
    /// Identity, digest and number of rows, as far as the table has them. Of one without a digest, which another program
    /// wrote, when and by what it was written: many have the same number of rows.
    identity: String,
}

impl PinnedTable {
    pub(crate) fn of(info: &TableInfo) -> Result<Self, ClusterError> {
        let id = info.lineage().map_or("no identity".to_owned(), |lineage| lineage.table_id.to_string());
        let content = match &info.digest {
            Some(digest) => digest.clone(),
            None => format!("no digest, written at {}", store().written(&info.url)?),
        };
        Ok(Self { url: info.url.clone(), identity: format!("{id}, {content}, {} rows", info.rows) })
    }

    /// Refuses a table that is another one now.
    fn check(&self) -> Result<(), ClusterError> {
        let found = Self::of(&store().info(&self.url)?)?;
        if found == *self {
            return Ok(());
        }
        let (expected, found) = (self.identity.clone(), found.identity);
        Err(ClusterError::Changed { url: self.url.clone(), expected, found })
    }
}

/// `0..rows` in ranges of at most `each`.
pub(crate) fn ranges_of(rows: u64, each: u64) -> Vec<Range<u64>> {
    let each = each.max(1);
    (0..rows.div_ceil(each)).map(|i| i * each..rows.min((i + 1) * each)).collect()
}

/// Reads some columns of a table; each partition is a range of its rows, in order.
#[derive(Debug, Clone)]
pub(crate) struct RowsExec {
    table: PinnedTable,
    ranges: Vec<Range<u64>>,
    properties: Arc<PlanProperties>,
}

/// What of a [`RowsExec`] travels beside its schema.
#[derive(Serialize, Deserialize)]
pub(crate) struct RowsSpec {
    table: PinnedTable,
    ranges: Vec<(u64, u64)>,
}

impl RowsExec {
    /// The columns of `schema`, which the table has.
    pub(crate) fn new(table: PinnedTable, schema: SchemaRef, ranges: Vec<Range<u64>>) -> Self {
        let properties = properties(schema, ranges.len(), EmissionType::Incremental);
        Self { table, ranges, properties }
    }

    #[cfg_attr(not(feature = "ballista"), expect(dead_code, reason = "plans of one process do not travel"))]
    pub(crate) fn spec(&self) -> RowsSpec {
        let ranges = self.ranges.iter().map(|range| (range.start, range.end)).collect();
        RowsSpec { table: self.table.clone(), ranges }
    }

    #[cfg_attr(not(feature = "ballista"), expect(dead_code, reason = "plans of one process do not travel"))]
    pub(crate) fn from_spec(spec: RowsSpec, schema: SchemaRef) -> Self {
        let ranges = spec.ranges.into_iter().map(|(start, end)| start..end).collect();
        Self::new(spec.table, schema, ranges)
    }
}

impl DisplayAs for RowsExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<String> = self.schema().fields().iter().map(|field| field.name().clone()).collect();
        write!(f, "RowsExec: table={}, columns=[{}], ranges={}", self.table.url, columns.join(", "), self.ranges.len())
    }
}

impl ExecutionPlan for RowsExec {
    fn name(&self) -> &str {
        "RowsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match children.is_empty() {
            true => Ok(self),
            false => internal_err!("RowsExec has no children, {} were given", children.len()),
        }
    }

    /// Opens the table here, lazily, on a thread that may block.
    fn execute(&self, partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(range) = self.ranges.get(partition).cloned() else {
            return internal_err!("RowsExec has {} partitions, {partition} was asked for", self.ranges.len());
        };
        let (table, schema) = (self.table.clone(), self.schema());
        let mut builder = RecordBatchReceiverStream::builder(schema.clone(), QUEUED_BATCHES);
        let sender = builder.tx();
        builder.spawn_blocking(move || {
            table.check()?;
            for batch in batches(&table, &schema, range)? {
                if sender.blocking_send(batch).is_err() {
                    break; // Nobody reads on.
                }
            }
            Ok(())
        });
        Ok(builder.build())
    }
}

type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

fn batches(table: &PinnedTable, schema: &SchemaRef, range: Range<u64>) -> Result<Batches> {
    if range.is_empty() {
        return Ok(Box::new(std::iter::empty()));
    }
    if schema.fields().is_empty() {
        // Only their number matters.
        let n_rows =
            usize::try_from(range.end - range.start).map_err(|error| DataFusionError::External(error.into()))?;
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        let batch = RecordBatch::try_new_with_options(schema.clone(), Vec::new(), &options)?;
        return Ok(Box::new([Ok(batch)].into_iter()));
    }
    let columns: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let rows = store().scan_range(&table.url, Some(&columns), range).map_err(ClusterError::from)?;
    let schema = schema.clone();
    Ok(Box::new(rows.map(move |batch| {
        let batch = batch.map_err(ClusterError::from)?;
        Ok(RecordBatch::try_new(schema.clone(), batch.columns().to_vec())?)
    })))
}

/// The columns of `schema` with these names, in the table's order, without the table's metadata.
pub(crate) fn columns_of(schema: &Schema, keep: impl Fn(&str) -> bool) -> SchemaRef {
    let fields = schema.fields().iter().filter(|field| keep(field.name())).cloned();
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use arrow_array::Int64Array;
    use arrow_schema::{DataType, Field};

    use super::*;

    #[test]
    fn a_table_without_a_digest_is_told_from_one_of_equal_length() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = Url::from_path(folder.path()).expect("an absolute path").join("t.lance").expect("valid");
        let pinned = || {
            let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
            let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(vec![1, 2, 3]))]);
            let rows = rows.expect("one column");
            let info = store().create(&url, schema, Box::new([Ok(rows)].into_iter())).expect("a free place");
            // As tables of other programs are.
            let info = TableInfo { digest: None, ..info };
            let pinned = PinnedTable::of(&info).expect("there");
            assert_eq!(PinnedTable::of(&info).expect("there"), pinned);
            pinned
        };
        let first = pinned();
        store().delete(&url).expect("there");
        assert_ne!(pinned(), first);
    }

    #[test]
    fn ranges_cover_all_rows_in_order() {
        assert_eq!(ranges_of(10, 4), [0..4, 4..8, 8..10]);
        assert_eq!(ranges_of(8, 4), [0..4, 4..8]);
        assert_eq!(ranges_of(0, 4), []);
        assert_eq!(ranges_of(3, 0), [0..1, 1..2, 2..3]);
    }
}
