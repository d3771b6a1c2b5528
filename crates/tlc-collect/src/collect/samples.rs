//! Which samples of a data set are collected: all, a shard, those that have a weight.

use super::CollectOptions;
use crate::{CollectError, DataLoader, Dataset};

/// A loader of the samples that the options choose.
pub(super) fn chosen<'a>(dataset: &'a dyn Dataset, options: &CollectOptions) -> Result<DataLoader<'a>, CollectError> {
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
