//! The programs that are measured: built, installed, found.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::contenders::{Bout, Program};
use super::measure::Records;
use crate::{EVERYTHING, cargo, places, python};

pub(super) struct Programs {
    pub(super) ours: PathBuf,
    pub(super) python: PathBuf,
    pub(super) rust: PathBuf,
    /// Where numba keeps what it compiled.
    pub(super) numba_cache: PathBuf,
}

/// `benches/peers`
pub(super) fn folder() -> PathBuf {
    places::workspace().join("benches/peers")
}

/// Builds and installs what `bouts` need. Minutes at the first time, seconds later.
pub(super) fn provide(bouts: &[Bout]) -> Result<Programs> {
    let cache = places::cache()?;
    let rust_target = cache.join("target-peers");
    let programs = Programs {
        ours: places::target()?.join("debug/examples/peer"),
        // Always needed: it makes data and measures quality.
        python: python::environment("peers-venv", &folder().join("requirements.txt"))?,
        rust: rust_target.join("release/tlc-peers"),
        numba_cache: cache.join("peers-numba"),
    };
    let needs = |program| bouts.iter().flat_map(|bout| &bout.contenders).any(|contender| contender.program == program);
    if needs(Program::Ours) {
        cargo::run(&[&["build"], &EVERYTHING[..], &["--example", "peer"]].concat(), &[])?;
    }
    if needs(Program::Rust) {
        let mut build = cargo::command()?;
        build.current_dir(folder().join("rust")).env("CARGO_TARGET_DIR", &rust_target);
        cargo::finish(build.args(["build", "--release", "--locked"]))?;
    }
    Ok(programs)
}

impl Programs {
    /// Runs one of our scripts.
    pub(super) fn python(&self, script: &str, args: &[&str]) -> Result<()> {
        cargo::finish(Command::new(&self.python).arg(folder().join(script)).args(args))
    }
}

/// The demo's embeddings, by training its model.
pub(super) fn export_embeddings(folder: &Path) -> Result<()> {
    cargo::run(&[&["build"], &EVERYTHING[..], &["--bin", "demo-embeddings"]].concat(), &[])?;
    cargo::finish(Command::new(places::target()?.join("debug/demo-embeddings")).arg(folder))
}

/// Draws the plots beside the page.
pub(super) fn plot(records: &Records) -> Result<()> {
    let python = places::cache()?.join("peers-venv/bin/python");
    cargo::finish(Command::new(python).arg(folder().join("plot.py")).arg(records.path()))
}
