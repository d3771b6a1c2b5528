//! Applying fitted models to a table, batch by batch: memory does not grow with the table.

use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use ndarray::{Array2, ArrayView2, Axis};
use tlc_core::digest::TableDigest;
use tlc_core::{
    BatchStream, ColumnLineage, ColumnSource, FieldRoles, Lineage, LineageInput, MetricsTable, NumberRole, Operation,
    Progress, Scan, StoreError, Transformed, Url, embedding_field, embedding_values,
};

use super::fit::{FittedColumn, FittedColumns, REDUCE, failed, vector_width};
use super::source::Source;
use super::streams::{Place, Reduced};
use crate::{PRODUCER, Project, RunError};

/// Writes the reduced form of `source`.
pub(super) fn apply(
    place: Place<'_>,
    source: Source,
    models: &FittedColumns,
    keep: Keep,
    progress: &Progress,
) -> Result<Reduced, RunError> {
    let form = Form::of(&source, models, keep)?;
    let table = MetricsTable {
        name: source.name.clone(),
        foreign_table: source.foreign_table.clone(),
        constants: source.constants.clone(),
        lineage: lineage(place, &source, &form.kept, models),
    };
    let mut rows = ReducedRows::new(place.project, &source, models, &form, progress)?;
    let written = place.project.write_table(&place.tables(source.url())?, &table, &form.schema, Box::new(&mut rows));
    let info = match (rows.failure.take(), written) {
        (Some(failure), _) => return Err(failure),
        (None, written) => written?,
    };
    if let Err(error) = rows.check_source() {
        let _ = place.project.store().delete(&info.url);
        return Err(error);
    }
    Ok(Reduced { source, table, info })
}

/// What a reduced table has besides the coordinates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    /// The columns that were reduced.
    pub(super) sources: bool,
    /// How far each row is from those that were fitted.
    pub(super) scores: bool,
}

/// The columns of a reduced table.
pub(super) struct Form {
    /// Those of the source that stay.
    kept: Vec<FieldRef>,
    has_scores: bool,
    pub(super) schema: SchemaRef,
}

impl Form {
    pub(super) fn of(source: &Source, models: &FittedColumns, keep: Keep) -> Result<Self, RunError> {
        for column in &models.columns {
            let (width, fitted) = (vector_width(source, &column.source)?, column.fitted.n_features());
            if width != fitted {
                let reason = format!("its rows have {width} values, those of {} have {fitted}", models.producer.url());
                return Err(RunError::Column { column: column.source.clone(), url: source.url().clone(), reason });
            }
        }
        let is_dropped =
            |field: &FieldRef| !keep.sources && models.columns.iter().any(|column| column.source == *field.name());
        let kept: Vec<FieldRef> =
            source.info.schema.fields().iter().filter(|field| !is_dropped(field)).cloned().collect();
        let mut fields = kept.clone();
        for column in &models.columns {
            let width = column.fitted.layout().ncols();
            let target = embedding_field(&column.target, width, NumberRole::ReducedEmbedding);
            fields.push(Arc::new(target));
            if keep.scores {
                let score = Field::new(score_column(&column.target), DataType::Float32, true);
                fields.push(Arc::new(score.with_role(NumberRole::OutOfDistribution)));
            }
        }
        let is_taken = |(i, field): &(usize, &FieldRef)| fields[..*i].iter().any(|other| other.name() == field.name());
        if let Some((_, field)) = fields.iter().enumerate().find(is_taken) {
            let reason = format!("the table already has a column {:?}; give a target_embedding_column", field.name());
            return Err(RunError::Options { reason });
        }
        Ok(Self { kept, has_scores: keep.scores, schema: Arc::new(Schema::new(fields)) })
    }
}

/// The reduced rows of a table, batch by batch.
pub(super) struct ReducedRows<'a> {
    source: &'a Source,
    models: &'a FittedColumns,
    form: &'a Form,
    progress: &'a Progress,
    batches: BatchStream<'static>,
    first_row: usize,
    /// All columns are read anyway: a source that changed on disk is noticed before it is replaced.
    digest: Option<TableDigest>,
    /// What went wrong, in full; the stream itself can only fail with a store's errors.
    pub(super) failure: Option<RunError>,
}

impl<'a> ReducedRows<'a> {
    pub(super) fn new(
        project: &Project,
        source: &'a Source,
        models: &'a FittedColumns,
        form: &'a Form,
        progress: &'a Progress,
    ) -> Result<Self, RunError> {
        let batches = project.store().scan(source.url(), Scan::default())?;
        let digest = Some(TableDigest::new(&source.info.schema));
        Ok(Self { source, models, form, progress, batches, first_row: 0, digest, failure: None })
    }

    /// Whether the rows that were read are those that were written, after the last of them.
    pub(super) fn check_source(&mut self) -> Result<(), RunError> {
        let found = self.digest.take().map(TableDigest::finish);
        match (&self.source.info.digest, found) {
            (Some(expected), Some(found)) if *expected != found => {
                let reason = format!("its rows have the digest {found}, not the one they were written with");
                Err(StoreError::Damaged { url: self.source.url().clone(), reason }.into())
            }
            _ => Ok(()),
        }
    }

