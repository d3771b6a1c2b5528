//! What tests of collection share: a sink that keeps what it is given, and data sets.

use std::sync::{Arc, Mutex};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_schema::Schema;
use serde_json::json;
use tch::{Kind, Tensor};
use tlc_collect::{
    Batch, CollectError, CollectOptions, CollectReport, Dataset, MetricsCollector, Predictor, TensorDataset,
    collect_metrics,
};
use tlc_core::{BatchStream, LineageInput, MetricsSink, MetricsTable, Progress, StoreError, TableInfo};

use crate::resnet;

/// Keeps the last table that was written.
#[derive(Default)]
pub(crate) struct Sink {
    pub(crate) written: Mutex<Option<(MetricsTable, Vec<RecordBatch>)>>,
    pub(crate) is_full: bool,
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
        Ok(TableInfo { url, schema: Arc::new(schema.clone()), rows: n_rows, digest: None })
    }
}

pub(crate) fn dataset(n: i64) -> TensorDataset {
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

pub(crate) fn collect(
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

pub(crate) fn ids(batches: &[RecordBatch]) -> Vec<i64> {
    let of_batch = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    batches.iter().flat_map(of_batch).collect()
}

/// Says what a test wants, batch by batch.
pub(crate) struct Scripted<F>(pub(crate) F);

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
