//! How a run ended, in its record.

use tlc::run::{Run, RunStatus};

/// Records that the run is complete, or was interrupted if the work on it `finished` with an error; gives that back.
///
/// # Errors
/// That of the work. Why the end could not be recorded is an error only if all else went well: on a full disk, say, what
/// stopped the work matters more.
pub(super) fn ended<T, E: Into<anyhow::Error>>(run: &Run, finished: Result<T, E>) -> anyhow::Result<T> {
    let status = if finished.is_ok() { RunStatus::Completed } else { RunStatus::Interrupted };
    match (finished, run.set_status(status)) {
        (Ok(made), recorded) => recorded.map(|()| made).map_err(Into::into),
        (Err(why), recorded) => {
            if let Err(error) = recorded {
                tracing::warn!(%error, "cannot record how the run ended");
            }
            Err(why.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tlc::run::Project;
    use tlc::table::MemoryStore;

    use super::*;

    #[test]
    fn what_stopped_the_work_is_told_also_where_it_cannot_be_recorded() {
        let project = Project::new(Arc::new(MemoryStore::default()), "memory://p".parse().expect("a URL"));
        let run = project.create_run("r", Default::default()).expect("creatable");
        let status = || run.record().expect("readable").status;
        assert_eq!(ended(&run, Ok::<_, anyhow::Error>(3)).expect("finished"), 3);
        assert_eq!(status(), RunStatus::Completed);
        let stop = || Err::<(), _>(anyhow::anyhow!("the model failed"));
        assert_eq!(ended(&run, stop()).expect_err("stopped").to_string(), "the model failed");
        assert_eq!(status(), RunStatus::Interrupted);

        project.store().delete_folder(run.url()).expect("deletable");
        assert_eq!(ended(&run, stop()).expect_err("stopped").to_string(), "the model failed");
        let error = ended(&run, Ok::<_, anyhow::Error>(3)).expect_err("no record").to_string();
        assert!(error.contains("run.json"), "{error}");
    }
}
