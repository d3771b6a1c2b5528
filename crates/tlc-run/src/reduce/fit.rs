//! Fitting: one model per embedding column and reduction, saved, and found again when it is asked for once more.

use ndarray::{Array2, Axis, CowArray, Ix2};
use serde_json::Value;
use tlc_core::rng::Stream;
use tlc_core::{
    FittedReducer, Lineage, MODEL_DOCUMENT, ModelRef, Progress, ReduceError, Reducer, Scan, UniqueName, Url,
    WriteCondition, decode_model, digest, embedding_values, embedding_width, encode_model, is_measurable, verify_model,
};

use super::ReduceOptions;
use super::source::Source;
use super::streams::Place;
use crate::{Project, RunError};

/// The kind of operation that lineage gives to reductions.
pub(super) const REDUCE: &str = "reduce";

/// Whether models are written.
pub(super) enum Saving<'a> {
    /// Yes; the list gets the folder of each before that is written.
    In(&'a mut Vec<Url>),
    /// No; a model's place is where it would be.
    No,
}

/// The models of one producer.
pub(super) struct FittedColumns {
    pub(super) producer: Source,
    pub(super) columns: Vec<FittedColumn>,
    /// See [`ReduceOptions::fit_rows`].
    pub(super) fit_rows: Option<u64>,
}

/// A model, what it reads and what it makes.
pub(super) struct FittedColumn {
    pub(super) source: String,
    pub(super) target: String,
    pub(super) fitted: Box<dyn FittedReducer>,
    pub(super) model: ModelRef,
    /// For each row of the producer its row in the fitted layout; `None` if it was left out.
    pub(super) layout_rows: Vec<Option<usize>>,
    /// Whether some rows of the producer were not fitted although they could have been.
    pub(super) is_sampled: bool,
}

impl FittedColumns {
    /// Fits and saves, or takes the model that an earlier reduction of the same table with the same parameters saved.
    pub(super) fn fit(
        place: Place<'_>,
        producer: &Source,
        sources: &[String],
        options: &ReduceOptions,
        mut saving: Saving<'_>,
        progress: &Progress,
    ) -> Result<Self, RunError> {
        let earlier = match saving {
            Saving::In(_) => EarlierModels::of(place, producer, options.fit_rows)?,
            Saving::No => EarlierModels(Vec::new()),
        };
        let mut columns = Vec::new();
        for source in sources {
            let read = FitRows::read(place.project, producer, source, options.fit_rows)?;
            for (reduction, target) in options.reductions.iter().zip(options.targets(source)?) {
                let reducer = &reduction.reducer;
                let FitRows { values, layout_rows, is_sampled } = read.accepted_by(reducer.as_ref());
                if let Some((fitted, model)) = earlier.find(place.project, source, reducer.as_ref(), values.nrows()) {
                    tracing::info!(model = %model.url, column = source, "fitted before on this table with these parameters");
                    columns.push(FittedColumn {
                        source: source.clone(),
                        target,
                        fitted,
                        model,
                        layout_rows,
                        is_sampled,
                    });
                    continue;
                }
                let fitted = reducer
                    .fit(values.view(), progress)
                    .map_err(|error| failed(producer.url(), source, reducer.as_ref(), error))?;
                let files = encode_model(fitted.as_ref())
                    .map_err(|error| failed(producer.url(), source, reducer.as_ref(), error))?;
                let url = place.models(producer.url())?.join(&UniqueName::new(&target).to_string())?;
                if let Saving::In(models) = &mut saving {
                    models.push(url.clone());
                    for file in &files {
                        place.project.store().write_object(
                            &url.join(file.name)?,
                            &file.content,
                            WriteCondition::Absent,
                        )?;
                    }
                }
                let [_, document] = files;
                let digest = digest::of_bytes(&document.content);
                let model = ModelRef { url: url.relative_to(place.project.root()), digest };
                columns.push(FittedColumn { source: source.clone(), target, fitted, model, layout_rows, is_sampled });
            }
        }
        Ok(Self { producer: producer.clone(), columns, fit_rows: options.fit_rows })
    }
}

/// The reductions that were fitted on a table; their lineage says which model belongs to which parameters.
struct EarlierModels(Vec<Lineage>);

