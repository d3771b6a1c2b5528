//! The commands that README.md tells people to type exist.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::places;

const XTASKS: [&str; 6] = ["setup", "doctor", "demo", "test", "check", "bench"];

pub(crate) fn check() -> Result<()> {
    let path = places::workspace().join("README.md");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let commands: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("cargo xtask ")).collect();
    for wanted in ["demo", "test"] {
        if !commands.iter().any(|command| command.split_whitespace().next() == Some(wanted)) {
            bail!("README.md does not tell how to run `cargo xtask {wanted}`");
        }
    }
    let unknown =
        commands.iter().find(|command| !XTASKS.contains(&command.split_whitespace().next().unwrap_or_default()));
    if let Some(unknown) = unknown {
        bail!("README.md says `cargo xtask {unknown}`, which is none of {}", XTASKS.join(", "));
    }
    let ci = places::workspace().join(".ci/run");
    let ci = fs::read_to_string(&ci).with_context(|| format!("cannot read {}", ci.display()))?;
    if !ci.lines().any(|line| line.trim() == "cargo xtask test") {
        bail!(".ci/run does not call README's test command, `cargo xtask test`");
    }
    Ok(())
}
