//! Labels, and per-sample metrics of a classifier.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{BooleanArray, Float32Array, Int64Array};
use arrow_schema::{DataType, Field};
use tch::Kind;
use tlc_core::{Column, FieldRoles, NumberRole};

use super::{MetricsCollector, host};
use crate::{Batch, CollectError, PredictorOutput};

/// Makes the columns `label`, `prediction`, `loss` (cross entropy, in nats), `confidence` (probability
/// of the predicted class), `entropy` (of the predicted distribution, in nats), `margin` (probability of the
/// predicted class less that of the next) and `correct` from the model's output, taken as logits `(B, classes)`.
#[derive(Debug, Clone, Default)]
pub struct ClassificationMetrics {
    class_names: BTreeMap<i64, String>,
}

impl ClassificationMetrics {
    /// With names for classes 0, 1, …; none is fine.
    pub fn new(class_names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { class_names: (0..).zip(class_names.into_iter().map(Into::into)).collect() }
    }
}

/// Makes the column `label` alone, of models that do not give logits of the labels' classes.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    class_names: BTreeMap<i64, String>,
}

impl Labels {
    /// With names for classes 0, 1, …; none is fine.
    pub fn new(class_names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { class_names: (0..).zip(class_names.into_iter().map(Into::into)).collect() }
    }
}

impl MetricsCollector for Labels {
    fn collect(&mut self, batch: &Batch, _output: &PredictorOutput) -> Result<Vec<Column>, CollectError> {
        let values = label_values(batch)?;
        Ok(vec![class_column("label", NumberRole::Label, values, &self.class_names)])
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::json!("labels")
    }
}

fn class_column(name: &str, role: NumberRole, values: Vec<i64>, class_names: &BTreeMap<i64, String>) -> Column {
    let mut field = Field::new(name, DataType::Int64, true).with_role(role);
    if !class_names.is_empty() {
        field = field.with_value_map(class_names);
    }
    Column { field, values: Arc::new(Int64Array::from(values)) }
}

fn label_values(batch: &Batch) -> Result<Vec<i64>, CollectError> {
    let what = "labels are asked for, and the batch has none".to_owned();
    let labels = batch.labels.as_ref().ok_or(CollectError::Data { what })?;
    host(labels, Kind::Int64, "copy labels to memory")
}

impl MetricsCollector for ClassificationMetrics {
    fn collect(&mut self, batch: &Batch, output: &PredictorOutput) -> Result<Vec<Column>, CollectError> {
        let labels = batch.labels.as_ref().ok_or_else(|| CollectError::Data {
            what: "classification metrics need labels, and the batch has none".to_owned(),
        })?;
        let (logits, n) = (&output.forward, labels.size());
        let shape = logits.size();
        if shape.len() != 2 || n != shape[..1] {
            let what = format!("the model's output is {shape:?} for labels {n:?}; logits (batch, classes) are needed");
            return Err(CollectError::Data { what });
        }
        let label_values = label_values(batch)?;
        if let Some(label) = label_values.iter().find(|&&label| !(0..shape[1]).contains(&label)) {
            let what = format!("a label is {label}; the model has classes 0 to {}", shape[1] - 1);
            return Err(CollectError::Data { what });
        }
        let failed = |error: tch::TchError| CollectError::torch("compute classification metrics", error);
        let log_probabilities = logits.f_log_softmax(1, Kind::Float).map_err(failed)?;
        let (best, prediction) = log_probabilities.f_max_dim(1, false).map_err(failed)?;
        // 0 where a class is impossible.
        let entropy = log_probabilities
            .exp()
            .f_special_entr()
            .and_then(|terms| terms.f_sum_dim_intlist(1, false, Kind::Float))
            .map_err(failed)?;
        let n_best = shape[1].min(2);
        let (two_best, _) = log_probabilities.f_topk(n_best, 1, true, true).map_err(failed)?;
        let two_best = two_best.exp();
        // Of a single class there is no next.
        let margin =
            two_best.select(1, 0) - if n_best == 2 { two_best.select(1, 1) } else { two_best.select(1, 0) * 0.0 };
        let column = labels.to_device(logits.device()).f_unsqueeze(1).map_err(failed)?;
        let loss = log_probabilities.f_gather(1, &column, false).and_then(|x| x.f_squeeze_dim(1)).map_err(failed)?;
        let predictions: Vec<i64> = host(&prediction, Kind::Int64, "copy predictions to memory")?;
        let correct: BooleanArray =
            label_values.iter().zip(&predictions).map(|(label, prediction)| Some(label == prediction)).collect();
        let float = |name: &str, values: Vec<f32>| Column {
            field: Field::new(name, DataType::Float32, true),
            values: Arc::new(Float32Array::from(values)),
        };
        let with_role = |column: Column, role| Column { field: column.field.with_role(role), ..column };
        let loss = host(&-loss, Kind::Float, "copy losses to memory")?;
        let entropy = host(&entropy, Kind::Float, "copy entropies to memory")?;
        let margin = host(&margin, Kind::Float, "copy margins to memory")?;
        let confidence = host(&best.exp(), Kind::Float, "copy confidences to memory")?;
        Ok(vec![
            class_column("label", NumberRole::Label, label_values, &self.class_names),
            class_column("prediction", NumberRole::Prediction, predictions, &self.class_names),
            with_role(float("loss", loss), NumberRole::Loss),
            with_role(float("confidence", confidence), NumberRole::Confidence),
            float("entropy", entropy),
            float("margin", margin),
            Column { field: Field::new("correct", DataType::Boolean, true), values: Arc::new(correct) },
        ])
    }

    fn describe(&self) -> serde_json::Value {
        serde_json::json!("classification")
    }
}
