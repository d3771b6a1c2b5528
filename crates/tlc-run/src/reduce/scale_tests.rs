//! Fits on samples, and reductions that are interrupted and go on.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{Array, ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use arrow_select::interleave::interleave_record_batch;
use ndarray::{Axis, s};
use serde_json::{Map, json};
use tlc_core::rng::Stream as Random;
use tlc_core::{
    Column, FieldRoles, Lineage, MetricsSink, MetricsTable, NumberRole, Operation, Progress, ProgressSink, Scan,
    StoreError, TableStore, embedding_values, reducer_from_args,
};
use tlc_reduce as _;
use tlc_table::{LanceStore, MemoryStore};

use super::*;
use crate::{DoctorOptions, Problem, Project, Run};

const N_ROWS: usize = 900;
const WIDTH: usize = 6;
/// Those that place rows by neighbours, each in its own way.
const METHODS: [&str; 2] = ["umap", "pacmap"];
/// Of each class; in no order.
const CLASS_SIZES: [usize; 3] = [600, 290, 10];

struct Fixture {
    store: Arc<dyn TableStore>,
    run: Run,
}

impl Fixture {
    fn new() -> Self {
        Self::of(Arc::new(MemoryStore::default()), "memory://test/project".parse().expect("a URL"))
    }

    /// In a folder that goes with the first.
    fn on_disk() -> (tempfile::TempDir, Self) {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Url::from_path(folder.path()).expect("an absolute path");
        (folder, Self::of(Arc::new(LanceStore::default()), root))
    }

    fn of(store: Arc<dyn TableStore>, root: Url) -> Self {
        let project = Project::new(store.clone(), root);
        let run = project.create_run("r", Map::new()).expect("creatable");
        Self { store, run }
    }

    /// Adds a table of [`labelled_rows`] to the run.
    fn add(&self, epoch: u64) -> Url {
        let rows = labelled_rows(epoch);
        let schema = rows.schema();
        let table = MetricsTable {
            name: format!("train-{epoch}"),
            foreign_table: Some(self.run.project().root().join("datasets/train.lance").expect("a name")),
            constants: Map::new(),
            lineage: Lineage::new("test/1", Operation::new("collect", 1)),
        };
        self.run.write_metrics(table, &schema, Box::new([Ok(rows)].into_iter())).expect("writable").url
    }

    /// Where the tables of [`add_foreign`](Self::add_foreign) are.
    fn foreign_url(&self) -> Url {
        self.run.project().root().join("foreign.lance").expect("a name")
    }

    /// Puts a table where another program would, in place of the one that is there: without lineage, identity and
    /// digest. Only on disk.
    fn add_foreign(&self, rows: RecordBatch) -> Url {
        let url = self.foreign_url();
        // Stores of their own, since a store remembers the tables that it has seen.
        if url.to_path().expect("local").exists() {
            LanceStore::default().delete(&url).expect("deletable");
        }
        LanceStore::default().create(&url, rows.schema(), Box::new([Ok(rows)].into_iter())).expect("writable");
        forget_digest(&url);
        let info = LanceStore::default().info(&url).expect("there");
        assert!(info.digest.is_none() && info.lineage().is_none());
        url
    }

    fn rows(&self, url: &Url) -> RecordBatch {
        self.store
            .scan(url, Scan { batch_rows: 10 * N_ROWS, ..Scan::default() })
            .expect("there")
            .next()
            .expect("rows")
            .expect("readable")
    }

    fn digest(&self, url: &Url) -> Option<String> {
        self.store.info(url).expect("there").digest
    }

    fn models(&self, folder: &Url) -> Vec<String> {
        self.store.list_folders(&folder.join("models").expect("a name")).expect("listable")
    }

    /// The pieces that are there, by number.
    fn pieces(&self) -> BTreeMap<String, Url> {
        let mut pieces = BTreeMap::new();
        for it in self.run.project().interrupted_reductions().expect("readable") {
            for url in self.store.list_tables(&it.folder).expect("listable") {
                let number = format!("{}/{}", it.folder, tlc_core::UniqueName::stem_of(url.file_name()));
                assert!(pieces.insert(number, url).is_none(), "a piece was computed twice");
            }
        }
        pieces
    }
}

