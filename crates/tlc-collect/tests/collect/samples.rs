//! Which samples are collected, and where their batches come from.

use std::sync::Mutex;

use arrow_array::RecordBatch;
use tch::{Tensor, kind::FLOAT_CPU};
use tlc_collect::{
    Batch, BatchSource, CollectError, CollectOptions, Dataset, EmbeddingsMetricsCollector, MetricsCollector, Predictor,
    collect_batches, collect_metrics,
};
use tlc_core::{LineageInput, Progress, embedding_values};

use crate::resnet;
use crate::sink::{Sink, collect, dataset, ids};

#[test]
fn samples_of_weight_zero_are_left_out_on_request() {
    let (_weights, model) = resnet(3);
    let predictor = Predictor::new(&model, [90]).expect("known");
    let weighted = |weights: Vec<f32>| dataset(20).with_weights(weights);
    let collected = |data: &dyn Dataset, exclude_zero_weights: bool| {
        let sink = Sink::default();
        let options = CollectOptions { batch_size: 7, exclude_zero_weights, ..CollectOptions::default() };
        let mut embeddings = EmbeddingsMetricsCollector::new([90]);
        let collectors: &mut [&mut dyn MetricsCollector] = &mut [&mut embeddings];
        collect_metrics(&sink, data, collectors, &predictor, &options, &Progress::default())
            .map(|_| sink.written.lock().expect("not poisoned").take().expect("written").1)
    };
    let data = weighted((0..20).map(|i| (i % 3) as f32).collect()).expect("fits");
    let all = collected(&data, false).expect("collected");
    assert!(ids(&all).into_iter().eq(0..20));
    let some = collected(&data, true).expect("collected");
    assert!(ids(&some).into_iter().eq((0..20).filter(|i| i % 3 != 0)));
    let row = |batches: &[RecordBatch], batch: usize, row: usize| {
        embedding_values(&batches[batch], "embeddings_90").expect("vectors").row(row).to_owned()
    };
    // Sample 19: the last of both. Other samples beside it may change the last bits.
    let difference = &row(&all, 2, 5) - &row(&some, 1, 5);
    assert!(difference.iter().all(|x| x.abs() < 1e-5), "the same sample under the same number: {difference}");

    let error = collected(&weighted(vec![0.0; 20]).expect("fits"), true).expect_err("none is left");
    assert_eq!(error.to_string(), "of the samples 0..20 none has a weight above 0; at least one is needed");
    for wrong in [vec![1.0; 19], vec![-1.0; 20], vec![f32::NAN; 20]] {
        let error = weighted(wrong).expect_err("refused").to_string();
        assert!(error.contains("one for each is needed, 0 or more"), "{error}");
    }
}

#[test]
fn shards_are_together_the_whole() {
    let (_weights, model) = resnet(3);
    let predictor = Predictor::new(&model, [90]).expect("known");
    let mut embeddings = EmbeddingsMetricsCollector::new([90]);
    let mut all = Vec::new();
    let mut shard = |index: usize, count: usize| {
        let sink = Sink::default();
        let options = CollectOptions { batch_size: 4, shard: Some((index, count)), ..CollectOptions::default() };
        let collectors: &mut [&mut dyn MetricsCollector] = &mut [&mut embeddings];
        collect_metrics(&sink, &dataset(20), collectors, &predictor, &options, &Progress::default())
            .map(|_| ids(&sink.written.lock().expect("not poisoned").take().expect("written").1))
    };
    for index in 0..3 {
        all.extend(shard(index, 3).expect("collected"));
    }
    assert!(all.into_iter().eq(0..20));
    let error = shard(usize::MAX - 2, usize::MAX).expect_err("nothing falls to it").to_string();
    assert!(error.contains("at least one is needed"), "{error}");
    let error = shard(3, 3).expect_err("refused").to_string();
    assert_eq!(error, "the shard is 3 of 3; 0 to one less than their number is needed");
}

/// Zeros that are made on whichever thread asks, up to a sample that cannot be read.
struct Readable {
    fails_at: usize,
    panics: bool,
    threads: Mutex<Vec<std::thread::ThreadId>>,
}

impl Dataset for Readable {
    fn len(&self) -> usize {
        20
    }

    fn batch(&self, rows: &[usize]) -> Result<Batch, CollectError> {
        self.threads.lock().expect("not poisoned").push(std::thread::current().id());
        if rows.contains(&self.fails_at) {
            assert!(!self.panics, "sample {} is a bomb", self.fails_at);
            return Err(CollectError::Data { what: format!("sample {} is gone", self.fails_at) });
        }
        let images = Tensor::zeros([rows.len() as i64, 1, 32, 32], FLOAT_CPU);
        Ok(Batch::new(images, None))
    }

    fn as_sync(&self) -> Option<&(dyn Dataset + Sync)> {
        Some(self)
    }

    fn table(&self) -> Option<&LineageInput> {
        None
    }
}

