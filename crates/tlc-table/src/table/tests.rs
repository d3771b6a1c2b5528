//! Tables as users handle them, on disk.

use arrow_array::{ArrayRef, Float32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::DataType;
use std::collections::BTreeMap;
use tlc_core::{Column, FieldRoles, Filter, Operation};

use super::*;
use crate::LanceStore;

struct Shelf {
    _folder: tempfile::TempDir,
    root: Url,
    store: Arc<dyn TableStore>,
}

fn shelf() -> Shelf {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Url::from_path(folder.path()).expect("absolute");
    Shelf { _folder: folder, root, store: Arc::new(LanceStore::default()) }
}

fn column(name: &str, values: ArrayRef) -> Column {
    Column { field: Field::new(name, values.data_type().clone(), true), values }
}

fn toys() -> Vec<Column> {
    let names = BTreeMap::from([(0, "car".to_owned()), (1, "doll".to_owned())]);
    let mut label = column("label", Arc::new(Int64Array::from(vec![0, 1, 1, 0])));
    label.field = label.field.with_role(NumberRole::Label).with_value_map(&names);
    vec![
        label,
        column("price", Arc::new(Float32Array::from(vec![3.0, 9.5, 4.0, 1.0]))),
        column("name", Arc::new(StringArray::from(vec!["a", "b", "c", "d"]))),
        Column::embedding("embedding", 2, (0..8).map(|x| x as f32).collect(), NumberRole::NnEmbedding)
            .expect("whole vectors"),
    ]
}

impl Shelf {
    fn create(&self, new: NewTable) -> Result<Table, TableError> {
        Table::from_columns(self.store.clone(), &self.root.join("datasets/toys").expect("plain"), new, toys())
    }
}

#[test]
fn a_table_comes_back_with_what_was_said_of_it() {
    let shelf = shelf();
    let new = NewTable::new("initial").description("four toys").weight_column(1.0);
    let table = Table::from_url(shelf.store.clone(), shelf.create(new).expect("new").url()).expect("there");
    assert_eq!((table.name(), table.rows(), table.description()), ("initial", 4, Some("four toys")));
    let names: Vec<&String> = table.columns().iter().map(|field| field.name()).collect();
    assert_eq!(names, ["label", "price", "name", "embedding", "weight"]);
    assert_eq!(columns_with_role(table.schema(), &NumberRole::Weight), ["weight"]);
    let cheap = table.read(Scan::columns(["name"]).filter(Filter::lt("price", 4)).limit(9)).expect("readable");
    assert_eq!(cheap.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "d"]);
    assert_eq!(table.take_by_example_id(&[3, 1], None).expect("there").num_rows(), 2);
}

#[test]
fn example_ids_lead_to_rows_and_unknown_ones_are_named() {
    let shelf = shelf();
    let table = shelf.create(NewTable::new("plain")).expect("new");
    assert_eq!(table.rows_with_example_ids(&[3, 1]).expect("row numbers"), [3, 1]);
    let error = table.rows_with_example_ids(&[1, 4, -1]).expect_err("four rows").to_string();
    assert!(error.contains("no example_id 4, -1; it has 4 rows"), "{error}");

    let field = Field::new("id", DataType::Int64, true).with_role(NumberRole::ExampleId);
    let ids = Arc::new(Int64Array::from(vec![Some(30), Some(1), None, Some(30)]));
    let with_ids = table.with_columns(vec![Column { field, values: ids }]).expect("as long");
    assert_eq!(with_ids.rows_with_example_ids(&[1, 30]).expect("known"), [1, 0, 3]);
    let taken = with_ids.take_by_example_id(&[1, 30], Some(&["name".to_owned()])).expect("known");
    assert_eq!(taken.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["b", "a", "d"]);
    let error = with_ids.take_by_example_id(&[1, 2], None).expect_err("no row has it").to_string();
    assert!(error.contains("no example_id 2"), "{error}");
    let many: Vec<i64> = (100..112).collect();
    let error = with_ids.rows_with_example_ids(&many).expect_err("none of them").to_string();
    assert!(error.contains("100, 101") && error.contains("109 and 2 more") && error.contains("\"id\""), "{error}");
}

