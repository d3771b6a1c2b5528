//! The page of `tlc view` in a real browser, served by the command as built without libtorch and with it: time to the
//! first picture, bytes, lassos, memory, each beside its target.
//!
//! What is shown is made by `benches/src/bin/view-data.rs`; what is measured, by `tests/measure.mjs` of the page.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::measure::{commit, last_line, today};
use crate::{EVERYTHING, cargo, page, places};

/// As `--only` names it.
pub(super) const NAME: &str = "view";

struct Sizes {
    /// Of the run: tables, and rows of each.
    epochs: usize,
    rows: usize,
    /// Rows of the table that is looked at by itself.
    many: usize,
    /// Of each build, in turn; in each so many rounds.
    processes: usize,
    rounds: usize,
}

const FULL: Sizes = Sizes { epochs: 20, rows: 70_000, many: 1_000_000, processes: 3, rounds: 5 };
const QUICK: Sizes = Sizes { epochs: 3, rows: 3_000, many: 20_000, processes: 1, rounds: 2 };

/// How the command is built, and what the page calls it.
const BUILDS: [(&str, &[&str]); 2] = [("default features", &["--package", "tlc"]), ("all features", &EVERYTHING)];

/// One line of the table: the series of this name, divided by `per`, and the most that it may be.
struct Figure {
    what: &'static str,
    series: &'static str,
    per: f64,
    digits: usize,
    most: Option<f64>,
}

const fn figure(what: &'static str, series: &'static str, digits: usize, most: Option<f64>) -> Figure {
    Figure { what, series, per: 1.0, digits, most }
}

const FIGURES: [Figure; 21] = [
    figure("server: start to the first answer, ms", "start_answer", 0, Some(100.0)),
    figure("… of it until it listens", "start_address", 0, None),
    figure("idle after its start: own memory, MB", "started_own", 1, Some(60.0)),
    figure("… resident", "started_resident", 1, None),
    Figure {
        per: 1e3,
        ..figure("the run: start of the server to the first picture, s", "epochs_picture", 2, Some(2.0))
    },
    Figure { per: 1e3, ..figure("… of it the list of what there is, s", "epochs_manifest", 2, None) },
    figure("places: bytes per point and epoch", "epochs_places", 2, Some(8.0)),
    figure("… with the columns that the page asks for", "epochs_bytes", 2, None),
    figure("idle after the run was shown: own memory, MB", "shown_own", 1, Some(60.0)),
    figure("… resident", "shown_resident", 1, None),
    Figure { per: 1e3, ..figure("the table: start of the server to the first picture, s", "many_picture", 2, None) },
    figure("places: bytes per point, 2-D", "many_places_2d", 2, Some(8.0)),
    figure("places: bytes per point, 3-D", "many_places_3d", 2, Some(8.0)),
    figure("… 2-D with the columns that the page asks for", "many_bytes", 2, None),
    figure("lasso, 2-D, ms", "lasso_2d", 0, Some(150.0)),
    figure("lasso, 3-D, ms", "lasso_3d", 0, Some(150.0)),
    figure("the page's own memory, MB", "page_own", 0, Some(200.0)),
    figure("… the browser's process that draws", "gpu_own", 0, None),
    Figure { per: 1e3, ..figure("the page itself, compressed, kB", "bundle", 1, Some(150.0)) },
    Figure { per: 0.01, ..figure("gzip would leave of places, %", "gzip_share", 0, None) },
    figure("… and take for an epoch, ms", "gzip", 0, None),
];

/// A folder of the cache that is removed at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Measures and writes the page, whose path it returns. A quick run says little about speed; its page goes into the
/// cache. No target that is missed is an error: the page says it.
pub(super) fn run(is_quick: bool) -> Result<PathBuf> {
    let sizes = if is_quick { QUICK } else { FULL };
    let folder = Folder(places::cache()?.join("bench-view"));
    if folder.0.exists() {
        fs::remove_dir_all(&folder.0)?;
    }
    fs::create_dir_all(&folder.0)?;
    let web = page::copy()?;
    let commands = build(&folder.0)?;
    let project = folder.0.join("project");
    println!("making a run of {} × {} rows and a table of {}", sizes.epochs, sizes.rows, sizes.many);
    let numbers = [sizes.epochs, sizes.rows, sizes.many].map(|number| number.to_string());
    let data = last_line(Command::new(places::target()?.join("debug/view-data")).arg(&project).args(numbers))?;
    let job = json!({
        "project": project, "run": data["run"], "epochs": sizes.epochs, "rows": sizes.rows, "table": data["table"],
        "many": sizes.many, "rounds": sizes.rounds,
    });
    let mut reports: [Vec<Value>; 2] = Default::default();
    for process in 0..sizes.processes {
        for ((command, reports), (name, _)) in commands.iter().zip(&mut reports).zip(BUILDS) {
            println!("process {process}, {name}");
            let mut measure = Command::new("node");
            measure.arg("tests/measure.mjs").arg(job.to_string()).current_dir(&web).env("TLC_BIN", command);
            reports.push(last_line(&mut measure)?);
        }
    }
    let text = text(&reports, &sizes)?;
    let folder =
        if is_quick { places::cache()?.join("bench-quick") } else { places::workspace().join("benches/results") };
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{}-{NAME}.md", today()?));
    fs::write(&path, text)?;
    Ok(path)
}