#[test]
fn batches_are_read_ahead_by_another_thread_whose_failures_are_said() {
    let run = |fails_at: usize, panics: bool| {
        let (sink, data) = (Sink::default(), Readable { fails_at, panics, threads: Mutex::default() });
        let result = collect(&sink, &data, &mut [&mut EmbeddingsMetricsCollector::new([90])]);
        let threads = data.threads.into_inner().expect("not poisoned");
        (result.map(|report| report.table.rows).map_err(|error| error.to_string()), threads, sink.written.into_inner())
    };
    let (rows, threads, _) = run(usize::MAX, false);
    assert_eq!(rows, Ok(20));
    assert!(threads.iter().all(|&thread| thread != std::thread::current().id() && thread == threads[0]));

    let (error, _, written) = run(15, false);
    assert_eq!(error, Err("sample 15 is gone".to_owned()));
    assert!(written.expect("not poisoned").is_none(), "half a table is no table");
    let (error, _, written) = run(9, true);
    assert_eq!(error, Err("reading samples from 7 on panicked: sample 9 is a bomb".to_owned()));
    assert!(written.expect("not poisoned").is_none(), "half a table is no table");
}

/// Leaves out every sample below 8, and 13.
struct Holes;

impl Dataset for Holes {
    fn len(&self) -> usize {
        20
    }

    fn batch(&self, rows: &[usize]) -> Result<Batch, CollectError> {
        let skipped: Vec<usize> = (0..rows.len()).filter(|&place| rows[place] < 8 || rows[place] == 13).collect();
        let images = Tensor::zeros([(rows.len() - skipped.len()) as i64, 1, 32, 32], FLOAT_CPU);
        Ok(Batch { skipped, ..Batch::new(images, None) })
    }

    fn table(&self) -> Option<&LineageInput> {
        None
    }
}

#[test]
fn samples_that_a_data_set_leaves_out_have_no_row_and_are_reported() {
    let sink = Sink::default();
    let report = collect(&sink, &Holes, &mut [&mut EmbeddingsMetricsCollector::new([90])]).expect("collected");
    assert_eq!(report.skipped, [0, 1, 2, 3, 4, 5, 6, 7, 13]);
    let (_, batches) = sink.written.lock().expect("not poisoned").take().expect("written");
    assert_eq!(ids(&batches), [8, 9, 10, 11, 12, 14, 15, 16, 17, 18, 19]);
}

#[test]
fn batches_come_from_any_iterator() {
    let (_weights, model) = resnet(3);
    let predictor = Predictor::new(&model, [90]).expect("known");
    let data = dataset(20);
    let run = |batches: &mut dyn Iterator<Item = Result<Batch, CollectError>>| {
        let sink = Sink::default();
        let mut embeddings = EmbeddingsMetricsCollector::new([90]);
        let collectors: &mut [&mut dyn MetricsCollector] = &mut [&mut embeddings];
        let source = BatchSource { batches, table: data.table(), n_samples: None };
        let options = CollectOptions::default();
        let report = collect_batches(&sink, source, collectors, &predictor, &options, &Progress::default());
        (report, sink.written.lock().expect("not poisoned").take())
    };
    let rows = [[0_usize, 1, 2].as_slice(), &[3, 4, 5, 6, 7], &[8]];
    let (report, written) = run(&mut rows.iter().map(|rows| data.batch(rows)));
    assert_eq!(report.expect("collected").table.rows, 9);
    let (table, batches) = written.expect("written");
    assert!(ids(&batches).into_iter().eq(0..9), "numbered in the order in which they come");
    assert_eq!(table.lineage.inputs.len(), 1);

    let (report, written) = run(&mut std::iter::empty());
    assert!(matches!(report, Err(CollectError::Empty)) && written.is_none());
    let broken = || Err(CollectError::Data { what: "the loader lost its connection".to_owned() });
    let (report, written) = run(&mut [data.batch(&[0, 1]), broken()].into_iter());
    assert!(report.expect_err("broken").to_string().contains("lost its connection"));
    assert!(written.is_none(), "half a table is no table");
}

#[test]
fn a_data_set_may_say_that_it_is_endless() {
    /// Says that it has more samples than memory can list, and has three.
    struct Endless;

    impl Dataset for Endless {
        fn len(&self) -> usize {
            usize::MAX
        }

        fn batch(&self, rows: &[usize]) -> Result<Batch, CollectError> {
            match rows {
                [0, 1, 2] => Ok(Batch::new(Tensor::zeros([3, 1, 32, 32], FLOAT_CPU), None)),
                _ => Err(CollectError::Data { what: format!("no sample {}", rows[0]) }),
            }
        }

        fn table(&self) -> Option<&LineageInput> {
            None
        }
    }
    let (_weights, model) = resnet(3);
    let predictor = Predictor::new(&model, [90]).expect("known");
    let mut embeddings = EmbeddingsMetricsCollector::new([90]);
    let collectors: &mut [&mut dyn MetricsCollector] = &mut [&mut embeddings];
    let options = CollectOptions { batch_size: 3, prefetch: usize::MAX, ..CollectOptions::default() };
    let sink = Sink::default();
    let report = collect_metrics(&sink, &Endless, collectors, &predictor, &options, &Progress::default());
    assert_eq!(report.expect_err("three samples").to_string(), "no sample 3");
    assert!(sink.written.into_inner().expect("not poisoned").is_none());
}
