//! tlc's collection beside Python's forward hooks: the same exported model, layers, reshape and number of threads.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::environment;
use super::measure::{last_line, seconds_since_1970, today};
use crate::{EVERYTHING, cargo, places, python};

/// As `--only` names it.
pub(super) const NAME: &str = "collection";
const LAYERS: &str = "layer2,layer3,layer4,global_pool";

struct Sizes {
    /// Batches, samples in each, pixels a side, rounds of each process.
    work: [&'static str; 4],
    /// Of each side, in turn.
    processes: usize,
}

const FULL: Sizes = Sizes { work: ["6", "32", "128", "5"], processes: 5 };
const QUICK: Sizes = Sizes { work: ["2", "2", "32", "2"], processes: 1 };

/// Measures and writes the page, whose path it returns. A quick run says little about speed; its page goes into the
/// cache.
pub(super) fn run(is_quick: bool) -> Result<PathBuf> {
    let sizes = if is_quick { QUICK } else { FULL };
    let scripts = places::workspace().join("examples/export");
    let python = python::environment("parity-venv", &scripts.join("requirements.txt"))?;
    let models = places::cache()?.join("parity-models");
    let model = models.join("resnet18.pt");
    // The latter is what Python loads.
    if !model.exists() || !model.with_extension("pth").exists() {
        cargo::finish(Command::new(&python).arg(scripts.join("export.py")).arg(&models).arg("resnet18"))?;
    }
    cargo::run(&[&["build"], &EVERYTHING[..], &["--example", "collect_peer"]].concat(), &[])?;
    let ours = places::target()?.join("debug/examples/collect_peer");
    let threads = available_parallelism()?.to_string();
    let mut reports: [Vec<Value>; 2] = Default::default();
    for process in 0..sizes.processes {
        for (side, reports) in reports.iter_mut().enumerate() {
            let mut command = if side == 0 { Command::new(&ours) } else { Command::new(&python) };
            if side == 1 {
                command.arg(environment::folder().join("collect.py"));
            }
            command.arg(&model).arg(LAYERS).args(sizes.work);
            command.env("OMP_NUM_THREADS", &threads).env("TLC_STARTED_AT", seconds_since_1970()?.to_string());
            let report = last_line(&mut command)?;
            println!("{} process {process}: first batch after {}", report["version"], report["first_batch_secs"]);
            reports.push(report);
        }
    }
    let page = page(&reports, &sizes)?;
    let folder =
        if is_quick { places::cache()?.join("bench-quick") } else { places::workspace().join("benches/results") };
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{}-collection.md", today()?));
    fs::write(&path, page)?;
    Ok(path)
}

fn page(reports: &[Vec<Value>; 2], sizes: &Sizes) -> Result<String> {
    let [batches, batch, side, rounds] = sizes.work;
    let processes = sizes.processes;
    let images: f64 = batches.parse::<f64>()? * batch.parse::<f64>()?;
    let mut text = format!(
        "# Collection beside Python's forward hooks, {}\n\n- ResNet-18 of timm, traced, {batches} batches of {batch} images of \
         3 × {side} × {side}, layers {LAYERS}, reshape `mean`; {processes} processes of each in turn, {rounds} rounds in \
         each, medians (least to most); every batch goes all ways before the next\n- Machine: {} threads; command: `cargo xtask bench --peers --only {NAME}`\n\
         - *Bare*: tlc's is `tch::CModule::forward_ts` of the file, with nothing of tlc in it. *Nobody listens*: what a \
         forward pass through tlc without listeners adds to it; *hooks*: what listening adds; *with reshape and copy*: what \
         collecting adds, each beside the bare passes of the same round. *First batch*: from the start of the process to the first batch's rows, \
         loading of the model with it\n- Python runs timm's own module, its weights loaded once, with \
         `register_forward_hook`, since loaded TorchScript modules take none\n\n\
         | | bare, images/s | nobody listens | hooks | with reshape and copy | collected, images/s | first batch, s |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
        today()?,
        available_parallelism()?,
    );
    for reports in reports {
        let series = |name: &str| -> Result<Vec<f64>> {
            let all = reports.iter().map(|report| serde_json::from_value::<Vec<f64>>(report[name].clone()));
            Ok(all.collect::<Result<Vec<_>, _>>()?.concat())
        };
        let (bare, hooks, all) = (series("bare")?, series("hooks")?, series("all")?);
        let added = |with: &[f64]| with.iter().zip(&bare).map(|(with, bare)| 100.0 * (with / bare - 1.0)).collect();
        let is_ours = reports.iter().all(|report| report.get("idle").is_some());
        let idle = if is_ours { cell(added(&series("idle")?), 1, " %")? } else { "–".to_owned() };
        let speed = |seconds: &[f64]| seconds.iter().map(|seconds| images / seconds).collect();
        let first: Vec<f64> = reports.iter().filter_map(|report| report["first_batch_secs"].as_f64()).collect();
        let version = reports.first().and_then(|report| report["version"].as_str()).context("a version")?;
        let cells = [
            cell(speed(&bare), 1, "")?,
            idle,
            cell(added(&hooks), 1, " %")?,
            cell(added(&all), 1, " %")?,
            cell(speed(&all), 1, "")?,
            cell(first, 2, "")?,
        ];
        writeln!(text, "| {version} | {} |", cells.join(" | "))?;
    }
    let taps: Result<Vec<[f64; 3]>> = reports[0].iter().map(|report| taps(&report["taps"])).collect();
    let taps = taps?;
    let of = |number: fn(&[f64; 3]) -> f64| taps.iter().map(number).collect::<Vec<f64>>();
    let share = |[count, nanoseconds, forward]: &[f64; 3]| 100.0 * count * nanoseconds * 1e-9 / forward;
    writeln!(
        text,
        "\nTaps of a model in Rust while nobody listens, ResNet-18 on one of the batches: {} of them, {} each, {} of a \
         forward pass.",
        cell(of(|taps| taps[0]), 0, "")?,
        cell(of(|taps| taps[1]), 1, " ns")?,
        cell(of(share), 5, " %")?,
    )?;
    Ok(text)
}

/// How many there are, nanoseconds of each, seconds of a forward pass.
fn taps(report: &Value) -> Result<[f64; 3]> {
    let number = |name: &str| report[name].as_f64().with_context(|| format!("no {name} of taps"));
    Ok([number("count")?, number("nanoseconds")?, number("forward_secs")?])
}

/// Median, least and most.
fn cell(mut values: Vec<f64>, digits: usize, unit: &str) -> Result<String> {
    ensure!(!values.is_empty(), "nothing was measured");
    values.sort_by(f64::total_cmp);
    let (least, median, most) = (values[0], values[values.len() / 2], values[values.len() - 1]);
    Ok(format!("{median:.digits$}{unit} ({least:.digits$} to {most:.digits$})"))
}
