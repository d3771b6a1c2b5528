//! What the contract's suite cannot see: files on disk, and damage to them.

use std::fs;
use std::path::PathBuf;

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
        let embedding = Column::embedding("e", 4, values, NumberRole::NnEmbedding);
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

#[test]
fn a_deletion_that_was_cut_short_is_finished_by_the_next() {
    let fixture = Fixture::with_table();
    let table = fixture.folder.path().join("t.lance");
    let left = fixture.folder.path().join("t.lance.deleted-01M85A000000000000000000000");
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
