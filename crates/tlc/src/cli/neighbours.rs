//! `tlc neighbours`: the nearest rows of each row of a table that need not fit in memory, and near duplicates.

use std::path::PathBuf;

use clap::Args;
use tlc::core::Progress;
use tlc::neighbours::{near_duplicates, write_neighbours};
use tlc::reduce::knn::DiskOptions;

use super::tables::TableArgs;

/// Whose neighbours are found, and how.
#[derive(Args)]
pub(crate) struct NeighboursArgs {
    #[command(flatten)]
    table: TableArgs,
    /// The column of vectors [default: the only one with the role nn_embedding]
    #[arg(long)]
    column: Option<String>,
    /// Neighbours of each row
    #[arg(short, default_value_t = 10)]
    k: usize,
    /// Memory for rows, in MiB; 8 bytes per row come on top
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    memory: usize,
    /// The folder for two temporary files, which take as much as the vectors, and 8 bytes per neighbour [default: the
    /// system's, which TMPDIR names]
    #[arg(long, value_name = "FOLDER")]
    temp_folder: Option<PathBuf>,
    /// Share of the true neighbours that is aimed at, above 0 and up to 1
    #[arg(long, default_value_t = 0.95)]
    recall: f64,
    /// Near duplicates to list
    #[arg(long, default_value_t = 20)]
    duplicates: usize,
}

pub(crate) fn run(args: &NeighboursArgs, progress: &Progress) -> anyhow::Result<()> {
    let (project, url) = args.table.open()?;
    let mut options = DiskOptions {
        memory_bytes: args.memory.saturating_mul(1 << 20),
        target_recall: args.recall,
        ..DiskOptions::default()
    };
    if let Some(folder) = &args.temp_folder {
        options.folder.clone_from(folder);
    }
    let (info, report) = write_neighbours(&project, &url, args.column.as_deref(), args.k, &options, progress)?;
    say!("{}\n{} rows, {} neighbours each, recall {:.3}", info.url, info.rows, args.k, report.recall);
    let pairs = near_duplicates(&project, &info.url, args.duplicates)?;
    for pair in &pairs {
        let [row, other] = pair.rows;
        say!("{row:>10}  {other:>10}  {:.4} apart, {:.0} times nearer than is usual", pair.distance, pair.ratio);
    }
    say!("{} near duplicates listed", pairs.len());
    Ok(())
}
