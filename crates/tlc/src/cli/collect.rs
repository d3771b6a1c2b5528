//! `tlc collect`: from an exported model and samples to a metrics table.

use std::time::Instant;

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use tlc::collect::{
    self, ClassificationMetrics, CollectOptions, EmbeddingsMetricsCollector, Inputs, Labels, LayerRef,
    MetricsCollector, Model, Predictor, Reshape, TorchScriptModel, collect_metrics, layers,
};
use tlc::core::Progress;

use super::args::{Calls, CollectArgs, Device, ModelArgs};
use super::bars::Screen;
use super::ending::ended;
use super::samples::samples;

/// Samples per forward pass: more gain no speed on a CPU.
const MAX_BATCH: u64 = 64;

pub(crate) fn run(args: &CollectArgs, screen: &Screen, progress: &Progress) -> anyhow::Result<()> {
    let constants: Map<String, Value> = serde_json::from_str(&args.constants)
        .map_err(|error| anyhow::anyhow!("--constants is no JSON object: {error}"))?;
    let model = load(&args.model)?.calls(match args.calls {
        Calls::Last => collect::Calls::Last,
        Calls::All => collect::Calls::All,
        Calls::Mean => collect::Calls::Mean,
    });
    let layers: Vec<usize> = args
        .layers
        .iter()
        .map(|layer| Ok(model.tree().find(&LayerRef::from(layer.as_str()))?.index))
        .collect::<anyhow::Result<_>>()?;
    let mut embeddings = embeddings(args, &layers)?;

    let project = args.project.open()?;
    let samples = samples(args, &project, screen)?;
    let dataset = samples.dataset.as_ref();
    let predictor = Predictor::new(&model, layers.iter().copied())?;
    // Before a run is begun: does the model take these samples?
    let first = (0..dataset.len())
        .map(|row| dataset.batch(&[row]))
        .find(|batch| !matches!(batch, Ok(batch) if batch.inputs.n_samples() == 0));
    let first = first.context("none of the images can be decoded")??.inputs;
    let logits = predictor.predict(&first)?.forward.size();
    let batch_size = match args.batch_size {
        Some(size) => size,
        None => fitting_batch_size(&model, &first)?,
    };
    let parameters = Map::from_iter([("model".to_owned(), json!(args.model.file.display().to_string()))]);
    let run = project.open_or_create_run(&args.run, parameters)?;
    let name = args.model.file.file_stem().map_or_else(|| "metrics".into(), |name| name.to_string_lossy().into_owned());
    let options = CollectOptions {
        name,
        batch_size,
        constants,
        shard: args.shard,
        exclude_zero_weights: args.exclude_zero_weights,
        ..CollectOptions::default()
    };
    let mut metrics = ClassificationMetrics::new(samples.class_names.iter());
    let mut labels = Labels::new(samples.class_names.iter());
    let mut collectors: Vec<&mut dyn MetricsCollector> = vec![&mut embeddings];
    if let Some(n_classes) = samples.n_classes {
        if logits.len() == 2 && (n_classes == logits[1] || (args.classify && n_classes < logits[1])) {
            collectors.push(&mut metrics);
        } else {
            screen.line(format!(
                "no loss or accuracy: the samples have {n_classes} classes, the model's output is {logits:?} \
                 (--classify if labels are its classes all the same)"
            ));
            collectors.push(&mut labels);
        }
    }
    let started = Instant::now();
    let collected = collect_metrics(&run, dataset, &mut collectors, &predictor, &options, progress);
    let report = ended(&run, collected)?;
    // Those whose first bytes are no image's were told when the folder was read.
    let left_out: Vec<String> = report.skipped.iter().map(|&id| (samples.name)(id as usize)).collect();
    if !left_out.is_empty() {
        say!("left out, as they cannot be decoded: {}", left_out.join(", "));
    }
    // Each part knows all of those; the first writes them down.
    let not_listed = if matches!(args.shard, None | Some((0, _))) { samples.undecodable } else { Vec::new() };
    let undecodable = [not_listed, left_out].concat();
    if !undecodable.is_empty() {
        run.extend_parameter("undecodable", undecodable)?;
    }
    let seconds = started.elapsed().as_secs_f64();
    say!("{}", report.table.url);
    say!("{} rows in {seconds:.1} s ({:.0} per second)", report.table.rows, report.table.rows as f64 / seconds);
    for (name, mean) in &report.means {
        say!("  mean {name}: {mean:.4}");
    }
    let (name, project) = (run.name(), args.project.project.display());
    say!("reduce them: tlc reduce {name} --project {project}");
    say!("then draw:   tlc plot {name} --project {project}");
    Ok(())
}

pub(super) fn load(args: &ModelArgs) -> anyhow::Result<TorchScriptModel> {
    let device = match args.device {
        Device::Cpu => tch::Device::Cpu,
        Device::Cuda(number) => tch::Device::Cuda(number),
    };
    let mut model = TorchScriptModel::load_on(&args.file, device)?;
    for choice in &args.element {
        let (layer, element) =
            choice.split_once('=').with_context(|| format!("--element is {choice:?}; LAYER=ELEMENT is needed"))?;
        model = model.element(layer, element)?;
    }
    Ok(model)
}

fn embeddings(args: &CollectArgs, layers: &[usize]) -> anyhow::Result<EmbeddingsMetricsCollector> {
    let strategies = match args.reshape.as_slice() {
        [one] => vec![one; layers.len()],
        several if several.len() == layers.len() => several.iter().collect(),
        several => {
            bail!("--reshape names {} strategies for {} layers; name one, or one for each", several.len(), layers.len())
        }
    };
    let mut collector = EmbeddingsMetricsCollector::new([]);
    if args.half_precision {
        collector = collector.half_precision();
    }
    for (&layer, strategy) in layers.iter().zip(strategies) {
        collector = collector.reshape(layer, Reshape::named(strategy)?);
    }
    Ok(collector)
}

/// How many samples a forward pass takes if all that its layers give stays in a quarter of the free memory: more than
/// it needs, since libtorch frees what is used.
fn fitting_batch_size(model: &TorchScriptModel, one: &Inputs) -> anyhow::Result<usize> {
    let values_of = |shape: &Vec<i64>| shape.iter().product::<i64>();
    let values: i64 =
        layers(model, one)?.iter().map(|layer| layer.n_calls as i64 * layer.shape.as_ref().map_or(0, values_of)).sum();
    let bytes = u64::try_from(values).unwrap_or(0).saturating_mul(size_of::<f32>() as u64).max(1);
    let fitting = free_memory().map_or(MAX_BATCH, |free| free / 4 / bytes);
    Ok(fitting.clamp(1, MAX_BATCH) as usize)
}

/// Bytes that can be had without swapping, where the system says so.
fn free_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
