//! Where a layer's output can be listened to.
//!
//! Recording is per thread: a predictor listens on the thread on which it runs the model, so several
//! threads can run clones of one model. While nobody listens a tap costs one thread-local flag.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use tch::Tensor;

thread_local! {
    static LISTENING: Cell<bool> = const { Cell::new(false) };
    static RECORDER: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}

/// A point of a model, registered in a [`Scope`](crate::Scope), that sees one layer's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tap {
    pub(crate) tree: u64,
    pub(crate) node: usize,
}

impl Tap {
    /// Shows `output` to whoever listens, and returns it.
    #[inline]
    pub fn observe(self, output: Tensor) -> Tensor {
        if LISTENING.get() {
            self.record(&output);
        }
        output
    }

    /// Shows a tensor that comes beside the model's output, such as boxes beside class scores; it becomes
    /// [`PredictorOutput::metadata`](crate::PredictorOutput::metadata).
    pub fn note(self, name: &str, tensor: &Tensor) {
        if !LISTENING.get() {
            return;
        }
        RECORDER.with_borrow_mut(|recorder| {
            if let Some(recorder) = recorder.as_mut().filter(|recorder| recorder.tree == self.tree) {
                recorder.notes.insert(name.to_owned(), tensor.shallow_clone());
            }
        });
    }

    /// Tells a summary of a call whose result is not one tensor, or was not shown as one.
    pub(crate) fn called(self, shape: Option<Vec<i64>>, elements: Vec<String>) {
        RECORDER.with_borrow_mut(|recorder| {
            if let Some(recorder) = recorder.as_mut().filter(|recorder| recorder.tree == self.tree)
                && let Some(calls) = &mut recorder.calls
            {
                calls.push(Call { node: self.node, shape, elements });
            }
        });
    }

    #[cold]
    fn record(self, output: &Tensor) {
        RECORDER.with_borrow_mut(|recorder| {
            if let Some(recorder) = recorder.as_mut().filter(|recorder| recorder.tree == self.tree) {
                recorder.record(self.node, output);
            }
        });
    }
}

/// What whoever listens on this thread wants to see of the tree `tree`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Nobody listens, or to another model.
    Nothing,
    /// The outputs of these nodes, ascending.
    Nodes(Vec<usize>),
    /// All calls.
    All,
}

pub(crate) fn wanted(tree: u64) -> Wanted {
    if !LISTENING.get() {
        return Wanted::Nothing;
    }
    RECORDER.with_borrow(|recorder| match recorder {
        Some(recorder) if recorder.tree == tree && recorder.calls.is_some() => Wanted::All,
        Some(recorder) if recorder.tree == tree => {
            Wanted::Nodes((0..recorder.wanted.len()).filter(|&node| recorder.wanted[node]).collect())
        }
        _ => Wanted::Nothing,
    })
}

pub(crate) fn new_tree_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A layer's call, as summaries tell of it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) node: usize,
    /// Of the one tensor that it returned, or of the first of several; `None` if there was none.
    pub(crate) shape: Option<Vec<i64>>,
    /// The elements there are, where none of them was chosen.
    pub(crate) elements: Vec<String>,
}

/// What one forward pass showed.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    tree: u64,
    /// The nodes whose outputs are kept, by node; the last call wins, as with Python's hooks.
    wanted: Vec<bool>,
    pub(crate) outputs: Vec<Option<Tensor>>,
    /// What came beside the model's output, by name.
    pub(crate) notes: BTreeMap<String, Tensor>,
    /// Every call. Kept only for summaries.
    pub(crate) calls: Option<Vec<Call>>,
}

impl Recorder {
    pub(crate) fn outputs_of(tree: u64, n_nodes: usize, nodes: impl IntoIterator<Item = usize>) -> Self {
        let mut wanted = vec![false; n_nodes];
        nodes.into_iter().for_each(|node| wanted[node] = true);
        let outputs = (0..n_nodes).map(|_| None).collect();
        Self { tree, wanted, outputs, notes: BTreeMap::new(), calls: None }
    }

    pub(crate) fn calls_of(tree: u64) -> Self {
        Self { tree, calls: Some(Vec::new()), ..Self::default() }
    }

    fn record(&mut self, node: usize, output: &Tensor) {
        if self.wanted.get(node) == Some(&true) {
            // A second handle on the same storage, not a copy.
            self.outputs[node] = Some(output.shallow_clone());
        }
        if let Some(calls) = &mut self.calls {
            calls.push(Call { node, shape: Some(output.size()), elements: Vec::new() });
        }
    }

    /// Runs `forward` with this recorder listening; whatever listened before does so again afterwards,
    /// also if `forward` panics.
    pub(crate) fn listen<R>(self, forward: impl FnOnce() -> R) -> (R, Recorder) {
        let previous = Listening { recorder: RECORDER.replace(Some(self)), listening: LISTENING.replace(true) };
        let result = forward();
        let recorder = RECORDER.take().unwrap_or_default();
        drop(previous);
        (result, recorder)
    }
}

struct Listening {
    recorder: Option<Recorder>,
    listening: bool,
}

impl Drop for Listening {
    fn drop(&mut self) {
        RECORDER.set(self.recorder.take());
        LISTENING.set(self.listening);
    }
}
