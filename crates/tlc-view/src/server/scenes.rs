//! The scenes that are shown, opened when they are asked for and again when a run's record has changed.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tlc_core::ulid::Ulid;
use tlc_core::{ObjectVersion, Progress, Url};
use tlc_run::Project;

use super::manifest::{self, Ranges};
use super::{Source, numbers};
use crate::{Scene, ViewError};

/// Scenes that are kept open at once: viewers of more runs than these wait a little more often.
const MAX_OPEN: usize = 4;

/// What a scene was opened from; another version is another scene.
#[derive(Debug, Clone, PartialEq)]
enum Version {
    OfRecord(ObjectVersion),
    /// A table, and how often it was reduced here.
    OfTable(Url, u64),
}

/// A scene, and what was found out about it.
pub(super) struct Shown {
    scene: Scene,
    version: String,
    numbers: Mutex<Option<Value>>,
    ranges: Mutex<Option<Arc<Ranges>>>,
}

impl Deref for Shown {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.scene
    }
}

impl Shown {
    fn new(scene: Scene) -> Self {
        let version = Ulid::generate().to_string();
        Self { scene, version, numbers: Mutex::default(), ranges: Mutex::default() }
    }

    /// Another for each scene: what its numbers of tables and layouts hold for.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Of its columns, worked out once.
    pub(super) fn ranges(&self) -> Result<Arc<Ranges>, ViewError> {
        let mut ranges = self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ranges) = ranges.as_ref() {
            return Ok(ranges.clone());
        }
        Ok(ranges.insert(Arc::new(manifest::ranges(&self.scene)?)).clone())
    }

    /// The scene's numbers, which are worked out once.
    pub(super) fn numbers(&self, progress: &Progress) -> Result<Value, ViewError> {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(numbers) = numbers.as_ref() {
            return Ok(numbers.clone());
        }
        Ok(numbers.insert(numbers::numbers(&self.scene, progress)?).clone())
    }
}

struct Opened {
    version: Version,
    scene: Arc<Shown>,
    /// When it was asked for, counted in openings.
    asked: u64,
}

pub(super) struct Scenes {
    source: Source,
    /// The table that is shown, if it is one and there already.
    table: Mutex<Option<(Project, Url)>>,
    /// How often it was reduced here.
    reductions: AtomicU64,
    /// By run.
    opened: Mutex<HashMap<String, Opened>>,
}

impl Scenes {
    pub(super) fn new(source: Source) -> Self {
        let table = match &source {
            Source::Table { project, url } => Some((project.clone(), url.clone())),
            _ => None,
        };
        Self { source, table: Mutex::new(table), reductions: AtomicU64::new(0), opened: Mutex::default() }
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    fn shown_table(&self) -> MutexGuard<'_, Option<(Project, Url)>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table that is shown, if it is one.
    pub(super) fn table(&self) -> Option<(Project, Url)> {
        self.shown_table().clone()
    }

    /// Shows this table from now on.
    pub(super) fn show_table(&self, project: Project, url: Url) {
        *self.shown_table() = Some((project, url));
    }

    /// The table that is shown has one reduction more from now on.
    pub(super) fn add_reduction(&self) {
        self.reductions.fetch_add(1, Ordering::SeqCst);
    }

    /// The scene of a run, or of the one that is shown first. Blocks.
    pub(super) fn get(&self, run: Option<&str>) -> Result<Arc<Shown>, ViewError> {
        match &self.source {
            Source::Project { project, run: first } => {
                let name = run.unwrap_or(first);
                let run = project.open_run(name)?;
                let (_, version) = project.store().read_object(&run.url().join("run.json")?)?;
                self.opened_or(name, Version::OfRecord(version), || Scene::of_run(project, &run))
            }
            Source::Table { .. } | Source::Made { .. } => {
                let Some((project, url)) = self.table() else {
                    return Err(ViewError::NotReady { title: self.source.title() });
                };
                let version = Version::OfTable(url.clone(), self.reductions.load(Ordering::SeqCst));
                self.opened_or("", version, || Scene::of_table_with_reductions(&project, &url))
            }
        }
    }

    fn opened_or(
        &self,
        name: &str,
        version: Version,
        open: impl FnOnce() -> Result<Scene, ViewError>,
    ) -> Result<Arc<Shown>, ViewError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let now = opened.values().map(|known| known.asked + 1).max().unwrap_or(0);
        if let Some(known) = opened.get_mut(name).filter(|known| known.version == version) {
            known.asked = now;
            return Ok(known.scene.clone());
        }
        let scene = Arc::new(Shown::new(open()?));
        opened.insert(name.to_owned(), Opened { version, scene: scene.clone(), asked: now });
        if opened.len() > MAX_OPEN {
            let oldest = opened.iter().min_by_key(|(_, known)| known.asked).map(|(name, _)| name.clone());
            oldest.and_then(|name| opened.remove(&name));
        }
        Ok(scene)
    }

    /// The project's runs; none for a table.
    pub(super) fn runs(&self) -> Vec<String> {
        match &self.source {
            Source::Project { project, .. } => project.run_names().unwrap_or_default(),
            Source::Table { .. } | Source::Made { .. } => Vec::new(),
        }
    }
}
