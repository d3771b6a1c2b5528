//! Fitting: one model per embedding column and reduction, saved, and found again when it is asked for once more.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use ndarray::{Array2, Axis, CowArray, Ix2};
use serde_json::Value;
use tlc_core::{
    FittedReducer, Lineage, LineageInput, MODEL_DOCUMENT, ModelRef, Progress, ReduceError, Reducer, Scan, UniqueName,
    Url, WriteCondition, decode_model, digest, embedding_values, embedding_width, encode_model, is_measurable,
    verify_model,
};

use super::ReduceOptions;
use super::pieces::Interrupted;
use super::sample::Sample;
use super::source::Source;
use super::streams::Place;
use crate::{Project, RunError};

/// The kind of operation that lineage gives to reductions.
pub(super) const REDUCE: &str = "reduce";
/// The argument of that operation which says what sample was fitted, if one was.
pub(super) const FIT_ROWS: &str = "fit_rows";
/// What that operation's argument about a column calls [`FittedColumn::fitted_on`].
pub(super) const FITTED_ON: &str = "fitted_on";
/// A sample of less than one in so many rows is looked up row by row instead of reading all.
const SEEK_BELOW_ONE_IN: u64 = 64;
/// Rows that are looked up at once.
const SEEK_ROWS: usize = 8192;

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
    /// `None` if all rows were fitted.
    pub(super) sample: Option<Sample>,
    pub(super) columns: Vec<FittedColumn>,
}

/// A model, what it reads and what it makes.
pub(super) struct FittedColumn {
    pub(super) source: String,
    pub(super) target: String,
    pub(super) fitted: Box<dyn FittedReducer>,
    pub(super) model: ModelRef,
    /// The digest of the rows that were fitted. Read from a damaged table, these are others than the table's digest
    /// stands for.
    pub(super) fitted_on: String,
    /// For each row of the producer its row in the fitted layout; `None` if it was left out. Empty if a sample was
    /// fitted.
    pub(super) layout_rows: Vec<Option<usize>>,
}

impl FittedColumns {
    /// Whether all rows of `table` were fitted, so that their places are known. The rows of a sample are found by their
    /// values, as those of any other table.
    pub(super) fn has_layout_of(&self, table: &Source) -> bool {
        self.sample.is_none() && table.url() == self.producer.url()
    }

    /// Fits and saves, or takes the model that an earlier reduction of the same table, which read the same rows of it,
    /// saved with the same parameters.
    pub(super) fn fit(
        place: Place<'_>,
        producer: &Source,
        sources: &[String],
        options: &ReduceOptions,
        mut saving: Saving<'_>,
        progress: &Progress,
    ) -> Result<Self, RunError> {
        let earlier = match saving {
            Saving::In(_) => Earlier::of(place, producer)?,
            Saving::No => Earlier::default(),
        };
        let sample = Sample::new(producer, sources, &options.fit_rows)?;
        let rows = sample.as_ref().map(|sample| sample.row_numbers(place.project, producer, progress)).transpose()?;
        let mut columns = Vec::new();
        for source in sources {
            let read = RowsToFit::read(place.project, producer, source, rows.as_deref(), progress)?;
            let fitted_on = digest::of_values(read.values.view());
            for (reduction, target) in options.reductions.iter().zip(options.targets(source, &earlier.names)?) {
                let reducer = &reduction.reducer;
                let RowsToFit { values, layout_rows } = read.accepted_by(reducer.as_ref());
                let (source, fitted_on) = (source.clone(), fitted_on.clone());
                let found =
                    earlier.find(place.project, &source, reducer.as_ref(), sample.as_ref(), &fitted_on, values.nrows());
                if let Some((fitted, model)) = found {
                    tracing::info!(model = %model.url, column = source, "fitted before on these rows with these parameters");
                    columns.push(FittedColumn { source, target, fitted, model, fitted_on, layout_rows });
                    continue;
                }
                let fitted = reducer
                    .fit(values.view(), progress)
                    .map_err(|error| failed(producer.url(), &source, reducer.as_ref(), error))?;
                let files = encode_model(fitted.as_ref())
                    .map_err(|error| failed(producer.url(), &source, reducer.as_ref(), error))?;
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
                columns.push(FittedColumn { source, target, fitted, model, fitted_on, layout_rows });
            }
        }
        Ok(Self { producer: producer.clone(), sample, columns })
    }
}

