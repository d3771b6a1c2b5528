//! Reduction of runs in memory, with PCA, which is quick and exact.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use serde_json::{Map, json};
use tlc_core::rng::Stream as Random;
use tlc_core::{
    Column, FieldRoles, Lineage, MetricsSink, MetricsTable, Operation, Scan, TableStore, WriteCondition,
    embedding_values, reducer_from_args,
};
use tlc_reduce as _;
use tlc_table::MemoryStore;

use tlc_core::NumberRole;
use tlc_core::Progress;

use super::*;
use crate::{DoctorOptions, Project, Run, RunStatus};

const N_ROWS: usize = 40;
const WIDTH: usize = 6;

struct Fixture {
    store: MemoryStore,
    run: Run,
    /// Whether the tables have a column that says what they describe, as collected ones do.
    says_foreign_table: bool,
}

impl Fixture {
    fn new() -> Self {
        let store = MemoryStore::default();
        let project = Project::new(Arc::new(store.clone()), "memory://test/project".parse().expect("a URL"));
        let run = project.create_run("r", Map::new()).expect("creatable");
        Self { store, run, says_foreign_table: false }
    }

    fn url(&self, path: &str) -> Url {
        self.run.project().root().join(path).expect("a plain path")
    }

    /// Adds a table of noise around `epoch`, describing the rows of `dataset`.
    fn add(&self, dataset: Option<&str>, epoch: i64, n_bad: usize) -> Url {
        self.add_column("embeddings_90", dataset, epoch, n_bad)
    }

    fn add_column(&self, column: &str, dataset: Option<&str>, epoch: i64, n_bad: usize) -> Url {
        self.add_with(Lineage::new("test/1", Operation::new("collect", 1)), column, dataset, epoch, n_bad)
    }

    fn add_with(&self, lineage: Lineage, column: &str, dataset: Option<&str>, epoch: i64, n_bad: usize) -> Url {
        let noise = Random::new(epoch as u64, dataset.unwrap_or("none"));
        let mut values: Vec<f32> =
            (0..N_ROWS * WIDTH).map(|i| epoch as f32 + noise.normal(i as u64, 0) as f32).collect();
        (0..n_bad).for_each(|row| values[row * WIDTH] = f32::NAN);
        let embedding = Column::embedding(column, WIDTH, values, NumberRole::NnEmbedding).expect("whole vectors");
        let id = Field::new("example_id", DataType::Int64, false).with_role(NumberRole::ExampleId);
        let mut fields = vec![id, embedding.field];
        let ids = Arc::new(Int64Array::from_iter_values(0..N_ROWS as i64));
        let mut columns: Vec<ArrayRef> = vec![ids, embedding.values];
        if let Some(dataset) = dataset.filter(|_| self.says_foreign_table) {
            let names = [(0, self.url(&format!("datasets/{dataset}.lance")).to_string())].into_iter().collect();
            let field = Field::new("input_table_id", DataType::Int64, false).with_role(NumberRole::ForeignTableId);
            fields.push(field.with_value_map(&names));
            columns.push(Arc::new(Int64Array::from(vec![0; N_ROWS])));
        }
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(schema.clone(), columns).expect("one length");
        let table = MetricsTable {
            name: format!("{}-{epoch}", dataset.unwrap_or("none")),
            foreign_table: dataset.map(|dataset| self.url(&format!("datasets/{dataset}.lance"))),
            constants: [("epoch".to_owned(), json!(epoch))].into_iter().collect(),
            lineage,
        };
        self.run.write_metrics(table, &schema, Box::new([Ok(batch)].into_iter())).expect("writable").url
    }

    fn batch(&self, url: &Url) -> RecordBatch {
        self.store.scan(url, Scan::default()).expect("there").next().expect("one batch").expect("readable")
    }
}

fn pca(n_components: usize) -> Box<dyn Reducer> {
    let args = [("n_components".to_owned(), json!(n_components))].into_iter().collect();
    reducer_from_args("pca", args).expect("valid")
}

fn progress() -> Progress {
    Progress::default()
}

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
    let batch = store.scan(&source, Scan::default()).expect("there").next().expect("rows").expect("readable");
    let value = embedding_values(&batch, "embeddings_90").expect("vectors")[[3, 2]].to_le_bytes();
    let data = source.to_path().expect("local").join("data");
    let file = std::fs::read_dir(data).expect("there").next().expect("a file").expect("readable").path();
    let mut bytes = std::fs::read(&file).expect("readable");
    let at = bytes.windows(4).position(|window| window == value).expect("values are stored as they are");
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).expect("writable");
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

