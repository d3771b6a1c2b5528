//! What `tlc collect` runs a model on.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use serde_json::json;
use tch::{Kind, Tensor};
use tlc::collect::{Dataset, Inputs, TensorDataset};
use tlc::core::{Column, FieldRoles, Lineage, LineageInput, NumberRole, Operation, digest};
use tlc::datasets::{ImageFolder, Preparation, TableDataset};
use tlc::run::Project;
use tlc::table::LanceStore;

use super::args::CollectArgs;
use super::bars::Screen;
use super::place::resolve;

const PRODUCER: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
/// How many skipped files are named.
const NAMED_FILES: usize = 10;

/// What the model runs on.
pub(super) struct Samples {
    pub(super) dataset: Box<dyn Dataset>,
    /// As the table has them; empty if they have none.
    pub(super) class_names: Vec<String>,
    /// How many classes there are, if there are labels.
    pub(super) n_classes: Option<i64>,
    /// What a sample is called in messages.
    pub(super) name: Box<dyn Fn(usize) -> String>,
    /// Files that are no samples, since they are no images.
    pub(super) undecodable: Vec<String>,
}

/// The samples of a folder, a table or arrays; the project gets a table of those that are in none.
pub(super) fn samples(args: &CollectArgs, project: &Project, screen: &Screen) -> anyhow::Result<Samples> {
    match (&args.images, &args.table) {
        (Some(folder), _) => of_folder(folder, args, project, screen),
        (None, Some(url)) => of_table(url, args, project),
        (None, None) => of_arrays(args, project),
    }
}

fn preparation(args: &CollectArgs) -> anyhow::Result<Preparation> {
    let known = Preparation::NAMES.join(", ");
    let preparation = Preparation::named(&args.normalise, args.size)
        .with_context(|| format!("--normalise is {:?}; known: {known}", args.normalise))?;
    Ok(if args.channels == 1 { preparation.grey() } else { preparation })
}

fn of_table(url: &str, args: &CollectArgs, project: &Project) -> anyhow::Result<Samples> {
    let url = resolve(project.places(), url)?;
    let store = Arc::new(LanceStore::default());
    let dataset = TableDataset::open(store, &url, args.column.as_deref(), preparation(args)?)?;
    let class_names = dataset.class_names().to_vec();
    let n_classes = (dataset.has_labels() && !class_names.is_empty()).then_some(class_names.len() as i64);
    let name = Box::new(|id: usize| format!("row {id}"));
    Ok(Samples { dataset: Box::new(dataset), class_names, n_classes, name, undecodable: Vec::new() })
}

fn of_folder(folder: &Path, args: &CollectArgs, project: &Project, screen: &Screen) -> anyhow::Result<Samples> {
    let (mut images, skipped) = ImageFolder::read(folder, preparation(args)?)?;
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
        .with("skipped", skipped.clone());
    // Absolute: whoever looks at the table later may be elsewhere.
    let places: std::io::Result<Vec<String>> =
        images.files().iter().map(|file| Ok(std::path::absolute(file)?.display().to_string())).collect();
    let field = Field::new("file", DataType::Utf8, false).with_role(NumberRole::Image);
    let column = Column { field, values: Arc::new(StringArray::from(places?)) };
    let table = table(project, folder, operation, vec![column], images.labels(), images.class_names())?;
    let class_names = images.class_names().to_vec();
    let names: Vec<String> = images.files().iter().map(|file| file.display().to_string()).collect();
    let n_classes = images.labels().map(|_| class_names.len() as i64);
    let dataset = Box::new(images.with_table(table));
    let name = Box::new(move |id: usize| names[id].clone());
    Ok(Samples { dataset, class_names, n_classes, name, undecodable: skipped })
}