/// Rows near the places of their classes, the last of them not finite.
fn labelled_rows(epoch: u64) -> RecordBatch {
    let mut labels: Vec<i64> =
        CLASS_SIZES.iter().enumerate().flat_map(|(class, &n)| std::iter::repeat_n(class as i64, n)).collect();
    let noise = Random::new(epoch, "scale-test");
    noise.shuffle(&mut labels);
    let value = |row: usize, at: usize| 5.0 * labels[row] as f32 + noise.normal(row as u64, at as u64) as f32;
    let mut values: Vec<f32> =
        (0..N_ROWS).flat_map(|row| (0..WIDTH).map(move |at| (row, at))).map(|(row, at)| value(row, at)).collect();
    values[(N_ROWS - 1) * WIDTH] = f32::NAN;
    let embedding = Column::embedding("embeddings", WIDTH, values, NumberRole::NnEmbedding).expect("whole vectors");
    let id = Field::new("example_id", DataType::Int64, false).with_role(NumberRole::ExampleId);
    let label = Field::new("label", DataType::Int64, false);
    let schema = Arc::new(Schema::new(vec![id, label, embedding.field]));
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..N_ROWS as i64));
    let labels: ArrayRef = Arc::new(Int64Array::from(labels));
    RecordBatch::try_new(schema, vec![ids, labels, embedding.values]).expect("one length")
}

/// Renames the digest in the manifest of a table on disk: Lance, which could write a table without one, is for
/// `tlc-table` alone.
fn forget_digest(table: &Url) {
    let versions = table.to_path().expect("local").join("_versions");
    let mut files = fs::read_dir(versions).expect("there").map(|file| file.expect("readable").path());
    let manifest = files.find(|file| file.extension().is_some_and(|ending| ending == "manifest"));
    let manifest = manifest.expect("every table has one");
    let mut bytes = fs::read(&manifest).expect("readable");
    let key = *b"tlc:digest";
    while let Some(at) = bytes.windows(key.len()).position(|window| window == key) {
        bytes[at] = b'x';
    }
    fs::write(&manifest, bytes).expect("writable");
}

/// The numbers of the rows of a table that are fitted.
fn sampled(project: &Project, table: &Url, fit_rows: &FitRows) -> Vec<u64> {
    let source = super::source::Source::of_table(project, table).expect("there");
    let sample = super::sample::Sample::new(&source, &["embeddings".to_owned()], fit_rows).expect("valid");
    sample.expect("fewer than all").row_numbers(project, &source, &Progress::default()).expect("drawn")
}

/// The digest of the reduced form of `rows`, made at once.
fn uninterrupted(rows: RecordBatch, fit_rows: FitRows) -> Option<String> {
    let fixture = Fixture::new();
    let url = fixture.foreign_url();
    fixture.store.create(&url, rows.schema(), Box::new([Ok(rows)].into_iter())).expect("writable");
    let reduced = reduce_embeddings(fixture.run.project(), &url, &options(fit_rows, None), &Progress::default());
    fixture.digest(&reduced.expect("reducible"))
}

/// A reducer in two dimensions that is soon done.
fn reducer(method: &str) -> Box<dyn Reducer> {
    let args = match method {
        "umap" => json!({ "n_components": 2, "n_epochs": 20, "n_neighbors": 8 }),
        "pacmap" => json!({ "n_components": 2, "num_iters": [10, 10, 20], "n_neighbors": 8 }),
        _ => json!({ "n_components": 2 }),
    };
    reducer_from_args(method, args.as_object().expect("an object").clone()).expect("valid")
}

/// Where it does not matter by which method.
fn options(fit_rows: FitRows, piece_rows: Option<u64>) -> ReduceOptions {
    options_with("umap", fit_rows, piece_rows)
}

fn options_with(method: &str, fit_rows: FitRows, piece_rows: Option<u64>) -> ReduceOptions {
    let delete_source_tables = Some(false);
    ReduceOptions { fit_rows, piece_rows, delete_source_tables, ..ReduceOptions::new([reducer(method)]) }
}

fn of_rows(rows: u64) -> FitRows {
    FitRows::of(FitSize::Rows(rows))
}

