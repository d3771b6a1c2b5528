//! `kill -9` at random moments: nothing is lost, nothing half-made is visible, and the work can be done again.
//!
//! 264 rounds, seeded: 100 of a reduction that replaces its sources, 60 of an import, 40 of a deletion, 40 of updates of
//! a run, 24 of a collection. A large reduction is killed three times more, after some of its pieces. How far a command
//! got before it was killed differs from machine to machine; what must hold afterwards does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use tlc::core::rng::Stream;
use tlc::core::{
    Column, FieldRoles, Lineage, MetricsSink, MetricsTable, NumberRole, Operation, Progress, StoreError, UniqueName,
    Url,
};
use tlc::run::{DoctorOptions, Problem, Project, ReduceOptions, Run, RunError};

use super::{exported_model_and_images, project, tlc};

const N_ROWS: usize = 64;
const WIDTH: usize = 8;

/// Runs `command`, and kills it after a share of `usual` that `round` decides. Whether it was killed.
fn kill_midway(command: &mut Command, usual: Duration, round: u64) -> bool {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the command runs");
    std::thread::sleep(usual.mul_f64(1.1 * Stream::new(7, "kill").uniform(round, 0)));
    let was_running = child.try_wait().expect("a child of ours").is_none();
    child.kill().expect("a child of ours");
    child.wait().expect("a child of ours");
    was_running
}

/// How long a command takes when nobody kills it.
fn duration_of(command: &mut Command) -> Duration {
    let started = Instant::now();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("the command runs");
    assert!(status.success());
    started.elapsed()
}

/// A run with embeddings of three epochs.
pub(super) fn run_with_embeddings(project: &Project, name: &str) -> Run {
    let run = project.create_run(name, Default::default()).expect("creatable");
    for epoch in 0..3_u64 {
        let noise = Stream::new(epoch, "embeddings");
        let values = (0..N_ROWS * WIDTH).map(|i| noise.normal(i as u64, 0) as f32).collect();
        let embedding = Column::embedding("embeddings", WIDTH, values, NumberRole::NnEmbedding).expect("whole vectors");
        let id = Field::new("example_id", DataType::Int64, false).with_role(NumberRole::ExampleId);
        let schema = Arc::new(Schema::new(vec![id, embedding.field]));
        let ids = Arc::new(Int64Array::from_iter_values(0..N_ROWS as i64));
        let rows = RecordBatch::try_new(schema.clone(), vec![ids, embedding.values]).expect("one length");
        let table = MetricsTable {
            name: format!("epoch-{epoch}"),
            foreign_table: Some(project.root().join("datasets/toys/train.lance").expect("a name")),
            constants: Default::default(),
            lineage: Lineage::new("test/1", Operation::new("made-up", 1)),
        };
        run.write_metrics(table, &schema, Box::new([Ok(rows)].into_iter())).expect("writable");
    }
    run
}

/// Every table that can be seen is whole.
pub(super) fn check_tables(project: &Project) {
    let inventory = project.inventory().expect("readable");
    assert!(inventory.damaged_tables.is_empty() && inventory.damaged_runs.is_empty(), "{inventory:?}");
    for info in &inventory.tables {
        project.store().verify(&info.url, &Progress::default()).expect("whole");
    }
}

pub(super) fn urls(run: &Run) -> Vec<Url> {
    run.metrics().expect("readable").into_iter().map(|entry| entry.url).collect()
}

