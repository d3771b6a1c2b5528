//! Samples to run a model on, in a fixed order.

use std::ops::Range;

use tch::{Device, Kind, Tensor};
use tlc_core::LineageInput;

use crate::CollectError;

/// Some samples.
#[derive(Debug)]
pub struct Batch {
    /// What the model takes, batch first.
    pub inputs: Tensor,
    /// Class indices, `(B,)` of int64, if there are any.
    pub labels: Option<Tensor>,
}

/// Samples by number. The number of a sample is its `example_id`.
pub trait Dataset {
    /// How many samples there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The samples of `rows`, in order.
    ///
    /// # Errors
    /// Samples that cannot be read.
    fn batch(&self, rows: Range<usize>) -> Result<Batch, CollectError>;

    /// The table whose rows the samples are, with an absolute URL.
    fn table(&self) -> Option<&LineageInput>;
}

/// Samples in memory: images as bytes, normalised batch by batch, or any inputs as they are.
#[derive(Debug)]
pub struct TensorDataset {
    inputs: Tensor,
    labels: Option<Tensor>,
    /// Mean and standard deviation by which bytes are normalised.
    normalise: Option<(f64, f64)>,
    table: Option<LineageInput>,
}

impl TensorDataset {
    /// `images` is `(n, C, H, W)` of bytes, `labels` `(n,)` of int64. A batch's inputs are
    /// `(image / 255 - mean) / std`.
    ///
    /// # Errors
    /// Shapes or types that do not fit.
    pub fn new(
        images: Tensor,
        labels: Tensor,
        (mean, std): (f64, f64),
        table: Option<LineageInput>,
    ) -> Result<Self, CollectError> {
        let (shape, n) = (images.size(), labels.size());
        if shape.len() != 4 || images.kind() != Kind::Uint8 || n != shape[..1] || labels.kind() != Kind::Int64 {
            let what = format!(
                "images are {shape:?} of {:?} and labels {n:?} of {:?}; (n, C, H, W) of Uint8 and (n,) of Int64 are needed",
                images.kind(),
                labels.kind()
            );
            return Err(CollectError::Data { what });
        }
        if std.is_nan() || std <= 0.0 {
            return Err(CollectError::Data { what: format!("std is {std}; a positive number is needed") });
        }
        Ok(Self { inputs: images, labels: Some(labels), normalise: Some((mean, std)), table })
    }

    /// `inputs` is what the model takes, batch first; `labels`, if there are any, `(n,)` of int64.
    ///
    /// # Errors
    /// Shapes or types that do not fit.
    pub fn of_inputs(
        inputs: Tensor,
        labels: Option<Tensor>,
        table: Option<LineageInput>,
    ) -> Result<Self, CollectError> {
        let shape = inputs.size();
        if shape.is_empty() || shape[0] == 0 {
            return Err(CollectError::Data {
                what: format!("the inputs are {shape:?}; (n, …) is needed, n at least 1"),
            });
        }
        if let Some(labels) = &labels
            && (labels.size() != shape[..1] || labels.kind() != Kind::Int64)
        {
            let (found, kind, n) = (labels.size(), labels.kind(), shape[0]);
            return Err(CollectError::Data {
                what: format!("labels are {found:?} of {kind:?}; ({n},) of Int64 is needed"),
            });
        }
        Ok(Self { inputs, labels, normalise: None, table })
    }

    /// The samples with these numbers, in this order, on `device`.
    pub fn select(&self, rows: &[i64], device: Device) -> Batch {
        let rows = Tensor::from_slice(rows);
        let labels = self.labels.as_ref().map(|labels| labels.index_select(0, &rows).to_device(device));
        Batch { inputs: self.normalised(self.inputs.index_select(0, &rows).to_device(device)), labels }
    }

    fn normalised(&self, inputs: Tensor) -> Tensor {
        match self.normalise {
            Some((mean, std)) => (inputs.to_kind(Kind::Float) / 255.0 - mean) / std,
            None => inputs,
        }
    }
}

impl Dataset for TensorDataset {
    fn len(&self) -> usize {
        self.inputs.size()[0] as usize
    }

    fn batch(&self, rows: Range<usize>) -> Result<Batch, CollectError> {
        let narrow = |tensor: &Tensor| tensor.narrow(0, rows.start as i64, rows.len() as i64);
        Ok(Batch { inputs: self.normalised(narrow(&self.inputs)), labels: self.labels.as_ref().map(narrow) })
    }

    fn table(&self) -> Option<&LineageInput> {
        self.table.as_ref()
    }
}
