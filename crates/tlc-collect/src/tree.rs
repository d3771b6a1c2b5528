//! The tree of a model's layers, numbered as Python's `named_modules()` does.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use tch::{Device, Tensor, nn};

use crate::panics::{InLayer, catch_panic_in_layer};
use crate::tap::{Tap, new_tree_id};
use crate::{CollectError, Inputs};

/// A model whose layers can be listened to.
///
/// Implementers build their layers in a [`Scope`], keep the [`ModuleTree`] it becomes, and call
/// [`Tap::observe`] on the output of each container in `forward_t`; [`Layer`] does so by itself.
///
/// ```
/// use tch::{Tensor, nn, nn::ModuleT};
/// use tlc_collect::{Layer, Model, ModuleTree, Scope, Tap};
///
/// #[derive(Debug)]
/// struct Net { fc1: Layer<nn::Linear>, fc2: Layer<nn::Linear>, tap: Tap, tree: ModuleTree }
///
/// impl Net {
///     fn new(path: &nn::Path) -> Self {
///         let scope = Scope::root("Net");
///         let fc1 = scope.child("fc1", nn::linear(path / "fc1", 8, 4, Default::default()));
///         let fc2 = scope.child("fc2", nn::linear(path / "fc2", 4, 2, Default::default()));
///         Net { fc1, fc2, tap: scope.tap(), tree: scope.finish() }
///     }
/// }
///
/// impl Model for Net {
///     fn tree(&self) -> &ModuleTree { &self.tree }
///     fn forward_t(&self, input: &Tensor, train: bool) -> Tensor {
///         let hidden = self.fc1.forward_t(input, train).relu();
///         self.tap.observe(self.fc2.forward_t(&hidden, train))
///     }
/// }
///
/// let weights = nn::VarStore::new(tch::Device::Cpu);
/// let names: Vec<String> = Net::new(&weights.root()).tree().named_modules().iter().map(|m| m.path.clone()).collect();
/// assert_eq!(names, ["", "fc1", "fc2"]);
/// ```
pub trait Model: Debug + Send {
    /// The layers.
    fn tree(&self) -> &ModuleTree;

    /// Where its weights are, and so where inputs must be: that of the first layer with parameters that was registered
    /// by [`Scope::child`], also after [`nn::VarStore::set_device`]. `None` if there is none.
    fn device(&self) -> Option<Device> {
        self.tree().device()
    }

    /// The model's output for a batch of inputs; `train` as in [`nn::ModuleT`].
    fn forward_t(&self, input: &Tensor, train: bool) -> Tensor;

    /// As [`forward_t`](Self::forward_t), with an error where that panics, as tch's modules do.
    ///
    /// # Errors
    /// Inputs that the model does not take, with libtorch's message and the layer that it came from.
    fn f_forward_t(&self, input: &Tensor, train: bool) -> Result<Tensor, CollectError> {
        let action = || format!("run the model on inputs of shape {:?}", input.size());
        catch_panic_in_layer(self.tree(), || self.forward_t(input, train))
            .map_err(|text| CollectError::torch(action(), text))
    }

    /// As [`f_forward_t`](Self::f_forward_t), of several or named tensors. A model that does not implement it takes
    /// one tensor by place.
    ///
    /// # Errors
    /// As there; tensors that the model does not take.
    fn f_forward_inputs(&self, inputs: &Inputs, train: bool) -> Result<Tensor, CollectError> {
        self.f_forward_t(inputs.only()?, train)
    }
}

/// What a summary says about a layer.
pub trait Describe {
    /// The layer's kind, as PyTorch names the class.
    fn kind(&self) -> String;

    /// Its own trainable parameters, without those of its children.
    fn parameters(&self) -> Vec<&Tensor> {
        Vec::new()
    }
}

macro_rules! describe {
    ($type:ty, $kind:literal, |$layer:ident| $parameters:expr) => {
        impl Describe for $type {
            fn kind(&self) -> String {
                $kind.to_owned()
            }

            fn parameters(&self) -> Vec<&Tensor> {
                let $layer = self;
                $parameters
            }
        }
    };
}

describe!(nn::Linear, "Linear", |layer| std::iter::once(&layer.ws).chain(&layer.bs).collect());
describe!(nn::Conv1D, "Conv1d", |layer| std::iter::once(&layer.ws).chain(&layer.bs).collect());
describe!(nn::Conv2D, "Conv2d", |layer| std::iter::once(&layer.ws).chain(&layer.bs).collect());
describe!(nn::Conv3D, "Conv3d", |layer| std::iter::once(&layer.ws).chain(&layer.bs).collect());
describe!(nn::ConvTranspose1D, "ConvTranspose1d", |layer| std::iter::once(&layer.ws).chain(&layer.bs).collect());
describe!(nn::ConvTranspose2D, "ConvTranspose2d", |layer| std::iter::once(&layer.ws).chain(&layer.bs).collect());
describe!(nn::ConvTranspose3D, "ConvTranspose3d", |layer| std::iter::once(&layer.ws).chain(&layer.bs).collect());
describe!(nn::GroupNorm, "GroupNorm", |layer| layer.ws.iter().chain(&layer.bs).collect());
describe!(nn::BatchNorm, "BatchNorm2d", |layer| layer.ws.iter().chain(&layer.bs).collect());
describe!(nn::LayerNorm, "LayerNorm", |layer| layer.ws.iter().chain(&layer.bs).collect());
describe!(nn::Embedding, "Embedding", |layer| vec![&layer.ws]);

