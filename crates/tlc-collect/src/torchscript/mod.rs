//! TorchScript files as models.

mod archive;
mod ffi;
mod message;

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tch::{Device, Tensor};

use self::ffi::{Capture, Module, Part};
use self::message::essence;
use crate::inputs::check_device;
use crate::tap::{Tap, Wanted, new_tree_id, wanted};
use crate::{CollectError, Inputs, LayerRef, Model, ModuleTree};

/// What is collected of a layer that one forward pass calls several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Calls {
    /// What the last call returned, as a Python hook that stores its layer's output keeps it.
    #[default]
    Last,
    /// What all calls returned, side by side on a new second axis: `(B, calls, …)`.
    All,
    /// The mean of what all calls returned.
    Mean,
}

/// A model from a TorchScript file, traced or scripted, each of whose layers can be listened to.
///
/// Layers have the indices and paths of Python's `named_modules()`. A module that Python has under two names is two
/// in a file. It is recognised by its weights and then is one layer, as in Python: it has the first of its names, its
/// parameters count once, and it is heard at each call, under whichever name it was called (see [`Calls`]). One without
/// weights counts twice, and indices after it are higher than Python's.
///
/// Activations are what a forward hook in Python would see, also of layers within branches and loops, and also where
/// later operations write into them (those within a tuple, list or dictionary as they are in the end). Of a layer that
/// hands on its input, such as Identity, a trace keeps a call that returns nothing, which is an error that says so;
/// take the layer before it.
///
/// ```no_run
/// use tlc_collect::{Predictor, TorchScriptModel};
///
/// let model = TorchScriptModel::load("resnet18.pt")?;
/// let predictor = Predictor::new(&model, ["global_pool"])?;
/// let images = tch::Tensor::zeros([8, 3, 224, 224], (tch::Kind::Float, tch::Device::Cpu));
/// let output = predictor.predict(&images)?;
/// assert_eq!(output.hidden_layers[&90].size(), [8, 512]);
/// # Ok::<(), tlc_collect::CollectError>(())
/// ```
pub struct TorchScriptModel {
    file: PathBuf,
    module: Arc<Module>,
    tree: ModuleTree,
    device: Device,
    calls: Calls,
    /// What to take where a result is not a tensor, by layer; the model's own result is that of layer 0.
    elements: BTreeMap<usize, String>,
    /// One per set of layers that was listened to.
    captures: Mutex<HashMap<Vec<usize>, Arc<Capture>>>,
}

impl fmt::Debug for TorchScriptModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TorchScriptModel")
            .field("file", &self.file)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

impl TorchScriptModel {
    /// Loads `file` for the CPU, in evaluation mode.
    ///
    /// # Errors
    /// A file that is missing or not TorchScript; a model of an operator that this libtorch does not have.
    pub fn load(file: impl AsRef<Path>) -> Result<Self, CollectError> {
        Self::load_on(file, Device::Cpu)
    }

    /// Loads `file` for `device`, the CPU or a CUDA device, in evaluation mode.
    ///
    /// # Errors
    /// As [`load`](Self::load); a device that libtorch does not have.
    pub fn load_on(file: impl AsRef<Path>, device: Device) -> Result<Self, CollectError> {
        let file = file.as_ref();
        let refused = |reason: &str| CollectError::Data {
            what: format!(
                "cannot load {}: {reason}; export a model with torch.jit.trace or torch.jit.script",
                file.display()
            ),
        };
        let cuda_device = match device {
            Device::Cpu => None,
            Device::Cuda(number) if number <= i8::MAX as usize => Some(number),
            other => return Err(refused(&format!("the device is {other:?}, cpu or cuda is needed"))),
        };
        check_device(device)?;
        archive::check(file)
            .map_err(|error| CollectError::torch(format!("read {}", file.display()), error))?
            .map_or(Ok(()), |reason| Err(refused(&reason)))?;
        let path =
            CString::new(file.as_os_str().as_encoded_bytes()).map_err(|_| refused("its name holds a zero byte"))?;
        let module = Module::load(&path, cuda_device).map_err(|text| {
            if text.contains("constants.pkl") {
                // An archive of torch.save, which holds weights or needs Python's classes.
                refused("it holds no code, only weights")
            } else {
                CollectError::torch(format!("load {} as TorchScript", file.display()), essence(&text))
            }
        })?;
        let layers = module.layers().into_iter().map(|layer| (layer.path, layer.kind, layer.n_parameters));
        Ok(Self {
            file: file.to_owned(),
            tree: ModuleTree::from_paths(new_tree_id(), layers),
            module: Arc::new(module),
            device,
            calls: Calls::default(),
            elements: BTreeMap::new(),
            captures: Mutex::default(),
        })
    }

