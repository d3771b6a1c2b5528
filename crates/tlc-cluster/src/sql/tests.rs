use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type};
use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use tlc_core::{
    Column, Lineage, MODEL_DOCUMENT, NumberRole, Operation, TableStore, WriteCondition, digest, encode_model,
    reducer_from_args,
};
use tlc_reduce as _;
use tlc_table::LanceStore;

use super::*;

const N: usize = 20_000;
const WIDTH: usize = 4;
const MEMORY: usize = 1 << 30;

/// A folder with one table of `N` rows: `id`, `label` = id mod 3, `embedding`.
struct Toys {
    _folder: tempfile::TempDir,
    root: Url,
    table: Url,
    values: Vec<f32>,
}

fn toys() -> Toys {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Url::from_path(folder.path()).expect("an absolute path");
    let table = root.join("datasets/toys/initial-data.lance").expect("valid");
    let values: Vec<f32> = (0..N * WIDTH).map(|i| ((i * 7919) % 10_007) as f32 / 100.0).collect();
    let embedding =
        Column::embedding("embedding", WIDTH, values.clone(), NumberRole::NnEmbedding).expect("whole vectors");
    let ids = Int64Array::from_iter_values(0..N as i64);
    let labels = Int64Array::from_iter_values((0..N as i64).map(|id| id % 3));
    let fields =
        vec![Field::new("id", DataType::Int64, false), Field::new("Label", DataType::Int64, false), embedding.field];
    let schema = Lineage::new("test/1", Operation::new("made-up", 1)).write_into(&Schema::new(fields));
    let schema = Arc::new(schema);
    let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(ids), Arc::new(labels), embedding.values]);
    LanceStore::default().create(&table, schema, Box::new([Ok(rows.expect("valid"))].into_iter())).expect("writable");
    Toys { _folder: folder, root, table, values }
}

impl Toys {
    fn ask(&self, sql: &str) -> Result<RecordBatch, ClusterError> {
        let rows = query(&self.root, std::slice::from_ref(&self.table), sql, MEMORY, &Progress::default())?;
        let schema = rows.schema().clone();
        let batches = rows.collect::<Result<Vec<_>, _>>()?;
        Ok(datafusion::arrow::compute::concat_batches(&schema, &batches).expect("one schema"))
    }

    fn refused(&self, sql: &str) -> String {
        with_causes(&self.ask(sql).expect_err("it is refused"))
    }

    /// Squared distances to a row, with its number, nearest first.
    fn nearest(&self, row: usize) -> Vec<(f32, i64)> {
        let vector = |row: usize| &self.values[row * WIDTH..][..WIDTH];
        let dist_sq = |other: usize| vector(row).iter().zip(vector(other)).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        let mut all: Vec<(f32, i64)> = (0..N).map(|other| (dist_sq(other), other as i64)).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all
    }
}

#[test]
fn tables_have_several_names_and_keep_the_case_of_columns() {
    let toys = toys();
    for name in ["\"datasets/toys/initial-data\"", "\"initial-data\"", "initial_data"] {
        let counted = toys.ask(&format!("select count(*) from {name}")).expect("answered");
        assert_eq!(counted.column(0).as_primitive::<Int64Type>().value(0), N as i64, "{name}");
    }
    let url = toys.table.to_string();
    toys.ask(&format!("select id from \"{url}\" limit 1")).expect("a URL will do");
    let means = toys.ask("select Label, AVG(id) from initial_data group by Label order by Label").expect("answered");
    assert_eq!(means.column(0).as_primitive::<Int64Type>().values(), &[0, 1, 2]);
    let ids = |label: i64| (0..N as i64).filter(move |id| id % 3 == label);
    let mean = ids(1).sum::<i64>() as f64 / ids(1).count() as f64;
    assert_eq!(means.column(1).as_primitive::<Float64Type>().value(1), mean);
}