/// The columns that a reduction made of `source`.
fn made(fixture: &Fixture, reduced: &Url) -> Vec<String> {
    let lineage = fixture.store.info(reduced).expect("there").lineage().expect("has lineage");
    lineage.models.into_keys().collect()
}

fn pca_with_seed(n_components: usize, seed: u64) -> Box<dyn Reducer> {
    let args = [("n_components".to_owned(), json!(n_components)), ("seed".to_owned(), json!(seed))];
    reducer_from_args("pca", args.into_iter().collect()).expect("valid")
}

#[test]
fn other_parameters_make_columns_of_other_names_and_the_same_parameters_of_the_same() {
    let fixture = Fixture::new();
    let (run, project) = (&fixture.run, fixture.run.project());
    let sources = [fixture.add(Some("train"), 0, 0), fixture.add(Some("val"), 0, 0)];
    let expected = [
        (pca_with_seed(2, 1), "embeddings_90_pca"),
        (pca_with_seed(2, 2), "embeddings_90_pca_2"),
        (pca_with_seed(3, 1), "embeddings_90_pca_3d"),
        (pca_with_seed(3, 2), "embeddings_90_pca_3"),
        (pca_with_seed(2, 2), "embeddings_90_pca_2"),
        (pca_with_seed(2, 1), "embeddings_90_pca"),
    ];
    for (reducer, name) in expected.clone() {
        let options = ReduceOptions { delete_source_tables: Some(false), ..ReduceOptions::new([reducer]) };
        let mapping = run.reduce_embeddings_per_dataset(&options, &progress()).expect("reducible");
        for source in &sources {
            assert_eq!(made(&fixture, mapping.get(source).expect("mapped")), [name], "of both models");
        }
    }
    // A table without a run, and one that has nothing to do with it.
    let (table, other) = (fixture.url("runs/r/metrics"), fixture.add(None, 0, 0));
    for (reducer, name) in expected {
        let options = ReduceOptions::new([reducer]);
        let reduced = reduce_embeddings(project, &sources[0], &options, &progress()).expect("reducible");
        assert_eq!((made(&fixture, &reduced), reduced.parent()), (vec![name.to_owned()], sources[0].parent()));
        project.replay_reduction(&reduced, &progress()).expect("the name is part of what was done");
    }
    let reduced = reduce_embeddings(project, &other, &ReduceOptions::new([pca_with_seed(2, 2)]), &progress());
    assert_eq!(made(&fixture, &reduced.expect("reducible")), ["embeddings_90_pca"]);
    let names = |source: &Url, folder: &Url| {
        let found = reductions_of(project, source, folder).expect("readable");
        found.iter().flat_map(|info| made(&fixture, &info.url)).collect::<Vec<_>>()
    };
    let made_once = ["pca", "pca_2", "pca_3d", "pca_3", "pca_2", "pca"].map(|name| format!("embeddings_90_{name}"));
    assert_eq!(names(&sources[0], &table), made_once, "oldest first");
    assert_eq!(names(&sources[1], &table), [""; 0]);
    assert_eq!(names(&sources[1], &fixture.url("runs/r/reduced")), made_once, "those of the run are elsewhere");
}

