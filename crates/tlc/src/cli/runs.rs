//! Commands on runs that exist; `tlc reduce` also on tables of no run.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Map, Value, json};
use tlc::core::{Progress, Url};
use tlc::open_project;
use tlc::run::{
    FitRows, FitSize, ListedRun, MetricsEntry, Project, ReduceOptions, Run, RunError, UrlMapping,
    reduce_embeddings_with_producer_consumer,
};

use super::ProjectArgs;
use super::place::{self, DEFAULT_PROJECT, resolve};

/// One run.
#[derive(Args)]
pub(crate) struct RunArgs {
    /// The run's name
    name: String,
    #[command(flatten)]
    project: ProjectArgs,
}

/// A run to remove.
#[derive(Args)]
pub(crate) struct RemoveRunArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Remove it although a table elsewhere, or another run, needs something of it
    #[arg(long)]
    force: bool,
}

/// Which runs are listed.
#[derive(Args)]
pub(crate) struct RunsArgs {
    /// A run: how it stands, and its tables
    name: Option<String>,
    /// Only the run's tables of this epoch
    #[arg(long, requires = "name")]
    epoch: Option<i64>,
    /// Only the run's tables of this split
    #[arg(long, requires = "name")]
    split: Option<String>,
    #[command(flatten)]
    project: ProjectArgs,
}

/// What is reduced, and how.
#[derive(Args)]
pub(crate) struct ReduceArgs {
    /// The run whose tables are reduced; the reduced ones take their places
    #[arg(required_unless_present = "table", conflicts_with = "table")]
    name: Option<String>,
    /// Reduce this table instead of a run's, also one that another program wrote: a folder or a URL, or its place in the
    /// project or below an alias; of one with several versions the one that is meant, as s3://bucket/t.lance?version=7.
    /// Several times: one model, fitted on the first, for all. These tables always stay. A reduced table is written beside
    /// its own if that lies in the project, otherwise into the project's datasets/from-outside, and nothing elsewhere
    #[arg(long, value_name = "URL")]
    table: Vec<String>,
    /// The column of vectors to reduce, which needs no role; also several times [default: all with the role nn_embedding]
    #[arg(long, value_name = "NAME")]
    column: Vec<String>,
    /// The project's folder or URL [default: tlc-demo; with --table the nearest above the first table that has datasets or
    /// runs, if tlc wrote that table]
    #[arg(long)]
    project: Option<PathBuf>,
    /// Of a run: fit on the newest table that describes this table, and apply to all; if not given, one model per dataset. A
    /// folder or a URL, or its place in the project or below an alias
    #[arg(long, value_name = "URL", conflicts_with = "table")]
    foreign_table: Option<String>,
    /// Method of reduction
    #[arg(long, default_value = "umap")]
    method: String,
    /// Coordinates per sample [default: the method's, 2 for those of tlc]
    #[arg(long, value_name = "N")]
    components: Option<usize>,
    /// Everything random in the method follows from it [default: the method's, 42 for those of tlc]
    #[arg(long)]
    seed: Option<u64>,
    /// The method's arguments as a JSON object, such as {"n_neighbors": 30}
    #[arg(long, default_value = "{}")]
    args: String,
    /// Keep the tables of a run that are reduced
    #[arg(long)]
    keep_source_tables: bool,
    /// How many rows of a table to fit on: all, a number, or a share such as 10%; the model places the others [default:
    /// all up to 1 GiB of embeddings, as many as that of larger tables]
    #[arg(long, value_name = "ROWS", default_value = "auto", hide_default_value = true)]
    fit_rows: FitSize,
    /// Draw the rows to fit on from each value of this column, in proportion
    #[arg(long, value_name = "COLUMN")]
    fit_stratify: Option<String>,
    /// Decides which rows are drawn
    #[arg(long, value_name = "SEED", default_value_t = 42)]
    fit_seed: u64,
    /// Rows after which what was computed is kept, so that the command can be killed and goes on from there when it is
    /// typed again [default: 262144 for tables of 1 GiB of embeddings or more, never for smaller ones]
    #[arg(long, value_name = "ROWS")]
    piece_rows: Option<u64>,
}

pub(crate) fn list(args: &RunsArgs) -> anyhow::Result<()> {
    let project = args.project.open()?;
    match &args.name {
        Some(name) => show(&project.open_run(name)?, args.epoch, args.split.as_deref()),
        None => list_all(&project),
    }
}

fn list_all(project: &Project) -> anyhow::Result<()> {
    for ListedRun { name, record } in project.runs()? {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                say!("{name}  {error}");
                continue;
            }
        };
        let bytes = project.store().size_bytes(&project.root().join("runs")?.join(&name)?)?;
        let (status, tables, megabytes) = (record.status, record.metrics.len(), bytes as f64 / 1e6);
        say!("{name}  {status}  {tables} tables  {megabytes:.1} MB  {}", record.created);
    }
    Ok(())
}

/// How a run stands, and its tables with the means of what was measured.
fn show(run: &Run, epoch: Option<i64>, split: Option<&str>) -> anyhow::Result<()> {
    let record = run.record()?;
    say!("{}  {}  begun {}", record.name, record.status, record.created);
    for (name, value) in &record.parameters {
        say!("  {name}: {value}");
    }
    for entry in run.metrics_of(epoch, split)? {
        say!("{}", describe(&entry, run.project()));
        for (column, sums) in &entry.aggregates {
            say!("  mean {column}: {:.4}", sums.mean());
        }
    }
    Ok(())
}