/// Stops the work once so many rows of a task are done.
struct StopAfter {
    name: &'static str,
    rows: u64,
    done: AtomicU64,
    task: AtomicU64,
    /// The names of all tasks until then.
    begun: Mutex<Vec<String>>,
    progress: Mutex<Option<Progress>>,
}

impl ProgressSink for StopAfter {
    fn begin(&self, task: u64, name: &str, _: u64) {
        self.begun.lock().expect("whole").push(name.to_owned());
        if name == self.name {
            self.task.store(task, Ordering::Relaxed);
        }
    }

    fn advance(&self, task: u64, steps: u64) {
        if task == self.task.load(Ordering::Relaxed)
            && self.done.fetch_add(steps, Ordering::Relaxed) + steps >= self.rows
        {
            self.progress.lock().expect("whole").as_ref().expect("set").cancel();
        }
    }

    fn end(&self, _: u64) {}
}

fn stopping_in(name: &'static str, rows: u64) -> (Progress, Arc<StopAfter>) {
    let sink = Arc::new(StopAfter {
        name,
        rows,
        done: AtomicU64::new(0),
        task: AtomicU64::new(u64::MAX),
        begun: Mutex::new(Vec::new()),
        progress: Mutex::new(None),
    });
    let progress = Progress::new(sink.clone());
    *sink.progress.lock().expect("whole") = Some(progress.clone());
    (progress, sink)
}

/// Stops once so many rows were placed.
fn stopping_after(rows: u64) -> Progress {
    stopping_in("place rows", rows).0
}

#[test]
fn a_sample_is_fitted_stated_and_replayed() {
    METHODS.into_iter().for_each(check_that_a_sample_is_fitted_stated_and_replayed);
}

fn check_that_a_sample_is_fitted_stated_and_replayed(method: &str) {
    let fixture = Fixture::new();
    let sources = [fixture.add(0), fixture.add(1)];
    let stratified = FitRows { stratify_by: Some("label".to_owned()), ..of_rows(100) };
    let mapping =
        fixture.run.reduce_embeddings_per_dataset(&options_with(method, stratified, None), &Progress::default());
    let mapping = mapping.expect("reducible");
    let score_column = format!("embeddings_{method}_ood");
    for source in &sources {
        let reduced = mapping.get(source).expect("mapped");
        let lineage = fixture.store.info(reduced).expect("there").lineage().expect("has lineage");
        let stated = json!({ "rows": 100, "of": N_ROWS, "stratified_by": "label", "seed": 42 });
        assert_eq!(lineage.operation.args["fit_rows"], stated);
        fixture.run.project().replay_reduction(reduced, &Progress::default()).expect("the same bits");
    }
    // The fitted rows of the newest table have the score 0, and of each class as many as its share.
    let newest = fixture.rows(mapping.get(&sources[1]).expect("mapped"));
    let labels = newest.column_by_name("label").expect("kept").as_primitive::<Int64Type>();
    let scores = newest.column_by_name(&score_column).expect("made").as_primitive::<Float32Type>();
    let mut fitted = [0; 3];
    for row in (0..N_ROWS).filter(|&row| scores.is_valid(row) && scores.value(row) == 0.0) {
        fitted[labels.value(row) as usize] += 1;
    }
    assert!(fitted.iter().sum::<usize>() >= 99, "the row that is not finite may have been drawn: {fitted:?}");
    assert!((65..=68).contains(&fitted[0]) && (30..=34).contains(&fitted[1]) && fitted[2] >= 1, "{fitted:?}");
    let older = fixture.rows(mapping.get(&sources[0]).expect("mapped"));
    let scores = older.column_by_name(&score_column).expect("made").as_primitive::<Float32Type>();
    assert!(scores.iter().flatten().all(|score| score > 0.0), "no row of it was fitted");
    assert_eq!(scores.null_count(), 1);
}

