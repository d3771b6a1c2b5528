//! Parsing, dispatch, and how errors reach the user: the one place that prints and sets exit codes.

#![expect(clippy::print_stderr, reason = "this is the command line")]

#[macro_use]
mod out;

#[cfg(feature = "query")]
mod apply;
mod args;
mod bars;
#[cfg(feature = "cluster")]
mod cluster;
#[cfg(feature = "collect")]
mod collect;
#[cfg(feature = "collect")]
mod demo;
#[cfg(feature = "collect")]
mod ending;
mod export;
mod find;
#[cfg(feature = "collect")]
mod layers;
mod neighbours;
mod place;
mod plot;
mod runs;
#[cfg(feature = "collect")]
mod samples;
mod scene;
mod select;
#[cfg(feature = "query")]
mod sql;
mod tables;
mod view;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use tlc::core::Progress;
use tlc::open_project;
use tlc::run::Project;
use tracing_subscriber::EnvFilter;

use self::place::DEFAULT_PROJECT;

#[cfg(not(feature = "collect"))]
const WITHOUT_LIBTORCH: &str =
    "this tlc was built without libtorch; build it with `--features collect`, or type `cargo xtask demo`";
/// Exit code of a command that was stopped by ctrl-C, as shells expect it.
const INTERRUPTED: u8 = 130;

/// Collect, store and reduce the embeddings of neural networks, and look at them.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train a ResNet-18, collect embeddings after every epoch, reduce them, draw them
    Demo(args::DemoArgs),
    /// List the layers of a TorchScript model: indices, shapes, widths of their embeddings
    Layers(args::LayersArgs),
    /// Collect embeddings of a TorchScript model's layers into a metrics table
    Collect(args::CollectArgs),
    /// List a project's runs, or the tables of one
    Runs(runs::RunsArgs),
    /// Reduce the embeddings of a run's tables, or of any tables, with one model
    Reduce(runs::ReduceArgs),
    /// Put all rows of a table where a fitted model places them, here or on a cluster
    #[cfg(feature = "query")]
    Apply(apply::ApplyArgs),
    /// Ask for anything about a project's tables in SQL
    #[cfg(feature = "query")]
    Sql(sql::SqlArgs),
    /// Run the processes of a cluster
    #[cfg(feature = "cluster")]
    Cluster(cluster::ClusterArgs),
    /// Show a run, table, project or a file with embeddings in a page: they move over epochs
    View(view::ViewArgs),
    /// List samples that are worth a look: mislabelled, between clusters, outliers, movers, duplicates
    Find(find::FindArgs),
    /// Find the nearest rows of each row of a large table, and near duplicates
    Neighbours(neighbours::NeighboursArgs),
    /// Draw the layouts of a run, a table or a file as SVG, PNG and GIF, or into the terminal
    Plot(plot::PlotArgs),
    /// List a project's tables and runs
    Ls(tables::LsArgs),
    /// Show a table: columns with roles, first rows, where it comes from
    Show(tables::ShowArgs),
    /// Print what a table was made from, also where that was deleted
    Lineage(tables::LineageArgs),
    /// Make a derived or reduced table again from its inputs, and compare the digests
    Replay(tables::TableArgs),
    /// Make a table from a file
    Import(tables::ImportArgs),
    /// Write a table into a file, or a run's maps for other programs: one page that opens offline, Embedding Atlas,
    /// TensorBoard
    Export(export::ExportArgs),
    /// Choose rows by a condition, and list them or make a revision of them
    Select(select::SelectArgs),
    /// Find what is damaged or half done in a project, and put right what can be
    Doctor(tables::DoctorArgs),
    /// Delete a table, unless something needs it
    Rm(tables::RmArgs),
    /// Delete a run with its tables, models and pictures
    RemoveRun(runs::RemoveRunArgs),
    /// List reducers, stores and reshape strategies that are linked into this command
    Plugins,
}

/// Where a project is.
#[derive(Args, Clone)]
struct ProjectArgs {
    /// The project's folder, or its URL, such as s3://bucket/project
    #[arg(long, default_value = DEFAULT_PROJECT)]
    project: PathBuf,
}

