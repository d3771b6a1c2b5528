//! Rows in a file, group by group: what makes small cells must see all rows of a region at once, and the rows come in
//! any order.

use ndarray::{Array2, ArrayView2};
use tlc_core::{Progress, ReduceError, Task};

use super::record_file::RecordFile;
use super::{DiskOptions, RowSource};
use crate::input::check_finite;
use crate::knn::kmeans::{Cells, SAMPLED_PER_CELL};
use crate::knn::recall::sample;
use crate::knn::router::Router;
use crate::knn::rows::Rows;

/// With fewer sampled rows per group there are fewer groups: their centres would be rows by chance.
const LEAST_SAMPLED: usize = 8;

/// Rows in a file; those of a group lie together, in their order.
pub(super) struct Groups {
    pub(super) rows: RecordFile,
    /// The number of the row at each place.
    pub(super) order: Vec<u32>,
    /// Where each group begins, `(n_groups + 1,)`.
    pub(super) offsets: Vec<usize>,
}

impl Groups {
    /// Groups of about `group_rows` rows; `task` is advanced by twice the number of rows.
    pub(super) fn write(
        rows: &dyn RowSource,
        group_rows: usize,
        options: &DiskOptions,
        progress: &Progress,
        task: &Task,
    ) -> Result<Self, ReduceError> {
        let n = rows.n_rows();
        let router = router(rows, n.div_ceil(group_rows), options, progress)?;
        let quiet = Progress::default();
        let groups_of = |block: ArrayView2<'_, f32>| match &router {
            Some(router) => router.nearest(block, &quiet),
            None => Ok(vec![0; block.nrows()]),
        };
        let mut group_of: Vec<u32> = Vec::with_capacity(n);
        rows.read(&mut |block| {
            check_finite(&block)?;
            group_of.extend(groups_of(block)?);
            Ok(task.advance(block.nrows() as u64)?)
        })?;
        let changed = || ReduceError::data("its rows are not the same each time they are read");
        if group_of.len() != n {
            return Err(changed());
        }
        let n_groups = router.as_ref().map_or(1, |router| router.centres().len());
        let mut offsets = vec![0; n_groups + 1];
        group_of.iter().for_each(|&group| offsets[group as usize + 1] += 1);
        (1..offsets.len()).for_each(|group| offsets[group] += offsets[group - 1]);

        let mut file = RecordFile::new(options, rows.n_features(), n)?;
        let (mut next, mut order) = (offsets.clone(), vec![0; n]);
        let mut first = 0;
        rows.read(&mut |block| {
            let own = group_of.get(first..first + block.nrows()).ok_or_else(changed)?;
            let mut by_group: Vec<(u32, usize)> = own.iter().copied().zip(0..).collect();
            by_group.sort_unstable();
            for members in by_group.chunk_by(|a, b| a.0 == b.0) {
                let start = &mut next[members[0].0 as usize];
                let mut values: Vec<f32> = Vec::with_capacity(members.len() * block.ncols());
                for (place, &(_, at)) in (*start..).zip(members) {
                    order[place] = (first + at) as u32;
                    values.extend(block.row(at));
                }
                file.write(*start, &values)?;
                *start += members.len();
            }
            first += block.nrows();
            Ok(task.advance(block.nrows() as u64)?)
        })?;
        if first != n {
            return Err(changed());
        }
        Ok(Self { rows: file, order, offsets })
    }
}

/// To which of about `n_groups` groups a row belongs, by a sample of the rows; `None` if there is one group only.
fn router(
    rows: &dyn RowSource,
    n_groups: usize,
    options: &DiskOptions,
    progress: &Progress,
) -> Result<Option<Router>, ReduceError> {
    let (n, d) = (rows.n_rows(), rows.n_features());
    let most = (options.memory_bytes / 4 / (4 * d)).max(SAMPLED_PER_CELL);
    let chosen = sample(n, (SAMPLED_PER_CELL * n_groups).min(most), options.seed);
    let n_groups = n_groups.min(chosen.len() / LEAST_SAMPLED);
    if n_groups <= 1 {
        return Ok(None);
    }
    let mut sampled = Array2::<f32>::zeros((chosen.len(), d));
    let (mut first, mut done) = (0, 0);
    let task = progress.task("read a sample", n as u64);
    rows.read(&mut |block| {
        check_finite(&block)?;
        let end = first + block.nrows();
        while done < chosen.len() && (chosen[done] as usize) < end {
            sampled.row_mut(done).assign(&block.row(chosen[done] as usize - first));
            done += 1;
        }
        first = end;
        Ok(task.advance(block.nrows() as u64)?)
    })?;
    Ok(Some(Cells::build(&Rows::new(sampled), n_groups, options.seed, progress)?.into_router()))
}
