//! What [`TableStore`](crate::TableStore) promises, promise by promise.

use std::sync::{Arc, Barrier};

use arrow_array::{Array, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use crate::{
    BatchStream, Column, FieldRoles, Filter, Lineage, NumberRole, Operation, Progress, Scan, StoreError, TableStore,
    Url, WriteCondition, embedding_values, with_causes,
};

/// Checks `store` in the empty folder `root`, which it fills and leaves to the caller to remove.
///
/// # Panics
/// With the promise that does not hold.
pub fn check_store(store: &dyn TableStore, root: &Url) {
    rows_schema_roles_and_lineage_come_back(store, &at(root, "tables/round-trip.lance"));
    a_table_without_rows_keeps_its_schema(store, &at(root, "tables/empty.lance"));
    rows_are_chosen_by_filter_and_limit(store, &at(root, "tables/chosen.lance"));
    rows_are_taken_by_number(store, &at(root, "tables/taken.lance"));
    a_table_is_created_once(store, &at(root, "tables/once.lance"));
    one_of_many_creators_wins(store, root);
    failed_rows_leave_no_table(store, &at(root, "tables/failed.lance"));
    a_deleted_table_is_gone(store, root);
    a_wrong_place_is_not_found(store, root);
    objects_are_replaced_only_unchanged(store, &at(root, "runs/a/run.json"));
    folders_are_listed_and_deleted(store, root);
    nothing_but_reading_knows_versions(store, &at(root, "tables/versions.lance"));
}

fn at(root: &Url, path: &str) -> Url {
    root.join(path).expect("a plain relative path")
}

const N_ROWS: i64 = 10_000;

fn table() -> (SchemaRef, RecordBatch) {
    let values = (0..N_ROWS * 3).map(|i| i as f32 * 0.5).collect();
    let embedding = Column::embedding("embeddings_90", 3, values, NumberRole::NnEmbedding).expect("whole vectors");
    let schema = Schema::new(vec![
        Field::new("example_id", DataType::Int64, false).with_role(NumberRole::ExampleId),
        Field::new("name", DataType::Utf8, true),
        Field::new("correct", DataType::Boolean, true),
        embedding.field,
    ]);
    let lineage = Lineage::new("conformance/1", Operation::new("collect", 1).with("layers", vec![90]));
    let schema = Arc::new(lineage.write_into(&schema));
    let batch = RecordBatch::try_new(
        schema.clone(),
        vec![
            Arc::new(Int64Array::from_iter_values(0..N_ROWS)),
            Arc::new(StringArray::from_iter((0..N_ROWS).map(|i| (i % 7 != 0).then(|| format!("row {i}"))))),
            Arc::new(BooleanArray::from_iter((0..N_ROWS).map(|i| Some(i % 2 == 0)))),
            embedding.values,
        ],
    );
    (schema, batch.expect("columns of one length"))
}

fn batches(batch: &RecordBatch) -> BatchStream<'static> {
    let (first, second) = (batch.slice(0, 4_321), batch.slice(4_321, batch.num_rows() - 4_321));
    Box::new([Ok(first), Ok(second)].into_iter())
}

fn read(store: &dyn TableStore, url: &Url, scan: Scan) -> Vec<RecordBatch> {
    store.scan(url, scan).expect("the table can be scanned").map(|batch| batch.expect("rows can be read")).collect()
}

