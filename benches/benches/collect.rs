//! What collection adds to the bare forward passes of the same batches.

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use tch::{Device, Kind, Tensor, nn};
use tlc::collect::models::ResNet;
use tlc::collect::{
    CollectOptions, Dataset, EmbeddingsMetricsCollector, MetricsCollector, Model, Predictor, TensorDataset,
    collect_metrics,
};
use tlc::core::{Progress, Url};
use tlc::run::Project;
use tlc::table::LanceStore;

const N: i64 = 10_000;
const BATCH: usize = 500;

fn collection(criterion: &mut Criterion) {
    let weights = nn::VarStore::new(Device::Cpu);
    let model = ResNet::resnet18(&weights.root(), 1, 10);
    let images = Tensor::randint(256, [N, 1, 28, 28], (Kind::Uint8, Device::Cpu));
    let labels = Tensor::zeros([N], (Kind::Int64, Device::Cpu));
    let data = TensorDataset::new(images, labels, (0.5, 0.5), None).expect("fits");
    let folder = tempfile::tempdir().expect("a folder");
    let root = Url::from_path(folder.path()).expect("an absolute path");
    let run =
        Project::new(Arc::new(LanceStore::default()), root).create_run("r", Default::default()).expect("creatable");

    let mut group = criterion.benchmark_group("collect_resnet18_10000_images");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).measurement_time(Duration::from_secs(60));
    group.bench_function("forward_only", |bencher| {
        bencher.iter(|| {
            for start in (0..N as usize).step_by(BATCH) {
                let rows: Vec<usize> = (start..start + BATCH).collect();
                let batch = data.batch(&rows).expect("in range");
                let images = batch.inputs.only().expect("one tensor");
                let output = tch::no_grad(|| model.forward_t(images, false));
                assert_eq!(output.size(), [BATCH as i64, 10]);
            }
        });
    });
    group.bench_function("forward_and_collect_layer_90", |bencher| {
        bencher.iter(|| {
            let predictor = Predictor::new(&model, [90]).expect("known");
            let mut embeddings = EmbeddingsMetricsCollector::new([90]);
            let collectors: &mut [&mut dyn MetricsCollector] = &mut [&mut embeddings];
            let options = CollectOptions { batch_size: BATCH, ..CollectOptions::default() };
            let report = collect_metrics(&run, &data, collectors, &predictor, &options, &Progress::default());
            assert_eq!(report.expect("collected").table.rows, N as u64);
        });
    });
    group.finish();
}

criterion_group!(benches, collection);
criterion_main!(benches);
