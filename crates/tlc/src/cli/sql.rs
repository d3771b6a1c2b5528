//! `tlc sql`: queries over the tables of a project.

use std::path::PathBuf;

use arrow_array::{RecordBatch, UInt64Array};
use arrow_cast::pretty::pretty_format_batches;
use arrow_select::take::take_record_batch;
use clap::Args;
use tlc::cluster::{Rows, query};
use tlc::core::{Progress, StoreError, Url};
use tlc::run::ListedTable;
use tlc::table::write_file;

use super::ProjectArgs;

/// A query, and what becomes of its answer.
#[derive(Args)]
pub(crate) struct SqlArgs {
    /// The query, such as "select label, avg(loss) from val_epoch_3 group by label"; functions beside SQL's are
    /// tlc_reduce(embedding, 'model-url', 'sha256', n), tlc_place (the same, with a score), tlc_distance(a, b), and as a
    /// table tlc_knn('table', 'column', row, k)
    #[arg(required_unless_present = "tables")]
    query: Option<String>,
    /// List the tables that a query can name
    #[arg(long, conflicts_with = "query")]
    tables: bool,
    /// A file for the answer: csv, arrow or parquet by its extension
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Rows to print
    #[arg(long, default_value_t = 100)]
    rows: usize,
    /// Memory for what is sorted, grouped or joined, in MiB: a sort or group that needs more goes on in temporary files, which
    /// TMPDIR places; a join does not. One thread is used for each 128 MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    memory: usize,
    #[command(flatten)]
    project: ProjectArgs,
}

pub(crate) fn run(args: &SqlArgs, progress: &Progress) -> anyhow::Result<()> {
    let project = args.project.open()?;
    let is_there = |table: &ListedTable| matches!(table, ListedTable::OfRun { .. } | ListedTable::Other(_));
    let listed = project.listing()?.tables.into_iter().filter(|(_, table)| is_there(table));
    let tables: Vec<Url> = listed.map(|(url, _)| url).collect();
    let Some(sql) = &args.query else {
        for url in &tables {
            let path = url.relative_to(project.root()).to_string();
            say!("\"{}\"", path.strip_suffix(".lance").unwrap_or(&path));
        }
        return Ok(());
    };
    let rows = query(project.root(), &tables, sql, args.memory.saturating_mul(1 << 20), progress)?;
    match &args.out {
        None => print(rows, args.rows),
        Some(file) => {
            let place = Url::from_path(&std::path::absolute(file)?)?;
            let schema = rows.schema().clone();
            let rows = rows.map(|batch| batch.map_err(|error| StoreError::rows(&place, error)));
            let n = write_file(file, &schema, Box::new(rows))?;
            say!("{}\n{n} rows", file.display());
            Ok(())
        }
    }
}

fn print(rows: Rows, limit: usize) -> anyhow::Result<()> {
    let schema = rows.schema().clone();
    let (shown, n_rows) = first_rows(rows, limit)?;
    let n_shown: usize = shown.iter().map(RecordBatch::num_rows).sum();
    let shown: Vec<RecordBatch> = std::iter::once(RecordBatch::new_empty(schema)).chain(shown).collect();
    say!("{}", pretty_format_batches(&shown)?);
    if n_rows > n_shown {
        say!("{n_rows} rows, of which {n_shown} are shown; --rows shows more, --out writes all");
    }
    Ok(())
}

/// The first `limit` rows, and how many there are. An answer may be larger than memory, so nothing of the others is kept:
/// a slice, even of no rows, would hold all of its batch.
fn first_rows<E>(
    rows: impl Iterator<Item = Result<RecordBatch, E>>,
    limit: usize,
) -> anyhow::Result<(Vec<RecordBatch>, usize)>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let mut first = Vec::new();
    let (mut n_first, mut n_rows) = (0, 0);
    for batch in rows {
        let batch = batch?;
        n_rows += batch.num_rows();
        let n = batch.num_rows().min(limit - n_first);
        n_first += n;
        if n == batch.num_rows() && n > 0 {
            first.push(batch);
        } else if n > 0 {
            first.push(take_record_batch(&batch, &UInt64Array::from_iter_values(0..n as u64))?);
        }
    }
    Ok((first, n_rows))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use arrow_array::Int64Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_schema::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn rows_that_are_not_shown_are_not_kept() {
        const EACH: usize = 10_000;
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        let batch = |part: usize| -> Result<RecordBatch, Infallible> {
            let ids = (part * EACH) as i64..((part + 1) * EACH) as i64;
            let ids = Arc::new(Int64Array::from_iter_values(ids));
            Ok(RecordBatch::try_new(schema.clone(), vec![ids]).expect("one column"))
        };
        for limit in [0, 1, 7, EACH, EACH + 7, 10 * EACH] {
            let (first, n_rows) = first_rows((0..5).map(batch), limit).expect("readable");
            let ids: Vec<i64> =
                first.iter().flat_map(|it| it.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
            let n_shown = limit.min(5 * EACH);
            assert_eq!((n_rows, ids), (5 * EACH, (0..n_shown as i64).collect::<Vec<_>>()), "{limit}");
            let bytes: usize = first.iter().map(RecordBatch::get_array_memory_size).sum();
            assert!(bytes <= 8 * n_shown + 1024 * first.len(), "{bytes} bytes are kept of {limit} rows");
        }
    }
}
