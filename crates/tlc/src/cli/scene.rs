//! What `tlc view`, `plot`, `find`, `select` and `export` look at, from what the user typed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use tlc::core::{Progress, Url};
use tlc::foreign::ForeignFile;
use tlc::open_project;
use tlc::run::Project;
use tlc::table::{FileFormat, LanceStore};
use tlc::view::Scene;
use tlc::view::server::Source;

use super::ProjectArgs;
use super::place::{is_below_alias, nearest_above, resolve};

/// What is looked at.
#[derive(Args, Clone)]
pub(crate) struct WhatArgs {
    /// A run's name; a table's or project's folder or URL, also below an alias as <DATA>/train.lance; a table's place in
    /// the project; or a file of another program with embeddings or columns x and y: Parquet, CSV, Arrow, npy,
    /// safetensors, Lance [default: the project's newest run]
    pub(crate) what: Option<String>,
    #[command(flatten)]
    pub(crate) project: ProjectArgs,
    #[command(flatten)]
    pub(crate) file: FileArgs,
}

/// How a file of another program is read.
#[derive(Args, Clone)]
pub(crate) struct FileArgs {
    /// Of a file: another with further columns of the same rows, such as labels
    #[arg(long, value_name = "FILE")]
    with: Vec<PathBuf>,
    /// Of a file: the column of vectors to make a map of, or columns of numbers that are one vector together [default:
    /// found by types and names]
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    embedding: Vec<String>,
    /// Of a file: method of reduction
    #[arg(long, default_value = "pacmap")]
    method: String,
    /// Of a file: coordinates per sample
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=3))]
    components: u8,
}

/// The scene of [`source`], which is that of the page.
pub(crate) fn open(args: &WhatArgs, progress: &Progress) -> anyhow::Result<Scene> {
    source(args)?.open(progress).map_err(|error| anyhow!(error))
}

/// A run's name, a table's or project's folder or URL, a file, or nothing: the newest run of the project.
pub(crate) fn source(args: &WhatArgs) -> anyhow::Result<Source> {
    let Some(what) = &args.what else { return newest_run(args.project.open()?) };
    let (place, version) = Url::split_version(what)?;
    let is_table = place.trim_end_matches('/').ends_with(".lance");
    if is_below_alias(what) {
        let project = args.project.open()?;
        let url = resolve(project.places(), what)?;
        return match url.to_path() {
            Some(path) if version.is_none() && ForeignFile::is_foreign(&path) => file(&path, &args.file),
            _ if is_table => Ok(Source::Table { project, url }),
            _ => newest_run(open_project(url.to_string())?),
        };
    }
    if what.contains("://") && !what.starts_with("file://") {
        return match is_table {
            true => table_at(what.parse()?),
            false => newest_run(open_project(what)?),
        };
    }
    let path = Path::new(place.strip_prefix("file://").unwrap_or(place));
    if version.is_none() && ForeignFile::is_foreign(path) {
        return file(path, &args.file);
    }
    if path.is_file() {
        // Not of a known kind: says which these are.
        FileFormat::of(path)?;
    }
    if path.join("runs").is_dir() {
        return newest_run(open_project(path)?);
    }
    if path.is_dir() && is_table {
        return table_at(Url::from_path(&std::path::absolute(path)?)?.with_version(version));
    }
    let project = args.project.open()?;
    let neither = || format!("{what:?} is no file, table or project either");
    if is_table {
        let url = resolve(project.places(), what)?;
        project.store().info(&url).with_context(neither)?;
        return Ok(Source::Table { project, url });
    }
    let run = project.open_run(what).with_context(neither)?;
    let run = run.name().to_owned();
    Ok(Source::Project { project, run })
}

/// A table of the nearest project above it, or of the folder that it is in.
pub(super) fn table_at(url: Url) -> anyhow::Result<Source> {
    let project = match url.to_path() {
        Some(_) => nearest_above(&url)?,
        // Who may read a table may not be allowed to list the folders above it.
        None => nearest_above(&url).unwrap_or_default(),
    };
    let folder = url.parent().with_context(|| format!("{url} is in no folder"))?;
    let project = project.unwrap_or_else(|| Project::new(Arc::new(LanceStore::default()), folder));
    Ok(Source::Table { project, url })
}

fn file(path: &Path, args: &FileArgs) -> anyhow::Result<Source> {
    let file = ForeignFile { path: path.to_owned(), with: args.with.clone(), embedding: args.embedding.clone() };
    let n_components = ("n_components", args.components.into());
    // A wrong name is told now rather than by the page.
    tlc::create_reducer(&args.method, [n_components.clone()])?;
    let (title, method) = (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), args.method.clone());
    let make = move |progress: &Progress| {
        let reducer = tlc::create_reducer(&method, [n_components.clone()])?;
        Ok(file.open(reducer, progress)?)
    };
    Ok(Source::Made { title, make: Arc::new(make) })
}

fn newest_run(project: Project) -> anyhow::Result<Source> {
    let mut newest = None;
    for run in project.runs()? {
        // A damaged record is no reason not to show another run.
        let (name, Ok(record)) = (run.name, run.record) else { continue };
        if newest.as_ref().is_none_or(|(created, _)| record.created > *created) {
            newest = Some((record.created, name));
        }
    }
    match newest {
        Some((_, run)) => Ok(Source::Project { project, run }),
        None => bail!("the project {} has no runs", project.root()),
    }
}
