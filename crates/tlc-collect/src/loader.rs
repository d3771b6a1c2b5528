//! Batches of a data set, in order or shuffled, read ahead by threads.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use tlc_core::rng::Stream;

use crate::memory::reserve;
use crate::panics::catch_panic;
use crate::{Batch, CollectError, Dataset};

/// Reads a data set batch by batch, for training or for [collection](crate::collect_loader).
///
/// By default samples come in their order, another thread reads two batches ahead if the data set
/// [allows it](Dataset::as_sync), and the last batch is as small as what is left. What comes out depends on
/// the data set, the options, the seed and the epoch alone, never on the number of threads.
///
/// ```
/// use tch::{Kind, Tensor};
/// use tlc_collect::{CollectError, DataLoader, TensorDataset};
///
/// let images = Tensor::zeros([10, 3, 8, 8], (Kind::Float, tch::Device::Cpu));
/// let dataset = TensorDataset::of_inputs(images, None, None)?;
/// let loader = DataLoader::new(&dataset, 4)?.shuffle(42);
/// for epoch in 0..3 {
///     std::thread::scope(|threads| {
///         for loaded in loader.epoch(threads, epoch)? {
///             let batch = loaded?.batch;
///             assert!(batch.inputs.n_samples() <= 4);
///         }
///         Ok::<_, CollectError>(())
///     })?;
/// }
/// # Ok::<(), CollectError>(())
/// ```
#[derive(Clone)]
pub struct DataLoader<'a> {
    dataset: &'a dyn Dataset,
    batch_size: usize,
    samples: Samples,
    seed: Option<u64>,
    threads: usize,
    prefetch: usize,
    drops_last: bool,
}

/// Numbers of samples. A stretch takes no memory, however long it is.
#[derive(Debug, Clone)]
enum Samples {
    Stretch(Range<usize>),
    Listed(Arc<Vec<usize>>),
}

impl Samples {
    fn len(&self) -> usize {
        match self {
            Self::Stretch(range) => range.len(),
            Self::Listed(numbers) => numbers.len(),
        }
    }

    fn numbers(&self, places: Range<usize>) -> Vec<usize> {
        match self {
            Self::Stretch(range) => (range.start + places.start..range.start + places.end).collect(),
            Self::Listed(numbers) => numbers[places].to_vec(),
        }
    }

    fn list(&self) -> Result<Vec<usize>, CollectError> {
        let n = self.len();
        let mut numbers = reserve(n, || format!("list {n} samples"))?;
        match self {
            Self::Stretch(range) => numbers.extend(range.clone()),
            Self::Listed(listed) => numbers.extend_from_slice(listed),
        }
        Ok(numbers)
    }
}

impl fmt::Debug for DataLoader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataLoader")
            .field("batch_size", &self.batch_size)
            .field("n_samples", &self.samples.len())
            .field("seed", &self.seed)
            .field("threads", &self.threads)
            .field("prefetch", &self.prefetch)
            .field("drops_last", &self.drops_last)
            .finish_non_exhaustive()
    }
}

/// A batch and what it was made from.
#[derive(Debug)]
pub struct LoadedBatch {
    /// The numbers of the samples that were asked for, which are their `example_id`s; those at the places
    /// [`Batch::skipped`] could not be read and are not in the batch.
    pub samples: Vec<usize>,
    /// The samples.
    pub batch: Batch,
}

impl<'a> DataLoader<'a> {
    /// Reads `batch_size` samples of `dataset` at a time.
    ///
    /// # Errors
    /// A batch size of 0.
    pub fn new(dataset: &'a dyn Dataset, batch_size: usize) -> Result<Self, CollectError> {
        if batch_size == 0 {
            return Err(CollectError::Data { what: "the batch size is 0; use at least 1".to_owned() });
        }
        let samples = Samples::Stretch(0..dataset.len());
        Ok(Self { dataset, batch_size, samples, seed: None, threads: 1, prefetch: 2, drops_last: false })
    }

    /// In random order, another one in each epoch; the same seed and epoch give the same order. Default: in order.
    #[must_use]
    pub fn shuffle(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Only the samples with these numbers, in this order, as for a split or a part of the data. Default: all.
    ///
    /// # Errors
    /// A sample that the data set does not have.
    pub fn samples(mut self, numbers: Vec<usize>) -> Result<Self, CollectError> {
        let n = self.dataset.len();
        if let Some(number) = numbers.iter().find(|&&number| number >= n) {
            let what = format!("sample {number} is asked for, and the data set has {n}; they are numbered from 0 on");
            return Err(CollectError::Data { what });
        }
        self.samples = Samples::Listed(Arc::new(numbers));
        Ok(self)
    }

    /// As [`samples`](Self::samples), those of a stretch of the data set.
    pub(crate) fn stretch(mut self, range: Range<usize>) -> Self {
        self.samples = Samples::Stretch(range);
        self
    }

    /// With another number of threads that read at once, of data sets that [allow it](Dataset::as_sync); others, and 0
    /// threads, are read where batches are taken. Default 1.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// With another number of batches that wait, at most, to be taken, besides the one that each thread is reading;
    /// 0 reads each batch where it is taken. Default 2, and one for each thread where these are more.
    #[must_use]
    pub fn prefetch(mut self, batches: usize) -> Self {
        self.prefetch = batches;
        self
    }

    /// Without a last batch that is smaller than the others. Default: it is kept.
    #[must_use]
    pub fn drop_last(mut self) -> Self {
        self.drops_last = true;
        self
    }

    /// The data set.
    pub fn dataset(&self) -> &'a dyn Dataset {
        self.dataset
    }

