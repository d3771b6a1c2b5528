//! Errors, time-outs, throttling and broken connections between tlc and a server: what was asked for happens after all, or
//! there is an error; nothing half is ever visible, no source is lost, and no change of a record is lost or made twice.
//!
//! Which requests are hit is seeded; what a request is for depends on timing. What must hold does not.

#![expect(clippy::print_stdout, reason = "the figures in docs/reliability.md")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use tlc::core::rng::Stream;
use tlc::core::{
    Column, FieldRoles, Lineage, MetricsSink, MetricsTable, NumberRole, Operation, Progress, StoreError, TableInfo,
    TableStore, Url, WriteCondition,
};
use tlc::run::{Project, ReduceOptions, Run, RunError};
use tlc::table::LanceStore;

use super::proxy::{Fate, Proxy};
use super::server::{ACCOUNT_TOKEN, Server};

on_server! {
    s3, S3:
    a_table_is_there_whole_or_not_at_all,
    a_creation_or_deletion_that_ends_at_any_request_leaves_a_whole_table_or_none,
    a_reduction_loses_no_source_before_its_successor_is_there,
    a_reduction_whose_writes_are_done_unknown_to_it_loses_nothing,
    no_change_of_a_record_is_lost_or_made_twice,
    a_store_that_does_not_honour_conditions_is_refused,
}
on_server!(gcs, Gcs: a_store_that_does_not_honour_conditions_is_refused);

const UNDER_FAULTS: [fn(Server); 5] = [
    a_table_is_there_whole_or_not_at_all,
    a_creation_or_deletion_that_ends_at_any_request_leaves_a_whole_table_or_none,
    a_reduction_loses_no_source_before_its_successor_is_there,
    a_reduction_whose_writes_are_done_unknown_to_it_loses_nothing,
    no_change_of_a_record_is_lost_or_made_twice,
];

#[test]
fn what_holds_on_s3_under_faults_holds_on_azure() {
    let mut tests = UNDER_FAULTS.to_vec();
    tests.push(a_store_that_does_not_honour_conditions_is_refused);
    at_once(Server::Azure, &tests);
}

/// But for one without conditions: a signature covers them, so a proxy cannot take one away.
#[test]
fn what_holds_on_s3_under_faults_holds_on_seaweedfs() {
    at_once(Server::SeaweedFs, &UNDER_FAULTS);
}

/// Most of the time is spent in waiting.
fn at_once(server: Server, tests: &[fn(Server)]) {
    std::thread::scope(|scope| {
        for test in tests {
            scope.spawn(move || test(server));
        }
    });
}

const N_ROWS: usize = 500;
const WIDTH: usize = 8;

fn rows(seed: u64) -> (Schema, RecordBatch) {
    let noise = Stream::new(seed, "embeddings");
    let values = (0..N_ROWS * WIDTH).map(|i| noise.normal(i as u64, 0) as f32).collect();
    let embedding = Column::embedding("embeddings", WIDTH, values, NumberRole::NnEmbedding).expect("whole vectors");
    let id = Field::new("example_id", DataType::Int64, false).with_role(NumberRole::ExampleId);
    let schema = Schema::new(vec![id, embedding.field]);
    let ids = Arc::new(Int64Array::from_iter_values(0..N_ROWS as i64));
    let rows = RecordBatch::try_new(Arc::new(schema.clone()), vec![ids, embedding.values]).expect("one length");
    (schema, rows)
}

/// Runs `round` for all numbers below `n`, some at once: most of the time is spent in waiting.
fn rounds(n: u64, round: impl Fn(u64) + Sync) {
    const AT_ONCE: u64 = 8;
    std::thread::scope(|scope| {
        for first in 0..AT_ONCE {
            let round = &round;
            scope.spawn(move || (first..n).step_by(AT_ONCE as usize).for_each(round));
        }
    });
}

/// A failure of the store, as opposed to wrong data.
fn is_failure(error: &StoreError) -> bool {
    matches!(error, StoreError::Backend { .. })
}

fn create(store: &dyn TableStore, url: &Url, seed: u64) -> Result<TableInfo, StoreError> {
    let (schema, batch) = rows(seed);
    let lineage = Lineage::new("faults/1", Operation::new("made-up", 1));
    store.create(url, Arc::new(lineage.write_into(&schema)), Box::new([Ok(batch)].into_iter()))
}

