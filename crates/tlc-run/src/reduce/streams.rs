//! Tables that share a model, and how they are reduced.

use std::collections::BTreeMap;

use tlc_core::{MetricsTable, Progress, TableInfo, Url};

use super::ReduceOptions;
use super::apply::{Keep, Work, apply};
use super::fit::{FittedColumns, Saving};
use super::source::Source;
use crate::{Project, Run, RunError};

/// Tables that share a model.
pub(super) struct Stream {
    pub(super) producer: Source,
    /// All tables that it is applied to, the producer among them.
    pub(super) tables: Vec<Source>,
}

impl Stream {
    /// One stream for each foreign table, fitted on the last of its `tables`, which are oldest first. Tables that
    /// describe no other are left out, with a warning.
    pub(super) fn per_dataset(tables: Vec<Source>) -> Vec<Stream> {
        let mut streams: BTreeMap<Url, Stream> = BTreeMap::new();
        for table in tables {
            let Some(foreign) = table.foreign_table.clone() else {
                tracing::warn!(table = %table.url(), "not reduced: it does not say which table its rows describe");
                continue;
            };
            let stream =
                streams.entry(foreign).or_insert_with(|| Stream { producer: table.clone(), tables: Vec::new() });
            stream.producer = table.clone();
            stream.tables.push(table);
        }
        streams.into_values().collect()
    }

    /// All `tables`, oldest first, fitted on the last that describes `foreign_table` or on the one that is named.
    /// `Err` with the foreign tables that there are if it is none of them.
    pub(super) fn by_foreign_table(tables: Vec<Source>, foreign_table: &Url) -> Result<Stream, String> {
        match tables.iter().rfind(|table| table.foreign_table.as_ref() == Some(foreign_table)) {
            Some(producer) => Ok(Stream { producer: producer.clone(), tables }),
            None => {
                let mut known: Vec<String> =
                    tables.iter().filter_map(|table| table.foreign_table.as_ref()).map(Url::to_string).collect();
                known.sort();
                known.dedup();
                Err(if known.is_empty() { "none".to_owned() } else { known.join(", ") })
            }
        }
    }
}

/// Where reduced tables and models are written.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) project: &'a Project,
    /// The run that the tables belong to; without one they are written [beside their sources](Project::folder_beside).
    pub(super) run: Option<&'a Run>,
}

impl Place<'_> {
    /// The folder for what is made of `source`.
    pub(super) fn tables(&self, source: &Url) -> Result<Url, RunError> {
        match self.run {
            Some(run) => Ok(run.url().join("reduced")?),
            None => Ok(self.project.folder_beside(source)?),
        }
    }

    /// The folder for models fitted on `producer`.
    pub(super) fn models(&self, producer: &Url) -> Result<Url, RunError> {
        match self.run {
            Some(run) => Ok(run.url().join("models")?),
            None => Ok(self.tables(producer)?.join("models")?),
        }
    }
}

/// A reduced table and what it was made from.
pub(super) struct Reduced {
    pub(super) source: Source,
    pub(super) table: MetricsTable,
    pub(super) info: TableInfo,
}

/// The tables and models written so far, removed again unless they are to be kept.
///
/// With the pieces of large tables it is the other way round: they stay, with the models they were made with, for the
/// next attempt, and go when the tables are kept; those of a table that turns out to be damaged go at once.
pub(super) struct Written<'a> {
    project: &'a Project,
    pub(super) reduced: Vec<Reduced>,
    pub(super) models: Vec<Url>,
    pieces: Vec<Url>,
    keep: bool,
}

impl<'a> Written<'a> {
    /// Fits, applies, writes and verifies.
    pub(super) fn reduce(
        place: Place<'a>,
        streams: Vec<Stream>,
        options: &ReduceOptions,
        progress: &Progress,
    ) -> Result<Self, RunError> {
        if options.reductions.is_empty() {
            return Err(RunError::Options { reason: "no reduction was given; at least one is needed".to_owned() });
        }
        let mut written =
            Self { project: place.project, reduced: Vec::new(), models: Vec::new(), pieces: Vec::new(), keep: false };
        for Stream { producer, tables } in streams {
            if tables.iter().all(|table| table.url() != producer.url()) {
                // Those that are applied to are compared with their digests while they are read.
                place.project.store().verify(producer.url(), progress)?;
            }
            let columns = producer.embedding_columns(options);
            let fitted =
                FittedColumns::fit(place, &producer, &columns, options, Saving::In(&mut written.models), progress)?;
            let has_others = place.run.is_some() || tables.len() > 1 || fitted.sample.is_some();
            let keep = Keep {
                sources: options.retain_source_embedding_column,
                scores: options.out_of_distribution_column.unwrap_or(has_others),
            };
            let task = progress.task("place rows", tables.iter().map(|table| table.info.rows).sum());
            let work = Work { piece_rows: options.piece_rows, task: &task, progress };
            for source in tables {
                if let Some(column) = columns.iter().find(|column| !source.has_column(column)) {
                    task.advance(source.info.rows)?;
                    tracing::warn!(table = %source.url(), column, "not reduced: it has no such column, but the fitted table has");
                    continue;
                }
                let reduced = apply(place, source, &fitted, keep, work, &mut written.pieces)?;
                let url = reduced.info.url.clone();
                written.reduced.push(reduced);
                place.project.store().verify(&url, progress)?;
            }
        }
        Ok(written)
    }

    /// Keeps what was written.
    pub(super) fn keep(mut self) -> Vec<Reduced> {
        self.keep = true;
        for folder in &self.pieces {
            if let Err(error) = self.project.store().delete_folder(folder) {
                tracing::warn!(%folder, %error, "cannot remove the pieces of a finished reduction");
            }
        }
        std::mem::take(&mut self.reduced)
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        for reduced in &self.reduced {
            if let Err(error) = self.project.store().delete(&reduced.info.url) {
                tracing::warn!(table = %reduced.info.url, %error, "cannot remove a table of an interrupted reduction");
            }
        }
        if !self.pieces.is_empty() {
            return;
        }
        for model in &self.models {
            if let Err(error) = self.project.store().delete_folder(model) {
                tracing::warn!(%model, %error, "cannot remove a model of an interrupted reduction");
            }
        }
    }
}
