//! Applying fitted models to a table, batch by batch: memory does not grow with the table.

use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, FieldRef, Schema};
use ndarray::{Array2, ArrayView2, Axis};
use tlc_core::digest::TableDigest;
use tlc_core::{
    ColumnLineage, ColumnSource, FieldRoles, Lineage, LineageInput, MetricsTable, NumberRole, Operation, Progress,
    Scan, StoreError, Transformed, Url, embedding_field, embedding_values, embedding_width,
};

use super::ReduceOptions;
use super::fit::{FittedColumn, FittedColumns, failed, not_a_vector};
use crate::{MetricsEntry, Run, RunError};

const PRODUCER: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Writes the reduced form of `source` and returns its entry.
pub(super) fn apply(
    run: &Run,
    source: &MetricsEntry,
    models: &FittedColumns,
    options: &ReduceOptions,
    progress: &Progress,
) -> Result<MetricsEntry, RunError> {
    let store = run.project().store();
    let info = store.info(&source.url)?;
    check_widths(run, &source.url, &info.schema, models)?;
    let dropped: Vec<&str> = if options.retain_source_embedding_column {
        Vec::new()
    } else {
        models.columns.iter().map(|column| column.source.as_str()).collect()
    };
    let kept: Vec<FieldRef> =
        info.schema.fields().iter().filter(|field| !dropped.contains(&field.name().as_str())).cloned().collect();
    let mut fields = kept.clone();
    for column in &models.columns {
        let width = column.fitted.layout().ncols();
        let target = embedding_field(&column.target, width, NumberRole::ReducedEmbedding);
        let score = Field::new(format!("{}_ood", column.target), DataType::Float32, true);
        fields.push(Arc::new(target));
        fields.push(Arc::new(score.with_role(NumberRole::OutOfDistribution)));
    }
    if let Some(clash) =
        fields.iter().enumerate().find(|(i, field)| fields[..*i].iter().any(|f| f.name() == field.name()))
    {
        let reason = format!("the table already has a column {:?}; give a target_embedding_column", clash.1.name());
        return Err(RunError::Options { reason });
    }
    let schema = Arc::new(Schema::new(fields));
    let table = MetricsTable {
        name: source.name.clone(),
        foreign_table: source.foreign_table.clone(),
        constants: source.constants.clone(),
        lineage: lineage(run, source, &kept, models),
    };

    let is_producer = source.url == models.producer.url;
    let mut first_row = 0;
    let mut failure = None;
    // All columns are read anyway: a source that changed on disk is noticed before it is replaced.
    let mut digest = TableDigest::new(&info.schema);
    let rows = store.scan(&source.url, Scan::default())?.map(|batch| {
        let batch = batch?;
        progress.check()?;
        digest.update(&batch).map_err(|reason| StoreError::Damaged { url: source.url.clone(), reason })?;
        let reduced = reduce_batch(&source.url, &batch, &kept, models, is_producer.then_some(first_row), progress)
            .and_then(|columns| {
                RecordBatch::try_new(schema.clone(), columns)
                    .map_err(|error| StoreError::backend("assemble rows for", &source.url, error).into())
            });
        first_row += batch.num_rows();
        reduced.map_err(|error| {
            let text = error.to_string();
            failure = Some(error);
            StoreError::rows(&source.url, text)
        })
    });
    let written = run.write_table("reduced", &table, &schema, Box::new(rows));
    let written = match (failure, written) {
        (Some(failure), _) => return Err(failure),
        (None, written) => written?,
    };
    let found = digest.finish();
    if info.digest.as_ref().is_some_and(|expected| *expected != found) {
        let _ = store.delete(&written.url);
        let reason = format!("its rows have the digest {found}, not the one they were written with");
        return Err(StoreError::Damaged { url: source.url.clone(), reason }.into());
    }
    let mut entry = run.entry(&table, &written);
    entry.reduced_from = Some(source.url.relative_to(run.project().root()));
    Ok(entry)
}

fn check_widths(run: &Run, url: &Url, schema: &Schema, models: &FittedColumns) -> Result<(), RunError> {
    for column in &models.columns {
        let unusable = |reason: String| RunError::Column { column: column.source.clone(), url: url.clone(), reason };
        let field = schema.field_with_name(&column.source).ok();
        let width = field.and_then(embedding_width).ok_or_else(|| not_a_vector(run, url, &column.source))?;
        let fitted = column.fitted.n_features();
        if width != fitted {
            let producer = &models.producer.url;
            return Err(unusable(format!("its rows have {width} values, those of {producer} have {fitted}")));
        }
    }
    Ok(())
}

/// The kept columns, then for each model its coordinates and scores.
fn reduce_batch(
    url: &Url,
    batch: &RecordBatch,
    kept: &[FieldRef],
    models: &FittedColumns,
    producer_row: Option<usize>,
    progress: &Progress,
) -> Result<Vec<ArrayRef>, RunError> {
    let mut columns: Vec<ArrayRef> =
        kept.iter().map(|field| batch.column_by_name(field.name()).expect("all columns were read").clone()).collect();
    for column in &models.columns {
        let values = embedding_values(batch, &column.source).expect("checked before reading");
        let transformed = match producer_row {
            Some(first) => fitted_rows(column, first, values.nrows()),
            None => column
                .fitted
                .transform(values.view(), progress)
                .map_err(|error| failed(url, &column.source, column.fitted.reducer(), error))?,
        };
        let (coordinates, scores) = arrays_from_transformed(transformed);
        columns.push(coordinates);
        columns.push(scores);
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

fn lineage(run: &Run, source: &MetricsEntry, kept: &[FieldRef], models: &FittedColumns) -> Lineage {
    let root = run.project().root();
    let input = |entry: &MetricsEntry| LineageInput {
        url: entry.url.relative_to(root),
        version: 1,
        table_id: Some(entry.table_id),
        rows: entry.rows,
        digest: entry.digest.clone(),
    };
    let columns: serde_json::Map<String, serde_json::Value> = models
        .columns
        .iter()
        .map(|column| {
            let reducer = serde_json::to_value(column.fitted.reducer()).expect("parameters are plain data");
            (column.target.clone(), serde_json::json!({ "source": column.source, "reducer": reducer }))
        })
        .collect();
    let mut lineage = Lineage::new(PRODUCER, Operation::new("reduce", 1).with("columns", columns));
    lineage.run = Some(run.url().relative_to(root));
    lineage.inputs.push(input(source));
    if models.producer.url != source.url {
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
