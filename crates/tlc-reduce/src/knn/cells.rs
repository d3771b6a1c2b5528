//! Neighbours by cells: only rows of near cells are compared, by blocked matrix products.
//!
//! 1. k-means cells of some hundred rows (`kmeans.rs`).
//! 2. A navigable graph over their centres ([`HnswIndex`]) routes: a cell to its nearest cells, a query
//!    to its cell.
//! 3. Each cell is joined with its nearest cells, nearest first: one matrix product per pair excludes
//!    nearly all, the rest is compared directly (`candidates.rs`).
//! 4. For the graph of the known rows, sweeps over neighbours of neighbours (`sweep.rs`), then more cells,
//!    until the recall estimated on a sample reaches the target.
//!
//! A query is joined with the cells near the cell that it is routed to, so that its neighbours depend
//! on itself alone. Work is `n · cells joined · cell size`, with cells of about `√n / 2` rows: `n^1.5`,
//! but at the speed of a matrix product, 10 to 100 times that of a walk.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, linalg::general_mat_mul, s};
use rayon::prelude::*;
use tlc_core::{Array, Arrays, Cancelled, Progress, ReduceError};

use super::candidates::{Candidates, product_error};
use super::kmeans::Cells;
use super::recall::TrueNeighbours;
use super::rows::Rows;
use super::{GraphReport, HnswIndex, KnnIndex, KnnMethod, KnnOptions, Neighbours, nearest_of, sweep::sweep};
use crate::blas::SingleThreadedBlas;

/// Cells per square root of the number of rows.
const CELLS_PER_ROOT: f64 = 2.0;
/// Cells that a cell is joined with, itself included; doubled until recall is reached, up to the last.
const JOINED: [usize; 3] = [16, 32, 64];
/// Cells that a query is compared with.
const JOINED_FOR_QUERIES: usize = 48;
/// Sweeps before more cells are joined.
const SWEEPS: usize = 2;
/// Queries that are answered at a time: bounds memory, and paces progress.
const QUERY_BLOCK: usize = 4096;

/// Answers queries by looking into near cells.
#[derive(Debug)]
pub struct CellsIndex {
    rows: Rows,
    cells: Cells,
    router: HnswIndex,
    /// For each cell all those it may be joined with, nearest first; itself is among them.
    near_cells: Array2<u32>,
    options: KnnOptions,
}

impl CellsIndex {
    /// Makes the cells of `rows`, `(n, d)`, or takes them from `arrays`.
    pub(crate) fn build(
        rows: Array2<f32>,
        options: KnnOptions,
        arrays: &mut Arrays,
        progress: &Progress,
    ) -> Result<Self, ReduceError> {
        let _single = SingleThreadedBlas::begin();
        let rows = Rows::new(rows);
        let task = progress.task("make cells", 1);
        let cells = if arrays.contains("cell_order") {
            cells_from_arrays(arrays, &rows)?
        } else {
            let n_cells = (CELLS_PER_ROOT * (rows.len() as f64).sqrt()).round() as usize;
            Cells::build(&rows, n_cells, options.seed, progress)?
        };
        let router = HnswIndex::build(cells.centres.clone(), progress)?;
        let n_near = JOINED[JOINED.len() - 1].max(JOINED_FOR_QUERIES).min(cells.len());
        let near_cells = router.query(cells.centres.view(), n_near, progress)?.indices;
        task.advance(1)?;
        Ok(Self { rows, cells, router, near_cells, options })
    }

    /// The neighbours by joining each cell with its nearest `joined`, in cell order.
    fn join(&self, ordered: &Rows, k: usize, joined: usize, progress: &Progress) -> Result<Neighbours, ReduceError> {
        let task = progress.task("nearest neighbours", self.rows.len() as u64);
        let near = self.near_cells.slice(s![.., ..joined.min(self.near_cells.ncols())]);
        // A cell and its nearest may hold too few rows: then those and all others are compared.
        let is_enough =
            |cell: usize| near.row(cell).iter().map(|&c| self.cells.range(c as usize).len()).sum::<usize>() > k;
        let lists: Result<Vec<_>, Cancelled> = (0..self.cells.len())
            .into_par_iter()
            .map(|cell| {
                let own = self.cells.range(cell);
                let near: Vec<usize> = if is_enough(cell) {
                    near.row(cell).iter().map(|&cell| cell as usize).collect()
                } else {
                    (0..self.cells.len()).collect()
                };
                let queries = ordered.view();
                let queries = queries.slice(s![own.clone(), ..]);
                let mut candidates = Candidates::new(own.len(), k + 1);
                let largest = near.iter().map(|&cell| self.cells.range(cell).len()).max().unwrap_or(0);
                let mut product = Array2::<f32>::zeros((own.len(), largest));
                for other in near.into_iter().map(|cell| self.cells.range(cell)) {
                    let product = product.slice_mut(s![.., ..other.len()]);
                    offer(queries, ordered, other.clone(), product, &mut candidates, |place| {
                        (other.start + place) as u32
                    });
                }
                task.advance(own.len() as u64)?;
                let nearest = own.clone().enumerate().map(|(place, row)| {
                    nearest_of(candidates.take(place), ordered.row(row), Some(row as u32), k, ordered)
                });
                Ok((own.len(), nearest.collect::<Vec<_>>()))
            })
            .collect();
        Ok(Neighbours::from_blocks(k, lists?, |lists, place| std::mem::take(&mut lists[place])))
    }

