//! Layers one after the other.

use tch::{Tensor, nn::ModuleT};

use crate::{Describe, Scope, Tap};

/// A container that runs its layers in order, named `0`, `1`, … as in PyTorch.
///
/// ```
/// use tch::nn::{self, ModuleT};
/// use tlc_collect::{FnModel, Model, Sequential, modules::ReLU};
///
/// let weights = nn::VarStore::new(tch::Device::Cpu);
/// let path = weights.root();
/// let model = FnModel::new("Net", |scope| {
///     let features = Sequential::new(scope.scope("features", "Sequential"))
///         .add(nn::linear(&path / "0", 8, 4, Default::default()))
///         .add(ReLU {});
///     let head = scope.child("head", nn::linear(&path / "head", 4, 2, Default::default()));
///     move |input, train| head.forward_t(&features.forward_t(input, train), train)
/// });
/// let paths: Vec<&str> = model.tree().named_modules().iter().map(|module| module.path.as_str()).collect();
/// assert_eq!(paths, ["", "features", "features.0", "features.1", "head"]);
/// ```
#[derive(Debug)]
pub struct Sequential {
    layers: Vec<Box<dyn ModuleT>>,
    scope: Scope,
    tap: Tap,
}

impl Sequential {
    /// Without layers; `scope` is its own.
    pub fn new(scope: Scope) -> Self {
        Self { layers: Vec::new(), tap: scope.tap(), scope }
    }

    /// With one more layer.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "what tch calls it")]
    pub fn add<M: Describe + ModuleT + 'static>(mut self, module: M) -> Self {
        let layer = self.scope.child(&self.layers.len().to_string(), module);
        self.layers.push(Box::new(layer));
        self
    }

    /// With one more layer of any type, of class `kind`; see [`Scope::wrap`].
    #[must_use]
    pub fn wrap<M: ModuleT + 'static>(mut self, kind: &str, module: M) -> Self {
        let layer = self.scope.wrap(&self.layers.len().to_string(), kind, module);
        self.layers.push(Box::new(layer));
        self
    }
}

impl ModuleT for Sequential {
    fn forward_t(&self, input: &Tensor, train: bool) -> Tensor {
        let mut output = input.shallow_clone();
        for layer in &self.layers {
            output = layer.forward_t(&output, train);
        }
        self.tap.observe(output)
    }
}
