//! The scenes that are shown, opened when they are asked for and again when a run's record has changed, or, on request,
//! when a table has other reductions or something could not be read.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tlc_core::ulid::Ulid;
use tlc_core::{ObjectVersion, TableInfo, Url};
use tlc_run::Project;

use super::Source;
use super::kept::Kept;
use super::ranges::Ranges;
use crate::scene::table_and_reductions;
use crate::{Scene, ViewError};

/// Scenes that are kept open at once: viewers of more runs than these wait a little more often.
const MAX_OPEN: usize = 4;

/// What a scene was opened from; another version is another scene.
#[derive(Debug, Clone, PartialEq)]
enum Version {
    OfRecord(ObjectVersion),
    /// A table and its reductions.
    OfTables(Vec<Url>),
}

/// Whether what is open will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// If it is of the run's present record.
    AtWhatIsOpen,
    /// Only if nothing else can be seen now: reductions by other processes, tables that could not be read.
    Again,
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
    /// Whether more of the same record could be seen than when it was opened.
    fn may_be_more(&self) -> bool {
        !self.left_out.is_empty() || self.gone.iter().any(|url| self.store().info(url).is_ok())
    }

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
    /// By run. Locked for moments only; who has a slot's lock may take this one, not the other way round.
    slots: Mutex<HashMap<String, Slot>>,
}

impl Scenes {
    pub(super) fn new(source: Source) -> Self {
        let table = match &source {
            Source::Table { project, url } => Some((project.clone(), url.clone())),
            _ => None,
        };
        Self { source, table: Mutex::new(table), slots: Mutex::default() }
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

    /// The scene of a run, or of the one that is shown first, as the page knows it. Blocks.
    pub(super) fn get(&self, run: Option<&str>) -> Result<Arc<Shown>, ViewError> {
        self.scene(run, Look::AtWhatIsOpen)
    }

    /// As [`get`](Self::get), of what there is now. Blocks, and reads more: for who wants to know what there is.
    pub(super) fn look_again(&self, run: Option<&str>) -> Result<Arc<Shown>, ViewError> {
        self.scene(run, Look::Again)
    }

    fn scene(&self, run: Option<&str>, look: Look) -> Result<Arc<Shown>, ViewError> {
        match &self.source {
            Source::Project { project, run: first } => {
                let name = run.unwrap_or(first);
                let run = project.open_run(name)?;
                let (_, version) = project.store().read_object(&run.url().join("run.json")?)?;
                let shown = Source::Project { project: project.clone(), run: name.to_owned() };
                self.opened_or(name, Version::OfRecord(version), look, || shown.scene())
            }
            Source::Table { .. } | Source::Made { .. } => {
                let Some((project, url)) = self.table() else {
                    return Err(ViewError::NotReady { title: self.source.title() });
                };
                if look == Look::AtWhatIsOpen
                    && let Some(open) = self.open("")
                {
                    return Ok(open);
                }
                let infos = table_and_reductions(&project, &url)?;
                let version = Version::OfTables(infos.iter().map(|info: &TableInfo| info.url.clone()).collect());
                self.opened_or("", version, look, || Scene::of_table_and(&project, &url, infos))
            }
        }
    }

    /// The scene of this name, if it is open.
    fn open(&self, name: &str) -> Option<Arc<Shown>> {
        let slot = self.slot(name);
        let opened = slot.lock().unwrap_or_else(PoisonError::into_inner);
        opened.as_ref().map(|opened| opened.scene.clone())
    }

    /// The scene of this name and version, opened by `open` unless it is there. Who asks for it while another opens it
    /// waits for that; what cannot be opened is tried again by the next who asks.
    fn opened_or(
        &self,
        name: &str,
        version: Version,
        look: Look,
        open: impl FnOnce() -> Result<Scene, ViewError>,
    ) -> Result<Arc<Shown>, ViewError> {
        let slot = self.slot(name);
        let mut opened = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let known = opened.as_ref().filter(|known| known.version == version).map(|known| known.scene.clone());
        if let Some(known) = known.as_ref().filter(|known| look == Look::AtWhatIsOpen || !known.may_be_more()) {
            return Ok(known.clone());
        }
        match open() {
            Ok(scene) => {
                // What still cannot be read is no news: the page would begin anew each time.
                if let Some(known) =
                    known.filter(|known| (&known.left_out, &known.gone) == (&scene.left_out, &scene.gone))
                {
                    return Ok(known);
                }
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

    /// Closes a scene of which something is not there any more, so that the next who asks sees what is left.
    pub(super) fn close(&self, scene: &Arc<Shown>) {
        let slots: Vec<_> = self.slots().values().map(|slot| slot.opened.clone()).collect();
        for slot in slots {
            // One that is being opened is not the one that is meant.
            let Ok(mut opened) = slot.try_lock() else { continue };
            if opened.as_ref().is_some_and(|opened| Arc::ptr_eq(&opened.scene, scene)) {
                *opened = None;
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

    fn version(reductions: usize) -> Version {
        Version::OfTables(vec!["memory://p/t.lance".parse().expect("a URL"); 1 + reductions])
    }

    fn open(scenes: &Scenes, name: &str) -> Arc<Shown> {
        scenes.opened_or(name, version(0), Look::AtWhatIsOpen, || scenes.source().scene()).expect("readable")
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
            let first =
                scope.spawn(move || scenes.opened_or("large", version(0), Look::AtWhatIsOpen, slow).expect("readable"));
            is_begun.recv().expect("it begins");
            let other = open(scenes, "other");
            assert!(Arc::ptr_eq(&other, &open(scenes, "other")), "what is open is there at once");
            let again = || -> Result<Scene, ViewError> { panic!("it is opened already") };
            let second = scope
                .spawn(move || scenes.opened_or("large", version(0), Look::AtWhatIsOpen, again).expect("readable"));
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
        let fail = |version| {
            let open = || Err(ViewError::NotReady { title: "a".to_owned() });
            scenes.opened_or("a", version, Look::AtWhatIsOpen, open)
        };
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
        let newer =
            scenes.opened_or("a", version(1), Look::AtWhatIsOpen, || scenes.source().scene()).expect("readable");
        assert!(!Arc::ptr_eq(&first, &newer));
    }

    #[test]
    fn what_could_not_be_read_is_tried_again_by_who_looks_again() {
        let state = state();
        let scenes = &state.scenes;
        let open = |look, is_readable: bool| {
            let open = || -> Result<Scene, ViewError> {
                let mut scene = scenes.source().scene()?;
                let url = "memory://p/other.lance".parse().expect("a URL");
                let reason = "slow down".to_owned();
                scene.left_out = if is_readable { Vec::new() } else { vec![crate::LeftOut { url, reason }] };
                Ok(scene)
            };
            scenes.opened_or("a", version(0), look, open).expect("readable")
        };
        let first = open(Look::Again, false);
        assert!(Arc::ptr_eq(&first, &open(Look::AtWhatIsOpen, true)), "what the page knows stays");
        assert!(Arc::ptr_eq(&first, &open(Look::Again, false)), "nothing new");
        let whole = open(Look::Again, true);
        assert!(!Arc::ptr_eq(&first, &whole) && whole.left_out.is_empty());
        assert!(Arc::ptr_eq(&whole, &open(Look::Again, false)), "all is there");
        scenes.close(&first);
        assert!(Arc::ptr_eq(&whole, &open(Look::Again, false)), "another was closed");
        scenes.close(&whole);
        assert!(!Arc::ptr_eq(&whole, &open(Look::AtWhatIsOpen, true)));
    }
}
