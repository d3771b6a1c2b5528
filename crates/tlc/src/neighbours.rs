//! The nearest neighbours of a table's rows, for tables that need not fit in memory.
//!
//! [`write_neighbours`] finds them by cells in a file ([`graph_on_disk`]) and writes them as a table beside the other, or
//! into the project if that lies elsewhere, from which [`near_duplicates`] are read.

use std::sync::Arc;

use arrow_array::builder::{FixedSizeListBuilder, Float32Builder, Int64Builder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use tlc_core::{
    Lineage, LineageInput, NumberRole, Operation, Progress, ReduceError, Scan, StoreError, TableInfo, UniqueName, Url,
    UrlError, columns_with_role, embedding_width,
};
use tlc_reduce::knn::{DiskGraph, DiskOptions, DuplicateRule, GraphReport, TableRows, graph_on_disk};
use tlc_run::Project;

/// The columns of a table of neighbours.
const NEIGHBOURS: &str = "neighbours";
const DISTANCES: &str = "distances";
/// Rows that are written at a time.
const BATCH_ROWS: usize = 16_384;
/// Near duplicates beyond those that are wanted, before the farther ones are let go: a table of which half is there twice
/// has as many as rows.
const SLACK: usize = 4096;

/// Why neighbours were not found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NeighboursError {
    /// A table or column without what is needed.
    #[error("cannot look for neighbours in {url}: {reason}")]
    Unfit {
        /// The table.
        url: Url,
        /// What was found and what is needed.
        reason: String,
    },
    /// The search failed.
    #[error("cannot find the neighbours of the rows of {url}")]
    Search {
        /// The table.
        url: Url,
        /// Why.
        #[source]
        source: ReduceError,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A URL that cannot be formed.
    #[error(transparent)]
    Url(#[from] UrlError),
}

/// The column of vectors called `column`, or the only one with the role `nn_embedding`.
fn column_of(info: &TableInfo, column: Option<&str>) -> Result<String, NeighboursError> {
    let unfit = |reason: String| NeighboursError::Unfit { url: info.url.clone(), reason };
    let embeddings = columns_with_role(&info.schema, &NumberRole::NnEmbedding);
    let column = match (column, &embeddings[..]) {
        (Some(column), _) => column.to_owned(),
        (None, [only]) => only.clone(),
        (None, []) => return Err(unfit("no column has the role nn_embedding; name one".to_owned())),
        (None, several) => return Err(unfit(format!("name one of its columns {}", several.join(", ")))),
    };
    match info.schema.field_with_name(&column).ok().and_then(embedding_width) {
        Some(_) => Ok(column),
        None => Err(unfit(format!("it has no column of vectors {column:?}"))),
    }
}

/// Finds the `k` nearest other rows of each row of a table by Euclidean distance, and writes them
/// [beside it](Project::folder_beside): a table with as many rows in the same order, of `neighbours`, `(k,)` row numbers,
/// nearest first, and `distances`, `(k,)`. Rows with null, NaN or infinity have none. The report says which share of the
/// true neighbours was found.
///
/// ```
/// # use std::sync::Arc;
/// use tlc::core::{Column, NumberRole, Progress};
/// use tlc::neighbours::{near_duplicates, write_neighbours};
/// use tlc::reduce::knn::DiskOptions;
/// # use tlc::{run::Project, table::{MemoryStore, NewTable, Table}};
/// # let store = Arc::new(MemoryStore::default());
/// # let project = Project::new(store.clone(), "memory://p".parse()?);
/// // Row 7 is nearly row 3.
/// let mut values: Vec<f32> = (0..300_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 1e6).collect();
/// values.copy_within(18..24, 42);
/// values[42] += 1e-3;
/// let embedding = Column::embedding("embedding", 6, values, NumberRole::NnEmbedding)?;
/// # let folder = "memory://p/datasets/toys".parse()?;
/// let table = Table::from_columns(store, &folder, NewTable::new("initial"), vec![embedding])?;
/// let (neighbours, report) =
///     write_neighbours(&project, table.url(), None, 5, &DiskOptions::default(), &Progress::default())?;
/// assert!(neighbours.rows == 50 && report.recall > 0.9);
/// let pairs = near_duplicates(&project, &neighbours.url, 10)?;
/// assert_eq!(pairs.iter().map(|pair| pair.rows).collect::<Vec<_>>(), [[3, 7]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A table without a column of vectors; fewer usable rows than `k + 1`; options out of their range; a full disk; a
/// failing store; cancellation. Then nothing is written.
pub fn write_neighbours(
    project: &Project,
    table: &Url,
    column: Option<&str>,
    k: usize,
    options: &DiskOptions,
    progress: &Progress,
) -> Result<(TableInfo, GraphReport), NeighboursError> {
    let table = project.places().expanded(table)?;
    let info = project.store().info(&table)?;
    let column = column_of(&info, column)?;
    let failed = |source| NeighboursError::Search { url: table.clone(), source };
    let rows = TableRows::open(project.store(), info, &column, &|_| true, progress).map_err(failed)?;
    let (graph, report) = graph_on_disk(&rows, k, options, progress).map_err(failed)?;
    let folder = project.folder_beside(&table)?;
    let operation = Operation::new("neighbours", 1)
        .with("column", column.as_str())
        .with("k", k)
        .with("metric", "euclidean")
        .with("seed", options.seed)
        .with("target_recall", options.target_recall)
        .with("recall", report.recall);
    let mut lineage = Lineage::new(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")), operation);
    let input = rows.info().as_input();
    lineage.inputs.push(LineageInput { url: project.places().stored(&input.url), ..input });
    for target in [NEIGHBOURS, DISTANCES] {
        lineage.derive_column(target, 0, &column);
    }
    let name = format!("{}-neighbours", UniqueName::stem_of(table.file_name()));
    let url = folder.join(&format!("{}.lance", UniqueName::with_id(&name, lineage.table_id)))?;
    let schema: SchemaRef = Arc::new(lineage.write_into(&schema(k)));
    let batches = Batches { rows: &rows, graph: &graph, schema: schema.clone(), next: 0, next_usable: 0 };
    Ok((project.store().create(&url, schema, Box::new(batches))?, report))
}

fn schema(k: usize) -> Schema {
    let width = i32::try_from(k).expect("k is below the number of rows in memory");
    let list = |name: &str, kind: DataType| {
        Field::new(name, DataType::FixedSizeList(Arc::new(Field::new("item", kind, true)), width), true)
    };
    Schema::new(vec![list(NEIGHBOURS, DataType::Int64), list(DISTANCES, DataType::Float32)])
}

/// The rows of the table of neighbours.
struct Batches<'a> {
    rows: &'a TableRows<'a>,
    graph: &'a DiskGraph,
    schema: SchemaRef,
    next: u64,
    next_usable: usize,
}

impl Batches<'_> {
    fn batch(&mut self) -> Result<RecordBatch, ReduceError> {
        let end = (self.next + BATCH_ROWS as u64).min(self.rows.info().rows);
        let without = self.rows.left_out(self.next..end);
        let n_usable = (end - self.next) as usize - without.len();
        let lists = self.graph.read(self.next_usable..self.next_usable + n_usable)?;
        let k = i32::try_from(self.graph.k()).expect("as in the schema");
        let mut neighbours = FixedSizeListBuilder::new(Int64Builder::new(), k);
        let mut distances = FixedSizeListBuilder::new(Float32Builder::new(), k);
        let mut found = lists.indices.outer_iter().zip(lists.squared.outer_iter());
        for row in self.next..end {
            let list = if without.binary_search(&row).is_ok() { None } else { found.next() };
            match list {
                Some((indices, squared)) => {
                    let numbers = indices.iter().map(|&id| self.rows.row_number(u64::from(id)) as i64);
                    neighbours.values().extend(numbers.map(Some));
                    distances.values().extend(squared.iter().map(|squared| Some(squared.sqrt())));
                }
                None => {
                    neighbours.values().append_nulls(k as usize);
                    distances.values().append_nulls(k as usize);
                }
            }
            neighbours.append(list.is_some());
            distances.append(list.is_some());
        }
        (self.next, self.next_usable) = (end, self.next_usable + n_usable);
        let columns: Vec<arrow_array::ArrayRef> = vec![Arc::new(neighbours.finish()), Arc::new(distances.finish())];
        RecordBatch::try_new(self.schema.clone(), columns)
            .map_err(|error| ReduceError::backend("put the lists of neighbours together", error))
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<RecordBatch, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.rows.info().rows {
            return None;
        }
        Some(self.batch().map_err(|error| StoreError::rows(&self.rows.info().url, error)))
    }
}

/// Two rows that are nearly the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NearDuplicates {
    /// Their numbers, the lower one first.
    pub rows: [u64; 2],
    /// How far they are apart.
    pub distance: f64,
    /// How many times nearer they are than is usual, by [`DuplicateRule`].
    pub ratio: f64,
}