#[test]
fn tables_of_one_name_are_listed_by_their_paths() {
    let toys = toys();
    let other = toys.root.join("datasets/other/initial-data.lance").expect("valid");
    let gone = toys.root.join("datasets/other/gone.lance").expect("valid");
    let schema = LanceStore::default().info(&toys.table).expect("there").schema;
    LanceStore::default().create(&other, schema, Box::new(std::iter::empty())).expect("writable");
    let tables = [toys.table.clone(), other, gone];
    let ask = |sql: &str| query(&toys.root, &tables, sql, MEMORY, &Progress::default());
    let sql = "select table_name from information_schema.tables where table_schema = 'public' order by table_name";
    let batches = ask(sql).expect("answered").collect::<Result<Vec<_>, _>>().expect("answered");
    let names = batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned));
    let expected = ["datasets/other/gone", "datasets/other/initial-data", "datasets/toys/initial-data", "gone"];
    assert_eq!(names.collect::<Vec<_>>(), expected, "what means one table");
    let error = with_causes(&ask("select * from initial_data").expect_err("it may mean two"));
    assert!(error.contains("may mean any of") && error.contains("datasets/other/initial-data"), "{error}");
}

#[test]
fn neighbours_are_those_of_sorted_distances() {
    let toys = toys();
    let found = toys.ask("select id, distance from tlc_knn('initial_data', 'embedding', 17, 5) order by distance, id");
    let found = found.expect("answered");
    let expected = toys.nearest(17);
    let distances = found.column(1).as_primitive::<Float32Type>().values();
    assert_eq!(distances.len(), 5);
    for (i, distance) in distances.iter().enumerate() {
        assert!((distance - expected[i].0.sqrt()).abs() <= 1e-4 * (1.0 + distance), "{i}: {distance}");
    }
    assert_eq!(found.column(0).as_primitive::<Int64Type>().value(0), 17, "the row itself comes first");
    let unordered =
        toys.ask("select max(distance) from tlc_knn('initial_data', 'embedding', 17, 5)").expect("answered");
    assert_eq!(
        unordered.column(0).as_primitive::<Float32Type>().value(0),
        distances[4],
        "they are the same without an order"
    );
    let constant = toys.ask("select id from initial_data order by tlc_distance(embedding, [1.0, 2, 3, 4]), id limit 1");
    let dist_sq = |row: usize| {
        toys.values[row * WIDTH..][..WIDTH]
            .iter()
            .zip([1.0, 2.0, 3.0, 4.0])
            .map(|(a, b)| (a - b) * (a - b))
            .sum::<f32>()
    };
    let nearest = (0..N).min_by(|a, b| dist_sq(*a).total_cmp(&dist_sq(*b))).expect("rows");
    assert_eq!(constant.expect("answered").column(0).as_primitive::<Int64Type>().value(0), nearest as i64);
    let itself = toys.ask("select max(tlc_distance(embedding, embedding, 'euclidean')) from initial_data");
    assert_eq!(itself.expect("answered").column(0).as_primitive::<Float32Type>().value(0), 0.0);
}

