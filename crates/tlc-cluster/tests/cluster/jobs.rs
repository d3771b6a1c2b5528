//! Jobs that cannot be done say why, and leave nothing.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use tlc_cluster::{Apply, ClusterAddress, ClusterError, Where};
use tlc_core::ulid::Ulid;
use tlc_core::{Progress, ProgressSink, StoreError, TableStore, Url, with_causes};
use tlc_table::LanceStore;

use crate::{Place, rows, write_table};

/// Does something once, when the first task of a job is done.
struct Meanwhile(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl ProgressSink for Meanwhile {
    fn begin(&self, _task: u64, _name: &str, _total: u64) {}

    fn advance(&self, _task: u64, _steps: u64) {
        let act = self.0.lock().expect("no panic before").take();
        if let Some(act) = act {
            act();
        }
    }

    fn end(&self, _task: u64) {}
}

fn meanwhile(act: impl FnOnce() + Send + 'static) -> Progress {
    Progress::new(Arc::new(Meanwhile(Mutex::new(Some(Box::new(act))))))
}

fn assert_nothing_is_left(out: &Url) {
    assert!(matches!(LanceStore::default().info(out), Err(StoreError::NotFound { .. })), "{out} is not visible");
    let table = LanceStore::default().begin_parts(out, Ulid::generate()).expect("its place is free");
    assert!(table.give_up().expect("removable"), "nobody else is there");
}

/// The names of the files that hold a table's rows.
fn files_of(out: &Url) -> BTreeSet<String> {
    let entries = std::fs::read_dir(out.to_path().expect("local").join("data")).expect("there");
    entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_job_whose_driver_died_goes_on_where_it_ended() {
    let place = Place::new();
    let here = place.job("here").run(&Where::Here, &Progress::default()).expect("applied at once");
    let job = place.job("died");
    let dies = || job.run(&Where::Here, &meanwhile(|| panic!("the driver dies here, as the test wants it")));
    catch_unwind(AssertUnwindSafe(dies)).expect_err("it died");
    assert!(matches!(LanceStore::default().info(&job.out), Err(StoreError::NotFound { .. })), "nothing is visible");
    let written = files_of(&job.out);
    assert_eq!(written.len(), 1, "a part");
    let other = Apply { rows_per_task: 1000, ..job.clone() }.run(&Where::Here, &Progress::default());
    let other = other.expect_err("the place is taken by other parts");
    assert!(matches!(other, ClusterError::Store(StoreError::AlreadyExists { is_unfinished: true, .. })), "{other:?}");
    let made = job.run(&Where::Here, &Progress::default()).expect("it goes on");
    assert_eq!(made.digest, here.digest);
    assert!(files_of(&job.out).is_superset(&written), "what was written is part of it");
    assert_eq!(files_of(&job.out).len(), 80);
    assert_eq!(rows(&made.url).columns(), rows(&here.url).columns());
    LanceStore::default().verify(&made.url, &Progress::default()).expect("whole");
}

#[test]
fn a_job_that_failed_goes_on_when_the_cause_is_gone() {
    let place = Place::new();
    let here = place.job("here").run(&Where::Here, &Progress::default()).expect("applied at once");
    let job = place.job("failed");
    let data = place.table.to_path().expect("local").join("data");
    let away = data.with_file_name("away");
    let unplug = {
        let (data, away) = (data.clone(), away.clone());
        move || std::fs::rename(data, away).expect("movable")
    };
    let error = job.run(&Where::Here, &meanwhile(unplug)).expect_err("its rows are away");
    assert!(matches!(error, ClusterError::Stopped { .. }), "{error:?}");
    let text = with_causes(&error);
    assert!(text.contains("failed.lance") && text.contains("the same job goes on"), "{text}");
    assert!(text.contains("initial.lance"), "{text}");
    let written = files_of(&job.out);
    std::fs::rename(away, data).expect("movable");
    let made = job.run(&Where::Here, &Progress::default()).expect("it goes on");
    assert_eq!(made.digest, here.digest);
    assert!(!written.is_empty() && files_of(&job.out).is_superset(&written), "what was written is part of it");
}

#[test]
fn a_table_that_changes_meanwhile_ends_the_job() {
    let place = Place::new();
    let job = place.job("changed");
    let table = place.table;
    let replace = move || {
        LanceStore::default().delete(&table).expect("there");
        write_table(&table, 2);
    };
    let error = job.run(&Where::Here, &meanwhile(replace)).expect_err("its table is another one");
    assert!(with_causes(&error).contains("initial.lance changed since the job began"), "{}", with_causes(&error));
    assert_nothing_is_left(&job.out);
}

#[test]
fn of_a_job_that_runs_twice_at_once_one_makes_the_table() {
    let place = Place::new();
    let (first, second) = (place.job("twice"), place.job("twice"));
    let made = Arc::new(Mutex::new(None));
    // The second begins when the first has written a part, and is done before that goes on.
    let faster = {
        let made = made.clone();
        move || {
            let table = second.run(&Where::Here, &Progress::default()).expect("it uses the part");
            *made.lock().expect("no panic before") = Some(table);
        }
    };
    let late = first.run(&Where::Here, &meanwhile(faster)).expect_err("the second was faster");
    let is_whole = matches!(late, ClusterError::Store(StoreError::AlreadyExists { is_unfinished: false, .. }));
    assert!(is_whole && late.to_string().contains("already exists"), "{late}");
    let made = made.lock().expect("no panic before").take().expect("made");
    LanceStore::default().verify(&made.url, &Progress::default()).expect("whole, and not taken away");
    assert_eq!(files_of(&made.url).len(), 80, "a file for each part");
    let third = first.run(&Where::Here, &Progress::default()).expect_err("it is there");
    assert!(matches!(third, ClusterError::Store(StoreError::AlreadyExists { is_unfinished: false, .. })), "{third}");
}

#[test]
fn a_job_that_is_cancelled_leaves_nothing() {
    let place = Place::new();
    let job = place.job("cancelled");
    let slot: Arc<Mutex<Option<Progress>>> = Arc::default();
    let progress = meanwhile({
        let slot = slot.clone();
        move || slot.lock().expect("no panic before").as_ref().expect("set below").cancel()
    });
    *slot.lock().expect("no panic before") = Some(progress.clone());
    let error = job.run(&Where::Here, &progress).expect_err("cancelled");
    assert!(error.is_cancelled(), "{error}");
    assert_nothing_is_left(&job.out);
}

#[test]
fn a_cluster_that_does_not_answer_is_named() {
    let place = Place::new();
    let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|it| it.local_addr()).expect("a free port").port();
    let job = place.job("nowhere");
    let error = job.run(&Where::Cluster(ClusterAddress::new("127.0.0.1", port)), &Progress::default());
    let error = error.expect_err("nobody listens");
    assert!(matches!(error, ClusterError::Unreachable { .. }));
    assert!(with_causes(&error).contains(&format!("df://127.0.0.1:{port}")), "{}", with_causes(&error));
    assert_nothing_is_left(&job.out);
    for (address, expected) in [
        ("http://h:1", "does not begin with df://"),
        ("df://h", "names no port"),
        ("df://h:0", "its port is no number"),
        ("df://user@h:1", "its host is no name"),
    ] {
        let error = address.parse::<ClusterAddress>().expect_err("refused").to_string();
        assert!(error.contains(expected) && error.contains(address), "{error}");
    }
}

#[test]
fn jobs_that_do_not_fit_say_what_would() {
    let place = Place::new();
    let refused = |job: Apply| {
        let error = job.run(&Where::Here, &Progress::default()).expect_err("refused");
        assert!(LanceStore::default().info(&job.out).is_err());
        with_causes(&error)
    };
    let job = place.job("refused");
    let with = |change: fn(&mut Apply)| {
        let mut job = place.job("refused");
        change(&mut job);
        job
    };
    let column = refused(with(|job| job.column = Some("name".to_owned())));
    assert!(column.contains("\"name\"") && column.contains("vectors of float32 or float16"), "{column}");
    let unknown = refused(with(|job| job.column = Some("nothing".to_owned())));
    assert!(unknown.contains("no such column"), "{unknown}");
    let taken = refused(with(|job| job.target = Some("id".to_owned())));
    assert!(taken.contains("already has a column \"id\""), "{taken}");
    let ending = refused(Apply { out: place.root().join("not-a-table").expect("valid"), ..job.clone() });
    assert!(ending.contains("ends in .lance"), "{ending}");
    let no_table = Apply { table: place.root().join("nothing.lance").expect("valid"), ..job.clone() };
    assert!(refused(no_table).contains("nothing is stored at"));
    let model = Apply { model: place.root().join("models/nothing").expect("valid"), ..job.clone() };
    assert!(refused(model).contains("models/nothing"));
    // What was made has no embeddings any more.
    let made = place.job("made").run(&Where::Here, &Progress::default()).expect("applied");
    let narrow = refused(Apply { table: made.url, ..job });
    assert!(narrow.contains("its embeddings are none, the model takes 16 values"), "{narrow}");
}

#[test]
fn embeddings_are_kept_on_request_and_names_can_be_chosen() {
    let place = Place::new();
    let job = Apply { keep_embeddings: true, target: Some("xy".to_owned()), ..place.job("kept") };
    let made = job.run(&Where::Here, &Progress::default()).expect("applied");
    let names: Vec<String> = made.schema.fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["id", "embedding", "name", "xy", "xy_ood"]);
    let (source, made) = (rows(&place.table), rows(&made.url));
    for column in ["id", "name"] {
        assert_eq!(made.column_by_name(column), source.column_by_name(column));
    }
}