/// The pairs of rows that are near duplicates by [`DuplicateRule`], nearest first and equally near ones by their numbers, at
/// most `limit`, by the table that [`write_neighbours`] made; each pair once. Takes 4 bytes per row, and however many
/// pairs there are, no more of them than `limit` and some thousands.
///
/// # Errors
/// A table of another kind; a failing store.
pub fn near_duplicates(project: &Project, table: &Url, limit: usize) -> Result<Vec<NearDuplicates>, NeighboursError> {
    let (store, table) = (project.store(), project.places().expanded(table)?);
    let unfit = || NeighboursError::Unfit {
        url: table.clone(),
        reason: "it has no columns neighbours and distances; write_neighbours makes such tables".to_owned(),
    };
    let schema = store.info(&table)?.schema;
    let is_list =
        |name: &str| schema.field_with_name(name).is_ok_and(|it| matches!(it.data_type(), DataType::FixedSizeList(..)));
    if !is_list(NEIGHBOURS) || !is_list(DISTANCES) {
        return Err(unfit());
    }
    let mut nearest: Vec<f32> = Vec::new();
    let scan = || store.scan(&table, Scan::columns([NEIGHBOURS, DISTANCES]));
    let each = |take: &mut dyn FnMut(u64, u64, f32)| -> Result<(), NeighboursError> {
        let mut first = 0;
        for batch in scan()? {
            let batch = batch?;
            let (lists, distances) = (batch.column(0).as_fixed_size_list(), batch.column(1).as_fixed_size_list());
            let ids = lists.values().as_primitive_opt::<Int64Type>().ok_or_else(unfit)?;
            let values = distances.values().as_primitive_opt::<Float32Type>().ok_or_else(unfit)?;
            for row in (0..batch.num_rows()).filter(|&row| lists.is_valid(row)) {
                let at = row * lists.value_length() as usize;
                take(first + row as u64, ids.value(at) as u64, values.value(at));
            }
            first += batch.num_rows() as u64;
        }
        Ok(())
    };
    each(&mut |_, _, distance| nearest.push(distance))?;
    let rule = DuplicateRule::of(nearest);
    let mut pairs: Vec<NearDuplicates> = Vec::new();
    each(&mut |row, other, distance| {
        if let Some(ratio) = rule.ratio(distance) {
            let rows = [row.min(other), row.max(other)];
            pairs.push(NearDuplicates { rows, distance: distance.into(), ratio });
            if pairs.len() >= limit.saturating_add(SLACK) {
                keep_nearest(&mut pairs, limit);
            }
        }
    })?;
    keep_nearest(&mut pairs, limit);
    Ok(pairs)
}