#[test]
fn free_functions_reduce_tables_beside_themselves() {
    let fixture = Fixture { says_foreign_table: true, ..Fixture::new() };
    let [old, new, other, alone] = [
        fixture.add(Some("train"), 0, 0),
        fixture.add(Some("train"), 1, 0),
        fixture.add(Some("val"), 0, 0),
        fixture.add(None, 0, 0),
    ];
    let project = fixture.run.project();
    let options = ReduceOptions::new([pca(2)]);
    let producer_of = |mapping: &UrlMapping, source: &Url| {
        let info = fixture.store.info(mapping.get(source).expect("mapped")).expect("there");
        assert_eq!(info.url.parent(), source.parent(), "beside its source");
        let lineage = info.lineage().expect("has lineage");
        lineage.inputs.last().expect("inputs").url.resolve(project.root()).expect("inside")
    };
    // In whatever order they are given, the most recently written is fitted on.
    let tables = [new.clone(), old.clone(), other.clone(), alone.clone()];
    let mapping = reduce_embeddings_per_dataset(project, &tables, &options, &progress()).expect("reducible");
    assert_eq!((mapping.len(), mapping.get(&alone)), (3, None));
    assert_eq!([&old, &new, &other].map(|url| producer_of(&mapping, url)), [&new, &new, &other].map(Clone::clone));
    let train = fixture.url("datasets/train.lance");
    let mapping = reduce_embeddings_by_foreign_table_url(project, &tables, &train, &options, &progress());
    let mapping = mapping.expect("reducible");
    assert!(tables.iter().all(|url| producer_of(&mapping, url) == new));
    let nope = fixture.url("datasets/nope.lance");
    let error = reduce_embeddings_by_foreign_table_url(project, &tables, &nope, &options, &progress());
    assert!(error.expect_err("no stream").to_string().starts_with("the selection has no tables with embeddings for"));
    let consumers = [old.clone(), other.clone()];
    let mapping = reduce_embeddings_with_producer_consumer(project, &alone, &consumers, &options, &progress());
    let mapping = mapping.expect("reducible");
    assert!(mapping.iter().map(|(source, _)| source).eq([&alone, &old, &other]), "the producer comes first");
    assert!(mapping.iter().all(|(source, _)| producer_of(&mapping, source) == alone));
    let several = reduce_embeddings_multiple_parameters(project, &old, [pca(2), pca(3)], &options, &progress());
    let several = fixture.batch(&several.expect("reducible"));
    assert!(several.column_by_name("embeddings_90_pca_2d").is_some());
    assert!(several.column_by_name("embeddings_90_pca_3d").is_some());
    assert!(tables.iter().all(|url| fixture.store.info(url).is_ok()), "sources stay unless asked");
    assert_eq!(fixture.run.metrics().expect("readable").len(), 4, "and runs know nothing of it");
    let deleting = ReduceOptions { delete_source_tables: Some(true), ..options };
    reduce_embeddings(project, &old, &deleting, &progress()).expect("reducible");
    assert!(fixture.store.info(&old).is_ok(), "a table that a run lists is not deleted");
}

#[test]
fn a_reduction_can_be_replayed_until_its_inputs_are_gone() {
    let fixture = Fixture::new();
    let sources = [fixture.add(Some("train"), 0, 3), fixture.add(Some("train"), 1, 1)];
    let project = fixture.run.project();
    let mut options = ReduceOptions::new([pca(3), pca(2)]);
    options.delete_source_tables = Some(false);
    let mapping = fixture.run.reduce_embeddings_per_dataset(&options, &progress()).expect("reducible");
    for (_, reduced) in mapping.iter() {
        project.replay_reduction(reduced, &progress()).expect("the same bits");
    }
    let error = project.replay_reduction(&sources[0], &progress()).expect_err("not reduced").to_string();
    assert!(error.ends_with("it was made by collect/1, not by reduce/1"), "{error}");
    project.delete_table(&sources[1], true).expect("forced");
    let error = project.replay_reduction(mapping.get(&sources[0]).expect("mapped"), &progress());
    let error = error.expect_err("an input is gone").to_string();
    assert!(
        error.contains("its input runs/r/metrics/train-1-") && error.contains("is not there, deleted 20"),
        "{error}"
    );
}

#[test]
fn what_is_needed_is_not_deleted_and_what_was_deleted_is_explained() {
    let fixture = Fixture::new();
    let source = fixture.add(Some("train"), 0, 0);
    let project = fixture.run.project();
    let error = project.delete_table(&source, false).expect_err("a run lists it").to_string();
    assert_eq!(error, format!("cannot delete {source}: run \"r\" lists it"));
    let mapping = fixture.run.reduce_embeddings_per_dataset(&ReduceOptions::new([pca(2)]), &progress());
    let mapping = mapping.expect("reducible");
    let reduced = mapping.get(&source).expect("mapped");
    let deletion = &project.deletions().expect("readable")[0];
    assert_eq!(deletion.url, source.relative_to(project.root()));
    assert_eq!(deletion.replaced_by, [reduced.relative_to(project.root())]);
    assert!(deletion.by.contains("tlc-run/") && deletion.rows == N_ROWS as u64);

    let graph = project.lineage_graph(reduced).expect("known");
    assert_eq!(graph.nodes.len(), 2);
    assert_eq!(graph.nodes[1].state, crate::NodeState::Deleted(deletion.clone()));
    let text = graph.to_text(project.root());
    assert!(
        text.contains("reduce ") && text.contains("(deleted 20") && text.contains(", replaced by runs/r/reduced/"),
        "{text}"
    );
    let dot = graph.to_dot(project.root());
    assert!(dot.contains("t1 -> t0 [label=\"reduce\"]") && dot.contains("style=dashed"), "{dot}");
    let events = graph.to_open_lineage(project.root());
    assert_eq!(events.len(), 2, "how the deleted table was made is not known any more");
    let field = &events[1]["outputs"][0]["facets"]["columnLineage"]["fields"]["embeddings_90_pca"]["inputFields"][0];
    assert_eq!((&field["field"], &field["name"]), (&json!("embeddings_90"), &json!(deletion.url.to_string())));
    // A table that is gone can be asked for as well.
    assert!(matches!(project.lineage_graph(&source).expect("known").nodes[0].state, crate::NodeState::Deleted(_)));
    let never = project.lineage_graph(&fixture.url("runs/r/metrics/never.lance")).expect_err("unknown");
    assert!(matches!(never, RunError::Store(tlc_core::StoreError::NotFound { .. })), "{never:?}");
}

