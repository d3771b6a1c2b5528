//! Options of the commands that need libtorch. They are read without it, so that such a command can say what it misses.

mod collect;
mod demo;
mod layers;
mod model;

#[cfg(feature = "collect")]
pub(crate) use collect::Calls;
pub(crate) use collect::CollectArgs;
pub(crate) use demo::DemoArgs;
pub(crate) use layers::LayersArgs;
#[cfg(feature = "collect")]
pub(crate) use model::{Device, ModelArgs};
