//! The page of `tlc view`: whether what is embedded is what its sources build, and its tests in a browser.
//!
//! Both work in a copy in the cache, where npm may put what it likes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::node::{self, npm};
use crate::{EVERYTHING, cargo, places, setup};

const FOLDER: &str = "crates/tlc-view/web";
/// The run that is looked at: small, of several epochs.
const DEMO: [&str; 8] = ["demo", "--no-view", "--train", "1500", "--val", "500", "--epochs", "2"];

/// Builds the page anew and compares it with the files that are embedded, and its colours with those of pictures.
pub(crate) fn check() -> Result<()> {
    let copy = copy()?;
    npm(&copy, &["exec", "--offline", "--", "tsc", "--noEmit"])?;
    let palette = places::workspace().join(FOLDER).join("../src/plot/palette.rs");
    cargo::finish(Command::new("node").arg("tests/palette.mjs").arg(palette).current_dir(&copy))?;
    npm(&copy, &["run", "--silent", "build"])?;
    let (built, committed) = (copy.join("dist"), places::workspace().join(FOLDER).join("dist"));
    let names: BTreeSet<String> = names_in(&built)?.into_iter().chain(names_in(&committed)?).collect();
    // A file that is missing on one side is different.
    let differs = |name: &&String| fs::read(built.join(name)).ok() != fs::read(committed.join(name)).ok();
    let stale: Vec<&str> = names.iter().filter(differs).map(String::as_str).collect();
    if !stale.is_empty() {
        bail!(
            "{FOLDER}/dist is not what its sources build: {} differ; run `npm ci && npm run build` in {FOLDER}, and \
             commit dist",
            stale.join(", ")
        );
    }
    Ok(())
}

/// Makes a small run with the command, and tests the page of the same command on it.
pub(crate) fn test() -> Result<()> {
    let copy = copy()?;
    cargo::run(&[&["build"], &EVERYTHING[..], &["--bin", "tlc"]].concat(), &[])?;
    let target = places::target()?;
    let tlc = target.join("debug/tlc");
    let (project, shots) = (target.join("page-tests/project"), target.join("page-tests/shots"));
    for folder in [&project, &shots] {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
    }
    println!("making a run for the tests of the page");
    cargo::finish(Command::new(&tlc).args(DEMO).arg("--out").arg(&project))?;
    let mut tests = Command::new("npm");
    tests.args(["test", "--silent"]).current_dir(&copy);
    tests.env("TLC_BIN", &tlc).env("TLC_VIEW_PROJECT", &project).env("TLC_VIEW_SHOTS", &shots);
    cargo::finish(&mut tests).with_context(|| format!("look at the screenshots in {}", shots.display()))?;
    println!("screenshots: {}", shots.display());
    Ok(())
}

/// A copy of the page's folder, without what was built, and with what npm installs.
pub(crate) fn copy() -> Result<PathBuf> {
    setup::install_for_page()?;
    let (from, to) = (places::workspace().join(FOLDER), places::cache()?.join("page"));
    fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
    for name in names_in(&to)?.iter().filter(|name| *name != "node_modules") {
        let old = to.join(name);
        let removed = if old.is_dir() { fs::remove_dir_all(&old) } else { fs::remove_file(&old) };
        removed.with_context(|| format!("cannot remove {}", old.display()))?;
    }
    for name in names_in(&from)?.iter().filter(|name| !matches!(name.as_str(), "node_modules" | "dist")) {
        copy_tree(&from.join(name), &to.join(name))?;
    }
    node::install(&to)?;
    Ok(to)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let failed = || format!("cannot copy {}", from.display());
    if !from.is_dir() {
        fs::copy(from, to).with_context(failed)?;
        return Ok(());
    }
    fs::create_dir_all(to).with_context(failed)?;
    names_in(from)?.iter().try_for_each(|name| copy_tree(&from.join(name), &to.join(name)))
}

/// The names in a folder, sorted.
fn names_in(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
