//! What the viewer is measured on in `cargo xtask bench --peers --only view`: a run of many epochs, and one table of many
//! rows. Both follow from their sizes alone, take the road of any other data (collected columns, then a reduction that
//! replaces the embeddings), and are classes that move apart.
//!
//! ```text
//! view-data FOLDER EPOCHS ROWS MANY   a project with a run of EPOCHS tables of ROWS rows, and a table of MANY rows
//! ```
//!
//! Prints one JSON object: the run's name and the table's URL.

#![expect(clippy::print_stdout, reason = "the report goes to whoever started the process")]

use std::error::Error;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use serde_json::{Map, json};
use tlc::core::rng::Stream;
use tlc::core::{
    Column, FieldRoles, Lineage, MetricsSink, MetricsTable, NumberRole, Operation, Progress, Reducer, Url,
};
use tlc::run::{Project, ReduceOptions, RunStatus, reduce_embeddings};
use tlc::table::{LanceStore, NewTable, Table};
use tlc_benches::clusters;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const RUN: &str = "epochs";
/// Values of an embedding: enough for principal axes, little to write.
const WIDTH: usize = 16;
/// As many as `clusters` makes.
const CLASSES: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
const BATCH_ROWS: usize = 8192;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, numbers @ ..] = args.as_slice() else { return Err("a folder is needed".into()) };
    let numbers: Vec<usize> = numbers.iter().map(|number| number.parse()).collect::<std::result::Result<_, _>>()?;
    let &[epochs, rows, many] = numbers.as_slice() else { return Err("EPOCHS, ROWS and MANY are needed".into()) };
    let root = Url::from_path(&std::path::absolute(folder)?)?;
    let project = Project::new(Arc::new(LanceStore::default()), root);
    run_of_epochs(&project, epochs, rows)?;
    let table = large_table(&project, many)?;
    println!("{}", json!({ "run": RUN, "table": table.to_string() }));
    Ok(())
}

/// Labels in the data set's table, all else in a table per epoch.
fn run_of_epochs(project: &Project, epochs: usize, rows: usize) -> Result<()> {
    let columns = vec![ids(rows), Column::labels("label", labels(rows), CLASSES)];
    let folder = project.root().join("datasets/cloud")?;
    let dataset = Table::from_columns(project.shared_store(), &folder, NewTable::new("train"), columns)?;
    let run = project.create_run(RUN, Map::new())?;
    let cloud = clusters(rows, WIDTH).into_raw_vec_and_offset().0;
    for epoch in 0..epochs {
        let learned = (epoch + 1) as f32 / epochs as f32;
        let embedding = cloud.iter().map(|x| x * learned).collect();
        let embedding = Column::embedding("embeddings_90", WIDTH, embedding, NumberRole::NnEmbedding)?;
        let columns = [vec![ids(rows)], judgements(rows, epoch, learned), vec![embedding]].concat();
        let (fields, values): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().map(|it| (it.field, it.values)).unzip();
        let schema = Arc::new(Schema::new(fields));
        let all = RecordBatch::try_new(schema.clone(), values)?;
        let table = MetricsTable {
            name: format!("train-epoch-{epoch}"),
            foreign_table: Some(dataset.url().clone()),
            constants: Map::from_iter([("epoch".to_owned(), json!(epoch)), ("split".to_owned(), json!("train"))]),
            lineage: Lineage::new("bench/1", Operation::new("made-up", 1)),
        };
        let batches = (0..rows).step_by(BATCH_ROWS).map(|start| Ok(all.slice(start, BATCH_ROWS.min(rows - start))));
        run.write_metrics(table, &schema, Box::new(batches))?;
    }
    run.reduce_embeddings_per_dataset(&ReduceOptions::new([axes(2)?]), &Progress::default())?;
    run.set_status(RunStatus::Completed)?;
    Ok(())
}

/// A table by itself, with a map in the plane and one in space.
fn large_table(project: &Project, rows: usize) -> Result<Url> {
    let cloud = clusters(rows, WIDTH).into_raw_vec_and_offset().0;
    let embedding = Column::embedding("embeddings_90", WIDTH, cloud, NumberRole::NnEmbedding)?;
    let label = Column::labels("label", labels(rows), CLASSES);
    let columns = [vec![ids(rows), label], judgements(rows, 0, 1.0), vec![embedding]].concat();
    let folder = project.root().join("datasets/large")?;
    let table = Table::from_columns(project.shared_store(), &folder, NewTable::new("large"), columns)?;
    let options = ReduceOptions::new([axes(2)?, axes(3)?]);
    Ok(reduce_embeddings(project, table.url(), &options, &Progress::default())?)
}

fn axes(n_components: usize) -> Result<Box<dyn Reducer>> {
    Ok(tlc::create_reducer("pca", [("n_components", n_components.into())])?)
}

fn ids(n: usize) -> Column {
    let field = Field::new("example_id", DataType::Int64, false).with_role(NumberRole::ExampleId);
    Column { field, values: Arc::new(Int64Array::from_iter_values(0..n as i64)) }
}

/// The cluster of each row.
fn labels(n: usize) -> impl Iterator<Item = Option<i64>> + Clone {
    (0..n).map(|i| Some((i % CLASSES.len()) as i64))
}

/// What a model that has `learned` some share says of each row: predicted class, loss, confidence.
fn judgements(n: usize, epoch: usize, learned: f32) -> Vec<Column> {
    let random = Stream::new(epoch as u64, "view");
    let uniform = |i: usize, draw: u64| random.uniform(i as u64, draw) as f32;
    let is_right = |i: usize| uniform(i, 0) < learned;
    let guess = |i: usize| (uniform(i, 1) * CLASSES.len() as f32) as usize;
    let predicted = (0..n).map(|i| Some(if is_right(i) { i % CLASSES.len() } else { guess(i) } as i64));
    let predicted = Column::labels("predicted", predicted, CLASSES);
    let predicted = Column { field: predicted.field.with_role(NumberRole::Prediction), ..predicted };
    // Of the label's class.
    let confidence: Vec<f32> = (0..n).map(|i| (learned * uniform(i, 2)).max(1e-3)).collect();
    let loss: Vec<f32> = confidence.iter().map(|confidence| -confidence.ln()).collect();
    let numbers = |name: &str, values, role| Column {
        field: Field::new(name, DataType::Float32, true).with_role(role),
        values: Arc::new(Float32Array::from(values)),
    };
    vec![predicted, numbers("loss", loss, NumberRole::Loss), numbers("confidence", confidence, NumberRole::Confidence)]
}
