//! Which crate may reach what, through normal dependencies with all its features.
//!
//! `cargo tree` resolves features as a build of that one crate does; a graph of the whole workspace would
//! show what some other crate switches on.

use anyhow::{Result, bail};

use crate::cargo;

/// A crate, and what must never be in its dependency tree.
const NEVER: [(&str, &[&str]); 6] = [
    ("tlc-core", &["torch-sys", "tch", "lance", "datafusion", "tokio", "rayon"]),
    ("tlc-reduce", &["torch-sys", "tch", "lance", "tokio", "tlc-table", "tlc-run", "tlc-collect"]),
    ("tlc-table", &["torch-sys", "tch", "tlc-reduce", "tlc-run", "tlc-collect"]),
    ("tlc-collect", &["lance", "tokio", "tlc-reduce", "tlc-run", "tlc-table"]),
    ("tlc-run", &["torch-sys", "tch", "lance", "tokio", "tlc-reduce", "tlc-table", "tlc-collect"]),
    ("tlc-view", &["torch-sys", "tch", "lance", "tlc-table", "tlc-collect"]),
];
/// What must be reached, so that a mistyped name above cannot pass for ever.
const ALWAYS: [(&str, &str); 7] = [
    ("tlc-collect", "torch-sys"),
    ("tlc-collect", "tch"),
    ("tlc-table", "lance"),
    ("tlc-table", "datafusion"),
    ("tlc-table", "tokio"),
    ("tlc-table", "rayon"),
    ("tlc-reduce", "rayon"),
];

pub(crate) fn check() -> Result<()> {
    for (from, to) in ALWAYS {
        if !reached(from, &["--all-features"])?.iter().any(|name| name == to) {
            bail!("{from} does not reach {to}: the policy's positive control fails, so its names are wrong");
        }
    }
    for (from, forbidden) in NEVER {
        let names = reached(from, &["--all-features"])?;
        if let Some(to) = forbidden.iter().find(|to| names.iter().any(|name| name == *to)) {
            bail!("{from} must not reach {to}, but does:\n{}", tree(from, &["--all-features", "--invert", to])?);
        }
    }
    // The facade links libtorch only with the feature `collect`.
    let has_libtorch =
        |features: &[&str]| Ok::<_, anyhow::Error>(reached("tlc", features)?.contains(&"torch-sys".into()));
    match (has_libtorch(&[])?, has_libtorch(&["--features", "collect"])?) {
        (false, true) => Ok(()),
        (true, _) => {
            bail!("tlc must not reach torch-sys by default, but does:\n{}", tree("tlc", &["--invert", "torch-sys"])?)
        }
        (_, false) => {
            bail!("tlc does not reach torch-sys with the feature collect: this check looks at the wrong thing")
        }
    }
}

/// The names of all packages that `from` depends on.
fn reached(from: &str, options: &[&str]) -> Result<Vec<String>> {
    let names = tree(from, &[&["--prefix", "none", "--format", "{p}"], options].concat())?;
    Ok(names.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

fn tree(from: &str, options: &[&str]) -> Result<String> {
    let mut command = cargo::command()?;
    command.args(["tree", "--package", from, "--edges", "normal"]).args(options);
    let output = command.output()?;
    if !output.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
