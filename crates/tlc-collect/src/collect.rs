//! Runs a model over a data set and streams what collectors make of it into one metrics table.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde_json::{Map, Value};
use tch::Device;
use tlc_core::{
    Aggregate, BatchStream, Column, ConstantError, FieldRoles, Lineage, LineageInput, MetricsSink, MetricsTable,
    NumberRole, Operation, Progress, StoreError, TableInfo, aggregate, columns_with_role, embedding_values,
    embedding_width, key_columns, metrics_name,
};

use crate::panics::catch_panic;
use crate::{Batch, CollectError, DataLoader, Dataset, LoadedBatch, MetricsCollector, Predictor};

const PRODUCER: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
/// Batches on their way to the writer.
const QUEUED_BATCHES: usize = 4;
/// Rows of a model on the CPU wait in memory up to this size and are then written in one go, while the model waits.
/// Written batch by batch beside the model they would take cores from libtorch, whose threads wait for the slowest of
/// them at every operation: a tenth of a second of writing then costs several.
const HELD_BYTES: usize = 64 << 20;

/// How metrics are collected.
///
/// `epoch` and `split` are constants that others read: the page plays the epochs of each split, and
/// [runs](tlc_core::MetricsSink) find tables and means by both.
///
/// ```
/// use tlc_collect::CollectOptions;
/// let options = CollectOptions { batch_size: 64, ..CollectOptions::default() }.epoch(3).split("val");
/// assert_eq!(options.constants["epoch"], 3);
/// assert_eq!(options.table_name(), "val-epoch-3");
/// assert_eq!(options.constant("learning_rate", 0.1).name("at-the-end").table_name(), "at-the-end");
/// ```
#[derive(Debug, Clone)]
pub struct CollectOptions {
    /// The table's readable name. Default: empty, which stands for `{split}-epoch-{epoch}` where these constants are
    /// given; see [`table_name`](Self::table_name).
    pub name: String,
    /// Samples per forward pass. Default 256.
    pub batch_size: usize,
    /// Columns that hold one value: whole numbers, numbers, texts or booleans. `epoch` gets the role
    /// of that name. Default none.
    pub constants: Map<String, Value>,
    /// Batches that are read ahead, of data sets that [allow it](crate::Dataset::as_sync); 0 reads each when
    /// the model is done with the one before. Default 2.
    pub prefetch: usize,
    /// Threads that read ahead. Default 1; more where reading takes longer than the model and there are cores to spare.
    pub reading_threads: usize,
    /// Which part of the samples is collected, of how many: `(0, 4)` is the first quarter. For training on several
    /// processes, of which each writes a table of its part into the same run; samples keep their numbers. Default all.
    pub shard: Option<(usize, usize)>,
    /// Leaves out the samples whose [weight](crate::Dataset::weights) is 0. Default no.
    pub exclude_zero_weights: bool,
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self {
            name: String::new(),
            batch_size: 256,
            constants: Map::new(),
            prefetch: 2,
            reading_threads: 1,
            shard: None,
            exclude_zero_weights: false,
        }
    }
}

impl CollectOptions {
    /// With this name of the table.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// With the constant `epoch`: 0 before training, and then the number of epochs that were trained.
    #[must_use]
    pub fn epoch(self, epoch: i64) -> Self {
        self.constant("epoch", epoch)
    }

    /// With the constant `split`, such as `train` or `val`.
    #[must_use]
    pub fn split(self, split: &str) -> Self {
        self.constant("split", split)
    }

    /// With a column that holds one value: a whole number, a number, a text or a boolean.
    #[must_use]
    pub fn constant(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.constants.insert(name.to_owned(), value.into());
        self
    }

    /// The name that the table gets: the one that was given, or `{split}-epoch-{epoch}`, or the part of that which is
    /// known, or `metrics`.
    pub fn table_name(&self) -> String {
        if self.name.is_empty() { metrics_name(&self.constants) } else { self.name.clone() }
    }

    /// Without what chooses among a data set's samples, where others have chosen them.
    fn of_given_samples(&self) -> Self {
        Self { shard: None, exclude_zero_weights: false, ..self.clone() }
    }
}

