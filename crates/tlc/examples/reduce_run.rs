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

use tlc::core::rng::Stream;
use tlc::core::{Column, NumberRole, Progress, Url};
use tlc::run::{NewMetrics, Project, ReduceOptions, Run, RunStatus, UrlMapping};

const SAMPLES: usize = 200;
const WIDTH: usize = 32;

fn main() -> anyhow::Result<()> {
    let project = tlc::open_project(std::env::temp_dir().join("tlc-reduce-run"))?;
    let [train, val] = [samples(&project, "train")?, samples(&project, "val")?];
    let progress = Progress::default();

    // Embeddings were collected over several epochs on both splits. Points are to be seen moving, so one model must
    // place them all.

    // 1. Fit on the newest embeddings that describe one table, and apply to all tables of the run. The sources are
    //    deleted afterwards, which saves most of the disk.
    let run = run_with_embeddings(&project, "one-model", [&train, &val])?;
    let pacmap = tlc::create_reducer("pacmap", [])?;
    let mapping =
        run.reduce_embeddings_by_foreign_table_url(&train, &ReduceOptions::new([pacmap.clone()]), &progress)?;
    run.set_status(RunStatus::Completed)?;
    print(&project, "one model for all", &mapping);

    // 2. Fit on the newest embeddings of each dataset, and apply to the others of that dataset.
    let run = run_with_embeddings(&project, "one-per-dataset", [&train, &val])?;
    let mapping = run.reduce_embeddings_per_dataset(&ReduceOptions::new([pacmap]), &progress)?;
    run.set_status(RunStatus::Completed)?;
    print(&project, "one model per dataset", &mapping);
    Ok(())
}

/// The table whose rows the samples of a split are.
fn samples(project: &Project, split: &str) -> anyhow::Result<Url> {
    let labels = Column::labels("label", (0..SAMPLES as i64).map(|i| i % 4), ["car", "doll", "ball", "kite"]);
    Ok(project.table_from_columns("toys", split, vec![labels])?.url)
}

/// A run with made-up embeddings of three epochs, as another program may have computed them; see the example
/// `train_and_collect` for how they are collected from a model.
fn run_with_embeddings(project: &Project, name: &str, [train, val]: [&Url; 2]) -> anyhow::Result<Run> {
    let run = project.create_run(name, Default::default())?;
    for epoch in 0..3_i64 {
        for (split, table) in [("train", train), ("val", val)] {
            let noise = Stream::new(epoch as u64, split);
            let class = |i: usize, j: usize| if i / WIDTH % 4 == j % 4 { epoch as f32 } else { 0.0 };
            let value = |i: usize| class(i, i % WIDTH) + noise.normal(i as u64, 0) as f32;
            let values = (0..SAMPLES * WIDTH).map(value).collect();
            let embedding = Column::embedding("embeddings", WIDTH, values, NumberRole::NnEmbedding)?;
            run.add_metrics(NewMetrics::new(vec![embedding]).of(table).epoch(epoch).split(split))?;
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
