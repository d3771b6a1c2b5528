//! Layers of well-known models beside what Python's forward hooks see in them.

use std::process::Command;

use anyhow::Result;

use crate::{EVERYTHING, cargo, places, python, setup};

/// Exports models by Python's torch and timm (some GiB to download, once) and compares all layers.
pub(crate) fn run() -> Result<()> {
    setup::run()?;
    let scripts = places::workspace().join("examples/export");
    let python = python::environment("parity-venv", &scripts.join("requirements.txt"))?;
    let models = places::cache()?.join("parity-models");
    cargo::finish(Command::new(&python).arg(scripts.join("export.py")).arg(&models))?;
    cargo::run(&[&["build"], &EVERYTHING[..], &["--example", "parity"]].concat(), &[])?;
    cargo::finish(Command::new(places::target()?.join("debug/examples/parity")).arg(&models))
}
