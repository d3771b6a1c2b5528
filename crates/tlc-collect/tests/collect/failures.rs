//! What keeps a metrics table from being written, and how much memory its rows may take.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow_schema::Schema;
use serde_json::json;
use tch::{Kind, Tensor, kind::FLOAT_CPU};
use tlc_collect::{
    Batch, ClassificationMetrics, CollectError, CollectOptions, CollectReport, Dataset, EmbeddingsMetricsCollector,
    MetricsCollector, Predictor, PredictorOutput, Reshape, TensorDataset, collect_metrics,
};
use tlc_core::{
    BatchStream, Column, MetricsSink, MetricsTable, NumberRole, Progress, StoreError, TableInfo, embedding_values,
};

use crate::resnet;
use crate::sink::{Scripted, Sink, collect, dataset};

#[test]
fn what_goes_wrong_is_said_and_no_table_is_left() {
    let check = |sink: Sink, data: &dyn Dataset, collectors: &mut [&mut dyn MetricsCollector], expected: &str| {
        let error = collect(&sink, data, collectors).expect_err("fails");
        assert_eq!(error.to_string(), expected);
        assert!(sink.written.lock().expect("not poisoned").is_none());
    };
    let mut flat = EmbeddingsMetricsCollector::new([]).reshape(46, Reshape::named("flatten").expect("known"));
    let growing = Scripted(std::cell::RefCell::new(|start| {
        let side = if start == 0 { 32 } else { 64 };
        Tensor::zeros([7, 1, side, side], FLOAT_CPU)
    }));
    check(
        Sink::default(),
        &growing,
        &mut [&mut flat],
        "column \"embeddings_46\" is 4096 wide in this batch and was 1024 before; inputs of different sizes need a \
         strategy of fixed width, such as mean or avg_pool_2_2",
    );
    check(
        Sink::default(),
        &dataset(0),
        &mut [&mut EmbeddingsMetricsCollector::new([90])],
        "the data set is empty; at least one sample is needed",
    );
    check(
        Sink::default(),
        &dataset(3),
        &mut [&mut EmbeddingsMetricsCollector::new([12])],
        "layer 12 is not among the predictor's layers [46, 90]",
    );
    let full = Sink { is_full: true, ..Sink::default() };
    check(full, &dataset(30), &mut [&mut EmbeddingsMetricsCollector::new([90])], "cannot write memory://m/t.lance");
}

#[test]
fn batches_that_do_not_fit_are_refused_and_no_table_is_left() {
    let check = |data: &dyn Dataset, collectors: &mut [&mut dyn MetricsCollector], expected: &str| {
        let sink = Sink::default();
        assert_eq!(collect(&sink, data, collectors).expect_err("refused").to_string(), expected);
        assert!(sink.written.lock().expect("not poisoned").is_none(), "half a table is no table");
    };
    // The second batch has more, or fewer, rows than there are ids.
    for (n, expected) in
        [(8, "a batch has 8 samples where 7 were asked for"), (6, "a batch has 6 samples where 7 were asked for")]
    {
        let data = Scripted(std::cell::RefCell::new(move |start| {
            Tensor::zeros([if start == 0 { 7 } else { n }, 1, 32, 32], FLOAT_CPU)
        }));
        check(&data, &mut [&mut EmbeddingsMetricsCollector::new([90])], expected);
    }
    for (label, expected) in
        [(2, "a label is 2; the model has classes 0 to 1"), (-1, "a label is -1; the model has classes 0 to 1")]
    {
        let images = Tensor::zeros([14, 1, 32, 32], FLOAT_CPU);
        let labels = Tensor::zeros([14], (Kind::Int64, tch::Device::Cpu));
        let _ = labels.get(9).fill_(label);
        let data = TensorDataset::of_inputs(images, Some(labels), None).expect("fits");
        let mut embeddings = EmbeddingsMetricsCollector::new([90]);
        check(&data, &mut [&mut embeddings, &mut ClassificationMetrics::default()], expected);
    }
}

