//! What is finished of a large table's reduction, kept until the whole is written.
//!
//! A reduced table is written by one commit, so a killed writer leaves nothing of it. What was dear to compute, the
//! coordinates and scores, is kept meanwhile: every so many rows as a small table in a folder beside the table to be,
//! whose name says of which source and models it is. Whoever reduces the same source by the same models later reads
//! the pieces instead of placing the rows again, after a look at their digests, and at the hash that is kept with each row
//! of what it was made of: the source may have been damaged when the piece was made, which is noticed only after the
//! last of its rows, or be a table of another program, which has no digest and may be another one by now. The folder
//! goes when the table is recorded; what is left of an interrupted reduction is known to [`Project::doctor`].

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use serde_json::Value;
use tlc_core::digest::{self, TableDigest};
use tlc_core::ulid::Ulid;
use tlc_core::{Lineage, Scan, StoreError, UniqueName, Url, WriteCondition};

use super::source::Source;
use crate::inventory::DEPTH;
use crate::links::is_link;
use crate::{Project, RunError};

/// Ends the name of a folder of pieces; nothing in there is a table of the project.
pub(crate) const PIECES_SUFFIX: &str = ".pieces";
/// The lineage of the table to be, which also names the models: they are in use.
const NOTE: &str = "lineage.json";
/// The last column of a piece: for each row a hash of the source's row that it was made of.
const MADE_OF: &str = "tlc_made_of";
/// From so many bytes of embeddings on, pieces are kept: to place less again takes a minute or two.
const KEPT_FROM_BYTES: u64 = 1 << 30;
/// Rows per piece: some ten seconds of work, some megabytes, and 400 tables for a hundred million rows.
const PIECE_ROWS: u64 = 1 << 18;

/// The rows per piece of a reduction of `bytes` of embeddings; `None` if none are kept.
pub(super) fn piece_rows(wanted: Option<u64>, bytes: u64) -> Result<Option<u64>, RunError> {
    match wanted {
        Some(0) => Err(RunError::Options { reason: "piece_rows is 0; use at least 1 row".to_owned() }),
        Some(rows) => Ok(Some(rows)),
        None => Ok((bytes >= KEPT_FROM_BYTES).then_some(PIECE_ROWS)),
    }
}

/// The pieces of one reduced table.
pub(super) struct Pieces<'a> {
    project: &'a Project,
    pub(super) folder: Url,
    /// What was computed, the last columns of the reduced table, and what of.
    schema: SchemaRef,
    rows_per_piece: u64,
    n_rows: u64,
    /// By number; several of one number if two reduced at once.
    found: BTreeMap<u64, Vec<Url>>,
}

impl<'a> Pieces<'a> {
    /// Those of the table with `lineage`, in `folder`.
    pub(super) fn open(
        project: &'a Project,
        folder: &Url,
        source: &Source,
        lineage: &Lineage,
        computed: &Schema,
        rows_per_piece: u64,
    ) -> Result<Self, RunError> {
        let made_of = Arc::new(Field::new(MADE_OF, DataType::UInt64, false));
        let schema: SchemaRef =
            Arc::new(Schema::new(computed.fields().iter().cloned().chain([made_of]).collect::<Vec<_>>()));
        let columns: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
        let models: BTreeMap<_, _> = lineage.models.iter().map(|(target, model)| (target, &model.digest)).collect();
        let origins: BTreeMap<_, _> =
            lineage.models.keys().map(|target| (target, lineage.columns.get(target).map(|it| &it.from))).collect();
        let identity = serde_json::json!({
            "source": known_by(project, source),
            "rows": source.info.rows,
            "columns": columns,
            "models": models,
            "origins": origins,
            "rows_per_piece": rows_per_piece,
        });
        let digest = digest::of_bytes(identity.to_string().as_bytes());
        let key: String = digest.trim_start_matches("sha256:").chars().take(16).collect();
        let file_name = source.url().file_name();
        let stem = file_name.strip_suffix(".lance").unwrap_or(file_name);
        let folder = folder.join(&format!("{stem}-{key}{PIECES_SUFFIX}"))?;
        write_note(project, &folder, lineage)?;
        let mut found: BTreeMap<u64, Vec<Url>> = BTreeMap::new();
        for url in project.store().list_tables(&folder)? {
            if let Ok(number) = UniqueName::stem_of(url.file_name()).parse() {
                found.entry(number).or_default().push(url);
            }
        }
        if !found.is_empty() {
            let rows = rows_per_piece * found.len() as u64;
            tracing::info!(table = %source.url(), rows, "goes on where an interrupted reduction ended");
        }
        Ok(Self { project, folder, schema, rows_per_piece, n_rows: source.info.rows, found })
    }

