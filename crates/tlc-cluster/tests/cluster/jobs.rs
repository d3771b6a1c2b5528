//! Jobs that cannot be done say why, and leave nothing.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use tlc_cluster::{Apply, ClusterAddress, ClusterError, Where};
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
    drop(LanceStore::default().begin_parts(out).expect("its place is free"));
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
fn a_job_that_is_submitted_twice_runs_once() {
    let place = Place::new();
    let (first, second) = (place.job("twice"), place.job("twice"));
    let refused = Arc::new(Mutex::new(String::new()));
    let again = {
        let refused = refused.clone();
        move || {
            let error = second.run(&Where::Here, &Progress::default()).expect_err("the place is taken");
            *refused.lock().expect("no panic before") = with_causes(&error);
        }
    };
    let made = first.run(&Where::Here, &meanwhile(again)).expect("the first is not disturbed");
    let refused = refused.lock().expect("no panic before").clone();
    assert!(refused.contains("twice.lance") && refused.contains("it is being written"), "{refused}");
    let third = first.run(&Where::Here, &Progress::default()).expect_err("it is there");
    let is_whole = matches!(third, ClusterError::Store(StoreError::AlreadyExists { is_unfinished: false, .. }));
    assert!(is_whole && third.to_string().contains("already exists"), "{third}");
    LanceStore::default().verify(&made.url, &Progress::default()).expect("whole");
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
