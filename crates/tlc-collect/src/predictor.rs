//! Runs a model and hands out its output together with the activations of chosen layers.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::Tensor;

use crate::tap::Recorder;
use crate::{CollectError, Inputs, LayerRef, Model, NamedModule};

/// A model in evaluation mode, without gradients, with listeners on some layers.
#[derive(Debug)]
pub struct Predictor<'m> {
    model: &'m dyn Model,
    layers: Vec<NamedModule>,
}

/// What a forward pass gave.
#[derive(Debug)]
pub struct PredictorOutput {
    /// The model's output.
    pub forward: Tensor,
    /// The activations of the chosen layers, by layer index.
    pub hidden_layers: BTreeMap<usize, Tensor>,
}

impl<'m> Predictor<'m> {
    /// Listens at `layers`, each an index or a path; none is fine.
    ///
    /// # Errors
    /// [`CollectError::UnknownLayer`].
    pub fn new<L: Into<LayerRef>>(
        model: &'m dyn Model,
        layers: impl IntoIterator<Item = L>,
    ) -> Result<Self, CollectError> {
        let layers: Result<_, _> = layers.into_iter().map(|layer| model.tree().find(&layer.into()).cloned()).collect();
        Ok(Self { model, layers: layers? })
    }

    /// The indices of the layers it listens at.
    pub fn layers(&self) -> Vec<usize> {
        self.layers.iter().map(|layer| layer.index).collect()
    }

    /// Runs the model on a batch of inputs: one tensor, or several as [`Inputs`].
    ///
    /// # Errors
    /// Inputs that the model does not take, with libtorch's message; a layer that is not called.
    pub fn predict(&self, inputs: impl Into<Inputs>) -> Result<PredictorOutput, CollectError> {
        let tree = self.model.tree();
        let nodes = self.layers.iter().map(|layer| layer.node);
        let recorder = Recorder::outputs_of(tree.id(), tree.named_modules().len(), nodes);
        let (forward, mut recorder) = run(self.model, &inputs.into(), recorder)?;
        let mut hidden_layers = BTreeMap::new();
        for layer in &self.layers {
            let output = recorder.outputs[layer.node]
                .take()
                .or_else(|| hidden_layers.get(&layer.index).map(Tensor::shallow_clone))
                .ok_or_else(|| CollectError::NotCalled { layer: layer.index, path: layer.path.clone() })?;
            hidden_layers.insert(layer.index, output);
        }
        Ok(PredictorOutput { forward, hidden_layers })
    }
}

/// One forward pass in evaluation mode.
pub(crate) fn run(model: &dyn Model, inputs: &Inputs, recorder: Recorder) -> Result<(Tensor, Recorder), CollectError> {
    // A guard, since `tch::no_grad` would leave gradients off after a panic.
    let _no_grad = tch::no_grad_guard();
    let (output, recorder) = recorder.listen(|| model.f_forward_inputs(inputs, false));
    Ok((output?, recorder))
}

/// What `work` returns, or the text of its panic: tch's methods panic on libtorch's errors.
pub(crate) fn catch_panic<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        text.unwrap_or_else(|| "a panic without a message".to_owned())
    })
}
