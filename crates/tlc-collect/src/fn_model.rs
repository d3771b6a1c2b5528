//! A model from a closure.

use std::fmt;

use tch::Tensor;

use crate::{Model, ModuleTree, Scope, Tap};

/// A model whose layers a closure registers and whose forward pass is the closure that this returns: all that a
/// hand-written struct needs a tree and a tap for, in one place.
///
/// ```
/// use tch::nn::{self, ModuleT};
/// use tlc_collect::{FnModel, Predictor};
///
/// let weights = nn::VarStore::new(tch::Device::Cpu);
/// let path = weights.root();
/// let model = FnModel::new("Net", |scope| {
///     let fc1 = scope.child("fc1", nn::linear(&path / "fc1", 8, 4, Default::default()));
///     let fc2 = scope.child("fc2", nn::linear(&path / "fc2", 4, 2, Default::default()));
///     move |input, train| fc2.forward_t(&fc1.forward_t(input, train).relu(), train)
/// });
/// let output = Predictor::new(&model, ["fc1"])?.predict(tch::Tensor::zeros([3, 8], tch::kind::FLOAT_CPU))?;
/// assert_eq!(output.hidden_layers[&1].size(), [3, 4]);
/// # Ok::<(), tlc_collect::CollectError>(())
/// ```
pub struct FnModel {
    forward: Box<Forward>,
    tap: Tap,
    tree: ModuleTree,
}

type Forward = dyn Fn(&Tensor, bool) -> Tensor + Send;

impl FnModel {
    /// A model of class `kind`. `build` gets its scope and returns the function from inputs and `train` to outputs.
    pub fn new<F: Fn(&Tensor, bool) -> Tensor + Send + 'static>(kind: &str, build: impl FnOnce(&Scope) -> F) -> Self {
        let scope = Scope::root(kind);
        let forward = Box::new(build(&scope));
        Self { forward, tap: scope.tap(), tree: scope.finish() }
    }
}

impl fmt::Debug for FnModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnModel").field("tree", &self.tree).finish_non_exhaustive()
    }
}

impl Model for FnModel {
    fn tree(&self) -> &ModuleTree {
        &self.tree
    }

    fn forward_t(&self, input: &Tensor, train: bool) -> Tensor {
        self.tap.observe((self.forward)(input, train))
    }
}
