//! `tlc find`: samples that are worth a look, in the terminal.

use clap::Args;
use tlc::core::Progress;
use tlc::reduce::knn::DiskOptions;
use tlc::view::find::{Finder, find_with};
use tlc::view::printable;

use super::scene::{self, WhatArgs};

/// What to look for, and where.
#[derive(Args)]
pub(crate) struct FindArgs {
    /// mislabelled, between, outliers, switched, movers or duplicates
    finder: String,
    #[command(flatten)]
    what: WhatArgs,
    /// The reduced column [default: the deepest layer's]
    #[arg(long)]
    layout: Option<String>,
    /// Only the dataset of this name, such as train [default: all]
    #[arg(long)]
    dataset: Option<String>,
    /// The epoch [default: the last]
    #[arg(long)]
    epoch: Option<i64>,
    /// How many to list
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Memory for rows where more than 1 GiB of embeddings is searched in files, in MiB; some 60 bytes per row come on top
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    memory: usize,
    /// As a JSON object per line instead of a table
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &FindArgs, progress: &Progress) -> anyhow::Result<()> {
    let finder = Finder::named(&args.finder)?;
    let options = DiskOptions { memory_bytes: args.memory.saturating_mul(1 << 20), ..DiskOptions::default() };
    let scene = scene::open(&args.what, progress)?;
    let layout = scene.layout(args.layout.as_deref())?;
    let mut any = false;
    for (index, dataset) in scene.datasets.iter().enumerate() {
        if args.dataset.as_ref().is_some_and(|name| *name != dataset.name) {
            continue;
        }
        let newest = scene.newest_of(layout.tables.iter().copied(), Some(index), args.epoch);
        let Some(table) = newest else { continue };
        any = true;
        let found = find_with(&scene, finder, layout, table, args.limit, &options, progress)?;
        if args.json {
            for row in &found.rows {
                let mut line = serde_json::to_value(row)?;
                line["dataset"] = dataset.name.clone().into();
                say!("{line}");
            }
            continue;
        }
        let epoch = scene.tables[table].epoch.map(|epoch| format!(", epoch {epoch}")).unwrap_or_default();
        let head = format!("{} in {}{epoch}, {}", found.title, dataset.name, layout.name);
        say!("{}\n{}", printable(&head), printable(&found.rule));
        for row in &found.rows {
            say!("{:>10}  {:>7.3}  {}", row.example_id, row.score, printable(&row.why));
        }
        say!("{} listed\n", found.rows.len());
    }
    if !any {
        let names: Vec<&str> = scene.datasets.iter().map(|dataset| dataset.name.as_str()).collect();
        anyhow::bail!("no table of {} is of this dataset and epoch; datasets: {}", layout.name, names.join(", "));
    }
    Ok(())
}