    /// From cell order to row order.
    fn in_row_order(&self, ordered: Neighbours) -> Neighbours {
        let Neighbours { indices, squared } = ordered;
        let k = indices.ncols();
        let mut place_of = vec![0_u32; self.rows.len()];
        for (place, &row) in self.cells.order.iter().enumerate() {
            place_of[row as usize] = place as u32;
        }
        let mut result = Neighbours { indices: Array2::zeros(indices.dim()), squared: Array2::zeros(squared.dim()) };
        let (ids, distances) = (indices.as_slice().expect("new"), squared.as_slice().expect("new"));
        let targets = result.indices.as_slice_mut().expect("new").par_chunks_mut(k);
        let targets = targets.zip(result.squared.as_slice_mut().expect("new").par_chunks_mut(k));
        targets.zip(&place_of).with_min_len(512).for_each(|((target_ids, target_distances), &place)| {
            let from = place as usize * k..(place as usize + 1) * k;
            let mut list: Vec<(f32, u32)> = distances[from.clone()]
                .iter()
                .zip(&ids[from])
                .map(|(&squared, &place)| (squared, self.cells.order[place as usize]))
                .collect();
            list.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            for ((id, distance), (squared, other)) in target_ids.iter_mut().zip(target_distances).zip(list) {
                (*id, *distance) = (other, squared);
            }
        });
        result
    }

    /// Answers queries that were routed to the same cell.
    fn answer(&self, cell: usize, queries: &Array2<f32>, k: usize) -> Vec<Vec<(f32, u32)>> {
        let joined = JOINED_FOR_QUERIES.min(self.near_cells.ncols());
        let mut near: Vec<usize> =
            self.near_cells.slice(s![cell, ..joined]).iter().map(|&cell| cell as usize).collect();
        if near.iter().map(|&cell| self.cells.range(cell).len()).sum::<usize>() < k {
            near = (0..self.cells.len()).collect();
        }
        let mut candidates = Candidates::new(queries.nrows(), k);
        for range in near.into_iter().map(|cell| self.cells.range(cell)) {
            let ids = &self.cells.order[range];
            let rows = self.rows.select(ids);
            let mut product = Array2::<f32>::zeros((queries.nrows(), ids.len()));
            offer(queries.view(), &rows, 0..ids.len(), product.view_mut(), &mut candidates, |place| ids[place]);
        }
        let nearest = queries.outer_iter().enumerate().map(|(place, query)| {
            let query = query.to_slice().expect("standard layout");
            nearest_of(candidates.take(place), query, None, k, &self.rows)
        });
        nearest.collect()
    }
}

/// Offers `range` of `rows` to all `queries`.
fn offer(
    queries: ArrayView2<'_, f32>,
    rows: &Rows,
    range: std::ops::Range<usize>,
    mut product: ArrayViewMut2<'_, f32>,
    candidates: &mut Candidates,
    id_of: impl Fn(usize) -> u32,
) {
    general_mat_mul(-2.0, &queries, &rows.view().slice(s![range.clone(), ..]).t(), 0.0, &mut product);
    let error = product_error(queries.ncols(), Rows::largest_norm_of(queries), rows.largest_norm(range.clone()));
    candidates.offer_columns(product.view(), &rows.squared_norms()[range], error, id_of);
}

