//! Options of `tlc layers`.

use clap::Args;

use super::model::ModelArgs;

/// A model and an input that it takes.
#[derive(Args)]
pub(crate) struct LayersArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// The shape of an input, batch first
    #[arg(long, value_delimiter = ',', default_value = "1,3,224,224")]
    pub(crate) input_size: Vec<i64>,
    /// An input as an array instead, of which the first rows are used; several in the order of the model's parameters,
    /// or by their names
    #[arg(long, value_name = "[NAME=]FILE")]
    pub(crate) npy: Vec<String>,
}
