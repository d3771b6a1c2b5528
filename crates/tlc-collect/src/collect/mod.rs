//! Runs a model over a data set and streams what collectors make of it into one metrics table.
//!
//! Here is what is called, by where batches come from: a data set, of which the options choose samples (`samples.rs`), a
//! loader, or anything else. Their numbered batches become rows (`stream.rs`), which another thread writes (`writer.rs`).

mod columns;
mod options;
mod samples;
mod stream;
mod tally;
mod writer;

use std::collections::BTreeMap;

use tlc_core::{LineageInput, MetricsSink, Progress, TableInfo};

pub use self::options::CollectOptions;
use self::samples::chosen;
use self::stream::{Numbered, collect};
use crate::{Batch, CollectError, DataLoader, Dataset, LoadedBatch, MetricsCollector, Predictor};

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
