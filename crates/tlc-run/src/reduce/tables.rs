//! Reduction of any tables of a project: the specification's free functions.
//!
//! A reduced table is written beside its source, a model below `models/` there; of a source outside of the project both
//! are written into the project ([`Project::folder_beside`]). Runs are not changed, so a source that a run lists is never
//! deleted by these functions; [`Run`](crate::Run) has methods for that.
//!
//! "Most recent" is by the time that a table's lineage gives; of several with one time the one with the greatest
//! identity, which grows with time within a process; tables without lineage come before all others, in the order given.

use tlc_core::{Progress, TableInfo, Url};

use super::source::Source;
use super::streams::{Place, Reduced, Stream, Written};
use super::{ReduceOptions, Reduction, UrlMapping};
use crate::inventory::Need;
use crate::{Project, RunError};

/// Fits on one table and applies to it: returns the reduced table (the specification's `reduce_embeddings`).
///
/// ```
/// # use std::sync::Arc;
/// # use tlc_core::{Column, NumberRole, Progress, reducer_from_args};
/// # use tlc_run::{Project, ReduceOptions, reduce_embeddings};
/// # use tlc_table::{MemoryStore, NewTable, Table};
/// # use tlc_reduce as _;
/// let store = Arc::new(MemoryStore::default());
/// let project = Project::new(store.clone(), "memory://p".parse()?);
/// let values = (0..60).map(|i| (i as f32).sin()).collect();
/// let embedding = Column::embedding("embedding", 6, values, NumberRole::NnEmbedding)?;
/// let table = Table::from_columns(store, &"memory://p/datasets/toys".parse()?, NewTable::new("initial"), vec![embedding])?;
/// let options = ReduceOptions::new([reducer_from_args("pca", Default::default())?]);
/// let reduced = reduce_embeddings(&project, table.url(), &options, &Progress::default())?;
/// assert_eq!(project.store().info(&reduced)?.schema.field(0).name(), "embedding_pca");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A table without embeddings; options or data that cannot be reduced; a failing store. Then nothing is left, and no
/// source is lost. Only if the deletion of a source fails, after all else was done, do the reduced tables stay.
pub fn reduce_embeddings(
    project: &Project,
    table: &Url,
    options: &ReduceOptions,
    progress: &Progress,
) -> Result<Url, RunError> {
    let mapping = reduce_embeddings_with_producer_consumer(project, table, &[], options, progress)?;
    let (_, reduced) = mapping.iter().next().expect("the producer is in the mapping");
    Ok(reduced.clone())
}

/// One table reduced by each of `reductions`, each with a column of its own (the specification's `parameter_sets`).
///
/// As [`reduce_embeddings`] with all of them as [`ReduceOptions::reductions`]: for those who have the rest of the
/// options already.
///
/// # Errors
/// As [`reduce_embeddings`]; two reductions whose columns would have one name.
pub fn reduce_embeddings_multiple_parameters(
    project: &Project,
    table: &Url,
    reductions: impl IntoIterator<Item = impl Into<Reduction>>,
    options: &ReduceOptions,
    progress: &Progress,
) -> Result<Url, RunError> {
    let reductions = reductions.into_iter().map(Into::into).collect();
    reduce_embeddings(project, table, &ReduceOptions { reductions, ..options.clone() }, progress)
}

/// For each foreign table: fits on the most recent of the `tables` that describe it, and applies the model to the
/// others that do. Tables without a foreign table are left alone, with a warning.
///
/// # Errors
/// As [`reduce_embeddings`].
pub fn reduce_embeddings_per_dataset(
    project: &Project,
    tables: &[Url],
    options: &ReduceOptions,
    progress: &Progress,
) -> Result<UrlMapping, RunError> {
    options.refuse_fit_table("each dataset has a model of its own")?;
    let tables = tables_with_embeddings(project, tables, options)?;
    reduce(project, Stream::per_dataset(oldest_first(tables)), options, progress)
}

/// Fits on the most recent of the `tables` that describe `foreign_table`, or on [`ReduceOptions::fit_table`], and
/// applies the model to all of them, of whatever dataset.
///
/// # Errors
/// [`RunError::NoTablesFor`] if none describes it; as [`reduce_embeddings`].
pub fn reduce_embeddings_by_foreign_table_url(
    project: &Project,
    tables: &[Url],
    foreign_table: &Url,
    options: &ReduceOptions,
    progress: &Progress,
) -> Result<UrlMapping, RunError> {
    let foreign_table = project.places().expanded(foreign_table)?;
    let tables = tables_with_embeddings(project, tables, options)?;
    let fit_table = options.fit_table.as_ref().map(|url| with_embeddings(project, url, options)).transpose()?;
    let mut stream = Stream::by_foreign_table(oldest_first(tables), &foreign_table)
        .map_err(|known| RunError::NoTablesFor { among: "the selection".to_owned(), url: foreign_table, known })?;
    stream.producer = fit_table.unwrap_or(stream.producer);
    reduce(project, vec![stream], options, progress)
}

/// Fits on `producer` and applies the model to it and to the `consumers`; the mapping holds all of them, the producer
/// first.
///
/// # Errors
/// As [`reduce_embeddings`]; a consumer that lacks one of the producer's columns.
pub fn reduce_embeddings_with_producer_consumer(
    project: &Project,
    producer: &Url,
    consumers: &[Url],
    options: &ReduceOptions,
    progress: &Progress,
) -> Result<UrlMapping, RunError> {
    options.refuse_fit_table("the producer is what is fitted on")?;
    let producer = with_embeddings(project, producer, options)?;
    let mut tables = vec![producer.clone()];
    for url in consumers {
        let consumer = Source::of_table(project, url)?;
        if tables.iter().any(|known| known.url() == consumer.url()) {
            continue;
        }
        for column in producer.embedding_columns(options) {
            if !consumer.has_column(&column) {
                let reason = "it has no such column, but the producer has".to_owned();
                return Err(RunError::Column { column, url: consumer.url().clone(), reason });
            }
        }
        tables.push(consumer);
    }
    reduce(project, vec![Stream { producer, tables }], options, progress)
}

