//! Metrics tables, and what keeps them from being written.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::Schema;
use serde_json::json;
use tch::{Kind, Tensor, kind::FLOAT_CPU};
use tlc_collect::{
    Batch, BatchSource, ClassificationMetrics, CollectError, CollectOptions, CollectReport, Dataset,
    EmbeddingsMetricsCollector, MetricsCollector, MetricsFn, Predictor, PredictorOutput, Reshape, TensorDataset,
    collect_batches, collect_metrics,
};
use tlc_core::{
    BatchStream, Column, FieldRoles, LineageInput, MetricsSink, MetricsTable, NumberRole, Progress, StoreError,
    TableInfo, embedding_values,
};

use crate::resnet;

/// Keeps the last table that was written.
#[derive(Default)]
pub(crate) struct Sink {
    pub(crate) written: Mutex<Option<(MetricsTable, Vec<RecordBatch>)>>,
    is_full: bool,
}

impl MetricsSink for Sink {
    fn write_metrics(
        &self,
        table: MetricsTable,
        schema: &Schema,
        rows: BatchStream<'_>,
    ) -> Result<TableInfo, StoreError> {
        let url: tlc_core::Url = "memory://m/t.lance".parse()?;
        if self.is_full {
            return Err(StoreError::backend("write", &url, "no space left on device"));
        }
        let batches: Vec<RecordBatch> = rows.collect::<Result<_, _>>()?;
        let n_rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        *self.written.lock().expect("not poisoned") = Some((table, batches));
        Ok(TableInfo { url, schema: std::sync::Arc::new(schema.clone()), rows: n_rows, digest: None })
    }
}

fn dataset(n: i64) -> TensorDataset {
    let images = Tensor::arange(n * 32 * 32, (Kind::Int64, tch::Device::Cpu)).remainder(251).to_kind(Kind::Uint8);
    let labels = Tensor::arange(n, (Kind::Int64, tch::Device::Cpu)).remainder(2);
    let table = LineageInput {
        url: "memory://p/train.lance".parse().expect("a URL"),
        version: 1,
        table_id: None,
        rows: n as u64,
        digest: None,
    };
    TensorDataset::new(images.reshape([n, 1, 32, 32]), labels, (0.5, 0.5), Some(table)).expect("fits")
}

fn collect(
    sink: &Sink,
    dataset: &dyn Dataset,
    collectors: &mut [&mut dyn MetricsCollector],
) -> Result<CollectReport, CollectError> {
    let (_weights, model) = resnet(3);
    let predictor = Predictor::new(&model, [90, 46]).expect("known");
    let options = CollectOptions {
        name: "train".to_owned(),
        batch_size: 7,
        constants: [("epoch".to_owned(), json!(3)), ("split".to_owned(), json!("train"))].into_iter().collect(),
        ..CollectOptions::default()
    };
    collect_metrics(sink, dataset, collectors, &predictor, &options, &Progress::default())
}

#[test]
fn epoch_and_split_name_the_table_and_a_predictors_layers_are_named_once() {
    let (_weights, model) = resnet(3);
    let predictor = Predictor::new(&model, [90, 46]).expect("known");
    let plain = CollectOptions::default;
    for (options, name) in
        [(plain().epoch(3).split("val"), "val-epoch-3"), (plain().epoch(3).name("last"), "last"), (plain(), "metrics")]
    {
        let sink = Sink::default();
        let mut embeddings = EmbeddingsMetricsCollector::of(&predictor);
        let collectors: &mut [&mut dyn MetricsCollector] = &mut [&mut embeddings];
        collect_metrics(&sink, &dataset(3), collectors, &predictor, &options, &Progress::default()).expect("collected");
        let (table, batches) = sink.written.into_inner().expect("not poisoned").expect("written");
        assert_eq!((table.name.as_str(), &table.constants), (name, &options.constants));
        for column in options.constants.keys().map(String::as_str).chain(["embeddings_46", "embeddings_90"]) {
            assert!(batches[0].column_by_name(column).is_some(), "{column}");
        }
    }
}

