//! Every layer of a model with what it gives and how wide each strategy makes that.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use crate::predictor::run;
use crate::reshape::NAMED;
use crate::tap::Recorder;
use crate::{CollectError, Inputs, Model, Reshape};

/// A layer and what it returned for one input.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// How often one forward pass calls it; where it is 0, nothing can be collected.
    pub n_calls: usize,
    /// The shape of what the last call returned, batch first; empty if there was none.
    pub shape: Vec<i64>,
}

impl LayerOutput {
    /// The named strategies that take this layer's output, with the width of the rows that they make.
    ///
    /// ```
    /// # use tlc_collect::LayerOutput;
    /// # let (path, kind) = ("conv1".to_owned(), "Conv2d".to_owned());
    /// # let (n_parameters, multiply_adds) = (9408, 9408 * 8 * 56 * 56);
    /// let shape = vec![8, 64, 56, 56];
    /// let layer = LayerOutput { index: 1, path, kind, n_parameters, multiply_adds, n_calls: 1, shape };
    /// assert_eq!(layer.widths()[..2], [("mean", 64), ("flatten", 64 * 56 * 56)]);
    /// ```
    pub fn widths(&self) -> Vec<(&'static str, i64)> {
        let Some((_, of_one)) = self.shape.split_first() else { return Vec::new() };
        let shape = [&[1], of_one].concat();
        let Ok(zeros) = Tensor::f_zeros(&shape, (Kind::Float, Device::Cpu)) else { return Vec::new() };
        let width = |name: &'static str| {
            let rows = Reshape::named(name).and_then(|strategy| strategy.apply(self.index, &zeros)).ok()?;
            Some((name, rows.size()[1]))
        };
        NAMED.iter().copied().filter_map(width).collect()
    }
}

/// Runs `model` once on `inputs`, such as [`Inputs::zeros`], and lists all its layers in the order of their indices.
///
/// # Errors
/// Inputs that the model does not take.
pub fn layers(model: &dyn Model, inputs: &Inputs) -> Result<Vec<LayerOutput>, CollectError> {
    let (_, recorder) = run(model, inputs, Recorder::calls_of(model.tree().id()))?;
    let mut seen: BTreeMap<usize, (usize, Vec<i64>)> = BTreeMap::new();
    for (node, shape) in recorder.calls.unwrap_or_default() {
        let (n_calls, last) = seen.entry(node).or_default();
        *n_calls += 1;
        *last = shape;
    }
    let output = |module: &crate::NamedModule| {
        let (n_calls, shape) = seen.get(&module.node).cloned().unwrap_or_default();
        let (path, kind) = (module.path.clone(), module.kind.clone());
        let multiply_adds = module.multiply_adds(&shape).saturating_mul(n_calls as i64);
        LayerOutput {
            index: module.index,
            path,
            kind,
            n_parameters: module.n_parameters,
            multiply_adds,
            n_calls,
            shape,
        }
    };
    Ok(model.tree().named_modules().iter().map(output).collect())
}