/// What earlier reductions left.
#[derive(Default)]
struct Earlier {
    /// Those that were fitted on the producer, finished or interrupted; their lineage says which model belongs to which
    /// parameters.
    models: Vec<Lineage>,
    names: TakenNames,
}

impl Earlier {
    fn of(place: Place<'_>, producer: &Source) -> Result<Self, RunError> {
        let store = place.project.store();
        let (own, digest) = (producer.info.lineage().map(|lineage| lineage.table_id), &producer.info.digest);
        let folder = place.tables(producer.url())?;
        let mut lineages = Vec::new();
        for url in store.list_tables(&folder)? {
            // What cannot be read has no model to offer.
            lineages.extend(store.info(&url).ok().and_then(|info| info.lineage()));
        }
        lineages.extend(Interrupted::in_folder(place.project, &folder)?.into_iter().filter_map(|it| it.lineage));
        lineages.retain(|lineage| lineage.operation.kind == REDUCE);
        let mut names = TakenNames::default();
        let is_producer = |input: &LineageInput| match (own, input.table_id) {
            (Some(own), Some(id)) => own == id,
            _ => place.project.places().expanded(&input.url).is_ok_and(|url| url == *producer.url()),
        };
        // All of a run's tables are looked at together; of others those that were made of the same table.
        for lineage in lineages.iter().filter(|it| place.run.is_some() || it.inputs.iter().any(is_producer)) {
            names.add(lineage);
        }
        // A table of another program has neither an identity nor a digest. That is no danger: `find` takes only models
        // of the very rows that are to be fitted.
        lineages.retain(|lineage| {
            let input = lineage.inputs.last();
            input.is_some_and(|input| is_producer(input) && input.rows == producer.info.rows && input.digest == *digest)
        });
        Ok(Self { models: lineages, names })
    }

