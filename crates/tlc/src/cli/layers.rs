//! `tlc layers`: what can be collected from a model.

use tlc::collect::{Inputs, TorchScriptModel, layers};

use super::LayersArgs;
use super::samples::inputs_of_arrays;

/// Wider rows take much room and time, and say little more.
const WIDE: i64 = 4096;

pub(crate) fn run(args: &LayersArgs) -> anyhow::Result<()> {
    let model = TorchScriptModel::load(&args.model)?;
    let inputs = if args.npy.is_empty() {
        Inputs::zeros(&args.input_size)?
    } else {
        inputs_of_arrays(&args.npy)?.narrow(0, 1)?
    };
    let layers = layers(&model, &inputs)?;
    let path_width = layers.iter().map(|layer| layer.path.len()).max().unwrap_or(0).max(8);
    println!(
        "{:>5}  {:<path_width$}  {:<24}  {:>12}  {:>14}  {:<24}  widths",
        "index", "path", "kind", "parameters", "multiply-adds", "output"
    );
    let mut n_wide = 0;
    for layer in &layers {
        let path = if layer.index == 0 { "(model)" } else { &layer.path };
        let output = match layer.n_calls {
            0 => "not called".to_owned(),
            1 => format!("{:?}", layer.shape),
            n => format!("{:?} ({n} calls)", layer.shape),
        };
        let width = |(name, width): (&str, i64)| {
            n_wide += usize::from(width > WIDE);
            format!("{name} {width}{}", if width > WIDE { "!" } else { "" })
        };
        let widths: Vec<String> = layer.widths().into_iter().map(width).collect();
        println!(
            "{:>5}  {path:<path_width$}  {:<24}  {:>12}  {:>14}  {output:<24}  {}",
            layer.index,
            layer.kind,
            layer.n_parameters,
            layer.multiply_adds,
            widths.join(", ")
        );
    }
    if n_wide > 0 {
        println!(
            "\n! more than {WIDE} values per sample: slow to store and reduce; mean or avg_pool_2_2 say nearly as much"
        );
    }
    Ok(())
}
