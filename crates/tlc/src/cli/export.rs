//! `tlc export`: tables and maps as files of other programs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use tlc::core::{Progress, Scan, StoreError};
use tlc::table::{write_bytes, write_file};
use tlc::view::export::{Format, HtmlOptions, embedding_atlas, encode, html, rows_of_tables, tensorboard};
use tlc::view::{Scene, SceneLayout};

use super::scene::{self, WhatArgs};
use super::tables::TableArgs;

/// What is written, and as what.
#[derive(Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// A table as it is, with all its columns, as .parquet, .csv or .arrow
    #[arg(
        value_name = "FILE",
        required_unless_present_any = ["html", "embedding_atlas", "tensorboard", "parquet", "csv"],
    )]
    file: Option<PathBuf>,
    /// The page with all its data, as one file that opens from disk without a network
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// A Parquet file for Embedding Atlas: --x projection_x --y projection_y --neighbors neighbors
    #[arg(long, value_name = "FILE")]
    embedding_atlas: Option<PathBuf>,
    /// A folder for TensorBoard's projector: tensors, metadata, pictures
    #[arg(long, value_name = "FOLDER")]
    tensorboard: Option<PathBuf>,
    /// What is known of each sample, and its place in the map, as Parquet
    #[arg(long, value_name = "FILE")]
    parquet: Option<PathBuf>,
    /// The same as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// The reduced column [default: all in --html, otherwise the deepest layer's]
    #[arg(long)]
    layout: Option<String>,
    /// Only the dataset of this name, such as train [default: all]
    #[arg(long)]
    dataset: Option<String>,
    /// Only this epoch [default: all in --html, --parquet and --csv, otherwise the last]
    #[arg(long)]
    epoch: Option<i64>,
    /// Pictures in --html, per dataset and at most
    #[arg(long, default_value_t = 1000)]
    images: usize,
}

pub(crate) fn run(args: &ExportArgs, progress: &Progress) -> anyhow::Result<()> {
    if let Some(file) = &args.file {
        table(args, file, progress)?;
    }
    let of_scene = [&args.html, &args.embedding_atlas, &args.tensorboard, &args.parquet, &args.csv];
    if of_scene.iter().all(|file| file.is_none()) {
        return Ok(());
    }
    let mut scene = scene::open(&args.what, progress)?;
    if let Some(file) = &args.html {
        if let Some(name) = &args.layout {
            scene.layout(Some(name))?;
            scene.layouts.retain(|layout| layout.name == *name);
        }
        for layout in &mut scene.layouts {
            let is_meant = |&table: &usize| args.is_meant(&scene.datasets, &scene.tables[table]);
            layout.tables.retain(is_meant);
        }
        scene.layouts.retain(|layout| !layout.tables.is_empty());
        if scene.layouts.is_empty() {
            bail!("{} has no layout of this dataset and epoch; reduce it with `tlc reduce`", scene.title);
        }
        let page = html(&scene, &HtmlOptions { images: args.images }, progress)?;
        write_bytes(file, page.as_bytes())?;
        say!("{}  {:.1} MB; it opens in a browser as it is", file.display(), page.len() as f64 / 1e6);
    }
    let layout = scene.layout(args.layout.as_deref());
    let layout = layout.with_context(|| format!("{} has no such layout; `tlc reduce` makes them", scene.title))?;
    let all: Vec<usize> = args.tables(&scene, layout)?;
    let newest = newest_of_each(&scene, &all);
    if let Some(file) = &args.embedding_atlas {
        let rows = embedding_atlas(&scene, layout, &newest, progress)?;
        write_bytes(file, &encode(&rows, Format::Parquet)?)?;
        say!("{}  {} rows", file.display(), rows.num_rows());
        say!("show it: embedding-atlas {} --x projection_x --y projection_y --neighbors neighbors", file.display());
    }
    if let Some(folder) = &args.tensorboard {
        let made = tensorboard(&scene, layout, &newest, progress)?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        for (name, content) in &made.files {
            write_bytes(&folder.join(name), content)?;
        }
        let vectors = if made.has_embeddings { "embeddings" } else { "coordinates (there are no embeddings)" };
        say!("{}  {vectors}; show them: tensorboard --logdir {0}", folder.display());
        if made.n_left_out > 0 {
            say!("{} rows without a vector are left out", made.n_left_out);
        }
    }
    for (file, format) in [(&args.parquet, Format::Parquet), (&args.csv, Format::Csv)] {
        if let Some(file) = file {
            let rows = rows_of_tables(&scene, &all, Some(layout))?;
            write_bytes(file, &encode(&rows, format)?)?;
            say!("{}  {} rows", file.display(), rows.num_rows());
        }
    }
    Ok(())
}

impl ExportArgs {
    fn is_meant(&self, datasets: &[tlc::view::SceneDataset], table: &tlc::view::SceneTable) -> bool {
        self.dataset.as_ref().is_none_or(|name| datasets[table.dataset].name == *name)
            && self.epoch.is_none_or(|epoch| table.epoch == Some(epoch))
    }

    /// The tables that are meant and have the layout.
    fn tables(&self, scene: &Scene, layout: &SceneLayout) -> anyhow::Result<Vec<usize>> {
        let is_meant = |table: &usize| self.is_meant(&scene.datasets, &scene.tables[*table]);
        let tables: Vec<usize> = layout.tables.iter().copied().filter(is_meant).collect();
        if tables.is_empty() {
            let names: Vec<&str> = scene.datasets.iter().map(|dataset| dataset.name.as_str()).collect();
            bail!("no table of {} is of this dataset and epoch; datasets: {}", layout.name, names.join(", "));
        }
        Ok(tables)
    }
}

/// Of each dataset the last of `tables`.
fn newest_of_each(scene: &Scene, tables: &[usize]) -> Vec<usize> {
    let newest = |dataset| scene.newest_of(tables.iter().copied(), Some(dataset), None);
    (0..scene.datasets.len()).filter_map(newest).collect()
}

/// A table as it is.
fn table(args: &ExportArgs, file: &Path, progress: &Progress) -> anyhow::Result<()> {
    let table = args.what.what.clone().context("name the table that is to be written")?;
    // The nearest project above a folder is its own, whatever the default.
    let project = (!Path::new(&table).exists()).then(|| args.what.project.project.clone());
    let (_, table) = TableArgs { table, project }.table()?;
    let task = progress.task("export", table.rows());
    let rows = table.scan(Scan::default())?.map(|batch| {
        let batch = batch?;
        task.advance(batch.num_rows() as u64).map_err(StoreError::from)?;
        Ok(batch)
    });
    let n = write_file(file, &table.info().schema, Box::new(rows))?;
    say!("{}\n{n} rows", file.display());
    Ok(())
}
