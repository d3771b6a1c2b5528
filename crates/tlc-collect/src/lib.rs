//! Collects the activations of any layer of a [`tch`] model, per sample, as table rows.
//!
//! Rust has no forward hooks. Here a model registers its layers in a [`Scope`] while it is built; each
//! registered layer is then a point that a [`Predictor`] can listen at, addressed by its index in
//! [`ModuleTree::named_modules`], exactly as in PyTorch, or by its path. Nothing is recorded, copied or
//! allocated unless somebody listens.
//!
//! ```
//! use tch::{Device, Tensor, nn};
//! use tlc_collect::{EmbeddingsMetricsCollector, MetricsCollector, Predictor, models::ResNet, Batch};
//!
//! let weights = nn::VarStore::new(Device::Cpu);
//! let model = ResNet::resnet18(&weights.root(), 1, 10);
//! let predictor = Predictor::new(&model, ["global_pool"])?;
//! let images = Tensor::zeros([2, 1, 28, 28], (tch::Kind::Float, Device::Cpu));
//! let batch = Batch::new(images, None);
//! let output = predictor.predict(&batch.inputs)?;
//! let columns = EmbeddingsMetricsCollector::of(&predictor).collect(&batch, &output)?;
//! assert_eq!(columns[0].field.name(), "embeddings_90");
//! # Ok::<(), tlc_collect::CollectError>(())
//! ```

mod collect;
mod dataset;
mod error;
mod fn_model;
mod inputs;
mod layers;
mod loader;
mod memory;
mod metrics;
pub mod models;
pub mod modules;
mod panics;
mod predictor;
mod reshape;
mod sequential;
mod summary;
mod tap;
mod torchscript;
mod tree;

pub use collect::{BatchSource, CollectOptions, CollectReport, collect_batches, collect_loader, collect_metrics};
pub use dataset::{Batch, Dataset, TensorDataset};
pub use error::CollectError;
pub use fn_model::FnModel;
pub use inputs::Inputs;
pub use layers::{LayerOutput, Layers, layers};
pub use loader::{DataLoader, LoadedBatch, LoadedBatches};
pub use metrics::{ClassificationMetrics, EmbeddingsMetricsCollector, Labels, MetricsCollector, MetricsFn};
pub use predictor::{Predictor, PredictorOutput};
pub use reshape::{AvgPool, ClsToken, Flatten, MaxPool, Mean, MeanTokens, Reshape, ReshapeStrategy};
pub use sequential::Sequential;
pub use summary::{LayerSummary, Summary, summary};
pub use tap::Tap;
pub use torchscript::{Calls, TorchScriptModel};
pub use tree::{Describe, Layer, LayerRef, Model, ModuleTree, NamedModule, Scope};