#[derive(Debug, Clone)]
struct Node {
    name: String,
    kind: String,
    n_parameters: i64,
    /// One of its parameters, which tells where they are.
    parameter: Option<Arc<Mutex<Tensor>>>,
    children: Vec<usize>,
}

impl Node {
    fn new(name: &str, kind: String) -> Self {
        Self { name: name.to_owned(), kind, n_parameters: 0, parameter: None, children: Vec::new() }
    }
}

/// A place in the tree under construction: the model itself, or one of its containers.
///
/// Children are numbered in the order in which they are registered.
#[derive(Debug)]
pub struct Scope {
    tree: u64,
    node: usize,
    nodes: Arc<Mutex<Vec<Node>>>,
}

impl Scope {
    /// The root of a new tree: the model, of class `kind`.
    pub fn root(kind: &str) -> Self {
        let root = Node::new("", kind.to_owned());
        Self { tree: new_tree_id(), node: 0, nodes: Arc::new(Mutex::new(vec![root])) }
    }

    /// Registers a container called `name` and returns its scope.
    pub fn scope(&self, name: &str, kind: &str) -> Scope {
        let node = self.add(Node::new(name, kind.to_owned()));
        Scope { tree: self.tree, node, nodes: self.nodes.clone() }
    }

    /// Registers a layer called `name` and returns it wrapped, so that its output can be listened to.
    ///
    /// A layer that a model uses at several places is registered once and called there: as in Python it has one index,
    /// its parameters count once, and the last call is heard.
    pub fn child<M: Describe>(&self, name: &str, module: M) -> Layer<M> {
        let parameters = module.parameters();
        let node = self.add(Node {
            n_parameters: parameters.iter().map(|tensor| tensor.size().iter().product::<i64>()).sum(),
            parameter: parameters.first().map(|tensor| Arc::new(Mutex::new(tensor.shallow_clone()))),
            ..Node::new(name, module.kind())
        });
        Layer { tap: Tap { tree: self.tree, node }, module }
    }

    /// Registers any module as a layer called `name`, of class `kind`: a closure in [`nn::func`] or [`nn::func_t`], an
    /// [`nn::Sequential`], a type of another crate. Its parameters are not counted in summaries; a type of your own
    /// implements [`Describe`] and is registered by [`child`](Self::child).
    ///
    /// ```
    /// # use tch::nn::{self, ModuleT};
    /// let scope = tlc_collect::Scope::root("Net");
    /// let gelu = scope.wrap("act", "GELU", nn::func(|x| x.gelu("none")));
    /// assert_eq!(gelu.forward_t(&tch::Tensor::from_slice(&[0.0_f32]), false).double_value(&[0]), 0.0);
    /// ```
    pub fn wrap<M: nn::ModuleT>(&self, name: &str, kind: &str, module: M) -> Layer<M> {
        let node = self.add(Node::new(name, kind.to_owned()));
        Layer { tap: Tap { tree: self.tree, node }, module }
    }

    /// The point that sees this container's output.
    pub fn tap(&self) -> Tap {
        Tap { tree: self.tree, node: self.node }
    }

    /// The finished tree. Call it on the root, after all layers are registered.
    pub fn finish(self) -> ModuleTree {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ModuleTree::new(self.tree, nodes)
    }

    fn add(&self, child: Node) -> usize {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let node = nodes.len();
        nodes.push(child);
        nodes[self.node].children.push(node);
        node
    }
}

/// A layer whose output can be listened to; otherwise the wrapped module.
#[derive(Debug)]
pub struct Layer<M> {
    tap: Tap,
    module: M,
}

impl<M> Layer<M> {
    /// The wrapped module.
    pub fn module(&self) -> &M {
        &self.module
    }
}

impl<M: nn::ModuleT> nn::ModuleT for Layer<M> {
    fn forward_t(&self, input: &Tensor, train: bool) -> Tensor {
        let here = InLayer::enter(self.tap);
        let output = self.module.forward_t(input, train);
        here.leave();
        self.tap.observe(output)
    }
}

/// One entry of [`ModuleTree::named_modules`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedModule {
    /// Its linear index, as users give it.
    pub index: usize,
    /// Its dotted path; empty for the model itself.
    pub path: String,
    /// Its class.
    pub kind: String,
    /// Its depth; 0 for the model itself.
    pub depth: usize,
    /// Its own trainable parameters, without those of its children.
    pub n_parameters: i64,
    pub(crate) node: usize,
}

