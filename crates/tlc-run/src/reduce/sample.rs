//! Which rows of a table are fitted: all of them, or a seeded sample.
//!
//! A sample is spread over the table: the rows (of a class, where it is stratified) are cut into as many equal stretches
//! as are wanted, and one row is drawn from each. So it needs no list of all rows, and holds exactly as many as asked
//! for.

use std::collections::BTreeMap;
use std::str::FromStr;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use serde::{Deserialize, Serialize};
use tlc_core::rng::Stream;
use tlc_core::{Progress, Scan, Task};

use super::fit::vector_width;
use super::source::Source;
use crate::{Project, RunError};

/// Embeddings of up to so many bytes are fitted whole if nothing else is asked for: half a million rows of 512. A fit
/// takes about three times as much memory, and a layout of more points shows no more.
const FIT_UP_TO_BYTES: u64 = 1 << 30;

/// How many rows of a table are fitted; the others are placed by the model like those of other tables.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum FitSize {
    /// All up to 1 GiB of embeddings as float32, which is half a million rows of 512; of larger tables as many as that
    /// holds.
    #[default]
    Auto,
    /// All, whatever it takes.
    All,
    /// So many, at least 1; all if there are fewer.
    Rows(u64),
    /// This share, above 0 and up to 1.
    Share(f64),
}

impl FromStr for FitSize {
    type Err = String;

    /// `auto`, `all`, a number of rows, or a share such as `2.5%`.
    fn from_str(text: &str) -> Result<Self, String> {
        let accepted = || format!("{text:?} is not auto, all, a number of rows such as 100000, or a share such as 10%");
        match text {
            "auto" => Ok(Self::Auto),
            "all" => Ok(Self::All),
            _ => match text.strip_suffix('%') {
                Some(percent) => percent.parse().map(|percent: f64| Self::Share(percent / 100.0)),
                None => return text.parse().map(Self::Rows).map_err(|_| accepted()),
            }
            .map_err(|_| accepted()),
        }
    }
}

/// Which rows of a table are fitted.
///
/// ```
/// use tlc_run::{FitRows, FitSize};
/// let fit_rows = FitRows { stratify_by: Some("label".to_owned()), ..FitRows::of("10%".parse::<FitSize>()?) };
/// assert_eq!((fit_rows.size, fit_rows.seed), (FitSize::Share(0.1), 42));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct FitRows {
    /// How many. Default [`FitSize::Auto`].
    pub size: FitSize,
    /// A column of labels (integers, texts, booleans): each of its values has the same share in the sample as in the
    /// table, and at least one row. Null counts as a value. Default none.
    pub stratify_by: Option<String>,
    /// Decides which rows. Default 42.
    pub seed: u64,
}

impl Default for FitRows {
    fn default() -> Self {
        Self::of(FitSize::Auto)
    }
}

impl FitRows {
    /// So many, not stratified, with the default seed.
    pub fn of(size: FitSize) -> Self {
        Self { size, stratify_by: None, seed: 42 }
    }
}

/// A sample of a table's rows, as lineage states it: from it and the table follow the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Sample {
    /// How many.
    rows: u64,
    /// Of how many.
    of: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stratified_by: Option<String>,
    seed: u64,
}

impl Sample {
    /// What `wanted` means for `table`, whose `columns` are fitted; `None` if all rows are.
    pub(super) fn new(table: &Source, columns: &[String], wanted: &FitRows) -> Result<Option<Self>, RunError> {
        let of = table.info.rows;
        let refused = |found: String| {
            let reason = format!("fit_rows is {found}; use at least 1 row, or a share above 0 and up to 1");
            Err(RunError::Options { reason })
        };
        let rows = match wanted.size {
            FitSize::All => of,
            FitSize::Rows(0) => return refused("0".to_owned()),
            FitSize::Rows(rows) => rows,
            FitSize::Share(share) if share > 0.0 && share <= 1.0 => ((share * of as f64).ceil() as u64).max(1),
            FitSize::Share(share) => return refused(format!("the share {share}")),
            FitSize::Auto => {
                let widths: Result<Vec<usize>, RunError> =
                    columns.iter().map(|column| vector_width(table, column)).collect();
                let widest = widths?.into_iter().max().unwrap_or(1) as u64;
                (FIT_UP_TO_BYTES / (4 * widest.max(1))).max(1)
            }
        };
        if let Some(column) = &wanted.stratify_by {
            check_labels(table, column)?;
        }
        if rows >= of {
            return Ok(None);
        }
        if wanted.size == FitSize::Auto {
            tracing::warn!(table = %table.url(), rows, of, "fitted on a sample; give fit_rows to fit on more or fewer");
        }
        Ok(Some(Self { rows, of, stratified_by: wanted.stratify_by.clone(), seed: wanted.seed }))
    }

    /// The wish that leads to this sample again.
    pub(super) fn wish(&self) -> FitRows {
        FitRows { size: FitSize::Rows(self.rows), stratify_by: self.stratified_by.clone(), seed: self.seed }
    }

