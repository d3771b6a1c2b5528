//! The nearest others of each sample of a table of any size: in memory, or from a certain size on in files.

use ndarray::{ArrayView1, ArrayView2};
use tlc_core::{Progress, ReduceError, TableInfo, embedding_width};
use tlc_reduce::knn::{DiskGraph, DiskOptions, Neighbours, RowSource, TableRows, graph_on_disk};

use super::NEIGHBOURS;
use super::space::{Space, Vectors, embeddings_of};
use crate::{Scene, SceneLayout, ViewError};

/// Embeddings up to this size are searched in memory, which takes about three times as much. Those of larger tables are
/// searched by cells in files, with as much memory as the options say and some 60 bytes for each row.
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
    /// than `in_memory_bytes` on disk, as `options` say.
    pub(super) fn of(
        scene: &Scene,
        layout: &SceneLayout,
        table: usize,
        in_memory_bytes: u64,
        options: &DiskOptions,
        progress: &Progress,
    ) -> Result<Self, ViewError> {
        if let Some(vectors) = embeddings_of(scene, layout, table)? {
            let infos = vectors.iter().map(|it| scene.store().info(&it.url)).collect::<Result<Vec<_>, _>>()?;
            let width = |(it, info): (&Vectors<'_>, &TableInfo)| {
                info.schema.field_with_name(it.column).ok().and_then(embedding_width).unwrap_or(0)
            };
            let widths: Vec<usize> = vectors.iter().zip(&infos).map(width).collect();
            let n_rows = infos.iter().fold(0, |n: u64, info| n.saturating_add(info.rows));
            let is_one_width = widths.iter().all(|width| *width == widths[0]);
            if is_one_width && n_rows.saturating_mul(4 * widths[0] as u64) > in_memory_bytes {
                return Self::on_disk(scene, &vectors, infos, options, progress);
            }
        }
        let space = Space::of(scene, layout, table)?;
        let lists = space.neighbours(NEIGHBOURS, progress)?.map_or(Kept::Nothing, Kept::InMemory);
        Ok(Self { name: space.name, slots: space.slots, lists })
    }

    fn on_disk(
        scene: &Scene,
        vectors: &[Vectors<'_>],
        infos: Vec<TableInfo>,
        options: &DiskOptions,
        progress: &Progress,
    ) -> Result<Self, ViewError> {
        let (mut rows, mut slots) = (OneAfterAnother(Vec::new()), Vec::new());
        for (index, (Vectors { part, column, .. }, info)) in vectors.iter().zip(infos).enumerate() {
            // Of several rows of a sample the first; of several parts that have it the last.
            let is_meant = |row: u64| {
                let slot = part.slot(row as usize);
                let is_elsewhere = || vectors[index + 1..].iter().any(|later| later.part.row(slot).is_some());
                part.row(slot) == Some(row) && !is_elsewhere()
            };
            let own = TableRows::open(scene.store(), info, column, &is_meant, progress).map_err(failed)?;
            slots.extend((0..own.n_rows() as u64).map(|place| part.slot(own.row_number(place) as usize)));
            rows.0.push(own);
        }
        let name = format!("the embeddings {}", vectors.first().map_or("", |it| it.column));
        let n = rows.n_rows();
        let k = NEIGHBOURS.min(n.saturating_sub(1));
        if k == 0 {
            return Ok(Self { name, slots, lists: Kept::Nothing });
        }
        let (graph, report) = graph_on_disk(&rows, k, options, progress).map_err(failed)?;
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

/// The rows of several tables as one source.
struct OneAfterAnother<'a>(Vec<TableRows<'a>>);

impl RowSource for OneAfterAnother<'_> {
    fn n_rows(&self) -> usize {
        self.0.iter().map(RowSource::n_rows).sum()
    }

    fn n_features(&self) -> usize {
        self.0.first().map_or(0, RowSource::n_features)
    }

    fn read(&self, take: &mut dyn FnMut(ArrayView2<'_, f32>) -> Result<(), ReduceError>) -> Result<(), ReduceError> {
        for table in &self.0 {
            table.read(take)?;
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
