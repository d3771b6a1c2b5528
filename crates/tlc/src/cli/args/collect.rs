//! Options of `tlc collect`.

use std::path::PathBuf;

use clap::Args;

use super::model::ModelArgs;
use crate::cli::ProjectArgs;

/// What is collected from, and where to.
#[derive(Args)]
pub(crate) struct CollectArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Layers to collect from, by index or path; see `tlc layers`
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) layers: Vec<String>,
    /// How activations become one vector per sample: one strategy for all layers, or one for each
    #[arg(long, value_delimiter = ',', default_value = "mean")]
    pub(crate) reshape: Vec<String>,
    /// What to take of a layer that one pass calls several times
    #[arg(long, value_enum, default_value_t = Calls::Last)]
    pub(crate) calls: Calls,
    /// A folder of images; sub-folders are classes
    #[arg(long, value_name = "DIR", required_unless_present_any = ["npy", "table"], conflicts_with_all = ["npy", "table"])]
    pub(crate) images: Option<PathBuf>,
    /// A table with pictures or tensors, and labels if it has the column: a folder or a URL, or its place in the project or
    /// below an alias
    #[arg(long, value_name = "URL", conflicts_with_all = ["npy", "labels"])]
    pub(crate) table: Option<String>,
    /// The table's column to run the model on [default: the one with the role image, or the only usable one]
    #[arg(long, requires = "table")]
    pub(crate) column: Option<String>,
    /// Side to which images are scaled and cropped
    #[arg(long, default_value_t = 224, value_parser = clap::value_parser!(u32).range(1..=8192))]
    pub(crate) size: u32,
    /// Channels of images: 3 for colours, 1 for grey
    #[arg(long, default_value = "3", value_parser = parse_channels)]
    pub(crate) channels: u8,
    /// Normalisation of images: imagenet, half or none
    #[arg(long, default_value = "imagenet")]
    pub(crate) normalise: String,
    /// An input as an array, (n, …); several in the order of the model's parameters, or by their names
    #[arg(long, value_name = "[NAME=]FILE")]
    pub(crate) npy: Vec<String>,
    /// Classes: for arrays another one, (n,) of 64-bit integers; for images a CSV file with the columns file and label
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: Option<PathBuf>,
    /// The texts that the rows of arrays are of, one on each line: the page shows them
    #[arg(long, value_name = "FILE", requires = "npy")]
    pub(crate) texts: Option<PathBuf>,
    /// Samples per forward pass [default: what a quarter of the free memory holds, at most 64]
    #[arg(long)]
    pub(crate) batch_size: Option<usize>,
    /// Leave out the rows of a table whose weight is 0
    #[arg(long, conflicts_with_all = ["images", "npy"])]
    pub(crate) exclude_zero_weights: bool,
    /// Keep embeddings as float16: half the room, three digits
    #[arg(long)]
    pub(crate) half_precision: bool,
    /// Take labels as classes of the model's output also if it has more classes than they name
    #[arg(long)]
    pub(crate) classify: bool,
    /// Part of the samples to collect, such as 1/4 and 4/4, for several processes that write into the same run
    #[arg(long, value_name = "PART/PARTS", value_parser = parse_shard)]
    pub(crate) shard: Option<(usize, usize)>,
    /// Columns with one value, as a JSON object, such as {"epoch": 3, "split": "val"}
    #[arg(long, default_value = "{}")]
    pub(crate) constants: String,
    /// The run to write into; it is begun if the project has none of this name
    #[arg(long, default_value = "collected")]
    pub(crate) run: String,
    #[command(flatten)]
    pub(crate) project: ProjectArgs,
}

/// What is taken of a layer that one pass calls several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Calls {
    /// What its last call returned
    Last,
    /// What all calls returned, side by side
    All,
    /// The mean of what all calls returned
    Mean,
}

/// `2/4`, counted from 1, as the second of four, counted from 0.
fn parse_shard(text: &str) -> Result<(usize, usize), String> {
    let numbers = text.split_once('/').and_then(|(part, parts)| Some((part.parse().ok()?, parts.parse().ok()?)));
    match numbers {
        Some((part, parts)) if (1..=parts).contains(&part) => Ok((part - 1, parts)),
        _ => Err("a part and the number of parts are needed, such as 1/4".to_owned()),
    }
}

/// One channel for grey pictures, or three.
fn parse_channels(text: &str) -> Result<u8, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("1 (grey) or 3 (red, green, blue) is needed".to_owned()),
    }
}