#[test]
fn pictures_texts_classes_and_weights_say_what_they_are() {
    let shelf = shelf();
    let columns = vec![
        Column::labels("label", [Some(1), None, Some(0)], ["cat", "dog"]),
        Column::texts("caption", ["a dog", "", "ä cat"]).expect("short"),
        Column::images("picture", [b"\x89PNG".as_slice(), b"", b"\xff\xd8"]).expect("short"),
        Column::image_paths("file", ["/a.png", "/b.png", "/c.png"]).expect("short"),
        Column::weights("weight", [1.0, 0.0, 0.5]),
    ];
    let folder = shelf.root.join("pets").expect("plain");
    let table = Table::from_columns(shelf.store.clone(), &folder, NewTable::new("t"), columns).expect("new");
    let table = Table::from_url(shelf.store.clone(), table.url()).expect("there");
    let roles: Vec<Option<NumberRole>> = table.columns().iter().map(|field| field.role()).collect();
    let [image, text] = [NumberRole::Image, NumberRole::Text];
    assert_eq!(roles, [NumberRole::Label, text, image.clone(), image, NumberRole::Weight].map(Some));
    let dogs = table.filtered(&Filter::eq("label", "dog")).expect("a class by its name");
    let dogs = dogs.read(Scan::default()).expect("readable");
    assert_eq!((dogs.num_rows(), dogs.column(2).as_binary::<i32>().value(0)), (1, b"\x89PNG".as_slice()));
    let unlabelled = table.read(Scan::columns(["caption"]).filter(Filter::is_null("label"))).expect("readable");
    assert_eq!(unlabelled.column(0).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("")]);
}

#[test]
fn a_file_that_was_changed_gives_another_table() {
    let shelf = shelf();
    let (folder, files) = (shelf.root.join("toys").expect("plain"), tempfile::tempdir().expect("a folder"));
    let file = files.path().join("train.csv");
    let import = |text: &str| {
        std::fs::write(&file, text).expect("writable");
        Table::from_file(shelf.store.clone(), &folder, NewTable::new("train"), &file).expect("readable")
    };
    let first = import("price\n1\n");
    let changed = import("price\n2\n3\n");
    assert_eq!((first.rows(), changed.rows()), (1, 2));
    assert_ne!(changed.url(), first.url());
    assert_eq!(import("price\n1\n").url(), first.url(), "what is there is used");
}

#[test]
fn other_columns_of_the_same_name_are_another_table() {
    let shelf = shelf();
    let folder = shelf.root.join("toys").expect("plain");
    let make = |new: NewTable, labels: [i64; 2], names: [&str; 2]| {
        let columns = vec![Column::labels("label", labels, names)];
        Table::from_columns(shelf.store.clone(), &folder, new, columns).expect("usable")
    };
    let new = || NewTable::new("t");
    let first = make(new(), [0, 1], ["car", "doll"]);
    let corrected = make(new(), [1, 1], ["car", "doll"]);
    assert_ne!(corrected.url(), first.url(), "other values");
    let labels = corrected.read(Scan::default()).expect("readable");
    assert_eq!(labels.column(0).as_primitive::<Int64Type>().values(), &[1, 1]);
    assert_ne!(make(new(), [0, 1], ["car", "ball"]).url(), first.url(), "other names of classes");
    let weighted = make(new().weight_column(0.1), [0, 1], ["car", "doll"]);
    assert_ne!(weighted.url(), first.url(), "another column");
    assert_eq!(make(new().weight_column(0.1), [0, 1], ["car", "doll"]).url(), weighted.url(), "the same weight");
    assert_ne!(make(new().weight_column(2.0), [0, 1], ["car", "doll"]).url(), weighted.url(), "another weight");
    assert_eq!(make(new(), [0, 1], ["car", "doll"]).url(), first.url(), "what is there is used");
    let overwriting = new().if_exists(IfExists::Overwrite);
    let last = shelf.store.list_tables(&folder).expect("listable").len();
    make(overwriting, [1, 0], ["car", "doll"]);
    assert_eq!(shelf.store.list_tables(&folder).expect("listable").len(), last, "other rows take the place of rows");
}

