//! Layers of well-known models beside what Python's forward hooks see in them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{EVERYTHING, bench, cargo, places, python, setup};

/// Exports models by Python's torch and timm (some GiB to download, once), compares all layers, and writes the table
/// into `benches/results`.
pub(crate) fn run() -> Result<()> {
    setup::run()?;
    let scripts = places::workspace().join("examples/export");
    let python = python::environment("parity-venv", &scripts.join("requirements.txt"))?;
    let models = places::cache()?.join("parity-models");
    cargo::finish(Command::new(&python).arg(scripts.join("export.py")).arg(&models))?;
    cargo::run(&[&["build"], &EVERYTHING[..], &["--example", "parity"]].concat(), &[])?;
    let mut compare = Command::new(places::target()?.join("debug/examples/parity"));
    let output = compare.arg(&models).stderr(Stdio::inherit()).output().context("cannot run the comparison")?;
    let table = String::from_utf8(output.stdout).context("the table is text")?;
    println!("{table}");
    if !output.status.success() {
        bail!("layers differ from Python's ({})", output.status);
    }
    let date = bench::today()?;
    let path = places::workspace().join(format!("benches/results/{date}-parity.md"));
    fs::write(&path, page(&date, &scripts.join("requirements.txt"), &table)?)?;
    println!("written: {}", path.display());
    Ok(())
}

fn page(date: &str, requirements: &Path, table: &str) -> Result<String> {
    let requirements = fs::read_to_string(requirements)?;
    let packages: Vec<&str> = requirements.lines().filter(|line| !line.starts_with('#')).collect();
    Ok(format!(
        "# Layers of TorchScript files beside Python's forward hooks, {date}\n\n\
         - Command: `cargo xtask parity`; Python with {}\n\
         - Of each model the traced and the scripted file; random weights, MiniLM's its own; inputs of two samples, MiniLM's \
         two texts of different lengths with their attention mask, by name\n\
         - Names and indices of all modules and shapes of all layers compared are the same. *Largest error*: over all \
         values of these, the largest difference over the largest magnitude in the layer; 0 is bit for bit, up to 1e-5 is \
         accepted\n\
         - *Lost in tracing*: `Identity` and `Dropout`, whose calls a traced file does not have; listening to one is an \
         error\n\n{table}",
        packages.join(", "),
    ))
}
