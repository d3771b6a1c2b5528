//! Rows on their way to the sink, which writes them in a thread of its own.

use std::sync::mpsc::sync_channel;

use arrow_array::RecordBatch;
use tch::Device;
use tlc_core::{BatchStream, MetricsSink, MetricsTable, StoreError, TableInfo};

use crate::CollectError;

/// Batches on their way to the writer.
const QUEUED_BATCHES: usize = 4;
/// Rows of a model on the CPU wait in memory up to this size and are then written in one go, while the model waits.
/// Written batch by batch beside the model they would take cores from libtorch, whose threads wait for the slowest of
/// them at every operation: a tenth of a second of writing then costs several.
const HELD_BYTES: usize = 64 << 20;

/// Writes `first` and then what `next_rows` gives, until that is nothing; of a model that runs on `device`. After an error
/// no table is left.
pub(super) fn write(
    sink: &dyn MetricsSink,
    table: MetricsTable,
    first: RecordBatch,
    device: Device,
    mut next_rows: impl FnMut() -> Result<Option<RecordBatch>, CollectError>,
) -> Result<TableInfo, CollectError> {
    let schema = first.schema();
    let (sender, receiver) = sync_channel::<Result<RecordBatch, StoreError>>(QUEUED_BATCHES);
    let (produced, written) = std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let rows: BatchStream<'_> = Box::new(receiver.into_iter());
            sink.write_metrics(table, &schema, rows)
        });
        let hold_bytes = if device == Device::Cpu { HELD_BYTES } else { 0 };
        let (mut held, mut held_bytes) = (Vec::new(), 0);
        let mut batches = std::iter::from_fn(|| next_rows().transpose());
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
    let written = written.map_err(|_| CollectError::Data { what: "the table's writer panicked".to_owned() })?;
    Ok(written?)
}
