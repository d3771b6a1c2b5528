//! From numbered batches to a table: the model runs, collectors make columns of it, and these are written.

use std::cell::Cell;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use serde_json::Value;
use tch::Device;
use tlc_core::{
    ConstantError, Lineage, LineageInput, MetricsSink, MetricsTable, Operation, Progress, aggregate, key_columns,
};

use super::columns::{assemble, check_lengths};
use super::tally::Tally;
use super::writer::write;
use super::{CollectOptions, CollectReport};
use crate::panics::catch_panic;
use crate::{Batch, CollectError, MetricsCollector, Predictor};

const PRODUCER: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Batches with the numbers of their samples.
pub(super) struct Numbered<'a> {
    pub(super) batches: &'a mut dyn Iterator<Item = Result<(Vec<i64>, Batch), CollectError>>,
    pub(super) table: Option<&'a LineageInput>,
    pub(super) n_samples: Option<usize>,
}

/// Writes one table of all batches of `source`.
pub(super) fn collect(
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
    let table = write(sink, table, first, device.get(), || next_rows(Some(&schema)))?;
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
