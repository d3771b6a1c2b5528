//! Parsing, dispatch, and how errors reach the user: the one place that prints and sets exit codes.

#![expect(clippy::print_stderr, reason = "this is the command line")]

#[macro_use]
mod out;

#[cfg(feature = "query")]
mod apply;
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
use tlc::run::Project;
use tracing_subscriber::EnvFilter;

use self::place::{DEFAULT_PROJECT, open_project};

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
    Demo(DemoArgs),
    /// List the layers of a TorchScript model: indices, shapes, widths of their embeddings
    Layers(LayersArgs),
    /// Collect embeddings of a TorchScript model's layers into a metrics table
    Collect(CollectArgs),
    /// List a project's runs, or the tables of one
    Runs(runs::RunsArgs),
    /// Reduce the embeddings of a run's tables with one model
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
        open_project(&self.project)
    }
}

#[derive(Args, Clone)]
#[command(args_override_self = true)]
#[cfg_attr(not(feature = "collect"), expect(dead_code, reason = "read by the demo only"))]
struct DemoArgs {
    /// Training images to use
    #[arg(long, default_value_t = 20_000)]
    train: usize,
    /// Validation images to use
    #[arg(long, default_value_t = 10_000)]
    val: usize,
    /// Passes over the training images; embeddings are also collected before the first
    #[arg(long, default_value_t = 4)]
    epochs: usize,
    /// Layers to collect from, by index or path
    #[arg(long, value_delimiter = ',', default_value = "90,46")]
    layers: Vec<String>,
    /// Method of reduction
    #[arg(long, default_value = "pacmap")]
    method: String,
    /// Coordinates per sample; both 3 and 2 if not given
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=3))]
    components: Option<u8>,
    /// Everything random follows from it
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Folder with idx files (MNIST, Fashion-MNIST) or CIFAR-10's binary version
    #[arg(long, default_value = "/usr/share/datasets/fashion-mnist")]
    data: PathBuf,
    /// Folder of the project that is written
    #[arg(long, default_value = DEFAULT_PROJECT)]
    out: PathBuf,
    /// Continue this run instead of beginning another
    #[arg(long, value_name = "RUN")]
    resume: Option<String>,
    /// Do not serve a page at the end
    #[arg(long)]
    no_view: bool,
}

/// `2/4`, counted from 1, as the second of four, counted from 0.
fn parse_shard(text: &str) -> Result<(usize, usize), String> {
    let numbers = text.split_once('/').and_then(|(part, parts)| Some((part.parse().ok()?, parts.parse().ok()?)));
    match numbers {
        Some((part, parts)) if (1..=parts).contains(&part) => Ok((part - 1, parts)),
        _ => Err("a part and the number of parts are needed, such as 1/4".to_owned()),
    }
}

/// `cpu`, or a CUDA device by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "collect"), expect(dead_code, reason = "read where libtorch is"))]
enum Device {
    Cpu,
    Cuda(usize),
}

fn parse_device(text: &str) -> Result<Device, String> {
    let number = |number: &str| number.parse().map_err(|_| format!("{number:?} is no number of a device"));
    match text.split_once(':') {
        None if text == "cpu" => Ok(Device::Cpu),
        None if text == "cuda" => Ok(Device::Cuda(0)),
        Some(("cuda", device)) => Ok(Device::Cuda(number(device)?)),
        _ => Err("cpu, cuda or cuda:N is needed".to_owned()),
    }
}

/// What is taken of a layer that one pass calls several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Calls {
    /// What its last call returned
    Last,
    /// What all calls returned, side by side
    All,
    /// The mean of what all calls returned
    Mean,
}

/// One channel for grey pictures, or three.
fn parse_channels(text: &str) -> Result<u8, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("1 (grey) or 3 (red, green, blue) is needed".to_owned()),
    }
}

