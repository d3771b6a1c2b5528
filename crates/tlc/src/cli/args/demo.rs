//! Options of `tlc demo`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::place::DEFAULT_PROJECT;

/// What the demo trains on, what it collects, and how it reduces that.
#[derive(Args, Clone)]
#[command(args_override_self = true)]
pub(crate) struct DemoArgs {
    /// Training images to use
    #[arg(long, default_value_t = 20_000)]
    pub(crate) train: usize,
    /// Validation images to use
    #[arg(long, default_value_t = 10_000)]
    pub(crate) val: usize,
    /// Passes over the training images; embeddings are also collected before the first
    #[arg(long, default_value_t = 4)]
    pub(crate) epochs: usize,
    /// Layers to collect from, by index or path
    #[arg(long, value_delimiter = ',', default_value = "90,46")]
    pub(crate) layers: Vec<String>,
    /// Method of reduction
    #[arg(long, default_value = "pacmap")]
    pub(crate) method: String,
    /// Coordinates per sample; both 3 and 2 if not given
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=3))]
    pub(crate) components: Option<u8>,
    /// Everything random follows from it
    #[arg(long, default_value_t = 42)]
    pub(crate) seed: u64,
    /// Folder with idx files (MNIST, Fashion-MNIST) or CIFAR-10's binary version
    #[arg(long, default_value = "/usr/share/datasets/fashion-mnist")]
    pub(crate) data: PathBuf,
    /// Folder of the project that is written
    #[arg(long, default_value = DEFAULT_PROJECT)]
    pub(crate) out: PathBuf,
    /// Continue this run instead of beginning another
    #[arg(long, value_name = "RUN")]
    pub(crate) resume: Option<String>,
    /// Do not serve a page at the end
    #[arg(long)]
    pub(crate) no_view: bool,
}
