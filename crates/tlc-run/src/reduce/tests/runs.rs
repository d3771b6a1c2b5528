//! The methods of runs: which table is fitted, what is made of the others, and what keeps a reduction from being done.

use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use serde_json::{Map, json};
use tlc_core::{Lineage, Operation, Progress, TableStore, Url, WriteCondition, embedding_values};

use super::{Fixture, N_ROWS, flip_a_bit, pca, progress};
use crate::{DoctorOptions, FitRows, FitSize, Project, ReduceOptions, Reduction, RunError, UrlMapping};

#[test]
fn one_model_is_applied_to_all_tables_and_sources_are_replaced() {
    let fixture = Fixture::new();
    let sources = [
        fixture.add(Some("train"), 0, 0),
        fixture.add(Some("val"), 0, 0),
        fixture.add(Some("train"), 1, 0),
        fixture.add(None, 1, 0),
    ];
    let options = ReduceOptions::new([pca(2)]);
    let train = fixture.url("datasets/train.lance");
    let mapping = fixture.run.reduce_embeddings_by_foreign_table_url(&train, &options, &progress()).expect("reducible");
    assert!(mapping.iter().map(|(source, _)| source).eq(&sources), "all tables, in the run's order");
    for source in &sources {
        assert!(fixture.store.info(source).is_err(), "sources are gone");
        let reduced = mapping.get(source).expect("mapped");
        let batch = fixture.batch(reduced);
        let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["example_id", "embeddings_90_pca", "embeddings_90_pca_ood"]);
        let lineage = fixture.store.info(reduced).expect("there").lineage().expect("has lineage");
        assert_eq!(lineage.inputs[0].url, source.relative_to(fixture.run.project().root()));
        assert_eq!(lineage.columns["embeddings_90_pca"].from[0].field, "embeddings_90");
        let model = lineage.models["embeddings_90_pca"].url.resolve(fixture.run.project().root()).expect("inside");
        let document = fixture.store.read_object(&model.join("model.json").expect("a name")).expect("saved").0;
        let fitted = tlc_core::decode_model(&document, |name| {
            Ok(fixture.store.read_object(&model.join(name).expect("a name")).expect("saved").0)
        });
        assert_eq!(fitted.expect("loadable").layout().dim(), (N_ROWS, 2));
    }
    let urls: Vec<Url> = fixture.run.metrics().expect("readable").into_iter().map(|entry| entry.url).collect();
    assert!(mapping.iter().map(|(_, reduced)| reduced).eq(&urls), "the reduced tables take the sources' places");
    let producer = fixture.batch(mapping.get(&sources[2]).expect("mapped"));
    assert!(
        producer.column(2).as_primitive::<arrow_array::types::Float32Type>().values().iter().all(|&score| score == 0.0)
    );
    let again = fixture.run.reduce_embeddings_by_foreign_table_url(&train, &options, &progress());
    assert!(matches!(again, Err(RunError::NoTablesFor { .. })), "nothing is left to reduce: {again:?}");
}

#[test]
fn a_model_that_is_not_what_was_written_is_found() {
    let fixture = Fixture::new();
    let source = fixture.add(Some("train"), 0, 0);
    let train = fixture.url("datasets/train.lance");
    let options = ReduceOptions::new([pca(2)]);
    let mapping = fixture.run.reduce_embeddings_by_foreign_table_url(&train, &options, &progress()).expect("reducible");
    let reduced = mapping.get(&source).expect("mapped");
    let lineage = fixture.store.info(reduced).expect("there").lineage().expect("has lineage");
    let project = fixture.run.project();
    let model = lineage.models["embeddings_90_pca"].url.resolve(project.root()).expect("inside");
    let found = || project.doctor(&DoctorOptions::default(), &progress()).expect("readable");
    assert_eq!(found(), []);

    let arrays = model.join("arrays.safetensors").expect("a name");
    let (mut content, version) = fixture.store.read_object(&arrays).expect("saved");
    let last = content.len() - 1;
    content[last] ^= 1;
    fixture.store.write_object(&arrays, &content, WriteCondition::Unchanged(version)).expect("writable");
    let damage = found();
    assert!(matches!(&damage[..], [it] if it.url == model && !it.is_repaired), "{damage:?}");
    assert!(damage[0].problem.to_string().contains("arrays.safetensors has"), "{damage:?}");
}

