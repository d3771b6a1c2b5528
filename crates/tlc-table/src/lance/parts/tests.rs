//! Tables in parts, and those who make them at once or one after the other.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use tlc_core::{Lineage, Operation as Made, TableStore};

use super::*;
use crate::files::LocalFiles;

fn schema() -> SchemaRef {
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
    Arc::new(Lineage::new("test/1", Made::new("made-up", 1)).write_into(&schema))
}

fn rows(schema: &SchemaRef, ids: Range<i64>) -> BatchStream<'static> {
    let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from_iter_values(ids))]);
    Box::new([Ok(batch.expect("one column"))].into_iter())
}

fn ids(batches: BatchStream<'_>) -> Vec<i64> {
    let values = |batch: Result<RecordBatch, StoreError>| {
        batch.expect("readable").column(0).as_primitive::<Int64Type>().values().to_vec()
    };
    batches.flat_map(values).collect()
}

#[test]
fn parts_make_the_table_that_one_writer_makes() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Url::from_path(folder.path()).expect("an absolute path");
    let (whole, parted) = (root.join("whole.lance").expect("valid"), root.join("parted.lance").expect("valid"));
    let (store, schema) = (LanceStore::default(), schema());
    let one = store.create(&whole, schema.clone(), rows(&schema, 0..30_000)).expect("writable");
    let table = store.begin_parts(&parted, Ulid::generate()).expect("a free place");
    let key = table.key();
    // Another process writes with a store of its own, and a part may be written twice.
    let other = LanceStore::default();
    let last = other.write_part(&parted, &schema, rows(&schema, 20_000..30_000)).expect("writable");
    let lost = store.write_part(&parted, &schema, rows(&schema, 0..20_000)).expect("writable");
    let first = store.write_part(&parted, &schema, rows(&schema, 0..20_000)).expect("writable");
    assert_ne!(first, lost);
    assert_eq!(store.kept_part(&parted, key, 0).expect("readable"), None);
    other.keep_part(&parted, key, 1, last.clone()).expect("the first");
    assert_eq!(store.keep_part(&parted, key, 0, first.clone()).expect("the first"), first);
    let data = parted.to_path().expect("local").join("data");
    let n_files = || std::fs::read_dir(&data).expect("there").count();
    assert_eq!(n_files(), 3);
    assert_eq!(store.keep_part(&parted, key, 0, lost).expect("the second"), first, "the first counts");
    assert_eq!(n_files(), 2, "and the other's files are gone");
    assert_eq!(store.kept_part(&parted, key, 1).expect("readable"), Some(last.clone()));
    store.keep_part(&parted, Ulid::generate(), 2, first.clone()).expect("of another key");
    assert_eq!(table.kept_parts().expect("readable"), BTreeSet::from([0, 1]));
    assert!(matches!(store.info(&parted), Err(StoreError::NotFound { .. })), "nothing is visible yet");
    let late = store.write_part(&parted, &schema, rows(&schema, 0..20_000)).expect("writable");
    let again = first.clone();
    let info = table.commit(&schema, vec![first, last], &Progress::default()).expect("committable");
    assert_eq!((info.rows, &info.digest), (30_000, &one.digest));
    assert_eq!(info.lineage(), one.lineage());
    assert_eq!(ids(store.scan(&parted, Scan::default()).expect("readable")), (0..30_000).collect::<Vec<_>>());
    for part in [late, again] {
        let refused = store.keep_part(&parted, key, 0, part).expect_err("nobody waits any more");
        assert!(matches!(refused, StoreError::AlreadyExists { .. }), "{refused}");
    }
    assert_eq!(n_files(), 2, "those of the two parts that count, and those only");
    assert!(!parted.to_path().expect("local").join(RECORDS).exists(), "and so are the records");
    let late = other.write_part(&parted, &schema, rows(&schema, 0..10)).expect_err("nobody waits any more");
    assert!(matches!(late, StoreError::AlreadyExists { .. }), "{late}");
    store.verify(&parted, &Progress::default()).expect("the digest is right");
    assert_eq!(
        ids(store.scan_range(&parted, None, 19_990..20_010).expect("readable")),
        (19_990..20_010).collect::<Vec<_>>()
    );
    assert_eq!(ids(store.scan_range(&parted, None, 29_999..40_000).expect("readable")), [29_999]);
}