    /// A model of the rows that have the digest `fitted_on`. That the table is the same is not enough: an attempt that
    /// read it while it was damaged may have been killed before that was noticed, and a table of another program may be
    /// another one by now.
    fn find(
        &self,
        project: &Project,
        source: &str,
        reducer: &dyn Reducer,
        sample: Option<&Sample>,
        fitted_on: &str,
        n_rows: usize,
    ) -> Option<(Box<dyn FittedReducer>, ModelRef)> {
        let reducer = serde_json::to_value(reducer).ok()?;
        let sample = sample.and_then(|sample| serde_json::to_value(sample).ok());
        for lineage in self.models.iter().filter(|lineage| lineage.operation.args.get(FIT_ROWS) == sample.as_ref()) {
            let columns = lineage.operation.args.get("columns").and_then(Value::as_object);
            for (target, made) in columns.into_iter().flatten() {
                if made["source"] != source || made["reducer"] != reducer || made[FITTED_ON] != fitted_on {
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

/// The names of columns that earlier reductions made, and of what they made them by what.
#[derive(Default)]
pub(super) struct TakenNames(BTreeMap<String, Value>);

impl TakenNames {
    fn add(&mut self, lineage: &Lineage) {
        let columns = lineage.operation.args.get("columns").and_then(Value::as_object);
        let by_what = |made: &Value| serde_json::json!({ "source": made["source"], "reducer": made["reducer"] });
        self.0.extend(columns.into_iter().flatten().map(|(name, made)| (name.clone(), by_what(made))));
    }

    /// `name`, unless it was given to other parameters before: then with the number of components if that is what
    /// differs, or with the first number from 2 on that is free. The same parameters get the same name again.
    pub(super) fn free(&self, name: &str, source: &str, reducer: &dyn Reducer) -> String {
        let reducer_json = serde_json::to_value(reducer).expect("parameters are plain data");
        let made = serde_json::json!({ "source": source, "reducer": reducer_json });
        let n_components = |made: &Value| made["reducer"]["n_components"].clone();
        let has_other_width = self.0.get(name).is_some_and(|other| n_components(other) != n_components(&made));
        let with_width = has_other_width.then(|| format!("{name}_{}d", reducer.n_components()));
        let numbered = (2..).map(|number| format!("{name}_{number}"));
        let mut names = std::iter::once(name.to_owned()).chain(with_width).chain(numbered);
        names
            .find(|name| self.0.get(name).is_none_or(|other| *other == made))
            .expect("there are more numbers than names")
    }
}

pub(super) fn failed(url: &Url, column: &str, reducer: &dyn Reducer, source: ReduceError) -> RunError {
    RunError::Reduce { column: column.to_owned(), url: url.clone(), method: reducer.method(), source }
}

/// The rows that are fitted.
struct RowsToFit<'a> {
    /// `(n, d)`.
    values: CowArray<'a, f32, Ix2>,
    /// For each row that was to be fitted its row in `values`; `None` if it was left out.
    layout_rows: Vec<Option<usize>>,
}

impl<'a> RowsToFit<'a> {
    /// The rows of a column without nulls, NaN and infinity: of all, or of those with the numbers `sample`, ascending.
    fn read(
        project: &Project,
        table: &Source,
        column: &str,
        sample: Option<&[u64]>,
        progress: &Progress,
    ) -> Result<Self, RunError> {
        let width = vector_width(table, column)?;
        let n_rows = sample.map_or(usize::try_from(table.info.rows).unwrap_or(0), <[u64]>::len);
        let mut values: Vec<f32> = Vec::with_capacity(n_rows.saturating_mul(width));
        let mut layout_rows = Vec::with_capacity(n_rows);
        let mut n_kept = 0;
        let mut take = |batch: &RecordBatch, rows: &mut dyn Iterator<Item = usize>| {
            let view = embedding_values(batch, column).expect("its field was checked");
            let nulls = batch.column(0).nulls();
            for row in rows {
                let embedding = view.row(row);
                let usable = nulls.is_none_or(|nulls| nulls.is_valid(row)) && is_measurable(embedding);
                layout_rows.push(usable.then_some(n_kept));
                if usable {
                    values.extend(embedding);
                    n_kept += 1;
                }
            }
        };
        let reading = |rows: u64| progress.task("read rows to fit on", rows);
        match sample {
            Some(sample) if (sample.len() as u64).saturating_mul(SEEK_BELOW_ONE_IN) < table.info.rows => {
                let task = reading(sample.len() as u64);
                for rows in sample.chunks(SEEK_ROWS) {
                    let batch = project.store().take(table.url(), rows, Some(&[column.to_owned()]))?;
                    take(&batch, &mut (0..batch.num_rows()));
                    task.advance(rows.len() as u64)?;
                }
            }
            _ => {
                let task = reading(table.info.rows);
                let (mut first, mut next) = (0_u64, sample);
                for batch in project.store().scan(table.url(), Scan::columns([column]))? {
                    let batch = batch?;
                    let end = first + batch.num_rows() as u64;
                    match &mut next {
                        None => take(&batch, &mut (0..batch.num_rows())),
                        Some(rows) => {
                            let (here, later) = rows.split_at(rows.partition_point(|&row| row < end));
                            take(&batch, &mut here.iter().map(|&row| (row - first) as usize));
                            *rows = later;
                        }
                    }
                    first = end;
                    task.advance(batch.num_rows() as u64)?;
                }
            }
        }
        let left_out = layout_rows.len() - n_kept;
        if left_out > 0 {
            let (url, rows) = (table.url(), layout_rows.len());
            tracing::warn!(table = %url, column, left_out, rows, "rows with NaN, infinity or values beyond ±1e15 are left out of the fit");
        }
        let values = Array2::from_shape_vec((n_kept, width), values).expect("rows of one width");
        Ok(Self { values: values.into(), layout_rows })
    }

    /// Those that a reducer takes; a metric of directions refuses rows of zeros.
    fn accepted_by(&'a self, reducer: &dyn Reducer) -> RowsToFit<'a> {
        let accepted: Vec<bool> = self.values.outer_iter().map(|row| reducer.accepts(row)).collect();
        if !accepted.contains(&false) {
            return RowsToFit { values: self.values.view().into(), layout_rows: self.layout_rows.clone() };
        }
        let kept: Vec<usize> = (0..accepted.len()).filter(|&row| accepted[row]).collect();
        tracing::warn!(
            left_out = accepted.len() - kept.len(),
            method = reducer.method(),
            "rows without a direction are left out of the fit"
        );
        let place = |row: usize| kept.binary_search(&row).ok();
        RowsToFit {
            values: self.values.select(Axis(0), &kept).into(),
            layout_rows: self.layout_rows.iter().map(|row| row.and_then(place)).collect(),
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
