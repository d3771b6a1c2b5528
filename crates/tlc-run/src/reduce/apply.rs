//! Applying fitted models to a table, batch by batch: memory does not grow with the table, and what is finished of a
//! large one survives a kill (`pieces.rs`).

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, UInt64Array};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use ndarray::{Array2, ArrayView2, Axis};
use tlc_core::digest::TableDigest;
use tlc_core::{
    BatchStream, ColumnError, FieldRoles, Lineage, LineageInput, MetricsTable, NumberRole, Operation, Progress, Scan,
    StoreError, Task, Transformed, Url, embedding_field, embedding_values, score_column,
};

use super::fit::{FIT_ROWS, FITTED_ON, FittedColumn, FittedColumns, REDUCE, failed, vector_width};
use super::pieces::{Pieces, piece_rows};
use super::source::Source;
use super::streams::{Place, Reduced};
use crate::{PRODUCER, Project, RunError};

/// The size of batches that are read: large, since many rows at a time are placed faster, and few in memory.
const BATCH_BYTES: usize = 32 << 20;
const BATCH_ROWS: std::ops::RangeInclusive<usize> = 1024..=65_536;

/// Writes the reduced form of `source`; `pieces` gets the folder where finished pieces are kept, if they are.
pub(super) fn apply(
    place: Place<'_>,
    source: Source,
    models: &FittedColumns,
    keep: Keep,
    work: Work<'_>,
    pieces: &mut Vec<Url>,
) -> Result<Reduced, RunError> {
    let form = Form::of(&source, models, keep)?;
    let table = MetricsTable {
        name: source.name.clone(),
        foreign_table: source.foreign_table.clone(),
        constants: source.constants.clone(),
        lineage: lineage(place, &source, &form.kept, models),
    };
    let folder = place.tables(source.url())?;
    let mut rows = ReducedRows::new(place.project, &source, models, &form, work)?;
    if let Some(rows_per_piece) = piece_rows(work.piece_rows, embedding_bytes(&source, models)?)?
        && !models.has_layout_of(&source)
    {
        let computed = form.computed();
        let opened = Pieces::open(place.project, &folder, &source, &table.lineage, &computed, rows_per_piece)?;
        pieces.push(opened.folder.clone());
        rows.pieces = Some(OpenPiece { pieces: opened, finished: None, fresh: Vec::new() });
    }
    let written = place.project.write_table(&folder, &table, &form.schema, Box::new(&mut rows));
    let info = match (rows.failure.take(), written) {
        (Some(failure), _) => return Err(failure),
        (None, written) => written?,
    };
    if let Err(error) = rows.check_source() {
        let _ = place.project.store().delete(&info.url);
        if let Some(piece) = rows.pieces.take() {
            forget(place.project, &piece.pieces.folder, pieces);
        }
        return Err(error);
    }
    Ok(Reduced { source, table, info })
}

/// Removes the pieces of a damaged source: they, and the models that only they name, are made of its damaged rows.
fn forget(project: &Project, folder: &Url, pieces: &mut Vec<Url>) {
    match project.store().delete_folder(folder) {
        Ok(()) => pieces.retain(|known| known != folder),
        // What is still there names its models.
        Err(error) => tracing::warn!(%folder, %error, "cannot remove the pieces of a damaged table"),
    }
}

/// The bytes of what is reduced, as float32.
fn embedding_bytes(source: &Source, models: &FittedColumns) -> Result<u64, RunError> {
    let widths: Result<Vec<usize>, RunError> =
        models.columns.iter().map(|column| vector_width(source, &column.source)).collect();
    Ok(widths?.into_iter().map(|width| 4 * width as u64 * source.info.rows).sum())
}

/// How rows are worked through.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    /// As [`ReduceOptions::piece_rows`](super::ReduceOptions::piece_rows).
    pub(super) piece_rows: Option<u64>,
    /// Advances by rows.
    pub(super) task: &'a Task,
    pub(super) progress: &'a Progress,
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
            let refused = |error: ColumnError| RunError::Options { reason: error.to_string() };
            fields.push(Arc::new(target.map_err(refused)?));
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

    /// The schema of what is computed, without what is kept.
    fn computed(&self) -> Schema {
        Schema::new(self.schema.fields()[self.kept.len()..].to_vec())
    }
}

