//! A fitted model as files: a JSON document and a safetensors file.
//!
//! The document names the reducer with its parameters and the size and digest of the arrays; both
//! are checked before anything is allocated or used. No pickle, no code.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ndarray::{ArrayD, IxDyn};
use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use crate::plugin::{PluginKind, plugins, reducer_from_json};
use crate::{FittedReducer, ReduceError, digest};

/// The name of a model's document.
pub const MODEL_DOCUMENT: &str = "model.json";
const ARRAYS_FILE: &str = "arrays.safetensors";
const FORMAT: &str = "tlc.model/1";

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    /// Its name in the model's folder.
    pub name: &'static str,
    /// Its content.
    pub content: Vec<u8>,
}

/// An array of a model.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Array {
    /// 32-bit floats.
    F32(ArrayD<f32>),
    /// 64-bit floats.
    F64(ArrayD<f64>),
    /// Unsigned 32-bit integers.
    U32(ArrayD<u32>),
}

/// The named arrays of a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Arrays(BTreeMap<String, Array>);

impl Arrays {
    /// The arrays with one more.
    #[must_use]
    pub fn with(mut self, name: &str, array: Array) -> Self {
        self.0.insert(name.to_owned(), array);
        self
    }

    /// The arrays with one more of 32-bit floats.
    #[must_use]
    pub fn with_f32<D: ndarray::Dimension>(self, name: &str, array: &ndarray::Array<f32, D>) -> Self {
        self.with(name, Array::F32(array.clone().into_dyn()))
    }

    /// Whether there is an array of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Takes an array of 32-bit floats out.
    ///
    /// # Errors
    /// If it is missing, of another type, not of `D` dimensions, or holds NaN or infinity.
    pub fn take_f32<D: ndarray::Dimension>(&mut self, name: &str) -> Result<ndarray::Array<f32, D>, ReduceError> {
        match self.0.remove(name) {
            Some(Array::F32(array)) if !array.iter().all(|value| value.is_finite()) => {
                Err(ReduceError::model(format!("array {name:?} holds values that are not finite")))
            }
            Some(Array::F32(array)) => array
                .into_dimensionality()
                .map_err(|_| ReduceError::model(format!("array {name:?} has the wrong number of dimensions"))),
            Some(_) => Err(ReduceError::model(format!("array {name:?} does not hold 32-bit floats"))),
            None => Err(ReduceError::model(format!("array {name:?} is missing"))),
        }
    }

    /// Takes an array of unsigned 32-bit integers out.
    ///
    /// # Errors
    /// If it is missing, of another type, or not of `D` dimensions.
    pub fn take_u32<D: ndarray::Dimension>(&mut self, name: &str) -> Result<ndarray::Array<u32, D>, ReduceError> {
        match self.0.remove(name) {
            Some(Array::U32(array)) => array
                .into_dimensionality()
                .map_err(|_| ReduceError::model(format!("array {name:?} has the wrong number of dimensions"))),
            Some(_) => Err(ReduceError::model(format!("array {name:?} does not hold unsigned 32-bit integers"))),
            None => Err(ReduceError::model(format!("array {name:?} is missing"))),
        }
    }

    fn to_safetensors(&self) -> Result<Vec<u8>, ReduceError> {
        let views = self.0.iter().map(|(name, array)| (name.as_str(), ArrayView(array)));
        safetensors::serialize(views, None).map_err(|error| ReduceError::backend("write the model's arrays", error))
    }

    fn from_safetensors(bytes: &[u8]) -> Result<Self, ReduceError> {
        let tensors =
            SafeTensors::deserialize(bytes).map_err(|error| ReduceError::backend("read the model's arrays", error))?;
        let mut arrays = BTreeMap::new();
        for (name, tensor) in tensors.iter() {
            let shape = IxDyn(tensor.shape());
            let array = match tensor.dtype() {
                Dtype::F32 => Array::F32(from_le(shape, tensor.data(), f32::from_le_bytes)?),
                Dtype::F64 => Array::F64(from_le(shape, tensor.data(), f64::from_le_bytes)?),
                Dtype::U32 => Array::U32(from_le(shape, tensor.data(), u32::from_le_bytes)?),
                other => return Err(ReduceError::model(format!("array {name:?} has the unknown type {other:?}"))),
            };
            arrays.insert(name.to_owned(), array);
        }
        Ok(Self(arrays))
    }
}

fn from_le<T, const N: usize>(
    shape: IxDyn,
    bytes: &[u8],
    convert: impl Fn([u8; N]) -> T,
) -> Result<ArrayD<T>, ReduceError> {
    let (values, _) = bytes.as_chunks::<N>();
    ArrayD::from_shape_vec(shape, values.iter().map(|&value| convert(value)).collect())
        .map_err(|error| ReduceError::backend("read the model's arrays", error))
}

struct ArrayView<'a>(&'a Array);

impl View for ArrayView<'_> {
    fn dtype(&self) -> Dtype {
        match self.0 {
            Array::F32(_) => Dtype::F32,
            Array::F64(_) => Dtype::F64,
            Array::U32(_) => Dtype::U32,
        }
    }

    fn shape(&self) -> &[usize] {
        match self.0 {
            Array::F32(array) => array.shape(),
            Array::F64(array) => array.shape(),
            Array::U32(array) => array.shape(),
        }
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(match self.0 {
            Array::F32(array) => array.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Array::F64(array) => array.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Array::U32(array) => array.iter().flat_map(|value| value.to_le_bytes()).collect(),
        })
    }

    fn data_len(&self) -> usize {
        let item = if matches!(self.0, Array::F64(_)) { 8 } else { 4 };
        self.shape().iter().product::<usize>() * item
    }
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: String,
    /// The reducer's parameters under its tag.
    reducer: serde_json::Value,
    /// Whose reducer it is, for those who have not linked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made_by: Option<MadeBy>,
    n_features: usize,
    arrays: FileEntry,
}