impl EarlierModels {
    fn of(place: Place<'_>, producer: &Source, fit_rows: Option<u64>) -> Result<Self, RunError> {
        let store = place.project.store();
        let (own, digest) = (producer.info.lineage().map(|lineage| lineage.table_id), &producer.info.digest);
        let mut earlier = Vec::new();
        for url in store.list_tables(&place.tables(producer.url())?)? {
            // What cannot be read has no model to offer.
            let Some(lineage) = store.info(&url).ok().and_then(|info| info.lineage()) else { continue };
            let is_fitted_on = |lineage: &Lineage| {
                let input = lineage.inputs.last();
                input.is_some_and(|input| own.is_some() && input.table_id == own && input.digest == *digest)
            };
            // Of the same rows, too: a limit that is none does not matter.
            let limit = |fit_rows: Option<u64>| fit_rows.filter(|rows| *rows < producer.info.rows);
            let theirs = lineage.operation.args.get("fit_rows").and_then(Value::as_u64);
            let is_alike = limit(theirs) == limit(fit_rows) && is_fitted_on(&lineage);
            if lineage.operation.kind == REDUCE && digest.is_some() && is_alike {
                earlier.push(lineage);
            }
        }
        Ok(Self(earlier))
    }

    fn find(
        &self,
        project: &Project,
        source: &str,
        reducer: &dyn Reducer,
        n_rows: usize,
    ) -> Option<(Box<dyn FittedReducer>, ModelRef)> {
        let reducer = serde_json::to_value(reducer).ok()?;
        for lineage in &self.0 {
            let columns = lineage.operation.args.get("columns").and_then(Value::as_object);
            for (target, made) in columns.into_iter().flatten() {
                if made["source"] != source || made["reducer"] != reducer {
                    continue;
                }
                let Some(model) = lineage.models.get(target) else { continue };
                match load_model(project, model) {
                    Ok(fitted) if fitted.layout().nrows() == n_rows => return Some((fitted, model.clone())),
                    Ok(_) => {}
                    Err(error) => tracing::warn!(model = %model.url, %error, "fitted anew: a model cannot be used"),
                }
            }
        }
        None
    }
}

pub(super) fn failed(url: &Url, column: &str, reducer: &dyn Reducer, source: ReduceError) -> RunError {
    RunError::Reduce { column: column.to_owned(), url: url.clone(), method: reducer.method(), source }
}

/// The rows that are fitted.
struct FitRows<'a> {
    /// `(n, d)`.
    values: CowArray<'a, f32, Ix2>,
    /// For each row of the table its row in `values`; `None` if it was left out.
    layout_rows: Vec<Option<usize>>,
    /// Whether only some of the rows were chosen.
    is_sampled: bool,
}

/// Decides which rows are fitted, by their numbers alone.
fn rank(row: usize) -> u64 {
    Stream::new(0, "rows to fit").bits(row as u64, 0)
}

/// The greatest rank of `limit` of `n_rows`; `None` if all are fitted.
fn greatest_rank(n_rows: usize, limit: Option<u64>) -> Option<u64> {
    let limit = usize::try_from(limit?).unwrap_or(usize::MAX);
    if limit >= n_rows {
        return None;
    }
    let mut ranks: Vec<u64> = (0..n_rows).map(rank).collect();
    Some(*ranks.select_nth_unstable(limit.saturating_sub(1)).1)
}