/// What lies under a null are zeros here, as pyarrow writes them.
#[test]
fn rows_without_a_vector_have_no_place() {
    let fixture = Fixture::new();
    let rows = labelled_rows(0);
    let at = rows.schema().index_of("embeddings").expect("there");
    let (item, width, values, _) = rows.column(at).as_fixed_size_list().clone().into_parts();
    let has_vector = |row: usize| row % 10 != 3;
    let zeros: Vec<f32> = values
        .as_primitive::<Float32Type>()
        .values()
        .chunks(WIDTH)
        .enumerate()
        .flat_map(|(row, values)| values.iter().map(move |value| if has_vector(row) { *value } else { 0.0 }))
        .collect();
    let nulls = (0..N_ROWS).map(has_vector).collect::<Vec<bool>>().into();
    let mut fields: Vec<_> = rows.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields[at] = fields[at].clone().with_nullable(true);
    let mut columns = rows.columns().to_vec();
    columns[at] = Arc::new(FixedSizeListArray::new(item, width, Arc::new(Float32Array::from(zeros)), Some(nulls)));
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("one length");
    let url = fixture.foreign_url();
    fixture.store.create(&url, rows.schema(), Box::new([Ok(rows)].into_iter())).expect("writable");
    for fit_rows in [FitRows::of(FitSize::All), of_rows(100)] {
        let options = options_with("umap", fit_rows, None);
        let reduced = reduce_embeddings(fixture.run.project(), &url, &options, &Progress::default());
        let reduced = fixture.rows(&reduced.expect("reducible"));
        for name in ["embeddings_umap", "embeddings_umap_ood"] {
            let Some(column) = reduced.column_by_name(name) else { continue };
            // The last row is not finite.
            assert!((0..N_ROWS - 1).all(|row| column.is_valid(row) == has_vector(row)), "{name}");
        }
        assert!(reduced.column_by_name("embeddings_umap").is_some());
    }
}

#[test]
fn few_rows_are_looked_up_and_many_are_read_with_one_result() {
    let fixture = Fixture::new();
    let (source, project) = (fixture.add(0), fixture.run.project());
    // One in 64 is where the way changes.
    for rows in [5, 10, 20, 300] {
        let numbers = sampled(project, &source, &of_rows(rows));
        assert_eq!(numbers.len() as u64, rows);
        assert!(numbers.is_sorted_by(|a, b| a < b) && numbers.iter().all(|&row| row < N_ROWS as u64));
    }
    let all = fixture.rows(&source);
    let values = embedding_values(&all, "embeddings").expect("vectors");
    for rows in [10, 20] {
        let options = options_with("pca", of_rows(rows), None);
        let reduced = reduce_embeddings(project, &source, &options, &Progress::default());
        let reduced = fixture.rows(&reduced.expect("reducible"));
        let numbers = sampled(project, &source, &of_rows(rows));
        let usable: Vec<usize> = numbers.iter().map(|&row| row as usize).filter(|&row| row + 1 < N_ROWS).collect();
        let rows = values.select(Axis(0), &usable);
        let fitted = options.reductions[0].reducer.fit(rows.view(), &Progress::default()).expect("fits");
        let expected = fitted.transform(values.view(), &Progress::default()).expect("placed");
        let found = embedding_values(&reduced, "embeddings_pca").expect("vectors");
        let finite = N_ROWS - 1;
        assert_eq!(found.slice(s![..finite, ..]), expected.coordinates.slice(s![..finite, ..]));
    }
}

#[test]
fn choosing_and_reading_the_rows_to_fit_on_is_told_and_can_be_stopped() {
    let fixture = Fixture::new();
    let source = fixture.add(0);
    let (choose, read) = ("choose rows to fit on", "read rows to fit on");
    let stratified = FitRows { stratify_by: Some("label".to_owned()), ..of_rows(100) };
    // Few rows are looked up, of many and of all the whole column is read.
    let cases = [(of_rows(10), read), (of_rows(300), read), (FitRows::of(FitSize::All), read), (stratified, choose)];
    for (fit_rows, task) in cases {
        let (progress, sink) = stopping_in(task, 1);
        let options = options(fit_rows, None);
        let stopped = reduce_embeddings(fixture.run.project(), &source, &options, &progress).expect_err("stopped");
        assert!(matches!(stopped, RunError::Cancelled(_)), "{:?}: {stopped}", options.fit_rows);
        assert_eq!(*sink.begun.lock().expect("whole"), [task], "{:?}: nothing came after it", options.fit_rows);
    }
}

#[test]
fn pieces_change_nothing() {
    METHODS.into_iter().for_each(check_that_pieces_change_nothing);
}