#[test]
fn a_panic_in_the_middle_leaves_no_table() {
    let sink = Sink::default();
    let data = Scripted(std::cell::RefCell::new(|start| {
        assert!(start == 0, "the disk with the images is gone");
        Tensor::zeros([7, 1, 32, 32], FLOAT_CPU)
    }));
    let error = collect(&sink, &data, &mut [&mut EmbeddingsMetricsCollector::new([90])]).expect_err("panicked");
    assert!(error.to_string().contains("the disk with the images is gone"), "{error}");
    assert!(sink.written.lock().expect("not poisoned").is_none(), "half a table is no table");
}

#[test]
fn a_wish_to_stop_in_the_middle_leaves_no_table() {
    let (_weights, model) = resnet(3);
    let predictor = Predictor::new(&model, [90]).expect("known");
    let (sink, progress) = (Sink::default(), Progress::default());
    let stop = progress.clone();
    let data = Scripted(std::cell::RefCell::new(move |start| {
        if start > 0 {
            stop.cancel();
        }
        Tensor::zeros([7, 1, 32, 32], FLOAT_CPU)
    }));
    let mut embeddings = EmbeddingsMetricsCollector::new([90]);
    let collectors: &mut [&mut dyn MetricsCollector] = &mut [&mut embeddings];
    let options = CollectOptions { batch_size: 7, ..CollectOptions::default() };
    let error = collect_metrics(&sink, &data, collectors, &predictor, &options, &progress);
    assert!(error.expect_err("stopped").is_cancelled());
    assert!(sink.written.lock().expect("not poisoned").is_none());
}

#[test]
fn a_wish_to_stop_leaves_no_table() {
    let (_weights, model) = resnet(3);
    let predictor = Predictor::new(&model, [90]).expect("known");
    let (sink, progress) = (Sink::default(), Progress::default());
    progress.cancel();
    let mut embeddings = EmbeddingsMetricsCollector::new([90]);
    let collectors: &mut [&mut dyn MetricsCollector] = &mut [&mut embeddings];
    let error = collect_metrics(&sink, &dataset(30), collectors, &predictor, &CollectOptions::default(), &progress);
    assert!(error.expect_err("stopped").is_cancelled());
    assert!(sink.written.lock().expect("not poisoned").is_none());
}

/// 1 MiB of embedding per sample, whose first value is the sample's number, and how much of it is in memory.
#[derive(Default)]
struct Heavy {
    waiting: AtomicUsize,
    most_waiting: AtomicUsize,
    next: AtomicUsize,
    fails_at: Option<usize>,
    is_written: AtomicBool,
}

const MIB_OF_F32: usize = 1 << 18;

impl MetricsCollector for &Heavy {
    fn collect(&mut self, batch: &Batch, _: &PredictorOutput) -> Result<Vec<Column>, CollectError> {
        let n = batch.inputs.n_samples();
        let start = self.next.fetch_add(n, Ordering::SeqCst);
        if self.fails_at.is_some_and(|sample| sample < start + n) {
            return Err(CollectError::Data { what: "sample 150 is bad".to_owned() });
        }
        let mut values = vec![0.0; n * MIB_OF_F32];
        values.chunks_mut(MIB_OF_F32).zip(start..).for_each(|(row, sample)| row[0] = sample as f32);
        let waiting = self.waiting.fetch_add(n, Ordering::SeqCst) + n;
        self.most_waiting.fetch_max(waiting, Ordering::SeqCst);
        Ok(vec![Column::embedding("heavy", MIB_OF_F32, values, NumberRole::NnEmbedding).expect("whole vectors")])
    }

    fn describe(&self) -> serde_json::Value {
        json!("heavy")
    }
}

