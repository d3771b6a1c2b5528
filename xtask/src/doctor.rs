//! What the workspace would use, and where it is.

use std::process::Command;

use anyhow::Result;

use crate::places::{self, Libtorch};
use crate::setup::{PACKAGES, PAGE_PACKAGES, is_installed, libtorch_is_sound};

pub(crate) fn run() -> Result<()> {
    for (package, purpose) in PACKAGES.into_iter().chain(PAGE_PACKAGES) {
        let state = match is_installed(package) {
            Some(true) => "installed",
            Some(false) => "MISSING",
            None => "unknown (no dpkg)",
        };
        println!("{package:<24} {state:<18} {purpose}");
    }
    for (tool, args) in [
        ("rustc", ["--version"]),
        ("node", ["--version"]),
        ("protoc", ["--version"]),
        ("python3", ["--version"]),
        ("c++", ["--version"]),
    ] {
        let output = Command::new(tool).args(args).output().ok().filter(|output| output.status.success());
        let version = output.map_or("NOT FOUND".to_owned(), |output| {
            String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned()
        });
        println!("{tool:<22} {version}");
    }
    let libtorch = match places::libtorch()? {
        Libtorch::Users(folder) => format!("{} (LIBTORCH)", folder.display()),
        Libtorch::Python => "that of python3 (LIBTORCH_USE_PYTORCH)".to_owned(),
        Libtorch::Cached(folder) if libtorch_is_sound(&folder) => folder.display().to_string(),
        Libtorch::Cached(folder) => format!("MISSING or damaged: {} (cargo xtask setup provides it)", folder.display()),
    };
    println!("{:<22} {libtorch}", format!("libtorch {}", places::LIBTORCH_VERSION));
    println!("{:<22} {}", "cache", places::cache()?.display());
    println!("{:<22} {}", "target directory", places::target()?.display());
    let images = std::path::Path::new("/usr/share/datasets/fashion-mnist");
    let state = if images.is_dir() { "" } else { " (MISSING)" };
    println!("{:<22} {}{state}", "demo images", images.display());
    let settings = places::cargo_settings();
    let state = if settings.is_file() { "" } else { " (MISSING: cargo xtask setup writes it)" };
    println!("{:<22} {}{state}", "cargo settings", settings.display());
    Ok(())
}