impl NamedModule {
    /// Multiplications with additions of one call, as torchinfo counts them, from the shape of its output: each
    /// parameter once per sample, and in convolutions once per place.
    pub(crate) fn multiply_adds(&self, output_shape: &[i64]) -> i64 {
        let Some((&batch, of_one)) = output_shape.split_first() else { return 0 };
        let places: i64 = if self.kind.contains("Conv") { of_one.iter().skip(1).product() } else { 1 };
        self.n_parameters.saturating_mul(batch).saturating_mul(places)
    }
}

/// All layers of a model.
#[derive(Debug, Clone)]
pub struct ModuleTree {
    id: u64,
    modules: Vec<NamedModule>,
    /// Behind a lock, since tensors are not to be shared between threads.
    parameter: Option<Arc<Mutex<Tensor>>>,
}

impl ModuleTree {
    fn new(id: u64, nodes: Vec<Node>) -> Self {
        let mut modules = Vec::with_capacity(nodes.len());
        let mut stack = vec![(0, String::new(), 0)];
        while let Some((node, path, depth)) = stack.pop() {
            let Node { kind, n_parameters, children, .. } = &nodes[node];
            for &child in children.iter().rev() {
                let name = &nodes[child].name;
                let child_path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                stack.push((child, child_path, depth + 1));
            }
            let index = modules.len();
            modules.push(NamedModule { index, path, kind: kind.clone(), depth, n_parameters: *n_parameters, node });
        }
        let parameter = nodes.into_iter().find_map(|node| node.parameter);
        Self { id, modules, parameter }
    }

    /// The tree of modules given by path, kind and own parameters: depth first, the model itself first.
    pub(crate) fn from_paths(id: u64, modules: impl IntoIterator<Item = (String, String, i64)>) -> Self {
        let modules = modules.into_iter().enumerate();
        let module = |(index, (path, kind, n_parameters)): (usize, (String, String, i64))| NamedModule {
            index,
            depth: if path.is_empty() { 0 } else { 1 + path.matches('.').count() },
            path,
            kind,
            n_parameters,
            node: index,
        };
        Self { id, modules: modules.map(module).collect(), parameter: None }
    }

    /// The modules depth first in order of registration, the model itself first: the order and indices
    /// of PyTorch's `enumerate(model.named_modules())`.
    pub fn named_modules(&self) -> &[NamedModule] {
        &self.modules
    }

    /// The path of the layer that `tap` belongs to, if it is one of this model's.
    pub(crate) fn path_of(&self, tap: Tap) -> Option<&str> {
        let module = self.modules.iter().find(|module| module.node == tap.node)?;
        (tap.tree == self.id).then_some(module.path.as_str())
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    fn device(&self) -> Option<Device> {
        let parameter = self.parameter.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        Some(parameter.device())
    }

    /// The module that `layer` names.
    ///
    /// # Errors
    /// [`CollectError::UnknownLayer`], with near names.
    pub fn find(&self, layer: &LayerRef) -> Result<&NamedModule, CollectError> {
        let found = match layer {
            LayerRef::Index(index) => self.modules.get(*index),
            // The model itself has no path; it is layer 0.
            LayerRef::Path(path) => self.modules.iter().find(|module| module.path == *path && !path.is_empty()),
        };
        found.ok_or_else(|| {
            let near = match layer {
                LayerRef::Index(_) => Vec::new(),
                LayerRef::Path(path) => tlc_core::suggest(
                    path,
                    self.modules.iter().map(|module| module.path.as_str()).filter(|p| !p.is_empty()),
                ),
            };
            CollectError::UnknownLayer {
                layer: match layer {
                    LayerRef::Index(index) => index.to_string(),
                    LayerRef::Path(path) => format!("{path:?}"),
                },
                count: self.modules.len(),
                last: self.modules.len() - 1,
                near: if near.is_empty() { String::new() } else { format!("; near: {}", near.join(", ")) },
            }
        })
    }

    /// The parameters of each module and everything below it, by index.
    pub(crate) fn parameters_below(&self) -> BTreeMap<usize, i64> {
        self.modules
            .iter()
            .map(|module| {
                let below = self.modules[module.index + 1..].iter().take_while(|other| other.depth > module.depth);
                (module.index, module.n_parameters + below.map(|other| other.n_parameters).sum::<i64>())
            })
            .collect()
    }
}

/// A layer, by linear index or by path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerRef {
    /// Its index in [`ModuleTree::named_modules`].
    Index(usize),
    /// Its dotted path.
    Path(String),
}

impl From<usize> for LayerRef {
    fn from(index: usize) -> Self {
        LayerRef::Index(index)
    }
}

/// A text of digits is an index, any other a path.
impl From<&str> for LayerRef {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| LayerRef::Path(text.to_owned()), LayerRef::Index)
    }
}

impl From<String> for LayerRef {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}