    fn reduced(&mut self, batch: &RecordBatch) -> Result<RecordBatch, RunError> {
        let url = self.source.url();
        let producer_row = (url == self.models.producer.url()).then_some(self.first_row);
        self.first_row += batch.num_rows();
        let columns = reduce_batch(url, batch, self.form, self.models, producer_row, self.progress)?;
        RecordBatch::try_new(self.form.schema.clone(), columns)
            .map_err(|error| StoreError::backend("assemble rows for", url, error).into())
    }
}

impl Iterator for &mut ReducedRows<'_> {
    type Item = Result<RecordBatch, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.batches.next()? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error)),
        };
        if let Err(cancelled) = self.progress.check() {
            return Some(Err(cancelled.into()));
        }
        let url = self.source.url();
        if let Some(Err(reason)) = self.digest.as_mut().map(|digest| digest.update(&batch)) {
            return Some(Err(StoreError::Damaged { url: url.clone(), reason }));
        }
        Some(self.reduced(&batch).map_err(|error| {
            let text = error.to_string();
            self.failure = Some(error);
            StoreError::rows(self.source.url(), text)
        }))
    }
}

/// The name of the column with the scores of `target`.
pub(super) fn score_column(target: &str) -> String {
    format!("{target}_ood")
}

/// The kept columns, then for each model its coordinates and scores.
fn reduce_batch(
    url: &Url,
    batch: &RecordBatch,
    form: &Form,
    models: &FittedColumns,
    producer_row: Option<usize>,
    progress: &Progress,
) -> Result<Vec<ArrayRef>, RunError> {
    let mut columns: Vec<ArrayRef> = form
        .kept
        .iter()
        .map(|field| batch.column_by_name(field.name()).expect("all columns were read").clone())
        .collect();
    for column in &models.columns {
        let values = embedding_values(batch, &column.source).expect("checked before reading");
        // Where all of the producer was fitted, its rows are where the fit put them; otherwise the model says so itself of
        // those that were, and places the others.
        let transformed = match producer_row.filter(|_| !column.is_sampled) {
            Some(first) => fitted_rows(column, first, values.nrows()),
            None => column
                .fitted
                .transform(values.view(), progress)
                .map_err(|error| failed(url, &column.source, column.fitted.reducer(), error))?,
        };
        let (coordinates, scores) = arrays_from_transformed(transformed);
        columns.push(coordinates);
        if form.has_scores {
            columns.push(scores);
        }
    }
    Ok(columns)
}

/// The producer's rows are where the fit put them.
fn fitted_rows(column: &FittedColumn, first: usize, n: usize) -> Transformed {
    let layout: ArrayView2<'_, f32> = column.fitted.layout();
    let mut coordinates = Array2::from_elem((n, layout.ncols()), f32::NAN);
    let rows = &column.layout_rows[first..first + n];
    for (mut target, row) in coordinates.axis_iter_mut(Axis(0)).zip(rows) {
        if let Some(row) = row {
            target.assign(&layout.row(*row));
        }
    }
    let out_of_distribution = rows.iter().map(|row| if row.is_some() { 0.0 } else { f32::NAN }).collect();
    Transformed { coordinates, out_of_distribution }
}

/// Rows without a place are null.
fn arrays_from_transformed(transformed: Transformed) -> (ArrayRef, ArrayRef) {
    let placed: Vec<bool> = transformed.out_of_distribution.iter().map(|score| !score.is_nan()).collect();
    let nulls = placed.contains(&false).then(|| NullBuffer::from(placed));
    let width = i32::try_from(transformed.coordinates.ncols()).expect("a few components");
    let (values, _) = transformed.coordinates.into_raw_vec_and_offset();
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let values = Arc::new(Float32Array::from(values));
    let coordinates = FixedSizeListArray::new(item, width, values, nulls.clone());
    let (scores, _) = transformed.out_of_distribution.into_raw_vec_and_offset();
    (Arc::new(coordinates), Arc::new(Float32Array::new(scores.into(), nulls)))
}

fn lineage(place: Place<'_>, source: &Source, kept: &[FieldRef], models: &FittedColumns) -> Lineage {
    let places = place.project.places();
    let input = |table: &Source| {
        let input = table.info.as_input();
        LineageInput { url: places.stored(&input.url), ..input }
    };
    let columns: serde_json::Map<String, serde_json::Value> = models
        .columns
        .iter()
        .map(|column| {
            let reducer = serde_json::to_value(column.fitted.reducer()).expect("parameters are plain data");
            (column.target.clone(), serde_json::json!({ "source": column.source, "reducer": reducer }))
        })
        .collect();
    let mut operation = Operation::new(REDUCE, 1).with("columns", columns);
    if let Some(limit) = models.fit_rows {
        operation = operation.with("fit_rows", limit);
    }
    let mut lineage = Lineage::new(PRODUCER, operation);
    lineage.run = place.run.map(|run| places.stored(run.url()));
    lineage.inputs.push(input(source));
    if models.producer.url() != source.url() {
        lineage.inputs.push(input(&models.producer));
    }
    for column in &models.columns {
        lineage.models.insert(column.target.clone(), column.model.clone());
        lineage.derive_column(&column.target, 0, &column.source);
    }
    for field in kept {
        let from = vec![ColumnSource { input: 0, field: field.name().clone() }];
        let origin = ColumnLineage { from, kind: "DIRECT".into(), subtype: "IDENTITY".into() };
        lineage.columns.insert(field.name().clone(), origin);
    }
    lineage
}