#[test]
fn every_sample_becomes_one_row() {
    let sink = Sink::default();
    let mut embeddings =
        EmbeddingsMetricsCollector::new([90]).reshape(46, Reshape::named("avg_pool_1_1").expect("known"));
    let mut metrics = ClassificationMetrics::new(["cat", "dog"]);
    let report = collect(&sink, &dataset(20), &mut [&mut metrics, &mut embeddings]).expect("collected");
    assert_eq!(report.table.rows, 20);
    assert!(report.not_finite.is_empty());
    let (table, batches) = sink.written.lock().expect("not poisoned").take().expect("written");
    let rows: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(rows, [7, 7, 6], "the last batch is shorter");
    let names: Vec<String> = batches[0].schema().fields().iter().map(|field| field.name().clone()).collect();
    let expected = [
        "example_id",
        "input_table_id",
        "epoch",
        "split",
        "label",
        "prediction",
        "loss",
        "confidence",
        "entropy",
        "margin",
        "correct",
        "embeddings_46",
        "embeddings_90",
        "embeddings_finite",
    ];
    assert_eq!(names, expected);
    let schema = batches[0].schema();
    let role = |name: &str| schema.field_with_name(name).expect("there").role();
    assert_eq!(role("embeddings_90"), Some(NumberRole::NnEmbedding));
    assert_eq!(role("epoch"), Some(NumberRole::Epoch));
    assert_eq!(
        tlc_core::value_map(schema.field_with_name("input_table_id").expect("there"))[&0],
        "memory://p/train.lance"
    );
    let ids: Vec<i64> =
        batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    assert!(ids.into_iter().eq(0..20));
    assert_eq!(embedding_values(&batches[2], "embeddings_90").expect("vectors").dim(), (6, 512));
    assert_eq!(embedding_values(&batches[2], "embeddings_46").expect("vectors").dim(), (6, 256));
    assert_eq!(table.lineage.inputs[0].rows, 20);
    assert_eq!(table.lineage.operation.args["layers"], json!([90, 46]));
    // True means over samples, not means of batch means.
    let losses: Vec<f32> = batches
        .iter()
        .flat_map(|batch| batch.column_by_name("loss").expect("there").as_primitive::<Float32Type>().values().to_vec())
        .collect();
    let mean = losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / 20.0;
    assert!((report.means["loss"] - mean).abs() < 1e-9);
    let measured: Vec<&str> = report.means.keys().map(String::as_str).collect();
    assert_eq!(measured, ["confidence", "correct", "entropy", "loss", "margin"], "no ids, classes or constants");
}

#[test]
fn metrics_are_those_of_their_definitions() {
    let batch = Batch::new(Tensor::zeros([2, 1], FLOAT_CPU), Some(Tensor::from_slice(&[0_i64, 2])));
    let logits = Tensor::from_slice(&[1.0_f32, 2.0, 0.0, 0.0, 0.0, 5.0]).reshape([2, 3]);
    let output = tlc_collect::PredictorOutput {
        forward: logits,
        hidden_layers: Default::default(),
        metadata: Default::default(),
    };
    let columns = ClassificationMetrics::default().collect(&batch, &output).expect("logits");
    let value = |name: &str, row: usize| {
        let column = columns.iter().find(|column| column.field.name() == name).expect("there");
        f64::from(column.values.as_primitive::<Float32Type>().value(row))
    };
    let total = 1.0_f64.exp() + 2.0_f64.exp() + 1.0;
    assert!((value("loss", 0) - (total.ln() - 1.0)).abs() < 1e-6);
    assert!((value("confidence", 0) - 2.0_f64.exp() / total).abs() < 1e-6);
    assert!((value("margin", 0) - (2.0_f64.exp() - 1.0_f64.exp()) / total).abs() < 1e-6);
    let entropy: f64 = [1.0_f64.exp(), 2.0_f64.exp(), 1.0].iter().map(|x| -x / total * (x / total).ln()).sum();
    assert!((value("entropy", 0) - entropy).abs() < 1e-6);
    let certain = tlc_collect::PredictorOutput {
        forward: Tensor::from_slice(&[0.0_f32, f32::NEG_INFINITY, 1.0, f32::NEG_INFINITY]).reshape([2, 2]),
        hidden_layers: Default::default(),
        metadata: Default::default(),
    };
    let labels = Some(Tensor::from_slice(&[0_i64, 0]));
    let batch_of_certain = Batch::new(Tensor::zeros([2, 1], FLOAT_CPU), labels);
    let columns_of_certain = ClassificationMetrics::default().collect(&batch_of_certain, &certain).expect("logits");
    let entropy = columns_of_certain.iter().find(|column| column.field.name() == "entropy").expect("there");
    assert_eq!(entropy.values.as_primitive::<Float32Type>().values().to_vec(), [0.0, 0.0]);
    let correct = columns.iter().find(|column| column.field.name() == "correct").expect("there");
    assert_eq!(correct.values.as_boolean().iter().collect::<Vec<_>>(), [Some(false), Some(true)]);
    let wrong = Batch::new(batch.inputs, Some(Tensor::from_slice(&[0_i64, 3])));
    let error = ClassificationMetrics::default().collect(&wrong, &output).expect_err("class 3 of 3");
    assert_eq!(error.to_string(), "a label is 3; the model has classes 0 to 2");
}

/// Says what a test wants, batch by batch.
struct Scripted<F>(F);

impl<F: FnMut(usize) -> Tensor> Dataset for Scripted<std::cell::RefCell<F>> {
    fn len(&self) -> usize {
        14
    }

    fn batch(&self, rows: &[usize]) -> Result<Batch, CollectError> {
        Ok(Batch::new((self.0.borrow_mut())(rows[0]), None))
    }

