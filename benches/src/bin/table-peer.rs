//! Our side of the comparison of tables in `cargo xtask bench --peers --only tables`; `benches/peers/tables.py` is the
//! other. Each call prints one JSON object of seconds:
//!
//! ```text
//! table-peer write-scan FOLDER ROWS WIDTH ROUNDS   a table is written, flushed and scanned, each time anew
//! table-peer take TABLE ROUNDS                     a table is opened and 100 of its rows are read, without caches
//! table-peer listing FOLDER TABLES ROUNDS          a run of many metrics tables is listed, without caches
//! table-peer epochs FOLDER TABLES ROWS WIDTH       a run with embeddings of many epochs is written
//! table-peer reduce FOLDER                         that run is reduced; also prints the process's greatest memory
//! table-peer samples FOLDER                        a table of every kind is written, for other programs to open
//! ```

#![expect(clippy::print_stdout, reason = "the report goes to whoever started the process")]

#[path = "../../peers/memory.rs"]
mod memory;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use half::f16;
use serde_json::{Map, Value, json};
use tlc::core::rng::Stream;
use tlc::core::{
    Column, FieldRoles, Filter, Lineage, MetricsSink, MetricsTable, NumberRole, Operation, Progress, Scan, TableStore,
    UniqueName, Url,
};
use tlc::run::{Project, ReduceOptions, Run};
use tlc::table::{LanceStore, NewTable, Table};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const BATCH_ROWS: usize = 8192;
const N_TAKEN: u64 = 100;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [mode, place, numbers @ ..] = args.as_slice() else { return Err("a mode and a place are needed".into()) };
    let numbers: Vec<usize> = numbers.iter().map(|number| number.parse()).collect::<std::result::Result<_, _>>()?;
    let place = Url::from_path(&std::path::absolute(place)?)?;
    let mut report = match (mode.as_str(), &numbers[..]) {
        ("write-scan", &[rows, width, rounds]) => write_scan(&place, rows, width, rounds)?,
        ("take", &[rounds]) => take(&place, rounds)?,
        ("listing", &[tables, rounds]) => listing(&place, tables, rounds)?,
        ("epochs", &[tables, rows, width]) => epochs(&place, tables, rows, width)?,
        ("reduce", &[]) => reduce(&place)?,
        ("samples", &[]) => samples(&place)?,
        _ => return Err(format!("{mode} with {numbers:?} is nothing that this program does").into()),
    };
    report["version"] = json!(format!("tlc {}", env!("CARGO_PKG_VERSION")));
    println!("{report}");
    Ok(())
}

fn seconds<T>(work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let started = Instant::now();
    let done = work()?;
    Ok((started.elapsed().as_secs_f64(), done))
}

/// Numbers in `[0, 1)` that no encoding makes shorter, as those of `numpy.random`.
fn noise(n: usize, seed: u64) -> Vec<f32> {
    let noise = Stream::new(seed, "tables");
    (0..n).map(|i| (noise.bits(i as u64, 0) >> 40) as f32 / (1_u64 << 24) as f32).collect()
}

fn ids(n: usize) -> Column {
    let field = Field::new("example_id", DataType::Int64, false).with_role(NumberRole::ExampleId);
    Column { field, values: Arc::new(Int64Array::from_iter_values(0..n as i64)) }
}

/// Columns in batches of 8,192 rows.
fn batches(columns: Vec<Column>) -> Result<(Arc<Schema>, Vec<RecordBatch>)> {
    let (fields, values): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().map(|it| (it.field, it.values)).unzip();
    let schema = Arc::new(Schema::new(fields));
    let all = RecordBatch::try_new(schema.clone(), values)?;
    let cut = |start| all.slice(start, BATCH_ROWS.min(all.num_rows() - start));
    Ok((schema, (0..all.num_rows()).step_by(BATCH_ROWS).map(cut).collect()))
}

