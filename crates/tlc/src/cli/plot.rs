//! `tlc plot`: pictures of a run's or a table's layouts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tlc::core::{NumberRole, Progress, distinct};
use tlc::view::plot::{Film, Scatter, Still, scatter_of, still_of, to_text, write_contact_sheet, write_gif};
use tlc::view::{Scene, SceneColumn, SceneLayout};

use super::scene::{self, WhatArgs};

/// The picture of all pictures.
const SHEET: &str = "contact-sheet";

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
    let films = film_names(&scene, &layouts);
    let film = |layout: &SceneLayout, dataset: usize, row: Vec<Still>| -> anyhow::Result<()> {
        if !args.gif || row.len() < 2 {
            return Ok(());
        }
        let file = args.out.join(format!("{}.gif", films[&(layout.name.as_str(), dataset)]));
        let mut film = Film::new(row);
        film.frames_between = args.frames_between.map_or(film.frames_between, usize::from);
        write_gif(&file, &film, Duration::from_millis(args.delay.into()), progress)?;
        say!("{} epochs, one after the other: {}", film.stills.len(), file.display());
        Ok(())
    };
    let rows = draw(&scene, &layouts, color, &args.out, film, progress)?;
    let n_pictures: usize = rows.iter().map(Vec::len).sum();
    say!("{n_pictures} pictures, each as .png and .svg: {}", args.out.display());
    if n_pictures > 1 {
        let path = write_sheet(&args.out, &scene.title, &rows)?;
        say!("all of them at once: {}", path.display());
    }
    Ok(())
}

/// Writes a picture of each layout in each table into the folder `out`, as PNG and SVG, and returns them in rows: a
/// layout's of one dataset, epoch by epoch. `with_row` gets each row once it is drawn.
pub(super) fn draw(
    scene: &Scene,
    layouts: &[&SceneLayout],
    color: Option<&SceneColumn>,
    out: &Path,
    mut with_row: impl FnMut(&SceneLayout, usize, Vec<Still>) -> anyhow::Result<()>,
    progress: &Progress,
) -> anyhow::Result<Vec<Vec<Scatter>>> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    let n_pictures: usize = layouts.iter().map(|layout| layout.tables.len()).sum();
    let task = progress.task("draw", n_pictures as u64);
    let names = picture_names(scene, layouts);
    let mut rows = Vec::new();
    for &layout in layouts {
        for dataset in 0..scene.datasets.len() {
            let row = draw_row(scene, layout, dataset, color, (out, &names), &task)?;
            if !row.is_empty() {
                rows.push(row.iter().map(Still::scatter).collect());
            }
            with_row(layout, dataset, row)?;
        }
    }
    Ok(rows)
}

/// Writes the picture of all pictures into the folder `out`, and returns its path.
pub(super) fn write_sheet(out: &Path, title: &str, rows: &[Vec<Scatter>]) -> anyhow::Result<PathBuf> {
    let path = out.join(format!("{SHEET}.png"));
    write_contact_sheet(&path, title, rows)?;
    Ok(path)
}

/// The names of files, without what they end with, by layout and table or dataset. No two are the same.
type Names<'a> = BTreeMap<(&'a str, usize), String>;

/// Of each picture, by dataset, epoch and layout; where several tables would share one, by table as well.
fn picture_names<'a>(scene: &Scene, layouts: &[&'a SceneLayout]) -> Names<'a> {
    let of_layout = |layout: &&'a SceneLayout| {
        let name = layout.name.as_str();
        layout.tables.iter().map(move |&table| (name, table)).collect::<Vec<_>>()
    };
    names(layouts.iter().flat_map(of_layout).collect(), |(layout, table), is_long| {
        let table = &scene.tables[table];
        let dataset = &scene.datasets[table.dataset].name;
        let epoch = table.epoch.map(|epoch| format!("-epoch-{epoch}")).unwrap_or_default();
        let more = if is_long { format!("-{}", table.name) } else { String::new() };
        format!("{dataset}{epoch}{more}-{layout}")
    })
}

/// Of each GIF, by dataset and layout.
fn film_names<'a>(scene: &Scene, layouts: &[&'a SceneLayout]) -> Names<'a> {
    let of_layout = |layout: &&'a SceneLayout| {
        let name = layout.name.as_str();
        (0..scene.datasets.len()).map(|dataset| (name, dataset)).collect::<Vec<_>>()
    };
    let name = |(layout, dataset): (&str, usize), _| format!("{}-{layout}", scene.datasets[dataset].name);
    names(layouts.iter().flat_map(of_layout).collect(), name)
}

/// Names by `name`, or the longer ones that it gives for `true`, in characters that files may have.
fn names<'a>(keys: Vec<(&'a str, usize)>, name: impl Fn((&'a str, usize), bool) -> String) -> Names<'a> {
    let plain = |c: char| if c.is_control() || "/\\:*?\"<>|".contains(c) { '-' } else { c };
    let name = |key, is_long| -> String { name(key, is_long).chars().map(plain).collect() };
    let sheet = std::iter::once(SHEET.to_owned());
    let short: Vec<String> = sheet.chain(keys.iter().map(|&key| name(key, false))).collect();
    // The first is taken.
    let distinct = distinct(&short, |place| place.checked_sub(1).map_or(SHEET.to_owned(), |key| name(keys[key], true)));
    keys.into_iter().zip(distinct.into_iter().skip(1)).collect()
}

/// Draws one layout of one dataset, epoch by epoch.
fn draw_row(
    scene: &Scene,
    layout: &SceneLayout,
    dataset: usize,
    color: Option<&SceneColumn>,
    (out, names): (&Path, &Names<'_>),
    task: &tlc::core::Task,
) -> anyhow::Result<Vec<Still>> {
    let is_of_dataset = |table: &usize| scene.tables[*table].dataset == dataset;
    let mut tables: Vec<usize> = layout.tables.iter().copied().filter(is_of_dataset).collect();
    tables.sort_by_key(|&table| (scene.tables[table].epoch, table));
    let mut row = Vec::new();
    for table in tables {
        let still = still_of(scene, layout, table, color)?;
        let plot = still.scatter();
        let name = &names[&(layout.name.as_str(), table)];
        plot.write_svg(&out.join(format!("{name}.svg")))?;
        plot.write_png(&out.join(format!("{name}.png")))?;
        row.push(still);
        task.advance(1)?;
    }
    Ok(row)
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
