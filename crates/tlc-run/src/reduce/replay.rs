//! Making a reduced table again from its inputs, to prove that it is what its lineage says.

use serde_json::Value;
use tlc_core::digest::TableDigest;
use tlc_core::{Lineage, LineageInput, Progress, TableInfo, Url, reducer_from_json, score_column};

use super::apply::{Form, Keep, ReducedRows, Work};
use super::fit::{FIT_ROWS, FittedColumns, REDUCE, Saving};
use super::sample::{FitRows, FitSize, Sample};
use super::source::Source;
use super::streams::Place;
use super::{ReduceOptions, Reduction};
use crate::{Project, RunError};

impl Project {
    /// Fits and applies again what made the reduced table at `url`, and compares the models and the content with those
    /// that were written: all bits must be the same. Nothing is written.
    ///
    /// # Errors
    /// [`RunError::Replay`]: no reduced table, an input that is gone or another one now, results that differ; as
    /// [`reduce_embeddings`](crate::reduce_embeddings).
    pub fn replay_reduction(&self, url: &Url, progress: &Progress) -> Result<(), RunError> {
        let info = self.store().info(&self.inside(url)?)?;
        let refused = |reason: String| RunError::Replay { url: info.url.clone(), reason };
        let lineage = info.lineage().ok_or_else(|| refused("it does not say how it was made".to_owned()))?;
        if lineage.operation.kind != REDUCE || lineage.operation.version != 1 {
            let (kind, version) = (&lineage.operation.kind, lineage.operation.version);
            return Err(refused(format!("it was made by {kind}/{version}, not by {REDUCE}/1")));
        }
        let (Some(first), Some(last)) = (lineage.inputs.first(), lineage.inputs.last()) else {
            return Err(refused("its lineage names no input".to_owned()));
        };
        let source = self.unchanged(&info, first)?;
        let producer = self.unchanged(&info, last)?;
        let mut columns = columns(&lineage).ok_or_else(|| refused("its lineage is incomplete".to_owned()))?;
        // In the order in which they were made, which a JSON object does not keep.
        columns.sort_by_key(|(target, ..)| info.schema.index_of(target).ok());
        let sample: Option<Sample> = match lineage.operation.args.get(FIT_ROWS) {
            None => None,
            Some(json) => Some(serde_json::from_value(json.clone()).map_err(|error| refused(error.to_string()))?),
        };
        let fit_rows = sample.as_ref().map_or(FitRows::of(FitSize::All), Sample::wish);
        let place = Place { project: self, run: None };
        let mut fitted = FittedColumns { producer, sample, columns: Vec::new() };
        for (target, column, reducer) in columns {
            let reducer = reducer_from_json(reducer).map_err(|error| refused(error.to_string()))?;
            let reduction = Reduction { reducer, target_embedding_column: Some(target.clone()) };
            let options = ReduceOptions { fit_rows: fit_rows.clone(), ..ReduceOptions::new([reduction]) };
            let again = FittedColumns::fit(place, &fitted.producer, &[column], &options, Saving::No, progress)?;
            for made in again.columns {
                let found = &made.model.digest;
                let written = lineage.models.get(&target).map(|model| model.digest.as_str()).unwrap_or_default();
                if *found != written {
                    return Err(refused(format!(
                        "the model of {target:?} has the digest {found} now, {written} was written"
                    )));
                }
                fitted.columns.push(made);
            }
        }
        let has = |name: &str| info.schema.field_with_name(name).is_ok();
        let keep = Keep {
            sources: fitted.columns.iter().any(|column| has(&column.source)),
            scores: fitted.columns.iter().any(|column| has(&score_column(&column.target))),
        };
        let form = Form::of(&source, &fitted, keep)?;
        let task = progress.task("place rows", source.info.rows);
        let work = Work { piece_rows: None, task: &task, progress };
        let mut rows = ReducedRows::new(self, &source, &fitted, &form, work)?;
        let mut content = TableDigest::new(&info.schema);
        for batch in &mut rows {
            content.update(&batch?).map_err(refused)?;
        }
        rows.check_source()?;
        let found = content.finish();
        match &info.digest {
            Some(written) if *written == found => Ok(()),
            Some(written) => Err(refused(format!("its content has the digest {found} now, {written} was written"))),
            None => Err(refused("it has no digest to compare with".to_owned())),
        }
    }

    /// The input as it was when `of` was made.
    fn unchanged(&self, of: &TableInfo, input: &LineageInput) -> Result<Source, RunError> {
        let refused = |reason: String| RunError::Replay { url: of.url.clone(), reason };
        let Some(info) = self.locate(input)? else {
            let stored = self.places().stored(&input.url);
            let deletion = self.deletions()?.into_iter().rev().find(|deletion| deletion.url == stored);
            let why = deletion.map_or(String::new(), |it| format!(", deleted {:.0} by {}", it.deleted, it.by));
            return Err(refused(format!("its input {stored} is not there{why}")));
        };
        let source = Source::of_table(self, &info.url)?;
        match source.info.digest == input.digest {
            true => Ok(source),
            false => Err(refused(format!("its input {} is another table than the one that was read", info.url))),
        }
    }

    /// The table that a lineage names as an input: where it says, or the one of that identity if it was moved within
    /// the project or with it; `None` if it is gone.
    ///
    /// # Errors
    /// A failing store.
    pub fn locate(&self, input: &LineageInput) -> Result<Option<TableInfo>, RunError> {
        if let Ok(url) = self.readable(&input.url)
            && let Ok(info) = self.store().info(&url)
        {
            return Ok(Some(info));
        }
        let Some(id) = input.table_id else { return Ok(None) };
        Ok(self.inventory()?.table_with_id(id).cloned())
    }
}

/// Target, source and serialised reducer of each reduced column.
fn columns(lineage: &Lineage) -> Option<Vec<(String, String, Value)>> {
    let columns = lineage.operation.args.get("columns")?.as_object()?;
    let column = |(target, made): (&String, &Value)| {
        Some((target.clone(), made["source"].as_str()?.to_owned(), made["reducer"].clone()))
    };
    columns.iter().map(column).collect()
}