    /// The number of the piece that `row` is in.
    pub(super) fn number_of(&self, row: u64) -> u64 {
        row / self.rows_per_piece
    }

    /// The rows of a piece.
    pub(super) fn range(&self, number: u64) -> std::ops::Range<u64> {
        number * self.rows_per_piece..((number + 1) * self.rows_per_piece).min(self.n_rows)
    }

    /// The piece, if it was finished before and is whole.
    pub(super) fn read(&self, number: u64) -> Option<RecordBatch> {
        self.found.get(&number)?.iter().find_map(|url| match self.read_whole(number, url) {
            Ok(piece) => Some(piece),
            Err(error) => {
                tracing::warn!(%url, %error, "computed again: a finished piece cannot be used");
                None
            }
        })
    }

    fn read_whole(&self, number: u64, url: &Url) -> Result<RecordBatch, StoreError> {
        let store = self.project.store();
        let info = store.info(url)?;
        let damaged = |reason: String| StoreError::Damaged { url: url.clone(), reason };
        let mut content = TableDigest::new(&info.schema);
        let mut batches = Vec::new();
        for batch in store.scan(url, Scan::default())? {
            let batch = batch?;
            content.update(&batch).map_err(damaged)?;
            batches.push(RecordBatch::try_new(self.schema.clone(), batch.columns().to_vec()));
        }
        let digest = Some(content.finish());
        if info.digest != digest {
            return Err(damaged("its rows are not those that were written".to_owned()));
        }
        let failed = |error| StoreError::backend("read the piece", url, error);
        let batches: Vec<RecordBatch> = batches.into_iter().collect::<Result<_, _>>().map_err(failed)?;
        let piece = concat_batches(&self.schema, &batches).map_err(failed)?;
        let range = self.range(number);
        match piece.num_rows() as u64 == range.end - range.start {
            true => Ok(piece),
            false => Err(damaged(format!("it has {} rows, not those of {range:?}", piece.num_rows()))),
        }
    }

    /// The columns of a piece's rows that were computed, and the hashes of what of.
    pub(super) fn split(rows: &RecordBatch) -> (Vec<ArrayRef>, ArrayRef) {
        let mut columns = rows.columns().to_vec();
        let made_of = columns.pop().expect("a piece has a column more than what was computed");
        (columns, made_of)
    }

    /// Columns that were computed, as rows of a piece.
    pub(super) fn batch(&self, mut columns: Vec<ArrayRef>, made_of: ArrayRef) -> Result<RecordBatch, StoreError> {
        columns.push(made_of);
        RecordBatch::try_new(self.schema.clone(), columns)
            .map_err(|error| StoreError::backend("assemble rows for", &self.folder, error))
    }

    /// Removes a piece that was made of other rows.
    pub(super) fn discard(&mut self, number: u64) {
        for url in self.found.remove(&number).into_iter().flatten() {
            if let Err(error) = self.project.store().delete(&url) {
                tracing::warn!(%url, %error, "cannot remove a piece that is of no use");
            }
        }
    }

    /// Keeps a finished piece.
    pub(super) fn write(&self, number: u64, batches: Vec<RecordBatch>) -> Result<(), StoreError> {
        let name = UniqueName::new(&format!("{number:08}"));
        let url = self.folder.join(&format!("{name}.lance"))?;
        self.project.store().create(&url, self.schema.clone(), Box::new(batches.into_iter().map(Ok)))?;
        Ok(())
    }
}

