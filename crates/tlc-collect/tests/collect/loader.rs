//! Batches of a data set: which, in which order, by whom read.

use std::collections::HashSet;
use std::sync::Mutex;
use std::thread::ThreadId;

use tch::{Device, Kind, Tensor};
use tlc_collect::{
    Batch, CollectError, CollectOptions, DataLoader, Dataset, EmbeddingsMetricsCollector, FnModel, Predictor,
    TensorDataset, collect_loader,
};
use tlc_core::{LineageInput, Progress};

use crate::sink::{Sink, ids};

/// Samples whose only value is their number.
fn numbers(n: i64) -> TensorDataset {
    TensorDataset::of_inputs(Tensor::arange(n, (Kind::Float, Device::Cpu)).reshape([n, 1]), None, None).expect("fits")
}

/// The same, made by whichever thread asks, some slower than others.
struct Made {
    n: usize,
    fails_at: Option<usize>,
    threads: Mutex<HashSet<ThreadId>>,
    made: Mutex<Vec<usize>>,
}

impl Made {
    fn new(n: usize) -> Self {
        Self { n, fails_at: None, threads: Mutex::default(), made: Mutex::default() }
    }
}

impl Dataset for Made {
    fn len(&self) -> usize {
        self.n
    }

    fn batch(&self, rows: &[usize]) -> Result<Batch, CollectError> {
        self.threads.lock().expect("not poisoned").insert(std::thread::current().id());
        self.made.lock().expect("not poisoned").push(rows[0]);
        if self.fails_at.is_some_and(|sample| rows.contains(&sample)) {
            return Err(CollectError::Data { what: "sample is gone".to_owned() });
        }
        std::thread::sleep(std::time::Duration::from_millis((rows[0] * 7 % 5) as u64));
        let values: Vec<f32> = rows.iter().map(|&row| row as f32).collect();
        Ok(Batch::new(Tensor::from_slice(&values).reshape([-1, 1]), None))
    }

    fn as_sync(&self) -> Option<&(dyn Dataset + Sync)> {
        Some(self)
    }

    fn table(&self) -> Option<&LineageInput> {
        None
    }
}

/// The samples of each batch of an epoch, which are the values in it.
fn epoch(loader: &DataLoader<'_>, epoch: u64) -> Result<Vec<Vec<usize>>, CollectError> {
    std::thread::scope(|threads| {
        let mut batches = Vec::new();
        for loaded in loader.epoch(threads, epoch)? {
            let loaded = loaded?;
            let values: Vec<f32> = Vec::try_from(loaded.batch.inputs.only()?.reshape([-1])).expect("numbers");
            assert!(values.iter().map(|&value| value as usize).eq(loaded.samples.iter().copied()));
            batches.push(loaded.samples);
        }
        Ok(batches)
    })
}

#[test]
fn samples_come_in_order_and_the_last_batch_is_kept_unless_it_is_dropped() {
    let data = numbers(10);
    let loader = DataLoader::new(&data, 4).expect("a size");
    assert_eq!(epoch(&loader, 3).expect("read"), [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
    assert_eq!((loader.n_batches(), loader.n_samples()), (3, 10));
    let dropping = loader.clone().drop_last();
    assert_eq!(epoch(&dropping, 0).expect("read"), [vec![0, 1, 2, 3], vec![4, 5, 6, 7]]);
    assert_eq!((dropping.n_batches(), dropping.n_samples()), (2, 8));
    let all_at_once = DataLoader::new(&data, usize::MAX).expect("a size");
    assert_eq!(epoch(&all_at_once, 0).expect("read"), [(0..10).collect::<Vec<_>>()]);
    assert!(epoch(&all_at_once.drop_last(), 0).expect("read").is_empty());
    let some = loader.samples(vec![7, 2, 2, 9]).expect("there");
    assert_eq!(epoch(&some, 0).expect("read"), [[7, 2, 2, 9]]);
    assert_eq!(
        some.samples(vec![10]).expect_err("refused").to_string(),
        "sample 10 is asked for, and the data set has 10; they are numbered from 0 on"
    );
    assert_eq!(DataLoader::new(&data, 0).expect_err("refused").to_string(), "the batch size is 0; use at least 1");
    assert!(epoch(&DataLoader::new(&Made::new(0), 4).expect("a size"), 0).expect("read").is_empty());
}

#[test]
fn a_seed_shuffles_each_epoch_in_its_own_way_for_any_number_of_threads() {
    let data = Made::new(103);
    let with = |seed: u64, threads: usize, prefetch: usize, number: u64| {
        let loader = DataLoader::new(&data, 8).expect("a size").shuffle(seed).threads(threads).prefetch(prefetch);
        epoch(&loader, number).expect("read")
    };
    let order = with(1, 1, 2, 0);
    let mut sorted = order.concat();
    assert_ne!(sorted[..8], [0, 1, 2, 3, 4, 5, 6, 7]);
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..103), "every sample once");
    for (threads, prefetch) in [(0, 2), (1, 0), (1, 1), (3, 2), (4, 100), (1000, usize::MAX)] {
        assert_eq!(with(1, threads, prefetch, 0), order, "{threads} threads, {prefetch} ahead");
    }
    assert_ne!(with(1, 1, 2, 1), order, "another epoch");
    assert_ne!(with(2, 1, 2, 0), order, "another seed");
    let of_tensors = numbers(103);
    let of_tensors = DataLoader::new(&of_tensors, 8).expect("a size").shuffle(1).threads(4);
    assert_eq!(epoch(&of_tensors, 0).expect("read"), order, "read where they are taken");
}

