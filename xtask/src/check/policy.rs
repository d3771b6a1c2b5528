//! Which crate may reach what, through normal dependencies with all its features.
//!
//! `cargo tree` resolves features as a build of that one crate does; a graph of the whole workspace would
//! show what some other crate switches on.

use anyhow::{Result, bail};

use crate::cargo;

/// A crate, and what must never be in its dependency tree.
const NEVER: [(&str, &[&str]); 7] = [
    ("tlc-core", &["torch-sys", "tch", "lance", "datafusion", "tokio", "rayon"]),
    ("tlc-reduce", &["torch-sys", "tch", "lance", "tokio", "tlc-table", "tlc-run", "tlc-collect"]),
    ("tlc-table", &["torch-sys", "tch", "ballista-core", "tlc-reduce", "tlc-run", "tlc-collect", "tlc-cluster"]),
    ("tlc-cluster", &["torch-sys", "tch", "tlc-reduce", "tlc-run", "tlc-collect"]),
    ("tlc-collect", &["lance", "tokio", "tlc-reduce", "tlc-run", "tlc-table"]),
    ("tlc-run", &["torch-sys", "tch", "lance", "tokio", "tlc-reduce", "tlc-table", "tlc-collect", "tlc-cluster"]),
    ("tlc-view", &["torch-sys", "tch", "lance", "tlc-table", "tlc-collect"]),
];
/// What must be reached, so that a mistyped name above cannot pass for ever.
const ALWAYS: [(&str, &str); 8] = [
    ("tlc-cluster", "ballista-core"),
    ("tlc-collect", "torch-sys"),
    ("tlc-collect", "tch"),
    ("tlc-table", "lance"),
    ("tlc-table", "datafusion"),
    ("tlc-table", "tokio"),
    ("tlc-table", "rayon"),
    ("tlc-reduce", "rayon"),
];

/// A feature of the facade, what only it brings, and other features, which must not: the local path of one machine needs
/// neither libtorch nor a cluster.
const ONLY_WITH: [(&str, &str, &[&str]); 4] = [
    ("collect", "torch-sys", &["default"]),
    ("cluster", "ballista-core", &["default", "default,query,s3"]),
    ("cluster", "ballista-scheduler", &["default", "default,query,s3"]),
    ("cluster", "ballista-executor", &["default", "default,query,s3"]),
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
    for (feature, heavy, others) in ONLY_WITH {
        let reaches = |features: &str| {
            let names = reached("tlc", &["--features", features])?;
            Ok::<_, anyhow::Error>(names.iter().any(|name| name == heavy))
        };
        for features in others {
            if reaches(features)? {
                let why = tree("tlc", &["--features", features, "--invert", heavy])?;
                bail!("tlc with the features {features:?} must not reach {heavy}, but does:\n{why}");
            }
        }
        if !reaches(feature)? {
            bail!("tlc does not reach {heavy} with the feature {feature}: this check looks at the wrong thing");
        }
    }
    Ok(())
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
