//! How metrics are collected.

use serde_json::{Map, Value};
use tlc_core::metrics_name;

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
    pub(super) fn of_given_samples(&self) -> Self {
        Self { shard: None, exclude_zero_weights: false, ..self.clone() }
    }
}
