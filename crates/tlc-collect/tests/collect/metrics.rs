//! Metrics tables: their columns, made by ready collectors and by users' own.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use serde_json::json;
use tch::{Kind, Tensor, kind::FLOAT_CPU};
use tlc_collect::{
    Batch, ClassificationMetrics, CollectOptions, EmbeddingsMetricsCollector, MetricsCollector, MetricsFn, Predictor,
    Reshape, TensorDataset, collect_metrics,
};
use tlc_core::{FieldRoles, NumberRole, Progress, embedding_values};

use crate::resnet;
use crate::sink::{Scripted, Sink, collect, dataset};

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
