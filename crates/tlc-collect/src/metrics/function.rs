//! Columns from a closure.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float32Array, Int64Array};
use arrow_schema::{DataType, Field};
use tch::{Kind, Tensor};
use tlc_core::{Column, NumberRole};

use super::{MetricsCollector, host, no_column};
use crate::{Batch, CollectError, PredictorOutput};

type Function = dyn FnMut(&Batch, &PredictorOutput) -> Result<Vec<(String, Tensor)>, CollectError>;

/// Makes columns from the tensors that a closure returns, by name.
///
/// `(B,)` becomes a column of float32, int64 or booleans, `(B, D)` one of vectors of float32. A column's role, value
/// map and other metadata are those of the field that [`field`](Self::field) gave for it.
///
/// ```
/// use tlc_collect::MetricsFn;
///
/// let largest_logit = MetricsFn::new("largest logit", |_batch, output| {
///     Ok(vec![("largest_logit".to_owned(), output.forward.amax([1_i64].as_slice(), false))])
/// });
/// ```
pub struct MetricsFn {
    name: String,
    function: Box<Function>,
    fields: BTreeMap<String, Field>,
}

impl fmt::Debug for MetricsFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsFn").field("name", &self.name).field("fields", &self.fields).finish_non_exhaustive()
    }
}

impl MetricsFn {
    /// A collector of what `function` returns; `name` is what lineage and errors call it.
    pub fn new(
        name: &str,
        function: impl FnMut(&Batch, &PredictorOutput) -> Result<Vec<(String, Tensor)>, CollectError> + 'static,
    ) -> Self {
        Self { name: name.to_owned(), function: Box::new(function), fields: BTreeMap::new() }
    }

    /// With what the table's schema says of the column that is called as `field`.
    #[must_use]
    pub fn field(mut self, field: Field) -> Self {
        self.fields.insert(field.name().clone(), field);
        self
    }

    fn column(&self, name: String, tensor: &Tensor, n: usize) -> Result<Column, CollectError> {
        let refused = |what: String| CollectError::Data { what: format!("{} made {name:?}: {what}", self.name) };
        let shape = tensor.size();
        if shape.is_empty() || shape.len() > 2 || shape[0] as usize != n {
            return Err(refused(format!("it is {shape:?}; ({n},) or ({n}, width) is needed")));
        }
        let kind = tensor.kind();
        let is_float = matches!(kind, Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16);
        let is_whole = matches!(kind, Kind::Uint8 | Kind::Int8 | Kind::Int16 | Kind::Int | Kind::Int64);
        let action = format!("copy {name:?} to memory");
        let mut column = if shape.len() == 2 {
            let values = host(tensor, Kind::Float, &action)?;
            Column::embedding(name.clone(), shape[1] as usize, values, NumberRole::NnEmbedding).map_err(no_column)?
        } else {
            let (data_type, values): (DataType, ArrayRef) = if is_float {
                (DataType::Float32, Arc::new(Float32Array::from(host::<f32>(tensor, Kind::Float, &action)?)))
            } else if is_whole {
                (DataType::Int64, Arc::new(Int64Array::from(host::<i64>(tensor, Kind::Int64, &action)?)))
            } else if kind == Kind::Bool {
                let values: Vec<i64> = host(tensor, Kind::Int64, &action)?;
                (DataType::Boolean, Arc::new(BooleanArray::from_iter(values.into_iter().map(|value| Some(value != 0)))))
            } else {
                return Err(refused(format!("its type is {kind:?}; numbers or booleans are needed")));
            };
            Column { field: Field::new(&name, data_type, true), values }
        };
        if let Some(declared) = self.fields.get(&name) {
            if declared.data_type() != column.field.data_type() {
                let (found, expected) = (column.field.data_type(), declared.data_type());
                return Err(refused(format!("its type is {found}, and its field says {expected}")));
            }
            column.field = declared.clone();
        }
        Ok(column)
    }
}

impl MetricsCollector for MetricsFn {
    fn collect(&mut self, batch: &Batch, output: &PredictorOutput) -> Result<Vec<Column>, CollectError> {
        let n = batch.inputs.n_samples();
        let tensors = (self.function)(batch, output)?;
        tensors.into_iter().map(|(name, tensor)| self.column(name, &tensor, n)).collect()
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::json!({ "function": self.name })
    }
}