/// The tables in `folder` that were reduced from `source`, which need not be there any more; oldest first. What cannot be
/// read is left out.
///
/// # Errors
/// A failing store.
pub fn reductions_of(project: &Project, source: &Url, folder: &Url) -> Result<Vec<TableInfo>, RunError> {
    let store = project.store();
    let tables: Vec<TableInfo> = store.list_tables(folder)?.iter().filter_map(|url| store.info(url).ok()).collect();
    Ok(reductions_among(project, source, &tables))
}

/// Those of `tables` that were reduced from `source`, which need not be there any more; oldest first.
pub fn reductions_among(project: &Project, source: &Url, tables: &[TableInfo]) -> Vec<TableInfo> {
    let (store, places) = (project.store(), project.places());
    let id = store.info(source).ok().and_then(|info| info.lineage()).map(|lineage| lineage.table_id);
    let mut found = Vec::new();
    for info in tables {
        let Some(lineage) = info.lineage().filter(|lineage| !lineage.models.is_empty()) else { continue };
        let is_of_source = lineage.inputs.first().is_some_and(|input| match (id, input.table_id) {
            (Some(id), Some(input)) => id == input,
            _ => places.expanded(&input.url).is_ok_and(|url| url == *source),
        });
        if is_of_source {
            found.push((lineage.created, lineage.table_id, info));
        }
    }
    found.sort_by_key(|(created, id, _)| (*created, *id));
    found.into_iter().map(|(.., info)| info.clone()).collect()
}

/// A table that must have what is to be reduced.
fn with_embeddings(project: &Project, url: &Url, options: &ReduceOptions) -> Result<Source, RunError> {
    let table = Source::of_table(project, url)?;
    if !table.embedding_columns(options).is_empty() {
        return Ok(table);
    }
    let columns: Vec<&str> = table.info.schema.fields().iter().map(|field| field.name().as_str()).collect();
    let column = options.source_embedding_columns.clone().unwrap_or_default().join(", ");
    let reason = match column.is_empty() {
        true => format!("no column has the role nn_embedding; name one of {}", columns.join(", ")),
        false => format!("its columns are {}", columns.join(", ")),
    };
    Err(RunError::Column { column, url: table.url().clone(), reason })
}

/// Those of `urls` that hold what is to be reduced; the others are left alone, with a warning.
fn tables_with_embeddings(project: &Project, urls: &[Url], options: &ReduceOptions) -> Result<Vec<Source>, RunError> {
    let mut tables = Vec::new();
    for url in urls {
        let table = Source::of_table(project, url)?;
        if table.embedding_columns(options).is_empty() {
            tracing::warn!(table = %table.url(), "not reduced: it has no embedding columns");
        } else {
            tables.push(table);
        }
    }
    Ok(tables)
}

fn oldest_first(mut tables: Vec<Source>) -> Vec<Source> {
    // A stable sort: tables without lineage stay in the order given.
    tables.sort_by_key(|table| table.info.lineage().map(|lineage| (lineage.created, lineage.table_id)));
    tables
}

fn reduce(
    project: &Project,
    streams: Vec<Stream>,
    options: &ReduceOptions,
    progress: &Progress,
) -> Result<UrlMapping, RunError> {
    let is_deleting = options.delete_source_tables.unwrap_or(false);
    if is_deleting {
        // Told before anything is written: it cannot be done afterwards.
        for source in streams.iter().flat_map(|stream| &stream.tables) {
            project.check_deletable(source.url())?;
        }
    }
    let written = Written::reduce(Place { project, run: None }, streams, options, progress)?;
    // Asked before anything is kept: if that fails, nothing is left.
    let unneeded = if is_deleting { unneeded_sources(project, &written.reduced, None)? } else { Vec::new() };
    let reduced = written.keep();
    for url in unneeded {
        let replaced_by = reduced.iter().filter(|reduced| *reduced.source.url() == url);
        project.delete_recorded(&url, replaced_by.map(|reduced| reduced.info.url.clone()).collect())?;
    }
    Ok(UrlMapping(reduced.into_iter().map(|reduced| (reduced.source.info.url, reduced.info.url)).collect()))
}

/// The sources that nothing needs but what was just made of them and what goes with them; `run` is about to replace
/// its own. The others are named in a warning.
pub(super) fn unneeded_sources(
    project: &Project,
    reduced: &[Reduced],
    run: Option<&str>,
) -> Result<Vec<Url>, RunError> {
    let inventory = project.inventory()?;
    let mut unneeded: Vec<Url> = reduced.iter().map(|reduced| reduced.source.url().clone()).collect();
    loop {
        let stays = |need: &Need| match need {
            Need::Run(name) => Some(name.as_str()) != run,
            Need::MadeFrom(url) | Need::Describes(url) => {
                !unneeded.contains(url) && !reduced.iter().any(|reduced| reduced.info.url == *url)
            }
            Need::UsesModel(_) | Need::Unknown(_) => true,
        };
        let needed = unneeded.iter().find_map(|url| {
            let need = inventory.needs(url).into_iter().find(&stays)?;
            Some((url.clone(), need))
        });
        let Some((kept, need)) = needed else { return Ok(unneeded) };
        tracing::warn!(table = %kept, reason = %need, "not deleted: it is still needed");
        unneeded.retain(|url| *url != kept);
    }
}
