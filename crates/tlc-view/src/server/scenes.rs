//! The scenes that are shown, opened when they are asked for and again when a run's record has changed.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tlc_core::ulid::Ulid;
use tlc_core::{ObjectVersion, Url};
use tlc_run::Project;

use super::Source;
use super::kept::Kept;
use super::ranges::Ranges;
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
    numbers: Kept<Value>,
    ranges: Kept<Ranges>,
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
        Self { scene, version, numbers: Kept::default(), ranges: Kept::default() }
    }

    /// Another for each scene: what its numbers of tables and layouts hold for.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// The ranges of its columns.
    pub(super) fn ranges(&self) -> &Kept<Ranges> {
        &self.ranges
    }

    /// Its numbers.
    pub(super) fn numbers(&self) -> &Kept<Value> {
        &self.numbers
    }
}

struct Opened {
    version: Version,
    scene: Arc<Shown>,
}

/// A name that was asked for.
#[derive(Default)]
struct Slot {
    /// Its scene, locked while it is opened: who asks for it meanwhile waits, and nobody else does. Handed out under the
    /// lock of all slots only, so that no more use it while that is held.
    opened: Arc<Mutex<Option<Opened>>>,
    /// When it was asked for last: larger than that of all others then.
    asked: u64,
}

pub(super) struct Scenes {
    source: Source,
    /// The table that is shown, if it is one and there already.
    table: Mutex<Option<(Project, Url)>>,
    /// How often it was reduced here.
    reductions: AtomicU64,
    /// By run. Locked for moments only; who has a slot's lock may take this one, not the other way round.
    slots: Mutex<HashMap<String, Slot>>,
}

impl Scenes {
    pub(super) fn new(source: Source) -> Self {
        let table = match &source {
            Source::Table { project, url } => Some((project.clone(), url.clone())),
            _ => None,
        };
        Self { source, table: Mutex::new(table), reductions: AtomicU64::new(0), slots: Mutex::default() }
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
                let shown = Source::Project { project: project.clone(), run: name.to_owned() };
                self.opened_or(name, Version::OfRecord(version), || shown.scene())
            }
            Source::Table { .. } | Source::Made { .. } => {
                let Some((project, url)) = self.table() else {
                    return Err(ViewError::NotReady { title: self.source.title() });
                };
                let version = Version::OfTable(url.clone(), self.reductions.load(Ordering::SeqCst));
                self.opened_or("", version, || Source::Table { project, url }.scene())
            }
        }
    }

    /// The scene of this name and version, opened by `open` unless it is there. Who asks for it while another opens it
    /// waits for that; what cannot be opened is tried again by the next who asks.
    fn opened_or(
        &self,
        name: &str,
        version: Version,
        open: impl FnOnce() -> Result<Scene, ViewError>,
    ) -> Result<Arc<Shown>, ViewError> {
        let slot = self.slot(name);
        let mut opened = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = opened.as_ref().filter(|known| known.version == version) {
            return Ok(known.scene.clone());
        }
        match open() {
            Ok(scene) => {
                let scene = Arc::new(Shown::new(scene));
                *opened = Some(Opened { version, scene: scene.clone() });
                self.keep_latest();
                Ok(scene)
            }
            Err(error) => {
                if opened.is_none() {
                    self.forget(name);
                }
                Err(error)
            }
        }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The scene of this name, which is asked for now.
    fn slot(&self, name: &str) -> Arc<Mutex<Option<Opened>>> {
        let mut slots = self.slots();
        let now = slots.values().map(|slot| slot.asked + 1).max().unwrap_or(0);
        let slot = slots.entry(name.to_owned()).or_default();
        slot.asked = now;
        slot.opened.clone()
    }

    /// Lets those go that were asked for longest ago, but none that somebody opens or waits for.
    fn keep_latest(&self) {
        let mut slots = self.slots();
        while slots.len() > MAX_OPEN {
            let unused = slots.iter().filter(|(_, slot)| Arc::strong_count(&slot.opened) == 1);
            let oldest = unused.min_by_key(|(_, slot)| slot.asked).map(|(name, _)| name.clone());
            let Some(oldest) = oldest else { break };
            slots.remove(&oldest);
        }
    }

    /// Forgets a name that the caller could not open, unless others wait for it: they try themselves.
    fn forget(&self, name: &str) {
        let mut slots = self.slots();
        // The caller's and this one's.
        if slots.get(name).is_some_and(|slot| Arc::strong_count(&slot.opened) == 2) {
            slots.remove(name);
        }
    }

    /// The project's runs; none for a table.
    pub(super) fn runs(&self) -> Vec<String> {
        match &self.source {
            Source::Project { project, .. } => project.run_names().unwrap_or_default(),
            Source::Table { .. } | Source::Made { .. } => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::super::tests::state;
    use super::*;

    fn version(reductions: u64) -> Version {
        Version::OfTable("memory://p/t.lance".parse().expect("a URL"), reductions)
    }

    fn open(scenes: &Scenes, name: &str) -> Arc<Shown> {
        scenes.opened_or(name, version(0), || scenes.source().scene()).expect("readable")
    }

    #[test]
    fn who_waits_for_one_scene_delays_nobody_who_asks_for_another() {
        let state = state();
        let scenes = &state.scenes;
        let (begun, is_begun) = mpsc::channel();
        let (go, may_go) = mpsc::channel::<()>();
        let slow = move || {
            begun.send(()).expect("somebody waits");
            // In the end, so that this fails instead of waiting for ever.
            may_go.recv_timeout(Duration::from_secs(60)).expect("the other scene is opened meanwhile");
            scenes.source().scene()
        };
        std::thread::scope(|scope| {
            let first = scope.spawn(move || scenes.opened_or("large", version(0), slow).expect("readable"));
            is_begun.recv().expect("it begins");
            let other = open(scenes, "other");
            assert!(Arc::ptr_eq(&other, &open(scenes, "other")), "what is open is there at once");
            let again = || -> Result<Scene, ViewError> { panic!("it is opened already") };
            let second = scope.spawn(move || scenes.opened_or("large", version(0), again).expect("readable"));
            // Until the second waits, too: the map's, the first's and its own.
            while Arc::strong_count(&scenes.slots()["large"].opened) < 3 {
                std::thread::yield_now();
            }
            go.send(()).expect("it waits");
            let (first, second) = (first.join().expect("no panic"), second.join().expect("no panic"));
            assert!(Arc::ptr_eq(&first, &second), "it is opened once");
        });
        assert!(Arc::ptr_eq(&open(scenes, "other"), &open(scenes, "other")));
    }

    #[test]
    fn what_could_not_be_opened_is_tried_again_and_the_latest_are_kept() {
        let state = state();
        let scenes = &state.scenes;
        let fail = |version| scenes.opened_or("a", version, || Err(ViewError::NotReady { title: "a".to_owned() }));
        assert!(fail(version(0)).is_err() && scenes.slots().is_empty());
        let first = open(scenes, "a");
        for name in ["b", "c", "d"] {
            open(scenes, name);
        }
        assert!(Arc::ptr_eq(&first, &open(scenes, "a")));
        assert!(fail(version(1)).is_err(), "another version");
        open(scenes, "e");
        let mut names: Vec<String> = scenes.slots().keys().cloned().collect();
        names.sort();
        assert_eq!(names, ["a", "c", "d", "e"], "b was asked for longest ago");
        assert!(Arc::ptr_eq(&first, &open(scenes, "a")));
        let newer = scenes.opened_or("a", version(1), || scenes.source().scene()).expect("readable");
        assert!(!Arc::ptr_eq(&first, &newer));
    }
}