impl KnnIndex for CellsIndex {
    fn rows(&self) -> ArrayView2<'_, f32> {
        self.rows.view()
    }

    fn graph(&self, k: usize, progress: &Progress) -> Result<(Neighbours, GraphReport), ReduceError> {
        let _single = SingleThreadedBlas::begin();
        let truth = TrueNeighbours::of_sample(&self.rows, k, self.options.seed, progress)?;
        let ordered = self.rows.select(&self.cells.order);
        let is_sampled = |row: &u32| truth.rows().binary_search(row).is_ok();
        let places = self.cells.order.iter().enumerate().filter(|(_, row)| is_sampled(row));
        let place_of: BTreeMap<u32, usize> = places.map(|(place, &row)| (row, place)).collect();
        let recall = |neighbours: &Neighbours| truth.recall(neighbours, |row| place_of[&row]);
        let mut best: Option<(Neighbours, f64)> = None;
        'search: for joined in JOINED {
            let mut neighbours = self.join(&ordered, k, joined, progress)?;
            let mut found = recall(&neighbours);
            for _ in 0..SWEEPS {
                if found >= self.options.target_recall {
                    best = Some((neighbours, found));
                    break 'search;
                }
                sweep(&mut neighbours, &ordered, progress)?;
                found = recall(&neighbours);
            }
            let is_enough = found >= self.options.target_recall || joined >= self.cells.len();
            best = Some((neighbours, found));
            if is_enough {
                break;
            }
        }
        drop(ordered);
        let (neighbours, recall) = best.expect("at least one number of cells was tried");
        let report = GraphReport { method: KnnMethod::Cells, recall, sampled_rows: truth.len() };
        Ok((self.in_row_order(neighbours), report))
    }

    fn query(&self, queries: ArrayView2<'_, f32>, k: usize, progress: &Progress) -> Result<Neighbours, ReduceError> {
        let _single = SingleThreadedBlas::begin();
        let task = progress.task("nearest neighbours", queries.nrows() as u64);
        let mut lists: Vec<Vec<(f32, u32)>> = Vec::with_capacity(queries.nrows());
        for block in queries.axis_chunks_iter(Axis(0), QUERY_BLOCK) {
            let cells = self.router.query(block, 1, progress)?.indices;
            let mut by_cell: Vec<(u32, u32)> =
                cells.iter().enumerate().map(|(place, &cell)| (cell, place as u32)).collect();
            by_cell.sort_unstable();
            let groups: Vec<&[(u32, u32)]> = by_cell.chunk_by(|a, b| a.0 == b.0).collect();
            let answers: Result<Vec<_>, Cancelled> = groups
                .into_par_iter()
                .map(|group| {
                    let places: Vec<usize> = group.iter().map(|&(_, place)| place as usize).collect();
                    let found = self.answer(group[0].0 as usize, &block.select(Axis(0), &places), k);
                    task.advance(places.len() as u64)?;
                    Ok(places.into_iter().zip(found).collect::<Vec<_>>())
                })
                .collect();
            let start = lists.len();
            lists.resize(start + block.nrows(), Vec::new());
            answers?.into_iter().flatten().for_each(|(place, list)| lists[start + place] = list);
        }
        Ok(Neighbours::from_lists(lists, k))
    }

    fn add_to(&self, arrays: Arrays) -> Arrays {
        let sizes: Vec<u32> = (0..self.cells.len()).map(|cell| self.cells.range(cell).len() as u32).collect();
        arrays
            .with("cell_order", Array::U32(ndarray::Array1::from(self.cells.order.clone()).into_dyn()))
            .with("cell_sizes", Array::U32(ndarray::Array1::from(sizes).into_dyn()))
            .with_f32("cell_centres", &self.cells.centres)
    }
}

fn cells_from_arrays(arrays: &mut Arrays, rows: &Rows) -> Result<Cells, ReduceError> {
    let order: ndarray::Array1<u32> = arrays.take_u32("cell_order")?;
    let sizes: ndarray::Array1<u32> = arrays.take_u32("cell_sizes")?;
    let centres: Array2<f32> = arrays.take_f32("cell_centres")?;
    let mut seen = vec![false; rows.len()];
    for &row in &order {
        match seen.get_mut(row as usize) {
            Some(seen) if !*seen => *seen = true,
            _ => return Err(ReduceError::model("its cells do not hold each row once")),
        }
    }
    let total: u64 = sizes.iter().map(|&size| u64::from(size)).sum();
    let fits = order.len() == rows.len()
        && total == rows.len() as u64
        && sizes.iter().all(|&size| size > 0)
        && centres.dim() == (sizes.len(), rows.view().ncols())
        && centres.outer_iter().all(crate::input::is_usable);
    if !fits {
        return Err(ReduceError::model("its cells do not fit its rows"));
    }
    let mut offsets = vec![0];
    offsets.extend(sizes.iter().scan(0, |end, &size| {
        *end += size as usize;
        Some(*end)
    }));
    Ok(Cells { order: order.to_vec(), offsets, centres })
}