impl<'a> FitRows<'a> {
    /// The rows of a column without nulls, NaN and infinity, at most `limit` of them.
    fn read(project: &Project, table: &Source, column: &str, limit: Option<u64>) -> Result<Self, RunError> {
        let width = vector_width(table, column)?;
        let n_rows = usize::try_from(table.info.rows).unwrap_or(0);
        let greatest = greatest_rank(n_rows, limit);
        let n_chosen = usize::try_from(limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX).min(n_rows);
        let mut values: Vec<f32> = Vec::with_capacity(n_chosen.saturating_mul(width));
        let mut layout_rows = Vec::with_capacity(n_rows);
        let (mut n_kept, mut left_out) = (0, 0);
        for batch in project.store().scan(table.url(), Scan::columns([column]))? {
            let batch = batch?;
            let view = embedding_values(&batch, column).expect("its field was checked");
            let nulls = batch.column(0).nulls();
            for (row, embedding) in view.outer_iter().enumerate() {
                let is_chosen = greatest.is_none_or(|greatest| rank(layout_rows.len()) <= greatest);
                let usable = nulls.is_none_or(|nulls| nulls.is_valid(row)) && is_measurable(embedding);
                layout_rows.push((is_chosen && usable).then_some(n_kept));
                if is_chosen && usable {
                    values.extend(embedding);
                    n_kept += 1;
                }
                left_out += usize::from(is_chosen && !usable);
            }
        }
        if left_out > 0 {
            let (url, rows) = (table.url(), layout_rows.len());
            tracing::warn!(table = %url, column, left_out, rows, "rows with NaN, infinity or values beyond ±1e15 are left out of the fit");
        }
        let values = Array2::from_shape_vec((n_kept, width), values).expect("rows of one width");
        Ok(Self { values: values.into(), layout_rows, is_sampled: greatest.is_some() })
    }

    /// Those that a reducer takes; a metric of directions refuses rows of zeros.
    fn accepted_by(&'a self, reducer: &dyn Reducer) -> FitRows<'a> {
        let accepted: Vec<bool> = self.values.outer_iter().map(|row| reducer.accepts(row)).collect();
        if !accepted.contains(&false) {
            let (values, layout_rows) = (self.values.view().into(), self.layout_rows.clone());
            return FitRows { values, layout_rows, is_sampled: self.is_sampled };
        }
        let kept: Vec<usize> = (0..accepted.len()).filter(|&row| accepted[row]).collect();
        tracing::warn!(
            left_out = accepted.len() - kept.len(),
            method = reducer.method(),
            "rows without a direction are left out of the fit"
        );
        let place = |row: usize| kept.binary_search(&row).ok();
        FitRows {
            values: self.values.select(Axis(0), &kept).into(),
            layout_rows: self.layout_rows.iter().map(|row| row.and_then(place)).collect(),
            is_sampled: self.is_sampled,
        }
    }
}

/// The width of a column's vectors.
pub(super) fn vector_width(table: &Source, column: &str) -> Result<usize, RunError> {
    let field = table.info.schema.field_with_name(column).ok();
    field.and_then(embedding_width).ok_or_else(|| {
        let found = field.map_or("unknown".to_owned(), |field| field.data_type().to_string());
        let reason = format!("its type is {found}; vectors of float32 or float16 of one width are needed");
        RunError::Column { column: column.to_owned(), url: table.url().clone(), reason }
    })
}

/// A model that a table's lineage names, if it is the one that the table was made with.
fn load_model(project: &Project, model: &ModelRef) -> Result<Box<dyn FittedReducer>, RunError> {
    read_model(project, model, |document, arrays| decode_model(document, arrays))
}

/// Whether the files of a model that a table's lineage names are those that were written.
pub(crate) fn check_model(project: &Project, model: &ModelRef) -> Result<(), RunError> {
    read_model(project, model, |document, arrays| verify_model(document, arrays))
}

/// What `decode` makes of the model's document, if that is the one that was written, and of its other files.
fn read_model<R>(
    project: &Project,
    model: &ModelRef,
    decode: impl FnOnce(&[u8], &dyn Fn(&str) -> Result<Vec<u8>, ReduceError>) -> Result<R, ReduceError>,
) -> Result<R, RunError> {
    let url = project.inside(&model.url)?;
    let (document, _) = project.store().read_object(&url.join(MODEL_DOCUMENT)?)?;
    let found = digest::of_bytes(&document);
    if found != model.digest {
        let reason = format!("its document has the digest {found}, {} was written", model.digest);
        return Err(RunError::Model { url, source: ReduceError::model(reason) });
    }
    let arrays = |name: &str| {
        let read = url.join(name).map_err(RunError::from).and_then(|url| Ok(project.store().read_object(&url)?.0));
        read.map_err(|error| ReduceError::backend("read the model's arrays", error))
    };
    decode(&document, &arrays).map_err(|source| RunError::Model { url: url.clone(), source })
}
