//! Reduces all embeddings of a run with PaCMAP, in both ways: with one model for all tables, and with one per dataset.
//!
//!     cargo run --example reduce_run
//!
//! It prints which reduced table was made from which, with identities where … stands here:
//!
//! ```text
//! one model for all:
//!   runs/one-model/metrics/train-epoch-0-….lance -> runs/one-model/reduced/train-epoch-0-….lance
//!   runs/one-model/metrics/val-epoch-0-….lance -> runs/one-model/reduced/val-epoch-0-….lance
//!   runs/one-model/metrics/train-epoch-1-….lance -> runs/one-model/reduced/train-epoch-1-….lance
//!   runs/one-model/metrics/val-epoch-1-….lance -> runs/one-model/reduced/val-epoch-1-….lance
//!   runs/one-model/metrics/train-epoch-2-….lance -> runs/one-model/reduced/train-epoch-2-….lance
//!   runs/one-model/metrics/val-epoch-2-….lance -> runs/one-model/reduced/val-epoch-2-….lance
//! one model per dataset:
//!   runs/one-per-dataset/metrics/train-epoch-0-….lance -> runs/one-per-dataset/reduced/train-epoch-0-….lance
//!   runs/one-per-dataset/metrics/val-epoch-0-….lance -> runs/one-per-dataset/reduced/val-epoch-0-….lance
//!   runs/one-per-dataset/metrics/train-epoch-1-….lance -> runs/one-per-dataset/reduced/train-epoch-1-….lance
//!   runs/one-per-dataset/metrics/val-epoch-1-….lance -> runs/one-per-dataset/reduced/val-epoch-1-….lance
//!   runs/one-per-dataset/metrics/train-epoch-2-….lance -> runs/one-per-dataset/reduced/train-epoch-2-….lance
//!   runs/one-per-dataset/metrics/val-epoch-2-….lance -> runs/one-per-dataset/reduced/val-epoch-2-….lance
//! ```

#![expect(clippy::print_stdout, reason = "an example")]

use std::sync::Arc;

use tlc::core::arrow_array::{Int64Array, RecordBatch};
use tlc::core::arrow_schema::{DataType, Field, Schema};
use tlc::core::rng::Stream;
use tlc::core::{Column, FieldRoles, Lineage, MetricsSink, MetricsTable, NumberRole, Operation, Progress, Url};
use tlc::run::{Project, ReduceOptions, Run, UrlMapping};
use tlc::table::LanceStore;

const SAMPLES: usize = 200;
const WIDTH: usize = 32;

fn main() -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join("tlc-reduce-run");
    let project = Project::new(Arc::new(LanceStore::default()), Url::from_path(&folder)?);
    let train = project.root().join("datasets/toys/train.lance")?;
    let progress = Progress::default();

    // Embeddings were collected over several epochs on both splits. Points are to be seen moving, so one model must
    // place them all.

    // 1. Fit on the newest embeddings that describe one table, and apply to all tables of the run. The sources are
    //    deleted afterwards, which saves most of the disk.
    let run = run_with_embeddings(&project, "one-model")?;
    let pacmap = tlc::create_reducer("pacmap", [])?;
    let mapping =
        run.reduce_embeddings_by_foreign_table_url(&train, &ReduceOptions::new([pacmap.clone()]), &progress)?;
    print(&project, "one model for all", &mapping);

    // 2. Fit on the newest embeddings of each dataset, and apply to the others of that dataset.
    let run = run_with_embeddings(&project, "one-per-dataset")?;
    let mapping = run.reduce_embeddings_per_dataset(&ReduceOptions::new([pacmap]), &progress)?;
    print(&project, "one model per dataset", &mapping);
    Ok(())
}

/// A run with made-up embeddings of three epochs; see the example `train_and_collect` for real ones.
fn run_with_embeddings(project: &Project, name: &str) -> anyhow::Result<Run> {
    let run = project.create_run(name, Default::default())?;
    for epoch in 0..3_u64 {
        for split in ["train", "val"] {
            let noise = Stream::new(epoch, split);
            let class = |i: usize, j: usize| if i / WIDTH % 4 == j % 4 { epoch as f32 } else { 0.0 };
            let value = |i: usize| class(i, i % WIDTH) + noise.normal(i as u64, 0) as f32;
            let values = (0..SAMPLES * WIDTH).map(value).collect();
            let embedding = Column::embedding("embeddings", WIDTH, values, NumberRole::NnEmbedding)?;
            let id = Field::new("example_id", DataType::Int64, false).with_role(NumberRole::ExampleId);
            let schema = Arc::new(Schema::new(vec![id, embedding.field]));
            let ids = Arc::new(Int64Array::from_iter_values(0..SAMPLES as i64));
            let rows = RecordBatch::try_new(schema.clone(), vec![ids, embedding.values])?;
            let table = MetricsTable {
                name: format!("{split}-epoch-{epoch}"),
                foreign_table: Some(project.root().join(&format!("datasets/toys/{split}.lance"))?),
                constants: [("epoch".to_owned(), epoch.into())].into_iter().collect(),
                lineage: Lineage::new("example/1", Operation::new("made-up", 1)),
            };
            run.write_metrics(table, &schema, Box::new([Ok(rows)].into_iter()))?;
        }
    }
    Ok(run)
}

/// Which reduced table was made from which.
fn print(project: &Project, title: &str, mapping: &UrlMapping) {
    println!("{title}:");
    for (source, reduced) in mapping.iter() {
        println!("  {} -> {}", source.relative_to(project.root()), reduced.relative_to(project.root()));
    }
}
