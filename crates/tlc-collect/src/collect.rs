//! Runs a model over a data set and streams what collectors make of it into one metrics table.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use arrow_array::types::Float32Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Float32Array, Int64Array, RecordBatch, StringArray, cast::AsArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde_json::{Map, Value};
use tch::Device;
use tlc_core::{
    BatchStream, Column, FieldRoles, Lineage, MetricsSink, MetricsTable, NumberRole, Operation, Progress, StoreError,
    TableInfo, columns_with_role, embedding_values, embedding_width,
};

use crate::predictor::catch_panic;
use crate::{CollectError, Dataset, MetricsCollector, Predictor};

const PRODUCER: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
/// Batches on their way to the writer.
const QUEUED_BATCHES: usize = 4;
/// Rows of a model on the CPU wait in memory up to this size and are then written in one go, while the model waits.
/// Written batch by batch beside the model they would take cores from libtorch, whose threads wait for the slowest of
/// them at every operation: a tenth of a second of writing then costs several.
const HELD_BYTES: usize = 64 << 20;

/// How metrics are collected.
#[derive(Debug, Clone)]
pub struct CollectOptions {
    /// The table's readable name. Default `metrics`.
    pub name: String,
    /// Samples per forward pass. Default 256.
    pub batch_size: usize,
    /// Columns that hold one value: whole numbers, numbers, texts or booleans. `epoch` gets the role
    /// of that name. Default none.
    pub constants: Map<String, Value>,
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self { name: "metrics".to_owned(), batch_size: 256, constants: Map::new() }
    }
}

/// What was collected.
#[derive(Debug, Clone)]
pub struct CollectReport {
    /// The metrics table.
    pub table: TableInfo,
    /// The mean over all samples of each column of numbers or booleans, such as `loss` and `correct`.
    pub means: BTreeMap<String, f64>,
    /// For each embedding column with NaN or infinity: how many rows, and the first ten `example_id`s.
    pub not_finite: BTreeMap<String, (usize, Vec<i64>)>,
}

/// Runs `predictor` on every sample of `dataset`, in order, and writes what `collectors` make of it as one
/// metrics table into `sink`.
///
/// The table has `example_id` (the sample's number), `input_table_id` (whose value map holds the URL of
/// the data set's table), the constants, the collectors' columns, and, if there are embeddings,
/// `embeddings_finite`: rows with NaN or infinity are kept and marked, and a warning is logged.
///
/// A model on a GPU runs while its previous batches are written; on the CPU up to 64 MiB of rows are kept and
/// written in between. On an error or a wish to stop no table is left.
///
/// # Errors
/// An empty data set; a layer, shape or label that does not fit; a failing store; cancellation.
pub fn collect_metrics(
    sink: &dyn MetricsSink,
    dataset: &dyn Dataset,
    collectors: &mut [&mut dyn MetricsCollector],
    predictor: &Predictor<'_>,
    options: &CollectOptions,
    progress: &Progress,
) -> Result<CollectReport, CollectError> {
    if dataset.is_empty() {
        return Err(CollectError::Empty);
    }
    if options.batch_size == 0 {
        return Err(CollectError::Data { what: "the batch size is 0; use at least 1".to_owned() });
    }
    let lineage = lineage(dataset, collectors, predictor, options);
    let table = MetricsTable {
        name: options.name.clone(),
        foreign_table: dataset.table().map(|table| table.url.clone()),
        constants: options.constants.clone(),
        lineage,
    };
    let task = progress.task(&format!("collect {}", options.name), dataset.len() as u64);
    let starts: Vec<usize> = (0..dataset.len()).step_by(options.batch_size).collect();
    let mut tally = Tally::default();
    let device = Cell::new(Device::Cpu);
    let mut make_rows = |start: usize, schema: Option<&SchemaRef>| -> Result<RecordBatch, CollectError> {
        let rows = start..(start + options.batch_size).min(dataset.len());
        let n = rows.len();
        let batch = dataset.batch(rows)?;
        device.set(batch.inputs.device());
        let output = predictor.predict(&batch.inputs)?;
        let mut columns = key_columns(start, n, dataset, &options.constants)?;
        for collector in &mut *collectors {
            columns.extend(collector.collect(&batch, &output)?);
        }
        tally.mark_not_finite(start, &mut columns);
        let rows = assemble(columns, n, schema)?;
        tally.add(&rows);
        task.advance(n as u64)?;
        Ok(rows)
    };
    // A panic in a user's data set or collector must end as an error: if it dropped the channel, the rows
    // until then would look like the whole table.
    let mut rows_at = |start: usize, schema: Option<&SchemaRef>| {
        catch_panic(|| make_rows(start, schema)).unwrap_or_else(|text| {
            Err(CollectError::Data { what: format!("collecting from sample {start} on panicked: {text}") })
        })
    };
    // The first batch tells the columns.
    let first = rows_at(0, None)?;
    let schema = first.schema();
    let (sender, receiver) = sync_channel::<Result<RecordBatch, StoreError>>(QUEUED_BATCHES);
    let (produced, written) = std::thread::scope(|scope| {
        let writer_schema = schema.clone();
        let writer = scope.spawn(move || {
            let rows: BatchStream<'_> = Box::new(receiver.into_iter());
            sink.write_metrics(table, &writer_schema, rows)
        });
        let hold_bytes = if device.get() == Device::Cpu { HELD_BYTES } else { 0 };
        let (mut held, mut held_bytes) = (Vec::new(), 0);
        let mut batches = starts[1..].iter().map(|&start| rows_at(start, Some(&schema)));
        let mut next = Some(Ok(first));
        let mut produced = Ok(());
        // A failed send means that the writer gave up; its error comes below.
        let send_all = |held: &mut Vec<RecordBatch>| held.drain(..).all(|rows| sender.send(Ok(rows)).is_ok());
        while let Some(batch) = next.take() {
            match batch {
                Ok(rows) => {
                    held_bytes += rows.get_array_memory_size();
                    held.push(rows);
                }
                Err(error) => {
                    produced = Err(error);
                    break;
                }
            }
            if held_bytes >= hold_bytes {
                held_bytes = 0;
                send_all(&mut held);
            }
            // Not only when rows are sent: a full disk is said at once.
            if !writer.is_finished() {
                next = batches.next();
            }
        }
        if produced.is_ok() {
            send_all(&mut held);
        } else {
            let _ = sender.send(Err(StoreError::Cancelled(tlc_core::Cancelled)));
        }
        drop(sender);
        (produced, writer.join())
    });
    produced?;
    let table = written.map_err(|_| CollectError::Data { what: "the table's writer panicked".to_owned() })??;
    let report = CollectReport { table, means: tally.means(dataset.len()), not_finite: tally.not_finite };
    for (column, (count, first)) in &report.not_finite {
        tracing::warn!(
            column,
            count,
            ?first,
            "activations hold NaN or infinity; these rows are marked and left out of fits"
        );
    }
    Ok(report)
}

