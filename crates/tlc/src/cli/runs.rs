//! Commands on runs that exist.

use clap::Args;
use tlc::core::Progress;
use tlc::run::{Project, ReduceOptions, UrlMapping};

use super::ProjectArgs;

/// One run.
#[derive(Args)]
pub(crate) struct RunArgs {
    /// The run's name
    name: String,
    #[command(flatten)]
    project: ProjectArgs,
}

/// How a run is reduced.
#[derive(Args)]
pub(crate) struct ReduceArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Fit on the newest table that describes this table, and apply to all; if not given, one model per dataset
    #[arg(long, value_name = "URL")]
    foreign_table: Option<String>,
    /// Method of reduction
    #[arg(long, default_value = "umap")]
    method: String,
    /// The method's arguments as a JSON object
    #[arg(long, default_value = "{}")]
    args: String,
    /// Keep the tables that are reduced
    #[arg(long)]
    keep_source_tables: bool,
}

pub(crate) fn list(project: &Project) -> anyhow::Result<()> {
    for name in project.run_names()? {
        let run = match project.open_run(&name) {
            Ok(run) => run,
            Err(error) => {
                say!("{name}  {error}");
                continue;
            }
        };
        let record = run.record()?;
        let bytes = project.store().size_bytes(run.url())?;
        let status = serde_json::to_value(record.status)?;
        say!(
            "{name}  {}  {} tables  {:.1} MB  {}",
            status.as_str().unwrap_or_default(),
            record.metrics.len(),
            bytes as f64 / 1e6,
            record.created
        );
    }
    Ok(())
}

pub(crate) fn reduce(args: &ReduceArgs, progress: &Progress) -> anyhow::Result<()> {
    let run = args.run.project.open()?.open_run(&args.run.name)?;
    let reducer_args: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&args.args).map_err(|error| anyhow::anyhow!("--args is not a JSON object: {error}"))?;
    let mut options = ReduceOptions::new([tlc::core::reducer_from_args(&args.method, reducer_args)?]);
    options.delete_source_tables = Some(!args.keep_source_tables);
    let mapping = match &args.foreign_table {
        Some(url) => run.reduce_embeddings_by_foreign_table_url(&url.parse()?, &options, progress)?,
        None => run.reduce_embeddings_per_dataset(&options, progress)?,
    };
    if mapping.is_empty() {
        say!("run {} has no embeddings left to reduce", run.name());
    }
    print_mapping(&mapping);
    Ok(())
}

fn print_mapping(mapping: &UrlMapping) {
    for (source, reduced) in mapping.iter() {
        say!("  {source}\n    -> {reduced}");
    }
}

pub(crate) fn remove(args: &RunArgs) -> anyhow::Result<()> {
    args.project.open()?.delete_run(&args.name)?;
    say!("removed run {}", args.name);
    Ok(())
}