    /// With another choice for layers that are called several times. Default: the last call.
    #[must_use]
    pub fn calls(mut self, calls: Calls) -> Self {
        self.calls = calls;
        self
    }

    /// With what to take where `layer` returns a tuple, list or dictionary: the place or key, those of nested ones
    /// joined by dots, such as `0` or `hidden_states.11`. For layer 0 it is the model's own result.
    ///
    /// # Errors
    /// [`CollectError::UnknownLayer`].
    pub fn element(mut self, layer: impl Into<LayerRef>, element: &str) -> Result<Self, CollectError> {
        let layer = self.tree.find(&layer.into())?.index;
        self.elements.insert(layer, element.to_owned());
        Ok(self)
    }

    fn capture(&self, layers: &[usize]) -> Result<Arc<Capture>, CollectError> {
        let mut captures = self.captures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(capture) = captures.get(layers) {
            return Ok(capture.clone());
        }
        let capture = Capture::new(&self.module, layers)
            .map_err(|text| CollectError::torch(format!("listen at layers {layers:?}"), essence(&text)))?;
        let capture = Arc::new(capture);
        captures.insert(layers.to_vec(), capture.clone());
        Ok(capture)
    }

    /// The tensor that is wanted of one result of `layer`.
    fn chosen(&self, layer: usize, parts: &[Part]) -> Result<Tensor, CollectError> {
        let mut tensors = Vec::new();
        for part in parts {
            let no_tensor = || self.no_tensor(layer, &part.path);
            tensors.push((part.path.as_str(), part.tensor.as_ref().ok_or_else(no_tensor)?));
        }
        let found = || tensors.iter().map(|(path, _)| *path).collect::<Vec<_>>().join(", ");
        match (self.elements.get(&layer), tensors.as_slice()) {
            (Some(wanted), _) => {
                let tensor = tensors.iter().find(|(path, _)| path == wanted);
                let unknown = || CollectError::UnknownElement { layer, wanted: wanted.clone(), found: found() };
                tensor.map(|(_, tensor)| tensor.shallow_clone()).ok_or_else(unknown)
            }
            (None, [(_, only)]) => Ok(only.shallow_clone()),
            (None, _) => Err(CollectError::NotOneTensor { layer, found: found() }),
        }
    }

    fn no_tensor(&self, layer: usize, found: &str) -> CollectError {
        let hint = if found == "NoneType" {
            " (a trace drops what a layer hands on unchanged, such as Identity: take the layer before it)"
        } else {
            ""
        };
        let path = self.tree.named_modules()[layer].path.clone();
        CollectError::NoTensor { layer, path, found: format!("{found}{hint}") }
    }

    /// Tells whoever makes a summary what one call of `layer` returned.
    fn summarise(&self, layer: usize, parts: &[Part]) {
        let tap = Tap { tree: self.tree.id(), node: layer };
        match self.chosen(layer, parts) {
            Ok(tensor) => tap.called(Some(tensor.size()), Vec::new()),
            Err(_) => {
                let first = parts.first().and_then(|part| part.tensor.as_ref());
                let elements = parts.iter().filter(|part| part.tensor.is_some()).map(|part| part.path.clone());
                tap.called(first.map(Tensor::size), elements.collect());
            }
        }
    }

