//! To which cell a row belongs: that of the nearest centre.
//!
//! Where there are very many cells, that of the nearest centre within the group whose own centre is nearest: to look at
//! the groups and one group's cells is less work than to look at all cells. Either way the answer depends on the row
//! alone, so that a known row comes to its own cell again.

use ndarray::{Array2, ArrayView2, Axis, Ix1, arr1, s};
use rayon::prelude::*;
use tlc_core::{Array, Arrays, Progress, ReduceError, Task, is_measurable};

use super::exact::search_within;
use super::rows::Rows;

/// The names under which a model keeps centres, and groups of them.
const CENTRES: &str = "cell_centres";
const GROUPS: &str = "cell_groups";
const STARTS: &str = "cell_group_starts";

/// Finds the cells of rows.
#[derive(Debug)]
pub(super) struct Router {
    /// `(n_cells, d)`.
    centres: Rows,
    groups: Option<Groups>,
}

#[derive(Debug)]
struct Groups {
    /// `(n_groups, d)`.
    centres: Rows,
    /// The first cell of each, and the number of all cells.
    starts: Vec<u32>,
    /// The centres of the cells of each.
    members: Vec<Rows>,
}

impl Groups {
    fn new(groups: Array2<f32>, starts: Vec<u32>, centres: &Rows) -> Self {
        let members = starts.windows(2).map(|ends| {
            let cells = ends[0] as usize..ends[1] as usize;
            Rows::new(centres.view().slice(s![cells, ..]).to_owned())
        });
        Self { members: members.collect(), centres: Rows::new(groups), starts }
    }
}

impl Router {
    /// Straight to the nearest of the `centres`, `(n_cells, d)`.
    pub(super) fn flat(centres: Array2<f32>) -> Self {
        Self { centres: Rows::new(centres), groups: None }
    }

    /// By way of groups: for each its centre, `(d,)`, and the centres of its cells, `(cells of the group, d)`.
    ///
    /// # Errors
    /// If the centres are of different widths.
    pub(super) fn grouped(groups: &Array2<f32>, members: &[Array2<f32>]) -> Result<Self, ReduceError> {
        let members: Vec<_> = members.iter().map(|cells| cells.view()).collect();
        let ends = members.iter().scan(0, |end, cells| {
            *end += cells.nrows() as u32;
            Some(*end)
        });
        let starts = std::iter::once(0).chain(ends).collect();
        let centres = ndarray::concatenate(Axis(0), &members)
            .map_err(|error| ReduceError::backend("put the cells' centres together", error))?;
        let centres = Rows::new(centres);
        Ok(Self { groups: Some(Groups::new(groups.clone(), starts, &centres)), centres })
    }

    /// The centres of all cells, `(n_cells, d)`.
    pub(super) fn centres(&self) -> &Rows {
        &self.centres
    }

    /// The cell of each row.
    pub(super) fn nearest(&self, rows: ArrayView2<'_, f32>, progress: &Progress) -> Result<Vec<u32>, ReduceError> {
        let n_searches = rows.nrows() * if self.groups.is_some() { 2 } else { 1 };
        let task = progress.task("find cells", n_searches as u64);
        let Some(groups) = &self.groups else { return nearest(&self.centres, rows, &task) };
        let mut by_group: Vec<(u32, u32)> =
            nearest(&groups.centres, rows, &task)?.into_iter().enumerate().map(|(row, g)| (g, row as u32)).collect();
        by_group.par_sort_unstable();
        let lists: Vec<&[(u32, u32)]> = by_group.chunk_by(|a, b| a.0 == b.0).collect();
        let found: Result<Vec<Vec<u32>>, ReduceError> = lists
            .par_iter()
            .map(|list| {
                let places: Vec<usize> = list.iter().map(|&(_, row)| row as usize).collect();
                let group = list[0].0 as usize;
                let own = nearest(&groups.members[group], rows.select(Axis(0), &places).view(), &task)?;
                Ok(own.into_iter().map(|cell| groups.starts[group] + cell).collect())
            })
            .collect();
        let mut cells = vec![0; rows.nrows()];
        for (list, found) in lists.iter().zip(found?) {
            list.iter().zip(found).for_each(|(&(_, row), cell)| cells[row as usize] = cell);
        }
        Ok(cells)
    }

    /// Only the cells `kept`, ascending, and the groups that have some of them.
    pub(super) fn keep(self, kept: &[u32]) -> Self {
        let centres = self.centres.select(kept);
        let groups = self.groups.map(|groups| {
            let counts = groups.starts.windows(2).map(|ends| {
                (kept.partition_point(|&cell| cell < ends[1]) - kept.partition_point(|&cell| cell < ends[0])) as u32
            });
            let (own, counts): (Vec<u32>, Vec<u32>) = (0..).zip(counts).filter(|(_, count)| *count > 0).unzip();
            let starts = std::iter::once(0).chain(counts.iter().scan(0, |end, count| {
                *end += count;
                Some(*end)
            }));
            Groups::new(groups.centres.select(&own).view().to_owned(), starts.collect(), &centres)
        });
        Self { centres, groups }
    }

    pub(super) fn add_to(&self, arrays: Arrays) -> Arrays {
        let of = |rows: &Rows| Array::F32(rows.view().to_owned().into_dyn());
        let arrays = arrays.with(CENTRES, of(&self.centres));
        match &self.groups {
            None => arrays,
            Some(groups) => {
                arrays.with(GROUPS, of(&groups.centres)).with(STARTS, Array::U32(arr1(&groups.starts).into_dyn()))
            }
        }
    }

    /// That of a model for rows of `width` values, if the model has one.
    ///
    /// # Errors
    /// Centres or groups that cannot be.
    pub(super) fn from_arrays(arrays: &mut Arrays, width: usize) -> Result<Option<Self>, ReduceError> {
        if !arrays.contains(CENTRES) {
            return Ok(None);
        }
        let fits = |centres: &Array2<f32>| {
            centres.nrows() > 0 && centres.ncols() == width && centres.outer_iter().all(is_measurable)
        };
        let centres: Array2<f32> = arrays.take_f32(CENTRES)?;
        if !fits(&centres) {
            return Err(ReduceError::model("the centres of its cells do not fit its rows"));
        }
        if !arrays.contains(GROUPS) {
            return Ok(Some(Self::flat(centres)));
        }
        let groups: Array2<f32> = arrays.take_f32(GROUPS)?;
        let starts = arrays.take_u32::<Ix1>(STARTS)?.to_vec();
        let is_whole = starts.first() == Some(&0) && starts.last().map(|&end| end as usize) == Some(centres.nrows());
        if !fits(&groups) || starts.len() != groups.nrows() + 1 || !is_whole || !starts.is_sorted_by(|a, b| a < b) {
            return Err(ReduceError::model("the groups of its cells do not fit the cells"));
        }
        let centres = Rows::new(centres);
        Ok(Some(Self { groups: Some(Groups::new(groups, starts, &centres)), centres }))
    }
}

fn nearest(centres: &Rows, rows: ArrayView2<'_, f32>, task: &Task) -> Result<Vec<u32>, ReduceError> {
    Ok(search_within(centres, rows, 1, task)?.indices.into_raw_vec_and_offset().0)
}