impl ProjectArgs {
    fn open(&self) -> anyhow::Result<Project> {
        Ok(open_project(&self.project)?)
    }
}

pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| {
            EnvFilter::new(
                "error,tlc=warn,tlc_cluster=warn,tlc_collect=warn,tlc_reduce=warn,tlc_run=warn,tlc_table=warn",
            )
        }))
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .init();
    let screen = bars::Screen::new();
    let progress = Progress::new(Arc::new(screen.clone()));
    if let Err(error) = stop_on_ctrl_c(&progress) {
        eprintln!("warning: ctrl-C will end the command at once: {error}");
    }
    let result = run(cli.command, &screen, &progress);
    match result.and_then(|()| out::finish().context("cannot print")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen.clear();
            let was_cancelled = progress.check().is_err();
            if was_cancelled {
                eprintln!("stopped: {error:#}");
                return ExitCode::from(INTERRUPTED);
            }
            eprintln!("error: {error}");
            error.chain().skip(1).for_each(|cause| eprintln!("  because: {cause}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, screen: &bars::Screen, progress: &Progress) -> anyhow::Result<()> {
    tlc::core::check_plugins()?;
    match command {
        #[cfg(feature = "collect")]
        Command::Demo(args) => demo::run(&args, screen, progress),
        #[cfg(not(feature = "collect"))]
        Command::Demo(_) => {
            anyhow::bail!("{WITHOUT_LIBTORCH}")
        }
        #[cfg(feature = "collect")]
        Command::Layers(args) => layers::run(&args),
        #[cfg(feature = "collect")]
        Command::Collect(args) => collect::run(&args, screen, progress),
        #[cfg(not(feature = "collect"))]
        Command::Layers(_) | Command::Collect(_) => anyhow::bail!("{WITHOUT_LIBTORCH}"),
        Command::Runs(args) => runs::list(&args),
        Command::Reduce(args) => runs::reduce(&args, progress),
        #[cfg(feature = "query")]
        Command::Apply(args) => apply::run(&args, progress),
        #[cfg(feature = "query")]
        Command::Sql(args) => sql::run(&args, progress),
        #[cfg(feature = "cluster")]
        Command::Cluster(args) => cluster::run(&args, progress),
        Command::View(args) => view::run(&args, screen, progress),
        Command::Find(args) => find::run(&args, progress),
        Command::Neighbours(args) => neighbours::run(&args, progress),
        Command::Plot(args) => plot::run(&args, progress),
        Command::Ls(args) => tables::list(&args),
        Command::Show(args) => tables::show(&args),
        Command::Lineage(args) => tables::lineage(&args),
        Command::Replay(args) => tables::replay(&args, progress),
        Command::Import(args) => tables::import(&args),
        Command::Export(args) => export::run(&args, progress),
        Command::Select(args) => select::run(&args, progress),
        Command::Doctor(args) => tables::doctor(&args, progress),
        Command::Rm(args) => tables::remove(&args),
        Command::RemoveRun(args) => runs::remove(&args),
        Command::Plugins => {
            for plugin in tlc::core::plugins() {
                say!(
                    "{:<16} {:<16} {} {}  {}",
                    format!("{:?}", plugin.kind),
                    plugin.tag,
                    plugin.crate_name,
                    plugin.crate_version,
                    plugin.summary
                );
            }
            Ok(())
        }
    }
}

/// The first ctrl-C asks for an orderly stop, the second ends the command. Nothing half-written is
/// visible in either case.
fn stop_on_ctrl_c(progress: &Progress) -> Result<(), ctrlc::Error> {
    let progress = progress.clone();
    ctrlc::set_handler(move || {
        if progress.check().is_err() {
            #[expect(clippy::exit, reason = "the user insists")]
            std::process::exit(i32::from(INTERRUPTED));
        }
        eprintln!("stopping (press ctrl-C again to end at once)");
        progress.cancel();
    })
}
