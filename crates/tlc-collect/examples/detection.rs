//! A model that returns a dictionary, as detectors do: `detection MODEL.pt LAYER ELEMENT OUTPUT SHAPE`.
//!
//! ELEMENT says which tensor of what LAYER returns is collected, such as `0` or `features.1`, OUTPUT which of the
//! model's own is its output, such as `boxes`. The fixture `tests/collect/fixtures/structured.pt` is such a model.

#![expect(clippy::print_stdout, reason = "an example speaks to whoever runs it")]

use std::error::Error;

use tch::{Device, Kind, Tensor};
use tlc_collect::{Batch, MetricsCollector, MetricsFn, Model, Predictor, TorchScriptModel};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, layer, element, output, shape] = args.as_slice() else {
        return Err("usage: detection MODEL.pt LAYER ELEMENT OUTPUT SHAPE, such as 2,3,224,224".into());
    };
    let shape: Vec<i64> = shape.split(',').map(str::parse).collect::<Result<_, _>>()?;

    let model = TorchScriptModel::load(file)?.element(layer.as_str(), element)?.element(0, output)?;
    let layer = model.tree().find(&layer.as_str().into())?.index;
    let predictor = Predictor::new(&model, [layer])?;
    // A metric of one's own: the mean of each sample's output.
    let mut mean = MetricsFn::new("mean output", |_batch, output| {
        let per_sample = output.forward.flatten(1, -1).mean_dim(1, false, Kind::Float);
        Ok(vec![("mean_output".to_owned(), per_sample)])
    });

    let inputs = Tensor::rand(&shape, (Kind::Float, Device::Cpu));
    let output = predictor.predict(&inputs)?;
    println!("layer {layer}: {:?}", output.hidden_layers[&layer].size());
    let columns = mean.collect(&Batch::new(inputs, None), &output)?;
    println!("{}: {:?}", columns[0].field.name(), columns[0].values);
    Ok(())
}