/// Whether the table is there, and then whole.
fn is_there(direct: &dyn TableStore, url: &Url) -> bool {
    match direct.info(url) {
        Ok(info) => {
            direct.verify(url, &Progress::default()).expect("what is visible is whole");
            assert_eq!(info.rows, N_ROWS as u64);
            true
        }
        Err(StoreError::NotFound { .. }) => false,
        Err(error) => panic!("{url} is half there: {error:?}"),
    }
}

fn a_table_is_there_whole_or_not_at_all(server: Server) {
    let n_rounds = server.rounds(60);
    let root = server.bucket("tables").join("p").expect("a path");
    let [n_faults, n_created, n_failed] = [const { AtomicU64::new(0) }; 3];
    rounds(n_rounds, |round| {
        // From a few faults, which are survived, to many, which are not.
        let share = 0.05 + 0.75 * (round as f64 / n_rounds as f64).powi(2);
        let proxy = Proxy::faulty(server.address(), round, share);
        let (faulty, direct) = (server.store_at(proxy.address), server.store());
        let url = root.join(&format!("t-{round}.lance")).expect("a path");
        let created = create(&faulty, &url, round);
        let is_created = is_there(&direct, &url);
        match &created {
            Ok(_) => assert!(is_created, "round {round}: it was said to be written"),
            // It may be there all the same: then the answer to one of the last requests did not come.
            Err(error) => assert!(is_failure(error), "round {round}: {error:?}"),
        }
        if created.is_ok() { &n_created } else { &n_failed }.fetch_add(1, Ordering::Relaxed);
        if is_created {
            if let Err(error) = faulty.verify(&url, &Progress::default()) {
                assert!(is_failure(&error), "round {round}: read wrongly: {error:?}");
            }
            let deleted = faulty.delete(&url);
            assert!(deleted.is_err() || !is_there(&direct, &url), "round {round}: it was said to be deleted");
            if is_there(&direct, &url) {
                direct.delete(&url).expect("deletable");
            }
        }
        direct.delete_folder(&url).expect("what is left of a failure can be removed");
        assert_eq!(direct.size_bytes(&url).expect("measurable"), 0, "round {round}");
        n_faults.fetch_add(proxy.n_faults(), Ordering::Relaxed);
    });
    let [n_faults, n_created, n_failed] = [n_faults, n_created, n_failed].map(AtomicU64::into_inner);
    println!("{n_faults} faults; {n_created} tables were created, {n_failed} were not");
    let [faults, created, failed] = [200, 20, 3].map(|n| server.rounds(n));
    assert!(n_faults >= faults && n_created >= created && n_failed >= failed, "{n_faults}, {n_created}, {n_failed}");
}

fn a_creation_or_deletion_that_ends_at_any_request_leaves_a_whole_table_or_none(server: Server) {
    let root = server.bucket("cuts").join("p").expect("a path");
    let direct = server.store();
    // The first write into a bucket tries out its conditions, which is not of interest here.
    let cut_later = |number| {
        let first = Arc::new(AtomicU64::new(u64::MAX));
        let proxy = Proxy::cut_at(server.address(), first.clone());
        let store = server.store_at(proxy.address);
        let object = root.join(&format!("warm-{}", proxy.address.port())).expect("a path");
        store.write_object(&object, b"{}", WriteCondition::Absent).expect("writable");
        first.store(proxy.n_requests() + number, Ordering::Relaxed);
        store
    };
    let mut n_cuts = 0;
    for number in 0.. {
        let url = root.join(&format!("created-{number}.lance")).expect("a path");
        let created = create(&cut_later(number), &url, number);
        assert!(created.is_err() || is_there(&direct, &url), "cut at {number}");
        is_there(&direct, &url);
        direct.delete_folder(&url).expect("removable");
        if created.is_ok() {
            break;
        }
        n_cuts += 1;
    }
    assert!(n_cuts >= 6, "a creation has more requests than {n_cuts}");
    let mut n_cuts = 0;
    for number in 0.. {
        let url = root.join(&format!("deleted-{number}.lance")).expect("a path");
        create(&direct, &url, number).expect("writable");
        let proxy = Proxy::cut_at(server.address(), Arc::new(AtomicU64::new(number)));
        let deleted = server.store_at(proxy.address).delete(&url);
        if is_there(&direct, &url) {
            assert!(deleted.is_err(), "cut at {number}");
            direct.delete(&url).expect("deletable");
        } else if deleted.is_err() {
            // Finished by the next deletion, which then finds no table.
            let again = direct.delete(&url);
            assert!(matches!(again, Err(StoreError::NotFound { .. })), "cut at {number}: {again:?}");
        }
        assert_eq!(direct.size_bytes(&url).expect("measurable"), 0, "cut at {number}: bytes are left");
        if deleted.is_ok() {
            break;
        }
        n_cuts += 1;
    }
    assert!(n_cuts >= 4, "a deletion has more requests than {n_cuts}");
}

