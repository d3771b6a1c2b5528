//! Stored tables that belong together, as a run of several processes and reductions leaves them.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use serde_json::{Map, json};
use tlc_core::{
    Column, FieldRoles, Lineage, MetricsSink, MetricsTable, NumberRole, Operation, Progress, reducer_from_args,
};
use tlc_run::{Project, ReduceOptions, Run};
use tlc_table::{LanceStore, MemoryStore};

use super::*;

pub(crate) fn run() -> Run {
    let root = "memory://test/project".parse().expect("a URL");
    Project::new(Arc::new(MemoryStore::default()), root).create_run("r", Map::new()).expect("creatable")
}

/// Collects samples of `train`, whose losses are their numbers.
pub(crate) fn collect(run: &Run, name: &str, epoch: Option<i64>, ids: std::ops::Range<i64>) {
    let noise = |i: i64| (i as f32 * 12.9898 + epoch.unwrap_or(0) as f32).sin();
    let vectors = ids.clone().flat_map(|id| (0..4).map(move |d| noise(4 * id + d))).collect();
    let embedding = Column::embedding("embeddings_1", 4, vectors, NumberRole::NnEmbedding).expect("whole vectors");
    let schema = Arc::new(Schema::new(vec![
        Field::new("example_id", DataType::Int64, false).with_role(NumberRole::ExampleId),
        Field::new("loss", DataType::Float32, true).with_role(NumberRole::Loss),
        embedding.field,
    ]));
    let losses: ArrayRef = Arc::new(Float32Array::from_iter_values(ids.clone().map(|id| id as f32)));
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
    let rows = RecordBatch::try_new(schema.clone(), vec![ids, losses, embedding.values]).expect("one length");
    let table = MetricsTable {
        name: name.to_owned(),
        foreign_table: Some(run.project().root().join("datasets/train.lance").expect("a plain path")),
        constants: epoch.map(|epoch| ("epoch".to_owned(), json!(epoch))).into_iter().collect(),
        lineage: Lineage::new("test/1", Operation::new("collect", 1)),
    };
    run.write_metrics(table, &schema, Box::new([Ok(rows)].into_iter())).expect("writable");
}

pub(crate) fn reduce(run: &Run, seed: u64) {
    let args = [("n_components".to_owned(), json!(2)), ("seed".to_owned(), json!(seed))].into_iter().collect();
    let mut options = ReduceOptions::new([reducer_from_args("pca", args).expect("valid")]);
    options.delete_source_tables = Some(false);
    run.reduce_embeddings_per_dataset(&options, &Progress::default()).expect("reducible");
}

