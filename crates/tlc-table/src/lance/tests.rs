//! What the contract's suite cannot see: files on disk, and damage to them.

use std::fs;
use std::path::PathBuf;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use tempfile::TempDir;
use tlc_core::{Column, NumberRole, Progress};

use super::*;
use crate::backend::MANIFEST_FOLDER;

struct Fixture {
    folder: TempDir,
    store: LanceStore,
    url: Url,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = Url::from_path(&folder.path().join("t.lance")).expect("an absolute path");
        Self { folder, store: LanceStore::default(), url }
    }

    fn with_table() -> Self {
        let fixture = Self::new();
        let values = (0..4000).map(|i| (i as f32).sin()).collect();
        let embedding = Column::embedding("e", 4, values, NumberRole::NnEmbedding).expect("whole vectors");
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), embedding.field]));
        let ids = Arc::new(Int64Array::from_iter_values(0..1000));
        let batch = RecordBatch::try_new(schema.clone(), vec![ids, embedding.values]).expect("columns of one length");
        fixture.store.create(&fixture.url, schema, Box::new([Ok(batch)].into_iter())).expect("a table can be created");
        fixture
    }

    fn one_file(&self, folder: &str) -> PathBuf {
        let entries = fs::read_dir(self.folder.path().join("t.lance").join(folder)).expect("a folder of the table");
        let mut files = entries.map(|entry| entry.expect("an entry").path());
        files.find(|file| file.extension().is_some_and(|e| e == "lance" || e == "manifest")).expect("a file")
    }

    /// A store without caches of the table.
    fn reopened(&self) -> LanceStore {
        LanceStore::default()
    }
}

#[test]
fn keeps_the_contract() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = Url::from_path(folder.path()).expect("an absolute path");
    tlc_core::conformance::check_store(&LanceStore::default(), &root);
}