#[test]
fn each_dataset_gets_its_own_model() {
    let fixture = Fixture::new();
    let sources = [
        fixture.add(Some("train"), 0, 0),
        fixture.add(Some("val"), 0, 0),
        fixture.add(None, 0, 0),
        fixture.add(Some("val"), 1, 0),
    ];
    let mut options = ReduceOptions::new([pca(2)]);
    options.delete_source_tables = Some(false);
    let mapping = fixture.run.reduce_embeddings_per_dataset(&options, &progress()).expect("reducible");
    assert_eq!(mapping.len(), 3);
    assert!(mapping.get(&sources[2]).is_none(), "a table without a foreign table is left alone");
    assert!(sources.iter().all(|source| fixture.store.info(source).is_ok()), "sources were to be kept");
    let model = |source: &Url| {
        let info = fixture.store.info(mapping.get(source).expect("mapped")).expect("there");
        info.lineage().expect("has lineage").models["embeddings_90_pca"].url.clone()
    };
    assert_eq!(model(&sources[1]), model(&sources[3]));
    assert_ne!(model(&sources[0]), model(&sources[1]));
}

#[test]
fn the_most_recently_written_table_is_fitted_whatever_its_epoch() {
    let fixture = Fixture::new();
    fixture.add(Some("train"), 9, 0);
    let newest = fixture.add(Some("train"), 1, 0);
    let train = fixture.url("datasets/train.lance");
    let mapping = fixture
        .run
        .reduce_embeddings_by_foreign_table_url(&train, &ReduceOptions::new([pca(1)]), &progress())
        .expect("reducible");
    let first = mapping.iter().next().expect("two tables").1;
    let lineage = fixture.store.info(first).expect("there").lineage().expect("has lineage");
    assert_eq!(lineage.inputs[1].url, newest.relative_to(fixture.run.project().root()));
}

#[test]
fn a_clock_that_goes_backwards_does_not_change_which_table_of_a_run_is_most_recent() {
    let fixture = Fixture::new();
    fixture.add(Some("train"), 0, 0);
    let mut lineage = Lineage::new("test/1", Operation::new("collect", 1));
    lineage.created = jiff::Timestamp::from_second(1_000_000_000).expect("in 2001");
    lineage.table_id = tlc_core::ulid::Ulid::from_parts(1_000_000_000_000, 7);
    let newest = fixture.add_with(lineage, "embeddings_90", Some("train"), 1, 0);
    let run = &fixture.run;
    let last = run.metrics().expect("readable").pop().expect("two tables");
    assert_eq!(last.url, newest, "the record's order is that of writing");
    let train = fixture.url("datasets/train.lance");
    let options = ReduceOptions::new([pca(1)]);
    let mapping = run.reduce_embeddings_by_foreign_table_url(&train, &options, &progress()).expect("reducible");
    let first = mapping.iter().next().expect("two tables").1;
    let lineage = fixture.store.info(first).expect("there").lineage().expect("has lineage");
    assert_eq!(lineage.inputs[1].url, newest.relative_to(run.project().root()));
}

#[test]
fn rows_that_are_not_finite_are_left_out_and_null() {
    let fixture = Fixture::new();
    let sources = [fixture.add(Some("train"), 0, 3), fixture.add(Some("train"), 1, 2)];
    let train = fixture.url("datasets/train.lance");
    let mapping = fixture
        .run
        .reduce_embeddings_by_foreign_table_url(&train, &ReduceOptions::new([pca(2)]), &progress())
        .expect("reducible");
    for (source, n_bad) in sources.iter().zip([3, 2]) {
        let batch = fixture.batch(mapping.get(source).expect("mapped"));
        for column in [1, 2] {
            let column = batch.column(column);
            assert_eq!(column.null_count(), n_bad);
            assert!((0..N_ROWS).all(|row| column.is_null(row) == (row < n_bad)));
        }
        let values = embedding_values(&batch, "embeddings_90_pca").expect("vectors");
        assert!(values.rows().into_iter().skip(n_bad).flatten().all(|value| value.is_finite()));
    }
}

#[test]
fn a_fit_of_some_rows_places_the_others_as_new_ones() {
    let fixture = Fixture::new();
    let sources = [fixture.add(Some("train"), 0, 0), fixture.add(Some("train"), 1, 2)];
    let (run, project) = (&fixture.run, fixture.run.project());
    let reduce = |rows: Option<u64>| {
        let fit_rows = FitRows::of(rows.map_or(FitSize::All, FitSize::Rows));
        let mut options = ReduceOptions { fit_rows, ..ReduceOptions::new([pca(2)]) };
        options.delete_source_tables = Some(false);
        run.reduce_embeddings_per_dataset(&options, &progress())
    };
    let info = |mapping: &UrlMapping, source| fixture.store.info(mapping.get(source).expect("mapped")).expect("there");
    let some = reduce(Some(10)).expect("reducible");
    for (source, n_bad) in sources.iter().zip([0, 2]) {
        let reduced = some.get(source).expect("mapped");
        let batch = fixture.batch(reduced);
        let places = batch.column_by_name("embeddings_90_pca").expect("made");
        assert_eq!(places.null_count(), n_bad, "all rows have a place that can have one");
        project.replay_reduction(reduced, &progress()).expect("the same rows, and the same bits");
    }
    let of_some = info(&some, &sources[1]);
    let lineage = of_some.lineage().expect("has lineage");
    assert_eq!(lineage.operation.args["fit_rows"], json!({ "rows": 10, "of": N_ROWS, "seed": 42 }));
    let again = info(&reduce(Some(10)).expect("reducible"), &sources[1]);
    assert_eq!(again.digest, of_some.digest);
    assert_eq!(again.lineage().expect("has lineage").models, lineage.models, "the model is used again");
    let of_all = info(&reduce(None).expect("reducible"), &sources[1]);
    assert_ne!(of_all.digest, of_some.digest);
    let of_more = info(&reduce(Some(1000)).expect("reducible"), &sources[1]);
    assert_eq!(of_more.digest, of_all.digest, "more rows than there are is all of them");
    let error = reduce(Some(0)).expect_err("refused").to_string();
    assert_eq!(error, "cannot reduce: fit_rows is 0; use at least 1 row, or a share above 0 and up to 1");
}