/// Sorts, the nearest first, equally near ones by their numbers, each pair once, and lets the others go.
fn keep_nearest(pairs: &mut Vec<NearDuplicates>, limit: usize) {
    pairs.sort_by(|a, b| a.distance.total_cmp(&b.distance).then(a.rows.cmp(&b.rows)));
    pairs.dedup_by_key(|pair| pair.rows);
    pairs.truncate(limit);
}

#[cfg(test)]
mod tests {
    use tlc_core::{Column, rng::Stream};
    use tlc_table::{MemoryStore, NewTable, Table};

    use super::*;

    const N: usize = 3000;

    fn project_and_table(values: Vec<f32>) -> (Project, Url) {
        let store = Arc::new(MemoryStore::default());
        let project = Project::new(store.clone(), "memory://p".parse().expect("a URL"));
        let embedding = Column::embedding("e", 4, values, NumberRole::NnEmbedding).expect("whole vectors");
        let folder = "memory://p/datasets/d".parse().expect("a URL");
        let table = Table::from_columns(store, &folder, NewTable::new("t"), vec![embedding]).expect("writable");
        (project, table.url().clone())
    }

    fn noise() -> Vec<f32> {
        let noise = Stream::new(3, "neighbours-test");
        (0..4 * N).map(|i| noise.normal(i as u64, 0) as f32).collect()
    }

    #[test]
    fn rows_keep_their_numbers_where_some_are_left_out() {
        let mut values = noise();
        for row in [0, 1, 700, 701, 2999] {
            values[4 * row + 2] = f32::NAN;
        }
        let (project, url) = project_and_table(values.clone());
        let options = DiskOptions { memory_bytes: 200_000, target_recall: 1.0, ..DiskOptions::default() };
        let (info, report) = write_neighbours(&project, &url, None, 3, &options, &Progress::default()).expect("found");
        assert_eq!((info.rows, report.recall), (N as u64, 1.0));
        assert_eq!(info.lineage().expect("has lineage").inputs[0].rows, N as u64);
        let batch = project.store().take(&info.url, &(0..N as u64).collect::<Vec<_>>(), None).expect("readable");
        let (lists, distances) = (batch.column(0).as_fixed_size_list(), batch.column(1).as_fixed_size_list());
        assert_eq!(lists.null_count(), 5);
        for row in (0..N).filter(|&row| lists.is_valid(row)) {
            let other = lists.value(row).as_primitive::<Int64Type>().value(0) as usize;
            let squared: f32 = (0..4).map(|at| (values[4 * row + at] - values[4 * other + at]).powi(2)).sum();
            let found = distances.value(row).as_primitive::<Float32Type>().value(0);
            assert!(row != other && (found - squared.sqrt()).abs() < 1e-4, "{row} to {other}: {found}");
        }
    }