#[test]
fn a_table_without_rows_has_no_parts() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = Url::from_path(folder.path()).expect("an absolute path").join("t.lance").expect("valid");
    let (store, schema) = (LanceStore::default(), schema());
    let table = store.begin_parts(&url, Ulid::generate()).expect("a free place");
    let info = table.commit(&schema, Vec::new(), &Progress::default()).expect("committable");
    assert_eq!(info.rows, 0);
    store.verify(&url, &Progress::default()).expect("the digest is right");
}

#[test]
fn a_place_is_claimed_once_and_given_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = Url::from_path(folder.path()).expect("an absolute path").join("t.lance").expect("valid");
    let (store, schema) = (LanceStore::default(), schema());
    let early = store.write_part(&url, &schema, rows(&schema, 0..10)).expect_err("nobody began it");
    assert!(matches!(early, StoreError::NotFound { .. }) && !url.to_path().expect("local").exists(), "{early}");
    let table = store.begin_parts(&url, Ulid::generate()).expect("a free place");
    let taken = store.begin_parts(&url, Ulid::generate()).expect_err("it is taken");
    assert!(matches!(taken, StoreError::AlreadyExists { is_unfinished: true, .. }), "{taken}");
    let text = taken.to_string();
    assert!(text.contains("its writer was stopped") && text.contains("tlc doctor --repair"), "{text}");
    let part = store.write_part(&url, &schema, rows(&schema, 0..10)).expect("writable");
    // A part that was lost after it was reported.
    std::fs::remove_dir_all(url.to_path().expect("local").join("data")).expect("removable");
    table.commit(&schema, vec![part], &Progress::default()).expect_err("its files are gone");
    assert!(matches!(store.info(&url), Err(StoreError::NotFound { .. })), "nothing is visible");
    assert!(table.give_up().expect("removable"), "it is alone");
    assert!(!url.to_path().expect("local").exists(), "nothing is left");
    store.begin_parts(&url, Ulid::generate()).expect("free again");
}

#[test]
fn a_part_that_was_lost_or_damaged_is_written_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = Url::from_path(folder.path()).expect("an absolute path").join("t.lance").expect("valid");
    let (store, schema) = (LanceStore::default(), schema());
    let table = store.begin_parts(&url, Ulid::generate()).expect("a free place");
    let keep = |number: i64| {
        let ids = 10_000 * number..10_000 * (number + 1);
        let part = store.write_part(&url, &schema, rows(&schema, ids)).expect("writable");
        store.keep_part(&url, table.key(), number as u64, part).expect("the first")
    };
    let mut parts: Vec<TablePart> = (0..3).map(keep).collect();
    let data = url.to_path().expect("local").join(DATA_FOLDER);
    let file = |part: &TablePart| data.join(&part.fragments[0].files[0].path);
    std::fs::remove_file(file(&parts[0])).expect("there");
    let cut = File::options().write(true).open(file(&parts[1])).expect("there");
    cut.set_len(100).expect("writable");
    let error = table.commit(&schema, parts.clone(), &Progress::default()).expect_err("two cannot be read");
    assert!(!matches!(error, StoreError::AlreadyExists { .. }), "{error}");
    assert_eq!(table.kept_parts().expect("readable"), BTreeSet::from([2]), "the whole one stays");
    for (number, part) in (0..2).zip(&mut parts) {
        *part = keep(number);
    }
    table.commit(&schema, parts, &Progress::default()).expect("committable");
    let store = LanceStore::default();
    store.verify(&url, &Progress::default()).expect("whole");
    assert_eq!(ids(store.scan(&url, Scan::default()).expect("readable")), (0..30_000).collect::<Vec<_>>());
}