impl MetricsSink for Heavy {
    fn write_metrics(&self, _: MetricsTable, schema: &Schema, rows: BatchStream<'_>) -> Result<TableInfo, StoreError> {
        let mut sample = 0;
        for batch in rows {
            let batch = batch?;
            for row in embedding_values(&batch, "heavy").expect("vectors").outer_iter() {
                assert_eq!(row[0], sample as f32);
                sample += 1;
            }
            self.waiting.fetch_sub(batch.num_rows(), Ordering::SeqCst);
        }
        self.is_written.store(true, Ordering::SeqCst);
        let url = "memory://m/t.lance".parse()?;
        Ok(TableInfo { url, schema: std::sync::Arc::new(schema.clone()), rows: sample, digest: None })
    }
}

fn collect_heavy(heavy: &Heavy) -> Result<CollectReport, CollectError> {
    let (_weights, model) = resnet(3);
    let predictor = Predictor::new(&model, [90]).expect("known");
    let options = CollectOptions { batch_size: 8, ..CollectOptions::default() };
    let mut collector = heavy;
    collect_metrics(heavy, &dataset(200), &mut [&mut collector], &predictor, &options, &Progress::default())
}

#[test]
fn large_tables_are_written_in_parts_within_bounded_memory() {
    let heavy = Heavy::default();
    let report = collect_heavy(&heavy).expect("collected");
    assert_eq!(report.table.rows, 200);
    // What is held, the batch that filled it, and the four that wait for the writer with the one it has.
    let most = heavy.most_waiting.into_inner();
    assert!((64..=64 + 6 * 8).contains(&most), "{most} MiB");
}

#[test]
fn an_error_after_rows_were_written_leaves_no_table() {
    let heavy = Heavy { fails_at: Some(150), ..Heavy::default() };
    assert_eq!(collect_heavy(&heavy).expect_err("fails").to_string(), "sample 150 is bad");
    assert!(heavy.most_waiting.load(Ordering::SeqCst) < 150, "the first rows had been written");
    assert!(!heavy.is_written.into_inner());
}

/// A model whose output is wide without taking memory: one value that is repeated.
fn collect_wide(side: i64, strategy: Reshape) -> (Result<CollectReport, CollectError>, Sink) {
    let wide = move |_scope: &tlc_collect::Scope| {
        move |input: &Tensor, _train: bool| input.reshape([-1, 1, 1]).expand([input.size()[0], side, side], false)
    };
    let model = tlc_collect::FnModel::new("Wide", wide);
    let data = TensorDataset::of_inputs(Tensor::ones([2, 1], FLOAT_CPU), None, None).expect("fits");
    let sink = Sink::default();
    let mut embeddings = EmbeddingsMetricsCollector::new([]).reshape(0, strategy);
    let predictor = Predictor::new(&model, [0]).expect("known");
    let options = CollectOptions::default();
    let collectors: &mut [&mut dyn MetricsCollector] = &mut [&mut embeddings];
    (collect_metrics(&sink, &data, collectors, &predictor, &options, &Progress::default()), sink)
}

#[test]
fn rows_that_memory_cannot_hold_are_one_error_that_names_the_size() {
    let check = |side: i64, strategy: Reshape, expected: &str| {
        let (report, sink) = collect_wide(side, strategy);
        assert_eq!(report.expect_err("refused").to_string(), expected);
        assert!(sink.written.lock().expect("not poisoned").is_none());
    };
    // More than a process can address, whatever the machine has.
    check(
        1 << 23,
        Reshape::named("flatten").expect("known"),
        "cannot copy the activations of layer 0 to memory, [2, 70368744177664]: that takes 562.9 TB, more memory than \
         can be had; use smaller batches, or a reshape strategy that makes fewer columns, such as mean",
    );
    // Where libtorch asks for it, within a strategy.
    check(
        1 << 23,
        Reshape::custom("sums", |x| (x + 1.0).flatten(1, -1)),
        "cannot reshape layer 0, [2, 8388608, 8388608], by sums: that takes 562.9 TB, more memory than can be had; use \
         smaller batches, or a reshape strategy that makes fewer columns, such as mean",
    );
    let (report, _) = collect_wide(1 << 5, Reshape::named("flatten").expect("known"));
    assert_eq!(report.expect("collected").table.rows, 2);
}
