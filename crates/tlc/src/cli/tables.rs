//! Commands on tables: list, show, lineage, replay, import, delete.

use std::path::PathBuf;

use anyhow::{Context, bail};
use arrow_cast::pretty::pretty_format_batches;
use clap::{Args, ValueEnum};
use tlc::core::{FieldRoles, Progress, Scan, Url, embedding_width, value_map};
use tlc::open_project;
use tlc::run::{DoctorOptions, ListedRun, ListedTable, Project};
use tlc::table::{Derivation, NewTable, Table};

use super::place::{self, DEFAULT_PROJECT};
use super::runs::describe;

/// Vectors wider than this are not printed.
const WIDEST_SHOWN: usize = 4;

/// What to list.
#[derive(Args)]
pub(crate) struct LsArgs {
    /// A project's folder or URL
    #[arg(default_value = DEFAULT_PROJECT)]
    project: PathBuf,
}

/// A table of a project.
#[derive(Args)]
pub(crate) struct TableArgs {
    /// A table's folder or URL, or its place in the project or below an alias, as `<DATA>/train.lance` where the
    /// environment has TLC_ALIAS_DATA; one of another program that has several versions with the one that is meant, as
    /// train.lance?version=7
    pub(super) table: String,
    /// The project's folder or URL [default: the nearest above the table that has datasets or runs, or tlc-demo]
    #[arg(long)]
    pub(super) project: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    table: TableArgs,
    /// Rows to print
    #[arg(long, default_value_t = 10)]
    rows: u64,
}

#[derive(Args)]
pub(crate) struct LineageArgs {
    #[command(flatten)]
    table: TableArgs,
    /// How to print it
    #[arg(long, value_enum, default_value = "text")]
    format: LineageFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LineageFormat {
    /// Indented lines
    Text,
    /// The graph as JSON
    Json,
    /// Graphviz
    Dot,
    /// OpenLineage events, one per line
    Openlineage,
}

#[derive(Args)]
pub(crate) struct RmArgs {
    #[command(flatten)]
    table: TableArgs,
    /// Also if something needs it: it is said what, and that can then neither be replayed nor joined
    #[arg(long)]
    force: bool,
}

#[derive(Args)]
pub(crate) struct DoctorArgs {
    /// A project's folder or URL
    #[arg(default_value = DEFAULT_PROJECT)]
    project: PathBuf,
    /// Put right what can be; without it, findings are only printed
    #[arg(long)]
    repair: bool,
    /// Do not read all rows to compare them with their digests
    #[arg(long)]
    quick: bool,
}

#[derive(Args)]
pub(crate) struct ImportArgs {
    /// A file: parquet, csv, arrow, npy or safetensors
    file: PathBuf,
    /// The dataset that the table becomes part of
    #[arg(long)]
    dataset: String,
    /// The table's name [default: the file's]
    #[arg(long)]
    name: Option<String>,
    /// What it is
    #[arg(long)]
    description: Option<String>,
    /// The project's folder or URL
    #[arg(long, default_value = DEFAULT_PROJECT)]
    project: PathBuf,
}

impl TableArgs {
    /// The project and the table's place in it.
    pub(crate) fn open(&self) -> anyhow::Result<(Project, Url)> {
        place::open(&self.table, self.project.as_deref())
    }

    pub(super) fn table(&self) -> anyhow::Result<(Project, Table)> {
        let (project, url) = self.open()?;
        let table = Table::from_url(project.shared_store(), &url)?;
        Ok((project, table))
    }

    /// As [`table`](Self::table), also one that lies in no project: then that of its folder, whatever that is.
    fn table_anywhere(&self) -> anyhow::Result<(Project, Table)> {
        if place::project_of(&self.table, self.project.as_deref())?.is_some() {
            return self.table();
        }
        let url = place::resolve(open_project(".")?.places(), &self.table)?;
        let folder = url.parent().with_context(|| format!("{url} is in no folder"))?;
        let project = open_project(folder.to_string())?;
        let table = Table::from_url(project.shared_store(), &url)?;
        Ok((project, table))
    }
}

pub(crate) fn list(args: &LsArgs) -> anyhow::Result<()> {
    let project = open_project(&args.project)?;
    let listing = project.listing()?;
    for (url, table) in &listing.tables {
        let place = url.relative_to(project.root());
        match table {
            ListedTable::OfRun { entry, .. } => say!("{}", describe(entry, &project)),
            ListedTable::Other(info) => {
                let made = info.lineage().map_or("unknown".to_owned(), |lineage| lineage.operation.kind);
                let bytes = project.store().size_bytes(url)? as f64 / 1e6;
                say!("{place}  {} rows  {bytes:.1} MB  {made}", info.rows);
            }
            ListedTable::Damaged(error) => say!("{place}  damaged: {error}"),
            ListedTable::Missing { run } => say!("{place}  not there, although run {run:?} lists it"),
        }
    }
    for ListedRun { name, record } in &listing.runs {
        match record {
            Ok(record) => say!("runs/{name}  {}  {} metrics tables", record.status, record.metrics.len()),
            Err(error) => say!("runs/{name}  damaged: {error}"),
        }
    }
    Ok(())
}

pub(crate) fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let (project, table) = args.table.table_anywhere()?;
    say!("{}\n{} rows, {}", table.url(), table.rows(), table.info().digest.as_deref().unwrap_or("no digest"));
    if let Some(description) = table.description() {
        say!("{description}");
    }
    if let Some(foreign) = table.info().foreign_table(project.places())? {
        say!("describes {}", project.places().stored(&foreign));
    }
    say!("\ncolumns");
    for field in table.columns() {
        let role = field.role().map(|role| format!("  {role}")).unwrap_or_default();
        let classes = match value_map(field).len() {
            0 => String::new(),
            n => format!("  {n} names"),
        };
        say!("  {}  {}{role}{classes}", field.name(), field.data_type());
    }
    let narrow =
        table.columns().iter().filter(|field| embedding_width(field).is_none_or(|width| width <= WIDEST_SHOWN));
    let columns: Vec<&String> = narrow.map(|field| field.name()).collect();
    let rows = table.read(Scan::columns(columns).limit(args.rows))?;
    say!("\n{}", pretty_format_batches(&[rows])?);
    // What another program wrote says nothing of it, and may lie where no project is looked through.
    match table.lineage() {
        Some(_) => say!("\nlineage\n{}", project.lineage_graph(table.url())?.to_text(project.root())),
        None => say!("\nlineage\nnone: another program wrote it"),
    }
    Ok(())
}