/// A model, and how it is loaded.
#[derive(Args)]
#[cfg_attr(not(feature = "collect"), expect(dead_code, reason = "read where libtorch is"))]
struct ModelArgs {
    /// A TorchScript file, traced or scripted
    #[arg(value_name = "MODEL")]
    file: PathBuf,
    /// What to take of a layer that returns several tensors, such as 12=0 or 0=logits (0 is the model itself)
    #[arg(long, value_name = "LAYER=ELEMENT")]
    element: Vec<String>,
    /// Where the model runs: cpu, cuda, or cuda:1
    #[arg(long, default_value = "cpu", value_parser = parse_device)]
    device: Device,
}

/// A model and an input that it takes.
#[derive(Args)]
#[cfg_attr(not(feature = "collect"), expect(dead_code, reason = "read where libtorch is"))]
struct LayersArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// The shape of an input, batch first
    #[arg(long, value_delimiter = ',', default_value = "1,3,224,224")]
    input_size: Vec<i64>,
    /// An input as an array instead, of which the first rows are used; several in the order of the model's parameters,
    /// or by their names
    #[arg(long, value_name = "[NAME=]FILE")]
    npy: Vec<String>,
}

/// What is collected from, and where to.
#[derive(Args)]
#[cfg_attr(not(feature = "collect"), expect(dead_code, reason = "read where libtorch is"))]
struct CollectArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Layers to collect from, by index or path; see `tlc layers`
    #[arg(long, value_delimiter = ',', required = true)]
    layers: Vec<String>,
    /// How activations become one vector per sample: one strategy for all layers, or one for each
    #[arg(long, value_delimiter = ',', default_value = "mean")]
    reshape: Vec<String>,
    /// What to take of a layer that one pass calls several times
    #[arg(long, value_enum, default_value_t = Calls::Last)]
    calls: Calls,
    /// A folder of images; sub-folders are classes
    #[arg(long, value_name = "DIR", required_unless_present_any = ["npy", "table"], conflicts_with_all = ["npy", "table"])]
    images: Option<PathBuf>,
    /// A table with pictures or tensors, and labels if it has the column: a folder or a URL, or its place in the project or
    /// below an alias
    #[arg(long, value_name = "URL", conflicts_with_all = ["npy", "labels"])]
    table: Option<String>,
    /// The table's column to run the model on [default: the one with the role image, or the only usable one]
    #[arg(long, requires = "table")]
    column: Option<String>,
    /// Side to which images are scaled and cropped
    #[arg(long, default_value_t = 224, value_parser = clap::value_parser!(u32).range(1..=8192))]
    size: u32,
    /// Channels of images: 3 for colours, 1 for grey
    #[arg(long, default_value = "3", value_parser = parse_channels)]
    channels: u8,
    /// Normalisation of images: imagenet, half or none
    #[arg(long, default_value = "imagenet")]
    normalise: String,
    /// An input as an array, (n, …); several in the order of the model's parameters, or by their names
    #[arg(long, value_name = "[NAME=]FILE")]
    npy: Vec<String>,
    /// Classes: for arrays another one, (n,) of 64-bit integers; for images a CSV file with the columns file and label
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Samples per forward pass [default: what a quarter of the free memory holds, at most 64]
    #[arg(long)]
    batch_size: Option<usize>,
    /// Leave out the rows of a table whose weight is 0
    #[arg(long, conflicts_with_all = ["images", "npy"])]
    exclude_zero_weights: bool,
    /// Keep embeddings as float16: half the room, three digits
    #[arg(long)]
    half_precision: bool,
    /// Take labels as classes of the model's output also if it has more classes than they name
    #[arg(long)]
    classify: bool,
    /// Part of the samples to collect, such as 1/4 and 4/4, for several processes that write into the same run
    #[arg(long, value_name = "PART/PARTS", value_parser = parse_shard)]
    shard: Option<(usize, usize)>,
    /// Columns with one value, as a JSON object, such as {"epoch": 3, "split": "val"}
    #[arg(long, default_value = "{}")]
    constants: String,
    /// The run to write into; it is begun if the project has none of this name
    #[arg(long, default_value = "collected")]
    run: String,
    #[command(flatten)]
    project: ProjectArgs,
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