fn write_scan(folder: &Url, rows: usize, width: usize, rounds: usize) -> Result<Value> {
    let number = Field::new("id", DataType::Int64, false);
    let number = Column { field: number, values: Arc::new(Int64Array::from_iter_values(0..rows as i64)) };
    let vectors = Column::embedding("e", width, noise(rows * width, 0), NumberRole::NnEmbedding)?;
    let (schema, batches) = batches(vec![number, vectors])?;
    let (mut write, mut scan) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let store = LanceStore::default();
        let url = folder.join(&format!("{}.lance", UniqueName::new("t")))?;
        let rows_of = Box::new(batches.clone().into_iter().map(Ok));
        write.push(seconds(|| Ok(store.create(&url, schema.clone(), rows_of)?))?.0);
        let (taken, found) = seconds(|| {
            let batches = LanceStore::default().scan(&url, Scan::default())?;
            batches.map(|batch| Ok(batch?.num_rows())).sum::<Result<usize>>()
        })?;
        assert_eq!(found, rows);
        scan.push(taken);
        if round + 1 < rounds {
            store.delete(&url)?;
        }
    }
    Ok(json!({ "write": write, "scan": scan }))
}

/// The table in a folder, or that folder.
fn table_at(place: &Url) -> Result<Url> {
    Ok(LanceStore::default().list_tables(place)?.into_iter().next().unwrap_or_else(|| place.clone()))
}

fn take(place: &Url, rounds: usize) -> Result<Value> {
    let url = table_at(place)?;
    let n_rows = LanceStore::default().info(&url)?.rows;
    let mut open_and_take = Vec::new();
    for round in 0..rounds as u64 {
        let chosen: Vec<i64> = (0..N_TAKEN).map(|i| (Stream::new(round, "take").bits(i, 0) % n_rows) as i64).collect();
        let (taken, rows) = seconds(|| {
            let table = Table::from_url(Arc::new(LanceStore::default()), &url)?;
            Ok(table.take_by_example_id(&chosen, None)?)
        })?;
        assert_eq!(rows.num_rows() as u64, N_TAKEN);
        open_and_take.push(taken);
    }
    Ok(json!({ "open_and_take": open_and_take }))
}

fn project(root: &Url) -> Project {
    Project::new(Arc::new(LanceStore::default()), root.clone())
}

fn metrics_table(project: &Project, epoch: usize) -> Result<MetricsTable> {
    Ok(MetricsTable {
        name: format!("train-epoch-{epoch}"),
        foreign_table: Some(project.root().join("datasets/toys/train.lance")?),
        constants: Map::from_iter([("epoch".to_owned(), json!(epoch)), ("split".to_owned(), json!("train"))]),
        lineage: Lineage::new("bench/1", Operation::new("made-up", 1)),
    })
}

fn add(run: &Run, epoch: usize, columns: Vec<Column>) -> Result<Url> {
    let (schema, batches) = batches(columns)?;
    let table = metrics_table(run.project(), epoch)?;
    Ok(run.write_metrics(table, &schema, Box::new(batches.into_iter().map(Ok)))?.url)
}

fn listing(root: &Url, tables: usize, rounds: usize) -> Result<Value> {
    let run = project(root).create_run("r", Map::new())?;
    for epoch in 0..tables {
        let embedding = Column::embedding("e", 4, noise(40, epoch as u64), NumberRole::NnEmbedding)?;
        add(&run, epoch, vec![ids(10), embedding])?;
    }
    let (mut of_run, mut of_project) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (taken, found) = seconds(|| Ok(project(root).open_run("r")?.metrics()?))?;
        assert_eq!(found.len(), tables);
        of_run.push(taken);
        let (taken, found) = seconds(|| Ok(project(root).listing()?))?;
        assert_eq!(found.tables.len(), tables);
        of_project.push(taken);
    }
    Ok(json!({ "run": of_run, "project": of_project }))
}

/// One cloud that drifts from epoch to epoch.
fn epochs(root: &Url, tables: usize, rows: usize, width: usize) -> Result<Value> {
    let run = project(root).create_run("r", Map::new())?;
    let cloud = noise(rows * width, 0);
    let started = Instant::now();
    for epoch in 0..tables {
        let drift = epoch as f32 * 0.01;
        let values = cloud.iter().enumerate().map(|(i, x)| x + if i % width < 3 { drift } else { 0.0 }).collect();
        add(&run, epoch, vec![ids(rows), Column::embedding("e", width, values, NumberRole::NnEmbedding)?])?;
    }
    Ok(json!({ "write": started.elapsed().as_secs_f64() }))
}

fn reduce(root: &Url) -> Result<Value> {
    let run = project(root).open_run("r")?;
    let options = ReduceOptions::new([tlc::create_reducer("pacmap", [])?]);
    let (taken, mapping) = seconds(|| Ok(run.reduce_embeddings_per_dataset(&options, &Progress::default())?))?;
    assert_eq!(mapping.len(), run.metrics()?.len(), "each table was replaced");
    let kib = memory::peak_kib().ok_or("the system does not say how much memory was used")?;
    Ok(json!({ "reduce": taken, "tables": mapping.len(), "peak_mib": kib as f64 / 1024.0 }))
}

