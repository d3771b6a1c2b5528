//! What is collected per sample.

mod classification;
mod embeddings;
mod function;

use tch::{Kind, Tensor};
use tlc_core::{Column, ColumnError};

use crate::memory::reserve;
use crate::{Batch, CollectError, PredictorOutput};

pub use classification::{ClassificationMetrics, Labels};
pub use embeddings::EmbeddingsMetricsCollector;
pub use function::MetricsFn;

/// Computes columns of a metrics table, batch by batch.
///
/// It gives the same columns for every batch, one value per sample.
pub trait MetricsCollector {
    /// The columns of this batch.
    ///
    /// # Errors
    /// A batch or output that it cannot work on.
    fn collect(&mut self, batch: &Batch, output: &PredictorOutput) -> Result<Vec<Column>, CollectError>;

    /// What lineage says about it: its name and settings.
    fn describe(&self) -> serde_json::Value;
}

/// What a collector made is no column.
fn no_column(error: ColumnError) -> CollectError {
    CollectError::Data { what: error.to_string() }
}

/// The values of `tensor` in memory, as `kind`.
fn host<T: tch::kind::Element + Copy + Default>(
    tensor: &Tensor,
    kind: Kind,
    action: &str,
) -> Result<Vec<T>, CollectError> {
    let failed = |error: tch::TchError| CollectError::torch(action, error);
    // Before libtorch copies what may be a view of few values repeated.
    let n = tensor.numel();
    let mut values = reserve(n, || format!("{action}, {:?}", tensor.size()))?;
    let tensor = tensor.f_to_kind(kind).map_err(failed)?.f_contiguous().map_err(failed)?;
    values.resize(n, T::default());
    tensor.f_copy_data(&mut values, n).map_err(failed)?;
    Ok(values)
}