#[test]
fn who_comes_with_the_same_key_goes_on_with_the_parts_and_one_commits() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Url::from_path(folder.path()).expect("an absolute path");
    let (whole, url) = (root.join("whole.lance").expect("valid"), root.join("t.lance").expect("valid"));
    let (store, key) = (LanceStore::default(), Ulid::generate());
    // Each has a lineage of its own.
    let (of_first, of_second) = (schema(), schema());
    let one = store.create(&whole, of_first.clone(), rows(&of_first, 0..30_000)).expect("writable");
    let keep = |table: &TableInParts, schema: &SchemaRef, number: u64, ids: Range<i64>| {
        let part = store.write_part(&url, schema, rows(schema, ids)).expect("writable");
        store.keep_part(&url, table.key(), number, part).expect("the first")
    };
    let first = store.begin_parts(&url, key).expect("a free place");
    let begun = keep(&first, &of_first, 0, 0..20_000);
    drop(first); // As if its process had been killed.
    let taken = store.begin_parts(&url, Ulid::generate()).expect_err("it is of other rows");
    assert!(matches!(taken, StoreError::AlreadyExists { is_unfinished: true, .. }), "{taken}");
    let other = LanceStore::default();
    let second = other.begin_parts(&url, key).expect("it goes on");
    assert_eq!(second.kept_parts().expect("readable"), BTreeSet::from([0]));
    let third = other.begin_parts(&url, key).expect("so does this one, at once");
    let rest = keep(&third, &of_second, 1, 20_000..30_000);
    let quits = other.begin_parts(&url, key).expect("and this one");
    assert!(!quits.give_up().expect("readable"), "others are at work");
    let parts = vec![begun, rest];
    let made = second.commit(&of_second, parts.clone(), &Progress::default()).expect("committable");
    assert_eq!((made.rows, &made.digest), (30_000, &one.digest));
    assert_eq!(made.lineage(), Lineage::read_from(&of_second));
    let late = third.commit(&of_first, parts, &Progress::default()).expect_err("it is there");
    assert!(matches!(late, StoreError::AlreadyExists { is_unfinished: false, .. }), "{late}");
    assert!(!third.give_up().expect("readable"), "nor does it take away what is there");
    let store = LanceStore::default();
    store.verify(&url, &Progress::default()).expect("the digest is right");
    assert_eq!(ids(store.scan(&url, Scan::default()).expect("readable")), (0..30_000).collect::<Vec<_>>());
    assert!(!url.to_path().expect("local").join(RECORDS).exists());
}

#[test]
fn who_comes_between_a_claim_and_its_note_waits_for_that() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = Url::from_path(folder.path()).expect("an absolute path").join("t.lance").expect("valid");
    let (store, key) = (LanceStore::default(), Ulid::generate());
    LocalFiles.claim(&url).expect("a free place");
    std::thread::scope(|scope| {
        let comes = scope.spawn(|| store.begin_parts(&url, key));
        std::thread::sleep(4 * LOOK);
        let attempt = note_first(&LocalFiles, &url, key).expect("writable");
        let joined = comes.join().expect("no panic").expect("it waits");
        assert_eq!(joined.key(), attempt);
    });
    store.begin_parts(&url, Ulid::generate()).expect_err("it is of other rows");
}

#[test]
fn who_gives_up_takes_nothing_from_who_joins() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Url::from_path(folder.path()).expect("an absolute path");
    let (store, schema) = (LanceStore::default(), schema());
    for round in 0..20 {
        let (url, key) = (root.join(&format!("{round}.lance")).expect("valid"), Ulid::generate());
        let first = store.begin_parts(&url, key).expect("a free place");
        let start = std::sync::Barrier::new(2);
        let (is_free, joined) = std::thread::scope(|scope| {
            let gives_up = scope.spawn(|| {
                start.wait();
                first.give_up().expect("possible")
            });
            start.wait();
            let joined = store.begin_parts(&url, key);
            (gives_up.join().expect("no panic"), joined)
        });
        match joined {
            // Before it was given up, or after that as the first.
            Ok(table) => {
                let made = table.commit(&schema, Vec::new(), &Progress::default()).expect("its place stays");
                store.verify(&made.url, &Progress::default()).expect("whole");
            }
            Err(error) => {
                assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error}");
                assert!(is_free, "round {round}");
                store.begin_parts(&url, Ulid::generate()).expect("the place is free");
            }
        }
    }
}

#[test]
fn a_part_whose_rows_come_when_nobody_waits_any_more_makes_no_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = Url::from_path(folder.path()).expect("an absolute path").join("t.lance").expect("valid");
    let (store, schema) = (LanceStore::default(), schema());
    let table = store.begin_parts(&url, Ulid::generate()).expect("a free place");
    let key = table.key();
    let early = store.write_part(&url, &schema, rows(&schema, 0..10)).expect("writable");
    let (mut waiting, mut batches) = (Some(table), rows(&schema, 0..10));
    let late = std::iter::from_fn(move || {
        if let Some(table) = waiting.take() {
            assert!(table.give_up().expect("removable"), "it is alone");
        }
        batches.next()
    });
    let error = store.write_part(&url, &schema, Box::new(late)).expect_err("the place was given back");
    assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
    let error = store.keep_part(&url, key, 0, early).expect_err("the place was given back");
    assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
    assert!(!url.to_path().expect("local").exists());
}