/// What was collected.
#[derive(Debug, Clone)]
pub struct CollectReport {
    /// The metrics table.
    pub table: TableInfo,
    /// The mean over all collected samples of each column of numbers or booleans, such as `loss` and `correct`; not of
    /// constants, nor of what only names something, as `label` does.
    pub means: BTreeMap<String, f64>,
    /// The `example_id`s of the samples that the data set could not read; they have no row.
    pub skipped: Vec<i64>,
    /// For each embedding column with NaN or infinity: how many rows, and the first ten `example_id`s.
    pub not_finite: BTreeMap<String, (usize, Vec<i64>)>,
}

/// Runs `predictor` on every sample of `dataset`, in order, and writes what `collectors` make of it as one
/// metrics table into `sink`.
///
/// The table has `example_id` (the sample's number, which is that of its row in the data set's table), `input_table_id`
/// (whose value map holds the URL of that table), the constants, the collectors' columns, and, if there are embeddings,
/// `embeddings_finite`: rows with NaN or infinity are kept and marked, and a warning is logged.
///
/// A data set that allows it is read by other threads, ahead of the model. A model on a GPU runs while its previous
/// batches are written; on the CPU up to 64 MiB of rows are kept and written in between. On an error or a wish to stop
/// no table is left.
///
/// # Errors
/// An empty data set or one whose samples all have weight 0; a layer, shape or label that does not fit; rows that
/// memory cannot hold; a failing store; cancellation.
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
    let loader = chosen(dataset, options)?;
    collect_loaded(sink, &loader, collectors, predictor, options, progress)
}

/// As [`collect_metrics`], of the batches of `loader`, in the order of its first epoch; which samples there are and how
/// they are read is the loader's business, whatever the options say. A shuffled order changes that of the rows, not the
/// numbers of samples; samples that the loader drops have no row.
///
/// # Errors
/// As [`collect_metrics`]; a loader without a batch.
pub fn collect_loader(
    sink: &dyn MetricsSink,
    loader: &DataLoader<'_>,
    collectors: &mut [&mut dyn MetricsCollector],
    predictor: &Predictor<'_>,
    options: &CollectOptions,
    progress: &Progress,
) -> Result<CollectReport, CollectError> {
    if loader.n_batches() == 0 {
        let n = loader.dataset().len();
        let what = format!("the loader makes no batch of the data set's {n} samples; at least one is needed");
        return Err(CollectError::Data { what });
    }
    collect_loaded(sink, loader, collectors, predictor, &options.of_given_samples(), progress)
}

fn collect_loaded(
    sink: &dyn MetricsSink,
    loader: &DataLoader<'_>,
    collectors: &mut [&mut dyn MetricsCollector],
    predictor: &Predictor<'_>,
    options: &CollectOptions,
    progress: &Progress,
) -> Result<CollectReport, CollectError> {
    std::thread::scope(|threads| {
        let mut batches = loader.epoch(threads, 0)?.map(|loaded| {
            let LoadedBatch { samples, batch } = loaded?;
            Ok((samples.into_iter().map(|number| number as i64).collect(), batch))
        });
        let table = loader.dataset().table();
        let source = Numbered { batches: &mut batches, table, n_samples: Some(loader.n_samples()) };
        collect(sink, source, collectors, predictor, options, progress)
    })
}

/// A loader of the samples that the options choose.
fn chosen<'a>(dataset: &'a dyn Dataset, options: &CollectOptions) -> Result<DataLoader<'a>, CollectError> {
    let loader = DataLoader::new(dataset, options.batch_size)?;
    let loader = loader.threads(options.reading_threads).prefetch(options.prefetch);
    let n = dataset.len();
    // Wide enough for any number of shards.
    let bound = |index: usize, count: usize| ((index as u128) * (n as u128) / (count as u128)) as usize;
    let part = match options.shard {
        None => 0..n,
        Some((index, count)) if index < count => bound(index, count)..bound(index + 1, count),
        Some((index, count)) => {
            let what = format!("the shard is {index} of {count}; 0 to one less than their number is needed");
            return Err(CollectError::Data { what });
        }
    };
    let weights = if options.exclude_zero_weights { dataset.weights() } else { None };
    if let Some(weights) = weights.filter(|weights| weights.len() != n) {
        let what = format!("the data set has {} weights for {n} samples; one for each is needed", weights.len());
        return Err(CollectError::Data { what });
    }
    let counting = |weights: &[f32]| part.clone().filter(|row| weights[*row] != 0.0).collect::<Vec<_>>();
    let rows = weights.map(counting);
    if rows.as_ref().map_or(part.len(), Vec::len) == 0 {
        let what = format!("of the samples {part:?} none has a weight above 0; at least one is needed");
        return Err(CollectError::Data { what });
    }
    match rows {
        None => Ok(loader.stretch(part)),
        Some(rows) => loader.samples(rows),
    }
}