fn run_with_embeddings(project: &Project, name: &str) -> Run {
    let run = project.create_run(name, Default::default()).expect("creatable");
    for epoch in 0..2 {
        let (schema, rows) = rows(epoch);
        let table = MetricsTable {
            name: format!("epoch-{epoch}"),
            foreign_table: Some(project.root().join("datasets/toys/train.lance").expect("a name")),
            constants: Default::default(),
            lineage: Lineage::new("faults/1", Operation::new("made-up", 1)),
        };
        run.write_metrics(table, &schema, Box::new([Ok(rows)].into_iter())).expect("writable");
    }
    run
}

fn urls(run: &Run) -> Vec<Url> {
    run.metrics().expect("readable").into_iter().map(|entry| entry.url).collect()
}

fn a_reduction_loses_no_source_before_its_successor_is_there(server: Server) {
    let root = server.bucket("reductions").join("p").expect("a path");
    let [n_failed, n_faults] = [const { AtomicU64::new(0) }; 2];
    let (n_rounds, n_attempts) = (server.rounds(24), server.rounds(3));
    rounds(n_rounds, |round| {
        let root = root.join(&format!("round-{round}")).expect("a path");
        let direct = Project::new(Arc::new(server.store()), root.clone());
        let run = run_with_embeddings(&direct, "r");
        let sources = urls(&run);
        let reduce = |project: &Project| -> Result<(), RunError> {
            let options = ReduceOptions::new([tlc::create_reducer("pca", []).expect("known")]);
            project.open_run("r")?.reduce_embeddings_per_dataset(&options, &Progress::default())?;
            Ok(())
        };
        for attempt in 0..n_attempts {
            let proxy = Proxy::faulty(server.address(), 1000 + 10 * round + attempt, 0.1 + 0.05 * (round % 6) as f64);
            let done = reduce(&Project::new(Arc::new(server.store_at(proxy.address)), root.clone()));
            n_faults.fetch_add(proxy.n_faults(), Ordering::Relaxed);
            n_failed.fetch_add(u64::from(done.is_err()), Ordering::Relaxed);
            let entries = run.metrics().expect("readable");
            for entry in &entries {
                direct.store().verify(&entry.url, &Progress::default()).expect("what the record lists is there");
            }
            for source in &sources {
                let is_there = direct.store().verify(source, &Progress::default()).is_ok();
                let is_replaced = entries.iter().any(|entry| entry.reduced_from.as_ref() == Some(source));
                assert!(is_there || is_replaced, "round {round}: {source} is lost");
            }
            let inventory = direct.inventory().expect("readable");
            assert!(inventory.damaged_tables.is_empty() && inventory.damaged_runs.is_empty(), "{inventory:?}");
        }
        reduce(&direct).expect("continued, to the same end");
        let record = run.record().expect("readable");
        for source in &sources {
            let needs = direct.inventory().expect("readable").needs(source);
            assert!(direct.store().info(source).is_err(), "round {round}: {source} is left: {needs:?}, {record:?}");
        }
        let entries = run.metrics().expect("readable");
        let mut replaced: Vec<&Url> = entries.iter().filter_map(|entry| entry.reduced_from.as_ref()).collect();
        replaced.sort();
        let mut expected: Vec<&Url> = sources.iter().collect();
        expected.sort();
        assert_eq!(replaced, expected, "round {round}: each once");
    });
    let [n_failed, n_faults] = [n_failed, n_faults].map(AtomicU64::into_inner);
    println!("{n_faults} faults; {n_failed} of {} reductions failed, and were repeated", n_rounds * n_attempts);
    assert!(n_faults >= server.rounds(200) && n_failed >= server.rounds(3), "{n_faults} faults, {n_failed} failed");
}

