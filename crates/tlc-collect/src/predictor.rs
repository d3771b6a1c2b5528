//! Runs a model and hands out its output together with the activations of chosen layers.

use std::collections::BTreeMap;
use std::fmt;

use tch::{Device, Tensor};

use crate::panics::{catch_panic, catch_panic_in_layer};
use crate::tap::Recorder;
use crate::{CollectError, Inputs, LayerRef, Model, NamedModule};

/// A model in evaluation mode, without gradients, with listeners on some layers.
///
/// It does what 3LC's class of the same name does; what is called otherwise there:
///
/// | 3LC | tlc |
/// |---|---|
/// | `Predictor(model, layers=[…])` | [`Predictor::new`]; layers by index or by path |
/// | `device`; default that of the model's parameters, else the CPU | [`device`](Self::device); default where the model's weights [are](Model::device), else where the inputs are |
/// | `preprocess_fn` | [`preprocess`](Self::preprocess) |
/// | default preprocessing: the first item, or the key `image`, `images` or `pixel_values` | none is needed: a [`Batch`](crate::Batch) holds inputs and labels apart |
/// | `disable_preprocess` | without [`preprocess`](Self::preprocess) inputs stay as they are |
/// | `unpack_lists` | [`Inputs::positional`]: several tensors are arguments by place |
/// | `unpack_dicts` | [`Inputs::named`]: named tensors are arguments by name |
/// | `call_fn` | [`call`](Self::call) |
/// | `with_hooks` | listeners are there during [`predict`](Self::predict) alone |
/// | a guard switches to evaluation mode | models are called with `train = false`; TorchScript files are in evaluation mode |
/// | `PredictorOutput(forward, hidden_layers, metadata)` | [`PredictorOutput`]; without layers `hidden_layers` is empty, not `None` |
///
/// ```
/// # use tch::{Device, Tensor, nn};
/// # use tlc_collect::{Inputs, Predictor, models::ResNet};
/// # let weights = nn::VarStore::new(Device::Cpu);
/// # let model = ResNet::resnet18(&weights.root(), 1, 10);
/// let predictor = Predictor::new(&model, ["global_pool"])?
///     .device(Device::cuda_if_available())
///     .preprocess(|inputs| Ok(Inputs::from(inputs.only()? / 255.0)));
/// # Ok::<(), tlc_collect::CollectError>(())
/// ```
pub struct Predictor<'m> {
    model: &'m dyn Model,
    layers: Vec<NamedModule>,
    device: Option<Device>,
    preprocess: Option<Box<Preprocess<'m>>>,
    call: Option<Box<Call<'m>>>,
}

type Preprocess<'m> = dyn Fn(Inputs) -> Result<Inputs, CollectError> + 'm;
type Call<'m> = dyn Fn(&dyn Model, &Inputs) -> Result<Tensor, CollectError> + 'm;

impl fmt::Debug for Predictor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Predictor")
            .field("model", &self.model)
            .field("layers", &self.layers)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// What a forward pass gave.
#[derive(Debug)]
pub struct PredictorOutput {
    /// The model's output.
    pub forward: Tensor,
    /// The activations of the chosen layers, by layer index.
    pub hidden_layers: BTreeMap<usize, Tensor>,
    /// What the model gave beside its output, by name: the elements of a TorchScript model's tuple or dictionary, or
    /// what a Rust model [notes](crate::Tap::note).
    pub metadata: BTreeMap<String, Tensor>,
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
        Ok(Self { model, layers: layers?, device: None, preprocess: None, call: None })
    }

    /// With a device to which inputs are moved, after preprocessing; the model's weights must be there. Default: where
    /// the model [says](Model::device) that they are, or where the inputs are if it does not say.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = Some(device);
        self
    }

    /// With a function that brings inputs into the form that the model takes, without gradients.
    #[must_use]
    pub fn preprocess(mut self, function: impl Fn(Inputs) -> Result<Inputs, CollectError> + 'm) -> Self {
        self.preprocess = Some(Box::new(function));
        self
    }

    /// With another way to call the model than with its inputs, in evaluation mode: with more arguments, twice, or in
    /// parts. The layers' outputs are those of the last calls.
    #[must_use]
    pub fn call(mut self, function: impl Fn(&dyn Model, &Inputs) -> Result<Tensor, CollectError> + 'm) -> Self {
        self.call = Some(Box::new(function));
        self
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
        let (forward, mut recorder) = self.run(inputs.into(), recorder)?;
        let mut hidden_layers = BTreeMap::new();
        for layer in &self.layers {
            let output = recorder.outputs[layer.node]
                .take()
                .or_else(|| hidden_layers.get(&layer.index).map(Tensor::shallow_clone))
                .ok_or_else(|| CollectError::NotCalled { layer: layer.index, path: layer.path.clone() })?;
            hidden_layers.insert(layer.index, output);
        }
        Ok(PredictorOutput { forward, hidden_layers, metadata: recorder.notes })
    }

    pub(crate) fn model(&self) -> &'m dyn Model {
        self.model
    }

    /// One forward pass in evaluation mode with `recorder` listening.
    pub(crate) fn run(&self, mut inputs: Inputs, recorder: Recorder) -> Result<(Tensor, Recorder), CollectError> {
        // A guard, since `tch::no_grad` would leave gradients off after a panic.
        let _no_grad = tch::no_grad_guard();
        if let Some(preprocess) = &self.preprocess {
            inputs =
                catch_panic(|| preprocess(inputs)).map_err(|text| CollectError::torch("preprocess inputs", text))??;
        }
        if let Some(device) = self.device.or_else(|| self.model.device()) {
            inputs = inputs.to_device(device)?;
        }
        let tree = self.model.tree();
        let (forward, recorder) = match &self.call {
            None => recorder.listen(|| self.model.f_forward_inputs(&inputs, false)),
            Some(call) => {
                let action = || format!("call the model on inputs of shape {}", inputs.shapes());
                let (forward, recorder) = recorder.listen(|| catch_panic_in_layer(tree, || call(self.model, &inputs)));
                (forward.map_err(|text| CollectError::torch(action(), text))?, recorder)
            }
        };
        Ok((forward?, recorder))
    }
}