#[test]
fn rows_that_the_same_operation_made_before_must_be_the_same() {
    let shelf = shelf();
    let folder = shelf.root.join("toys").expect("plain");
    let make = |name: &str, prices: Vec<f32>| {
        let column = column(name, Arc::new(Float32Array::from(prices)));
        let schema = Schema::new(vec![column.field]);
        let rows = RecordBatch::try_new(Arc::new(schema.clone()), vec![column.values]).expect("one column");
        let new = NewTable::new("t").operation(Operation::new("import", 1)).weight_column(1.0);
        let made = Table::from_rows(shelf.store.clone(), &folder, new, &schema, Box::new([Ok(rows)].into_iter()));
        made.map(|table| table.url().clone()).map_err(|error| error.to_string())
    };
    let first = make("price", vec![3.0, 9.5]).expect("new");
    assert_eq!(make("price", vec![3.0, 9.5]), Ok(first));
    let error = make("price", vec![3.0, 9.0]).expect_err("not what is there");
    assert!(error.contains("which the same operation made of other rows; name in the operation"), "{error}");
    let error = make("cost", vec![3.0, 9.5]).expect_err("not what is there");
    assert!(error.contains("made of other columns"), "{error}");
}

#[test]
fn a_name_that_is_taken_is_handled_as_asked() {
    let shelf = shelf();
    let first = shelf.create(NewTable::new("initial")).expect("new");
    let again = shelf.create(NewTable::new("initial")).expect("reused");
    assert_eq!(again.url(), first.url());
    let other = NewTable::new("initial").operation(Operation::new("import", 1));
    assert_ne!(shelf.create(other).expect("another operation").url(), first.url());
    let error = shelf.create(NewTable::new("initial").if_exists(IfExists::Raise)).expect_err("taken").to_string();
    assert!(error.contains("\"initial\" is there already"), "{error}");
    let renamed = shelf.create(NewTable::new("initial").if_exists(IfExists::Rename)).expect("new");
    assert_ne!(renamed.url(), first.url());
}

#[test]
fn only_what_would_be_used_again_is_overwritten_and_only_if_nothing_needs_it() {
    let shelf = shelf();
    let overwrite = || shelf.create(NewTable::new("initial").if_exists(IfExists::Overwrite));
    let tables = || shelf.store.list_tables(&shelf.root.join("datasets/toys").expect("plain")).expect("listable");
    let imported = NewTable::new("initial").operation(Operation::new("import", 1));
    let other = shelf.create(imported).expect("new");
    let first = overwrite().expect("nothing is of this operation");
    let second = overwrite().expect("nothing needs the first");
    assert_ne!(second.url(), first.url());
    let sorted = |mut urls: Vec<Url>| {
        urls.sort();
        urls
    };
    assert_eq!(sorted(tables()), sorted(vec![other.url().clone(), second.url().clone()]), "the first is gone");

    let revision = second.filtered(&Filter::lt("price", 5)).expect("fits");
    let error = overwrite().expect_err("a revision was made from it").to_string();
    assert!(error.contains(&revision.url().to_string()) && error.contains("was made from it"), "{error}");
    assert_eq!(tables().len(), 3, "nothing was written");
    shelf.store.delete(revision.url()).expect("deletable");

    let field = Field::new("input_table_id", DataType::Int64, false).with_role(NumberRole::ForeignTableId);
    let names = BTreeMap::from([(0, second.url().to_string())]);
    let describes = Column { field: field.with_value_map(&names), values: Arc::new(Int64Array::from(vec![0])) };
    let folder = shelf.root.join("datasets/toys").expect("plain");
    Table::from_columns(shelf.store.clone(), &folder, NewTable::new("metrics"), vec![describes]).expect("new");
    let error = overwrite().expect_err("a table describes it").to_string();
    assert!(error.contains("describes its rows"), "{error}");
}

#[test]
fn revisions_know_where_they_come_from_and_can_be_repeated() {
    let shelf = shelf();
    let table = shelf.create(NewTable::new("initial")).expect("new");
    let corrected = table.edited("label", [(1, "car"), (3, "doll")]).expect("classes by name");
    let labels = corrected.read(Scan::columns(["label"])).expect("readable");
    assert_eq!(labels.column(0).as_primitive::<Int64Type>().values(), &[0, 0, 1, 1]);
    let cars = corrected.filtered(&Filter::eq("label", "car")).expect("fits");
    assert_eq!(cars.rows(), 2);
    assert!(cars.is_descendant_of(&table).expect("listable"));
    assert!(!table.is_descendant_of(&cars).expect("listable"));
    assert_eq!(table.latest().expect("listable").url(), cars.url());
    assert_eq!(table.revisions().expect("listable").len(), 3);
    for derived in [&corrected, &cars] {
        let lineage = derived.lineage().expect("has one");
        let derivation = Derivation::from_operation(&lineage.operation).expect("can be repeated");
        let source = Table::from_url(shelf.store.clone(), &lineage.inputs[0].url).expect("there");
        assert_eq!(Some(source.digest_of(&derivation).expect("repeated")), derived.info().digest);
    }
    let squashed = cars.squashed().expect("copied");
    assert!(squashed.lineage().expect("has one").inputs.is_empty());
    assert!(!squashed.is_descendant_of(&table).expect("listable"));
    assert_eq!(squashed.info().digest, cars.info().digest, "the same rows");
    let wider = table.with_columns(vec![column("age", Arc::new(Int64Array::from(vec![1, 2, 3, 4])))]).expect("fits");
    assert_eq!((wider.columns().len(), wider.rows()), (5, 4));
    let some = table.taken(&[3, 0]).expect("there").read(Scan::columns(["name"])).expect("readable");
    assert_eq!(some.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["d", "a"]);
}