#[test]
fn several_reductions_make_several_columns() {
    let fixture = Fixture::new();
    let source = fixture.add(Some("train"), 0, 0);
    let mut options = ReduceOptions::new([pca(2), pca(3)]);
    options.retain_source_embedding_column = true;
    let mapping = fixture.run.reduce_embeddings_per_dataset(&options, &progress()).expect("reducible");
    let batch = fixture.batch(mapping.get(&source).expect("mapped"));
    let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(
        names,
        [
            "example_id",
            "embeddings_90",
            "embeddings_90_pca_2d",
            "embeddings_90_pca_2d_ood",
            "embeddings_90_pca_3d",
            "embeddings_90_pca_3d_ood"
        ]
    );
}

#[test]
fn what_cannot_be_reduced_is_explained_and_nothing_changes() {
    let fixture = Fixture::new();
    fixture.add(Some("train"), 0, 0);
    let before = fixture.run.record().expect("readable");
    let check = |options: ReduceOptions, foreign: &str, expected: &str| {
        let foreign = fixture.url(foreign);
        let error = fixture.run.reduce_embeddings_by_foreign_table_url(&foreign, &options, &progress());
        assert_eq!(error.expect_err("refused").to_string(), expected);
        assert_eq!(fixture.run.record().expect("readable"), before);
        assert_eq!(fixture.store.list_tables(&fixture.url("runs/r/reduced")).expect("listable"), []);
    };
    let train = "datasets/train.lance";
    check(
        ReduceOptions::new([pca(2)]),
        "datasets/nope.lance",
        "run \"r\" has no tables with embeddings for memory://test/project/datasets/nope.lance; it has some for memory://test/project/datasets/train.lance",
    );
    check(
        ReduceOptions::new(Vec::<Reduction>::new()),
        train,
        "cannot reduce: no reduction was given; at least one is needed",
    );
    check(
        ReduceOptions::new([pca(2), pca(2)]),
        train,
        "cannot reduce: two reductions would make the column \"embeddings_90_pca_2d\"; give them target_embedding_column",
    );
    let mut named = ReduceOptions::new([pca(2)]);
    named.reductions[0].target_embedding_column = Some("example_id".to_owned());
    check(named, train, "cannot reduce: the table already has a column \"example_id\"; give a target_embedding_column");
    let mut elsewhere = ReduceOptions::new([pca(2)]);
    elsewhere.fit_table = Some(fixture.url("x.lance"));
    check(
        elsewhere,
        train,
        "cannot fit on memory://test/project/x.lance: it is not a table with embeddings of run \"r\"",
    );
    let url = fixture.run.metrics().expect("readable")[0].url.clone();
    let mut scalar = ReduceOptions::new([pca(2)]);
    scalar.source_embedding_columns = Some(vec!["example_id".to_owned()]);
    check(
        scalar,
        train,
        &format!(
            "cannot reduce column \"example_id\" of {url}: its type is Int64; vectors of float32 or float16 of one width are needed"
        ),
    );
    check(ReduceOptions::new([pca(7)]), train, &format!("cannot reduce column \"embeddings_90\" of {url} with pca"));
}

#[test]
fn a_cancelled_reduction_leaves_the_run_as_it_was() {
    let fixture = Fixture::new();
    let source = fixture.add(Some("train"), 0, 0);
    let before = fixture.run.record().expect("readable");
    let progress = progress();
    progress.cancel();
    let error =
        fixture.run.reduce_embeddings_per_dataset(&ReduceOptions::new([pca(2)]), &progress).expect_err("stopped");
    assert!(error.is_cancelled(), "{error:?}");
    assert_eq!(fixture.run.record().expect("readable"), before);
    assert!(fixture.store.info(&source).is_ok(), "the source is there");
    assert_eq!(fixture.store.list_tables(&fixture.url("runs/r/reduced")).expect("listable"), []);
}

