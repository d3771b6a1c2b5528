//! Everything that is checked besides tests.

mod names;
mod policy;
mod readme;

use anyhow::Result;

use crate::{EVERYTHING, cargo, page, places};

pub(crate) fn run() -> Result<()> {
    step("format");
    cargo::run(&["fmt", "--all", "--check"], &[])?;
    step("dependency policy");
    policy::check()?;
    step("README commands");
    readme::check()?;
    step("names in documents");
    names::check()?;
    step("clippy");
    cargo::run(&[&["clippy"], &EVERYTHING[..], &["--all-targets", "--", "-D", "warnings"]].concat(), &[])?;
    step("documentation");
    let mut doc = cargo::command()?;
    doc.args(["doc", "--no-deps"]).args(EVERYTHING).env("RUSTDOCFLAGS", "-D warnings");
    cargo::finish(&mut doc)?;
    step("page");
    page::check()?;
    step("licences");
    licences()?;
    println!("all checks passed");
    Ok(())
}

fn step(name: &str) {
    println!("== {name}");
}

/// cargo-deny, installed into the cache on first use.
fn licences() -> Result<()> {
    let tools = places::cache()?.join("tools");
    let deny = tools.join("bin/cargo-deny");
    if !deny.is_file() {
        println!("installing cargo-deny (some minutes, once)");
        let mut install = cargo::command()?;
        install.args(["install", "cargo-deny", "--version", "^0.19", "--locked", "--quiet", "--root"]).arg(&tools);
        cargo::finish(&mut install)?;
    }
    let mut command = std::process::Command::new(deny);
    // Advisories need a database from the network and are left to whoever has one.
    command.current_dir(places::workspace()).args(["--all-features", "check", "licenses", "bans", "sources"]);
    cargo::finish(&mut command)
}
