//! The model and its training.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use arrow_array::{FixedSizeListArray, Int64Array, RecordBatch, UInt8Array};
use arrow_schema::{DataType, Field, Schema};
use serde_json::json;
use tch::nn::{self, OptimizerConfig};
use tch::{Device, Tensor};
use tlc::collect::models::ResNet;
use tlc::collect::{DataLoader, LoadedBatch, Model, TensorDataset};
use tlc::core::{FieldRoles, Lineage, NumberRole, Operation, Progress, TableInfo, digest};
use tlc::datasets::{ImageDataset, LabelledImages};
use tlc::run::Project;

const BATCH: usize = 128;
const LEARNING_RATE: f64 = 1e-3;
/// Mean and standard deviation of Fashion-MNIST's pixels, near enough for other images.
const PIXEL_SCALE: (f64, f64) = (0.286, 0.353);
const PRODUCER: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// The images of a split, in memory and as the table that metrics refer to.
pub(super) struct Split {
    pub(super) name: &'static str,
    pub(super) dataset: TensorDataset,
    pub(super) table: TableInfo,
}

impl Split {
    /// Writes the split's table unless the project has it.
    pub(super) fn store(
        project: &Project,
        data: &ImageDataset,
        name: &'static str,
        images: &LabelledImages,
    ) -> anyhow::Result<Self> {
        let width = i32::try_from(images.image_bytes())?;
        let item = Arc::new(Field::new("item", DataType::UInt8, false));
        let names: BTreeMap<i64, String> = (0..).zip(data.class_names.iter().cloned()).collect();
        let schema = Arc::new(Schema::new(vec![
            Field::new("image", DataType::FixedSizeList(item.clone(), width), false)
                .with_role(NumberRole::Image)
                .with_tensor_shape(&images.shape.map(|size| size as i64)),
            Field::new("label", DataType::Int64, false).with_role(NumberRole::Label).with_value_map(&names),
        ]));
        let operation = Operation::new("import", 1)
            .with("dataset", data.name)
            .with("shape", json!(images.shape))
            .with("pixels", digest::of_bytes(&images.pixels))
            .with("labels", digest::of_bytes(&images.labels.iter().map(|&label| label as u8).collect::<Vec<_>>()));
        let lineage = Lineage::new(PRODUCER, operation);
        let pixels = Arc::new(UInt8Array::from(images.pixels.clone()));
        let rows = RecordBatch::try_new(
            schema.clone(),
            vec![
                Arc::new(FixedSizeListArray::new(item, width, pixels, None)),
                Arc::new(Int64Array::from(images.labels.clone())),
            ],
        )?;
        let table = project.create_table(data.name, name, &schema, &lineage, Box::new([Ok(rows)].into_iter()))?;
        let [channels, height, width] = images.shape.map(|size| size as i64);
        let pixels = Tensor::f_from_slice(&images.pixels)?.f_reshape([-1, channels, height, width])?;
        let labels = Tensor::f_from_slice(&images.labels)?;
        Ok(Self { name, dataset: TensorDataset::new(pixels, labels, PIXEL_SCALE, Some(table.as_input()))?, table })
    }
}

/// A ResNet-18 and its optimiser. The same seed gives the same weights, batch by batch.
pub(super) struct Trainer {
    model: ResNet,
    optimizer: nn::Optimizer,
    seed: u64,
}

impl Trainer {
    pub(super) fn new(data: &ImageDataset, seed: u64) -> anyhow::Result<Self> {
        tch::manual_seed(seed.cast_signed());
        let weights = nn::VarStore::new(Device::Cpu);
        let n_classes = data.class_names.len() as i64;
        let model = ResNet::resnet18(&weights.root(), data.train.shape[0] as i64, n_classes);
        let optimizer = nn::Adam::default().build(&weights, LEARNING_RATE)?;
        Ok(Self { model, optimizer, seed })
    }

    pub(super) fn model(&self) -> &ResNet {
        &self.model
    }

    /// One pass over the split in random order.
    pub(super) fn epoch(
        &mut self,
        split: &Split,
        epoch: usize,
        n_epochs: usize,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        let loader = DataLoader::new(&split.dataset, BATCH)?.shuffle(self.seed);
        let task = progress.task(&format!("train epoch {epoch} of {n_epochs}"), loader.n_samples() as u64);
        std::thread::scope(|threads| {
            for loaded in loader.epoch(threads, epoch as u64)? {
                let LoadedBatch { samples, batch } = loaded?;
                // A batch of one has no variance to normalise by.
                if samples.len() > 1 {
                    let labels = batch.labels.context("a split has labels")?;
                    let loss = self.model.forward_t(batch.inputs.only()?, true).cross_entropy_for_logits(&labels);
                    self.optimizer.backward_step(&loss);
                }
                task.advance(samples.len() as u64)?;
            }
            Ok(())
        })
    }
}