    fn table(&self) -> Option<&LineageInput> {
        None
    }
}

#[test]
fn rows_that_are_not_finite_are_kept_marked_and_reported() {
    let sink = Sink::default();
    let data = Scripted(std::cell::RefCell::new(|start| {
        let images = Tensor::zeros([7, 1, 32, 32], FLOAT_CPU);
        if start == 7 {
            let _ = images.get(2).fill_(f64::NAN);
        }
        images
    }));
    let mut embeddings = EmbeddingsMetricsCollector::new([90]);
    let report = collect(&sink, &data, &mut [&mut embeddings]).expect("collected");
    assert_eq!(report.not_finite["embeddings_90"], (1, vec![9]));
    let (_, batches) = sink.written.lock().expect("not poisoned").take().expect("written");
    let marks = batches[1].column_by_name("embeddings_finite").expect("there").as_boolean().clone();
    assert_eq!(
        marks.iter().map(|mark| mark.expect("no nulls")).collect::<Vec<_>>(),
        [true, true, false, true, true, true, true]
    );
    assert_eq!(marks.null_count(), 0);
}

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

pub(crate) fn ids(batches: &[RecordBatch]) -> Vec<i64> {
    let of_batch = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flat_map(of_batch).collect()
}

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
fn closures_make_columns() {
    let field =
        arrow_schema::Field::new("brightness", arrow_schema::DataType::Float32, true).with_role(NumberRole::Confidence);
    let mut collector = MetricsFn::new("brightness and more", |batch, output| {
        let pixels = batch.inputs.only()?;
        let brightness = pixels.mean_dim([1_i64, 2, 3].as_slice(), false, Kind::Float);
        Ok(vec![
            ("is_bright".to_owned(), brightness.gt(0.0)),
            ("brightness".to_owned(), brightness.to_kind(Kind::Double)),
            ("best".to_owned(), output.forward.argmax(1, false)),
            ("logits".to_owned(), output.forward.shallow_clone()),
        ])
    })
    .field(field);
    let sink = Sink::default();
    let report = collect(&sink, &dataset(20), &mut [&mut collector]).expect("collected");
    let measured: Vec<&str> = report.means.keys().map(String::as_str).collect();
    assert_eq!(measured, ["best", "brightness", "is_bright"], "numbers, whole numbers, booleans");
    let (table, batches) = sink.written.lock().expect("not poisoned").take().expect("written");
    let schema = batches[0].schema();
    assert_eq!(schema.field_with_name("brightness").expect("there").role(), Some(NumberRole::Confidence));
    assert_eq!(embedding_values(&batches[0], "logits").expect("vectors").ncols(), 2);
    let best = batches[0].column_by_name("best").expect("there").as_primitive::<Int64Type>().value(0);
    assert!((0..2).contains(&best));
    assert_eq!(table.lineage.operation.args["collectors"], json!([{ "function": "brightness and more" }]));

    let refused = |make: fn() -> Tensor| {
        let mut collector = MetricsFn::new("mine", move |_, _| Ok(vec![("x".to_owned(), make())]));
        collect(&Sink::default(), &dataset(7), &mut [&mut collector]).expect_err("refused").to_string()
    };
    let error = refused(|| Tensor::zeros([3], FLOAT_CPU));
    assert_eq!(error, "mine made \"x\": it is [3]; (7,) or (7, width) is needed");
    let error = refused(|| Tensor::zeros([7], (Kind::ComplexFloat, tch::Device::Cpu)));
    assert_eq!(error, "mine made \"x\": its type is ComplexFloat; numbers or booleans are needed");
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

#[test]
fn embeddings_can_be_kept_as_float16_and_what_that_cannot_hold_is_marked() {
    let model = tlc_collect::FnModel::new("Scale", |_scope| |input: &Tensor, _train| input * 1.0);
    let values = Tensor::from_slice(&[0.1_f32, -2.0, 70_000.0, 1.0]).reshape([2, 2]);
    let data = TensorDataset::of_inputs(values, None, None).expect("fits");
    let sink = Sink::default();
    let mut embeddings = EmbeddingsMetricsCollector::new([0]).half_precision();
    let predictor = Predictor::new(&model, [0]).expect("known");
    let options = CollectOptions::default();
    let report = collect_metrics(&sink, &data, &mut [&mut embeddings], &predictor, &options, &Progress::default());
    assert_eq!(report.expect("collected").not_finite["embeddings_0"], (1, vec![1]), "70,000 is too much");
    let (table, batches) = sink.written.into_inner().expect("not poisoned").expect("written");
    let found = embedding_values(&batches[0], "embeddings_0").expect("vectors");
    assert!((found[[0, 0]] - 0.1).abs() < 1e-4 && found[[0, 1]] == -2.0, "{found}");
    assert_eq!(table.lineage.operation.args["collectors"][0]["half_precision"], true);
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