/// A write that was done although its answer, and the answers to the questions after it, did not come.
fn a_reduction_whose_writes_are_done_unknown_to_it_loses_nothing(server: Server) {
    const REQUESTS: u64 = 96;
    let n_rounds = server.rounds(REQUESTS);
    let root = server.bucket("unknown").join("p").expect("a path");
    let n_failed = AtomicU64::new(0);
    rounds(n_rounds, |round| {
        let number = round * (REQUESTS / n_rounds);
        let root = root.join(&format!("round-{number}")).expect("a path");
        let direct = Project::new(Arc::new(server.store()), root.clone());
        let run = run_with_embeddings(&direct, "r");
        let sources = urls(&run);
        let proxy = Proxy::before(server.address(), move |request| match request.checked_sub(number) {
            Some(0) => Fate::AnswerLost,
            Some(1..=2) => Fate::Refused("400 Bad Request", "Cut"),
            _ => Fate::Pass,
        });
        let faulty = Project::new(Arc::new(server.store_at(proxy.address)), root);
        let options = ReduceOptions::new([tlc::create_reducer("pca", []).expect("known")]);
        let reduced = faulty
            .open_run("r")
            .and_then(|run| run.reduce_embeddings_per_dataset(&options, &Progress::default()).map(drop));
        n_failed.fetch_add(u64::from(reduced.is_err()), Ordering::Relaxed);
        // Whatever happened: what the record lists is there, and goes on to be after the deletions it asks for.
        run.finish_deletions().expect("what replaces the sources is there");
        let entries = run.metrics().expect("readable");
        for entry in &entries {
            direct.store().verify(&entry.url, &Progress::default()).expect("what the record lists is there");
        }
        for source in &sources {
            let is_listed = entries.iter().any(|entry| entry.url == *source);
            let is_replaced = entries.iter().any(|entry| entry.reduced_from.as_ref() == Some(source));
            assert!(is_listed || is_replaced, "request {number}: {source} is lost");
        }
    });
    let n_failed = n_failed.into_inner();
    assert!(n_failed >= server.rounds(10), "only {n_failed} of {n_rounds} reductions met the fault");
}

fn no_change_of_a_record_is_lost_or_made_twice(server: Server) {
    let root = server.bucket("records").join("p").expect("a path");
    let direct = Project::new(Arc::new(server.store()), root.clone());
    let run = direct.create_run("r", Default::default()).expect("creatable");
    let done = Mutex::new(Vec::new());
    rounds(8, |writer| {
        let proxy = Proxy::faulty(server.address(), 2000 + writer, 0.3);
        let faulty = Project::new(Arc::new(server.store_at(proxy.address)), root.clone());
        for i in 0..10 {
            let value = writer * 100 + i;
            let changed = faulty.open_run("r").and_then(|run| run.extend_parameter("seen", [value]));
            done.lock().expect("no panic").push((value, changed.is_ok()));
        }
    });
    let record = run.record().expect("readable");
    let seen: Vec<u64> = serde_json::from_value(record.parameters["seen"].clone()).expect("numbers");
    for (value, is_done) in done.into_inner().expect("no panic") {
        let times = seen.iter().filter(|it| **it == value).count();
        assert!(times == 1 || (times == 0 && !is_done), "{value} is there {times} times; told done: {is_done}");
    }
    assert!(seen.len() >= 40, "only {} of 80 changes were made", seen.len());
}

fn a_store_that_does_not_honour_conditions_is_refused(server: Server) {
    let conditions: &[&str] = match server {
        Server::Gcs => &["x-goog-if-generation-match"],
        _ => &["If-None-Match", "If-Match"],
    };
    for name in conditions {
        let header = name.to_ascii_lowercase();
        let without = header.clone();
        let proxy = Proxy::before(server.address(), move |_| Fate::Without(without.clone()));
        let mut environment = server.environment(proxy.address);
        if server == Server::Azure {
            // A key signs the conditions as well, a token does not.
            environment.retain(|(name, _)| name != "AZURE_STORAGE_ACCOUNT_KEY");
            environment.push(("AZURE_STORAGE_SAS_TOKEN".to_owned(), ACCOUNT_TOKEN.to_owned()));
        }
        let store = LanceStore::with_environment(environment);
        let root = server.bucket(&format!("without-{header}"));
        let url = root.join("p/t.lance").expect("a path");
        let error = create(&store, &url, 0).expect_err("refused");
        let message = error.to_string();
        assert!(message.contains(&format!("its server does not honour {name} on writes")), "{message}");
        let object = root.join("p/run.json").expect("a path");
        assert!(store.write_object(&object, b"{}", WriteCondition::Absent).is_err());
        // Azurite deletes nothing for a token, so there the objects stay that conditions were tried out on.
        let left = if server == Server::Azure { 2 } else { 0 };
        assert_eq!(store.size_bytes(&root).expect("measurable"), left, "nothing is left of the attempts");
    }
}
