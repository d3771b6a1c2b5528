//! `tlc sql`: queries over the tables of a project.

use std::path::PathBuf;

use arrow_array::RecordBatch;
use arrow_cast::pretty::pretty_format_batches;
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
    let rows = query(project.root(), &tables, sql, progress)?;
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
    let mut shown = vec![RecordBatch::new_empty(rows.schema().clone())];
    let (mut n_shown, mut n_rows) = (0, 0);
    for batch in rows {
        let batch = batch?;
        let n = batch.num_rows().min(limit - n_shown);
        shown.push(batch.slice(0, n));
        n_shown += n;
        n_rows += batch.num_rows();
    }
    say!("{}", pretty_format_batches(&shown)?);
    if n_rows > n_shown {
        say!("{n_rows} rows, of which {n_shown} are shown; --rows shows more, --out writes all");
    }
    Ok(())
}
