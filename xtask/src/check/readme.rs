//! The commands that README.md tells people to type exist.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::places;

pub(crate) fn check() -> Result<()> {
    let path = places::workspace().join("README.md");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let commands: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("cargo xtask ")).collect();
    for wanted in ["demo", "test"] {
        if !commands.iter().any(|command| command.split_whitespace().next() == Some(wanted)) {
            bail!("README.md does not tell how to run `cargo xtask {wanted}`");
        }
    }
    let known = crate::command_names();
    let is_known =
        |command: &str| command.split_whitespace().next().is_some_and(|name| known.iter().any(|k| k == name));
    let unknown = commands.iter().find(|command| !is_known(command));
    if let Some(unknown) = unknown {
        bail!("README.md says `cargo xtask {unknown}`, which is none of {}", known.join(", "));
    }
    let ci = places::workspace().join(".ci/run");
    let ci = fs::read_to_string(&ci).with_context(|| format!("cannot read {}", ci.display()))?;
    if !ci.lines().any(|line| line.trim() == "cargo xtask test") {
        bail!(".ci/run does not call README's test command, `cargo xtask test`");
    }
    Ok(())
}