/// The reduced rows of a table, batch by batch.
pub(super) struct ReducedRows<'a> {
    source: &'a Source,
    models: &'a FittedColumns,
    form: &'a Form,
    work: Work<'a>,
    batches: BatchStream<'static>,
    /// What was read and belongs to the next piece.
    rest: Option<RecordBatch>,
    first_row: usize,
    pieces: Option<OpenPiece<'a>>,
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
        work: Work<'a>,
    ) -> Result<Self, RunError> {
        let widest = models.columns.iter().map(|column| column.fitted.n_features()).max().unwrap_or(1);
        let batch_rows = (BATCH_BYTES / (4 * widest.max(1))).clamp(*BATCH_ROWS.start(), *BATCH_ROWS.end());
        let batches = project.store().scan(source.url(), Scan { batch_rows, ..Scan::default() })?;
        let digest = Some(TableDigest::new(&source.info.schema));
        Ok(Self { source, models, form, work, batches, rest: None, first_row: 0, pieces: None, digest, failure: None })
    }

    /// Rows that were read, up to the end of a piece.
    fn read(&mut self) -> Option<Result<RecordBatch, StoreError>> {
        let batch = match self.rest.take() {
            Some(rest) => rest,
            None => match self.batches.next()? {
                Err(error) => return Some(Err(error)),
                Ok(batch) => batch,
            },
        };
        let Some(OpenPiece { pieces, .. }) = &self.pieces else { return Some(Ok(batch)) };
        let first = self.first_row as u64;
        let left =
            usize::try_from(pieces.range(pieces.number_of(first)).end.saturating_sub(first)).unwrap_or(usize::MAX);
        if (1..batch.num_rows()).contains(&left) {
            self.rest = Some(batch.slice(left, batch.num_rows() - left));
            return Some(Ok(batch.slice(0, left)));
        }
        Some(Ok(batch))
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
        let (first, n) = (self.first_row, batch.num_rows());
        self.first_row += n;
        let layout_row = self.models.has_layout_of(self.source).then_some(first);
        let (has_scores, models, progress) = (self.form.has_scores, self.models, self.work.progress);
        let compute = || computed_columns(url, batch, has_scores, models, layout_row, progress);
        let origins = || origins(batch, models);
        let computed = match &mut self.pieces {
            None => compute()?,
            // Rows that are none finish no piece.
            Some(piece) if n > 0 => piece.columns(first as u64, n, origins, compute)?,
            Some(_) => compute()?,
        };
        let kept = self.form.kept.iter();
        let mut columns: Vec<ArrayRef> =
            kept.map(|field| batch.column_by_name(field.name()).expect("all columns were read").clone()).collect();
        columns.extend(computed);
        self.work.task.advance(n as u64)?;
        RecordBatch::try_new(self.form.schema.clone(), columns)
            .map_err(|error| StoreError::backend("assemble rows for", url, error).into())
    }
}

impl Iterator for &mut ReducedRows<'_> {
    type Item = Result<RecordBatch, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.read()? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error)),
        };
        if let Err(cancelled) = self.work.progress.check() {
            return Some(Err(cancelled.into()));
        }
        // At the same time: one thread hashes 500 MB to 2 GB per second, and many threads place more than that.
        let mut digest = self.digest.take();
        let (hashed, reduced) = std::thread::scope(|scope| {
            let hashing = scope.spawn(|| digest.as_mut().map_or(Ok(()), |digest| digest.update(&batch)));
            let reduced = self.reduced(&batch);
            (hashing.join().expect("hashing does not panic"), reduced)
        });
        self.digest = digest;
        if let Err(reason) = hashed {
            return Some(Err(StoreError::Damaged { url: self.source.url().clone(), reason }));
        }
        Some(reduced.map_err(|error| {
            let text = error.to_string();
            self.failure = Some(error);
            StoreError::rows(self.source.url(), text)
        }))
    }
}

/// The piece that is worked on.
struct OpenPiece<'a> {
    pieces: Pieces<'a>,
    /// The piece as it was finished before.
    finished: Option<RecordBatch>,
    /// What of it was computed now.
    fresh: Vec<RecordBatch>,
}