fn lineage(
    dataset: &dyn Dataset,
    collectors: &[&mut dyn MetricsCollector],
    predictor: &Predictor<'_>,
    options: &CollectOptions,
) -> Lineage {
    let collectors: Vec<Value> = collectors.iter().map(|collector| collector.describe()).collect();
    let operation = Operation::new("collect", 1)
        .with("layers", predictor.layers())
        .with("collectors", collectors)
        .with("constants", options.constants.clone());
    let mut lineage = Lineage::new(PRODUCER, operation);
    lineage.inputs.extend(dataset.table().cloned());
    lineage
}

/// `example_id`, the foreign table, the constants.
fn key_columns(
    start: usize,
    n: usize,
    dataset: &dyn Dataset,
    constants: &Map<String, Value>,
) -> Result<Vec<Column>, CollectError> {
    let ids = Int64Array::from_iter_values(start as i64..(start + n) as i64);
    let field = Field::new("example_id", DataType::Int64, false).with_role(NumberRole::ExampleId);
    let mut columns = vec![Column { field, values: Arc::new(ids) }];
    if let Some(table) = dataset.table() {
        let urls = BTreeMap::from([(0, table.url.to_string())]);
        let field = Field::new("input_table_id", DataType::Int64, false)
            .with_role(NumberRole::ForeignTableId)
            .with_value_map(&urls);
        columns.push(Column { field, values: Arc::new(Int64Array::from(vec![0; n])) });
    }
    for (name, value) in constants {
        columns.push(constant_column(name, value, n)?);
    }
    Ok(columns)
}

fn constant_column(name: &str, value: &Value, n: usize) -> Result<Column, CollectError> {
    let (kind, values): (DataType, ArrayRef) = match value {
        Value::Bool(value) => (DataType::Boolean, Arc::new(BooleanArray::from(vec![*value; n]))),
        Value::String(value) => (DataType::Utf8, Arc::new(StringArray::from(vec![value.as_str(); n]))),
        Value::Number(value) => match (value.as_i64(), value.as_f64()) {
            (Some(value), _) => (DataType::Int64, Arc::new(Int64Array::from(vec![value; n]))),
            (None, value) => {
                (DataType::Float32, Arc::new(Float32Array::from(vec![value.unwrap_or(f64::NAN) as f32; n])))
            }
        },
        other => {
            let what = format!("constant {name:?} is {other}; a number, text or boolean is needed");
            return Err(CollectError::Data { what });
        }
    };
    let field = Field::new(name, kind, true);
    let field = if name == "epoch" { field.with_role(NumberRole::Epoch) } else { field };
    Ok(Column { field, values })
}

