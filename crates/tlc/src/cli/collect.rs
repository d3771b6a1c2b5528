//! `tlc collect`: from an exported model and a folder of images, or an array, to a metrics table.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};
use tlc::collect::{
    ClassificationMetrics, CollectOptions, Dataset, EmbeddingsMetricsCollector, Inputs, LayerRef, MetricsCollector,
    Model, Predictor, Reshape, TensorDataset, TorchScriptModel, collect_metrics,
};
use tlc::core::{FieldRoles, Lineage, LineageInput, NumberRole, Operation, Progress, digest};
use tlc::datasets::{ImageFolder, Preparation};
use tlc::run::{Project, RunStatus};

use super::CollectArgs;
use super::bars::Screen;

const PRODUCER: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
/// How many skipped files are named.
const NAMED_FILES: usize = 10;

pub(crate) fn run(args: &CollectArgs, screen: &Screen, progress: &Progress) -> anyhow::Result<()> {
    let constants: Map<String, Value> = serde_json::from_str(&args.constants)
        .map_err(|error| anyhow::anyhow!("--constants is no JSON object: {error}"))?;
    let model = load(args)?;
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
    let first = first.context("none of the images can be decoded")??;
    let logits = predictor.predict(first.inputs)?.forward.size();
    let parameters = Map::from_iter([("model".to_owned(), json!(args.model.display().to_string()))]);
    let run = project.open_or_create_run(&args.run, parameters)?;
    let name = args.model.file_stem().map_or_else(|| "metrics".into(), |name| name.to_string_lossy().into_owned());
    let options =
        CollectOptions { name, batch_size: args.batch_size, constants, shard: args.shard, ..CollectOptions::default() };
    let mut metrics = ClassificationMetrics::new(samples.class_names.iter());
    let mut collectors: Vec<&mut dyn MetricsCollector> = vec![&mut embeddings];
    if let Some(n_classes) = samples.n_classes {
        if samples.fits(&logits) {
            collectors.push(&mut metrics);
        } else {
            screen.line(format!(
                "no loss or accuracy: the samples have {n_classes} classes, the model's output is {logits:?}"
            ));
        }
    }
    let started = Instant::now();
    let collected = collect_metrics(&run, dataset, &mut collectors, &predictor, &options, progress);
    run.set_status(if collected.is_ok() { RunStatus::Completed } else { RunStatus::Interrupted })?;
    let report = collected?;
    if !report.skipped.is_empty() {
        let names: Vec<String> = report.skipped.iter().map(|&id| (samples.name)(id as usize)).collect();
        println!("left out, as they cannot be decoded: {}", names.join(", "));
        run.set_parameter("undecodable", names)?;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{}", report.table.url);
    println!("{} rows in {seconds:.1} s ({:.0} per second)", report.table.rows, report.table.rows as f64 / seconds);
    for (name, mean) in report.means.iter().filter(|(name, _)| *name != "embeddings_finite") {
        println!("  mean {name}: {mean:.4}");
    }
    println!("reduce them: tlc reduce {} --project {}", run.name(), args.project.project.display());
    Ok(())
}

fn load(args: &CollectArgs) -> anyhow::Result<TorchScriptModel> {
    let mut model = TorchScriptModel::load(&args.model)?;
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
    for (&layer, strategy) in layers.iter().zip(strategies) {
        collector = collector.reshape(layer, Reshape::named(strategy)?);
    }
    Ok(collector)
}

/// What the model runs on.
struct Samples {
    dataset: Box<dyn Dataset>,
    /// As the table has them; empty if they have none.
    class_names: Vec<String>,
    /// How many classes there are, if there are labels.
    n_classes: Option<i64>,
    /// Whether label 3 is the model's class 3, as in an array, or that of the folder's fourth name.
    are_of_model: bool,
    /// What a sample is called in messages.
    name: Box<dyn Fn(usize) -> String>,
}

impl Samples {
    /// Whether labels can be compared with logits of this shape.
    fn fits(&self, logits: &[i64]) -> bool {
        let fits = |n: i64| if self.are_of_model { n <= logits[1] } else { n == logits[1] };
        logits.len() == 2 && self.n_classes.is_some_and(fits)
    }
}

/// The samples, whose table is in the project.
fn samples(args: &CollectArgs, project: &Project, screen: &Screen) -> anyhow::Result<Samples> {
    if let Some(folder) = &args.images {
        let known = Preparation::NAMES.join(", ");
        let preparation = Preparation::named(&args.normalise, args.size)
            .with_context(|| format!("--normalise is {:?}; known: {known}", args.normalise))?;
        let (mut images, skipped) = ImageFolder::read(folder, preparation)?;
        if let Some(labels) = &args.labels {
            images = images.with_labels_of(labels)?;
        }
        for (file, reason) in skipped.iter().take(NAMED_FILES) {
            screen.line(format!("skipped {}: {reason}", file.display()));
        }
        if skipped.len() > NAMED_FILES {
            screen.line(format!("skipped {} more files", skipped.len() - NAMED_FILES));
        }
        let files: Vec<String> = images.files().iter().map(|file| file.display().to_string()).collect();
        let skipped: Vec<String> = skipped.iter().map(|(file, _)| file.display().to_string()).collect();
        let operation = Operation::new("import", 1)
            .with("images", std::path::absolute(folder)?.display().to_string())
            .with("files", digest::of_bytes(files.join("\n").as_bytes()))
            .with("skipped", skipped);
        let column = (Field::new("file", DataType::Utf8, false), Arc::new(StringArray::from(files)) as ArrayRef);
        let table = table(project, folder, operation, column, images.labels(), images.class_names())?;
        let class_names = images.class_names().to_vec();
        let names: Vec<String> = images.files().iter().map(|file| file.display().to_string()).collect();
        let n_classes = images.labels().map(|_| class_names.len() as i64);
        let dataset = Box::new(images.with_table(table));
        let name = Box::new(move |id: usize| names[id].clone());
        return Ok(Samples { dataset, class_names, n_classes, are_of_model: false, name });
    }
    let read = |file: &Path| Tensor::read_npy(file).with_context(|| format!("cannot read {}", file.display()));
    let content = |file: &Path| anyhow::Ok(digest::of_bytes(&std::fs::read(file)?));
    let (mut inputs, mut arrays) = (Inputs::positional([]), Vec::new());
    let named: Vec<(Option<&str>, &Path)> = args.npy.iter().map(|array| name_and_file(array)).collect();
    for &(name, file) in &named {
        inputs = match name {
            Some(name) => inputs.with(name, read(file)?),
            None => inputs.and(read(file)?),
        };
        let path = std::path::absolute(file)?.display().to_string();
        arrays.push(json!({ "name": name, "array": path, "content": content(file)? }));
    }
    let (_, file) = *named.first().context("--images or --npy says what to run the model on")?;
    let labels = args.labels.as_deref().map(read).transpose()?.map(|labels| labels.to_kind(Kind::Int64));
    let numbers = inputs.n_samples() as i64;
    let values: Option<Vec<i64>> = labels.as_ref().map(Vec::try_from).transpose()?;
    let n_classes = values.iter().flatten().max().map(|most| most + 1);
    let operation = Operation::new("import", 1)
        .with("arrays", arrays)
        .with("labels", args.labels.as_deref().map(content).transpose()?);
    let rows = Arc::new(Int64Array::from_iter_values(0..numbers)) as ArrayRef;
    let column = (Field::new("row", DataType::Int64, false), rows);
    let table = table(project, file, operation, column, values.as_deref(), &[])?;
    let dataset = Box::new(TensorDataset::of_inputs(inputs, labels, Some(table))?);
    let name = Box::new(|id: usize| format!("row {id}"));
    Ok(Samples { dataset, class_names: Vec::new(), n_classes, are_of_model: true, name })
}

/// `NAME=FILE`, or the file alone; a file whose own name holds `=` is taken as a file.
fn name_and_file(array: &str) -> (Option<&str>, &Path) {
    match array.split_once('=') {
        Some((name, file)) if !Path::new(array).exists() => (Some(name), Path::new(file)),
        _ => (None, Path::new(array)),
    }
}

/// The table of samples, written unless the project has it.
fn table(
    project: &Project,
    source: &Path,
    operation: Operation,
    (field, values): (Field, ArrayRef),
    labels: Option<&[i64]>,
    classes: &[String],
) -> anyhow::Result<LineageInput> {
    let (mut fields, mut columns) = (vec![field], vec![values]);
    if let Some(labels) = labels {
        let names: BTreeMap<i64, String> = (0..).zip(classes.iter().cloned()).collect();
        let label = Field::new("label", DataType::Int64, false).with_role(NumberRole::Label);
        fields.push(if names.is_empty() { label } else { label.with_value_map(&names) });
        columns.push(Arc::new(Int64Array::from(labels.to_vec())));
    }
    let schema = Arc::new(Schema::new(fields));
    let rows = RecordBatch::try_new(schema.clone(), columns)?;
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let source = std::fs::canonicalize(source).with_context(|| format!("cannot find {}", source.display()))?;
    let name = if source.is_dir() { source.file_name() } else { source.file_stem() };
    let name: String = name.unwrap_or_default().to_string_lossy().chars().map(plain).collect();
    let lineage = Lineage::new(PRODUCER, operation);
    Ok(project.create_table(&name, "samples", &schema, &lineage, Box::new([Ok(rows)].into_iter()))?.as_input())
}