/// Batches from anywhere: a data loader, a channel, a generator.
pub struct BatchSource<'a> {
    /// The batches, in order; the first sample of all has number 0. The last may be smaller than the others.
    pub batches: &'a mut dyn Iterator<Item = Result<Batch, CollectError>>,
    /// The table whose rows the samples are, all of them and in its order, with an absolute URL, if there is one.
    pub table: Option<&'a LineageInput>,
    /// How many samples there will be, for progress, if that is known.
    pub n_samples: Option<usize>,
}

impl std::fmt::Debug for BatchSource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchSource")
            .field("table", &self.table)
            .field("n_samples", &self.n_samples)
            .finish_non_exhaustive()
    }
}

/// As [`collect_metrics`], of batches that an iterator gives instead of a data set's; which samples there are and how
/// they are read is the iterator's business, whatever the options say.
///
/// # Errors
/// As [`collect_metrics`]; no batch at all.
pub fn collect_batches(
    sink: &dyn MetricsSink,
    source: BatchSource<'_>,
    collectors: &mut [&mut dyn MetricsCollector],
    predictor: &Predictor<'_>,
    options: &CollectOptions,
    progress: &Progress,
) -> Result<CollectReport, CollectError> {
    let mut next = 0;
    let mut batches = source.batches.map(|batch| {
        let batch = batch?;
        let first = next;
        next += (batch.inputs.n_samples() + batch.skipped.len()) as i64;
        Ok(((first..next).collect(), batch))
    });
    let source = Numbered { batches: &mut batches, table: source.table, n_samples: source.n_samples };
    collect(sink, source, collectors, predictor, &options.of_given_samples(), progress)
}

/// Batches with the numbers of their samples.
struct Numbered<'a> {
    batches: &'a mut dyn Iterator<Item = Result<(Vec<i64>, Batch), CollectError>>,
    table: Option<&'a LineageInput>,
    n_samples: Option<usize>,
}