    /// Shows the results of `layer`, in the order of its calls, to whoever listens.
    fn show(&self, layer: usize, mut calls: Vec<Vec<Part>>) -> Result<(), CollectError> {
        if self.calls == Calls::Last {
            calls.drain(..calls.len().saturating_sub(1));
        }
        let tensors: Vec<Tensor> = calls.iter().map(|parts| self.chosen(layer, parts)).collect::<Result<_, _>>()?;
        let tap = Tap { tree: self.tree.id(), node: layer };
        if tensors.len() < 2 {
            tensors.into_iter().for_each(|tensor| drop(tap.observe(tensor)));
            return Ok(());
        }
        let failed = |error| CollectError::torch(format!("put the calls of layer {layer} together"), error);
        let stacked = Tensor::f_stack(&tensors, 1).map_err(failed)?;
        let shown = match self.calls {
            Calls::Mean => stacked.f_mean_dim(1, false, None).map_err(failed)?,
            Calls::All | Calls::Last => stacked,
        };
        drop(tap.observe(shown));
        Ok(())
    }
}

impl Model for TorchScriptModel {
    fn tree(&self) -> &ModuleTree {
        &self.tree
    }

    /// The device that it was loaded for.
    fn device(&self) -> Option<Device> {
        Some(self.device)
    }

    /// # Panics
    /// As tch's modules do, if libtorch fails; see [`f_forward_t`](Model::f_forward_t).
    fn forward_t(&self, input: &Tensor, train: bool) -> Tensor {
        self.f_forward_t(input, train).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The file's own mode is evaluation, whatever `train` says.
    fn f_forward_t(&self, input: &Tensor, train: bool) -> Result<Tensor, CollectError> {
        self.f_forward_inputs(&input.into(), train)
    }

    /// Tensors by the names of `forward`'s parameters; those that are not given get their defaults.
    fn f_forward_inputs(&self, inputs: &Inputs, _train: bool) -> Result<Tensor, CollectError> {
        let (layers, is_summary) = match wanted(self.tree.id()) {
            Wanted::Nothing => (Vec::new(), false),
            Wanted::Nodes(nodes) => (nodes, false),
            Wanted::All => ((0..self.tree.named_modules().len()).collect(), true),
        };
        let failed = |text: &str| {
            CollectError::torch(format!("run the model on inputs of shape {}", inputs.shapes()), text.to_owned())
        };
        let capture = self.capture(&layers)?;
        let positional: Vec<&Tensor> = inputs.positional.iter().collect();
        let mut named = Vec::new();
        for (name, tensor) in &inputs.named {
            let name = CString::new(name.as_str()).map_err(|_| failed("an input's name holds a zero byte"))?;
            named.push((name, tensor));
        }
        let parts = capture.run(&positional, &named).map_err(|text| failed(&essence(&text)))?;
        let mut own = Vec::new();
        let mut by_layer: BTreeMap<usize, Vec<Vec<Part>>> = BTreeMap::new();
        for part in parts {
            match part.layer {
                Some(layer) => {
                    let calls = by_layer.entry(layer).or_default();
                    calls.resize_with(calls.len().max(part.call + 1), Vec::new);
                    calls[part.call].push(part);
                }
                None => own.push(part),
            }
        }
        if is_summary {
            for (layer, calls) in by_layer {
                calls.iter().for_each(|parts| self.summarise(layer, parts));
            }
            self.summarise(0, &own);
            // Which of several is the result does not matter to a summary.
            let first = own.first().and_then(|part| part.tensor.as_ref());
            return first.map_or_else(|| self.chosen(0, &own), |tensor| Ok(tensor.shallow_clone()));
        }
        for (layer, calls) in by_layer {
            self.show(layer, calls)?;
        }
        let tap = Tap { tree: self.tree.id(), node: 0 };
        for part in own.iter().filter(|part| !part.path.is_empty()) {
            part.tensor.iter().for_each(|tensor| tap.note(&part.path, tensor));
        }
        Ok(tap.observe(self.chosen(0, &own)?))
    }
}
