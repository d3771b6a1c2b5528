//! Eight writers at once.

use std::sync::{Arc, Barrier};

use arrow_array::Int64Array;
use arrow_schema::{DataType, Field, Schema};
use tlc::core::{Column, Lineage, Operation, StoreError, TableStore, Url};
use tlc::run::Project;
use tlc::table::{IfExists, LanceStore, MemoryStore, NewTable, Table};

use super::server::Server;

const WRITERS: usize = 8;
const ROUNDS: usize = 50;

on_server!(s3, S3: of_eight_writers_one_wins, writers_of_several_processes_lose_no_update);
on_server!(seaweedfs, SeaweedFs: of_eight_writers_one_wins, writers_of_several_processes_lose_no_update);
on_server!(azure, Azure: of_eight_writers_one_wins, writers_of_several_processes_lose_no_update);
on_server!(gcs, Gcs: of_eight_writers_one_wins, writers_of_several_processes_lose_no_update);

/// What each of the writers gets of `work`, which all begin at once.
fn at_once<T: Send>(work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(WRITERS);
    std::thread::scope(|scope| {
        let (work, barrier) = (&work, &barrier);
        let begin = |writer| {
            scope.spawn(move || {
                barrier.wait();
                work(writer)
            })
        };
        let writers: Vec<_> = (0..WRITERS).map(begin).collect();
        writers.into_iter().map(|writer| writer.join().expect("no panic")).collect()
    })
}

fn values(writer: usize) -> Column {
    let values = Arc::new(Int64Array::from_iter_values((0..10).map(|i| i + 100 * writer as i64)));
    Column { field: Field::new("value", DataType::Int64, false), values }
}

/// One place: one of the writers gets it, and its rows stay.
fn one_wins_a_place(store: &dyn TableStore, root: &Url, rounds: usize) {
    for round in 0..rounds {
        let url = root.join(&format!("place-{round}.lance")).expect("a path");
        let results = at_once(|writer| {
            let Column { field, values } = values(writer);
            let lineage = Lineage::new("races/1", Operation::new("race", 1).with("writer", writer));
            let schema = Arc::new(lineage.write_into(&Schema::new(vec![field])));
            let rows = arrow_array::RecordBatch::try_new(schema.clone(), vec![values]).expect("one column");
            store.create(&url, schema, Box::new([Ok(rows)].into_iter()))
        });
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "round {round}: {lost:?}");
        assert!(lost.iter().all(|it| matches!(it, Err(StoreError::AlreadyExists { .. }))), "round {round}: {lost:?}");
        let won = won.into_iter().next().and_then(Result::ok).expect("counted above");
        let found = store.info(&url).expect("the winner's table is there");
        assert_eq!((found.digest, found.rows), (won.digest, 10), "round {round}: another table is there");
    }
}

/// One name: each of the writers gets a table of its own, and all are there.
fn all_get_a_neighbour(store: Arc<dyn TableStore>, root: &Url, rounds: usize) {
    for round in 0..rounds {
        let folder = root.join(&format!("neighbours-{round}")).expect("a path");
        let tables = at_once(|writer| {
            let new = NewTable::new("train").if_exists(IfExists::Rename);
            Table::from_columns(store.clone(), &folder, new, vec![values(writer)]).expect("writable")
        });
        let mut urls: Vec<Url> = tables.iter().map(|table| table.url().clone()).collect();
        urls.sort();
        assert_eq!(store.list_tables(&folder).expect("listable"), urls, "round {round}");
    }
}

/// One operation: all of the writers get the same table, and no other is left.
fn all_share_a_table(store: Arc<dyn TableStore>, root: &Url, rounds: usize) {
    for round in 0..rounds {
        let project = Project::new(store.clone(), root.join(&format!("shared-{round}")).expect("a path"));
        let urls = at_once(|_| {
            let Column { field, values } = values(0);
            let lineage = Lineage::new("races/1", Operation::new("race", 1));
            let schema = Schema::new(vec![field]);
            let rows = arrow_array::RecordBatch::try_new(Arc::new(schema.clone()), vec![values]).expect("one column");
            let rows = Box::new([Ok(rows)].into_iter());
            project.create_table("toys", "train", &schema, &lineage, rows).expect("writable").url
        });
        assert!(urls.iter().all(|url| *url == urls[0]), "round {round}: {urls:?}");
        let folder = project.root().join("datasets/toys").expect("a path");
        assert_eq!(store.list_tables(&folder).expect("listable"), urls[..1], "round {round}");
    }
}

pub(crate) fn check(store: Arc<dyn TableStore>, root: &Url, rounds: usize) {
    one_wins_a_place(store.as_ref(), root, rounds);
    all_get_a_neighbour(store.clone(), root, rounds.div_ceil(10));
    all_share_a_table(store, root, rounds.div_ceil(10));
}

fn of_eight_writers_one_wins(server: Server) {
    let root = server.bucket("races").join("p").expect("a path");
    let rounds = server.rounds(ROUNDS as u64) as usize;
    // There the eight wait for each other, a second at a time.
    let rounds = if server == Server::SeaweedFs { rounds / 2 } else { rounds };
    check(Arc::new(server.store()), &root, rounds);
}

#[test]
fn of_eight_writers_one_wins_on_local_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    check(Arc::new(LanceStore::default()), &Url::from_path(folder.path()).expect("an absolute path"), ROUNDS);
}

#[test]
fn of_eight_writers_one_wins_in_memory() {
    check(Arc::new(MemoryStore::default()), &"memory://races/p".parse().expect("a URL"), ROUNDS);
}

fn writers_of_several_processes_lose_no_update(server: Server) {
    check_updates(|| Arc::new(server.store()), &server.bucket("updates").join("p").expect("a path"));
}

/// A store for each writer, as processes have: the writers of one process could be kept apart by what they share.
pub(crate) fn check_updates(open: impl Fn() -> Arc<dyn TableStore> + Sync, root: &Url) {
    let project = || Project::new(open(), root.clone());
    project().create_run("r", Default::default()).expect("creatable");
    at_once(|writer| {
        let run = project().open_run("r").expect("there");
        (0..10).for_each(|i| run.extend_parameter("seen", [writer * 100 + i]).expect("writable"));
    });
    let record = project().open_run("r").and_then(|run| run.record()).expect("readable");
    let mut seen: Vec<u64> = serde_json::from_value(record.parameters["seen"].clone()).expect("numbers");
    seen.sort_unstable();
    let expected: Vec<u64> = (0..WRITERS as u64).flat_map(|writer| (0..10).map(move |i| writer * 100 + i)).collect();
    assert_eq!(seen, expected);
}
