//! Finding out what there is to see.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Map;
use tlc_core::{NumberRole, StoreError, TableInfo, TableStore, Url, columns_with_role, with_causes};
use tlc_run::{MetricsEntry, Project, Run, reductions_among};

use super::at_once::at_once;
use super::sources::{Source, name_of, reduced_from};
use super::{LeftOut, Scene};
use crate::ViewError;

impl Scene {
    /// All metrics tables of a run that can be read; [`left_out`](Self::left_out) says of the others why not.
    ///
    /// A table that disappears meanwhile, since a reduction has replaced it, is left out without a word.
    ///
    /// # Errors
    /// An unreadable record; a failing store, where no table can be read.
    pub fn of_run(project: &Project, run: &Run) -> Result<Self, ViewError> {
        let record = run.record()?;
        let store = project.shared_store();
        let (mut sources, mut failures) = (Vec::new(), Vec::new());
        let entries = run.metrics()?;
        // What was reduced and kept is shown by its successor, which has all its columns but the embeddings.
        let is_replaced = |url: &Url| entries.iter().any(|entry| entry.reduced_from.as_ref() == Some(url));
        let shown: Vec<&MetricsEntry> = entries.iter().filter(|entry| !is_replaced(&entry.url)).collect();
        let infos = at_once(&shown, |entry| store.info(&entry.url));
        let is_gone = |info: &Result<TableInfo, StoreError>| matches!(info, Err(StoreError::NotFound { .. }));
        let gone = shown.iter().zip(&infos).filter(|(_, info)| is_gone(info));
        let gone: Vec<Url> = gone.map(|(entry, _)| entry.url.clone()).collect();
        for (entry, info) in shown.into_iter().zip(infos) {
            let origin = entry.origin(&entries).clone();
            let MetricsEntry { url, name, foreign_table, reduced_from, constants, aggregates, .. } = entry.clone();
            match info {
                Ok(info) => {
                    sources.push(Source { info, name, foreign_table, reduced_from, origin, constants, aggregates });
                }
                Err(error) => failures.push((url, ViewError::from(error))),
            }
        }
        let status = serde_json::to_value(record.status).ok().and_then(|status| status.as_str().map(str::to_owned));
        let root = Some(project.root().clone());
        let (title, name) = (record.name.clone(), Some(record.name));
        let open = |sources: &[Source]| {
            Self::new(store.clone(), root.clone(), title.clone(), name.clone(), status.clone(), sources)
        };
        let scene = of_readable(sources, failures, |source| &source.info.url, None, open)?;
        Ok(Self { gone, ..scene })
    }

    /// One table of a project, by itself: for programs that know which one they want. What a user names is shown
    /// [with its reductions](Self::of_table_with_reductions).
    ///
    /// # Errors
    /// A failing store.
    pub fn of_table(project: &Project, url: &Url) -> Result<Self, ViewError> {
        let info = project.shared_store().info(url)?;
        Self::of_tables(project, url, vec![info])
    }

    /// A table of a project with all reductions of it that lie [beside it](Project::folder_beside), as one table with a
    /// layout of each; if it is reduced itself, with the other reductions of its source, and its own layouts first. Where it
    /// describes no other, the samples are its own rows, although it is a reduction that is read where it has one. Of
    /// reductions that cannot be read [`left_out`](Self::left_out) says why not.
    ///
    /// # Errors
    /// A failing store.
    pub fn of_table_with_reductions(project: &Project, url: &Url) -> Result<Self, ViewError> {
        Self::of_table_and(project, url, table_and_reductions(project, url)?)
    }

    /// As [`of_table_with_reductions`](Self::of_table_with_reductions), of the tables that [`table_and_reductions`] has
    /// found.
    pub(crate) fn of_table_and(project: &Project, url: &Url, infos: Vec<TableInfo>) -> Result<Self, ViewError> {
        let open = |infos: &[TableInfo]| Self::of_tables(project, url, infos.to_vec());
        let mut scene = of_readable(infos, Vec::new(), |info| &info.url, Some(url), open)?;
        let Self { datasets, tables, .. } = &mut scene;
        let is_shown = |of: &Url| tables.iter().any(|table| table.parts.iter().any(|part| part.url == *of));
        // All have its rows, in its order.
        if let [dataset] = datasets.as_mut_slice()
            && dataset.foreign_table.as_ref().is_some_and(is_shown)
        {
            dataset.foreign_table = Some(url.clone());
            dataset.name = name_of(url);
        }
        Ok(scene)
    }

