//! `tlc apply`: a fitted model on a whole table, here or on a cluster.

use std::path::PathBuf;

use clap::Args;
use tlc::cluster::{Apply, Where};
use tlc::core::Progress;
use tlc::open_project;

use super::place::{project_of, resolve, resolve_new};

/// What is applied to what, and where that runs.
#[derive(Args)]
pub(crate) struct ApplyArgs {
    /// The folder of a fitted model or its URL, or its place in the project or below an alias; `tlc lineage TABLE --format
    /// json` names the models of a reduced table
    model: String,
    /// The table whose rows are placed: a folder or a URL, or its place in the project or below an alias
    #[arg(long, value_name = "URL")]
    table: String,
    /// The table that is made: a place that ends in .lance, typed as that of the other; a path is one of the project where
    /// there is no such folder. After a failure or a kill, the same command goes on with what is written of it
    #[arg(long, value_name = "URL")]
    out: String,
    /// The column of vectors [default: the only embedding of the model's width]
    #[arg(long)]
    column: Option<String>,
    /// The name of the new column [default: COLUMN_METHOD]
    #[arg(long)]
    target: Option<String>,
    /// Keep the vectors in the new table
    #[arg(long)]
    keep_embeddings: bool,
    /// The project's folder or URL: what lies in it is named relative to it by the new table [default: the nearest above the
    /// table that has datasets or runs]
    #[arg(long)]
    project: Option<PathBuf>,
    /// Rows per task; the same number to go on with what an earlier command has written
    #[arg(long, default_value_t = 250_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows_per_task: u64,
    /// The scheduler of a cluster, such as df://127.0.0.1:50050; without it the job runs in this process
    #[cfg(feature = "cluster")]
    #[arg(long, value_name = "df://HOST:PORT")]
    cluster: Option<tlc::cluster::ClusterAddress>,
    /// Seconds that the cluster may take until one more task is done; then the job is submitted again, three times in a
    /// row at most
    #[cfg(feature = "cluster")]
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    patience: u64,
}

pub(crate) fn run(args: &ApplyArgs, progress: &Progress) -> anyhow::Result<()> {
    let project = project_of(&args.table, args.project.as_deref())?;
    // Without one, places are named from here on, and below aliases all the same.
    let here = open_project(".")?;
    let places = project.as_ref().unwrap_or(&here).places();
    let (model, table) = (resolve(places, &args.model)?, resolve(places, &args.table)?);
    let job = Apply {
        column: args.column.clone(),
        target: args.target.clone(),
        keep_embeddings: args.keep_embeddings,
        project: project.as_ref().map(|project| project.places().clone()),
        rows_per_task: args.rows_per_task,
        #[cfg(feature = "cluster")]
        patience: std::time::Duration::from_secs(args.patience),
        ..Apply::new(model, table, resolve_new(places, &args.out)?)
    };
    #[cfg(feature = "cluster")]
    let place = args.cluster.clone().map_or(Where::Here, Where::Cluster);
    #[cfg(not(feature = "cluster"))]
    let place = Where::Here;
    let table = job.run(&place, progress)?;
    say!("{}\n{} rows, {}", table.url, table.rows, table.digest.as_deref().unwrap_or("no digest"));
    Ok(())
}
