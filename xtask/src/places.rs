//! Where things are: the workspace, the cache outside of it, libtorch.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The version that tch 0.26 is made for.
pub(crate) const LIBTORCH_VERSION: &str = "2.13.0";

/// The workspace's root.
pub(crate) fn workspace() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("xtask"), PathBuf::from);
    manifest.parent().map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Where big things are kept: `TLC_CACHE`, or `~/.cache/tlc`.
pub(crate) fn cache() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("TLC_CACHE").filter(|folder| !folder.is_empty()) {
        return Ok(std::path::absolute(folder)?);
    }
    let home = env::var_os("HOME").context("neither TLC_CACHE nor HOME says where the cache is")?;
    Ok(PathBuf::from(home).join(".cache/tlc"))
}

/// The target directory that all clones share: `CARGO_TARGET_DIR`, or one in the cache.
pub(crate) fn target() -> Result<PathBuf> {
    match env::var_os("CARGO_TARGET_DIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => Ok(std::path::absolute(folder)?),
        None => Ok(cache()?.join("target")),
    }
}

/// Which libtorch is used.
pub(crate) enum Libtorch {
    /// The user's, from `LIBTORCH`.
    Users(PathBuf),
    /// The one of the user's Python, by `LIBTORCH_USE_PYTORCH`.
    Python,
    /// Ours, in the cache.
    Cached(PathBuf),
}

pub(crate) fn libtorch() -> Result<Libtorch> {
    let cached = cache()?.join(format!("libtorch-{LIBTORCH_VERSION}-cpu"));
    if env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
        return Ok(Libtorch::Python);
    }
    match env::var_os("LIBTORCH").filter(|folder| !folder.is_empty()).map(PathBuf::from) {
        // Cargo sets it for us from the file that set-up writes, maybe for another cache.
        Some(folder) if folder != cached && !is_in_settings(&folder) => Ok(Libtorch::Users(folder)),
        _ => Ok(Libtorch::Cached(cached)),
    }
}

fn is_in_settings(libtorch: &Path) -> bool {
    let line = format!("LIBTORCH = {libtorch:?}");
    std::fs::read_to_string(cargo_settings()).is_ok_and(|text| text.lines().any(|found| found == line))
}

/// The file with which plain cargo finds libtorch and the shared target directory.
pub(crate) fn cargo_settings() -> PathBuf {
    workspace().join(".cargo/setup.toml")
}
