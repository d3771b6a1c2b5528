//! Throw-away folders of node packages, each with exactly what its lock file pins.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cargo, places, setup};

/// Puts what the lock file in `pins` asks for into the folder `name` of the cache.
pub(crate) fn environment(name: &str, pins: &Path) -> Result<()> {
    setup::install_node()?;
    let folder = places::cache()?.join(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(pins.join(file), folder.join(file)).with_context(|| format!("cannot copy {file}"))?;
    }
    install(&folder)
}

/// Installs what the lock file in `folder` pins. npm begins from nothing, so it is called only if something else is wanted
/// than is there.
pub(crate) fn install(folder: &Path) -> Result<()> {
    let lock = folder.join("package-lock.json");
    let wanted = fs::read(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let installed = folder.join("node_modules/tlc-package-lock.json");
    if fs::read(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    println!("installing node packages into {}", folder.display());
    npm(folder, &["ci", "--no-audit", "--no-fund", "--silent"])?;
    fs::write(&installed, wanted).with_context(|| format!("cannot write {}", installed.display()))
}

pub(crate) fn npm(folder: &Path, args: &[&str]) -> Result<()> {
    cargo::finish(Command::new("npm").args(args).current_dir(folder))
}
