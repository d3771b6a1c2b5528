//! The C++ side (`cpp/torchscript.cpp`) behind safe types.

#![expect(unsafe_code, reason = "TorchScript graphs can only be rewritten from C++")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{null, null_mut};

use tch::Tensor;
use torch_sys::C_tensor;

unsafe extern "C" {
    fn tlc_ts_free_text(text: *mut c_char);
    fn tlc_ts_load(path: *const c_char, device: c_int, loaded: *mut *mut c_void) -> *mut c_char;
    fn tlc_ts_free_module(module: *mut c_void);
    fn tlc_ts_n_layers(module: *const c_void) -> usize;
    fn tlc_ts_layer(
        module: *const c_void,
        index: usize,
        path: *mut *const c_char,
        kind: *mut *const c_char,
        n_parameters: *mut i64,
    );
    fn tlc_ts_capture(
        module: *const c_void,
        layers: *const usize,
        n_layers: usize,
        capture: *mut *mut c_void,
    ) -> *mut c_char;
    fn tlc_ts_free_capture(capture: *mut c_void);
    fn tlc_ts_run(
        capture: *const c_void,
        inputs: *const *const C_tensor,
        n_inputs: usize,
        names: *const *const c_char,
        named: *const *const C_tensor,
        n_named: usize,
        result: *mut *mut c_void,
    ) -> *mut c_char;
    fn tlc_ts_n_parts(result: *const c_void) -> usize;
    fn tlc_ts_part(
        result: *const c_void,
        at: usize,
        layer: *mut i64,
        call: *mut i64,
        path: *mut *const c_char,
        tensor: *mut *mut C_tensor,
    );
    fn tlc_ts_free_result(result: *mut c_void);
}

/// A layer as the file has it.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) path: String,
    pub(super) kind: String,
    pub(super) n_parameters: i64,
}

/// A tensor within what one call of a layer or the model returned, or the mark that it returned none.
#[derive(Debug)]
pub(super) struct Part {
    /// `None`: of the model's own result.
    pub(super) layer: Option<usize>,
    /// Which call of the layer, from 0.
    pub(super) call: usize,
    /// Where it was in tuples, lists and dictionaries; empty for a result that is a tensor. Without a tensor: the type
    /// of what was returned.
    pub(super) path: String,
    pub(super) tensor: Option<Tensor>,
}

/// A loaded TorchScript module.
#[derive(Debug)]
pub(super) struct Module(*mut c_void);

// SAFETY: after loading the C++ object is only read; libtorch counts references atomically and its modules may run on
// several threads at once.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

impl Module {
    /// `cuda_device`: `None` for the CPU.
    pub(super) fn load(path: &CStr, cuda_device: Option<usize>) -> Result<Self, String> {
        let device = cuda_device.map_or(-1, |number| number as c_int);
        let mut loaded = null_mut();
        // SAFETY: `path` ends with a zero byte; `loaded` is written only on success.
        text_of(unsafe { tlc_ts_load(path.as_ptr(), device, &raw mut loaded) })?;
        Ok(Self(loaded))
    }

    /// The layers in the order of `named_modules()`.
    pub(super) fn layers(&self) -> Vec<Layer> {
        // SAFETY: the module lives as long as `self`.
        let n = unsafe { tlc_ts_n_layers(self.0) };
        (0..n)
            .map(|index| {
                let (mut path, mut kind, mut n_parameters) = (null(), null(), 0);
                // SAFETY: the index is in range; the texts live as long as the module and end with a zero byte.
                unsafe {
                    tlc_ts_layer(self.0, index, &raw mut path, &raw mut kind, &raw mut n_parameters);
                    Layer { path: owned(path), kind: owned(kind), n_parameters }
                }
            })
            .collect()
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: made by `load`, freed once.
        unsafe { tlc_ts_free_module(self.0) }
    }
}

/// A module's `forward` that hands out what some of its layers return.
#[derive(Debug)]
pub(super) struct Capture {
    raw: *mut c_void,
    /// Keeps the module alive as long as the capture.
    _module: std::sync::Arc<Module>,
}

// SAFETY: a capture is not changed by running it; its graph's executor is made for several threads.
unsafe impl Send for Capture {}
// SAFETY: as above.
unsafe impl Sync for Capture {}

impl Capture {
    pub(super) fn new(module: &std::sync::Arc<Module>, layers: &[usize]) -> Result<Self, String> {
        let mut raw = null_mut();
        // SAFETY: the slice is read during the call only; `raw` is written only on success.
        text_of(unsafe { tlc_ts_capture(module.0, layers.as_ptr(), layers.len(), &raw mut raw) })?;
        Ok(Self { raw, _module: module.clone() })
    }

    /// Runs the module; parts of its own result first, then those of the layers, of each in the order of its calls.
    pub(super) fn run(&self, inputs: &[&Tensor], named: &[(CString, &Tensor)]) -> Result<Vec<Part>, String> {
        let inputs: Vec<*const C_tensor> = inputs.iter().map(|tensor| tensor.as_ptr()).collect();
        let names: Vec<*const c_char> = named.iter().map(|(name, _)| name.as_ptr()).collect();
        let named: Vec<*const C_tensor> = named.iter().map(|(_, tensor)| tensor.as_ptr()).collect();
        let mut result = null_mut();
        // SAFETY: all arrays have the lengths given and live during the call; `result` is written only on success.
        text_of(unsafe {
            tlc_ts_run(
                self.raw,
                inputs.as_ptr(),
                inputs.len(),
                names.as_ptr(),
                named.as_ptr(),
                named.len(),
                &raw mut result,
            )
        })?;
        let result = RunResult(result);
        // SAFETY: the result lives until the end of this function.
        let n = unsafe { tlc_ts_n_parts(result.0) };
        Ok((0..n).map(|at| result.part(at)).collect())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once.
        unsafe { tlc_ts_free_capture(self.raw) }
    }
}

struct RunResult(*mut c_void);

impl RunResult {
    fn part(&self, at: usize) -> Part {
        let (mut layer, mut call, mut path, mut tensor) = (0, 0, null(), null_mut());
        // SAFETY: `at` is below the number of parts; the path lives as long as the result.
        let path = unsafe {
            tlc_ts_part(self.0, at, &raw mut layer, &raw mut call, &raw mut path, &raw mut tensor);
            owned(path)
        };
        // SAFETY: a new tensor on the heap, which is ours from now on.
        let tensor = (!tensor.is_null()).then(|| unsafe { Tensor::from_ptr(tensor) });
        Part { layer: usize::try_from(layer).ok(), call: call as usize, path, tensor }
    }
}

impl Drop for RunResult {
    fn drop(&mut self) {
        // SAFETY: made by `tlc_ts_run`, freed once.
        unsafe { tlc_ts_free_result(self.0) }
    }
}

/// The error that a call gave, if it gave one.
fn text_of(error: *mut c_char) -> Result<(), String> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a text on the heap that ends with a zero byte; freed once.
    unsafe {
        let text = owned(error);
        tlc_ts_free_text(error);
        Err(text)
    }
}

/// # Safety
/// `text` ends with a zero byte.
unsafe fn owned(text: *const c_char) -> String {
    // SAFETY: by the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
