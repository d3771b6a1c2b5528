//! Installs what is missing. A second or less when nothing is.

mod debian;
mod libtorch;

use std::fs;

use anyhow::{Context, Result};

use crate::places::{self, Libtorch};

pub(crate) use debian::{PACKAGES, PAGE_PACKAGES, install_for_page, install_node, is_installed};
pub(crate) use libtorch::is_sound as libtorch_is_sound;

pub(crate) fn run() -> Result<()> {
    debian::install()?;
    if let Libtorch::Cached(folder) = places::libtorch()? {
        libtorch::provide(&folder)?;
    }
    write_cargo_settings()
}

/// Lets plain `cargo build` in this clone find libtorch and share the target directory.
fn write_cargo_settings() -> Result<()> {
    let path = places::cargo_settings();
    let mut text = String::from("# Written by `cargo xtask setup`; not part of the repository.\n");
    let libtorch = places::libtorch()?;
    if let Libtorch::Cached(folder) = &libtorch {
        text += &format!("[env]\nLIBTORCH = {folder:?}\n");
    }
    text += "[build]\n";
    if let Libtorch::Cached(folder) | Libtorch::Users(folder) = &libtorch {
        // Examples in documentation do not see what build scripts say to the linker.
        let run_path = format!("link-arg=-Wl,-rpath,{}", folder.join("lib").display());
        text += &format!("rustdocflags = [\"-C\", {run_path:?}]\n");
    }
    text += &format!("target-dir = {:?}\n", places::cache()?.join("target"));
    if fs::read_to_string(&path).is_ok_and(|current| current == text) {
        return Ok(());
    }
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
