//! Running cargo and what it built.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::places::{self, Libtorch};

/// cargo with the shared target directory and libtorch.
pub(crate) fn command() -> Result<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(places::workspace()).env("CARGO_TARGET_DIR", places::target()?);
    if let Libtorch::Cached(folder) = places::libtorch()? {
        command.env("LIBTORCH", folder);
    }
    // Set for xtask by `cargo run`; they would tell build scripts of others a wrong package.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    Ok(command)
}

pub(crate) fn run(args: &[&str], more: &[String]) -> Result<()> {
    let mut command = command()?;
    command.args(args).args(more);
    finish(&mut command)
}

/// Runs `command`; fails with its line if it does.
pub(crate) fn finish(command: &mut Command) -> Result<()> {
    let line = || {
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        format!("{} {}", command.get_program().to_string_lossy(), args.join(" "))
    };
    let line = line();
    let status = command.status().with_context(|| format!("cannot run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Becomes a binary of the workspace, in the folder where the user is: ctrl-C and the exit code are its own.
pub(crate) fn become_binary(name: &str, args: &[String]) -> Result<()> {
    let path = places::target()?.join("debug").join(name);
    let error = Command::new(&path).args(args).exec();
    Err(error).with_context(|| format!("cannot run {}", path.display()))
}