#[test]
fn a_source_that_something_else_was_made_from_stays() {
    let fixture = Fixture::new();
    let source = fixture.add(Some("train"), 0, 0);
    let mut options = ReduceOptions::new([pca(2)]);
    let project = fixture.run.project();
    let kept = reduce_embeddings(project, &source, &options, &progress()).expect("reducible");
    options.reductions = vec![pca(3).into()];
    let mapping = fixture.run.reduce_embeddings_per_dataset(&options, &progress()).expect("reducible");
    assert!(fixture.store.info(&source).is_ok(), "{kept} was made from it");
    let urls: Vec<Url> = fixture.run.metrics().expect("readable").into_iter().map(|entry| entry.url).collect();
    assert_eq!(urls, [source.clone(), mapping.get(&source).expect("mapped").clone()], "and stays in the record");
}

#[test]
fn a_source_stays_while_something_cannot_be_read_that_may_need_it() {
    let fixture = Fixture::new();
    let source = fixture.add(Some("train"), 0, 0);
    let record = fixture.url("runs/torn/run.json");
    fixture.store.write_object(&record, b"{\"schema\": ", WriteCondition::Absent).expect("writable");
    let mapping = fixture.run.reduce_embeddings_per_dataset(&ReduceOptions::new([pca(2)]), &progress());
    let mapping = mapping.expect("reducible");
    assert!(fixture.store.info(&source).is_ok(), "the torn record may list it");
    let urls: Vec<Url> = fixture.run.metrics().expect("readable").into_iter().map(|entry| entry.url).collect();
    assert_eq!(urls, [source.clone(), mapping.get(&source).expect("mapped").clone()], "and stays in the record");
    let refused = fixture.run.project().delete_run("r", false).expect_err("it may need something").to_string();
    assert!(refused.ends_with("/runs/torn cannot be read, and may need it"), "{refused}");
    fixture.run.project().delete_run("torn", false).expect("what it needs goes with it");
    fixture.run.project().delete_run("r", false).expect("nothing needs it");
}

#[test]
fn hostile_lineage_ends_and_leads_nowhere() {
    let fixture = Fixture::new();
    let project = fixture.run.project();
    let [a, b] = ["a", "b"].map(|name| fixture.url(&format!("datasets/d/{name}.lance")));
    let make = |url: &Url, inputs: &[&str]| {
        let mut lineage = Lineage::new("test/1", Operation::new("made-up", 1));
        for input in inputs {
            let url = input.parse().expect("a URL");
            lineage.inputs.push(tlc_core::LineageInput { url, version: 1, table_id: None, rows: 1, digest: None });
        }
        let schema = Arc::new(lineage.write_into(&Schema::new(vec![Field::new("id", DataType::Int64, false)])));
        fixture.store.create(url, schema, Box::new(std::iter::empty())).expect("a table");
    };
    make(&a, &["datasets/d/b.lance", "memory://elsewhere/secret.lance", "s3://bucket/x.lance"]);
    make(&b, &["datasets/d/a.lance", "datasets/d/b.lance"]);
    let graph = project.lineage_graph(&a).expect("it ends");
    let states: Vec<_> = graph.nodes.iter().map(|node| node.state.clone()).collect();
    use crate::NodeState::{Outside, Present};
    assert_eq!(states, [Present, Present, Outside, Outside]);
    assert!(graph.to_text(project.root()).contains("datasets/d/a.lance (above)"));
    let many: Vec<String> = (0..12_000).map(|i| format!("datasets/d/x{i}.lance")).collect();
    let c = fixture.url("datasets/d/c.lance");
    make(&c, &many.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(project.lineage_graph(&c).expect("it ends").nodes.len(), 10_000, "no more are shown");
    assert!(matches!(
        project.delete_table(&"memory://elsewhere/x.lance".parse().expect("a URL"), true),
        Err(RunError::Outside { .. })
    ));
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

#[test]
fn an_interrupted_deletion_is_finished() {
    let fixture = Fixture::new();
    let doomed = fixture.add(Some("train"), 0, 0);
    fixture.add(Some("train"), 1, 0);
    let relative = doomed.relative_to(fixture.run.project().root());
    fixture
        .run
        .update(|record| {
            record.metrics.remove(0);
            record.metrics[0].reduced_from = Some(relative.clone());
            record.to_delete = vec![relative.clone(), "runs/r/metrics/gone.lance".parse().expect("a URL")];
        })
        .expect("updated");
    fixture.run.finish_deletions().expect("finished");
    assert!(fixture.store.info(&doomed).is_err());
    assert!(fixture.run.record().expect("readable").to_delete.is_empty());
    let outside: Url = "memory://other/table.lance".parse().expect("a URL");
    fixture.run.update(|record| record.to_delete = vec![outside.clone()]).expect("updated");
    let error = fixture.run.finish_deletions().expect_err("never outside of the project").to_string();
    assert!(error.contains("outside of the project"), "{error}");
}

#[test]
fn writers_at_once_lose_nothing() {
    let fixture = Fixture::new();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let fixture = &fixture;
            scope.spawn(move || (0..5).for_each(|epoch| drop(fixture.add(Some(&format!("d{writer}")), epoch, 0))));
        }
    });
    assert_eq!(fixture.run.metrics().expect("readable").len(), 20);
}