/// What tells the source from others: the digest of its rows, or its place and columns where it has none. Whether the
/// rows are still those that a piece was made of is seen by the piece itself, in either case.
fn known_by(project: &Project, source: &Source) -> Value {
    if let Some(digest) = &source.info.digest {
        return Value::from(digest.as_str());
    }
    let fields = source.info.schema.fields().iter();
    let columns: Vec<_> = fields.map(|field| (field.name(), field.data_type().to_string())).collect();
    serde_json::json!({ "url": project.places().stored(source.url()), "columns": columns })
}

/// Says what the pieces in `folder` are of.
fn write_note(project: &Project, folder: &Url, lineage: &Lineage) -> Result<(), RunError> {
    let (url, content) = (folder.join(NOTE)?, serde_json::to_vec(lineage).expect("lineage is plain data"));
    let written = match project.store().write_object(&url, &content, WriteCondition::Absent) {
        Err(StoreError::AlreadyExists { .. }) => {
            let (_, version) = project.store().read_object(&url)?;
            project.store().write_object(&url, &content, WriteCondition::Unchanged(version))
        }
        written => written,
    };
    match written {
        // Somebody else reduces the same; what they say is as good.
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What is left of a reduction that was interrupted, or what one at work has finished.
pub(crate) struct Interrupted {
    pub(crate) folder: Url,
    /// Of the table that was to be made.
    pub(crate) lineage: Option<Lineage>,
    /// The identity of the newest piece.
    pub(crate) newest: Option<Ulid>,
}

impl Interrupted {
    /// Those directly in `folder`.
    pub(super) fn in_folder(project: &Project, folder: &Url) -> Result<Vec<Self>, RunError> {
        let names = project.store().list_folders(folder)?.into_iter().filter(|name| name.ends_with(PIECES_SUFFIX));
        names.map(|name| Self::at(project, folder.join(&name)?)).collect()
    }

    fn at(project: &Project, folder: Url) -> Result<Self, RunError> {
        let note = project.store().read_object(&folder.join(NOTE)?);
        let lineage: Option<Lineage> = note.ok().and_then(|(content, _)| serde_json::from_slice(&content).ok());
        let id = |url: &Url| Ulid::from_string(url.file_name().strip_suffix(".lance")?.rsplit_once('-')?.1).ok();
        let pieces = project.store().list_tables(&folder)?;
        let begun = lineage.as_ref().map(|lineage| lineage.table_id);
        let newest = pieces.iter().filter_map(id).chain(begun).max();
        Ok(Self { folder, lineage, newest })
    }
}

impl Project {
    /// All of its interrupted reductions; not through links.
    pub(crate) fn interrupted_reductions(&self) -> Result<Vec<Interrupted>, RunError> {
        let mut found = Vec::new();
        self.look_for_interrupted(self.root(), DEPTH, &mut found)?;
        Ok(found)
    }

    fn look_for_interrupted(&self, folder: &Url, depth: usize, found: &mut Vec<Interrupted>) -> Result<(), RunError> {
        for name in self.store().list_folders(folder)? {
            let url = folder.join(&name)?;
            if is_link(&url) {
                continue;
            }
            if name.ends_with(PIECES_SUFFIX) {
                found.push(Interrupted::at(self, url)?);
            } else if depth > 0 && !name.contains(".lance") {
                self.look_for_interrupted(&url, depth - 1, found)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_kept_from_a_gibibyte_on_unless_somebody_says_otherwise() {
        for (wanted, bytes, expected) in [
            (None, 0, None),
            (None, (1 << 30) - 1, None),
            (None, 1 << 30, Some(262_144)),
            (None, u64::MAX, Some(262_144)),
            (Some(10), 0, Some(10)),
            (Some(10), 1 << 30, Some(10)),
        ] {
            assert_eq!(piece_rows(wanted, bytes).expect("valid"), expected, "{wanted:?} of {bytes} bytes");
        }
        assert!(piece_rows(Some(0), 1 << 30).is_err());
    }
}
