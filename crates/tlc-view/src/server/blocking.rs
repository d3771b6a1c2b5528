//! Answers that read tables, where they may block, and as many of the long ones at once as memory can bear.

use std::sync::Arc;

use axum::http::StatusCode;
use tlc_core::Progress;

use super::State;
use super::errors::Refused;
use super::scenes::Shown;
use crate::ViewError;

/// Long answers that are worked on at once; others wait.
pub(super) const LONG_AT_ONCE: usize = 2;

/// Which scene is asked for.
#[derive(Default)]
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
        let scene = state.scenes.get(which.run.as_deref())?;
        if which.version.is_some_and(|version| version != scene.version()) {
            let error = "what is shown has changed meanwhile, and numbers of tables and layouts with it";
            return Err(Refused::new(StatusCode::CONFLICT, error, "Read the list of tables again."));
        }
        Ok(work(&state, &scene)?)
    })
    .await
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

    use super::super::tests::state;
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
}
