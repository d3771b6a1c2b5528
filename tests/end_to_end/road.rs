//! The crates together, as a downstream trainer composes them.

use std::sync::Arc;

use custom_reducer as _;
use tch::{Device, Kind, Tensor, nn};
use tlc::collect::models::ResNet;
use tlc::collect::{
    Batch, CollectError, CollectOptions, Dataset, EmbeddingsMetricsCollector, MetricsCollector, Predictor,
    TensorDataset, collect_metrics,
};
use tlc::core::{LineageInput, Progress, Scan, Url, decode_model, embedding_values};
use tlc::run::{Project, ReduceOptions, Run};
use tlc::table::{LanceStore, MemoryStore};

const N: i64 = 60;

fn dataset(project: &Project, name: &str) -> TensorDataset {
    tch::manual_seed(5);
    let images = Tensor::randint(256, [N, 1, 32, 32], (Kind::Uint8, Device::Cpu));
    let labels = Tensor::arange(N, (Kind::Int64, Device::Cpu)).remainder(3);
    let url = project.root().join(&format!("datasets/{name}.lance")).expect("a plain path");
    let table = LineageInput { url, version: 1, table_id: None, rows: N as u64, digest: None };
    TensorDataset::new(images, labels, (0.5, 0.5), Some(table)).expect("fits")
}

fn collect(project: &Project, run: &Run, name: &str, epoch: i64) {
    tch::manual_seed(epoch);
    let weights = nn::VarStore::new(Device::Cpu);
    let model = ResNet::resnet18(&weights.root(), 1, 3);
    let predictor = Predictor::new(&model, ["global_pool"]).expect("known");
    let mut embeddings = EmbeddingsMetricsCollector::new([90]);
    let collectors: &mut [&mut dyn MetricsCollector] = &mut [&mut embeddings];
    let options = CollectOptions {
        name: name.to_owned(),
        constants: [("epoch".to_owned(), epoch.into())].into_iter().collect(),
        ..CollectOptions::default()
    };
    let data = dataset(project, name);
    collect_metrics(run, &data, collectors, &predictor, &options, &Progress::default()).expect("collected");
}

fn check_road(project: &Project, method: &str) {
    let run = project.create_run(method, Default::default()).expect("creatable");
    for epoch in 0..2 {
        collect(project, &run, "train", epoch);
        collect(project, &run, "val", epoch);
    }
    let reducer = tlc::create_reducer(method, [("n_components", 3.into())]).expect("linked");
    let train = project.root().join("datasets/train.lance").expect("a plain path");
    let mapping = run
        .reduce_embeddings_by_foreign_table_url(&train, &ReduceOptions::new([reducer]), &Progress::default())
        .expect("reducible");
    assert_eq!(mapping.len(), 4);
    let column = format!("embeddings_90_{method}");
    for (source, reduced) in mapping.iter() {
        assert!(project.store().info(source).is_err(), "the source is gone");
        let batch =
            project.store().scan(reduced, Scan::default()).expect("there").next().expect("rows").expect("readable");
        assert_eq!(embedding_values(&batch, &column).expect("vectors").dim(), (N as usize, 3));
    }
    // The model that was saved still answers.
    let (_, any) = mapping.iter().next().expect("four tables");
    let model = &project.store().info(any).expect("there").lineage().expect("has lineage").models[&column];
    let folder = model.url.resolve(project.root()).expect("inside");
    let read = |name: &str| project.store().read_object(&folder.join(name).expect("a name")).expect("saved").0;
    let fitted = decode_model(&read("model.json"), |name| Ok(read(name))).expect("loadable");
    assert_eq!((fitted.n_features(), fitted.layout().dim()), (512, (N as usize, 3)));
}

#[test]
fn every_method_goes_the_whole_road_on_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Url::from_path(folder.path()).expect("an absolute path");
    let project = Project::new(Arc::new(LanceStore::default()), root);
    for method in ["pacmap", "umap", "pca", "random_projection"] {
        check_road(&project, method);
    }
}

#[test]
fn the_road_needs_no_disk() {
    let project = Project::new(Arc::new(MemoryStore::default()), "memory://t/p".parse().expect("a URL"));
    check_road(&project, "pacmap");
}

