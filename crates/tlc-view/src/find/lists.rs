//! The nearest others of each sample of a table of any size: in memory, or from a certain size on in files.

use ndarray::ArrayView1;
use tlc_core::{Progress, ReduceError, embedding_width};
use tlc_reduce::knn::{DiskGraph, DiskOptions, Neighbours, RowSource as _, TableRows, graph_on_disk};

use super::NEIGHBOURS;
use super::space::{Space, embeddings_of};
use crate::{Scene, SceneLayout, ViewError};

/// Embeddings up to this size are searched in memory, which takes about three times as much. Those of larger tables are
/// searched by cells in files, with half of this in memory and some 60 bytes for each row.
pub(super) const IN_MEMORY_BYTES: u64 = 1 << 30;
/// Lists that are read from a file at a time.
const BATCH_ROWS: usize = 16_384;

/// The samples that have a place, and the nearest others of each.
pub(super) struct Lists {
    /// Where neighbours were looked for, as rules name it.
    pub(super) name: String,
    /// For each list the slot of its sample.
    pub(super) slots: Vec<usize>,
    lists: Kept,
}

enum Kept {
    /// There are fewer than two samples.
    Nothing,
    InMemory(Neighbours),
    OnDisk(DiskGraph),
}

impl Lists {
    /// Of the embeddings that the layout was made of, if the table still has them, or else of the map; those that take more
    /// than `in_memory_bytes` on disk.
    pub(super) fn of(
        scene: &Scene,
        layout: &SceneLayout,
        table: usize,
        in_memory_bytes: u64,
        progress: &Progress,
    ) -> Result<Self, ViewError> {
        if let Some((url, column)) = embeddings_of(scene, layout, table)? {
            let info = scene.store().info(&url)?;
            let width = info.schema.field_with_name(column).ok().and_then(embedding_width).unwrap_or(0);
            if info.rows.saturating_mul(4 * width as u64) > in_memory_bytes {
                let of = scene.table(table)?;
                // Of several rows of a sample the first.
                let is_meant = |row: u64| of.row(of.slot(row as usize)) == Some(row);
                let rows = TableRows::open(scene.store(), info, column, &is_meant, progress).map_err(failed)?;
                return Self::on_disk(&rows, column, |row| of.slot(row as usize), progress);
            }
        }
        let space = Space::of(scene, layout, table)?;
        let lists = space.neighbours(NEIGHBOURS, progress)?.map_or(Kept::Nothing, Kept::InMemory);
        Ok(Self { name: space.name, slots: space.slots, lists })
    }

    fn on_disk(
        rows: &TableRows<'_>,
        column: &str,
        slot: impl Fn(u64) -> usize,
        progress: &Progress,
    ) -> Result<Self, ViewError> {
        let n = rows.n_rows();
        let slots = (0..n as u64).map(|place| slot(rows.row_number(place))).collect();
        let name = format!("the embeddings {column}");
        let k = NEIGHBOURS.min(n.saturating_sub(1));
        if k == 0 {
            return Ok(Self { name, slots, lists: Kept::Nothing });
        }
        let (graph, report) = graph_on_disk(rows, k, &DiskOptions::default(), progress).map_err(failed)?;
        let name = format!("{name}, of which {:.0} in 100 were found", 100.0 * report.recall);
        Ok(Self { name, slots, lists: Kept::OnDisk(graph) })
    }

    /// Hands each sample's place among [`slots`](Self::slots) to `take`, with those of the nearest others, nearest first, and
    /// their squared distances; nothing if there are none.
    pub(super) fn each(
        &self,
        mut take: impl FnMut(usize, ArrayView1<'_, u32>, ArrayView1<'_, f32>),
    ) -> Result<(), ViewError> {
        let mut hand = |first: usize, block: &Neighbours| {
            for (row, (others, squared)) in block.indices.outer_iter().zip(block.squared.outer_iter()).enumerate() {
                take(first + row, others, squared);
            }
        };
        match &self.lists {
            Kept::Nothing => {}
            Kept::InMemory(neighbours) => hand(0, neighbours),
            Kept::OnDisk(graph) => {
                for first in (0..graph.n_rows()).step_by(BATCH_ROWS) {
                    hand(first, &graph.read(first..graph.n_rows().min(first + BATCH_ROWS)).map_err(failed)?);
                }
            }
        }
        Ok(())
    }
}

fn failed(error: ReduceError) -> ViewError {
    match error {
        ReduceError::Cancelled(cancelled) => ViewError::Cancelled(cancelled),
        source => ViewError::Neighbours { source },
    }
}