#[derive(Clone, Serialize, Deserialize)]
struct MadeBy {
    #[serde(rename = "crate")]
    crate_name: String,
    version: String,
}

impl MadeBy {
    /// The crate that announced the tag of a serialised reducer.
    fn of(reducer: &serde_json::Value) -> Option<Self> {
        let tag = reducer.get("type")?.as_str()?;
        let info = plugins().into_iter().find(|plugin| plugin.kind == PluginKind::Reducer && plugin.tag == tag)?;
        Some(Self { crate_name: info.crate_name.to_owned(), version: info.crate_version.to_owned() })
    }
}

#[derive(Serialize, Deserialize)]
struct FileEntry {
    file: String,
    bytes: usize,
    digest: String,
}

/// The files of a fitted model, the document last.
///
/// A model's folder is complete once its document is there, so writers keep this order.
///
/// # Errors
/// If the arrays cannot be encoded.
pub fn encode_model(fitted: &dyn FittedReducer) -> Result<[ModelFile; 2], ReduceError> {
    let content = fitted.to_arrays().to_safetensors()?;
    let reducer = serde_json::to_value(fitted.reducer())
        .map_err(|error| ReduceError::backend("write the reducer's parameters", error))?;
    let document = Document {
        format: FORMAT.to_owned(),
        made_by: MadeBy::of(&reducer),
        reducer,
        n_features: fitted.n_features(),
        arrays: FileEntry { file: ARRAYS_FILE.to_owned(), bytes: content.len(), digest: digest::of_bytes(&content) },
    };
    let document = serde_json::to_vec_pretty(&document)
        .map_err(|error| ReduceError::backend("write the model's document", error))?;
    Ok([ModelFile { name: ARRAYS_FILE, content }, ModelFile { name: MODEL_DOCUMENT, content: document }])
}

/// The fitted model whose document is `document`; `read` gives the content of its other files.
///
/// # Errors
/// An unknown format or reducer, a file whose size or digest differs, arrays that do not fit.
pub fn decode_model(
    document: &[u8],
    read: impl FnOnce(&str) -> Result<Vec<u8>, ReduceError>,
) -> Result<Box<dyn FittedReducer>, ReduceError> {
    let document = Document::read(document)?;
    // Whose crate is missing is said before large arrays are read.
    let reducer = reducer_from_json(document.reducer.clone()).map_err(|source| match document.made_by.clone() {
        Some(MadeBy { crate_name, version }) => ReduceError::Restore { crate_name, crate_version: version, source },
        None => ReduceError::backend("restore the model's reducer", source),
    })?;
    let content = document.arrays(read)?;
    let fitted = reducer.restore(Arrays::from_safetensors(&content)?)?;
    if fitted.n_features() != document.n_features {
        let reason = format!("it takes {} features, its document says {}", fitted.n_features(), document.n_features);
        return Err(ReduceError::model(reason));
    }
    Ok(fitted)
}

/// Whether a model's files are those that were written; its reducer need not be linked.
///
/// # Errors
/// As [`decode_model`], without what the reducer says.
pub fn verify_model(
    document: &[u8],
    read: impl FnOnce(&str) -> Result<Vec<u8>, ReduceError>,
) -> Result<(), ReduceError> {
    Document::read(document)?.arrays(read).map(|_| ())
}

impl Document {
    fn read(document: &[u8]) -> Result<Self, ReduceError> {
        let document: Self = serde_json::from_slice(document)
            .map_err(|error| ReduceError::backend("read the model's document", error))?;
        if document.format != FORMAT {
            let reason = format!("its format is {:?}; this version reads {FORMAT:?}", document.format);
            return Err(ReduceError::model(reason));
        }
        if document.arrays.file != ARRAYS_FILE {
            let found = &document.arrays.file;
            return Err(ReduceError::model(format!("its arrays are in {found:?} instead of {ARRAYS_FILE:?}")));
        }
        Ok(document)
    }

    /// The content of its file of arrays, if it is what was written.
    fn arrays(&self, read: impl FnOnce(&str) -> Result<Vec<u8>, ReduceError>) -> Result<Vec<u8>, ReduceError> {
        let content = read(ARRAYS_FILE)?;
        let found = (content.len(), digest::of_bytes(&content));
        if found.0 != self.arrays.bytes || found.1 != self.arrays.digest {
            let written = (self.arrays.bytes, &self.arrays.digest);
            let reason = format!("{ARRAYS_FILE} has {found:?} bytes and digest, {written:?} were written");
            return Err(ReduceError::model(reason));
        }
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_survive_their_file() {
        let arrays = Arrays::default()
            .with("f", Array::F32(ArrayD::from_shape_vec(IxDyn(&[2, 2]), vec![1.0, f32::NAN, -0.0, 4.0]).expect("2x2")))
            .with("u", Array::U32(ArrayD::from_shape_vec(IxDyn(&[3]), vec![1, 2, u32::MAX]).expect("3")))
            .with("d", Array::F64(ArrayD::zeros(IxDyn(&[0, 5]))));
        let bytes = arrays.to_safetensors().expect("valid");
        let read = Arrays::from_safetensors(&bytes).expect("valid");
        assert_eq!(format!("{read:?}"), format!("{arrays:?}"));
        assert!(Arrays::from_safetensors(&bytes[..bytes.len() - 1]).is_err(), "a cut file is refused");
    }
}
