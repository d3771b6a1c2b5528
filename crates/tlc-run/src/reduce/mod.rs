//! Reduction of a run's tables: fit on one, apply to the others, replace them.

mod apply;
mod fit;

use std::collections::BTreeMap;

use tlc_core::{NumberRole, Progress, Reducer, Url, columns_with_role};

use self::apply::apply;
use self::fit::FittedColumns;
use crate::{MetricsEntry, Run, RunError};

/// A reducer, and the name of the column it makes.
#[derive(Debug, Clone)]
pub struct Reduction {
    /// The method with its parameters.
    pub reducer: Box<dyn Reducer>,
    /// The new column's name. Default `{source}_{method}`, for example `embeddings_90_pacmap`; if
    /// several reductions use one method, `{source}_{method}_{n}d`.
    pub target_embedding_column: Option<String>,
}

impl From<Box<dyn Reducer>> for Reduction {
    fn from(reducer: Box<dyn Reducer>) -> Self {
        Self { reducer, target_embedding_column: None }
    }
}

/// How the tables of a run are reduced.
#[derive(Debug, Clone)]
pub struct ReduceOptions {
    /// What to make of each embedding column; at least one.
    pub reductions: Vec<Reduction>,
    /// The columns to reduce. Default: all with the role `nn_embedding`. A column that is named needs
    /// no role.
    pub source_embedding_columns: Option<Vec<String>>,
    /// Whether the reduced tables keep the embeddings. Default false.
    pub retain_source_embedding_column: bool,
    /// Whether the source tables are deleted once all reduced tables are written and verified.
    /// Default true.
    pub delete_source_tables: bool,
    /// The table to fit on. Default: the most recently written one.
    pub fit_table: Option<Url>,
}

impl ReduceOptions {
    /// The defaults, with these reductions.
    pub fn new(reductions: impl IntoIterator<Item = impl Into<Reduction>>) -> Self {
        Self {
            reductions: reductions.into_iter().map(Into::into).collect(),
            source_embedding_columns: None,
            retain_source_embedding_column: false,
            delete_source_tables: true,
            fit_table: None,
        }
    }

    /// The name of each reduction's column made from `source`.
    fn targets(&self, source: &str) -> Result<Vec<String>, RunError> {
        let method = |reduction: &Reduction| reduction.reducer.method();
        let targets: Vec<String> = self
            .reductions
            .iter()
            .map(|reduction| {
                let alone = self.reductions.iter().filter(|other| method(other) == method(reduction)).count() == 1;
                match &reduction.target_embedding_column {
                    Some(target) => target.clone(),
                    None if alone => format!("{source}_{}", method(reduction)),
                    None => format!("{source}_{}_{}d", method(reduction), reduction.reducer.n_components()),
                }
            })
            .collect();
        match targets.iter().enumerate().find(|(i, target)| targets[..*i].contains(target)) {
            None => Ok(targets),
            Some((_, target)) => Err(RunError::Options {
                reason: format!("two reductions would make the column {target:?}; give them target_embedding_column"),
            }),
        }
    }
}

/// Which reduced table was made from which source table, in the run's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UrlMapping(Vec<(Url, Url)>);

impl UrlMapping {
    /// The reduced table made from `source`.
    pub fn get(&self, source: &Url) -> Option<&Url> {
        self.0.iter().find(|(from, _)| from == source).map(|(_, to)| to)
    }

    /// Source and reduced table, in the run's order.
    pub fn iter(&self) -> impl Iterator<Item = (&Url, &Url)> {
        self.0.iter().map(|(from, to)| (from, to))
    }

    /// The number of reduced tables.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no table was reduced.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Tables that share a model.
struct Stream {
    producer: MetricsEntry,
    /// All tables that it is applied to, the producer among them, in the run's order.
    tables: Vec<MetricsEntry>,
}

impl Run {
    /// Fits on the most recently written table that describes `foreign_table` (absolute, or relative to
    /// the project), and applies the model to all tables of the run that have its embedding columns, of
    /// whatever dataset. Tables that lack one are left alone, with a warning.
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
        let foreign_table = &foreign_table.resolve(self.project().root())?;
        let tables = self.tables_with_embeddings(options)?;
        let own: Vec<_> =
            tables.iter().filter(|entry| entry.foreign_table.as_ref() == Some(foreign_table)).cloned().collect();
        let Some(newest) = own.last() else {
            let mut known: Vec<String> =
                tables.iter().filter_map(|entry| entry.foreign_table.as_ref()).map(Url::to_string).collect();
            known.sort();
            known.dedup();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(RunError::NoTablesFor { run: self.name().to_owned(), url: foreign_table.clone(), known });
        };
        let producer = match &options.fit_table {
            None => newest.clone(),
            Some(url) => self.fit_table(&tables, url)?,
        };
        self.reduce_streams(vec![Stream { producer, tables }], options, progress)
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
        if options.fit_table.is_some() {
            let reason = "fit_table names one table, but each dataset has a model of its own".to_owned();
            return Err(RunError::Options { reason });
        }
        let mut streams: BTreeMap<Url, Stream> = BTreeMap::new();
        for entry in self.tables_with_embeddings(options)? {
            let Some(foreign) = entry.foreign_table.clone() else {
                tracing::warn!(table = %entry.url, "not reduced: it does not say which table its rows describe");
                continue;
            };
            let stream =
                streams.entry(foreign).or_insert_with(|| Stream { producer: entry.clone(), tables: Vec::new() });
            stream.producer = entry.clone();
            stream.tables.push(entry);
        }
        self.reduce_streams(streams.into_values().collect(), options, progress)
    }

