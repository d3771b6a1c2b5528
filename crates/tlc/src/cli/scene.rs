//! What `tlc view`, `plot`, `find` and `export` look at, from what the user typed.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use tlc::core::Url;
use tlc::run::Project;
use tlc::table::LanceStore;
use tlc::view::Scene;
use tlc::view::server::Source;

use super::{ProjectArgs, open_project};

/// The scene of [`source`].
pub(crate) fn open(what: Option<&str>, project: &ProjectArgs) -> anyhow::Result<Scene> {
    Ok(match source(what, project)? {
        Source::Project { project, run } => Scene::of_run(&project, &project.open_run(&run)?)?,
        Source::Table { store, url } => Scene::of_table(store, &url)?,
    })
}

/// A run's name, a table's or project's folder or URL, or nothing: the newest run of the project.
pub(crate) fn source(what: Option<&str>, project: &ProjectArgs) -> anyhow::Result<Source> {
    let Some(what) = what else { return newest_run(project.open()?) };
    let table = |url: Url| Source::Table { store: Arc::new(LanceStore::default()), url };
    if what.contains("://") {
        return match what.trim_end_matches('/').ends_with(".lance") {
            true => Ok(table(what.parse()?)),
            false => newest_run(open_project(Path::new(what))?),
        };
    }
    let path = Path::new(what);
    if path.join("runs").is_dir() {
        return newest_run(open_project(path)?);
    }
    if path.is_dir() && what.trim_end_matches('/').ends_with(".lance") {
        return Ok(table(Url::from_path(&std::path::absolute(path)?)?));
    }
    let project = project.open()?;
    let run = project.open_run(what).with_context(|| format!("{what:?} is no table and no project either"))?;
    let run = run.name().to_owned();
    Ok(Source::Project { project, run })
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
