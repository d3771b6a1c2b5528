//! Our side of the comparison of collection in `cargo xtask bench --peers`; `benches/peers/collect.py` is the other.
//!
//! Arguments: the model file, the layers' paths joined by commas, batches, batch size, side, rounds.

#![expect(clippy::print_stdout, reason = "the report goes to whoever started the process")]

use std::error::Error;
use std::hint::black_box;
use std::time::{Instant, SystemTime};

use serde_json::{Value, json};
use tch::{CModule, Device, Kind, Tensor, nn};
use tlc_collect::models::ResNet;
use tlc_collect::{
    Batch, EmbeddingsMetricsCollector, Inputs, MetricsCollector, Model, Predictor, Scope, TorchScriptModel, layers,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, layers, numbers @ ..] = args.as_slice() else { return Err("six arguments are needed".into()) };
    let numbers: Vec<i64> = numbers.iter().map(|number| number.parse()).collect::<std::result::Result<_, _>>()?;
    let [batches, batch, side, rounds] = numbers[..] else { return Err("four numbers are needed".into()) };
    let model = TorchScriptModel::load(file)?;
    tch::manual_seed(0);
    let inputs: Vec<Batch> = (0..batches)
        .map(|_| Batch::new(Tensor::rand([batch, 3, side, side], (Kind::Float, Device::Cpu)), None))
        .collect();
    let first = inputs.first().ok_or("at least one batch is needed")?;
    let predictor = Predictor::new(&model, layers.split(','))?;
    let mut embeddings = EmbeddingsMetricsCollector::new(predictor.layers());

    let columns = embeddings.collect(first, &predictor.predict(&first.inputs)?)?;
    let started_at: f64 = std::env::var("TLC_STARTED_AT")?.parse()?;
    let first_batch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64() - started_at;
    assert!(columns.iter().all(|column| column.values.len() as i64 == batch));

    // What tch alone does of the file: nothing of ours is in the way.
    let bare = CModule::load(file)?;
    let mut ways: [Way<'_>; 4] = [
        way("bare", |batch| Ok(bare.forward_ts(&[batch.inputs.only()?])?)),
        way("idle", |batch| Ok(model.f_forward_t(batch.inputs.only()?, false)?)),
        way("hooks", |batch| Ok(predictor.predict(&batch.inputs)?)),
        way("all", |batch| Ok(embeddings.collect(batch, &predictor.predict(&batch.inputs)?)?)),
    ];
    let seconds = in_turn(&mut ways, &inputs, rounds as usize)?;
    let mut report = json!({
        "version": format!("tlc {}", env!("CARGO_PKG_VERSION")), "first_batch_secs": first_batch,
        "taps": idle_taps(first.inputs.only()?)?,
    });
    for ((name, _), seconds) in ways.iter().zip(seconds) {
        report[name] = json!(seconds);
    }
    println!("{report}");
    Ok(())
}

/// A name, and what is done with a batch.
type Way<'a> = (&'static str, Box<dyn FnMut(&Batch) -> Result<()> + 'a>);

fn way<'a, R>(name: &'static str, mut work: impl FnMut(&Batch) -> Result<R> + 'a) -> Way<'a> {
    (name, Box::new(move |batch| work(batch).map(drop)))
}

/// For each way the seconds of each round. Every batch goes all ways before the next one does, each time in another
/// order, so that a machine that slows down slows all of them.
fn in_turn(ways: &mut [Way<'_>; 4], batches: &[Batch], rounds: usize) -> Result<[Vec<f64>; 4]> {
    let _no_grad = tch::no_grad_guard();
    // TorchScript optimises a graph in its first runs.
    for (_, way) in ways.iter_mut() {
        (0..2).try_for_each(|_| way(&batches[0]))?;
    }
    let mut seconds = [const { Vec::new() }; 4];
    for round in 0..rounds {
        seconds.iter_mut().for_each(|seconds| seconds.push(0.0));
        for (turn, batch) in batches.iter().enumerate() {
            for place in 0..ways.len() {
                let way = (place + turn + round) % ways.len();
                let start = Instant::now();
                (ways[way].1)(batch)?;
                seconds[way][round] += start.elapsed().as_secs_f64();
            }
        }
    }
    Ok(seconds)
}

/// What the taps of a Rust model cost while nobody listens: how many one forward pass meets, nanoseconds of one, and
/// seconds of a forward pass of ResNet-18. The difference of two forward passes would drown in their noise.
fn idle_taps(images: &Tensor) -> Result<Value> {
    const OBSERVED: u32 = 2_000_000;
    let weights = nn::VarStore::new(Device::Cpu);
    let model = ResNet::resnet18(&weights.root(), 3, 1_000);
    let count: usize = layers(&model, &Inputs::from(images))?.iter().map(|layer| layer.n_calls).sum();
    let _no_grad = tch::no_grad_guard();
    let seconds = (0..3).map(|_| {
        let start = Instant::now();
        drop(model.forward_t(images, false));
        start.elapsed().as_secs_f64()
    });
    let forward = seconds.fold(f64::INFINITY, f64::min);
    let scope = Scope::root("Tap");
    let tap = scope.tap();
    let mut output = images.shallow_clone();
    let start = Instant::now();
    for _ in 0..OBSERVED {
        output = tap.observe(black_box(output));
    }
    let nanoseconds = start.elapsed().as_secs_f64() * 1e9 / f64::from(OBSERVED);
    Ok(json!({ "count": count, "nanoseconds": nanoseconds, "forward_secs": forward }))
}