#[test]
fn a_moved_project_still_knows_its_tables() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| {
        let root = Url::from_path(&folder.path().join(name)).expect("an absolute path");
        Project::new(Arc::new(LanceStore::default()), root)
    };
    let project = at("old");
    let run = project.create_run("r", Default::default()).expect("creatable");
    collect(&project, &run, "train", 0);
    std::fs::rename(folder.path().join("old"), folder.path().join("new")).expect("movable");
    let moved = at("new");
    let run = moved.open_run("r").expect("there");
    let pca = tlc::create_reducer("pca", []).expect("linked");
    let mapping =
        run.reduce_embeddings_per_dataset(&ReduceOptions::new([pca]), &Progress::default()).expect("reducible");
    assert_eq!(mapping.len(), 1);
    let foreign = run.metrics().expect("readable")[0].foreign_table.clone().expect("known");
    assert_eq!(foreign, moved.root().join("datasets/train.lance").expect("a plain path"));
}

/// A hundred images, of which those from `fails_at` on are of another width, and one is NaN.
struct Failing {
    fails_at: usize,
    table: LineageInput,
}

impl Dataset for Failing {
    fn len(&self) -> usize {
        100
    }

    fn batch(&self, rows: &[usize]) -> Result<Batch, CollectError> {
        let channels = if rows.iter().any(|&row| row >= self.fails_at) { 2 } else { 1 };
        let images = Tensor::ones([rows.len() as i64, channels, 32, 32], (Kind::Float, Device::Cpu));
        if let Some(place) = rows.iter().position(|&row| row == 3) {
            let _ = images.get(place as i64).fill_(f64::NAN);
        }
        Ok(Batch::new(images, None))
    }

    fn table(&self) -> Option<&LineageInput> {
        Some(&self.table)
    }
}

#[test]
fn a_batch_that_fails_leaves_the_runs_other_tables_as_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Url::from_path(folder.path()).expect("an absolute path");
    let project = Project::new(Arc::new(LanceStore::default()), root);
    let run = project.create_run("r", Default::default()).expect("creatable");
    collect(&project, &run, "train", 0);
    collect(&project, &run, "val", 0);
    let before = run.metrics().expect("readable");

    let weights = nn::VarStore::new(Device::Cpu);
    let model = ResNet::resnet18(&weights.root(), 1, 3);
    let predictor = Predictor::new(&model, ["global_pool"]).expect("known");
    let table = dataset(&project, "train").table().expect("has one").clone();
    let collect_until = |fails_at: usize| {
        let mut embeddings = EmbeddingsMetricsCollector::new([90]);
        let collectors: &mut [&mut dyn MetricsCollector] = &mut [&mut embeddings];
        let options = CollectOptions { name: "bad".to_owned(), batch_size: 10, ..CollectOptions::default() };
        let data = Failing { fails_at, table: table.clone() };
        collect_metrics(&run, &data, collectors, &predictor, &options, &Progress::default())
    };
    // At once, and after rows that were fine.
    for fails_at in [0, 70] {
        let error = collect_until(fails_at).expect_err("two channels for a model of one");
        assert!(error.to_string().contains("inputs of shape [10, 2, 32, 32]"), "{error}");
        assert_eq!(run.metrics().expect("readable"), before, "the record knows nothing of it");
        let tables = project.store().list_tables(&run.url().join("metrics").expect("a name")).expect("listable");
        assert_eq!(tables.len(), 2, "and nothing is left on disk: {tables:?}");
    }
    for entry in &before {
        project.store().verify(&entry.url, &Progress::default()).expect("to the bit what was written");
    }
    // NaN is no failure: the row is kept and marked, and the run goes on.
    let report = collect_until(100).expect("collected");
    assert_eq!((report.table.rows, &report.not_finite["embeddings_90"]), (100, &(1, vec![3])));
    assert_eq!(run.metrics().expect("readable")[..2], before);
    let pca = tlc::create_reducer("pca", []).expect("linked");
    let mapping =
        run.reduce_embeddings_per_dataset(&ReduceOptions::new([pca]), &Progress::default()).expect("reducible");
    assert_eq!(mapping.len(), 3);
}

#[test]
fn all_plugins_are_linked_and_unique() {
    tlc::core::check_plugins().expect("tags are unique");
    let tags: Vec<&str> = tlc::core::plugins().iter().map(|plugin| plugin.tag).collect();
    let expected = [
        "localmap/1",
        "pacmap/1",
        "pca/1",
        "random_projection/1",
        "umap/1",
        "lance/1",
        "memory/1",
        "avg_pool/1",
        "cls_token/1",
        "flatten/1",
        "max_pool/1",
        "mean/1",
        "mean_tokens/1",
    ];
    assert_eq!(tags, expected);
}