    /// The numbers of its rows, ascending.
    pub(super) fn row_numbers(
        &self,
        project: &Project,
        table: &Source,
        progress: &Progress,
    ) -> Result<Vec<u64>, RunError> {
        let draws = Stream::new(self.seed, "fit-rows");
        let Some(column) = &self.stratified_by else {
            let mut draw = Draw::new(self.of, self.rows, draws);
            return Ok((0..self.rows).map(|_| draw.next_member()).collect());
        };
        // The column is read twice: how many rows each class has must be known before the first is drawn.
        let task = progress.task("choose rows to fit on", 2 * self.of);
        let mut sizes: BTreeMap<Class, u64> = BTreeMap::new();
        for_each_class(project, table, column, &task, |_, class| {
            *sizes.entry(class).or_default() += 1;
            if (sizes.len() as u64) <= self.rows {
                return Ok(());
            }
            // At once: a column of names may have as many values as there are rows, which need not fit in memory.
            let reason =
                format!("it has at least {} values, but only {} rows are to be fitted", sizes.len(), self.rows);
            Err(RunError::Column { column: column.clone(), url: table.url().clone(), reason })
        })?;
        let counts: Vec<u64> = sizes.values().copied().collect();
        let quotas = quotas(&counts, self.rows);
        let classes = sizes.into_iter().zip(quotas).enumerate();
        let mut open: BTreeMap<Class, (u64, Draw)> = classes
            .map(|(number, ((class, size), quota))| {
                (class, (0, Draw::new(size, quota, draws.substream(number as u64))))
            })
            .collect();
        let mut chosen = Vec::with_capacity(usize::try_from(self.rows).unwrap_or(0));
        for_each_class(project, table, column, &task, |row, class| {
            // A table does not change between two reads.
            let Some((seen, draw)) = open.get_mut(&class) else { return Ok(()) };
            if draw.takes(*seen) {
                chosen.push(row);
            }
            *seen += 1;
            Ok(())
        })?;
        Ok(chosen)
    }
}

/// Draws one member from each of as many equal stretches of `0..size`.
struct Draw {
    size: u64,
    quota: u64,
    draws: Stream,
    stretch: u64,
    next: u64,
}

impl Draw {
    fn new(size: u64, quota: u64, draws: Stream) -> Self {
        let mut draw = Self { size, quota, draws, stretch: 0, next: 0 };
        draw.look();
        draw
    }

    /// Draws from the current stretch.
    fn look(&mut self) {
        if self.stretch >= self.quota {
            return;
        }
        let edge = |stretch: u64| (u128::from(stretch) * u128::from(self.size) / u128::from(self.quota)) as u64;
        let (start, end) = (edge(self.stretch), edge(self.stretch + 1));
        self.next = start + self.draws.below((end - start) as usize, self.stretch, 0) as u64;
    }

    fn next_member(&mut self) -> u64 {
        let member = self.next;
        self.stretch += 1;
        self.look();
        member
    }

    /// Whether `member` is drawn; to be asked in ascending order.
    fn takes(&mut self, member: u64) -> bool {
        let is_it = self.stretch < self.quota && member == self.next;
        if is_it {
            self.next_member();
        }
        is_it
    }
}

/// How many of each class are taken, `total` in all: one each, the rest in proportion by the largest remainders.
fn quotas(sizes: &[u64], total: u64) -> Vec<u64> {
    let (n, classes) = (sizes.iter().sum::<u64>(), sizes.len() as u64);
    let (rest, weight) = (u128::from(total - classes), u128::from((n - classes).max(1)));
    let share = |size: u64| rest * u128::from(size - 1);
    let mut quotas: Vec<u64> = sizes.iter().map(|&size| 1 + (share(size) / weight) as u64).collect();
    let mut by_remainder: Vec<usize> = (0..sizes.len()).collect();
    by_remainder.sort_by_key(|&class| std::cmp::Reverse(share(sizes[class]) % weight));
    let left = total.saturating_sub(quotas.iter().sum());
    by_remainder.into_iter().take(left as usize).for_each(|class| quotas[class] += 1);
    quotas
}

/// A value of a column of labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Null,
    Bool(bool),
    Number(i64),
    Text(String),
}

fn check_labels(table: &Source, column: &str) -> Result<(), RunError> {
    let found = table.info.schema.field_with_name(column).ok().map(|field| field.data_type().clone());
    let is_label = found.as_ref().is_some_and(|kind| {
        use DataType::{Boolean, Int8, Int16, Int32, Int64, LargeUtf8, UInt8, UInt16, UInt32, Utf8};
        matches!(kind, Boolean | Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | Utf8 | LargeUtf8)
    });
    if is_label {
        return Ok(());
    }
    let found = found.map_or("unknown".to_owned(), |kind| kind.to_string());
    let reason =
        format!("rows to fit cannot be stratified by it, its type is {found}; integers, texts and booleans can");
    Err(RunError::Column { column: column.to_owned(), url: table.url().clone(), reason })
}