#[test]
fn a_model_is_a_function() {
    let toys = toys();
    let values = ndarray::ArrayView2::from_shape((N, WIDTH), &toys.values).expect("its shape");
    let pca = reducer_from_args("pca", [("n_components".to_owned(), 2.into())].into_iter().collect()).expect("linked");
    let fitted = pca.fit(values, &Progress::default()).expect("fits");
    let model = toys.root.join("models/m").expect("valid");
    let store = LanceStore::default();
    let files = encode_model(fitted.as_ref()).expect("encodable");
    for file in &files {
        store
            .write_object(&model.join(file.name).expect("valid"), &file.content, WriteCondition::Absent)
            .expect("free");
    }
    let digest = digest::of_bytes(&files[1].content);
    let expected = fitted.transform(values, &Progress::default()).expect("places");
    let sql = format!(
        "select id, tlc_reduce(embedding, '{model}', '{digest}', 2) as xy, \
         tlc_place(embedding, '{model}', '{digest}', 2)['out_of_distribution'] as ood from initial_data order by id"
    );
    let found = toys.ask(&sql).expect("answered");
    let places = found.column(1).as_fixed_size_list().values().clone();
    assert_eq!(places.as_primitive::<Float32Type>().values().as_ref(), expected.coordinates.as_slice().expect("rows"));
    let scores = found.column(2).as_primitive::<Float32Type>().values();
    assert_eq!(scores.as_ref(), expected.out_of_distribution.as_slice().expect("scores"));

    let three = format!("select tlc_reduce(embedding, '{model}', '{digest}', 3) from initial_data");
    assert!(toys.refused(&three).contains("gives 2 coordinates"), "{}", toys.refused(&three));
    let other = format!("select tlc_reduce(embedding, '{model}', 'sha256:00', 2) from initial_data");
    let refused = toys.refused(&other);
    assert!(refused.contains(&digest) && refused.contains("sha256:00 was asked for"), "{refused}");

    // A model whose reducer is not linked into this program.
    let mut document: serde_json::Value = serde_json::from_slice(&files[1].content).expect("its own text");
    document["reducer"]["type"] = "mystery/1".into();
    document["made_by"] = serde_json::json!({ "crate": "mystery-reducer", "version": "3.2.1" });
    let document = serde_json::to_vec(&document).expect("plain data");
    let strange = toys.root.join("models/strange").expect("valid");
    store.write_object(&strange.join(MODEL_DOCUMENT).expect("valid"), &document, WriteCondition::Absent).expect("free");
    let digest = digest::of_bytes(&document);
    let refused = toys.refused(&format!("select tlc_reduce(embedding, '{strange}', '{digest}', 2) from initial_data"));
    assert!(refused.contains("mystery-reducer 3.2.1") && refused.contains("mystery/1"), "{refused}");
}

#[test]
fn a_table_without_rows_gives_none() {
    let toys = toys();
    let empty = toys.root.join("datasets/toys/empty.lance").expect("valid");
    let schema = LanceStore::default().info(&toys.table).expect("there").schema;
    LanceStore::default().create(&empty, schema, Box::new(std::iter::empty())).expect("writable");
    let counted = toys.ask(&format!("select count(*), count(id) from \"{empty}\"")).expect("answered");
    for column in counted.columns() {
        assert_eq!(column.as_primitive::<Int64Type>().value(0), 0);
    }
    assert_eq!(toys.ask(&format!("select id from \"{empty}\"")).expect("answered").num_rows(), 0);
}

#[test]
fn a_row_that_cannot_be_measured_has_no_neighbours_and_is_nobodys_first() {
    let toys = toys();
    let table = toys.root.join("datasets/toys/holes.lance").expect("valid");
    let values = vec![0.0, 1.0, f32::NAN, 1.0, 0.0, 3.0];
    let embedding = Column::embedding("embedding", 2, values, NumberRole::NnEmbedding).expect("whole vectors");
    let fields = vec![Field::new("id", DataType::Int64, false), embedding.field];
    let schema = Arc::new(Lineage::new("test/1", Operation::new("made-up", 1)).write_into(&Schema::new(fields)));
    let ids = Int64Array::from_iter_values(0..3);
    let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(ids), embedding.values]).expect("valid");
    LanceStore::default().create(&table, schema, Box::new([Ok(rows)].into_iter())).expect("writable");
    let nearest = |row: usize| format!("select id from tlc_knn('{table}', 'embedding', {row}, 2) order by distance");
    let refused = toys.refused(&nearest(1));
    assert!(refused.contains("row 1 of") && refused.contains("holds NaN or infinity"), "{refused}");
    let found = toys.ask(&nearest(0)).expect("answered");
    assert_eq!(found.column(0).as_primitive::<Int64Type>().values(), &[0, 2], "the row with NaN comes last");
}