#[test]
fn its_configuration_survives_a_file() {
    let store: Box<dyn TableStore> = Box::new(LanceStore::default());
    let json = serde_json::to_string(&store).expect("plain data");
    assert_eq!(json, r#"{"type":"lance/1"}"#);
    assert!(serde_json::from_str::<Box<dyn TableStore>>(&json).is_ok());
}

#[test]
fn flipped_bits_are_found_by_the_digest() {
    let fixture = Fixture::with_table();
    fixture.store.verify(&fixture.url, &Progress::default()).expect("sound as written");
    let file = fixture.one_file("data");
    let mut bytes = fs::read(&file).expect("readable");
    bytes[5000..5040].iter_mut().for_each(|byte| *byte ^= 0x10);
    fs::write(&file, bytes).expect("writable");
    let error = fixture.reopened().verify(&fixture.url, &Progress::default()).expect_err("bits were flipped");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
}

#[test]
fn a_cut_data_file_or_manifest_is_an_error_and_no_panic() {
    for folder in ["data", MANIFEST_FOLDER] {
        for keep in [0, 10, 100] {
            let fixture = Fixture::with_table();
            let file = fixture.one_file(folder);
            let bytes = fs::read(&file).expect("readable");
            fs::write(&file, &bytes[..keep]).expect("writable");
            let read = fixture.reopened().verify(&fixture.url, &Progress::default());
            assert!(read.is_err(), "{folder} cut to {keep} bytes");
        }
    }
}

/// The manifest of a table's only version.
const MANIFEST: &str = "_versions/18446744073709551614.manifest";
/// Where another program's next version would be.
const LATER: &str = "_versions/18446744073709551613.manifest";

fn opens_with_lance(url: &Url) -> bool {
    let uri = url.to_path().expect("local").to_string_lossy().into_owned();
    let opened = crate::runtime::wait(|| async { lance::Dataset::open(&uri).await.map(|_| ()) });
    matches!(opened, Ok(Ok(())))
}

#[test]
fn a_torn_or_lost_manifest_is_put_back_on_request() {
    // All but the last bytes, which say where the rest is.
    let flipped = |mut bytes: Vec<u8>| {
        bytes.iter_mut().rev().skip(16).for_each(|byte| *byte ^= 0x55);
        Some(bytes)
    };
    type Damage = fn(Vec<u8>) -> Option<Vec<u8>>;
    let damages: [Damage; 4] =
        [|_| None, |_| Some(Vec::new()), |bytes| Some(bytes[..bytes.len() / 2].to_vec()), flipped];
    for (number, damage) in damages.into_iter().enumerate() {
        let fixture = Fixture::with_table();
        let manifest = fixture.folder.path().join("t.lance").join(MANIFEST);
        let written = fs::read(&manifest).expect("readable");
        let damaged = damage(written.clone());
        match &damaged {
            Some(bytes) => fs::write(&manifest, bytes).expect("writable"),
            None => fs::remove_file(&manifest).expect("removable"),
        }
        let store = fixture.reopened();
        assert!(store.verify(&fixture.url, &Progress::default()).is_err(), "damage {number}");
        let found = store.repair(&fixture.url, true, &Progress::default()).expect("readable").expect("found");
        assert!(found.contains("of which there is a copy"), "{found}");
        assert_eq!(fs::read(&manifest).ok(), damaged, "damage {number}: a dry run only looks");
        store.repair(&fixture.url, false, &Progress::default()).expect("readable").expect("put back");
        assert_eq!(fs::read(&manifest).expect("there"), written, "damage {number}");
        fixture.reopened().verify(&fixture.url, &Progress::default()).expect("whole again");
        assert!(opens_with_lance(&fixture.url), "damage {number}");
        assert_eq!(store.repair(&fixture.url, false, &Progress::default()).expect("readable"), None, "once is enough");
    }
}

#[test]
fn a_manifest_stays_where_its_copy_does_not_help() {
    let fixture = Fixture::with_table();
    let manifest = fixture.folder.path().join("t.lance").join(MANIFEST);
    fs::write(&manifest, b"torn").expect("writable");
    fs::remove_file(fixture.one_file("data")).expect("removable");
    assert_eq!(fixture.store.repair(&fixture.url, false, &Progress::default()).expect("readable"), None);
    assert_eq!(fs::read(&manifest).expect("there"), b"torn", "as it was");
}

#[test]
fn a_copy_that_is_damaged_itself_replaces_nothing() {
    let fixture = Fixture::with_table();
    let table = fixture.folder.path().join("t.lance");
    let copy = table.join(MANIFEST.replace("_versions", "_tlc_manifest"));
    fs::write(copy, b"torn").expect("writable");
    assert_eq!(fixture.store.repair(&fixture.url, false, &Progress::default()).expect("readable"), None);
    fixture.reopened().verify(&fixture.url, &Progress::default()).expect("as it was");
}

#[test]
fn a_torn_later_version_of_another_program_is_set_aside_on_request() {
    let fixture = Fixture::with_table();
    let later = fixture.folder.path().join("t.lance").join(LATER);
    fs::write(&later, b"torn").expect("writable");
    let store = fixture.reopened();
    store.verify(&fixture.url, &Progress::default()).expect("tlc reads its own version");
    assert!(!opens_with_lance(&fixture.url), "others look for the newest");
    let found = store.repair(&fixture.url, true, &Progress::default()).expect("readable").expect("found");
    assert!(found.contains("a later version, which is torn") && later.exists(), "{found}");
    store.repair(&fixture.url, false, &Progress::default()).expect("readable").expect("set aside");
    assert!(opens_with_lance(&fixture.url));
    fixture.reopened().verify(&fixture.url, &Progress::default()).expect("as it was");
    let kept = fs::read_dir(fixture.folder.path().join("t.lance/_tlc_manifest")).expect("there").flatten();
    assert!(kept.into_iter().any(|file| fs::read(file.path()).expect("readable") == b"torn"), "nothing is deleted");
}

#[test]
fn a_later_version_that_is_whole_or_cannot_be_read_is_let_be() {
    let fixture = Fixture::with_table();
    let later = fixture.folder.path().join("t.lance").join(LATER);
    let repair = || fixture.store.repair(&fixture.url, false, &Progress::default());
    // As a newer program may write it: whole, with what this one does not understand.
    let message = [0xff_u8; 11];
    let mut whole = (message.len() as u32).to_le_bytes().to_vec();
    whole.extend(message);
    whole.extend(0_u64.to_le_bytes());
    whole.extend([0, 0, 9, 0]);
    whole.extend(b"LANC");
    fs::write(&later, &whole).expect("writable");
    assert!(!opens_with_lance(&fixture.url));
    assert_eq!(repair().expect("readable"), None);
    assert_eq!(fs::read(&later).expect("there"), whole);
    fs::write(&later, &whole[1..]).expect("writable");
    assert!(repair().expect("readable").is_some() && !later.exists(), "a byte is missing");
    fs::create_dir(&later).expect("writable");
    assert!(repair().is_err() && later.exists(), "what cannot be read is not known to be torn");
}

#[test]
fn what_a_stopped_deletion_left_is_listed_and_removed() {
    let fixture = Fixture::with_table();
    let folder = fixture.url.parent().expect("a folder");
    assert_eq!(fixture.store.list_leftovers(&folder).expect("listable"), []);
    let names = [".run.json.deleted-01M85A00000000000000000000", "t.lance.deleted-01M85A00000000000000000000"];
    let [file, left] = names.map(|name| fixture.folder.path().join(name));
    fs::rename(fixture.folder.path().join("t.lance"), &left).expect("what a kill after the rename leaves");
    fs::write(&file, b"{").expect("what a kill before the rename leaves");
    let own = fixture.folder.path().join("notes.deleted-by-me");
    fs::create_dir(&own).expect("what a user called so");
    let found = fixture.store.list_leftovers(&folder).expect("listable");
    assert_eq!(found.iter().map(Url::file_name).collect::<Vec<_>>(), names);
    assert!(found.iter().all(|url| fixture.store.last_modified(url).expect("readable").is_some()));
    for url in &found {
        fixture.store.delete_folder(url).expect("removable");
    }
    assert!(!left.exists() && !file.exists() && own.exists());
    assert_eq!(fixture.store.list_leftovers(&folder).expect("listable"), []);
    assert_eq!(fixture.store.list_folders(&folder).expect("listable"), ["notes.deleted-by-me"]);
    assert_eq!(fixture.store.last_modified(&fixture.url).expect("readable"), None);
}

#[test]
fn a_table_that_points_at_files_elsewhere_is_refused() {
    use arrow_array::RecordBatchIterator;
    use lance::dataset::WriteParams;
    use lance::table::format::BasePath;

    let fixture = Fixture::new();
    let elsewhere = fixture.folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("writable");
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let ids = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let rows = RecordBatch::try_new(schema.clone(), vec![ids]).expect("one column");
    let rows = RecordBatchIterator::new([Ok(rows)], schema);
    let base = BasePath::new(1, Url::from_path(&elsewhere).expect("absolute").to_string(), None, false);
    let params = WriteParams::default().with_initial_bases(vec![base]).with_target_bases(vec![1]);
    let uri = fixture.url.to_path().expect("local").to_string_lossy().into_owned();
    let written =
        crate::runtime::wait(move || async move { lance::Dataset::write(rows, &uri, Some(params)).await.map(|_| ()) });
    written.expect("no panic").expect("Lance writes such tables");
    assert!(fs::read_dir(&elsewhere).expect("there").next().is_some(), "its rows are elsewhere");
    let refused = fixture.store.scan(&fixture.url, Scan::default()).err().expect("refused").to_string();
    assert!(refused.contains("points at files outside of the table") && refused.contains("elsewhere"), "{refused}");
}

/// Adds a version to the table at `url`, which need not be there yet, as other programs do.
fn add_with_lance(url: &Url, ids: &[i64]) {
    use arrow_array::RecordBatchIterator;
    use lance::dataset::{WriteMode, WriteParams};

    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let ids = Arc::new(Int64Array::from(ids.to_vec()));
    let rows = RecordBatch::try_new(schema.clone(), vec![ids]).expect("one column");
    let rows = RecordBatchIterator::new([Ok(rows)], schema);
    let path = url.to_path().expect("local");
    let mode = if path.exists() { WriteMode::Append } else { WriteMode::Create };
    let (uri, params) = (path.to_string_lossy().into_owned(), WriteParams { mode, ..WriteParams::default() });
    let written =
        crate::runtime::wait(move || async move { lance::Dataset::write(rows, &uri, Some(params)).await.map(|_| ()) });
    written.expect("no panic").expect("Lance writes it");
}

/// Deletes rows of the table at `url`, which makes a version, as other programs do.
fn delete_with_lance(url: &Url, predicate: &str) {
    let uri = url.to_path().expect("local").to_string_lossy().into_owned();
    let deleted = crate::runtime::wait(move || async move {
        let mut dataset = lance::Dataset::open(&uri).await?;
        dataset.delete(predicate).await.map(|_| ())
    });
    deleted.expect("no panic").expect("Lance deletes");
}

fn ids(batches: BatchStream<'_>) -> Vec<i64> {
    let values = |batch: Result<RecordBatch, StoreError>| {
        batch.expect("readable").column(0).as_primitive::<Int64Type>().values().to_vec()
    };
    batches.flat_map(values).collect()
}

#[test]
fn a_version_of_another_programs_table_is_read_as_it_was() {
    let fixture = Fixture::new();
    let all: Vec<i64> = (0..90).collect();
    add_with_lance(&fixture.url, &all[..50]);
    add_with_lance(&fixture.url, &all[50..80]);
    delete_with_lance(&fixture.url, "id % 7 = 0 OR id = 49 OR id = 50 OR id >= 78");
    add_with_lance(&fixture.url, &all[80..]);
    delete_with_lance(&fixture.url, "id < 50");
    let is_left = |id: &&i64| **id % 7 != 0 && !(49..=50).contains(*id) && !(78..80).contains(*id);
    let versions: [(u64, Vec<i64>); 5] = [
        (1, all[..50].to_vec()),
        (2, all[..80].to_vec()),
        (3, all[..80].iter().filter(is_left).copied().collect()),
        (4, all[..80].iter().filter(is_left).copied().chain(80..90).collect()),
        // A whole fragment is gone.
        (5, all[50..80].iter().filter(is_left).copied().chain(80..90).collect()),
    ];
    let store = fixture.reopened();
    for (version, expected) in versions {
        let url = fixture.url.clone().with_version(Some(version));
        let info = store.info(&url).expect("there");
        assert_eq!((info.rows, &info.url, info.digest.is_some()), (expected.len() as u64, &url, false), "{version}");
        let input = info.as_input();
        assert_eq!((input.version, input.url), (version, url.clone()));
        assert_eq!(ids(store.scan(&url, Scan::default()).expect("there")), expected, "{version}");
        let later = Scan::default().filter(tlc_core::Filter::ge("id", 20)).limit(25);
        let later = ids(store.scan(&url, later).expect("there"));
        assert_eq!(later, expected.iter().filter(|id| **id >= 20).take(25).copied().collect::<Vec<_>>(), "{version}");
        // Over borders of fragments and over deleted rows, up to the end and beyond.
        for (start, end) in [(0, 1), (0, 7), (5, 8), (20, 60), (41, 44), (40, 90), (30, 30), (1000, 1001)] {
            let found = ids(store.scan_range(&url, None, start..end).expect("there"));
            let cut = |at: u64| (at as usize).min(expected.len());
            assert_eq!(found, expected[cut(start)..cut(end)], "{version}: {start}..{end}");
        }
        let n_rows = expected.len() as u64;
        let taken = |rows: &[u64]| {
            let batch = store.take(&url, rows, None).expect("there");
            batch.column(0).as_primitive::<Int64Type>().values().to_vec()
        };
        assert_eq!(taken(&(0..n_rows).collect::<Vec<_>>()), expected, "{version}");
        for rows in [vec![n_rows - 1, 0, 5, 5, n_rows / 2], vec![6, 7, 8], vec![3]] {
            let wanted: Vec<i64> = rows.iter().map(|row| expected[*row as usize]).collect();
            assert_eq!(taken(&rows), wanted, "{version}: {rows:?}");
        }
        assert!(store.take(&url, &[n_rows], None).is_err(), "{version}: no row is beyond the last");
        store.verify(&url, &Progress::default()).expect("there is no digest to compare with");
    }
}

#[test]
fn a_version_that_is_not_there_is_told_with_the_latest() {
    let fixture = Fixture::new();
    let told = |version| {
        let url = fixture.url.clone().with_version(version);
        fixture.reopened().info(&url).expect_err("refused").to_string()
    };
    assert!(told(Some(1)).starts_with("nothing is stored at "), "no table, no versions");
    add_with_lance(&fixture.url, &[1, 2, 3]);
    add_with_lance(&fixture.url, &[4]);
    let refused = told(Some(9));
    assert!(refused.contains("it has no version 9") && refused.ends_with("/t.lance?version=2"), "{refused}");
    assert!(!refused.contains("damaged"), "{refused}");
    // Whoever owns it may remove its old versions.
    fs::remove_file(fixture.folder.path().join("t.lance").join(MANIFEST)).expect("there");
    let refused = told(None);
    assert!(refused.contains("its latest version is 2: name it, file:///"), "{refused}");
    let latest = fixture.url.clone().with_version(Some(2));
    assert_eq!(fixture.reopened().info(&latest).expect("there").rows, 4);
}

#[test]
fn a_version_is_only_read() {
    let fixture = Fixture::new();
    add_with_lance(&fixture.url, &[1, 2, 3]);
    add_with_lance(&fixture.url, &[4]);
    let (store, url) = (fixture.reopened(), fixture.url.clone().with_version(Some(2)));
    let schema = store.info(&url).expect("there").schema;
    let key = tlc_core::ulid::Ulid::generate();
    let refused = [
        store.create(&url, schema.clone(), Box::new(std::iter::empty())).map(|_| ()),
        store.begin_parts(&url, tlc_core::ulid::Ulid::generate()).map(|_| ()),
        store.write_part(&url, &schema, Box::new(std::iter::empty())).map(|_| ()),
        store.kept_part(&url, key, 0).map(|_| ()),
        store.delete(&url),
        store.delete_folder(&url),
        store.list_tables(&url).map(|_| ()),
        store.list_folders(&url).map(|_| ()),
        store.list_leftovers(&url).map(|_| ()),
        store.read_object(&url).map(|_| ()),
        store.write_object(&url, b"x", WriteCondition::Absent).map(|_| ()),
        store.repair(&url, false, &Progress::default()).map(|_| ()),
    ];
    for refused in refused {
        let text = refused.expect_err("it is no place to write, list or delete").to_string();
        assert!(text.contains("leave ?version=2 out"), "{text}");
    }
    assert_eq!(ids(store.scan(&url, Scan::default()).expect("there")), [1, 2, 3, 4], "it is as it was");
    assert!(store.size_bytes(&url).expect("measurable") > 0);
}

#[test]
fn a_table_of_another_program_that_was_added_to_is_refused_without_a_version() {
    let fixture = Fixture::new();
    add_with_lance(&fixture.url, &[1, 2, 3]);
    let store = fixture.reopened();
    assert_eq!(store.info(&fixture.url).expect("one version").rows, 3);
    add_with_lance(&fixture.url, &[4]);
    let refused = [
        store.info(&fixture.url).err(),
        store.scan(&fixture.url, Scan::default()).err(),
        store.take(&fixture.url, &[0], None).err(),
        store.scan_range(&fixture.url, None, 0..1).err(),
        store.verify(&fixture.url, &Progress::default()).err(),
        fixture.reopened().info(&fixture.url).err(),
    ];
    for error in refused {
        let text = error.expect("which rows are meant is not known").to_string();
        assert!(text.contains("its latest version is 2: name it, file:///"), "{text}");
        assert!(text.ends_with("/t.lance?version=2"), "{text}");
    }
}

#[test]
fn a_table_of_another_program_is_told_from_one_that_took_its_place() {
    let fixture = Fixture::new();
    let written = |store: &LanceStore| store.written(&fixture.url).expect("there");
    add_with_lance(&fixture.url, &[1, 2, 3]);
    let first = written(&fixture.store);
    assert_eq!(written(&fixture.reopened()), first, "whoever looks");
    fs::remove_dir_all(fixture.folder.path().join("t.lance")).expect("removable");
    add_with_lance(&fixture.url, &[1, 2, 3]);
    assert_ne!(written(&fixture.reopened()), first);
    assert_ne!(written(&fixture.store), first, "also who has read the other");
}

#[test]
fn what_another_program_adds_to_a_table_of_tlc_is_not_read() {
    let fixture = Fixture::new();
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(vec![1, 2, 3]))]).expect("a column");
    fixture.store.create(&fixture.url, schema, Box::new([Ok(rows)].into_iter())).expect("writable");
    add_with_lance(&fixture.url, &[4]);
    let store = fixture.reopened();
    assert_eq!(store.info(&fixture.url).expect("there").rows, 3);
    store.verify(&fixture.url, &Progress::default()).expect("as written");
    let version = |version| store.info(&fixture.url.clone().with_version(Some(version)));
    assert_eq!(version(1).expect("the one that tlc wrote").rows, 3);
    for other in [2, 3] {
        let refused = version(other).expect_err("there, or not there").to_string();
        assert!(
            refused.contains("tlc wrote it") && refused.contains(&format!("leave ?version={other} out")),
            "{refused}"
        );
    }
}