#[test]
fn a_reduction_that_is_killed_loses_no_source_before_its_successor_is_verified() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = project(folder.path());
    let reduce = |name: &str| {
        let mut command = tlc();
        command.args(["reduce", name, "--method", "pca", "--project"]).arg(folder.path());
        command
    };
    run_with_embeddings(&project, "whole");
    let usual = duration_of(&mut reduce("whole"));
    project.delete_run("whole", false).expect("deletable");
    let (mut n_killed, mut n_unfinished) = (0, 0);
    for round in 0..100 {
        let name = format!("round-{round}");
        let run = run_with_embeddings(&project, &name);
        let sources = urls(&run);
        n_killed += usize::from(kill_midway(&mut reduce(&name), usual, round));
        check_tables(&project);
        let entries = run.metrics().expect("readable");
        for entry in &entries {
            project.store().verify(&entry.url, &Progress::default()).expect("what the record lists is there");
        }
        for source in &sources {
            let is_there = project.store().info(source).is_ok();
            let is_replaced = entries.iter().any(|entry| entry.reduced_from.as_ref() == Some(source));
            assert!(is_there || is_replaced, "round {round}: {source} is lost");
        }
        n_unfinished += usize::from(sources.iter().any(|source| project.store().info(source).is_ok()));
        // The run can be continued, to the same end.
        let pca = tlc::create_reducer("pca", []).expect("known");
        run.reduce_embeddings_per_dataset(&ReduceOptions::new([pca]), &Progress::default()).expect("continued");
        assert!(sources.iter().all(|source| project.store().info(source).is_err()), "round {round}: a source is left");
        assert_eq!(urls(&run).len(), 3, "round {round}");
        project.delete_run(&name, false).expect("deletable");
    }
    assert!(n_killed >= 20 && n_unfinished >= 10, "{n_killed} were killed, {n_unfinished} before their end");
}

/// The finished pieces of a run's reduction, by number.
fn pieces(project: &Project, run: &Run) -> BTreeMap<String, Url> {
    let folder = run.url().join("reduced").expect("a name");
    let mut pieces = BTreeMap::new();
    for name in project.store().list_folders(&folder).expect("listable") {
        if name.ends_with(".pieces") {
            for url in project.store().list_tables(&folder.join(&name).expect("a name")).expect("listable") {
                let number = UniqueName::stem_of(url.file_name()).to_owned();
                assert!(pieces.insert(number, url).is_none(), "a piece was computed twice");
            }
        }
    }
    pieces
}