#[test]
fn a_sort_of_more_than_memory_holds_is_done_in_files_or_says_what_it_needs() {
    const N_ROWS: i64 = 400_000;
    const N_COLUMNS: i64 = 8;
    let toys = toys();
    let table = toys.root.join("datasets/toys/many.lance").expect("valid");
    let noise = |row: i64, column: i64| (row * N_COLUMNS + column).wrapping_mul(0x1E37_79B9_7F4A_7C15).rotate_left(31);
    let fields: Vec<Field> = (0..N_COLUMNS).map(|i| Field::new(format!("c{i}"), DataType::Int64, false)).collect();
    let schema = Arc::new(Lineage::new("test/1", Operation::new("made-up", 1)).write_into(&Schema::new(fields)));
    let columns = (0..N_COLUMNS).map(|column| {
        let values = (0..N_ROWS).map(|row| noise(row, column));
        Arc::new(Int64Array::from_iter_values(values)) as Arc<dyn arrow_array::Array>
    });
    let rows = RecordBatch::try_new(schema.clone(), columns.collect()).expect("valid");
    // Twice that is what a sort takes.
    let memory = 24 << 20;
    assert!(rows.get_array_memory_size() > memory, "{}", rows.get_array_memory_size());
    LanceStore::default().create(&table, schema, Box::new([Ok(rows)].into_iter())).expect("writable");
    let sorted = |memory: usize| -> Result<Vec<RecordBatch>, ClusterError> {
        let tables = std::slice::from_ref(&table);
        query(&toys.root, tables, "select * from many order by c0", memory, &Progress::default())?.collect()
    };
    let (mut last, mut n_rows, mut sum) = (i64::MIN, 0, 0_i64);
    for batch in sorted(memory).expect("in files") {
        let column = |i: usize| batch.column(i).as_primitive::<Int64Type>().values().to_vec();
        for (first, other) in column(0).into_iter().zip(column(7)) {
            assert!(first >= last, "{first} comes after {last}");
            (last, n_rows, sum) = (first, n_rows + 1, sum.wrapping_add(other));
        }
    }
    let expected = (0..N_ROWS).fold(0_i64, |sum, row| sum.wrapping_add(noise(row, 7)));
    assert_eq!((n_rows, sum), (N_ROWS, expected), "each row once");
    let error = with_causes(&sorted(1 << 20).expect_err("not even the files have room"));
    assert!(error.contains("`tlc sql --memory` allows more"), "{error}");
}

#[test]
fn bad_queries_are_told_what_is_wrong() {
    let toys = toys();
    for (sql, expected) in [
        ("select * from initial_dat", "initial_data"),
        ("select nothing from initial_data", "nothing"),
        ("drop table initial_data", "DDL not supported"),
        ("select tlc_reduce(id, 'm', 'd', 2) from initial_data", "its first argument is Int64"),
        ("select tlc_reduce(embedding, 'm', 'd', 0) from initial_data", "a positive whole number is needed"),
        ("select tlc_reduce(embedding, 'm', 'd', 2) from initial_data", "absolute URL is needed"),
        ("select tlc_reduce(embedding) from initial_data", "are needed"),
        ("select tlc_distance(id, id) from initial_data", "must be a column of vectors"),
        ("select tlc_distance(embedding, embedding, 'far') from initial_data", "euclidean, cosine"),
        ("select * from tlc_knn('initial_data', 'id', 0, 5)", "it has embedding"),
        ("select * from tlc_knn('initial_data', 'embedding', 20000, 5)", "it has no row 20000"),
        ("select * from tlc_knn('initial_data', 'embedding')", "2 arguments were given"),
    ] {
        let found = toys.refused(sql);
        assert!(found.contains(expected), "{sql}: {expected:?} is not in: {found}");
    }
}
