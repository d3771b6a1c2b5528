//! Our side of the comparison of collection in `cargo xtask bench --peers`; `benches/peers/collect.py` is the other.
//!
//! Arguments: the model file, the layers' paths joined by commas, batches, batch size, side, rounds.

#![expect(clippy::print_stdout, reason = "the report goes to whoever started the process")]

use std::error::Error;
use std::time::{Instant, SystemTime};

use tch::{Device, Kind, Tensor};
use tlc_collect::{Batch, EmbeddingsMetricsCollector, MetricsCollector, Model, Predictor, TorchScriptModel};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, layers, numbers @ ..] = args.as_slice() else { return Err("six arguments are needed".into()) };
    let numbers: Vec<i64> = numbers.iter().map(|number| number.parse()).collect::<Result<_, _>>()?;
    let [batches, batch, side, rounds] = numbers[..] else { return Err("four numbers are needed".into()) };
    let model = TorchScriptModel::load(file)?;
    tch::manual_seed(0);
    let inputs: Vec<Batch> = (0..batches)
        .map(|_| Batch::new(Tensor::rand([batch, 3, side, side], (Kind::Float, Device::Cpu)), None))
        .collect();
    let predictor = Predictor::new(&model, layers.split(','))?;
    let mut embeddings = EmbeddingsMetricsCollector::new(predictor.layers());

    let columns = embeddings.collect(&inputs[0], &predictor.predict(&inputs[0].inputs)?)?;
    let started_at: f64 = std::env::var("TLC_STARTED_AT")?.parse()?;
    let first_batch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64() - started_at;
    assert!(columns.iter().all(|column| column.values.len() as i64 == batch));

    let (mut bare, mut hooks, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        bare.push(seconds(|| {
            let _no_grad = tch::no_grad_guard();
            inputs.iter().try_for_each(|batch| model.f_forward_t(batch.inputs.only()?, false).map(drop))
        })?);
        hooks.push(seconds(|| inputs.iter().try_for_each(|batch| predictor.predict(&batch.inputs).map(drop)))?);
        all.push(seconds(|| {
            inputs.iter().try_for_each(|batch| {
                let output = predictor.predict(&batch.inputs)?;
                embeddings.collect(batch, &output).map(drop)
            })
        })?);
    }
    let version = format!("tlc {}", env!("CARGO_PKG_VERSION"));
    let report = serde_json::json!({
        "first_batch_secs": first_batch, "bare": bare, "hooks": hooks, "all": all, "version": version,
    });
    println!("{report}");
    Ok(())
}

fn seconds<E>(work: impl FnOnce() -> Result<(), E>) -> Result<f64, E> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}
