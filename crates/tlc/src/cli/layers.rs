//! `tlc layers`: what can be collected from a model.

use tlc::collect::{Inputs, layers};

use super::args::LayersArgs;
use super::collect::load;
use super::samples::inputs_of_arrays;

pub(crate) fn run(args: &LayersArgs) -> anyhow::Result<()> {
    let model = load(&args.model)?;
    let inputs = if args.npy.is_empty() {
        Inputs::zeros(&args.input_size)?
    } else {
        inputs_of_arrays(&args.npy)?.narrow(0, 1)?
    };
    say!("{}", layers(&model, &inputs)?);
    Ok(())
}