#[test]
fn a_large_reduction_that_is_killed_goes_on_where_it_ended() {
    const N_LARGE: usize = 12_000;
    let folder = tempfile::tempdir().expect("a folder");
    let project = project(folder.path());
    let run_with_rows = |name: &str| {
        let run = project.create_run(name, Default::default()).expect("creatable");
        let noise = Stream::new(9, "embeddings");
        let values = (0..N_LARGE * WIDTH).map(|i| noise.normal(i as u64, 0) as f32).collect();
        let embedding = Column::embedding("embeddings", WIDTH, values, NumberRole::NnEmbedding).expect("whole vectors");
        let schema = Arc::new(Schema::new(vec![embedding.field]));
        let rows = RecordBatch::try_new(schema.clone(), vec![embedding.values]).expect("one length");
        let table = MetricsTable {
            name: "large".to_owned(),
            foreign_table: Some(project.root().join("datasets/toys/train.lance").expect("a name")),
            constants: Default::default(),
            lineage: Lineage::new("test/1", Operation::new("made-up", 1)),
        };
        run.write_metrics(table, &schema, Box::new([Ok(rows)].into_iter())).expect("writable");
        run
    };
    let reduce = |name: &str| {
        let mut command = tlc();
        command.args(["reduce", name, "--method", "umap", "--args", r#"{"n_epochs": 20, "n_neighbors": 5}"#]);
        command.args(["--fit-rows", "500", "--piece-rows", "300", "--project"]).arg(folder.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let reduced = |run: &Run| {
        let entries = run.metrics().expect("readable");
        assert!(entries.len() == 1 && entries[0].reduced_from.is_some(), "{entries:?}");
        project.store().info(&entries[0].url).expect("there")
    };
    let whole = run_with_rows("whole");
    duration_of(&mut reduce("whole"));

    let run = run_with_rows("r");
    let mut before = BTreeMap::new();
    for round in 0..3 {
        let mut child = reduce("r").spawn().expect("the command runs");
        while pieces(&project, &run).len() < before.len() + 5 {
            assert!(child.try_wait().expect("a child of ours").is_none(), "round {round}: it ended too early");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().expect("a child of ours");
        child.wait().expect("a child of ours");
        let now = pieces(&project, &run);
        assert!(before.iter().all(|(number, url)| now.get(number) == Some(url)), "round {round}: a piece was lost");
        before = now;
        check_tables(&project);
        assert!(run.metrics().expect("readable")[0].reduced_from.is_none(), "round {round}: nothing is replaced yet");
    }
    duration_of(&mut reduce("r"));
    let (found, expected) = (reduced(&run), reduced(&whole));
    assert!(found.rows == N_LARGE as u64 && found.digest.is_some());
    assert_eq!(found.digest, expected.digest, "to the bit as if it had not been killed");
    assert!(pieces(&project, &run).is_empty(), "they go in the end");
    let options = DoctorOptions { repair: true, verify: true, least_age: Duration::ZERO };
    let findings = project.doctor(&options, &Progress::default()).expect("readable");
    assert!(
        findings.iter().all(|it| it.is_repaired && matches!(it.problem, Problem::UnfinishedTable | Problem::Leftover)),
        "only what was begun is left: {findings:?}"
    );
    assert_eq!(project.doctor(&options, &Progress::default()).expect("readable"), []);
}

#[test]
fn an_import_that_is_killed_shows_no_half_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rows.csv");
    let lines: Vec<String> = (0..20_000).map(|i| format!("{i},{}", f64::from(i).sin())).collect();
    fs::write(&file, format!("id,value\n{}\n", lines.join("\n"))).expect("writable");
    let root = folder.path().join("p");
    let import = || {
        let mut command = tlc();
        command.args(["import"]).arg(&file).args(["--dataset", "rows", "--project"]).arg(&root);
        command
    };
    let usual = duration_of(&mut import());
    let project = project(&root);
    let datasets = root.join("datasets/rows");
    let mut n_without = 0;
    for round in 0..60 {
        fs::remove_dir_all(&datasets).expect("there");
        fs::create_dir_all(&datasets).expect("writable");
        kill_midway(&mut import(), usual, 1000 + round);
        check_tables(&project);
        let tables = project.inventory().expect("readable").tables;
        assert!(tables.iter().all(|info| info.rows == 20_000), "round {round}: {tables:?}");
        n_without += usize::from(tables.is_empty());
    }
    assert!(n_without >= 5, "only {n_without} were killed before their end");
}

#[test]
fn a_deletion_that_is_killed_leaves_a_whole_table_or_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = project(folder.path());
    let run = run_with_embeddings(&project, "r");
    let table = tlc::table::Table::from_url(project.shared_store(), &urls(&run)[0]).expect("there");
    let remove = |url: &Url| {
        let mut command = tlc();
        command.arg("rm").arg(url.to_path().expect("local"));
        command
    };
    let usual = duration_of(&mut remove(table.squashed().expect("a copy").url()));
    for round in 0..40 {
        let copy = table.squashed().expect("a copy").url().clone();
        kill_midway(&mut remove(&copy), usual, 2000 + round);
        check_tables(&project);
        match project.store().info(&copy) {
            Ok(_) => project.delete_table(&copy, false).expect("deleted after all"),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => panic!("round {round}: {error}"),
        }
        let notes = project.deletions().expect("readable");
        assert_eq!(notes.iter().filter(|note| note.url.resolve(project.root()).as_ref() == Ok(&copy)).count(), 1);
    }
}

#[test]
fn a_collection_that_is_killed_leaves_whole_tables_and_can_be_repeated() {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, images) = exported_model_and_images(folder.path());
    let root = folder.path().join("p");
    let collect = || {
        let mut command = tlc();
        command.arg("collect").arg(&model).args(["--layers", "pool", "--run", "r", "--npy"]).arg(&images);
        command.arg("--project").arg(&root);
        command
    };
    let usual = duration_of(&mut collect());
    let project = project(&root);
    project.delete_run("r", false).expect("deletable");
    let tables = || match project.open_run("r") {
        Ok(run) => run.metrics().expect("readable"),
        Err(RunError::UnknownRun { .. }) => Vec::new(),
        Err(error) => panic!("{error}"),
    };
    let (mut n_killed, mut n_without, mut n_before) = (0, 0, 0);
    for round in 0..24 {
        n_killed += usize::from(kill_midway(&mut collect(), usual, 3000 + round));
        check_tables(&project);
        let listed = tables();
        for entry in &listed {
            assert_eq!(entry.rows, 16, "round {round}: {entry:?}");
            project.store().verify(&entry.url, &Progress::default()).expect("what the record lists is there");
        }
        n_without += usize::from(listed.len() == n_before);
        assert!(
            (n_before..=n_before + 1).contains(&listed.len()),
            "round {round}: a table of an earlier round is lost"
        );
        n_before = listed.len();
    }
    assert!(n_killed >= 5 && n_without >= 3, "{n_killed} were killed, {n_without} before their table was there");
    duration_of(&mut collect());
    let listed = tables();
    let described: BTreeSet<_> = listed.iter().map(|entry| entry.foreign_table.clone()).collect();
    assert!(listed.len() == n_before + 1 && described.len() == 1, "{listed:?}");
    check_tables(&project);
}

/// Names the project to the process that is killed.
const UPDATES: &str = "TLC_TEST_UPDATES";
/// Precedes the number of an update that is done.
const DONE: &str = "done: ";

/// Started by itself once more, in another process, it changes a run until it is killed, and says what it has done.
#[test]
#[expect(clippy::print_stdout, reason = "how the first process learns what was done")]
fn an_update_that_is_killed_is_done_or_not_and_none_is_lost() {
    if let Some(folder) = std::env::var_os(UPDATES) {
        let run = project(Path::new(&folder)).open_run("r").expect("there");
        for step in 0_u64.. {
            run.extend_parameter("steps", [step]).expect("writable");
            println!("{DONE}{step}");
        }
    }
    let this = std::env::current_exe().expect("a path");
    let mut n_in_between = 0;
    for round in 0..40_u64 {
        let folder = tempfile::tempdir().expect("a folder");
        let run = project(folder.path()).create_run("r", Default::default()).expect("creatable");
        let mut other = Command::new(&this);
        other.args(["--exact", "faults::an_update_that_is_killed_is_done_or_not_and_none_is_lost", "--nocapture"]);
        other.env(UPDATES, folder.path()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut other = other.spawn().expect("started");
        let mut lines = BufReader::new(other.stdout.take().expect("piped")).lines();
        let mut n_done = 0;
        while n_done == 0 {
            let line = lines.next().expect("it makes updates").expect("text");
            n_done += usize::from(line.contains(DONE));
        }
        std::thread::sleep(Duration::from_millis(30).mul_f64(Stream::new(8, "kill").uniform(round, 0)));
        other.kill().expect("a child of ours");
        other.wait().expect("a child of ours");
        n_done += lines.map_while(Result::ok).filter(|line| line.contains(DONE)).count();
        let record = run.record().expect("readable");
        let steps: Vec<u64> = serde_json::from_value(record.parameters["steps"].clone()).expect("numbers");
        assert!(steps.iter().copied().eq(0..steps.len() as u64), "round {round}: {steps:?}");
        assert!((n_done..=n_done + 1).contains(&steps.len()), "round {round}: {n_done} were done, {steps:?} are there");
        n_in_between += usize::from(n_done > 1);
        run.extend_parameter("steps", ["after"]).expect("nobody holds a lock any more");
    }
    assert!(n_in_between >= 10, "only {n_in_between} were killed after more than one update");
}
