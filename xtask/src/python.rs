//! Throw-away Python environments, each with exactly what its requirements pin.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cargo, places};

/// The interpreter of the environment `name` in the cache; it is made anew when `requirements` change.
pub(crate) fn environment(name: &str, requirements: &Path) -> Result<PathBuf> {
    let venv = places::cache()?.join(name);
    let python = venv.join("bin/python");
    let text = fs::read_to_string(requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let installed = venv.join("tlc-requirements.txt");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == text) {
        return Ok(python);
    }
    println!("installing Python packages into {}", venv.display());
    cargo::finish(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))
        .context("this needs Python with venv (Debian: python3-venv)")?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(requirements);
    cargo::finish(&mut pip)?;
    fs::write(installed, text)?;
    Ok(python)
}
