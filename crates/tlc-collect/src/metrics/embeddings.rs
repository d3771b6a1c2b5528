//! The activations of layers, as columns.

use std::collections::BTreeMap;

use tch::Kind;
use tlc_core::{Column, NumberRole};

use super::{MetricsCollector, host, no_column};
use crate::{Batch, CollectError, Predictor, PredictorOutput, Reshape};

/// Makes a column `embeddings_{layer}` with the role `nn_embedding` of each of its layers.
///
/// The default strategy is `mean`.
///
/// ```
/// use tlc_collect::{EmbeddingsMetricsCollector, Reshape};
/// let collector = EmbeddingsMetricsCollector::new([10, 11])
///     .reshape(10, Reshape::named("flatten")?)
///     .reshape(11, Reshape::custom("first pixel", |x| x.select(3, 0).select(2, 0)));
/// # Ok::<(), tlc_collect::CollectError>(())
/// ```
#[derive(Debug)]
pub struct EmbeddingsMetricsCollector {
    layers: BTreeMap<usize, Reshape>,
    is_half: bool,
}

impl EmbeddingsMetricsCollector {
    /// Collects these layers, which must be among the predictor's.
    pub fn new(layers: impl IntoIterator<Item = usize>) -> Self {
        Self { layers: layers.into_iter().map(|layer| (layer, Reshape::default())).collect(), is_half: false }
    }

    /// Collects all layers that `predictor` listens at, so that they are named once.
    ///
    /// ```
    /// # use tch::{Device, nn};
    /// # use tlc_collect::{EmbeddingsMetricsCollector, Predictor, models::ResNet};
    /// # let weights = nn::VarStore::new(Device::Cpu);
    /// # let model = ResNet::resnet18(&weights.root(), 1, 10);
    /// let predictor = Predictor::new(&model, ["layer4", "global_pool"])?;
    /// let collector = EmbeddingsMetricsCollector::of(&predictor);
    /// # Ok::<(), tlc_collect::CollectError>(())
    /// ```
    pub fn of(predictor: &Predictor<'_>) -> Self {
        Self::new(predictor.layers())
    }

    /// With another strategy for `layer`, which is added if it is new.
    #[must_use]
    pub fn reshape(mut self, layer: usize, strategy: Reshape) -> Self {
        self.layers.insert(layer, strategy);
        self
    }

    /// Keeps float16 instead of float32: half the room in memory and on disk, three digits, values up to 65,504; larger
    /// ones become infinite and their rows are marked.
    #[must_use]
    pub fn half_precision(mut self) -> Self {
        self.is_half = true;
        self
    }
}

impl MetricsCollector for EmbeddingsMetricsCollector {
    fn collect(&mut self, _batch: &Batch, output: &PredictorOutput) -> Result<Vec<Column>, CollectError> {
        let column = |(&layer, strategy): (&usize, &Reshape)| {
            let activations = output.hidden_layers.get(&layer).ok_or_else(|| CollectError::NotListening {
                layer,
                available: output.hidden_layers.keys().copied().collect(),
            })?;
            let reshaped = strategy.apply(layer, activations)?;
            let width = reshaped.size()[1] as usize;
            let (name, role) = (format!("embeddings_{layer}"), NumberRole::NnEmbedding);
            let action = format!("copy the activations of layer {layer} to memory");
            let made = if self.is_half {
                Column::embedding_f16(name, width, host(&reshaped, Kind::Half, &action)?, role)
            } else {
                Column::embedding(name, width, host(&reshaped, Kind::Float, &action)?, role)
            };
            made.map_err(no_column)
        };
        self.layers.iter().map(column).collect()
    }

    fn describe(&self) -> serde_json::Value {
        let layers: BTreeMap<String, serde_json::Value> =
            self.layers.iter().map(|(layer, strategy)| (layer.to_string(), strategy.to_json())).collect();
        if self.is_half {
            return serde_json::json!({ "embeddings": layers, "half_precision": true });
        }
        serde_json::json!({ "embeddings": layers })
    }
}
