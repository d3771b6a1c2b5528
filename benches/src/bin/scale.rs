//! What a large table costs: rows by a seeded recipe are written in pieces, a model is fitted on a sample of them, and
//! all rows are placed by the streaming path. Prints a row of the tables of measured figures in `docs/scale.md`.
//!
//! ```text
//! cargo run --workspace --all-features --bin scale -- --rows 10000000 --width 128 --folder large
//! ```
//!
//! What is there already is not made again: killed and typed again, the command goes on where it ended, and says at how
//! many rows. The digest it prints is the same with and without interruptions.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the figures are what this program is for")]

#[path = "../../peers/memory.rs"]
mod memory;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use clap::Parser;
use tlc::core::{
    Column, FieldRoles, Lineage, NumberRole, Operation, Progress, ProgressSink, StoreError, TableInfo, Url,
    reducer_from_args,
};
use tlc::neighbours::write_neighbours;
use tlc::reduce::knn::DiskOptions;
use tlc::run::{FitRows, FitSize, Project, ReduceOptions, reduce_embeddings};
use tlc::table::LanceStore;
use tlc_benches::{cluster_rows, flat_cluster_rows};

/// Rows that are made at a time.
const PIECE: usize = 1 << 16;
/// How often a line says how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Writes a table, fits on a sample, places all rows; prints rows per second, memory and bytes.
#[derive(Parser)]
struct Options {
    #[arg(long, default_value_t = 1_000_000)]
    rows: usize,
    #[arg(long, default_value_t = 128)]
    width: usize,
    /// In how many directions of its own each of the ten clusters is spread [default: in all]. Only rows that are spread in
    /// few have neighbours that are nearer than most others
    #[arg(long)]
    spread_in: Option<usize>,
    /// Rows to fit on: a number, a share such as 1%, all, or auto
    #[arg(long, default_value = "100000")]
    fit_rows: FitSize,
    #[arg(long, default_value = "umap")]
    method: String,
    /// The method's arguments as a JSON object
    #[arg(long, default_value = "{}")]
    args: String,
    /// Rows after which what was computed is kept [default: as tlc reduce]
    #[arg(long)]
    piece_rows: Option<u64>,
    /// Also finds so many neighbours of each row, by cells in a file
    #[arg(long, default_value_t = 0)]
    neighbours: usize,
    /// Memory for rows in that search, in MiB
    #[arg(long, default_value_t = 512)]
    memory: usize,
    /// Where the project is written; it is left there
    #[arg(long)]
    folder: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    std::fs::create_dir_all(&options.folder)?;
    let root = Url::from_path(&std::path::absolute(&options.folder)?)?;
    let project = Project::new(Arc::new(LanceStore::default()), root);
    let stages = Arc::new(Stages::default());
    let progress = Progress::new(stages.clone());

    let (table, wrote) = write(&project, &options)?;
    let (reduced, cost) = reduce(&project, &table, &options, &stages, &progress)?;
    println!(
        "| rows × columns | bytes written | write, rows/s | fitted rows | fit, s | fit, peak MiB | place, rows/s | place, peak \
         MiB | taken over from before | bytes of the result | digest |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|"
    );
    let bytes = |info: &TableInfo| project.store().size_bytes(&info.url);
    println!(
        "| {} × {} | {} | {} | {} | {:.1} | {} | {:.0} | {} | {} | {} | {} |",
        options.rows,
        options.width,
        bytes(&table)?,
        wrote.map_or("there".to_owned(), |seconds| format!("{:.0}", options.rows as f64 / seconds)),
        cost.fitted_rows,
        cost.fit_seconds,
        cost.fit_peak,
        cost.rows_per_second,
        cost.peak,
        cost.taken_over,
        bytes(&reduced)?,
        reduced.digest.as_deref().unwrap_or("none"),
    );
    if options.neighbours > 0 {
        reset_peak();
        let started = Instant::now();
        let disk = DiskOptions {
            folder: options.folder.clone(),
            memory_bytes: options.memory << 20,
            ..DiskOptions::default()
        };
        let (found, report) = write_neighbours(&project, &table.url, None, options.neighbours, &disk, &progress)?;
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "\n| rows × columns | neighbours | memory for rows, MiB | seconds | rows/s | recall | peak MiB | bytes of the \
             result |\n|---|---:|---:|---:|---:|---:|---:|---:|\n| {} × {} | {} | {} | {seconds:.0} | {:.0} | {:.3} | {} | {} |",
            options.rows,
            options.width,
            options.neighbours,
            options.memory,
            options.rows as f64 / seconds,
            report.recall,
            peak(),
            bytes(&found)?,
        );
    }
    Ok(())
}

