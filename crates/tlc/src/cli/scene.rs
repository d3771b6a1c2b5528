//! What `tlc view`, `plot`, `find` and `export` look at, from what the user typed.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use tlc::core::Url;
use tlc::run::Project;
use tlc::table::LanceStore;
use tlc::view::Scene;

use super::{ProjectArgs, open_project};

/// A run's name, a table's or project's folder or URL, or nothing: the newest run of the project.
pub(crate) fn open(what: Option<&str>, project: &ProjectArgs) -> anyhow::Result<Scene> {
    let Some(what) = what else { return newest_run(&project.open()?) };
    if what.contains("://") {
        return Ok(Scene::of_table(Arc::new(LanceStore::default()), &what.parse()?)?);
    }
    let path = Path::new(what);
    if path.join("runs").is_dir() {
        return newest_run(&open_project(path)?);
    }
    if path.is_dir() && what.ends_with(".lance") {
        return Ok(Scene::of_table(Arc::new(LanceStore::default()), &Url::from_path(&std::path::absolute(path)?)?)?);
    }
    let project = project.open()?;
    let run = project.open_run(what).with_context(|| format!("{what:?} is no table and no project"))?;
    Ok(Scene::of_run(&project, &run)?)
}

fn newest_run(project: &Project) -> anyhow::Result<Scene> {
    let mut newest = None;
    for name in project.run_names()? {
        // A damaged record is no reason not to show another run.
        let Ok(run) = project.open_run(&name) else { continue };
        let Ok(record) = run.record() else { continue };
        if newest.as_ref().is_none_or(|(created, _)| record.created > *created) {
            newest = Some((record.created, run));
        }
    }
    match newest {
        Some((_, run)) => Ok(Scene::of_run(project, &run)?),
        None => bail!("the project {} has no runs", project.root()),
    }
}
