//! The page of a run, served by the program that made the run, and what the page's "save" does.

use std::sync::Arc;

use tlc_core::{TableStore, Url, with_causes};
use tlc_run::Run;
use tlc_table::{Derivation, Table, TableError};
use tlc_view::ViewError;
use tlc_view::server::{MakeRevision, ServeOptions, Server, Source};

/// A server of the page that shows `run` and the other runs of its project, at a free port of this machine alone. It
/// listens when this returns, and answers while it [runs](Server::run). Selections can be saved as revisions.
///
/// For another address or port see [`Server::bind`]; [`make_revision`] is what saves.
///
/// ```no_run
/// # fn look(run: &tlc::run::Run) -> Result<(), tlc::view::ViewError> {
/// let page = tlc::serve(run)?;
/// println!("look at {}", page.url());
/// page.run(&tlc::core::Progress::default())?; // until the program is stopped
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`ViewError::Listen`]: no port is free.
pub fn serve(run: &Run) -> Result<Server, ViewError> {
    let project = run.project().clone();
    let make_revision = make_revision(project.shared_store());
    let options = ServeOptions { make_revision: Some(make_revision), ..ServeOptions::default() };
    Server::bind(Source::Project { project, run: run.name().to_owned() }, &options)
}

/// What saves a selection of the page as a revision of the samples' table in `store`, for [`ServeOptions`].
pub fn make_revision(store: Arc<dyn TableStore>) -> Arc<MakeRevision> {
    Arc::new(move |url: &Url, rows: &[u64], description: &str| -> Result<Url, String> {
        let made =
            revision_with(store.clone(), url, rows.to_vec(), description).map_err(|error| with_causes(&error))?;
        Ok(made.url().clone())
    })
}

/// A revision of the table at `url` with the rows of these numbers, in their order.
///
/// # Errors
/// No table at `url`; rows that it does not have; a failing store.
pub fn revision_with(
    store: Arc<dyn TableStore>,
    url: &Url,
    rows: Vec<u64>,
    description: &str,
) -> Result<Table, TableError> {
    let table = Table::from_url(store, url)?;
    table.derived(&Derivation::Take { rows }, Some(description))
}

#[cfg(test)]
mod tests {
    use tlc_core::{Column, Scan};
    use tlc_run::Project;
    use tlc_table::MemoryStore;

    use super::*;

    #[test]
    fn a_run_is_served_and_selections_are_saved() {
        let project = Project::new(Arc::new(MemoryStore::default()), "memory://page/p".parse().expect("a URL"));
        let run = project.create_run("r", Default::default()).expect("creatable");
        let page = serve(&run).expect("a free port");
        assert!(page.url().starts_with("http://127.0.0.1:"), "{}", page.url());

        let labels = Column::labels("label", [0, 1, 1], ["cat", "dog"]);
        let pets = project.table_from_columns("pets", "train", vec![labels]).expect("writable");
        let save = make_revision(project.shared_store());
        let saved = save(&pets.url, &[2, 0], "two of them").expect("saved");
        let saved = Table::from_url(project.shared_store(), &saved).expect("there");
        assert_eq!(saved.description(), Some("two of them"));
        let rows = saved.read(Scan::default()).expect("readable");
        let labels = arrow_array::cast::AsArray::as_primitive::<arrow_array::types::Int64Type>(rows.column(0));
        assert_eq!(labels.values(), &[1, 0]);
        let error = save(&pets.url, &[3], "none").expect_err("three rows");
        assert!(error.contains("it has 3 rows"), "{error}");
    }
}