/// The columns as a batch of `schema`, or of their own.
fn assemble(columns: Vec<Column>, n: usize, schema: Option<&SchemaRef>) -> Result<RecordBatch, CollectError> {
    if let Some(column) = columns.iter().find(|column| column.values.len() != n) {
        let what = format!("column {:?} has {} values for {n} samples", column.field.name(), column.values.len());
        return Err(CollectError::Data { what });
    }
    let (fields, values): (Vec<Field>, Vec<ArrayRef>) =
        columns.into_iter().map(|column| (column.field, column.values)).unzip();
    if let Some((_, twice)) =
        fields.iter().enumerate().find(|(i, field)| fields[..*i].iter().any(|f| f.name() == field.name()))
    {
        return Err(CollectError::Data { what: format!("two columns are called {:?}; rename one", twice.name()) });
    }
    if let Some(schema) = schema {
        for (field, expected) in fields.iter().zip(schema.fields()) {
            if field.name() != expected.name() {
                let what =
                    format!("a collector made column {:?} where it made {:?} before", field.name(), expected.name());
                return Err(CollectError::Data { what });
            }
            if let (Some(found), Some(expected)) = (embedding_width(field), embedding_width(expected))
                && found != expected
            {
                return Err(CollectError::WidthChanged { column: field.name().clone(), expected, found });
            }
        }
    }
    let schema = schema.cloned().unwrap_or_else(|| Arc::new(Schema::new(fields)));
    RecordBatch::try_new(schema, values)
        .map_err(|error| CollectError::Data { what: format!("the collectors' columns do not fit together: {error}") })
}

/// What is added up over the batches.
#[derive(Default)]
struct Tally {
    sums: BTreeMap<String, f64>,
    not_finite: BTreeMap<String, (usize, Vec<i64>)>,
}

impl Tally {
    /// Adds the column that marks rows with NaN or infinity, if there are embeddings.
    fn mark_not_finite(&mut self, start: usize, columns: &mut Vec<Column>) {
        let fields: Vec<Field> = columns.iter().map(|column| column.field.clone()).collect();
        let schema = Schema::new(fields);
        let embeddings = columns_with_role(&schema, &NumberRole::NnEmbedding);
        let Some(n) = columns.first().map(|column| column.values.len()) else { return };
        if embeddings.is_empty() {
            return;
        }
        let mut finite = vec![true; n];
        for name in embeddings {
            let Some(column) = columns.iter().find(|column| *column.field.name() == name) else { continue };
            let single = Arc::new(Schema::new(vec![column.field.clone()]));
            let Ok(batch) = RecordBatch::try_new(single, vec![column.values.clone()]) else { continue };
            let Some(values) = embedding_values(&batch, &name) else { continue };
            for (row, embedding) in values.outer_iter().enumerate() {
                // One sum instead of a test per value: NaN and infinity survive it.
                if !embedding.sum().is_finite() && !embedding.iter().all(|x| x.is_finite()) {
                    finite[row] = false;
                    let (count, first) = self.not_finite.entry(name.clone()).or_default();
                    *count += 1;
                    if first.len() < 10 {
                        first.push((start + row) as i64);
                    }
                }
            }
        }
        let field = Field::new("embeddings_finite", DataType::Boolean, true).with_role(NumberRole::Finite);
        columns.push(Column { field, values: Arc::new(BooleanArray::from(finite)) });
    }

    fn add(&mut self, rows: &RecordBatch) {
        for (field, values) in rows.schema().fields().iter().zip(rows.columns()) {
            let sum = match field.data_type() {
                DataType::Float32 => values.as_primitive::<Float32Type>().iter().flatten().map(f64::from).sum::<f64>(),
                DataType::Boolean => values.as_boolean().true_count() as f64,
                _ => continue,
            };
            *self.sums.entry(field.name().clone()).or_default() += sum;
        }
    }

    fn means(&self, n: usize) -> BTreeMap<String, f64> {
        self.sums.iter().map(|(name, sum)| (name.clone(), sum / n as f64)).collect()
    }
}