    /// How many batches an epoch has.
    pub fn n_batches(&self) -> usize {
        let n = self.samples.len();
        if self.drops_last { n / self.batch_size } else { n.div_ceil(self.batch_size) }
    }

    /// How many samples an epoch has, those that cannot be read among them.
    pub fn n_samples(&self) -> usize {
        let n = self.samples.len();
        if self.drops_last { n - n % self.batch_size } else { n }
    }

    /// The batches of one epoch. Threads that read ahead end with `threads`, earlier if the batches are dropped.
    ///
    /// After the first error there are no more batches. A panic of the data set is an error.
    ///
    /// # Errors
    /// More samples than memory can list, where they are shuffled; more threads than the system has.
    pub fn epoch<'s>(&self, threads: &'s Scope<'s, '_>, epoch: u64) -> Result<LoadedBatches<'s>, CollectError>
    where
        'a: 's,
    {
        let samples = match self.seed {
            None => self.samples.clone(),
            Some(seed) => {
                let mut numbers = self.samples.list()?;
                Stream::new(seed, "training-order").substream(epoch).shuffle(&mut numbers);
                Samples::Listed(Arc::new(numbers))
            }
        };
        let plan = Plan { samples, batch_size: self.batch_size, n_samples: self.n_samples() };
        let n_batches = plan.n_batches();
        let n_threads = self.threads.min(self.prefetch.min(1) * n_batches);
        let shared = if n_threads > 0 { self.dataset.as_sync() } else { None };
        let Some(shared) = shared else {
            return Ok(LoadedBatches { plan, next: 0, source: Source::Here(self.dataset) });
        };
        // Channels keep room for what may wait, so no more of it than there is to wait.
        let waiting = self.prefetch.min(n_batches).div_ceil(n_threads);
        let read = |thread: usize| {
            let (sender, receiver) = sync_channel(waiting);
            let plan = plan.clone();
            let work = move || read_ahead(shared, &plan, (thread..n_batches).step_by(n_threads), &sender);
            // `Scope::spawn` panics where the system gives no more of them.
            let started = std::thread::Builder::new().spawn_scoped(threads, work);
            started.map(|_| receiver).map_err(|error| CollectError::Data {
                what: format!("cannot start thread {thread} of {n_threads} that read ahead ({error}); use fewer"),
            })
        };
        let receivers = (0..n_threads).map(read).collect::<Result<_, _>>()?;
        Ok(LoadedBatches { plan, next: 0, source: Source::Ahead(receivers) })
    }
}

/// Which samples are in which batch.
#[derive(Debug, Clone)]
struct Plan {
    samples: Samples,
    batch_size: usize,
    /// Without those that are dropped.
    n_samples: usize,
}

impl Plan {
    fn n_batches(&self) -> usize {
        self.n_samples.div_ceil(self.batch_size)
    }

    fn read(&self, dataset: &dyn Dataset, batch: usize) -> Result<LoadedBatch, CollectError> {
        let start = batch * self.batch_size;
        let samples = self.samples.numbers(start..self.n_samples.min(start.saturating_add(self.batch_size)));
        // A panic that ended a thread would look like the end of the samples.
        let batch = catch_panic(|| dataset.batch(&samples)).unwrap_or_else(|text| {
            Err(CollectError::Data { what: format!("reading samples from {} on panicked: {text}", samples[0]) })
        });
        Ok(LoadedBatch { batch: batch?, samples })
    }
}

fn read_ahead(
    dataset: &(dyn Dataset + Sync),
    plan: &Plan,
    batches: impl Iterator<Item = usize>,
    sender: &SyncSender<Result<LoadedBatch, CollectError>>,
) {
    for batch in batches {
        let loaded = plan.read(dataset, batch);
        let is_last = loaded.is_err();
        // A failed send means that nobody wants more.
        if sender.send(loaded).is_err() || is_last {
            break;
        }
    }
}

/// The batches of one epoch of a [`DataLoader`].
pub struct LoadedBatches<'s> {
    plan: Plan,
    next: usize,
    source: Source<'s>,
}

enum Source<'s> {
    /// Read where they are taken.
    Here(&'s dyn Dataset),
    /// Read by threads, each of which has every n-th batch.
    Ahead(Vec<Receiver<Result<LoadedBatch, CollectError>>>),
}

impl fmt::Debug for LoadedBatches<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedBatches").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Iterator for LoadedBatches<'_> {
    type Item = Result<LoadedBatch, CollectError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.plan.n_batches() {
            return None;
        }
        let loaded = match &self.source {
            Source::Here(dataset) => self.plan.read(*dataset, self.next),
            Source::Ahead(receivers) => receivers[self.next % receivers.len()].recv().unwrap_or_else(|_| {
                Err(CollectError::Data { what: format!("the thread that reads batch {} is gone", self.next) })
            }),
        };
        self.next = if loaded.is_ok() { self.next + 1 } else { usize::MAX };
        Some(loaded)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.plan.n_batches().saturating_sub(self.next);
        (left.min(1), Some(left))
    }
}
