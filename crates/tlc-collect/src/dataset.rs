//! Samples to run a model on, in a fixed order.

use tch::{Device, Kind, Tensor};
use tlc_core::LineageInput;

use crate::{CollectError, Inputs};

/// Some samples.
#[derive(Debug)]
pub struct Batch {
    /// What the model takes, batch first.
    pub inputs: Inputs,
    /// Class indices, `(B,)` of int64, if there are any.
    pub labels: Option<Tensor>,
    /// Which of the samples that were asked for cannot be read and are left out, as places among those, ascending.
    pub skipped: Vec<usize>,
}

impl Batch {
    /// All samples that were asked for.
    pub fn new(inputs: impl Into<Inputs>, labels: Option<Tensor>) -> Self {
        Self { inputs: inputs.into(), labels, skipped: Vec::new() }
    }
}

/// Samples by number. The number of a sample is its `example_id`, and that of its row in the [table](Self::table), if it is
/// of one.
pub trait Dataset {
    /// How many samples there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The samples with these numbers, in this order. It may leave out some that cannot be read, and says which.
    ///
    /// # Errors
    /// Samples that cannot be read, where that is a reason to stop.
    fn batch(&self, rows: &[usize]) -> Result<Batch, CollectError>;

    /// Itself, if another thread can read its batches while the model runs. Default no: libtorch's tensors are of one
    /// thread at a time.
    fn as_sync(&self) -> Option<&(dyn Dataset + Sync)> {
        None
    }

    /// How much each sample counts, `(n,)`, if they do not count alike; those of weight 0 can be left out.
    fn weights(&self) -> Option<&[f32]> {
        None
    }

    /// The table whose rows the samples are, all of them and in its order, with an absolute URL. What the table has in a
    /// column with the role `example_id` plays no part.
    fn table(&self) -> Option<&LineageInput>;
}

/// Samples in memory: images as bytes, normalised batch by batch, or any inputs as they are.
#[derive(Debug)]
pub struct TensorDataset {
    inputs: Inputs,
    labels: Option<Tensor>,
    weights: Option<Vec<f32>>,
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
        Ok(Self { inputs: images.into(), labels: Some(labels), weights: None, normalise: Some((mean, std)), table })
    }

    /// `inputs` is what the model takes, batch first, `(n, …)` each; `labels`, if there are any, `(n,)` of int64.
    ///
    /// # Errors
    /// Shapes or types that do not fit.
    pub fn of_inputs(
        inputs: impl Into<Inputs>,
        labels: Option<Tensor>,
        table: Option<LineageInput>,
    ) -> Result<Self, CollectError> {
        let inputs = inputs.into();
        let n = inputs.n_samples();
        if n == 0 || inputs.tensors().any(|tensor| tensor.size().first() != Some(&(n as i64))) {
            let what =
                format!("the inputs are {}; (n, …) is needed, n at least 1 and the same for all", inputs.shapes());
            return Err(CollectError::Data { what });
        }
        if let Some(labels) = &labels
            && (labels.size() != [n as i64] || labels.kind() != Kind::Int64)
        {
            let (found, kind) = (labels.size(), labels.kind());
            return Err(CollectError::Data {
                what: format!("labels are {found:?} of {kind:?}; ({n},) of Int64 is needed"),
            });
        }
        Ok(Self { inputs, labels, weights: None, normalise: None, table })
    }

    /// With the table whose rows the samples are.
    #[must_use]
    pub fn with_table(mut self, table: LineageInput) -> Self {
        self.table = Some(table);
        self
    }

    /// With how much each sample counts.
    ///
    /// # Errors
    /// Another number of them than of samples; a negative one or NaN.
    pub fn with_weights(mut self, weights: Vec<f32>) -> Result<Self, CollectError> {
        let n = self.len();
        if weights.len() != n || weights.iter().any(|weight| weight.is_nan() || *weight < 0.0) {
            let what = format!("{} weights for {n} samples; one for each is needed, 0 or more", weights.len());
            return Err(CollectError::Data { what });
        }
        self.weights = Some(weights);
        Ok(self)
    }

    /// The samples with these numbers, in this order, on `device`.
    pub fn select(&self, rows: &[i64], device: Device) -> Batch {
        let rows = Tensor::from_slice(rows);
        let chosen = |tensor: &Tensor| tensor.index_select(0, &rows).to_device(device);
        Batch::new(self.inputs.map(|tensor| self.normalised(chosen(tensor))), self.labels.as_ref().map(chosen))
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
        self.inputs.n_samples()
    }

    fn batch(&self, rows: &[usize]) -> Result<Batch, CollectError> {
        let is_stretch = rows.windows(2).all(|pair| pair[1] == pair[0] + 1);
        if !is_stretch || rows.is_empty() {
            let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
            return Ok(self.select(&rows, self.inputs.device()));
        }
        // Without a copy.
        let narrow = |tensor: &Tensor| tensor.narrow(0, rows[0] as i64, rows.len() as i64);
        let inputs = self.inputs.map(|tensor| self.normalised(narrow(tensor)));
        Ok(Batch::new(inputs, self.labels.as_ref().map(narrow)))
    }

    fn weights(&self) -> Option<&[f32]> {
        self.weights.as_deref()
    }

    fn table(&self) -> Option<&LineageInput> {
        self.table.as_ref()
    }
}