#[test]
fn runs_are_listed_opened_and_deleted_by_name() {
    let fixture = Fixture::new();
    let project = fixture.run.project();
    assert_eq!(project.create_run("r", Map::new()).expect("creatable").name(), "r-2");
    assert_eq!(project.run_names().expect("listable"), ["r", "r-2"]);
    fixture.run.set_status(RunStatus::Completed).expect("recorded");
    assert_eq!(project.open_run("r").expect("there").record().expect("readable").status, RunStatus::Completed);
    let table = fixture.add(Some("train"), 0, 0);
    project.delete_run("r-2", false).expect("deletable");
    assert_eq!(project.deletions().expect("readable"), [], "it had no tables");
    let error = project.open_run("r-2").expect_err("deleted").to_string();
    assert_eq!(error, "project memory://test/project has no run \"r-2\"; its runs are r");
    project.delete_run("r", false).expect("deletable");
    let notes = project.deletions().expect("readable");
    assert_eq!(notes.iter().map(|note| &note.url).collect::<Vec<_>>(), [&table.relative_to(project.root())]);
    let error = project.create_run("../x", Map::new()).expect_err("refused").to_string();
    assert!(
        error.starts_with("run name \"../x\" is not usable: use letters, digits, '.', '_' and '-', not"),
        "{error}"
    );
}

#[test]
fn samples_are_one_table_for_all_who_have_them_and_another_when_they_change() {
    let project = Project::new(Arc::new(MemoryStore::default()), "memory://test/project".parse().expect("a URL"));
    let table = |name: &str, values: [i64; 3], classes: [&str; 2]| {
        project.table_from_columns("pets", name, vec![Column::labels("label", values, classes)]).expect("writable").url
    };
    let urls: Vec<Url> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4).map(|_| scope.spawn(|| table("train", [0, 1, 1], ["cat", "dog"]))).collect();
        writers.into_iter().map(|writer| writer.join().expect("no panic")).collect()
    });
    assert!(urls.iter().all(|url| *url == urls[0]), "{urls:?}");
    let others = [
        table("train", [0, 1, 0], ["cat", "dog"]),
        table("train", [0, 1, 1], ["cat", "cow"]),
        table("val", [0, 1, 1], ["cat", "dog"]),
    ];
    assert!(others.iter().all(|url| *url != urls[0]), "other values, other names of classes, another name");
    let tables = project.store().list_tables(&project.root().join("datasets/pets").expect("plain")).expect("listable");
    assert_eq!(tables.len(), 4, "what writers at once made too much is gone");
    let error = project.table_from_columns("pets", "train", vec![]).expect_err("refused").to_string();
    assert!(error.contains("cannot make the table \"train\": it has no columns"), "{error}");
}

#[test]
fn parameters_become_known_later_and_lose_nobody_elses() {
    let fixture = Fixture::new();
    fixture.run.set_parameter("learning_rate", 0.1).expect("recorded");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let run = &fixture.run;
            scope.spawn(move || run.set_parameter(&format!("worker-{writer}"), writer).expect("recorded"));
        }
    });
    fixture.run.set_parameter("learning_rate", 0.01).expect("recorded");
    let parameters = fixture.run.record().expect("readable").parameters;
    let expected = json!({ "learning_rate": 0.01, "worker-0": 0, "worker-1": 1, "worker-2": 2, "worker-3": 3 });
    assert_eq!(serde_json::Value::from(parameters), expected);
}
