//! Fitting: one model per embedding column and reduction, saved beside the run.

use ndarray::Array2;
use tlc_core::{
    FittedReducer, ModelRef, Progress, ReduceError, Reducer, Scan, UniqueName, Url, WriteCondition, digest,
    embedding_values, encode_model,
};

use super::ReduceOptions;
use crate::{MetricsEntry, Run, RunError};

/// The models of one producer.
pub(super) struct FittedColumns {
    pub(super) producer: MetricsEntry,
    pub(super) columns: Vec<FittedColumn>,
}

/// A model, what it reads and what it makes.
pub(super) struct FittedColumn {
    pub(super) source: String,
    pub(super) target: String,
    pub(super) fitted: Box<dyn FittedReducer>,
    pub(super) model: ModelRef,
    /// For each row of the producer its row in the fitted layout; `None` if it was left out.
    pub(super) layout_rows: Vec<Option<usize>>,
}

impl FittedColumns {
    /// Fits and saves; `models` gets the folder of each model before it is written.
    pub(super) fn fit(
        run: &Run,
        producer: &MetricsEntry,
        sources: &[String],
        options: &ReduceOptions,
        models: &mut Vec<Url>,
        progress: &Progress,
    ) -> Result<Self, RunError> {
        let mut columns = Vec::new();
        for source in sources {
            let (values, layout_rows) = read_finite_rows(run, &producer.url, source)?;
            for (reduction, target) in options.reductions.iter().zip(options.targets(source)?) {
                let reducer = &reduction.reducer;
                let fitted = reducer
                    .fit(values.view(), progress)
                    .map_err(|error| failed(&producer.url, source, reducer.as_ref(), error))?;
                let url = run.url().join("models")?.join(&UniqueName::new(&target).to_string())?;
                models.push(url.clone());
                let model = save_model(run, &url, fitted.as_ref()).map_err(|error| match error {
                    SaveError::Reduce(error) => failed(&producer.url, source, reducer.as_ref(), error),
                    SaveError::Run(error) => error,
                })?;
                let layout_rows = layout_rows.clone();
                columns.push(FittedColumn { source: source.clone(), target, fitted, model, layout_rows });
            }
        }
        Ok(Self { producer: producer.clone(), columns })
    }
}

pub(super) fn failed(url: &Url, column: &str, reducer: &dyn Reducer, source: ReduceError) -> RunError {
    RunError::Reduce { column: column.to_owned(), url: url.clone(), method: reducer.method(), source }
}

/// The rows of a column without NaN and infinity, and where each row of the table went.
fn read_finite_rows(run: &Run, url: &Url, column: &str) -> Result<(Array2<f32>, Vec<Option<usize>>), RunError> {
    let store = run.project().store();
    let mut values: Vec<f32> = Vec::new();
    let mut rows = Vec::new();
    let mut n_finite = 0;
    let mut width = 0;
    for batch in store.scan(url, Scan::columns([column]))? {
        let batch = batch?;
        let Some(view) = embedding_values(&batch, column) else { return Err(not_a_vector(run, url, column)) };
        width = view.ncols();
        let nulls = batch.column(0).nulls();
        for (row, embedding) in view.outer_iter().enumerate() {
            let usable = nulls.is_none_or(|nulls| nulls.is_valid(row)) && embedding.iter().all(|x| x.is_finite());
            rows.push(usable.then_some(n_finite));
            if usable {
                values.extend(embedding);
                n_finite += 1;
            }
        }
    }
    let left_out = rows.len() - n_finite;
    if left_out > 0 {
        tracing::warn!(table = %url, column, left_out, rows = rows.len(), "rows with NaN or infinity are left out of the fit");
    }
    Ok((Array2::from_shape_vec((n_finite, width), values).expect("rows of one width"), rows))
}

pub(super) fn not_a_vector(run: &Run, url: &Url, column: &str) -> RunError {
    let found = run
        .project()
        .store()
        .info(url)
        .ok()
        .and_then(|info| info.schema.field_with_name(column).ok().map(|field| field.data_type().to_string()));
    let found = found.unwrap_or_else(|| "unknown".to_owned());
    let reason = format!("its type is {found}; vectors of float32 or float16 of one width are needed");
    RunError::Column { column: column.to_owned(), url: url.clone(), reason }
}

enum SaveError {
    Reduce(ReduceError),
    Run(RunError),
}

impl<E: Into<RunError>> From<E> for SaveError {
    fn from(error: E) -> Self {
        SaveError::Run(error.into())
    }
}

fn save_model(run: &Run, url: &Url, fitted: &dyn FittedReducer) -> Result<ModelRef, SaveError> {
    let files = encode_model(fitted).map_err(SaveError::Reduce)?;
    for file in &files {
        run.project().store().write_object(&url.join(file.name)?, &file.content, WriteCondition::Absent)?;
    }
    let [_, document] = files;
    Ok(ModelRef { url: url.relative_to(run.project().root()), digest: digest::of_bytes(&document.content) })
}
