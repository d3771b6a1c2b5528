//! The scenes that are shown, opened when they are asked for and again when a run's record has changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tlc_core::ObjectVersion;

use super::Source;
use crate::{Scene, ViewError};

type Opened = (Option<ObjectVersion>, Arc<Scene>);

pub(super) struct Scenes {
    source: Source,
    /// By run.
    opened: Mutex<HashMap<String, Opened>>,
}

impl Scenes {
    pub(super) fn new(source: Source) -> Self {
        Self { source, opened: Mutex::default() }
    }

    /// The scene of a run, or of the one that is shown first. Blocks.
    pub(super) fn get(&self, run: Option<&str>) -> Result<Arc<Scene>, ViewError> {
        match &self.source {
            Source::Table { store, url } => {
                let open = || Scene::of_table(store.clone(), url);
                self.opened_or("", None, open)
            }
            Source::Project { project, run: first } => {
                let name = run.unwrap_or(first);
                let run = project.open_run(name)?;
                let (_, version) = project.store().read_object(&run.url().join("run.json")?)?;
                self.opened_or(name, Some(version), || Scene::of_run(project, &run))
            }
        }
    }

    fn opened_or(
        &self,
        name: &str,
        version: Option<ObjectVersion>,
        open: impl FnOnce() -> Result<Scene, ViewError>,
    ) -> Result<Arc<Scene>, ViewError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, scene)) = opened.get(name).filter(|(known, _)| *known == version) {
            return Ok(scene.clone());
        }
        let scene = Arc::new(open()?);
        opened.insert(name.to_owned(), (version, scene.clone()));
        Ok(scene)
    }

    /// The project's runs; none for a table.
    pub(super) fn runs(&self) -> Vec<String> {
        match &self.source {
            Source::Project { project, .. } => project.run_names().unwrap_or_default(),
            Source::Table { .. } => Vec::new(),
        }
    }
}
