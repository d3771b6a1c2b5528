//! Panics of what users and tch write, as errors: tch's modules panic on libtorch's errors.

use std::cell::Cell;
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::ModuleTree;
use crate::tap::Tap;

thread_local! {
    /// The innermost layer that the last panic of this thread came out of.
    static LEFT_BY_PANIC: Cell<Option<Tap>> = const { Cell::new(None) };
}

/// Marks that a layer runs. Only a panic drops it, so that a call that returns pays nothing.
pub(crate) struct InLayer(Tap);

impl InLayer {
    pub(crate) fn enter(tap: Tap) -> Self {
        Self(tap)
    }

    pub(crate) fn leave(self) {
        forget(self);
    }
}

impl Drop for InLayer {
    fn drop(&mut self) {
        // Unwinding goes from the inside out.
        LEFT_BY_PANIC.set(LEFT_BY_PANIC.get().or(Some(self.0)));
    }
}

/// What `work` returns, or the text of its panic: tch's methods panic on libtorch's errors.
pub(crate) fn catch_panic<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        text.unwrap_or_else(|| "a panic without a message".to_owned())
    })
}

/// As [`catch_panic`], of a model's forward pass: what libtorch said, and the layer of `tree` that it came from.
pub(crate) fn catch_panic_in_layer<R>(tree: &ModuleTree, work: impl FnOnce() -> R) -> Result<R, String> {
    LEFT_BY_PANIC.set(None);
    catch_panic(work).map_err(|text| {
        let words = libtorchs_words(&text);
        match LEFT_BY_PANIC.take().and_then(|tap| tree.path_of(tap)) {
            Some(layer) => format!("{words} (in {layer})"),
            None => words,
        }
    })
}

/// What libtorch said, out of the panic of one of tch's modules: `… Err value: Torch("Expected …\nException raised
/// …")`.
fn libtorchs_words(panic: &str) -> String {
    let Some((_, debug)) = panic.split_once("Torch(\"") else { return panic.to_owned() };
    let first_line = debug.split("\\n").next().unwrap_or(debug);
    first_line.trim_end_matches("\")").replace("\\\"", "\"")
}