/// Asks to stop as soon as the first table was reduced and read back.
struct StopAfterFirst(std::sync::OnceLock<Progress>, std::sync::atomic::AtomicU64);

impl tlc_core::ProgressSink for StopAfterFirst {
    fn begin(&self, task: u64, name: &str, _total: u64) {
        if name == "verify" {
            self.1.store(task, std::sync::atomic::Ordering::Relaxed);
        }
    }

    fn advance(&self, _task: u64, _steps: u64) {}

    fn end(&self, task: u64) {
        if task == self.1.load(std::sync::atomic::Ordering::Relaxed) {
            self.0.get().expect("set before use").cancel();
        }
    }
}

#[test]
fn a_reduction_that_is_stopped_between_tables_takes_back_what_it_wrote() {
    let fixture = Fixture::new();
    (0..3).for_each(|epoch| drop(fixture.add(Some("train"), epoch, 0)));
    let before = fixture.run.record().expect("readable");
    let sink = Arc::new(StopAfterFirst(Default::default(), u64::MAX.into()));
    let progress = Progress::new(sink.clone());
    sink.0.set(progress.clone()).expect("set once");
    let stopped = fixture.run.reduce_embeddings_per_dataset(&ReduceOptions::new([pca(2)]), &progress);
    assert!(stopped.expect_err("stopped").is_cancelled());
    assert_eq!(fixture.run.record().expect("readable"), before);
    assert_eq!(fixture.store.list_tables(&fixture.url("runs/r/reduced")).expect("listable"), []);
    assert_eq!(fixture.store.size_bytes(&fixture.url("runs/r/models")).expect("measurable"), 0);
}

#[test]
fn a_source_that_changed_on_disk_is_not_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Url::from_path(folder.path()).expect("an absolute path");
    let store = tlc_table::LanceStore::default();
    let project = Project::new(Arc::new(store.clone()), root);
    let fixture = Fixture { run: project.create_run("r", Map::new()).expect("creatable"), ..Fixture::new() };
    let source = fixture.add(Some("train"), 0, 0);
    flip_a_bit(&store, &source);
    let result = fixture.run.reduce_embeddings_per_dataset(&ReduceOptions::new([pca(2)]), &progress());
    assert!(matches!(result, Err(RunError::Store(tlc_core::StoreError::Damaged { .. }))), "{result:?}");
    assert!(store.info(&source).is_ok(), "the source is still there");
}

#[test]
fn a_model_that_was_fitted_before_is_used_again() {
    let fixture = Fixture::new();
    let first = fixture.add(Some("train"), 0, 2);
    let mut options = ReduceOptions::new([pca(2)]);
    options.delete_source_tables = Some(false);
    let train = fixture.url("datasets/train.lance");
    let model = |mapping: &UrlMapping, source: &Url| {
        let info = fixture.store.info(mapping.get(source).expect("mapped")).expect("there");
        info.lineage().expect("has lineage").models.into_values().next().expect("one model").url
    };
    let once = fixture.run.reduce_embeddings_by_foreign_table_url(&train, &options, &progress()).expect("reducible");
    let before = fixture.run.reduce_embeddings_by_foreign_table_url(&train, &options, &progress()).expect("again");
    assert_eq!(model(&before, &first), model(&once, &first), "same table, same parameters");
    let batches = [&once, &before].map(|mapping| fixture.batch(mapping.get(&first).expect("mapped")));
    assert_eq!(batches[0].columns(), batches[1].columns());
    options.reductions = vec![pca(3).into()];
    let other = fixture.run.reduce_embeddings_by_foreign_table_url(&train, &options, &progress()).expect("other");
    assert_ne!(model(&other, &first), model(&once, &first), "other parameters");
    fixture.add(Some("train"), 1, 0);
    options.reductions = vec![pca(2).into()];
    let later = fixture.run.reduce_embeddings_by_foreign_table_url(&train, &options, &progress()).expect("later");
    assert_ne!(model(&later, &first), model(&once, &first), "another table is the newest");
}

#[test]
fn tables_with_other_columns_are_left_alone() {
    let fixture = Fixture::new();
    let other = fixture.add_column("embeddings_46", Some("train"), 0, 0);
    let source = fixture.add(Some("train"), 1, 0);
    let train = fixture.url("datasets/train.lance");
    let options = ReduceOptions::new([pca(2)]);
    let mapping = fixture.run.reduce_embeddings_by_foreign_table_url(&train, &options, &progress()).expect("reducible");
    assert!(mapping.iter().map(|(from, _)| from).eq([&source]));
    assert!(fixture.store.info(&other).is_ok(), "what was not reduced is not deleted");
}
