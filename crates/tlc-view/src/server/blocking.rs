//! Answers that read tables, where they may block, and as many of the long ones at once as memory can bear.

use std::sync::Arc;

use axum::http::StatusCode;
use tlc_core::Progress;

use super::State;
use super::errors::Refused;
use super::kept::Kept;
use super::scenes::Shown;
use crate::{Scene, ViewError};

/// Long answers that are worked on at once; others wait.
pub(super) const LONG_AT_ONCE: usize = 2;

/// Which scene is asked for.
#[derive(Clone, Default)]
pub(super) struct Which {
    /// The run, or the one that is shown first.
    pub(super) run: Option<String>,
    /// The version that the page knows; any if it does not say.
    pub(super) version: Option<String>,
}

/// Runs `work` on the scene, where it may block.
pub(super) async fn with_scene<T: Send + 'static>(
    state: Arc<State>,
    which: Which,
    work: impl FnOnce(&State, &Shown) -> Result<T, ViewError> + Send + 'static,
) -> Result<T, Refused> {
    blocking(move || {
        let scene = scene(&state, &which)?;
        let worked = work(&state, &scene);
        if worked.as_ref().is_err_and(ViewError::is_not_found) {
            state.scenes.close(&scene);
        }
        Ok(worked?)
    })
    .await
}

/// The scene that is asked for, if what the page knows of it still holds. Blocks.
fn scene(state: &State, which: &Which) -> Result<Arc<Shown>, Refused> {
    let scene = state.scenes.get(which.run.as_deref())?;
    if which.version.as_ref().is_some_and(|version| version != scene.version()) {
        let error = "what is shown has changed meanwhile, and numbers of tables and layouts with it";
        return Err(Refused::new(StatusCode::CONFLICT, error, "Read the list of tables again."));
    }
    Ok(scene)
}

/// As [`with_scene`], for what takes long: in turn, and stopped when nobody waits for the answer any more, since the
/// reader went away or the server stops.
pub(super) async fn with_scene_in_turn<T: Send + 'static>(
    state: Arc<State>,
    which: Which,
    work: impl FnOnce(&Shown, &Progress) -> Result<T, ViewError> + Send + 'static,
) -> Result<T, Refused> {
    let progress = Progress::default();
    let _until_dropped = CancelOnDrop(progress.clone());
    // Nobody closes it.
    let turn = state.long_answers.clone().acquire_owned().await.ok();
    with_scene(state, which, move |_, scene| {
        // The turn ends with the work, which may go on for a moment after the request is dropped.
        let _turn = turn;
        progress.check()?;
        work(scene, &progress)
    })
    .await
}

/// What is worked out once for a scene, by the first who asks. Others wait for that without a turn: what they wait for is
/// done in one.
pub(super) async fn kept_in_turn<T: Send + Sync + 'static>(
    state: Arc<State>,
    which: Which,
    kept: fn(&Shown) -> &Kept<T>,
    work: impl FnOnce(&Scene, &Progress) -> Result<T, ViewError> + Send + 'static,
) -> Result<Arc<T>, Refused> {
    let asked = (state.clone(), which.clone());
    let shown = blocking(move || scene(&asked.0, &asked.1)).await?;
    if let Some(known) = kept(&shown).known() {
        return Ok(known);
    }
    let alone = kept(&shown).alone().await;
    if let Some(known) = kept(&shown).known() {
        return Ok(known);
    }
    with_scene_in_turn(state, which, move |_, progress| {
        let _alone = alone;
        kept(&shown).known_or(|| work(&shown, progress))
    })
    .await
}