fn rows_schema_roles_and_lineage_come_back(store: &dyn TableStore, url: &Url) {
    let (schema, batch) = table();
    let written = store.create(url, schema.clone(), batches(&batch)).expect("a table can be created");
    let info = store.info(url).expect("a created table is there");
    assert_eq!(info.rows, N_ROWS as u64);
    assert_eq!(info.digest, written.digest);
    assert!(info.digest.is_some(), "a created table has a digest");
    assert_eq!(info.lineage(), Lineage::read_from(&schema), "lineage survives");
    for (found, expected) in info.schema.fields().iter().zip(schema.fields()) {
        assert_eq!((found.name(), found.data_type()), (expected.name(), expected.data_type()));
        assert_eq!(found.role(), expected.role(), "roles survive");
    }
    let read_batches = read(store, url, Scan { batch_rows: 1000, ..Scan::default() });
    assert!(read_batches.iter().all(|batch| batch.num_rows() <= 1000), "batches keep to their size");
    let mut row = 0;
    for found in &read_batches {
        let expected = batch.slice(row, found.num_rows());
        for column in 0..found.num_columns() {
            assert_eq!(found.column(column).to_data(), expected.column(column).to_data(), "rows keep their order");
        }
        row += found.num_rows();
    }
    assert_eq!(row, N_ROWS as usize);

    let projected = read(store, url, Scan::columns(["embeddings_90", "example_id"]));
    assert_eq!(projected[0].schema().fields().len(), 2, "only the columns that were asked for");
    assert_eq!(embedding_values(&projected[0], "embeddings_90").map(|values| values[[1, 0]]), Some(1.5));
    assert!(store.scan(url, Scan::columns(["nope"])).is_err(), "an unknown column is refused");
    store.verify(url, &Progress::default()).expect("a sound table verifies");
}

fn rows_are_chosen_by_filter_and_limit(store: &dyn TableStore, url: &Url) {
    let (schema, batch) = table();
    store.create(url, schema, batches(&batch)).expect("a table can be created");
    let count = |scan: Scan| read(store, url, scan).iter().map(RecordBatch::num_rows).sum::<usize>();
    let late = Filter::ge("example_id", N_ROWS - 10);
    assert_eq!(count(Scan::default().filter(late.clone())), 10);
    assert_eq!(count(Scan::default().filter(late.clone()).limit(3)), 3);
    assert_eq!(count(Scan::default().limit(9_000)), 9_000, "over the border of batches");
    assert_eq!(count(Scan::default().limit(0)), 0);
    // Filtered by a column that is not asked for.
    let named = read(store, url, Scan::columns(["name"]).filter(late.and(Filter::is_null("name").negated())));
    assert!(named.iter().all(|batch| batch.num_columns() == 1 && batch.column(0).null_count() == 0));
    assert!(store.scan(url, Scan::default().filter(Filter::eq("nope", 1))).is_err(), "an unknown column is refused");
    let unfit = store.scan(url, Scan::default().filter(Filter::eq("name", 1))).expect("the column is there").next();
    assert!(unfit.expect("an error").is_err(), "a number is no text");
}

fn rows_are_taken_by_number(store: &dyn TableStore, url: &Url) {
    let (schema, batch) = table();
    store.create(url, schema, batches(&batch)).expect("a table can be created");
    let last = N_ROWS as u64 - 1;
    let numbers = [last, 0, 5_000, 5_000, 1];
    let found = store.take(url, &numbers, None).expect("these rows are there");
    assert_eq!(found.num_rows(), numbers.len());
    for (place, &number) in numbers.iter().enumerate() {
        for column in 0..found.num_columns() {
            let (found, expected) =
                (found.column(column).slice(place, 1), batch.column(column).slice(number as usize, 1));
            assert_eq!(&found, &expected, "row {number} at place {place}");
        }
    }
    let columns = ["example_id".to_owned()];
    assert_eq!(store.take(url, &[3], Some(&columns)).expect("there").num_columns(), 1, "only what was asked for");
    assert_eq!(store.take(url, &[], Some(&columns)).expect("no row is fine").num_rows(), 0);
    assert!(store.take(url, &[3], Some(&["nope".to_owned()])).is_err(), "an unknown column is refused");
    let message = store.take(url, &[last + 1], None).expect_err("one too many").to_string();
    assert!(message.contains(&format!("no row {}", last + 1)), "{message}");
}

