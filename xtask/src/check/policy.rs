//! Which crate may reach what, through normal dependencies with all features.

use anyhow::{Context, Result, bail};
use guppy::MetadataCommand;
use guppy::graph::{DependencyDirection, PackageGraph};

use crate::{cargo, places};

/// A crate, and what must never be in its dependency tree.
const NEVER: [(&str, &[&str]); 5] = [
    ("tlc-core", &["torch-sys", "tch", "lance", "datafusion", "tokio", "rayon"]),
    ("tlc-reduce", &["torch-sys", "tch", "lance", "tokio", "tlc-table", "tlc-run", "tlc-collect"]),
    ("tlc-table", &["torch-sys", "tch", "tlc-reduce", "tlc-run", "tlc-collect"]),
    ("tlc-collect", &["lance", "tokio", "tlc-reduce", "tlc-run", "tlc-table"]),
    ("tlc-run", &["torch-sys", "tch", "lance", "tokio", "tlc-reduce", "tlc-table", "tlc-collect"]),
];
/// What must be reached, so that a mistyped name above cannot pass for ever.
const ALWAYS: [(&str, &str); 4] =
    [("tlc-collect", "torch-sys"), ("tlc-table", "lance"), ("tlc-table", "tokio"), ("tlc-reduce", "rayon")];

pub(crate) fn check() -> Result<()> {
    let graph = MetadataCommand::new().current_dir(places::workspace()).build_graph()?;
    for (from, to) in ALWAYS {
        if path(&graph, from, to)?.is_none() {
            bail!("{from} does not reach {to}: the policy's positive control fails, so its names are wrong");
        }
    }
    for (from, forbidden) in NEVER {
        for to in forbidden {
            if let Some(path) = path(&graph, from, to)? {
                bail!("{from} must not reach {to}, but does: {path}");
            }
        }
    }
    default_facade_has_no_libtorch()
}

/// The way from a workspace crate to a package, through normal dependencies.
fn path(graph: &PackageGraph, from: &str, to: &str) -> Result<Option<String>> {
    let start = graph.workspace().member_by_name(from).with_context(|| format!("no crate {from} in the workspace"))?;
    let query = graph.query_forward([start.id()])?;
    let reached = query.resolve_with_fn(|_, link| link.normal().is_present());
    let found =
        reached.packages(DependencyDirection::Forward).find(|package| package.name() == to && package.name() != from);
    let Some(target) = found else { return Ok(None) };
    // Back from the target to the start, always to a package that is nearer to the start.
    let back = graph.query_reverse([target.id()])?.resolve_with_fn(|_, link| link.normal().is_present());
    let mut path = vec![start];
    while let Some(last) = path.last().filter(|last| last.id() != target.id()) {
        let next = last.direct_links().find(|link| {
            let seen = path.iter().any(|package| package.id() == link.to().id());
            link.normal().is_present() && !seen && back.contains(link.to().id()).unwrap_or(false)
        });
        match next {
            Some(link) => path.push(link.to()),
            None => break,
        }
    }
    Ok(Some(path.iter().map(|package| package.name()).collect::<Vec<_>>().join(" -> ")))
}

/// The facade links libtorch only with the feature `collect`.
fn default_facade_has_no_libtorch() -> Result<()> {
    let tree = |features: &[&str]| -> Result<bool> {
        let mut command = cargo::command()?;
        command.args(["tree", "--package", "tlc", "--edges", "normal", "--prefix", "none"]).args(features);
        let output = command.output()?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().any(|line| line.starts_with("torch-sys ")))
    };
    match (tree(&[])?, tree(&["--features", "collect"])?) {
        (false, true) => Ok(()),
        (true, _) => bail!("tlc reaches torch-sys without the feature collect"),
        (_, false) => {
            bail!("tlc does not reach torch-sys with the feature collect: this check looks at the wrong thing")
        }
    }
}