#[test]
fn parts_of_an_epoch_and_its_reductions_are_one_table() {
    let run = run();
    for epoch in 0..2 {
        // Uneven parts, of which the mean of means would be wrong; the second has another name.
        collect(&run, "train-0", Some(epoch), 0..10);
        collect(&run, "train-0-of-another-process", Some(epoch), 10..40);
    }
    reduce(&run, 1);
    reduce(&run, 2);
    let scene = Scene::of_run(run.project(), &run).expect("readable");
    let tables: Vec<_> = scene.tables.iter().map(|table| (table.epoch, table.rows, table.parts.len())).collect();
    assert_eq!(tables, [(Some(0), 40, 4), (Some(1), 40, 4)], "two parts, each reduced twice");
    assert_eq!(scene.tables[0].means.get("loss"), Some(&19.5));
    let layouts: Vec<_> = scene.layouts.iter().map(|layout| (layout.name.as_str(), layout.tables.clone())).collect();
    assert_eq!(layouts, [("embeddings_1_pca", vec![0, 1]), ("embeddings_1_pca_2", vec![0, 1])]);
    assert_eq!(scene.layouts[1].args["seed"], 2);
    for layout in &scene.layouts {
        assert!(scene.coordinates(layout, 1).expect("readable").iter().all(|x| x.is_finite()), "all have a place");
    }
    let loss = scene.column("loss").expect("there");
    let expected: Vec<f32> = (0..40_u8).map(f32::from).collect();
    assert_eq!(scene.values(loss, 0).expect("readable"), Values::Number(expected.clone()));
    let (_, stored) = scene.stored("loss", 0).expect("readable").expect("it has it");
    assert_eq!(stored.as_ref(), &Float32Array::from(expected) as &dyn arrow_array::Array);
    let sample = scene.sample(0, 25, Some(1)).expect("readable");
    assert_eq!(sample.values["loss"], 25.0);
    #[cfg(feature = "server")]
    {
        let numbers = crate::server::numbers::numbers(&scene, &Progress::default()).expect("readable");
        let epochs = numbers["epochs"].as_array().expect("a list");
        let means: Vec<_> = epochs.iter().map(|it| (&it["epoch"], &it["means"]["loss"])).collect();
        assert_eq!(means, [(&json!(0), &json!(19.5)), (&json!(1), &json!(19.5))]);
        assert_eq!(numbers["drift"].as_array().map(Vec::len), Some(2), "one step in each layout");
        // Neighbours are looked for among the samples of all processes.
        let near = |wants_embeddings| {
            let all =
                crate::find::nearest(&scene, &scene.layouts[1], 0, 5, 100, wants_embeddings, &Progress::default());
            let all = all.expect("readable");
            (all.is_embedding, all.neighbours.map(|all| all.len()))
        };
        assert_eq!((near(true), near(false)), ((true, Some(39)), (false, Some(39))));
    }
    let rows = crate::export::rows_of_tables(&scene, &[0], Some(&scene.layouts[0])).expect("readable");
    assert_eq!(rows.num_rows(), 40);
}

#[test]
fn tables_of_the_same_samples_without_an_epoch_stay_apart() {
    let run = run();
    collect(&run, "train", None, 0..10);
    collect(&run, "train", None, 10..30);
    collect(&run, "train", None, 0..30);
    reduce(&run, 1);
    let scene = Scene::of_run(run.project(), &run).expect("readable");
    let tables: Vec<_> = scene.tables.iter().map(|table| (table.rows, table.parts.len())).collect();
    assert_eq!(tables, [(30, 2), (30, 1)], "what several processes have in parts, and another look at all of it");
}

#[test]
fn a_reduction_done_again_on_newer_tables_takes_the_places_of_the_earlier() {
    let run = run();
    collect(&run, "train-0", Some(0), 0..20);
    reduce(&run, 1);
    let before = Scene::of_run(run.project(), &run).expect("readable");
    collect(&run, "train-1", Some(1), 0..20);
    reduce(&run, 1);
    let scene = Scene::of_run(run.project(), &run).expect("readable");
    assert_eq!((scene.layouts.len(), scene.layouts[0].tables.clone()), (1, vec![0, 1]));
    let coordinates = |scene: &Scene| scene.coordinates(&scene.layouts[0], 0).expect("readable");
    assert_ne!(coordinates(&scene), coordinates(&before), "fitted on the newer epoch, all epochs lie in one map");
}

/// The manifest, or the only data file, of a table.
fn file_of(table: &Url, folder: &str) -> std::path::PathBuf {
    let folder = table.to_path().expect("local").join(folder);
    let mut files = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").path());
    files.find(|file| file.extension().is_some_and(|it| it == "manifest" || it == "lance")).expect("it has a file")
}