fn check_that_pieces_change_nothing(method: &str) {
    let fixture = Fixture::new();
    let sources = [fixture.add(0), fixture.add(1)];
    let reduce = |piece_rows| {
        let options = options_with(method, of_rows(200), piece_rows);
        let mut digests = Vec::new();
        for source in &sources {
            let url = reduce_embeddings(fixture.run.project(), source, &options, &Progress::default());
            digests.push(fixture.digest(&url.expect("reducible")));
        }
        digests
    };
    let whole = reduce(None);
    for piece_rows in [1, 7, 450, 899, 900, 5000] {
        assert_eq!(reduce(Some(piece_rows)), whole, "{method}, pieces of {piece_rows}");
        assert!(fixture.pieces().is_empty(), "they go with the end of the reduction");
    }
}

#[test]
fn a_reduction_that_was_stopped_goes_on_where_it_ended() {
    let reference = Fixture::new();
    let expected: Vec<Url> = vec![reference.add(0), reference.add(1)];
    let mapping = reference.run.reduce_embeddings_per_dataset(&options(of_rows(200), None), &Progress::default());
    let mapping = mapping.expect("reducible");
    let expected: Vec<_> = expected.iter().map(|url| reference.digest(mapping.get(url).expect("mapped"))).collect();
    let fixture = Fixture::new();
    let sources = [fixture.add(0), fixture.add(1)];
    let options = options(of_rows(200), Some(100));
    let mut before = BTreeMap::new();
    for stop in [350, 700, 1200] {
        let stopped = fixture.run.reduce_embeddings_per_dataset(&options, &stopping_after(stop));
        assert!(stopped.expect_err("stopped").is_cancelled());
        let now = fixture.pieces();
        assert!(before.iter().all(|(number, url)| now.get(number) == Some(url)), "finished pieces stay as they are");
        assert!(now.len() > before.len(), "and more are finished each time");
        before = now;
        assert_eq!(fixture.run.metrics().expect("readable").len(), 2, "nothing half-made is recorded");
        let tables = fixture.run.project().inventory().expect("readable").tables;
        assert_eq!(tables.len(), 2, "or visible: {tables:?}");
    }
    assert_eq!(fixture.models(fixture.run.url()).len(), 1, "one fit served all attempts");
    let mapping = fixture.run.reduce_embeddings_per_dataset(&options, &Progress::default()).expect("finished");
    let found: Vec<_> = sources.iter().map(|url| fixture.digest(mapping.get(url).expect("mapped"))).collect();
    assert_eq!(found, expected, "to the bit as without an interruption");
    assert!(fixture.pieces().is_empty() && fixture.models(fixture.run.url()).len() == 1);
}

#[test]
fn a_table_of_another_program_that_was_stopped_goes_on_where_it_ended() {
    let (_folder, fixture) = Fixture::on_disk();
    let (url, project) = (fixture.add_foreign(labelled_rows(0)), fixture.run.project());
    let options = options(of_rows(200), Some(100));
    let mut before = BTreeMap::new();
    for stop in [350, 700] {
        let stopped = reduce_embeddings(project, &url, &options, &stopping_after(stop));
        assert!(stopped.expect_err("stopped").is_cancelled());
        let now = fixture.pieces();
        assert!(before.iter().all(|(number, url)| now.get(number) == Some(url)), "finished pieces stay as they are");
        assert!(now.len() > before.len(), "and more are finished each time");
        before = now;
    }
    let reduced = reduce_embeddings(project, &url, &options, &Progress::default()).expect("finished");
    assert_eq!(fixture.models(project.root()).len(), 1, "one fit served all attempts");
    assert!(fixture.pieces().is_empty());
    assert_eq!(fixture.digest(&reduced), uninterrupted(labelled_rows(0), of_rows(200)));
    project.replay_reduction(&reduced, &Progress::default()).expect("the same bits");
}