    /// Tables that are the one at `url` or made of the same rows.
    fn of_tables(project: &Project, url: &Url, infos: Vec<TableInfo>) -> Result<Self, ViewError> {
        let (store, places) = (project.shared_store(), project.places());
        let mut inputs = Vec::new();
        for info in &infos {
            inputs.push((info.url.clone(), reduced_from(places, info)?));
        }
        let origin = |url: &Url| {
            let mut origin = url;
            // Not for ever: lineage may be anybody's.
            for _ in 0..inputs.len() {
                let Some((_, Some(input))) = inputs.iter().find(|(table, _)| table == origin) else { break };
                origin = input;
            }
            origin.clone()
        };
        let is_replaced = |url: &Url| inputs.iter().any(|(_, input)| input.as_ref() == Some(url));
        let mut sources = Vec::new();
        for (info, (_, reduced_from)) in infos.into_iter().zip(inputs.iter().cloned()) {
            if is_replaced(&info.url) {
                continue;
            }
            // Only what can be opened: a table that was copied from elsewhere may describe one that is not here.
            let foreign_table = info.foreign_table(places)?.filter(|url| places.covers(url) && store.info(url).is_ok());
            let (name, origin) = (name_of(&info.url), origin(&info.url));
            let (constants, aggregates) = (Map::new(), BTreeMap::new());
            sources.push(Source { info, name, foreign_table, reduced_from, origin, constants, aggregates });
        }
        Self::new(store, Some(places.root().clone()), name_of(url), None, None, &sources)
    }

    fn new(
        store: Arc<dyn TableStore>,
        root: Option<Url>,
        title: String,
        run: Option<String>,
        status: Option<String>,
        sources: &[Source],
    ) -> Result<Self, ViewError> {
        let mut scene = Self {
            store,
            root,
            title,
            run,
            status,
            datasets: Vec::new(),
            tables: Vec::new(),
            layouts: Vec::new(),
            columns: Vec::new(),
            embedding_columns: Vec::new(),
            left_out: Vec::new(),
            gone: Vec::new(),
        };
        for source in sources {
            // What it was reduced from may have been kept, and can be reduced again.
            let kept = source.reduced_from.as_ref().and_then(|url| scene.store.info(url).ok());
            let schemas = std::iter::once(&source.info.schema).chain(kept.as_ref().map(|info| &info.schema));
            for column in schemas.flat_map(|schema| columns_with_role(schema, &NumberRole::NnEmbedding)) {
                if !scene.embedding_columns.contains(&column) {
                    scene.embedding_columns.push(column);
                }
            }
        }
        scene.add_tables(sources)?;
        scene.name_datasets();
        scene.add_layouts(sources)?;
        scene.add_columns(sources)?;
        Ok(scene)
    }
}

/// The table at `url`, and after it its reductions, and those of what it was reduced from, that lie
/// [beside them](Project::folder_beside).
pub(crate) fn table_and_reductions(project: &Project, url: &Url) -> Result<Vec<TableInfo>, ViewError> {
    let store = project.store();
    let info = store.info(url)?;
    let source = reduced_from(project.places(), &info)?;
    let both = || std::iter::once(url).chain(&source);
    // Reductions of a table are written beside it, or into the project if it lies elsewhere.
    let mut folders: BTreeSet<Url> = both().filter_map(Url::parent).collect();
    folders.extend(both().filter_map(|url| project.folder_beside(url).ok()));
    let mut beside = Vec::new();
    for folder in folders {
        let urls = store.list_tables(&folder)?;
        // Of what cannot be read nobody knows whether it is a reduction.
        beside.extend(at_once(&urls, |url| store.info(url)).into_iter().flatten());
    }
    let mut infos = vec![info];
    for of in both() {
        for info in reductions_among(project, of, &beside) {
            if infos.iter().all(|known| known.url != info.url) {
                infos.push(info);
            }
        }
    }
    Ok(infos)
}

/// The scene that `open` makes of those `tables` that can be read. The others, and those of `failures`, are left out, as
/// long as one is left, and the one that is `needed`.
fn of_readable<T>(
    mut tables: Vec<T>,
    mut failures: Vec<(Url, ViewError)>,
    url_of: impl Fn(&T) -> &Url,
    needed: Option<&Url>,
    open: impl Fn(&[T]) -> Result<Scene, ViewError>,
) -> Result<Scene, ViewError> {
    let mut scene = loop {
        let error = match open(&tables) {
            Ok(scene) => break scene,
            Err(error) => error,
        };
        let is_to_blame = |table: &T| {
            let url = url_of(table);
            error.unreadable() == Some(url) && needed != Some(url)
        };
        let Some(index) = tables.iter().position(is_to_blame) else { return Err(error) };
        let url = url_of(&tables.remove(index)).clone();
        failures.push((url, error));
    };
    // A reduction has replaced it meanwhile.
    failures.retain(|(_, error)| !error.is_not_found());
    if tables.is_empty() && !failures.is_empty() {
        return Err(failures.swap_remove(0).1);
    }
    for (url, error) in failures {
        let reason = with_causes(&error);
        tracing::warn!(table = %url, reason, "left out: it cannot be read");
        scene.left_out.push(LeftOut { url, reason });
    }
    Ok(scene)
}
