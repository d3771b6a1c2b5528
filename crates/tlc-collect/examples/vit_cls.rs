//! The `[CLS]` token of a vision transformer, by a closure: `vit_cls MODEL.pt LAYER [SIDE]`.
//!
//! MODEL.pt is an exported model such as `cargo xtask parity` makes, LAYER one that returns tokens, `(B, T, D)`, such
//! as `norm` or `blocks.11`.

#![expect(clippy::print_stdout, reason = "an example speaks to whoever runs it")]

use std::error::Error;

use tch::{Device, Kind, Tensor};
use tlc_collect::{Batch, EmbeddingsMetricsCollector, MetricsCollector, Model, Predictor, Reshape, TorchScriptModel};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, layer, rest @ ..] = args.as_slice() else { return Err("usage: vit_cls MODEL.pt LAYER [SIDE]".into()) };
    let side: i64 = rest.first().map_or(Ok(224), |side| side.parse())?;

    let model = TorchScriptModel::load(file)?;
    let layer = model.tree().find(&layer.as_str().into())?.index;
    let predictor = Predictor::new(&model, [layer])?;
    // The first token; the named strategy `cls_token` does the same.
    let cls = Reshape::custom("[CLS]", |tokens| tokens.select(1, 0));
    let mut embeddings = EmbeddingsMetricsCollector::new([]).reshape(layer, cls);

    let images = Tensor::rand([2, 3, side, side], (Kind::Float, Device::Cpu));
    let output = predictor.predict(&images)?;
    let columns = embeddings.collect(&Batch::new(images, None), &output)?;
    println!("{}: {}", columns[0].field.name(), columns[0].field.data_type());
    Ok(())
}
