//! Collects embeddings of a folder of pictures from a model that Python exported, and draws them.
//!
//! `python examples/export/export.py` makes such files of timm's models.
//!
//! `cargo run -p tlc --features collect,plot --example exported_model -- resnet18.pt photos/ out`

#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::path::PathBuf;

use tlc::collect::{
    CollectOptions, EmbeddingsMetricsCollector, Labels, MetricsCollector, Predictor, TorchScriptModel, collect_metrics,
};
use tlc::core::{Column, Progress};
use tlc::datasets::{ImageFolder, Preparation};
use tlc::run::{ReduceOptions, RunStatus};
use tlc::view::Scene;
use tlc::view::plot::scatter_of;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<PathBuf> = std::env::args().skip(1).map(PathBuf::from).collect();
    let [model, photos, out] = args.as_slice() else {
        return Err("give a TorchScript file, a folder of pictures and a folder to write into".into());
    };
    let project = tlc::open_project(out)?;

    let preparation = Preparation::named("imagenet", 224).expect("one of the usual ones");
    let (pictures, skipped) = ImageFolder::read(photos, preparation)?;
    println!("{} pictures, {} other files", pictures.files().len(), skipped.len());
    // Absolute: whoever looks at the table later may be elsewhere.
    let files: std::io::Result<Vec<String>> =
        pictures.files().iter().map(|file| Ok(std::path::absolute(file)?.display().to_string())).collect();
    let table = project.table_from_columns("photos", "all", vec![Column::image_paths("file", files?)?])?;
    let mut labels = Labels::new(pictures.class_names());
    let has_labels = pictures.labels().is_some();
    let pictures = pictures.with_table(table.as_input());

    let model = TorchScriptModel::load(model)?;
    let predictor = Predictor::new(&model, ["global_pool"])?;
    let mut embeddings = EmbeddingsMetricsCollector::of(&predictor);
    let mut collectors: Vec<&mut dyn MetricsCollector> = vec![&mut embeddings];
    if has_labels {
        collectors.push(&mut labels);
    }
    let run = project.create_run("exported", Default::default())?;
    let options = CollectOptions { batch_size: 32, ..CollectOptions::default() };
    collect_metrics(&run, &pictures, &mut collectors, &predictor, &options, &Progress::default())?;

    let umap = tlc::create_reducer("umap", [("n_components", 2.into())])?;
    run.reduce_embeddings_per_dataset(&ReduceOptions::new([umap]), &Progress::default())?;
    run.set_status(RunStatus::Completed)?;

    let scene = Scene::of_run(&project, &run)?;
    let plot = scatter_of(&scene, scene.layout(None)?, 0, scene.column("label").ok())?;
    plot.write_png(&out.join("photos.png"))?;
    println!("{}", out.join("photos.png").display());
    Ok(())
}