#[test]
fn ten_thousand_columns_come_back() {
    const WIDTH: i64 = 10_000;
    let fixture = Fixture::new();
    let fields: Vec<Field> = (0..WIDTH).map(|i| Field::new(format!("c{i}"), DataType::Int64, false)).collect();
    let schema = Arc::new(Schema::new(fields));
    let columns = (0..WIDTH).map(|i| Arc::new(Int64Array::from(vec![i, -i, 7 * i])) as _).collect();
    let rows = RecordBatch::try_new(schema.clone(), columns).expect("one length");
    fixture.store.create(&fixture.url, schema, Box::new([Ok(rows)].into_iter())).expect("writable");
    let store = fixture.reopened();
    store.verify(&fixture.url, &Progress::default()).expect("as written");
    let wanted = ["c9999".to_owned(), "c3".to_owned()];
    let row = store.take(&fixture.url, &[2], Some(&wanted)).expect("there");
    let cell = |name: &str| row.column_by_name(name).expect("asked for").as_primitive::<Int64Type>().value(0);
    assert_eq!((row.num_columns(), cell("c9999"), cell("c3")), (2, 7 * 9999, 21));
}

#[test]
fn a_million_rows_come_back() {
    const N_ROWS: i64 = 1_000_000;
    let fixture = Fixture::new();
    let batch = |first: i64| {
        let ids = first..first + N_ROWS / 10;
        let values = ids.clone().flat_map(|id| [id as f32, 0.5, -1.0, (id as f32).sin()]).collect();
        let embedding = Column::embedding("e", 4, values, NumberRole::NnEmbedding).expect("whole vectors");
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), embedding.field]));
        let columns = vec![Arc::new(Int64Array::from_iter_values(ids)) as _, embedding.values];
        RecordBatch::try_new(schema, columns).expect("one length")
    };
    let schema = batch(0).schema();
    let rows = (0..10).map(|part| Ok(batch(part * N_ROWS / 10)));
    let info = fixture.store.create(&fixture.url, schema, Box::new(rows)).expect("writable");
    assert_eq!(info.rows, N_ROWS as u64);
    let store = fixture.reopened();
    store.verify(&fixture.url, &Progress::default()).expect("as written");
    let some = store.take(&fixture.url, &[999_999, 0, 500_000], None).expect("there");
    assert_eq!(some.column(0).as_primitive::<Int64Type>().values(), &[999_999, 0, 500_000]);
    let scan = Scan::columns(["id"]).filter(tlc_core::Filter::ge("id", N_ROWS - 5)).limit(3);
    let last: Vec<RecordBatch> =
        store.scan(&fixture.url, scan).expect("there").map(|rows| rows.expect("whole")).collect();
    let ids: Vec<i64> =
        last.iter().flat_map(|rows| rows.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    assert_eq!(ids, [999_995, 999_996, 999_997]);
}