#[test]
fn nothing_is_taken_over_of_a_table_of_another_program_whose_rows_changed() {
    let options = options(of_rows(200), Some(100));
    let (before, after) = (labelled_rows(0), labelled_rows(1));
    for is_all in [true, false] {
        let (_folder, fixture) = Fixture::on_disk();
        let (url, project) = (fixture.add_foreign(before.clone()), fixture.run.project());
        let stopped = reduce_embeddings(project, &url, &options, &stopping_after(500));
        assert!(stopped.expect_err("stopped").is_cancelled() && fixture.pieces().len() >= 4);
        let rows = match is_all {
            true => after.clone(),
            // Those that are fitted stay, so that the model is the same, and with it the folder of the pieces.
            false => {
                let fitted = sampled(project, &url, &options.fit_rows);
                let is_changed = |row: usize| !fitted.contains(&(row as u64));
                let picks: Vec<_> = (0..N_ROWS).map(|row| (usize::from(is_changed(row)), row)).collect();
                interleave_record_batch(&[&before, &after], &picks).expect("one schema")
            }
        };
        fixture.add_foreign(rows.clone());
        // As the next process, which has not seen the table before.
        let next = Project::new(Arc::new(LanceStore::default()), project.root().clone());
        let reduced = reduce_embeddings(&next, &url, &options, &Progress::default()).expect("reducible");
        assert_eq!(fixture.digest(&reduced), uninterrupted(rows, of_rows(200)), "all changed: {is_all}");
        let n_models = fixture.models(project.root()).len();
        assert_eq!(n_models, if is_all { 2 } else { 1 }, "a model is used again for the same rows only");
    }
}

#[test]
fn a_piece_that_is_damaged_is_computed_again() {
    let fixture = Fixture::new();
    let source = fixture.add(0);
    let options = options(of_rows(200), Some(100));
    let project = fixture.run.project();
    let expected = reduce_embeddings(project, &source, &options, &Progress::default()).expect("reducible");
    let stopped = reduce_embeddings(project, &source, &options, &stopping_after(500));
    assert!(stopped.expect_err("stopped").is_cancelled());
    let pieces: Vec<Url> = fixture.pieces().into_values().collect();
    assert!(pieces.len() >= 3);
    // One holds the rows of another, and one too few.
    let replace = |url: &Url, rows: RecordBatch| {
        fixture.store.delete(url).expect("deletable");
        fixture.store.create(url, rows.schema(), Box::new([Ok(rows)].into_iter())).expect("writable");
    };
    replace(&pieces[1], fixture.rows(&pieces[1]).slice(0, 40));
    let found = reduce_embeddings(project, &source, &options, &Progress::default()).expect("reducible");
    assert_eq!(fixture.digest(&found), fixture.digest(&expected));
}

/// A file of a table with a flipped bit.
struct Flipped {
    file: PathBuf,
    sound: Vec<u8>,
}

impl Flipped {
    /// In the first value of `row`.
    fn at(fixture: &Fixture, source: &Url, row: usize) -> Self {
        let value = embedding_values(&fixture.rows(source), "embeddings").expect("vectors")[[row, 0]].to_le_bytes();
        let data = source.to_path().expect("local").join("data");
        let file = fs::read_dir(data).expect("there").next().expect("a file").expect("readable").path();
        let sound = fs::read(&file).expect("readable");
        let at = sound.windows(4).position(|window| window == value).expect("values are stored as they are");
        let mut bytes = sound.clone();
        // The highest of the mantissa: a number still, but another one.
        bytes[at + 2] ^= 0x40;
        fs::write(&file, bytes).expect("writable");
        Self { file, sound }
    }

    fn restore(&self) {
        fs::write(&self.file, &self.sound).expect("writable");
    }
}