    #[test]
    fn near_duplicates_are_listed_once_and_nearest_first() {
        let mut values = noise();
        values.copy_within(40..44, 400);
        values.copy_within(80..84, 800);
        values[800] += 1e-4;
        let (project, url) = project_and_table(values);
        let progress = Progress::default();
        let (info, _) =
            write_neighbours(&project, &url, Some("e"), 2, &DiskOptions::default(), &progress).expect("found");
        let pairs = near_duplicates(&project, &info.url, 2).expect("readable");
        assert_eq!(pairs.iter().map(|pair| pair.rows).collect::<Vec<_>>(), [[10, 100], [20, 200]]);
        assert!(pairs[0].distance == 0.0 && pairs[1].distance > 0.0 && pairs[1].ratio >= DuplicateRule::RATIO);
    }

    #[test]
    fn near_duplicates_are_found_where_every_row_is_twice_there() {
        let mut values = noise();
        values.copy_within(..2 * N, 2 * N);
        let (project, url) = project_and_table(values);
        let (info, _) =
            write_neighbours(&project, &url, None, 2, &DiskOptions::default(), &Progress::default()).expect("found");
        let pairs = near_duplicates(&project, &info.url, N).expect("readable");
        let expected: Vec<[u64; 2]> = (0..N as u64 / 2).map(|row| [row, row + N as u64 / 2]).collect();
        assert_eq!(pairs.iter().map(|pair| pair.rows).collect::<Vec<_>>(), expected);
        assert!(pairs.iter().all(|pair| pair.distance == 0.0 && pair.ratio.is_finite()));
    }

    #[test]
    fn of_more_near_duplicates_than_are_kept_the_nearest_are_listed() {
        const N_PAIRS: u64 = 20_000;
        // Rows 2p and 2p + 1 are each other's nearest; a third of the pairs is near, and many of them equally.
        let distance = |pair: u64| if pair % 3 == 0 { 0.005 * (pair * 7919 % 13) as f32 } else { 1.0 };
        let (mut ids, mut distances) =
            (FixedSizeListBuilder::new(Int64Builder::new(), 1), FixedSizeListBuilder::new(Float32Builder::new(), 1));
        for row in 0..2 * N_PAIRS {
            ids.values().append_value((row ^ 1) as i64);
            ids.append(true);
            distances.values().append_value(distance(row / 2));
            distances.append(true);
        }
        let schema: SchemaRef = Arc::new(schema(1));
        let columns: Vec<arrow_array::ArrayRef> = vec![Arc::new(ids.finish()), Arc::new(distances.finish())];
        let rows = RecordBatch::try_new(schema.clone(), columns).expect("one length");
        let project = Project::new(Arc::new(MemoryStore::default()), "memory://p".parse().expect("a URL"));
        let url = "memory://p/datasets/d/n.lance".parse().expect("a URL");
        let batches = [rows.slice(0, 12_345), rows.slice(12_345, rows.num_rows() - 12_345)].map(Ok);
        project.store().create(&url, schema, Box::new(batches.into_iter())).expect("new");
        let mut expected: Vec<(f32, [u64; 2])> =
            (0..N_PAIRS).step_by(3).map(|pair| (distance(pair), [2 * pair, 2 * pair + 1])).collect();
        expected.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        assert!(expected.len() > 3000 && expected.len() > SLACK, "the farther ones are let go in between");
        for limit in [0, 1, 20, 3000, usize::MAX] {
            let found = near_duplicates(&project, &url, limit).expect("readable");
            let found: Vec<(f32, [u64; 2])> = found.iter().map(|pair| (pair.distance as f32, pair.rows)).collect();
            assert_eq!(found, expected[..limit.min(expected.len())], "{limit}");
        }
    }

    #[test]
    fn what_has_no_neighbours_is_explained() {
        let (project, url) = project_and_table(noise());
        let find = |column, k| {
            let found = write_neighbours(&project, &url, column, k, &DiskOptions::default(), &Progress::default());
            let error = found.expect_err("refused");
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            format!("{error}; {source}")
        };
        assert!(find(Some("f"), 3).contains("it has no column of vectors \"f\""));
        assert!(find(None, N).contains("between 1 and 2999 neighbours can be found"));
        let error = near_duplicates(&project, &url, 5).expect_err("another table").to_string();
        assert!(error.contains("it has no columns neighbours and distances"), "{error}");
    }
}
