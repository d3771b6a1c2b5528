//! Models whose layers are registered, ready to be collected from.

mod resnet;

pub use resnet::ResNet;