#[test]
fn threads_read_at_once_and_no_further_ahead_than_they_may() {
    let data = Made::new(64);
    let loader = DataLoader::new(&data, 1).expect("a size").threads(4).prefetch(4);
    std::thread::scope(|threads| {
        let mut batches = loader.epoch(threads, 0).expect("listed");
        batches.by_ref().take(10).for_each(|batch| assert!(batch.is_ok()));
        std::thread::sleep(std::time::Duration::from_millis(100));
        let made = data.made.lock().expect("not poisoned").len();
        // Those that were taken, those that wait, and the one that each thread cannot hand over yet.
        assert!((10..=10 + 4 + 4).contains(&made), "{made}");
    });
    let used = data.threads.lock().expect("not poisoned");
    assert!(used.len() == 4 && !used.contains(&std::thread::current().id()));
}

#[test]
fn the_first_error_is_the_last_batch() {
    for threads in [0, 1, 3] {
        let data = Made { fails_at: Some(9), ..Made::new(20) };
        let loader = DataLoader::new(&data, 2).expect("a size").threads(threads);
        std::thread::scope(|scope| {
            let batches: Vec<_> = loader.epoch(scope, 0).expect("listed").collect();
            let is_read: Vec<bool> = batches.iter().map(Result::is_ok).collect();
            assert_eq!(is_read, [true, true, true, true, false], "{threads} threads");
        });
    }
}

#[test]
fn a_shuffled_loader_can_be_collected_from() {
    let model = FnModel::new("Id", |_scope| |input: &Tensor, _train| input * 1.0);
    let predictor = Predictor::new(&model, [0]).expect("known");
    let data = numbers(10);
    let loader = DataLoader::new(&data, 4).expect("a size").shuffle(5).drop_last();
    let sink = Sink::default();
    let mut embeddings = EmbeddingsMetricsCollector::new([0]);
    let (options, progress) = (CollectOptions::default(), Progress::default());
    let report = collect_loader(&sink, &loader, &mut [&mut embeddings], &predictor, &options, &progress);
    assert_eq!(report.expect("collected").table.rows, 8);
    let (_, batches) = sink.written.into_inner().expect("not poisoned").expect("written");
    let expected: Vec<i64> =
        epoch(&loader, 0).expect("read").concat().into_iter().map(|sample| sample as i64).collect();
    assert_eq!(ids(&batches), expected);
    for batch in &batches {
        let values = tlc_core::embedding_values(batch, "embeddings_0").expect("vectors");
        assert!(
            values.iter().map(|&value| value as i64).eq(ids(std::slice::from_ref(batch))),
            "a row under its number"
        );
    }
}

#[test]
fn more_samples_than_memory_can_list_are_an_error_where_they_must_be_listed() {
    let data = Made::new(1 << 60);
    let loader = DataLoader::new(&data, 2).expect("a size");
    std::thread::scope(|threads| {
        let first = loader.epoch(threads, 0).expect("in order").next().expect("a batch").expect("read");
        assert_eq!(first.samples, [0, 1], "in order nothing is listed");
        let error = loader.clone().shuffle(1).epoch(threads, 0).expect_err("refused");
        assert!(error.to_string().starts_with("cannot list 1152921504606846976 samples: that takes 9.2 EB"), "{error}");
    });
}
