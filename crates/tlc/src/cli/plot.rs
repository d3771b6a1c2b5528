//! `tlc plot`: pictures of a run's or a table's layouts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tlc::core::{NumberRole, Progress};
use tlc::view::plot::{Film, Scatter, Still, scatter_of, still_of, to_text, write_contact_sheet, write_gif};
use tlc::view::{Scene, SceneColumn, SceneLayout};

use super::scene::{self, WhatArgs};

/// What is drawn.
#[derive(Args)]
pub(crate) struct PlotArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// The reduced column [default: all]
    #[arg(long)]
    layout: Option<String>,
    /// The column that colours points [default: the labels]
    #[arg(long)]
    color: Option<String>,
    /// The folder to write into
    #[arg(long, default_value = "pictures")]
    out: PathBuf,
    /// Also a GIF per layout and dataset in which the points move from epoch to epoch
    #[arg(long)]
    gif: bool,
    /// Milliseconds that an epoch stays in a GIF
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(20..=60_000))]
    delay: u32,
    /// Frames of 50 ms between two epochs of a GIF, in which each point goes straight to its next place; 0 for none
    /// [default: 8, fewer for more than 20 epochs; the file grows with the number of frames]
    #[arg(long, value_name = "FRAMES", value_parser = clap::value_parser!(u8).range(0..=100))]
    frames_between: Option<u8>,
    /// Draw into the terminal instead of files: the last epoch, in colours unless NO_COLOR is set
    #[arg(long, conflicts_with_all = ["gif", "out"])]
    terminal: bool,
}

pub(crate) fn run(args: &PlotArgs, progress: &Progress) -> anyhow::Result<()> {
    let scene = scene::open(&args.what, progress)?;
    let layouts: Vec<&SceneLayout> = match &args.layout {
        Some(name) => vec![scene.layout(Some(name))?],
        None => scene.layouts.iter().collect(),
    };
    scene.layout(None).with_context(|| format!("{} has no layout; reduce it first with `tlc reduce`", scene.title))?;
    let color = match &args.color {
        Some(name) => Some(scene.column(name)?),
        None => scene.column_with_role(&NumberRole::Label),
    };
    if args.terminal {
        return draw_in_terminal(&scene, &layouts, color, args.layout.is_none());
    }
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    let n_pictures: usize = layouts.iter().map(|layout| layout.tables.len()).sum();
    let task = progress.task("draw", n_pictures as u64);
    let mut sheet = Vec::new();
    for layout in &layouts {
        for dataset in 0..scene.datasets.len() {
            let row = draw_row(&scene, layout, dataset, color, &args.out, &task)?;
            if !row.is_empty() {
                sheet.push(row.iter().map(Still::scatter).collect::<Vec<Scatter>>());
            }
            if args.gif && row.len() > 1 {
                let file = args.out.join(format!("{}-{}.gif", scene.datasets[dataset].name, layout.name));
                let mut film = Film::new(row);
                film.frames_between = args.frames_between.map_or(film.frames_between, usize::from);
                write_gif(&file, &film, Duration::from_millis(args.delay.into()), progress)?;
                say!("{} epochs, one after the other: {}", film.stills.len(), file.display());
            }
        }
    }
    say!("{n_pictures} pictures, each as .png and .svg: {}", args.out.display());
    if n_pictures > 1 {
        let path = args.out.join("contact-sheet.png");
        write_contact_sheet(&path, &scene.title, &sheet)?;
        say!("all of them at once: {}", path.display());
    }
    Ok(())
}

/// Draws one layout of one dataset, epoch by epoch.
fn draw_row(
    scene: &Scene,
    layout: &SceneLayout,
    dataset: usize,
    color: Option<&SceneColumn>,
    out: &Path,
    task: &tlc::core::Task,
) -> anyhow::Result<Vec<Still>> {
    let is_of_dataset = |table: &usize| scene.tables[*table].dataset == dataset;
    let mut tables: Vec<usize> = layout.tables.iter().copied().filter(is_of_dataset).collect();
    tables.sort_by_key(|&table| (scene.tables[table].epoch, table));
    let mut row = Vec::new();
    for table in tables {
        let still = still_of(scene, layout, table, color)?;
        let plot = still.scatter();
        let file = out.join(format!("{}-{}", file_stem(scene, table), layout.name));
        plot.write_svg(&file.with_extension("svg"))?;
        plot.write_png(&file.with_extension("png"))?;
        row.push(still);
        task.advance(1)?;
    }
    Ok(row)
}

/// How the names of a table's pictures begin: by its name, and by more where several tables are called so.
fn file_stem(scene: &Scene, table: usize) -> String {
    let own = &scene.tables[table];
    if scene.tables.iter().filter(|other| other.name == own.name).count() == 1 {
        return own.name.clone();
    }
    let dataset = &scene.datasets[own.dataset].name;
    match own.epoch {
        Some(epoch) => format!("{}-{dataset}-epoch-{epoch}", own.name),
        None => format!("{}-{dataset}-{table}", own.name),
    }
}

/// The last epoch of each dataset, of the default layout or of the one that was named.
fn draw_in_terminal(
    scene: &Scene,
    layouts: &[&SceneLayout],
    color: Option<&SceneColumn>,
    only_default: bool,
) -> anyhow::Result<()> {
    let default = only_default.then(|| scene.layout(None)).transpose()?;
    let width = match std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()) {
        Some(columns) => columns,
        None => usize::from(console::Term::stdout().size().1),
    };
    for layout in default.as_slice().iter().chain(layouts.iter().filter(|_| !only_default)) {
        for dataset in 0..scene.datasets.len() {
            let Some(table) = scene.newest_table(layout, Some(dataset)) else { continue };
            let plot = scatter_of(scene, layout, table, color)?;
            // More than this is a wall of dots.
            say!("{}", to_text(&plot, width.min(120), console::colors_enabled()));
        }
    }
    Ok(())
}