/// The command of each build, put aside, since both builds end in one file.
fn build(folder: &Path) -> Result<Vec<PathBuf>> {
    let built = places::target()?.join("debug/tlc");
    let mut commands = Vec::new();
    for (number, (_, selected)) in BUILDS.into_iter().enumerate() {
        cargo::run(&[&["build"], selected, &["--bin", "tlc"]].concat(), &[])?;
        let command = folder.join(format!("tlc-{number}"));
        fs::copy(&built, &command).with_context(|| format!("cannot copy {}", built.display()))?;
        commands.push(command);
    }
    cargo::run(&[&["build"], &EVERYTHING[..], &["--bin", "view-data"]].concat(), &[])?;
    Ok(commands)
}

fn text(reports: &[Vec<Value>; 2], sizes: &Sizes) -> Result<String> {
    let renderer = reports[0].first().and_then(|report| report["renderer"][0].as_str()).context("no renderer")?;
    let browser = reports[0].first().and_then(|report| report["browser"][0].as_str()).context("no browser")?;
    let Sizes { epochs, rows, many, processes, rounds } = sizes;
    let mut text = format!(
        "# The page of `tlc view`, {}\n\n- *The run*: {epochs} tables of {rows} rows with a 2-D layout, predictions, losses \
         and confidences, labels in the data set's table; *the table*: {many} rows with a 2-D and a 3-D layout\n- {processes} \
         processes of each build in turn, {rounds} rounds in each (the table is opened once, with {rounds} lassos in each \
         layout), medians (least to most); everything was just written, so files come from the system's cache\n- Machine: {} \
         threads, which server and browser share; {browser}, drawn by {renderer}; command: `cargo xtask bench --peers --only \
         {NAME}`; commit {}; the profile of all our benchmarks (`dev`)\n- *Start to the first picture*: from the start of the \
         process of `tlc view` until the points are drawn, in a browser that runs already. *Lasso*: from the end of the drag \
         to the selection, without drawing it. *Own memory*: pages that the process has written and shares with nobody; \
         *resident* are all that are in memory for it, those of its program's file among them. MB are 10⁶ bytes\n\n\
         | | at most | {} | {} |\n|---|---:|---:|---:|\n",
        today()?,
        available_parallelism()?,
        commit(),
        BUILDS[0].0,
        BUILDS[1].0,
    );
    let mut missed = Vec::new();
    for Figure { what, series: name, per, digits, most } in FIGURES {
        let mut cells = vec![what.to_owned(), most.map_or_else(|| "–".to_owned(), |most| most.to_string())];
        for (reports, (build, _)) in reports.iter().zip(BUILDS) {
            let values: Vec<f64> = series(reports, name)?.into_iter().map(|value| value / per).collect();
            let [least, median, most_found] = spread(values).with_context(|| format!("no {name}"))?;
            let is_missed = most.is_some_and(|most| median > most);
            cells.push(format!("{median:.digits$} ({least:.digits$} to {most_found:.digits$})"));
            if is_missed {
                missed.push(format!("{what}, {build}: {median:.digits$}"));
            }
        }
        writeln!(text, "| {} |", cells.join(" | "))?;
    }
    match missed.as_slice() {
        [] => writeln!(text, "\nAll targets are reached.")?,
        missed => writeln!(text, "\nMissed:\n\n- {}", missed.join("\n- "))?,
    }
    Ok(text)
}

fn series(reports: &[Value], name: &str) -> Result<Vec<f64>> {
    let all = reports.iter().map(|report| serde_json::from_value::<Vec<f64>>(report[name].clone()));
    let all = all.collect::<Result<Vec<_>, _>>().with_context(|| format!("no series {name:?}"))?;
    Ok(all.concat())
}

/// Least, median, most.
fn spread(mut values: Vec<f64>) -> Result<[f64; 3]> {
    ensure!(!values.is_empty(), "nothing was measured");
    values.sort_by(f64::total_cmp);
    Ok([values[0], values[values.len() / 2], values[values.len() - 1]])
}
