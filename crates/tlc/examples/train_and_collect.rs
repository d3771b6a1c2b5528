//! Trains a small network in Rust, collects a layer's activations after every epoch, and shows how they move.
//!
//! `cargo run -p tlc --features collect,plot --example train_and_collect -- /usr/share/datasets/fashion-mnist out`

#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::path::PathBuf;

use tch::nn::{self, ModuleT, OptimizerConfig};
use tch::{Device, Tensor};
use tlc::collect::modules::{Flatten, MaxPool2d, ReLU};
use tlc::collect::{
    ClassificationMetrics, CollectError, CollectOptions, DataLoader, EmbeddingsMetricsCollector, FnModel, Model,
    Predictor, Sequential, TensorDataset, collect_metrics,
};
use tlc::core::{Column, Progress};
use tlc::run::{ReduceOptions, RunStatus};
use tlc::view::Scene;
use tlc::view::plot::{scatter_of, write_contact_sheet};

const TRAINED: usize = 4_000;
const EPOCHS: i64 = 3;
const BATCH: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1).map(PathBuf::from);
    let data = args.next().unwrap_or_else(|| "/usr/share/datasets/fashion-mnist".into());
    let out = args.next().unwrap_or_else(|| "tlc-example".into());

    // The data, and the table that says which sample is which.
    let mut images = tlc::datasets::read(&data)?;
    images.train.truncate(TRAINED);
    let (n, classes) = (images.train.len() as i64, images.class_names.clone());
    let pixels = Tensor::f_from_slice(&images.train.pixels)?.f_reshape([n, 1, 28, 28])?;
    let labels = Tensor::f_from_slice(&images.train.labels)?;
    let project = tlc::open_project(&out)?;
    let column = Column::labels("label", images.train.labels.iter().copied(), classes.iter());
    let table = project.table_from_columns("fashion", "train", vec![column])?;
    let dataset = TensorDataset::new(pixels, labels, (0.286, 0.353), Some(table.as_input()))?;

    // The model: layers are registered while it is built.
    tch::manual_seed(42);
    let weights = nn::VarStore::new(Device::Cpu);
    let path = weights.root();
    let model = FnModel::new("Net", |scope| {
        let pool = || MaxPool2d { kernel_size: 2, stride: 2, padding: 0 };
        let features = Sequential::new(scope.scope("features", "Sequential"))
            .add(nn::conv2d(&path / "conv1", 1, 16, 3, Default::default()))
            .add(ReLU {})
            .add(pool())
            .add(nn::conv2d(&path / "conv2", 16, 32, 3, Default::default()))
            .add(ReLU {})
            .add(pool())
            .add(Flatten {});
        let hidden = scope.child("hidden", nn::linear(&path / "hidden", 32 * 5 * 5, 64, Default::default()));
        let head = scope.child("head", nn::linear(&path / "head", 64, 10, Default::default()));
        move |images, train| head.forward_t(&hidden.forward_t(&features.forward_t(images, train), train).relu(), train)
    });
    let mut optimizer = nn::Adam::default().build(&weights, 1e-3)?;

    let loader = DataLoader::new(&dataset, BATCH)?.shuffle(42);
    let run = project.create_run("train-and-collect", Default::default())?;
    let progress = Progress::default();
    for epoch in 0..=EPOCHS {
        if epoch > 0 {
            std::thread::scope(|threads| {
                for loaded in loader.epoch(threads, epoch as u64)? {
                    let batch = loaded?.batch;
                    let logits = model.forward_t(batch.inputs.only()?, true);
                    let labels = batch.labels.expect("the data set has labels");
                    optimizer.backward_step(&logits.cross_entropy_for_logits(&labels));
                }
                Ok::<_, CollectError>(())
            })?;
        }
        let predictor = Predictor::new(&model, ["hidden"])?;
        let mut embeddings = EmbeddingsMetricsCollector::of(&predictor);
        let mut metrics = ClassificationMetrics::new(classes.iter());
        let options = CollectOptions::default().epoch(epoch).split("train");
        collect_metrics(&run, &dataset, &mut [&mut metrics, &mut embeddings], &predictor, &options, &progress)?;
    }
    for metrics in run.epoch_metrics()? {
        println!("epoch {}: {:.3?}", metrics.epoch().unwrap_or_default(), metrics.means());
    }

    // One model, fitted on the last epoch and applied to all, so that points can be followed.
    let pacmap = tlc::create_reducer("pacmap", [("n_components", 2.into())])?;
    run.reduce_embeddings_by_foreign_table_url(&table.url, &ReduceOptions::new([pacmap]), &progress)?;
    // Until then the run is listed as running, since nobody knows whether more is to come.
    run.set_status(RunStatus::Completed)?;

    let scene = Scene::of_run(&project, &run)?;
    let layout = scene.layout(None)?;
    let color = scene.column("label")?;
    let row: Result<Vec<_>, _> =
        layout.tables.iter().map(|&table| scatter_of(&scene, layout, table, Some(color))).collect();
    let picture = out.join("epochs.png");
    write_contact_sheet(&picture, "from epoch to epoch, on the same axes", &[row?])?;
    println!("{}", picture.display());
    Ok(())
}