/// A table of every kind that tlc writes: what it is, where, its rows and columns, and the sum of a column.
fn samples(root: &Url) -> Result<Value> {
    const N_ROWS: usize = 60;
    let project = project(root);
    let store = project.shared_store();
    let datasets = root.join("datasets/toys")?;
    let columns = vec![
        ids(N_ROWS),
        Column::labels("label", (0..N_ROWS as i64).map(|i| (i % 7 != 0).then_some(i % 2)), ["cat", "dog"]),
        Column::texts("caption", (0..N_ROWS).map(|i| format!("sämple {i}")))?,
        Column::images("picture", (0..N_ROWS).map(|i| vec![i as u8; i]))?,
    ];
    let new = NewTable::new("train").description("one of every kind").weight_column(1.0);
    let dataset = Table::from_columns(store.clone(), &datasets, new, columns)?;
    let csv = root.to_path().ok_or("a local folder is needed")?.join("toys.csv");
    std::fs::write(&csv, "id,price,name,sold\n1,2.5,a,true\n2,,b,false\n")?;
    let extra =
        Column { field: Field::new("age", DataType::Int64, true), values: Arc::new(Int64Array::from(vec![3; N_ROWS])) };
    let run = project.create_run("r", Map::new())?;
    let vectors = |seed| {
        let mut values = noise(N_ROWS * 8, seed);
        values[8] = f32::NAN;
        values
    };
    let halves = vectors(3).into_iter().map(f16::from_f32).collect();
    // First, since the last one is fitted, and the others are reduced if they have its column.
    let half_precision = vec![ids(N_ROWS), Column::embedding_f16("h", 8, halves, NumberRole::NnEmbedding)?];
    let half_precision = add(&run, 0, half_precision)?;
    let metrics = add(&run, 1, vec![ids(N_ROWS), Column::embedding("e", 8, vectors(1), NumberRole::NnEmbedding)?])?;
    add(&run, 2, vec![ids(N_ROWS), Column::embedding("e", 8, vectors(2), NumberRole::NnEmbedding)?])?;
    let options = ReduceOptions {
        delete_source_tables: Some(false),
        retain_source_embedding_column: true,
        ..ReduceOptions::new([tlc::create_reducer("pca", [])?])
    };
    let reduced = run.reduce_embeddings_per_dataset(&options, &Progress::default())?;
    let reduced = reduced.get(&metrics).ok_or("it was reduced")?.clone();
    let at = |url: &Url| Table::from_url(store.clone(), url);
    let kinds = [
        ("dataset with pictures, texts and classes", dataset.clone()),
        ("imported file", Table::from_file(store.clone(), &datasets, NewTable::new("toys"), &csv)?),
        ("filtered revision", dataset.filtered(&Filter::eq("label", "dog"))?),
        ("edited revision", dataset.edited("label", [(1_u64, "cat")])?),
        ("revision with more columns", dataset.with_columns(vec![extra])?),
        ("rows in another order", dataset.taken(&[5, 3, 3])?),
        ("table without rows", dataset.filtered(&Filter::gt("example_id", 1_000_000))?),
        ("metrics with embeddings", at(&metrics)?),
        ("metrics with half precision", at(&half_precision)?),
        ("reduced, with rows that have no place", at(&reduced)?),
    ];
    let described = kinds.iter().map(|(kind, table)| describe(kind, table));
    Ok(json!({ "tables": described.collect::<Result<Vec<Value>>>()? }))
}

fn describe(kind: &str, table: &Table) -> Result<Value> {
    let path = table.url().to_path().ok_or("a local table is needed")?;
    let names: Vec<&String> = table.columns().iter().map(|field| field.name()).collect();
    let first = names.first().ok_or("a table has columns")?;
    let rows = table.read(Scan::columns([first.as_str()]))?;
    let numbers = rows.column(0).as_any().downcast_ref::<Int64Array>().ok_or("a column of whole numbers")?;
    let sum: i64 = numbers.iter().flatten().sum();
    Ok(json!({ "kind": kind, "path": path_text(&path)?, "rows": table.rows(), "columns": names, "sum": sum }))
}

fn path_text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| "a path of text is needed".into())
}