fn of_arrays(args: &CollectArgs, project: &Project) -> anyhow::Result<Samples> {
    let content = |file: &Path| {
        let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        anyhow::Ok(digest::of_bytes(&bytes))
    };
    let inputs = inputs_of_arrays(&args.npy)?;
    let mut arrays = Vec::new();
    let named: Vec<(Option<&str>, &Path)> = args.npy.iter().map(|array| name_and_file(array)).collect();
    for &(name, file) in &named {
        let path = std::path::absolute(file)?.display().to_string();
        arrays.push(json!({ "name": name, "array": path, "content": content(file)? }));
    }
    let (_, file) = *named.first().context("--images, --table or --npy says what to run the model on")?;
    let labels = args.labels.as_deref().map(read_npy).transpose()?.map(|labels| labels.to_kind(Kind::Int64));
    let numbers = inputs.n_samples() as i64;
    let values: Option<Vec<i64>> = labels.as_ref().map(Vec::try_from).transpose()?;
    let n_classes = values.iter().flatten().max().map(|most| most + 1);
    let mut operation = Operation::new("import", 1)
        .with("arrays", arrays)
        .with("labels", args.labels.as_deref().map(content).transpose()?);
    let rows = Arc::new(Int64Array::from_iter_values(0..numbers));
    let mut columns = vec![Column { field: Field::new("row", DataType::Int64, false), values: rows }];
    if let Some(file) = &args.texts {
        // Only then: without texts it is the operation that it always was, and its table is used again.
        operation = operation.with("texts", content(file)?);
        columns.push(texts_of(file, inputs.n_samples())?);
    }
    // Before a table is written: do inputs and labels fit together?
    let dataset = TensorDataset::of_inputs(inputs, labels, None)?;
    let table = table(project, file, operation, columns, values.as_deref(), &[])?;
    let dataset = Box::new(dataset.with_table(table));
    let name = Box::new(|id: usize| format!("row {id}"));
    Ok(Samples { dataset, class_names: Vec::new(), n_classes, name, undecodable: Vec::new() })
}

/// The arrays, each `[NAME=]FILE`, as a model's inputs.
pub(super) fn inputs_of_arrays(arrays: &[String]) -> anyhow::Result<Inputs> {
    let mut inputs = Inputs::positional([]);
    for array in arrays {
        let (name, file) = name_and_file(array);
        inputs = match name {
            Some(name) => inputs.with(name, read_npy(file)?),
            None => inputs.and(read_npy(file)?),
        };
    }
    Ok(inputs)
}

/// The lines of a file, one for each of `n` samples.
fn texts_of(file: &Path, n: usize) -> anyhow::Result<Column> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() != n {
        bail!(
            "--texts has {} lines for {n} rows of the arrays; one for each is needed: {}",
            lines.len(),
            file.display()
        );
    }
    Ok(Column::texts("text", lines)?)
}

fn read_npy(file: &Path) -> anyhow::Result<Tensor> {
    Tensor::read_npy(file).with_context(|| format!("cannot read {}", file.display()))
}

/// `NAME=FILE`, or the file alone; a file whose own name holds `=` is taken as a file.
fn name_and_file(array: &str) -> (Option<&str>, &Path) {
    match array.split_once('=') {
        Some((name, file)) if !Path::new(array).exists() => (Some(name), Path::new(file)),
        _ => (None, Path::new(array)),
    }
}

/// The table of samples, called after their `source`; written unless the project has it, with the same labels and classes.
fn table(
    project: &Project,
    source: &Path,
    operation: Operation,
    columns: Vec<Column>,
    labels: Option<&[i64]>,
    classes: &[String],
) -> anyhow::Result<LineageInput> {
    let (mut fields, mut columns): (Vec<Field>, Vec<ArrayRef>) =
        columns.into_iter().map(|column| (column.field, column.values)).unzip();
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
    let content = digest::of_batch(&rows).map_err(anyhow::Error::msg)?;
    let lineage = Lineage::new(PRODUCER, operation.with(Operation::CONTENT, content));
    Ok(project.create_table(&name, &name, &schema, &lineage, Box::new([Ok(rows)].into_iter()))?.as_input())
}