#[test]
fn a_damaged_table_keeps_no_other_from_being_shown_and_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    // With a store that has read nothing yet.
    let project = || Project::new(Arc::new(LanceStore::default()), Url::from_path(folder.path()).expect("absolute"));
    let run = project().create_run("r", Map::new()).expect("creatable");
    (0..3).for_each(|epoch| collect(&run, &format!("train-{epoch}"), Some(epoch), 0..10));
    let urls: Vec<Url> = run.metrics().expect("readable").into_iter().map(|entry| entry.url).collect();
    let open = || {
        let project = project();
        Scene::of_run(&project, &project.open_run("r").expect("there"))
    };
    let epochs = |scene: &Scene| scene.tables.iter().map(|table| table.epoch).collect::<Vec<_>>();
    assert_eq!(epochs(&open().expect("readable")), [Some(0), Some(1), Some(2)]);
    // It cannot be opened; its rows cannot be read.
    for damaged in ["_versions", "data"] {
        let file = file_of(&urls[1], damaged);
        let written = std::fs::read(&file).expect("readable");
        std::fs::write(&file, b"damaged").expect("writable");
        let scene = open().expect("two are sound");
        assert_eq!(epochs(&scene), [Some(0), Some(2)], "{damaged}");
        let [left_out] = scene.left_out.as_slice() else { panic!("{:?}", scene.left_out) };
        assert!(left_out.url == urls[1] && left_out.reason.contains("train-1"), "{left_out:?}");
        #[cfg(feature = "server")]
        {
            let manifest = crate::server::manifest::manifest(&scene, &[], Default::default(), Default::default());
            let notice = manifest["notice"]["advice"].as_str().unwrap_or_default();
            assert!(notice.contains("train-1") && manifest["message"]["title"] == "No layout yet", "{manifest}");
        }
        std::fs::write(&file, written).expect("writable");
    }
    // What is not there is no damage.
    project().store().delete(&urls[2]).expect("deletable");
    let scene = open().expect("readable");
    assert_eq!((epochs(&scene), scene.left_out.len()), (vec![Some(0), Some(1)], 0));
    assert_eq!(scene.gone, [urls[2].clone()]);
    for url in &urls[..2] {
        std::fs::write(file_of(url, "_versions"), b"damaged").expect("writable");
    }
    let error = open().map(|scene| epochs(&scene)).expect_err("a run whose tables cannot be read is not an empty one");
    assert!(error.unreadable() == Some(&urls[0]), "{error}");
}

#[cfg(feature = "server")]
#[test]
fn a_table_that_was_deleted_meanwhile_leaves_the_others_their_numbers() {
    let run = run();
    (0..3).for_each(|epoch| collect(&run, &format!("train-{epoch}"), Some(epoch), 0..30));
    reduce(&run, 1);
    let mut scene = Scene::of_run(run.project(), &run).expect("readable");
    // As without a record of means.
    scene.tables.iter_mut().for_each(|table| table.means.clear());
    let last = scene.tables.iter().position(|table| table.epoch == Some(2)).expect("collected");
    run.project().store().delete(scene.tables[last].url()).expect("deletable");
    let numbers = crate::server::numbers::numbers(&scene, &Progress::default()).expect("of the others");
    let mean = |table: usize| &numbers["epochs"][table]["means"]["loss"];
    assert!((0..3).all(|table| *mean(table) == if table == last { json!(null) } else { json!(14.5) }), "{numbers}");
    assert_eq!(numbers["drift"].as_array().map(Vec::len), Some(1), "between the first two");
    assert!((0..3).all(|table| (numbers["lineage"][table]["text"] == "") == (table == last)), "{numbers}");
}

#[test]
fn the_newest_table_is_of_the_latest_epoch_or_of_the_one_that_is_meant() {
    let run = run();
    (0..3).for_each(|epoch| collect(&run, &format!("train-{epoch}"), Some(2 - epoch), 0..20));
    reduce(&run, 1);
    let scene = Scene::of_run(run.project(), &run).expect("readable");
    let epoch = |table: Option<usize>| table.and_then(|table| scene.tables[table].epoch);
    assert_eq!(epoch(scene.newest_table(&scene.layouts[0], Some(0))), Some(2), "not the last written");
    assert_eq!(epoch(scene.newest_of(0..3, None, Some(1))), Some(1));
    assert_eq!(scene.newest_of(0..3, Some(1), None), None, "there is no such dataset");
    assert_eq!(scene.newest_of(0..3, None, Some(9)), None);
}
