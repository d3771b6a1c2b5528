//! Every layer of a model with what it gives and how wide each strategy makes that.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use tch::{Device, Kind, Tensor};

use crate::reshape::NAMED;
use crate::tap::{Call, Recorder};
use crate::{CollectError, Inputs, Model, NamedModule, Predictor, Reshape};

/// Values per sample above which rows take much room and time and say little more.
const WIDE: i64 = 4096;
const OUTPUT_WIDTH: usize = 24;

/// A layer and what it returned for one input.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerOutput {
    /// The layer's index in `named_modules()`.
    pub index: usize,
    /// Its dotted path; empty for the model itself.
    pub path: String,
    /// Its class.
    pub kind: String,
    /// Its own trainable parameters, without those of its children.
    pub n_parameters: i64,
    /// Multiplications with additions of all its calls; those of its children are theirs.
    pub multiply_adds: i64,
    /// How often one forward pass calls it.
    pub n_calls: usize,
    /// The shape of what the last call returned, batch first, of several tensors that of the first; `None` if there was
    /// no call or no tensor.
    pub shape: Option<Vec<i64>>,
    /// What the last call returned, where that was several tensors or one within a tuple, list or dictionary, and none
    /// was [chosen](crate::TorchScriptModel::element).
    pub elements: Vec<String>,
    n_samples: usize,
}

impl LayerOutput {
    fn new(module: &NamedModule, calls: &[Call], n_samples: usize) -> Self {
        let last = calls.last();
        let multiply_adds = |call: &Call| call.shape.as_deref().map_or(0, |shape| module.multiply_adds(shape));
        Self {
            index: module.index,
            path: module.path.clone(),
            kind: module.kind.clone(),
            n_parameters: module.n_parameters,
            multiply_adds: calls.iter().map(multiply_adds).fold(0, i64::saturating_add),
            n_calls: calls.len(),
            shape: last.and_then(|call| call.shape.clone()),
            elements: last.map(|call| call.elements.clone()).unwrap_or_default(),
            n_samples,
        }
    }

    /// Why the layer cannot be collected as it is; `None` if it can.
    pub fn obstacle(&self) -> Option<String> {
        let Some(shape) = &self.shape else {
            return Some(if self.n_calls == 0 { "not called" } else { "returns no tensor" }.to_owned());
        };
        if !self.elements.is_empty() {
            return Some(format!("choose an element: {}", self.elements.join(", ")));
        }
        let is_batch = shape.len() > 1 && shape[0] == self.n_samples as i64 && !shape.contains(&0);
        (!is_batch).then(|| format!("not one row per sample of {}", self.n_samples))
    }

    /// The named strategies that take this layer's output, with the width of the rows that they make; none where there
    /// is an [obstacle](Self::obstacle).
    ///
    /// ```
    /// # use tlc_collect::{Inputs, layers, models::ResNet};
    /// let weights = tch::nn::VarStore::new(tch::Device::Cpu);
    /// let model = ResNet::resnet18(&weights.root(), 3, 10);
    /// let layers = layers(&model, &Inputs::zeros(&[1, 3, 64, 64])?)?;
    /// assert_eq!(layers[1].widths()[..2], [("mean", 64), ("flatten", 64 * 32 * 32)]);
    /// # Ok::<(), tlc_collect::CollectError>(())
    /// ```
    pub fn widths(&self) -> Vec<(&'static str, i64)> {
        let Some(shape) = self.shape.as_ref().filter(|_| self.obstacle().is_none()) else { return Vec::new() };
        let shape = [&[1], &shape[1..]].concat();
        let Ok(zeros) = Tensor::f_zeros(&shape, (Kind::Float, Device::Cpu)) else { return Vec::new() };
        let width = |name: &'static str| {
            let rows = Reshape::named(name).and_then(|strategy| strategy.apply(self.index, &zeros)).ok()?;
            Some((name, rows.size()[1]))
        };
        NAMED.iter().copied().filter_map(width).collect()
    }
}