#[test]
fn the_latest_revision_is_found_although_the_clock_went_backwards() {
    let shelf = shelf();
    let table = shelf.create(NewTable::new("initial")).expect("new");
    let folder = table.url().parent().expect("a folder");
    let mut of = table.clone();
    // Each says that it is a year older than what it was made from.
    for year in (1..4_u64).rev() {
        let mut lineage = Lineage::new("test/1", Operation::new("edit", 1));
        lineage.table_id = tlc_core::ulid::Ulid::from_parts(year * 31_536_000_000, 7);
        lineage.inputs.push(of.info().as_input());
        let url = folder.join(&format!("initial-{}.lance", lineage.table_id)).expect("a name");
        let schema = Arc::new(lineage.write_into(table.schema()));
        let rows = table.scan(Scan::default()).expect("readable");
        shelf.store.create(&url, schema, rows).expect("writable");
        of = Table::from_url(shelf.store.clone(), &url).expect("there");
    }
    assert_eq!(table.latest().expect("listable").url(), of.url());
    assert!(of.is_descendant_of(&table).expect("listable"));
    assert_eq!(of.revisions().expect("listable").len(), 4);
}

#[test]
fn rows_are_joined_with_the_table_that_they_describe() {
    let shelf = shelf();
    let toys = shelf.create(NewTable::new("initial")).expect("new");
    let url = toys.url().relative_to(&shelf.root).to_string();
    let mut ids = column("example_id", Arc::new(Int64Array::from(vec![2, 0])));
    ids.field = ids.field.with_role(NumberRole::ExampleId);
    let mut foreign = column("input_table_id", Arc::new(Int64Array::from(vec![0, 0])));
    foreign.field = foreign.field.with_role(NumberRole::ForeignTableId).with_value_map(&BTreeMap::from([(0, url)]));
    let loss = column("price", Arc::new(Float32Array::from(vec![0.5, 0.7])));
    let folder = shelf.root.join("runs/r/metrics").expect("plain");
    let make = |columns| Table::from_columns(shelf.store.clone(), &folder, NewTable::new("m"), columns).expect("new");
    let metrics = make(vec![ids.clone(), foreign, loss.clone()]);
    let joined: Vec<RecordBatch> = metrics
        .joined(&shelf.root.clone().into(), &["name".to_owned(), "price".to_owned()])
        .expect("joinable")
        .collect::<Result<_, _>>()
        .expect("whole");
    let names = joined[0].column_by_name("name").expect("joined").as_string::<i32>();
    assert_eq!(names.iter().flatten().collect::<Vec<_>>(), ["c", "a"]);
    assert!(joined[0].column_by_name("foreign_price").is_some(), "both have a price");
    let outside = shelf.root.join("elsewhere").expect("plain");
    let error = metrics.joined(&outside.into(), &["name".to_owned()]).err().expect("refused").to_string();
    assert!(error.contains("nothing is stored") || error.contains("outside"), "{error}");
    let alone =
        Table::from_columns(shelf.store.clone(), &folder, NewTable::new("alone"), vec![ids, loss]).expect("new");
    let error = alone.joined(&shelf.root.clone().into(), &[]).err().expect("refused").to_string();
    assert!(error.contains("does not say which table"), "{error}");
}

