//! Collection as a trainer sees it, on a real model.

mod failures;
mod layers;
mod loader;
mod metrics;
mod python;
mod results;
mod samples;
mod sink;
mod summary;
mod torchscript;

use tch::{Device, Kind, Tensor, nn};
use tlc_collect::models::ResNet;

/// A ResNet-18 for grey images of two classes, with its weights.
pub(crate) fn resnet(seed: i64) -> (nn::VarStore, ResNet) {
    tch::manual_seed(seed);
    let weights = nn::VarStore::new(Device::Cpu);
    let model = ResNet::resnet18(&weights.root(), 1, 2);
    (weights, model)
}

pub(crate) fn images(n: i64, side: i64) -> Tensor {
    let values = Tensor::arange(n * side * side, (Kind::Float, Device::Cpu));
    values.sin().reshape([n, 1, side, side])
}