/// All layers of a model in the order of their indices.
///
/// Displayed, it is a table for a person who wants to collect: the index or path to select each layer by, its class,
/// parameters, multiplications with additions and output's shape, and how wide each strategy would make its rows, or
/// why it cannot be collected. Widths above 4096 are marked, and a line below says why.
///
/// ```
/// # use tlc_collect::{Inputs, layers, models::ResNet};
/// let weights = tch::nn::VarStore::new(tch::Device::Cpu);
/// let model = ResNet::resnet18(&weights.root(), 3, 10);
/// let text = layers(&model, &Inputs::zeros(&[1, 3, 64, 64])?)?.to_string();
/// let line = text.lines().find(|line| line.contains(" global_pool ")).expect("a layer");
/// assert!(line.starts_with("   90  global_pool") && line.ends_with("[1, 512]                  mean 512, flatten 512"));
/// # Ok::<(), tlc_collect::CollectError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layers(Vec<LayerOutput>);

impl Deref for Layers {
    type Target = [LayerOutput];

    fn deref(&self) -> &[LayerOutput] {
        &self.0
    }
}

impl<'a> IntoIterator for &'a Layers {
    type Item = &'a LayerOutput;
    type IntoIter = std::slice::Iter<'a, LayerOutput>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path_of = |layer: &LayerOutput| if layer.index == 0 { "(model)".to_owned() } else { layer.path.clone() };
        let path_width = self.iter().map(|layer| path_of(layer).chars().count()).max().unwrap_or(0).max(8);
        let kind_width = self.iter().map(|layer| layer.kind.chars().count()).max().unwrap_or(0).max(8);
        write!(
            f,
            "index  {:<path_width$}  {:<kind_width$}  {:>12}  {:>14}  {:<OUTPUT_WIDTH$}  widths",
            "path", "kind", "parameters", "multiply-adds", "output"
        )?;
        let mut has_wide = false;
        for layer in self {
            let shape = layer.shape.as_ref().map_or_else(|| "--".to_owned(), |shape| format!("{shape:?}"));
            let output = if layer.n_calls > 1 { format!("{shape} ({} calls)", layer.n_calls) } else { shape };
            let width = |(name, width): (&str, i64)| format!("{name} {width}{}", if width > WIDE { "!" } else { "" });
            let widths = layer.widths();
            has_wide |= widths.iter().any(|(_, width)| *width > WIDE);
            let widths: Vec<String> = widths.into_iter().map(width).collect();
            write!(
                f,
                "\n{:>5}  {:<path_width$}  {:<kind_width$}  {:>12}  {:>14}  {output:<OUTPUT_WIDTH$}  {}",
                layer.index,
                path_of(layer),
                layer.kind,
                layer.n_parameters,
                layer.multiply_adds,
                layer.obstacle().unwrap_or_else(|| widths.join(", "))
            )?;
        }
        if has_wide {
            write!(
                f,
                "\n\n! more than {WIDE} values per sample: slow to store and reduce; mean or avg_pool_2_2 say nearly as \
                 much"
            )?;
        }
        Ok(())
    }
}

/// Runs `model` once on `inputs`, such as [`Inputs::zeros`], and lists all its layers.
///
/// Inputs are moved to where the model's weights are. For a model that is prepared for or called in another way there
/// is [`Predictor::layer_outputs`].
///
/// # Errors
/// Inputs that the model does not take.
pub fn layers(model: &dyn Model, inputs: &Inputs) -> Result<Layers, CollectError> {
    Predictor::new(model, [0_usize; 0])?.layer_outputs(inputs)
}

impl Predictor<'_> {
    /// Runs the model once on `inputs`, prepared and called as in [`predict`](Self::predict), and lists all its layers,
    /// whether it listens at them or not.
    ///
    /// # Errors
    /// Inputs that the model does not take.
    pub fn layer_outputs(&self, inputs: impl Into<Inputs>) -> Result<Layers, CollectError> {
        let inputs = inputs.into();
        let n_samples = inputs.n_samples();
        let tree = self.model().tree();
        let (_, recorder) = self.run(inputs, Recorder::calls_of(tree.id()))?;
        let mut calls: BTreeMap<usize, Vec<Call>> = BTreeMap::new();
        for call in recorder.calls.unwrap_or_default() {
            calls.entry(call.node).or_default().push(call);
        }
        let of = |module: &NamedModule| calls.get(&module.node).map_or(&[][..], Vec::as_slice);
        let output = |module: &NamedModule| LayerOutput::new(module, of(module), n_samples);
        Ok(Layers(tree.named_modules().iter().map(output).collect()))
    }
}