/// Calls with the number and the label of each row, until the first error; `task` advances by rows.
fn for_each_class(
    project: &Project,
    table: &Source,
    column: &str,
    task: &Task,
    mut each: impl FnMut(u64, Class) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let mut first = 0;
    for batch in project.store().scan(table.url(), Scan::columns([column]))? {
        let batch = batch?;
        let labels = batch.column(0);
        for row in 0..batch.num_rows() {
            each(first + row as u64, class_at(labels, row))?;
        }
        first += batch.num_rows() as u64;
        task.advance(batch.num_rows() as u64)?;
    }
    Ok(())
}

fn class_at(labels: &ArrayRef, row: usize) -> Class {
    if labels.is_null(row) {
        return Class::Null;
    }
    macro_rules! number {
        ($kind:ty) => {
            Class::Number(i64::from(labels.as_primitive::<$kind>().value(row)))
        };
    }
    match labels.data_type() {
        DataType::Boolean => Class::Bool(labels.as_boolean().value(row)),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::Utf8 => Class::Text(labels.as_string::<i32>().value(row).to_owned()),
        DataType::LargeUtf8 => Class::Text(labels.as_string::<i64>().value(row).to_owned()),
        // Others were refused before.
        _ => Class::Null,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::{Field, Schema};
    use serde_json::Map;
    use tlc_core::{NumberRole, TableInfo, embedding_field};

    use super::*;

    /// A table of which only the form is looked at.
    fn table(rows: u64, width: usize) -> Source {
        let embedding = embedding_field("e", width, NumberRole::NnEmbedding).expect("a width");
        let label = Field::new("label", DataType::Int64, false);
        let url = "memory://p/t.lance".parse().expect("a URL");
        let info = TableInfo { url, schema: Arc::new(Schema::new(vec![embedding, label])), rows, digest: None };
        Source { info, name: "t".to_owned(), foreign_table: None, constants: Map::new(), aggregates: BTreeMap::new() }
    }

    #[test]
    fn up_to_a_gibibyte_is_fitted_whole_and_of_more_as_much_as_that_holds() {
        let columns = ["e".to_owned()];
        let sample_of = |rows: u64, width: usize, wanted: &FitRows| {
            let sample = Sample::new(&table(rows, width), &columns, wanted).expect("valid");
            sample.map(|sample| (sample.rows, sample.of))
        };
        for width in [512, 784] {
            let most = (1_u64 << 30) / (4 * width as u64);
            let by_default = |rows: u64| sample_of(rows, width, &FitRows::default());
            assert_eq!((by_default(most - 1), by_default(most)), (None, None), "{most} rows of {width}");
            assert_eq!(by_default(most + 1), Some((most, most + 1)));
            assert_eq!(by_default(200 * most), Some((most, 200 * most)));
            assert_eq!(sample_of(200 * most, width, &FitRows::of(FitSize::All)), None, "all is all");
            let stratified = FitRows { stratify_by: Some("label".to_owned()), ..FitRows::default() };
            assert_eq!(sample_of(most + 1, width, &stratified), Some((most, most + 1)));
        }
    }

    #[test]
    fn quotas_are_proportional_and_leave_nobody_out() {
        for (sizes, total, expected) in [
            (vec![100, 100], 10, vec![5, 5]),
            (vec![990, 9, 1], 100, vec![97, 2, 1]),
            (vec![5], 3, vec![3]),
            (vec![3, 3, 3], 8, vec![3, 3, 2]),
            (vec![1, 1, 1], 3, vec![1, 1, 1]),
        ] {
            assert_eq!(quotas(&sizes, total), expected, "{sizes:?} of {total}");
        }
    }

    #[test]
    fn a_draw_is_spread_ascending_and_of_the_size_asked_for() {
        for (size, quota) in [(1, 1), (10, 10), (1000, 7), (1001, 1000)] {
            let mut draw = Draw::new(size, quota, Stream::new(1, "test"));
            let drawn: Vec<u64> = (0..size).filter(|&member| draw.takes(member)).collect();
            assert_eq!(drawn.len() as u64, quota);
            let mut again = Draw::new(size, quota, Stream::new(1, "test"));
            assert!(drawn.iter().all(|&member| again.next_member() == member));
            let in_stretch = |(i, &member): (usize, &u64)| {
                (i as u64 * size / quota..(i as u64 + 1) * size / quota).contains(&member)
            };
            assert!(drawn.iter().enumerate().all(in_stretch));
        }
    }

    #[test]
    fn sizes_are_read_as_they_are_typed() {
        assert_eq!("all".parse(), Ok(FitSize::All));
        assert_eq!("5000".parse(), Ok(FitSize::Rows(5000)));
        assert_eq!("12.5%".parse(), Ok(FitSize::Share(0.125)));
        let error = "many".parse::<FitSize>().expect_err("no size");
        assert_eq!(error, "\"many\" is not auto, all, a number of rows such as 100000, or a share such as 10%");
    }
}