struct CancelOnDrop(Progress);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Runs `work` where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(Refused::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "reading the tables panicked",
            "See the terminal in which tlc view runs.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use tlc_core::TableStore as _;

    use super::super::tests::state;
    use super::super::{numbers, ranges};
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("it has threads")
    }

    #[test]
    fn work_stops_when_nobody_waits_for_its_answer() {
        let (runtime, state) = (runtime(), state());
        let (begun, is_begun) = mpsc::channel();
        let (ended, is_ended) = mpsc::channel();
        let answer = runtime.spawn(with_scene_in_turn(state, Which::default(), move |_, progress| {
            begun.send(()).expect("somebody waits");
            while progress.check().is_ok() {
                std::thread::yield_now();
            }
            ended.send(()).expect("somebody waits");
            Ok(progress.check()?)
        }));
        is_begun.recv().expect("it begins");
        answer.abort();
        is_ended.recv_timeout(Duration::from_secs(60)).expect("it is told to stop");
    }

    #[test]
    fn long_answers_take_turns() {
        let (runtime, state) = (runtime(), state());
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let answers: Vec<_> = (0..6)
            .map(|_| {
                let (now, most) = (now.clone(), most.clone());
                runtime.spawn(with_scene_in_turn(state.clone(), Which::default(), move |_, _| {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(20));
                    now.fetch_sub(1, Ordering::SeqCst);
                    Ok(())
                }))
            })
            .collect();
        for answer in answers {
            runtime.block_on(answer).expect("no panic").expect("answered");
        }
        assert_eq!(most.load(Ordering::SeqCst), LONG_AT_ONCE);
    }

    #[test]
    fn who_waits_for_what_another_works_out_keeps_nobody_from_working() {
        let (runtime, state) = (runtime(), state());
        let (begun, is_begun) = mpsc::channel();
        let (go, may_go) = mpsc::channel::<()>();
        let first = runtime.spawn(kept_in_turn(state.clone(), Which::default(), Shown::numbers, move |_, _| {
            begun.send(()).expect("somebody waits");
            may_go.recv_timeout(Duration::from_secs(60)).expect("others work meanwhile");
            Ok(serde_json::json!(1))
        }));
        is_begun.recv().expect("it begins");
        let again = |_: &Scene, _: &Progress| -> Result<_, ViewError> { panic!("it is worked out once") };
        let others: Vec<_> = (0..LONG_AT_ONCE)
            .map(|_| runtime.spawn(kept_in_turn(state.clone(), Which::default(), Shown::numbers, again)))
            .collect();
        // They have come as far as they can.
        std::thread::sleep(Duration::from_millis(100));
        let work = with_scene_in_turn(state, Which::default(), |_, _| Ok(2));
        let answer = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), work).await });
        assert_eq!(answer.expect("it has a turn").expect("answered"), 2);
        go.send(()).expect("it waits");
        for answer in std::iter::once(first).chain(others) {
            assert_eq!(*runtime.block_on(answer).expect("no panic").expect("answered"), 1);
        }
    }

    #[test]
    fn ranges_and_numbers_stop_when_nobody_waits_for_them() {
        let shown = state().scenes.get(None).expect("there");
        let stopped = Progress::default();
        stopped.cancel();
        let is_cancelled = |error: ViewError| matches!(error, ViewError::Cancelled(_));
        assert!(numbers::numbers(&shown, &stopped).is_err_and(is_cancelled));
        let url: tlc_core::Url = "memory://p/numbers.lance".parse().expect("a URL");
        let field = arrow_schema::Field::new("loss", arrow_schema::DataType::Float32, false);
        let schema = Arc::new(arrow_schema::Schema::new(vec![field]));
        let values: arrow_array::ArrayRef = Arc::new(arrow_array::Float32Array::from(vec![1.0, 3.0]));
        let rows = arrow_array::RecordBatch::try_new(schema.clone(), vec![values]).expect("it fits");
        let store = Arc::new(tlc_table::MemoryStore::default());
        store.create(&url, schema, Box::new([Ok(rows)].into_iter())).expect("new");
        let project = tlc_run::Project::new(store, "memory://p".parse().expect("a URL"));
        let scene = Scene::of_table(&project, &url).expect("readable");
        assert!(ranges::ranges(&scene, &stopped).is_err_and(is_cancelled));
        assert_eq!(ranges::ranges(&scene, &Progress::default()).expect("readable")["loss"], [1.0, 3.0]);
    }
}