fn a_table_without_rows_keeps_its_schema(store: &dyn TableStore, url: &Url) {
    let (schema, _) = table();
    store.create(url, schema.clone(), Box::new(std::iter::empty())).expect("an empty table can be created");
    let info = store.info(url).expect("an empty table is there");
    assert_eq!((info.rows, info.schema.fields().len()), (0, schema.fields().len()));
    assert_eq!(read(store, url, Scan::default()).iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
}

fn a_table_is_created_once(store: &dyn TableStore, url: &Url) {
    let (schema, batch) = table();
    let first = store.create(url, schema.clone(), batches(&batch)).expect("a table can be created");
    let second = store.create(url, schema, batches(&batch.slice(0, 5_000)));
    assert!(matches!(second, Err(StoreError::AlreadyExists { .. })), "a second create: {second:?}");
    assert_eq!(store.info(url).expect("still there").digest, first.digest, "the first table is untouched");
}

fn one_of_many_creators_wins(store: &dyn TableStore, root: &Url) {
    const CREATORS: usize = 8;
    for round in 0..5 {
        let url = at(root, &format!("races/{round}.lance"));
        let barrier = Barrier::new(CREATORS);
        let winners: Vec<_> = std::thread::scope(|scope| {
            let creators: Vec<_> = (0..CREATORS)
                .map(|_| {
                    scope.spawn(|| {
                        let (schema, batch) = table();
                        barrier.wait();
                        store.create(&url, schema, batches(&batch))
                    })
                })
                .collect();
            creators.into_iter().filter_map(|creator| creator.join().expect("create does not panic").ok()).collect()
        });
        assert_eq!(winners.len(), 1, "exactly one of {CREATORS} simultaneous creators wins");
        let found = store.info(&url).expect("the winner's table is there").lineage().map(|lineage| lineage.table_id);
        assert_eq!(found, winners[0].lineage().map(|lineage| lineage.table_id), "the winner's table stays");
    }
}

fn failed_rows_leave_no_table(store: &dyn TableStore, url: &Url) {
    let (schema, batch) = table();
    let failure = StoreError::rows(url, "the model diverged");
    let result = store.create(url, schema.clone(), Box::new([Ok(batch.clone()), Err(failure)].into_iter()));
    let error = result.expect_err("a failing row stream fails the creation");
    let text = with_causes(&error);
    assert!(text.contains("the model diverged"), "the cause is passed on: {text}");
    assert!(matches!(store.info(url), Err(StoreError::NotFound { .. })), "no half table is visible");
    assert!(!store.list_tables(&url.parent().expect("has a folder")).expect("listable").contains(url));
    store.create(url, schema, batches(&batch)).expect("the place can be used afterwards");
}

fn a_deleted_table_is_gone(store: &dyn TableStore, root: &Url) {
    let (schema, batch) = table();
    let folder = at(root, "delete");
    let (first, second) = (at(&folder, "a.lance"), at(&folder, "b.lance"));
    for url in [&first, &second] {
        store.create(url, schema.clone(), batches(&batch)).expect("a table can be created");
    }
    assert_eq!(store.list_tables(&folder).expect("listable"), [first.clone(), second.clone()]);
    let before = store.size_bytes(&folder).expect("measurable");
    store.delete(&first).expect("a table can be deleted");
    assert!(matches!(store.info(&first), Err(StoreError::NotFound { .. })));
    assert_eq!(store.list_tables(&folder).expect("listable"), std::slice::from_ref(&second));
    let after = store.size_bytes(&folder).expect("measurable");
    assert!(after < before, "deletion frees its bytes: {before} before, {after} after");
    assert!(matches!(store.delete(&first), Err(StoreError::NotFound { .. })), "a second deletion finds nothing");
    store.verify(&second, &Progress::default()).expect("its neighbour is untouched");
}

fn a_wrong_place_is_not_found(store: &dyn TableStore, root: &Url) {
    let nowhere = at(root, "nowhere/x.lance");
    assert!(matches!(store.info(&nowhere), Err(StoreError::NotFound { .. })));
    assert!(matches!(store.scan(&nowhere, Scan::default()).map(|_| ()), Err(StoreError::NotFound { .. })));
    assert!(matches!(store.read_object(&nowhere), Err(StoreError::NotFound { .. })));
    assert_eq!(store.list_tables(&at(root, "nowhere")).expect("an absent folder is empty"), []);
    assert_eq!(store.size_bytes(&nowhere).expect("nothing takes no bytes"), 0);
}

fn objects_are_replaced_only_unchanged(store: &dyn TableStore, url: &Url) {
    let first = store.write_object(url, b"one", WriteCondition::Absent).expect("an object can be written");
    let again = store.write_object(url, b"other", WriteCondition::Absent);
    assert!(matches!(again, Err(StoreError::AlreadyExists { .. })), "{again:?}");
    let (content, version) = store.read_object(url).expect("an object can be read");
    assert_eq!((content.as_slice(), &version), (b"one".as_slice(), &first));
    store.write_object(url, b"two", WriteCondition::Unchanged(version)).expect("an unchanged object is replaced");
    let stale = store.write_object(url, b"three", WriteCondition::Unchanged(first));
    assert!(matches!(stale, Err(StoreError::Conflict { .. })), "{stale:?}");
    assert_eq!(store.read_object(url).expect("readable").0, b"two");

    let counter = url.parent().and_then(|folder| folder.join("counter").ok()).expect("a sibling");
    store.write_object(&counter, b"0", WriteCondition::Absent).expect("writable");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10).for_each(|_| increment(store, &counter)));
        }
    });
    assert_eq!(store.read_object(&counter).expect("readable").0, b"40", "no update is lost");
}

