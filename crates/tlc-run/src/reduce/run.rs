//! Reduction of a run's tables, which take the places of their sources in its record.

use tlc_core::{Progress, Url};

use super::source::Source;
use super::streams::{Place, Reduced, Stream, Written};
use super::{ReduceOptions, UrlMapping};
use crate::{MetricsEntry, Run, RunError};

impl Run {
    /// Fits on the most recently written table that describes `foreign_table` (absolute, relative to
    /// the project, or below an alias), and applies the model to all tables of the run that have its embedding columns, of
    /// whatever dataset. Tables that lack one are left alone, with a warning.
    ///
    /// The most recently written table is the last one in the run's record, whatever its epoch; there are no ties.
    ///
    /// # Errors
    /// [`RunError::NoTablesFor`]; columns, options or data that cannot be reduced; a failing store. Then
    /// the run is as before, and no source is lost.
    pub fn reduce_embeddings_by_foreign_table_url(
        &self,
        foreign_table: &Url,
        options: &ReduceOptions,
        progress: &Progress,
    ) -> Result<UrlMapping, RunError> {
        let foreign_table = &self.project().places().expanded(foreign_table)?;
        let tables = self.tables_with_embeddings(options)?;
        let fit_table = options.fit_table.as_ref().map(|url| self.fit_table(&tables, url)).transpose()?;
        let mut stream = Stream::by_foreign_table(tables, foreign_table).map_err(|known| RunError::NoTablesFor {
            among: format!("run {:?}", self.name()),
            url: foreign_table.clone(),
            known,
        })?;
        stream.producer = fit_table.unwrap_or(stream.producer);
        self.reduce_streams(vec![stream], options, progress)
    }

    /// For each foreign table: fits on the most recently written table that describes it, and applies
    /// the model to the others that do. Tables without a foreign table are left alone, with a warning.
    ///
    /// # Errors
    /// As [`reduce_embeddings_by_foreign_table_url`](Self::reduce_embeddings_by_foreign_table_url).
    pub fn reduce_embeddings_per_dataset(
        &self,
        options: &ReduceOptions,
        progress: &Progress,
    ) -> Result<UrlMapping, RunError> {
        options.refuse_fit_table("each dataset has a model of its own")?;
        let streams = Stream::per_dataset(self.tables_with_embeddings(options)?);
        self.reduce_streams(streams, options, progress)
    }

    fn fit_table(&self, tables: &[Source], url: &Url) -> Result<Source, RunError> {
        let url = self.project().places().expanded(url)?;
        tables
            .iter()
            .find(|table| *table.url() == url)
            .cloned()
            .ok_or_else(|| RunError::NotAFitTable { run: self.name().to_owned(), url })
    }

    /// The run's tables that hold what is to be reduced.
    fn tables_with_embeddings(&self, options: &ReduceOptions) -> Result<Vec<Source>, RunError> {
        let tables: Result<Vec<Source>, RunError> =
            self.metrics()?.into_iter().map(|entry| Source::of_run(self.project(), entry)).collect();
        Ok(tables?.into_iter().filter(|table| !table.embedding_columns(options).is_empty()).collect())
    }

    /// Writes all reduced tables, verifies them, records them, and only then deletes sources.
    fn reduce_streams(
        &self,
        streams: Vec<Stream>,
        options: &ReduceOptions,
        progress: &Progress,
    ) -> Result<UrlMapping, RunError> {
        self.finish_deletions()?;
        let place = Place { project: self.project(), run: Some(self) };
        let written = Written::reduce(place, streams, options, progress)?;
        let replaced = match options.delete_source_tables.unwrap_or(true) {
            true => super::tables::unneeded_sources(self.project(), &written.reduced, Some(self.name()))?,
            false => Vec::new(),
        };
        if let Err(error) = self.record_reduced(&written.reduced, &replaced) {
            // The record may have been written although that is not known. What it lists, or may list, stays.
            let is_ours = |entry: &MetricsEntry| {
                written.reduced.iter().any(|reduced| reduced.table.lineage.table_id == entry.table_id)
            };
            if self.record().map_or(true, |record| record.metrics.iter().any(is_ours)) {
                written.keep();
            }
            return Err(error);
        }
        let reduced = written.keep();
        let mut mapping = Vec::new();
        // In the run's order, also if several streams interleave.
        for entry in self.metrics()? {
            let made = reduced.iter().find(|reduced| reduced.table.lineage.table_id == entry.table_id);
            mapping.extend(made.map(|reduced| (reduced.source.url().clone(), entry.url.clone())));
        }
        self.finish_deletions()?;
        Ok(UrlMapping(mapping))
    }

    /// Reduced tables take the places of the `replaced` sources, and come after the others.
    fn record_reduced(&self, reduced: &[Reduced], replaced: &[Url]) -> Result<(), RunError> {
        let root = self.project().root();
        self.try_update(|record| {
            for Reduced { source, table, info } in reduced {
                let source_url = source.url().relative_to(root);
                let new = MetricsEntry {
                    aggregates: source.aggregates.clone(),
                    reduced_from: Some(source_url.clone()),
                    ..self.entry(table, info)
                };
                if !replaced.contains(source.url()) {
                    record.metrics.push(new);
                    continue;
                }
                let entry = record.metrics.iter_mut().find(|entry| entry.url == source_url);
                *entry.ok_or_else(|| RunError::Replaced { url: source.url().clone() })? = new;
                record.to_delete.push(source_url);
            }
            Ok(())
        })
    }
}