#[test]
fn a_deletion_that_was_cut_short_is_finished_by_the_next() {
    let fixture = Fixture::with_table();
    let table = fixture.folder.path().join("t.lance");
    let left = fixture.folder.path().join("t.lance.deleted-01M85A00000000000000000000");
    fs::rename(&table, &left).expect("what a kill after the rename leaves");
    assert_eq!(fixture.store.list_tables(&fixture.url.parent().expect("a folder")).expect("listable"), []);
    assert!(matches!(fixture.store.delete(&fixture.url), Err(StoreError::NotFound { .. })));
    assert!(!left.exists(), "its bytes are gone too");
}

#[test]
fn a_table_can_be_made_inside_another_runtime() {
    let theirs = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let fixture = theirs.block_on(async { Fixture::with_table() });
    assert_eq!(fixture.store.info(&fixture.url).expect("there").rows, 1000);
}

#[test]
fn an_unwritable_place_is_an_error_that_names_it() {
    let fixture = Fixture::new();
    let file = fixture.folder.path().join("file");
    fs::write(&file, b"x").expect("writable");
    let url = Url::from_path(&file.join("t.lance")).expect("an absolute path");
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let error = fixture.store.create(&url, schema, Box::new(std::iter::empty())).expect_err("a file is no folder");
    assert_eq!(error.to_string(), format!("cannot create {url}"));
}

#[test]
fn a_batch_with_other_columns_is_refused() {
    let fixture = Fixture::new();
    let announced = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let other = Arc::new(Schema::new(vec![Field::new("row", DataType::Int64, false)]));
    let batch = RecordBatch::try_new(other, vec![Arc::new(Int64Array::from(vec![1]))]).expect("one column");
    let error = fixture.store.create(&fixture.url, announced, Box::new([Ok(batch)].into_iter())).expect_err("refused");
    assert!(error.to_string().ends_with("a batch has the columns (row: Int64), announced were (id: Int64)"), "{error}");
    assert!(!fixture.folder.path().join("t.lance").exists(), "nothing is left");
}

#[test]
fn other_schemes_are_refused_with_what_is_served() {
    let error = LanceStore::default().info(&"memory://m/t.lance".parse().expect("a URL")).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "this store cannot serve memory://m/t.lance: it serves local folders (file:///…) and object stores (s3://, gs://, \
         az://)"
    );
}