fn collect(
    sink: &dyn MetricsSink,
    source: Numbered<'_>,
    collectors: &mut [&mut dyn MetricsCollector],
    predictor: &Predictor<'_>,
    options: &CollectOptions,
    progress: &Progress,
) -> Result<CollectReport, CollectError> {
    let name = options.table_name();
    let task = progress.task(&format!("collect {name}"), source.n_samples.unwrap_or(0) as u64);
    let table = MetricsTable {
        name,
        foreign_table: source.table.map(|table| table.url.clone()),
        constants: options.constants.clone(),
        lineage: lineage(source.table, collectors, predictor, options),
    };
    let mut tally = Tally::default();
    let device = Cell::new(Device::Cpu);
    let n_seen = Cell::new(0_usize);
    let mut skipped = Vec::new();
    let mut make_rows = |schema: Option<&SchemaRef>| -> Result<Option<RecordBatch>, CollectError> {
        let (ids, batch) = loop {
            let Some(batch) = source.batches.next() else { return Ok(None) };
            let (mut ids, batch) = batch?;
            take_out(&mut ids, &batch.skipped, &mut skipped);
            if !ids.is_empty() {
                break (ids, batch);
            }
        };
        let n = ids.len();
        if batch.inputs.n_samples() != n {
            let what = format!("a batch has {} samples where {n} were asked for", batch.inputs.n_samples());
            return Err(CollectError::Data { what });
        }
        let output = predictor.predict(&batch.inputs)?;
        // Where the model ran: batches may come from memory and be moved by the predictor.
        device.set(output.forward.device());
        let refused = |error: ConstantError| CollectError::Data { what: error.to_string() };
        let foreign_table = source.table.map(|table| &table.url);
        let mut columns = key_columns(&ids, foreign_table, &options.constants).map_err(refused)?;
        for collector in &mut *collectors {
            columns.extend(collector.collect(&batch, &output)?);
        }
        check_lengths(&columns, n)?;
        tally.mark_not_finite(&ids, &mut columns);
        let rows = assemble(columns, schema)?;
        aggregate(&rows, &mut tally.aggregates);
        n_seen.set(n_seen.get() + n);
        task.advance(n as u64)?;
        Ok(Some(rows))
    };
    // A panic in a user's data set or collector must end as an error: if it dropped the channel, the rows
    // until then would look like the whole table.
    let mut next_rows = |schema: Option<&SchemaRef>| {
        let start = n_seen.get();
        catch_panic(|| make_rows(schema)).unwrap_or_else(|text| {
            Err(CollectError::Data { what: format!("collecting after {start} samples panicked: {text}") })
        })
    };
    // The first batch tells the columns.
    let first = next_rows(None)?.ok_or(CollectError::Empty)?;
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
        let mut batches = std::iter::from_fn(|| next_rows(Some(&schema)).transpose());
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
    let report = CollectReport { table, means: tally.means(&options.constants), skipped, not_finite: tally.not_finite };
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

/// Moves the ids at `places`, ascending, from `ids` to `taken`.
fn take_out(ids: &mut Vec<i64>, places: &[usize], taken: &mut Vec<i64>) {
    let mut place = 0;
    ids.retain(|&id| {
        let is_taken = places.binary_search(&place).is_ok();
        place += 1;
        if is_taken {
            taken.push(id);
        }
        !is_taken
    });
}

fn lineage(
    table: Option<&LineageInput>,
    collectors: &[&mut dyn MetricsCollector],
    predictor: &Predictor<'_>,
    options: &CollectOptions,
) -> Lineage {
    let collectors: Vec<Value> = collectors.iter().map(|collector| collector.describe()).collect();
    let mut operation = Operation::new("collect", 1)
        .with("layers", predictor.layers())
        .with("collectors", collectors)
        .with("constants", options.constants.clone());
    if let Some((index, count)) = options.shard {
        operation = operation.with("shard", vec![index, count]);
    }
    if options.exclude_zero_weights {
        operation = operation.with("exclude_zero_weights", true);
    }
    let mut lineage = Lineage::new(PRODUCER, operation);
    lineage.inputs.extend(table.cloned());
    lineage
}

/// Refuses columns of another length than the batch.
fn check_lengths(columns: &[Column], n: usize) -> Result<(), CollectError> {
    match columns.iter().find(|column| column.values.len() != n) {
        None => Ok(()),
        Some(column) => {
            let what = format!("column {:?} has {} values for {n} samples", column.field.name(), column.values.len());
            Err(CollectError::Data { what })
        }
    }
}

/// The columns, of one length, as a batch of `schema`, or of their own.
fn assemble(columns: Vec<Column>, schema: Option<&SchemaRef>) -> Result<RecordBatch, CollectError> {
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
    aggregates: BTreeMap<String, Aggregate>,
    not_finite: BTreeMap<String, (usize, Vec<i64>)>,
}

impl Tally {
    /// Adds the column that marks rows with NaN or infinity, if there are embeddings.
    fn mark_not_finite(&mut self, ids: &[i64], columns: &mut Vec<Column>) {
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
                        first.push(ids[row]);
                    }
                }
            }
        }
        let field = Field::new("embeddings_finite", DataType::Boolean, true).with_role(NumberRole::Finite);
        columns.push(Column { field, values: Arc::new(BooleanArray::from(finite)) });
    }

    fn means(&self, constants: &Map<String, Value>) -> BTreeMap<String, f64> {
        let measured = self.aggregates.iter().filter(|(name, _)| !constants.contains_key(*name));
        measured.map(|(name, sums)| (name.clone(), sums.mean())).collect()
    }
}
