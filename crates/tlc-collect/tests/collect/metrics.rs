//! Metrics tables, and what keeps them from being written.

use std::sync::Mutex;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::Schema;
use serde_json::json;
use tch::{Kind, Tensor, kind::FLOAT_CPU};
use tlc_collect::{
    Batch, ClassificationMetrics, CollectError, CollectOptions, CollectReport, Dataset, EmbeddingsMetricsCollector,
    MetricsCollector, Predictor, Reshape, TensorDataset, collect_metrics,
};
use tlc_core::{
    BatchStream, FieldRoles, LineageInput, MetricsSink, MetricsTable, NumberRole, Progress, StoreError, TableInfo,
    embedding_values,
};

use crate::resnet;

/// Keeps the last table that was written.
#[derive(Default)]
struct Sink {
    written: Mutex<Option<(MetricsTable, Vec<RecordBatch>)>>,
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
    };
    collect_metrics(sink, dataset, collectors, &predictor, &options, &Progress::default())
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
}

#[test]
fn metrics_are_those_of_their_definitions() {
    let batch = Batch { inputs: Tensor::zeros([2, 1], FLOAT_CPU), labels: Some(Tensor::from_slice(&[0_i64, 2])) };
    let logits = Tensor::from_slice(&[1.0_f32, 2.0, 0.0, 0.0, 0.0, 5.0]).reshape([2, 3]);
    let output = tlc_collect::PredictorOutput { forward: logits, hidden_layers: Default::default() };
    let columns = ClassificationMetrics::default().collect(&batch, &output).expect("logits");
    let value = |name: &str, row: usize| {
        let column = columns.iter().find(|column| column.field.name() == name).expect("there");
        f64::from(column.values.as_primitive::<Float32Type>().value(row))
    };
    let total = 1.0_f64.exp() + 2.0_f64.exp() + 1.0;
    assert!((value("loss", 0) - (total.ln() - 1.0)).abs() < 1e-6);
    assert!((value("confidence", 0) - 2.0_f64.exp() / total).abs() < 1e-6);
    let correct = columns.iter().find(|column| column.field.name() == "correct").expect("there");
    assert_eq!(correct.values.as_boolean().iter().collect::<Vec<_>>(), [Some(false), Some(true)]);
    let wrong = Batch { inputs: batch.inputs, labels: Some(Tensor::from_slice(&[0_i64, 3])) };
    let error = ClassificationMetrics::default().collect(&wrong, &output).expect_err("class 3 of 3");
    assert_eq!(error.to_string(), "a label is 3; the model has classes 0 to 2");
}

/// Says what a test wants, batch by batch.
struct Scripted<F>(F);

impl<F: FnMut(usize) -> Tensor> Dataset for Scripted<std::cell::RefCell<F>> {
    fn len(&self) -> usize {
        14
    }

    fn batch(&self, rows: std::ops::Range<usize>) -> Result<Batch, CollectError> {
        Ok(Batch { inputs: (self.0.borrow_mut())(rows.start), labels: None })
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
