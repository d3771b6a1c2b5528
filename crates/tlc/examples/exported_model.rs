//! Collects embeddings of a folder of pictures from a model that Python exported, and draws them.
//!
//! `python examples/export/export.py` makes such files of timm's models.
//!
//! `cargo run -p tlc --features collect,plot --example exported_model -- resnet18.pt photos/ out`

#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use tlc::collect::{
    CollectOptions, EmbeddingsMetricsCollector, Labels, MetricsCollector, Predictor, TorchScriptModel, collect_metrics,
};
use tlc::core::{FieldRoles, Lineage, NumberRole, Operation, Progress, Url, digest};
use tlc::datasets::{ImageFolder, Preparation};
use tlc::run::{Project, ReduceOptions};
use tlc::table::LanceStore;
use tlc::view::Scene;
use tlc::view::plot::scatter_of;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<PathBuf> = std::env::args().skip(1).map(PathBuf::from).collect();
    let [model, photos, out] = args.as_slice() else {
        return Err("give a TorchScript file, a folder of pictures and a folder to write into".into());
    };
    let out = std::path::absolute(out)?;
    let project = Project::new(Arc::new(LanceStore::default()), Url::from_path(&out)?);

    let preparation = Preparation::named("imagenet", 224).expect("one of the usual ones");
    let (pictures, skipped) = ImageFolder::read(photos, preparation)?;
    println!("{} pictures, {} other files", pictures.files().len(), skipped.len());
    let files = pictures.files().iter().map(|file| Some(file.display().to_string()));
    let schema = Schema::new(vec![Field::new("file", DataType::Utf8, true).with_role(NumberRole::Image)]);
    let rows = RecordBatch::try_new(Arc::new(schema.clone()), vec![Arc::new(StringArray::from_iter(files))])?;
    // What the rows are is part of what made them: other pictures in the same folder make another table.
    let import = Operation::new("import", 1)
        .with("folder", photos.display().to_string())
        .with(Operation::CONTENT, digest::of_batch(&rows)?);
    let lineage = Lineage::new("example/1", import);
    let table = project.create_table("photos", "all", &schema, &lineage, Box::new([Ok(rows)].into_iter()))?;
    let mut labels = Labels::new(pictures.class_names());
    let has_labels = pictures.labels().is_some();
    let pictures = pictures.with_table(table.as_input());

    let model = TorchScriptModel::load(model)?;
    let predictor = Predictor::new(&model, ["global_pool"])?;
    let mut embeddings = EmbeddingsMetricsCollector::new(predictor.layers());
    let mut collectors: Vec<&mut dyn MetricsCollector> = vec![&mut embeddings];
    if has_labels {
        collectors.push(&mut labels);
    }
    let run = project.create_run("exported", Default::default())?;
    let options = CollectOptions { batch_size: 32, ..CollectOptions::default() };
    collect_metrics(&run, &pictures, &mut collectors, &predictor, &options, &Progress::default())?;

    let umap = tlc::create_reducer("umap", [("n_components", 2.into())])?;
    run.reduce_embeddings_per_dataset(&ReduceOptions::new([umap]), &Progress::default())?;

    let scene = Scene::of_run(&project, &run)?;
    let plot = scatter_of(&scene, scene.layout(None)?, 0, scene.column("label").ok())?;
    plot.write_png(&out.join("photos.png"))?;
    println!("{}", out.join("photos.png").display());
    Ok(())
}