#[test]
fn nothing_is_taken_over_that_was_made_of_damaged_rows() {
    let options = options(of_rows(450), Some(100));
    let reference = Fixture::new();
    let expected = reference.add(0);
    let expected = reduce_embeddings(reference.run.project(), &expected, &options, &Progress::default());
    let expected = reference.digest(&expected.expect("reducible"));
    for (is_fitted, is_killed) in [(true, false), (false, false), (true, true), (false, true)] {
        let (_folder, fixture) = Fixture::on_disk();
        let (url, project) = (fixture.add(0), fixture.run.project());
        let fitted = sampled(project, &url, &options.fit_rows);
        let row = (150..).find(|row| fitted.contains(row) == is_fitted).expect("every other one is");
        let flipped = Flipped::at(&fixture, &url, row as usize);
        let progress = if is_killed { stopping_after(500) } else { Progress::default() };
        let failed = reduce_embeddings(project, &url, &options, &progress).expect_err("stopped or damaged");
        let case = format!("row {row}, fitted: {is_fitted}, killed: {is_killed}");
        if is_killed {
            assert!(failed.is_cancelled() && fixture.pieces().len() >= 4, "{case}: {failed}");
        } else {
            assert!(matches!(failed, RunError::Store(StoreError::Damaged { .. })), "{case}: {failed}");
            assert!(fixture.pieces().is_empty(), "{case}");
            let models = url.parent().expect("a folder").join("models").expect("a name");
            assert_eq!(fixture.store.list_folders(&models).expect("listable"), [""; 0], "{case}");
        }
        flipped.restore();
        let reduced = reduce_embeddings(project, &url, &options, &Progress::default()).expect("sound again");
        assert_eq!(fixture.digest(&reduced), expected, "{case}");
        project.replay_reduction(&reduced, &Progress::default()).expect("the same bits");
    }
}

#[test]
fn pieces_of_sound_rows_are_used_also_if_others_were_damaged() {
    let (_folder, fixture) = Fixture::on_disk();
    let (url, project) = (fixture.add(0), fixture.run.project());
    let options = options(of_rows(200), Some(100));
    let fitted = sampled(project, &url, &options.fit_rows);
    let row = (150..).find(|row| !fitted.contains(row)).expect("most are not");
    let flipped = Flipped::at(&fixture, &url, row as usize);
    let stop = |rows| {
        let stopped = reduce_embeddings(project, &url, &options, &stopping_after(rows)).expect_err("stopped");
        assert!(stopped.is_cancelled());
        fixture.pieces()
    };
    let before = stop(400);
    flipped.restore();
    let after = stop(600);
    let made_again: Vec<u64> = before
        .iter()
        .filter(|(number, url)| after.get(*number) != Some(*url))
        .map(|(number, _)| number.rsplit_once('/').expect("a folder").1.parse().expect("a number"))
        .collect();
    assert_eq!(made_again, [row / 100]);
    assert!(after.len() > before.len());
}

#[test]
fn the_doctor_knows_interrupted_reductions() {
    let fixture = Fixture::new();
    let source = fixture.add(0);
    let project = fixture.run.project();
    let stopped = reduce_embeddings(project, &source, &options(of_rows(200), Some(100)), &stopping_after(500));
    assert!(stopped.expect_err("stopped").is_cancelled());
    let look = |repair, least_age| {
        project.doctor(&DoctorOptions { repair, least_age, verify: true }, &Progress::default()).expect("readable")
    };
    let none = look(true, Duration::from_secs(3600));
    assert!(none.is_empty() && !fixture.pieces().is_empty(), "somebody may be at work: {none:?}");
    let found = look(true, Duration::ZERO);
    assert!(matches!(&found[..], [it] if it.problem == Problem::InterruptedReduction && it.is_repaired), "{found:?}");
    assert!(fixture.pieces().is_empty());
    assert_eq!(look(false, Duration::ZERO), []);
}

#[test]
fn what_cannot_be_sampled_is_explained() {
    let fixture = Fixture::new();
    fixture.add(0);
    let check = |options: ReduceOptions, expected: &str| {
        let error = fixture.run.reduce_embeddings_per_dataset(&options, &Progress::default());
        let error = error.expect_err("refused").to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(options(of_rows(0), None), "fit_rows is 0; use at least 1 row");
    check(options(FitRows::of(FitSize::Share(1.5)), None), "fit_rows is the share 1.5; use at least 1 row, or a share");
    check(options(of_rows(50), Some(0)), "piece_rows is 0; use at least 1 row");
    let by = |column: &str, rows| FitRows { stratify_by: Some(column.to_owned()), ..of_rows(rows) };
    check(options(by("labels", 50), None), "cannot be stratified by it, its type is unknown");
    check(options(by("embeddings", 50), None), "cannot be stratified by it, its type is FixedSizeList");
    check(options(by("label", 2), None), "it has at least 3 values, but only 2 rows are to be fitted");
    // No more is read than tells that there are too many.
    check(options(by("example_id", 5), None), "it has at least 6 values, but only 5 rows are to be fitted");
}