/// The table, and how long it took to write; `None` if it was there.
fn write(project: &Project, options: &Options) -> anyhow::Result<(TableInfo, Option<f64>)> {
    let (n, width, spread_in) = (options.rows, options.width, options.spread_in);
    let embedding =
        |values| Column::embedding("embedding", width, values, NumberRole::NnEmbedding).expect("whole vectors");
    let id = Field::new("example_id", DataType::Int64, false).with_role(NumberRole::ExampleId);
    let schema = Arc::new(Schema::new(vec![id, embedding(Vec::new()).field]));
    let made = Arc::new(AtomicU64::new(0));
    let (of, count, folder) = (schema.clone(), made.clone(), project.root().clone());
    let mut told = Instant::now();
    let batches = (0..n).step_by(PIECE).map(move |start| {
        let rows = start..(start + PIECE).min(n);
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.start as i64..rows.end as i64));
        let of_rows = match spread_in {
            Some(spread_in) => flat_cluster_rows(rows.clone(), width, spread_in),
            None => cluster_rows(rows.clone(), width),
        };
        let values = embedding(of_rows.into_raw_vec_and_offset().0).values;
        count.fetch_add(rows.len() as u64, Ordering::Relaxed);
        if told.elapsed() >= TOLD_EVERY {
            told = Instant::now();
            eprintln!("written: {} of {n} rows", rows.end);
        }
        let columns = RecordBatch::try_new(of.clone(), vec![ids, values]);
        columns.map_err(|error| StoreError::backend("make rows for", &folder, error))
    });
    // What there is need not be made again to be compared.
    let operation = Operation::new("seeded-clusters", 1)
        .with("rows", n)
        .with("width", width)
        .with("spread_in", spread_in)
        .with(Operation::CONTENT, "tlc_benches::cluster_rows");
    let lineage = Lineage::new("tlc-benches", operation);
    let name = spread_in.map_or(format!("clusters-{n}-{width}"), |it| format!("clusters-{n}-{width}-{it}"));
    let started = Instant::now();
    let info = project.create_table("scale", &name, &schema, &lineage, Box::new(batches))?;
    let seconds = started.elapsed().as_secs_f64();
    Ok((info, (made.load(Ordering::Relaxed) > 0).then_some(seconds)))
}

/// What fit and placing came to.
struct Cost {
    fitted_rows: String,
    fit_seconds: f64,
    fit_peak: u64,
    rows_per_second: f64,
    peak: u64,
    taken_over: u64,
}

fn reduce(
    project: &Project,
    table: &TableInfo,
    options: &Options,
    stages: &Stages,
    progress: &Progress,
) -> anyhow::Result<(TableInfo, Cost)> {
    let args: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&options.args).context("--args is not a JSON object")?;
    let mut wanted = ReduceOptions::new([reducer_from_args(&options.method, args)?]);
    wanted.fit_rows = FitRows::of(options.fit_rows);
    wanted.piece_rows = options.piece_rows;
    let taken_over = pieces_below(&options.folder.join("datasets/scale"))? * options.piece_rows.unwrap_or(1 << 18);
    reset_peak();
    let started = Instant::now();
    let url = reduce_embeddings(project, &table.url, &wanted, progress)?;
    let reduced = project.store().info(&url)?;
    let stages = stages.state();
    let began = stages.apply_began.context("nothing was placed")?;
    let ended = stages.verify_began.unwrap_or_else(Instant::now);
    // Those that were taken over cost nothing.
    let placed = (options.rows as u64).saturating_sub(taken_over);
    let lineage = reduced.lineage().context("the table does not say how it was made")?;
    let fitted_rows =
        lineage.operation.args.get("fit_rows").map_or_else(|| "all".to_owned(), |it| it["rows"].to_string());
    let cost = Cost {
        fitted_rows,
        fit_seconds: (began - started).as_secs_f64(),
        fit_peak: stages.fit_peak,
        rows_per_second: placed as f64 / (ended - began).as_secs_f64(),
        peak: peak(),
        taken_over: taken_over.min(options.rows as u64),
    };
    Ok((reduced, cost))
}

/// How many pieces earlier attempts finished.
fn pieces_below(folder: &Path) -> std::io::Result<u64> {
    let mut n = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".pieces") {
            let has_manifest = |entry: std::fs::DirEntry| entry.path().join("_versions").is_dir();
            n +=
                std::fs::read_dir(path)?.flatten().filter_map(|entry| has_manifest(entry).then_some(())).count() as u64;
        }
    }
    Ok(n)
}

/// When the stages of a reduction began, and how far the slow one is.
#[derive(Default)]
struct Stages(Mutex<State>);

#[derive(Default)]
struct State {
    apply_began: Option<Instant>,
    verify_began: Option<Instant>,
    /// MiB.
    fit_peak: u64,
    apply: Option<(u64, u64, Instant)>,
    done: u64,
}

impl Stages {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProgressSink for Stages {
    fn begin(&self, task: u64, name: &str, total: u64) {
        let mut state = self.state();
        match name {
            "place rows" => {
                state.apply_began = Some(Instant::now());
                state.apply = Some((task, total, Instant::now()));
                state.fit_peak = peak();
                reset_peak();
            }
            "verify" if state.apply_began.is_some() && state.verify_began.is_none() => {
                state.verify_began = Some(Instant::now());
            }
            _ => {}
        }
    }

    fn advance(&self, task: u64, steps: u64) {
        let mut state = self.state();
        let Some((apply, total, told)) = state.apply.filter(|(apply, ..)| *apply == task) else { return };
        state.done += steps;
        if let (true, Some(began)) = (told.elapsed() >= TOLD_EVERY, state.apply_began) {
            state.apply = Some((apply, total, Instant::now()));
            let (done, seconds) = (state.done, began.elapsed().as_secs_f64());
            let (rate, peak) = (done as f64 / seconds, peak());
            let left = (total - done) as f64 / rate;
            eprintln!("placed: {done} of {total} rows, {rate:.0} rows/s, {left:.0} s left, peak {peak} MiB");
        }
    }

    fn end(&self, _: u64) {}
}

/// The most memory that this process held since the last [`reset_peak`], in MiB; 0 where the system does not say.
fn peak() -> u64 {
    memory::peak_kib().unwrap_or(0) / 1024
}

/// Where the system cannot do it, peaks are those since the start.
fn reset_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