pub(crate) fn lineage(args: &LineageArgs) -> anyhow::Result<()> {
    let (project, url) = args.table.open()?;
    let graph = project.lineage_graph(&url)?;
    match args.format {
        LineageFormat::Text => say!("{}", graph.to_text(project.root()).trim_end()),
        LineageFormat::Json => say!("{}", serde_json::to_string_pretty(&graph)?),
        LineageFormat::Dot => say!("{}", graph.to_dot(project.root()).trim_end()),
        LineageFormat::Openlineage => {
            graph.to_open_lineage(project.root()).iter().for_each(|event| say!("{event}"));
        }
    }
    Ok(())
}

pub(crate) fn replay(args: &TableArgs, progress: &Progress) -> anyhow::Result<()> {
    let (project, table) = args.table()?;
    let lineage = table.lineage().context("the table does not say how it was made")?;
    let kind = &lineage.operation.kind;
    match Derivation::from_operation(&lineage.operation) {
        None => project.replay_reduction(table.url(), progress)?,
        Some(derivation) => {
            let Some(input) = lineage.inputs.first() else {
                bail!("cannot replay {}: its lineage names no input", table.url());
            };
            let Some(info) = project.locate(input)? else {
                bail!("cannot replay {}: its input {} is not there", table.url(), project.places().stored(&input.url));
            };
            let input = Table::from_url(project.shared_store(), &info.url)?;
            let found = input.digest_of(&derivation)?;
            let written = table.info().digest.as_deref().unwrap_or("none");
            if found != written {
                bail!("{} is not what {kind} makes: its digest is {written}, {found} was made now", table.url());
            }
        }
    }
    let digest = table.info().digest.as_deref().unwrap_or_default();
    say!("{kind} gives the same table again: {} rows, {digest}", table.rows());
    Ok(())
}

pub(crate) fn remove(args: &RmArgs) -> anyhow::Result<()> {
    let (project, url) = args.table.open()?;
    let needs = project.inventory()?.needs(&url);
    project.delete_table(&url, args.force)?;
    say!("deleted {}", url.relative_to(project.root()));
    needs.iter().for_each(|need| say!("  although {need}"));
    Ok(())
}

pub(crate) fn doctor(args: &DoctorArgs, progress: &Progress) -> anyhow::Result<()> {
    let project = open_project(&args.project)?;
    let options = DoctorOptions { repair: args.repair, verify: !args.quick, ..DoctorOptions::default() };
    let findings = project.doctor(&options, progress)?;
    for finding in &findings {
        let repaired = if finding.is_repaired { "  (put right)" } else { "" };
        say!("{}\n  {}{repaired}", finding.url.relative_to(project.root()), finding.problem);
        if let Some(failure) = &finding.failure {
            say!("  {failure}");
        }
    }
    let left = findings.iter().filter(|finding| !finding.is_repaired).count();
    match (left, args.repair) {
        (0, _) if findings.is_empty() => say!("{}: nothing is wrong", project.root()),
        (0, _) => say!("{}: {} findings, all put right", project.root(), findings.len()),
        (_, true) => bail!("{left} findings cannot be put right by this command"),
        (_, false) => bail!("{left} findings; --repair puts right what can be"),
    }
    Ok(())
}

pub(crate) fn import(args: &ImportArgs) -> anyhow::Result<()> {
    let project = open_project(&args.project)?;
    let stem = args.file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let name = args.name.clone().unwrap_or(stem);
    let mut new = NewTable::new(&name);
    if let Some(description) = &args.description {
        new = new.description(description);
    }
    let folder = project.dataset_folder(&args.dataset)?;
    let table = Table::from_file(project.shared_store(), &folder, new, &args.file)?;
    say!("{}\n{} rows, {} columns", table.url(), table.rows(), table.columns().len());
    Ok(())
}
