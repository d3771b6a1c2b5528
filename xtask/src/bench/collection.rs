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
/// Batches, samples in each, pixels a side, rounds of each process.
const SIZES: [&str; 4] = ["6", "32", "128", "5"];
/// Processes of each side, in turn.
const PROCESSES: usize = 5;

/// Measures and writes the page, whose path it returns.
pub(super) fn run() -> Result<PathBuf> {
    let scripts = places::workspace().join("examples/export");
    let python = python::environment("parity-venv", &scripts.join("requirements.txt"))?;
    let models = places::cache()?.join("parity-models");
    let model = models.join("resnet18.pt");
    if !model.exists() {
        cargo::finish(Command::new(&python).arg(scripts.join("export.py")).arg(&models).arg("resnet18"))?;
    }
    cargo::run(&[&["build"], &EVERYTHING[..], &["--example", "collect_peer"]].concat(), &[])?;
    let ours = places::target()?.join("debug/examples/collect_peer");
    let threads = available_parallelism()?.to_string();
    let mut reports: [Vec<Value>; 2] = Default::default();
    for process in 0..PROCESSES {
        for (side, reports) in reports.iter_mut().enumerate() {
            let mut command = if side == 0 { Command::new(&ours) } else { Command::new(&python) };
            if side == 1 {
                command.arg(environment::folder().join("collect.py"));
            }
            command.arg(&model).arg(LAYERS).args(SIZES);
            command.env("OMP_NUM_THREADS", &threads).env("TLC_STARTED_AT", seconds_since_1970()?.to_string());
            let report = last_line(&mut command)?;
            println!("{} process {process}: first batch after {}", report["version"], report["first_batch_secs"]);
            reports.push(report);
        }
    }
    let page = page(&reports)?;
    let path = places::workspace().join(format!("benches/results/{}-collection.md", today()?));
    fs::write(&path, page)?;
    Ok(path)
}

fn page(reports: &[Vec<Value>; 2]) -> Result<String> {
    let [batches, batch, side, rounds] = SIZES;
    let images: f64 = batches.parse::<f64>()? * batch.parse::<f64>()?;
    let mut text = format!(
        "# Collection beside Python's forward hooks, {}\n\n- ResNet-18 of timm, traced, {batches} batches of {batch} images of \
         3 × {side} × {side}, layers {LAYERS}, reshape `mean`; {PROCESSES} processes of each in turn, {rounds} rounds in \
         each, medians (least to most)\n- Machine: {} threads; command: `cargo xtask bench --peers --only {NAME}`\n\
         - *Hooks*: what listening adds to a bare forward pass; *with reshape and copy*: what collecting adds, each beside \
         the bare passes of the same round. *First batch*: from the start of the process to the first batch's rows, \
         loading of the model with it\n- Python runs timm's own module with `register_forward_hook`, since loaded \
         TorchScript modules take none\n\n\
         | | bare, images/s | hooks | with reshape and copy | collected, images/s | first batch, s |\n\
         |---|---:|---:|---:|---:|---:|\n",
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
        let speed = |seconds: &[f64]| seconds.iter().map(|seconds| images / seconds).collect();
        let first: Vec<f64> = reports.iter().filter_map(|report| report["first_batch_secs"].as_f64()).collect();
        let version = reports.first().and_then(|report| report["version"].as_str()).context("a version")?;
        let cells = [
            cell(speed(&bare), 1, "")?,
            cell(added(&hooks), 1, " %")?,
            cell(added(&all), 1, " %")?,
            cell(speed(&all), 1, "")?,
            cell(first, 2, "")?,
        ];
        writeln!(text, "| {version} | {} |", cells.join(" | "))?;
    }
    Ok(text)
}

/// Median, least and most.
fn cell(mut values: Vec<f64>, digits: usize, unit: &str) -> Result<String> {
    ensure!(!values.is_empty(), "nothing was measured");
    values.sort_by(f64::total_cmp);
    let (least, median, most) = (values[0], values[values.len() / 2], values[values.len() - 1]);
    Ok(format!("{median:.digits$}{unit} ({least:.digits$} to {most:.digits$})"))
}