fn increment(store: &dyn TableStore, url: &Url) {
    loop {
        let (content, version) = store.read_object(url).expect("readable");
        let count: u32 = String::from_utf8_lossy(&content).parse().expect("a number is read whole");
        match store.write_object(url, (count + 1).to_string().as_bytes(), WriteCondition::Unchanged(version)) {
            Ok(_) => return,
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => panic!("an update fails only by conflict: {error:?}"),
        }
    }
}

fn folders_are_listed_and_deleted(store: &dyn TableStore, root: &Url) {
    let runs = at(root, "folders");
    for name in ["b/run.json", "a/run.json", "a/models/m.json"] {
        store.write_object(&at(&runs, name), b"{}", WriteCondition::Absent).expect("writable");
    }
    assert_eq!(store.list_folders(&runs).expect("listable"), ["a", "b"]);
    store.delete_folder(&at(&runs, "a")).expect("deletable");
    assert_eq!(store.list_folders(&runs).expect("listable"), ["b"]);
    store.delete_folder(&at(&runs, "a")).expect("deleting nothing is fine");
    assert_eq!(store.last_modified(&at(&runs, "a")).expect("readable"), None, "nothing was never written");
    assert_eq!(store.list_leftovers(&runs).expect("listable"), [], "what was not stopped leaves nothing");
}

fn nothing_but_reading_knows_versions(store: &dyn TableStore, url: &Url) {
    let (schema, batch) = table();
    let named = url.clone().with_version(Some(2));
    assert!(store.create(&named, schema.clone(), batches(&batch)).is_err(), "no version is created");
    store.create(url, schema, batches(&batch)).expect("a refused table leaves its place free");
    let refused = [
        store.delete(&named),
        store.delete_folder(&named),
        store.list_tables(&named).map(|_| ()),
        store.list_folders(&named).map(|_| ()),
        store.read_object(&named).map(|_| ()),
        store.write_object(&named, b"x", WriteCondition::Absent).map(|_| ()),
    ];
    assert!(refused.iter().all(Result::is_err), "what is no table that is read has no version: {refused:?}");
    assert!(store.info(&named).is_err() && store.scan(&named, Scan::default()).is_err(), "it has one version");
    store.verify(url, &Progress::default()).expect("a refused change changes nothing");
}