#[test]
fn an_example_id_is_a_row_number_of_the_table_that_is_described_whatever_that_has_itself() {
    let shelf = shelf();
    let ids = |values: Vec<Option<i64>>| {
        let mut ids = column("example_id", Arc::new(Int64Array::from(values)));
        ids.field = ids.field.with_role(NumberRole::ExampleId);
        ids
    };
    let toys = shelf.create(NewTable::new("initial")).expect("new");
    // In another order, so that one is not taken for the other.
    let toys = toys.with_columns(vec![ids(vec![Some(3), Some(2), Some(1), Some(0)])]).expect("as long");
    let url = toys.url().relative_to(&shelf.root).to_string();
    let folder = shelf.root.join("runs/r/metrics").expect("plain");
    let joined = |n: usize, ids: Option<Column>| -> Result<Vec<String>, String> {
        let mut foreign = column("input_table_id", Arc::new(Int64Array::from(vec![0; n])));
        let names = BTreeMap::from([(0, url.clone())]);
        foreign.field = foreign.field.with_role(NumberRole::ForeignTableId).with_value_map(&names);
        let new = NewTable::new("m").if_exists(IfExists::Rename);
        let columns = std::iter::once(foreign).chain(ids).collect();
        let metrics = Table::from_columns(shelf.store.clone(), &folder, new, columns).expect("new");
        let rows = metrics.joined(&shelf.root.clone().into(), &["name".to_owned()]).map_err(|it| it.to_string())?;
        let rows: Result<Vec<RecordBatch>, _> = rows.collect();
        let rows = rows.map_err(|error| std::error::Error::source(&error).expect("it says why").to_string())?;
        let names = |batch: &RecordBatch| -> Vec<String> {
            let names = batch.column_by_name("name").expect("joined").as_string::<i32>();
            names.iter().flatten().map(str::to_owned).collect()
        };
        Ok(rows.iter().flat_map(names).collect())
    };
    assert_eq!(joined(2, Some(ids(vec![Some(2), Some(0)]))).expect("rows of it"), ["c", "a"]);
    assert_eq!(joined(4, None).expect("as many rows"), ["a", "b", "c", "d"]);
    let error = joined(3, None).expect_err("one was left out");
    assert!(error.contains("3 rows where the table that it describes has 4"), "{error}");
    for (unknown, reason) in [
        (Some(4), "row 1 has example_id 4; the table that it describes has 4 rows, counted from 0"),
        (Some(-1), "row 1 has example_id -1; the table that it describes has 4 rows, counted from 0"),
        (None, "row 1 has no example_id"),
    ] {
        assert_eq!(joined(2, Some(ids(vec![Some(0), unknown]))).expect_err("no row of it"), reason);
    }
}

#[test]
fn what_does_not_fit_is_explained() {
    let shelf = shelf();
    let folder = shelf.root.join("t").expect("plain");
    let make = |columns| {
        let made = Table::from_columns(shelf.store.clone(), &folder, NewTable::new("t"), columns);
        made.expect_err("refused").to_string()
    };
    let numbers = |n: i64| Arc::new(Int64Array::from_iter_values(0..n)) as ArrayRef;
    assert!(make(vec![]).contains("it has no columns"));
    assert!(
        make(vec![column("a", numbers(2)), column("b", numbers(3))]).contains("\"b\" has 3 values and \"a\" has 2")
    );
    assert!(make(vec![column("a", numbers(2)), column("a", numbers(2))]).contains("two columns are called \"a\""));
    assert!(make(vec![column("layer4.1", numbers(2))]).contains("has a dot in its name"));
    let table = shelf.create(NewTable::new("initial")).expect("new");
    let edit = |column: &str, row: u64, value: serde_json::Value| {
        table.edited(column, [(row, value)]).expect_err("refused").to_string()
    };
    assert!(edit("nope", 0, 1.into()).contains("no column \"nope\""));
    assert!(edit("label", 9, 1.into()).contains("no row 9; it has 4 rows"));
    assert!(edit("label", 0, "cow".into()).contains("no class \"cow\""));
    assert!(edit("price", 0, "dear".into()).contains("cannot become \"dear\""));
    assert!(edit("embedding", 0, serde_json::Value::Null).contains("int64, float32, boolean and text can be edited"));
    assert!(table.filtered(&Filter::eq("nope", 1)).expect_err("refused").to_string().contains("no column"));
    assert!(table.taken(&[4]).expect_err("refused").to_string().contains("no row 4"));
    assert_eq!(table.revisions().expect("listable").len(), 1, "nothing was written");
    let kept = table.schema().field_with_name("label").expect("there").data_type().clone();
    assert_eq!(kept, DataType::Int64);
}