/// A run's table in one line.
pub(crate) fn describe(entry: &MetricsEntry, project: &Project) -> String {
    let mut line = format!("{}  {} rows", entry.url.relative_to(project.root()), entry.rows);
    for (name, value) in &entry.constants {
        line += &format!("  {name} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    if entry.reduced_from.is_some() {
        line += "  reduced";
    }
    line
}

pub(crate) fn reduce(args: &ReduceArgs, progress: &Progress) -> anyhow::Result<()> {
    let (project, mapping) = match &args.name {
        Some(name) => reduce_run(args, name, progress)?,
        None => reduce_tables(args, progress)?,
    };
    print_mapping(&mapping);
    if let Some((_, reduced)) = mapping.iter().next() {
        let lineage = project.store().info(reduced)?.lineage();
        let columns: Vec<String> = lineage.into_iter().flat_map(|lineage| lineage.models.into_keys()).collect();
        say!("layouts: {}", columns.join(", "));
    }
    Ok(())
}

fn reduce_run(args: &ReduceArgs, name: &str, progress: &Progress) -> anyhow::Result<(Project, UrlMapping)> {
    let run = open_project(given_or_default(args))?.open_run(name)?;
    let options = ReduceOptions { delete_source_tables: Some(!args.keep_source_tables), ..options(args)? };
    let mapping = match &args.foreign_table {
        Some(table) => {
            let table = resolve(run.project().places(), table)?;
            run.reduce_embeddings_by_foreign_table_url(&table, &options, progress)?
        }
        None => run.reduce_embeddings_per_dataset(&options, progress)?,
    };
    if mapping.is_empty() {
        say!("run {} has no embeddings left to reduce; --keep-source-tables keeps them for another time", run.name());
    }
    Ok((run.project().clone(), mapping))
}

/// The tables of `--table`, which stay: they may be somebody else's.
fn reduce_tables(args: &ReduceArgs, progress: &Progress) -> anyhow::Result<(Project, UrlMapping)> {
    let (first, others) = args.table.split_first().context("name a run, or tables by --table")?;
    let options = ReduceOptions { delete_source_tables: Some(false), ..options(args)? };
    let project = project_of(args, first)?;
    let producer = resolve(project.places(), first)?;
    let consumers: anyhow::Result<Vec<Url>> = others.iter().map(|text| resolve(project.places(), text)).collect();
    let reduced = reduce_embeddings_with_producer_consumer(&project, &producer, &consumers?, &options, progress);
    let has_no_column = matches!(&reduced, Err(RunError::Column { column, .. }) if column.is_empty());
    match reduced {
        Err(error) if has_no_column => {
            Err(anyhow::Error::new(error).context("--column names the column of vectors that is to be reduced"))
        }
        reduced => Ok((project, reduced?)),
    }
}

/// The project that reduced tables are written into. A folder that lies above a table of another program says nothing of
/// where its reader may write.
fn project_of(args: &ReduceArgs, first: &str) -> anyhow::Result<Project> {
    let project = open_project(given_or_default(args))?;
    if args.project.is_some() {
        return Ok(project);
    }
    let is_of_tlc = project.store().info(&resolve(project.places(), first)?)?.lineage().is_some();
    let own = if is_of_tlc { place::project_of(first, None)? } else { None };
    Ok(own.unwrap_or(project))
}

fn given_or_default(args: &ReduceArgs) -> &Path {
    args.project.as_deref().unwrap_or(Path::new(DEFAULT_PROJECT))
}

/// What runs and tables have in common.
fn options(args: &ReduceArgs) -> anyhow::Result<ReduceOptions> {
    let mut options = ReduceOptions::new([tlc::core::reducer_from_args(&args.method, reducer_args(args)?)?]);
    options.source_embedding_columns = (!args.column.is_empty()).then(|| args.column.clone());
    options.fit_rows = FitRows { size: args.fit_rows, stratify_by: args.fit_stratify.clone(), seed: args.fit_seed };
    options.piece_rows = args.piece_rows;
    Ok(options)
}

/// What `--args` says, with what has an option of its own.
fn reducer_args(args: &ReduceArgs) -> anyhow::Result<Map<String, Value>> {
    let mut all: Map<String, Value> =
        serde_json::from_str(&args.args).map_err(|error| anyhow::anyhow!("--args is not a JSON object: {error}"))?;
    let components = args.components.map(|n| ("--components", "n_components", json!(n)));
    let seed = args.seed.map(|seed| ("--seed", "seed", json!(seed)));
    for (option, name, value) in components.into_iter().chain(seed) {
        if let Some(other) = all.insert(name.to_owned(), value.clone()) {
            bail!("{option} is {value} and --args says that {name} is {other}; leave one of them out");
        }
    }
    Ok(all)
}

fn print_mapping(mapping: &UrlMapping) {
    for (source, reduced) in mapping.iter() {
        say!("  {source}\n    -> {reduced}");
    }
}

pub(crate) fn remove(args: &RemoveRunArgs) -> anyhow::Result<()> {
    args.run.project.open()?.delete_run(&args.run.name, args.force)?;
    say!("removed run {}", args.run.name);
    Ok(())
}
