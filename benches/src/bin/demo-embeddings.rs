//! Writes what `tlc demo` reduces, for `cargo xtask bench --peers`: embeddings of a ResNet-18 (layer 90, 512
//! wide) that was trained on 20,000 images of Fashion-MNIST, as .npy.
//!
//! The demo deletes its embeddings once they are reduced, and keeps them in tables. This is its training
//! (same model, order, batches and rate) for two passes, then one pass over 20,000 training and
//! 10,000 validation images. Usage: `demo-embeddings FOLDER`.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use tch::nn::{self, OptimizerConfig};
use tch::{Device, Kind, Tensor};
use tlc::collect::models::ResNet;
use tlc::collect::{Model, Predictor, TensorDataset};
use tlc::core::rng::Stream;
use tlc::datasets::{self, LabelledImages};

const SEED: u64 = 42;
const TRAIN_IMAGES: usize = 20_000;
const EPOCHS: u64 = 2;
const BATCH: usize = 128;
const LAYER: usize = 90;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("the only argument is the folder to write into")?);
    fs::create_dir_all(&folder)?;
    let mut data = datasets::read("/usr/share/datasets/fashion-mnist".as_ref())?;
    data.train.truncate(TRAIN_IMAGES);
    let (train, test) = (dataset(&data.train)?, dataset(&data.validation)?);

    tch::manual_seed(SEED.cast_signed());
    let weights = nn::VarStore::new(Device::Cpu);
    let model = ResNet::resnet18(&weights.root(), 1, data.class_names.len() as i64);
    let mut optimizer = nn::Adam::default().build(&weights, 1e-3)?;
    let order = Stream::new(SEED, "training-order");
    for epoch in 1..=EPOCHS {
        let rows = order.substream(epoch).permutation(data.train.len());
        let rows: Vec<i64> = rows.into_iter().map(|row| row as i64).collect();
        for batch in rows.chunks(BATCH) {
            let batch = train.select(batch, Device::Cpu);
            let labels = batch.labels.ok_or("the training images have labels")?;
            optimizer.backward_step(&model.forward_t(batch.inputs.only()?, true).cross_entropy_for_logits(&labels));
        }
    }
    for (name, dataset, images) in [("train", &train, &data.train), ("test", &test, &data.validation)] {
        let embeddings = embed(&model, dataset, images.len())?;
        write(&folder, &format!("embeddings_{name}.npy"), &embeddings)?;
        // Written last: what is complete is known by it.
        write(&folder, &format!("embeddings_{name}_labels.npy"), &Tensor::from_slice(&images.labels))?;
    }
    Ok(())
}

fn dataset(images: &LabelledImages) -> Result<TensorDataset, Box<dyn Error>> {
    let pixels = Tensor::from_slice(&images.pixels).reshape([-1, 1, 28, 28]);
    Ok(TensorDataset::new(pixels, Tensor::from_slice(&images.labels), (0.286, 0.353), None)?)
}

fn embed(model: &ResNet, dataset: &TensorDataset, n: usize) -> Result<Tensor, Box<dyn Error>> {
    let predictor = Predictor::new(model, [LAYER])?;
    let rows: Vec<i64> = (0..n as i64).collect();
    let mut blocks = Vec::new();
    for batch in rows.chunks(500) {
        let mut output = predictor.predict(dataset.select(batch, Device::Cpu).inputs)?;
        let block = output.hidden_layers.remove(&LAYER).ok_or("the layer was not called")?;
        blocks.push(block.flatten(1, -1).to_kind(Kind::Float));
    }
    Ok(Tensor::cat(&blocks, 0))
}

/// A finished file or none.
fn write(folder: &Path, name: &str, values: &Tensor) -> Result<(), Box<dyn Error>> {
    let partial = folder.join(format!("partial_{name}"));
    values.write_npy(&partial)?;
    Ok(fs::rename(partial, folder.join(name))?)
}