impl OpenPiece<'_> {
    /// The columns of `n` rows from `first` on, which are all of one piece; computed if they were not before, from the
    /// same rows by their `origins`.
    fn columns(
        &mut self,
        first: u64,
        n: usize,
        origins: impl Fn() -> ArrayRef + Sync,
        compute: impl Fn() -> Result<Vec<ArrayRef>, RunError>,
    ) -> Result<Vec<ArrayRef>, RunError> {
        let number = self.pieces.number_of(first);
        let range = self.pieces.range(number);
        if first == range.start {
            self.finished = self.pieces.read(number);
        }
        if let Some(finished) = self.finished.take() {
            let offset = (first - range.start) as usize;
            let (columns, made_of) = Pieces::split(&finished.slice(offset, n));
            if made_of == origins() {
                self.finished = Some(finished);
                return Ok(columns);
            }
            tracing::warn!(
                first,
                n,
                "computed again: a finished piece was made of other rows than those that are there"
            );
            self.pieces.discard(number);
            if offset > 0 {
                self.fresh.push(finished.slice(0, offset));
            }
        }
        let (columns, made_of) = std::thread::scope(|scope| {
            let hashing = scope.spawn(&origins);
            let columns = compute();
            (columns, hashing.join().expect("hashing does not panic"))
        });
        let columns = columns?;
        self.fresh.push(self.pieces.batch(columns.clone(), made_of)?);
        if first + n as u64 == range.end {
            self.pieces.write(number, std::mem::take(&mut self.fresh))?;
        }
        Ok(columns)
    }
}

/// Says whether a row has a vector; the values of one that is null are arbitrary.
fn has_values(batch: &RecordBatch, column: &str) -> impl Fn(usize) -> bool {
    let nulls = batch.column_by_name(column).and_then(|vectors| vectors.nulls());
    move |row| nulls.is_none_or(|nulls| nulls.is_valid(row))
}

/// For each row a hash of the vectors that its columns are computed from. Whether the source was read as it was written
/// is only known after its last row; by this, what is kept of its rows until then is used for the same rows only. Another
/// hash in a later version of Rust means no more than that pieces are computed again.
fn origins(batch: &RecordBatch, models: &FittedColumns) -> ArrayRef {
    let sources: BTreeSet<&str> = models.columns.iter().map(|column| column.source.as_str()).collect();
    let vectors = sources.into_iter().map(|source| {
        let values = embedding_values(batch, source).expect("checked before reading");
        (values, has_values(batch, source))
    });
    let vectors: Vec<_> = vectors.collect();
    let mut bytes = Vec::new();
    let hash_of = |row: usize| {
        let mut hasher = DefaultHasher::new();
        for (vectors, has_values) in &vectors {
            hasher.write_u8(u8::from(has_values(row)));
            // All at once, which is several times as fast as value by value.
            bytes.resize(4 * vectors.ncols(), 0_u8);
            let values = vectors.row(row);
            bytes.chunks_exact_mut(4).zip(values).for_each(|(to, value)| to.copy_from_slice(&value.to_le_bytes()));
            hasher.write(&bytes);
        }
        hasher.finish()
    };
    Arc::new(UInt64Array::from_iter_values((0..batch.num_rows()).map(hash_of)))
}

/// For each model its coordinates and scores. `layout_row` is the first row's number where the rows are those that were
/// fitted.
fn computed_columns(
    url: &Url,
    batch: &RecordBatch,
    has_scores: bool,
    models: &FittedColumns,
    layout_row: Option<usize>,
    progress: &Progress,
) -> Result<Vec<ArrayRef>, RunError> {
    let mut columns: Vec<ArrayRef> = Vec::new();
    for column in &models.columns {
        let values = embedding_values(batch, &column.source).expect("checked before reading");
        let transformed = match layout_row {
            Some(first) => fitted_rows(column, first, values.nrows()),
            None => column
                .fitted
                .transform(values.view(), progress)
                .map_err(|error| failed(url, &column.source, column.fitted.reducer(), error))?,
        };
        let has_values = has_values(batch, &column.source);
        let (coordinates, scores) = transformed.into_arrays(has_values);
        columns.push(coordinates);
        if has_scores {
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
            let made = serde_json::json!({ "source": column.source, "reducer": reducer, FITTED_ON: column.fitted_on });
            (column.target.clone(), made)
        })
        .collect();
    let mut operation = Operation::new(REDUCE, 1).with("columns", columns);
    if let Some(sample) = &models.sample {
        operation = operation.with(FIT_ROWS, serde_json::to_value(sample).expect("plain data"));
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
        lineage.keep_column(field.name(), 0);
    }
    lineage
}
