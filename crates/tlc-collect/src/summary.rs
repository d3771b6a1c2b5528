//! A table of a model's layers as torchinfo prints it, with the index that selects each.

use std::collections::BTreeMap;
use std::fmt;

use crate::tap::Recorder;
use crate::{CollectError, Inputs, Model, Predictor};

/// Layers deeper than this are counted with the one above, as in torchinfo.
const MAX_DEPTH: usize = 3;
const NAME_WIDTH: usize = 40;
const COLUMN_WIDTH: usize = 25;
const INDEX_WIDTH: usize = 7;

/// One line of a [`Summary`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSummary {
    /// The layer's index in `named_modules()`.
    pub index: usize,
    /// Its dotted path.
    pub path: String,
    /// Its class.
    pub kind: String,
    /// Its depth; 0 for the model itself.
    pub depth: usize,
    /// torchinfo's running number among the layers of this depth, in order of execution.
    pub depth_index: usize,
    /// The shape of its output, batch first; empty if it returned no tensor, of several that of the first.
    pub output_shape: Vec<i64>,
    /// Its parameters; those of layers too deep to be shown are counted here.
    pub n_parameters: i64,
}

/// The layers of a model in order of execution, with output shapes and numbers of parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The lines, the model itself first.
    pub layers: Vec<LayerSummary>,
    /// All parameters of the model. Those of a layer that is called several times, or known under several names, count
    /// once, as in torchinfo.
    pub total_parameters: i64,
    /// Multiplications with additions of all calls of layers without layers of their own.
    pub total_multiply_adds: i64,
}

/// Runs `model` once on `inputs`, such as [`Inputs::zeros`], and describes its layers.
///
/// Displayed by `{}`, it is what Python's `torchinfo.summary` prints; by `{:#}` with one more column, the index to
/// collect from. Layers that did not run are left out, and those that ran several times are there once. Inputs are
/// moved to where the model's weights are. For a model that is prepared for or called in another way there is
/// [`Predictor::summary`]; [`layers`](crate::layers()) tells how wide embeddings would be.
///
/// # Errors
/// Inputs that the model does not take.
pub fn summary(model: &dyn Model, inputs: &Inputs) -> Result<Summary, CollectError> {
    Predictor::new(model, [0_usize; 0])?.summary(inputs)
}

impl Predictor<'_> {
    /// Runs the model once on `inputs`, prepared and called as in [`predict`](Self::predict), and describes its layers.
    ///
    /// # Errors
    /// Inputs that the model does not take.
    pub fn summary(&self, inputs: impl Into<Inputs>) -> Result<Summary, CollectError> {
        let (_, recorder) = self.run(inputs.into(), Recorder::calls_of(self.model().tree().id()))?;
        Ok(summarise(self.model(), recorder))
    }
}

fn summarise(model: &dyn Model, recorder: Recorder) -> Summary {
    let tree = model.tree();
    let modules = tree.named_modules();
    let index_of: BTreeMap<usize, usize> = modules.iter().map(|module| (module.node, module.index)).collect();
    let mut shapes: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
    let mut first_call: BTreeMap<usize, usize> = BTreeMap::new();
    let mut total_multiply_adds = 0_i64;
    for (time, call) in recorder.calls.unwrap_or_default().into_iter().enumerate() {
        let index = index_of[&call.node];
        let shape = call.shape.unwrap_or_default();
        let is_leaf = modules.get(index + 1).is_none_or(|next| next.depth <= modules[index].depth);
        if is_leaf {
            total_multiply_adds = total_multiply_adds.saturating_add(modules[index].multiply_adds(&shape));
        }
        shapes.insert(index, shape);
        first_call.entry(index).or_insert(time);
    }
    let children = |parent: usize| {
        let depth = modules[parent].depth;
        let below = modules[parent + 1..].iter().take_while(move |module| module.depth > depth);
        below.filter(move |module| module.depth == depth + 1).map(|module| module.index)
    };
    // A container reports after its children, so it began when the first layer in it ran.
    let began = |index: usize| {
        let depth = modules[index].depth;
        let below = modules[index + 1..].iter().take_while(move |module| module.depth > depth);
        below.filter_map(|module| first_call.get(&module.index)).chain(first_call.get(&index)).min().copied()
    };
    let parameters_below = tree.parameters_below();
    let mut counters = [0; MAX_DEPTH + 1];
    let mut layers = Vec::new();
    let mut stack = vec![0];
    while let Some(index) = stack.pop() {
        let module = &modules[index];
        if module.depth < MAX_DEPTH {
            let mut called: Vec<(usize, usize)> =
                children(index).filter_map(|child| Some((began(child)?, child))).collect();
            called.sort_unstable();
            stack.extend(called.into_iter().rev().map(|(_, child)| child));
        }
        counters[module.depth] += 1;
        layers.push(LayerSummary {
            index,
            path: module.path.clone(),
            kind: module.kind.clone(),
            depth: module.depth,
            depth_index: counters[module.depth],
            output_shape: shapes.get(&index).cloned().unwrap_or_default(),
            n_parameters: if module.depth == MAX_DEPTH { parameters_below[&index] } else { module.n_parameters },
        });
    }
    Summary { layers, total_parameters: parameters_below[&0], total_multiply_adds }
}

impl Summary {
    fn name(layer: &LayerSummary) -> String {
        match layer.depth {
            0 => layer.kind.clone(),
            1 => format!("├─{}: 1-{}", layer.kind, layer.depth_index),
            depth => format!("{}└─{}: {depth}-{}", "│    ".repeat(depth - 1), layer.kind, layer.depth_index),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.layers.iter().map(Summary::name).collect();
        let name_width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(NAME_WIDTH);
        let with_index = f.alternate();
        let rule = "=".repeat(name_width + 2 * COLUMN_WIDTH + if with_index { INDEX_WIDTH } else { 0 });
        let line = |f: &mut fmt::Formatter<'_>, name: &str, shape: &str, parameters: &str, index: &str| {
            let text = format!("{name:<name_width$} {shape:<COLUMN_WIDTH$} {parameters}");
            if with_index {
                let before = name_width + 2 * COLUMN_WIDTH;
                return writeln!(f, "{text:<before$}{index:>INDEX_WIDTH$}");
            }
            writeln!(f, "{}", text.trim_end())
        };
        writeln!(f, "{rule}")?;
        line(f, "Layer (type:depth-idx)", "Output Shape", "Param #", "Index")?;
        writeln!(f, "{rule}")?;
        for (layer, name) in self.layers.iter().zip(&names) {
            let parameters = if layer.n_parameters > 0 { with_thousands(layer.n_parameters) } else { "--".to_owned() };
            line(f, name, &format!("{:?}", layer.output_shape), &parameters, &layer.index.to_string())?;
        }
        writeln!(f, "{rule}")?;
        writeln!(f, "Total params: {}", with_thousands(self.total_parameters))?;
        let (unit, size) = [("T", 1e12), ("G", 1e9), ("M", 1e6)]
            .into_iter()
            .find(|(_, size)| self.total_multiply_adds as f64 >= *size)
            .unwrap_or(("k", 1e3));
        writeln!(f, "Total mult-adds ({unit}): {:.2}", self.total_multiply_adds as f64 / size)?;
        write!(f, "{rule}")
    }
}

fn with_thousands(n: i64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