    fn fit_table(&self, tables: &[MetricsEntry], url: &Url) -> Result<MetricsEntry, RunError> {
        tables
            .iter()
            .find(|entry| entry.url == *url)
            .cloned()
            .ok_or_else(|| RunError::NotAFitTable { run: self.name().to_owned(), url: url.clone() })
    }

    /// The run's tables that hold what is to be reduced.
    fn tables_with_embeddings(&self, options: &ReduceOptions) -> Result<Vec<MetricsEntry>, RunError> {
        if options.reductions.is_empty() {
            return Err(RunError::Options { reason: "no reduction was given; at least one is needed".to_owned() });
        }
        let mut tables = Vec::new();
        for entry in self.metrics()? {
            if !self.source_columns(&entry.url, options)?.is_empty() {
                tables.push(entry);
            }
        }
        Ok(tables)
    }

    fn source_columns(&self, table: &Url, options: &ReduceOptions) -> Result<Vec<String>, RunError> {
        let schema = self.project().store().info(table)?.schema;
        Ok(match &options.source_embedding_columns {
            None => columns_with_role(&schema, &NumberRole::NnEmbedding),
            Some(named) if named.iter().all(|name| schema.field_with_name(name).is_ok()) => named.clone(),
            Some(_) => Vec::new(),
        })
    }

    /// Writes all reduced tables, verifies them, records them, and only then deletes sources.
    fn reduce_streams(
        &self,
        streams: Vec<Stream>,
        options: &ReduceOptions,
        progress: &Progress,
    ) -> Result<UrlMapping, RunError> {
        self.finish_deletions()?;
        let mut written = Written { run: self, reduced: Vec::new(), models: Vec::new(), keep: false };
        for stream in streams {
            let columns = self.source_columns(&stream.producer.url, options)?;
            let fitted = FittedColumns::fit(self, &stream.producer, &columns, options, &mut written.models, progress)?;
            let task = progress.task("apply", stream.tables.len() as u64);
            for source in &stream.tables {
                let info = self.project().store().info(&source.url)?;
                if let Some(column) = columns.iter().find(|column| info.schema.field_with_name(column).is_err()) {
                    tracing::warn!(table = %source.url, column, "not reduced: it has no such column, but the fitted table has");
                    continue;
                }
                let reduced = apply(self, source, &fitted, options, progress)?;
                written.reduced.push((source.clone(), reduced.clone()));
                self.project().store().verify(&self.inside(&reduced.url)?, progress)?;
                task.advance(1)?;
            }
        }
        self.record_reduced(&written.reduced, options.delete_source_tables)?;
        written.keep = true;
        let mut mapping = Vec::new();
        // In the run's order, also if several streams interleave.
        for entry in self.metrics()? {
            let made = written.reduced.iter().find(|(_, reduced)| reduced.table_id == entry.table_id);
            mapping.extend(made.map(|(source, _)| (source.url.clone(), entry.url.clone())));
        }
        if options.delete_source_tables {
            self.finish_deletions()?;
        }
        Ok(UrlMapping(mapping))
    }

    fn record_reduced(&self, reduced: &[(MetricsEntry, MetricsEntry)], replace: bool) -> Result<(), RunError> {
        let root = self.project().root();
        self.try_update(|record| {
            for (source, reduced) in reduced {
                let source_url = source.url.relative_to(root);
                if !replace {
                    record.metrics.push(reduced.clone());
                    continue;
                }
                let entry = record.metrics.iter_mut().find(|entry| entry.url == source_url);
                *entry.ok_or_else(|| RunError::Replaced { url: source.url.clone() })? = reduced.clone();
                record.to_delete.push(source_url);
            }
            Ok(())
        })
    }
}

/// The tables and models written so far, removed again unless the reduction was recorded.
struct Written<'a> {
    run: &'a Run,
    reduced: Vec<(MetricsEntry, MetricsEntry)>,
    models: Vec<Url>,
    keep: bool,
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        for (_, reduced) in &self.reduced {
            let removed = self.run.inside(&reduced.url).and_then(|url| Ok(self.run.project().store().delete(&url)?));
            if let Err(error) = removed {
                tracing::warn!(table = %reduced.url, %error, "cannot remove a table of an interrupted reduction");
            }
        }
        for model in &self.models {
            if let Err(error) = self.run.project().store().delete_folder(model) {
                tracing::warn!(%model, %error, "cannot remove a model of an interrupted reduction");
            }
        }
    }
}

#[cfg(test)]
mod tests;
