//! Neighbours by cells: only rows of near cells are compared, by blocked matrix products.
//!
//! 1. k-means cells of some hundred rows (`kmeans.rs`); rows are kept in the order of the cells.
//! 2. A navigable graph over the centres ([`HnswIndex`]) gives each cell its nearest cells.
//! 3. Each cell is joined with those: one matrix product per pair excludes nearly all rows, the rest is
//!    compared directly (`candidates.rs`).
//! 4. For the graph of the known rows, sweeps over neighbours of neighbours (`sweep.rs`), then more cells,
//!    until the recall estimated on a sample reaches the target.
//!
//! More cells for rows near a border were tried in place of a sweep (60,000 × 100 of Fashion-MNIST, k = 15, 12 cells
//! joined in .42 s: recall .920, from .976 for the quarter of the rows farthest from a border to .866 for the nearest
//! quarter). Twice as many cells for that quarter, each row's own nearest, give .953; a sweep over all rows gives .957
//! in .20 s, and needs no blocks of rows that want the same cells.
//!
//! A query goes to the cell that the router says (`router.rs`), not by a walk over the graph, which could miss it: a
//! known row must find itself. It is joined with the cells near that one, so that its neighbours depend on itself
//! alone. Work is `n · cells joined · cell size`, with cells of about `√n / 2` rows, half of that from 400,000 rows on:
//! `n^1.5`, but at the speed of a matrix product.

use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;
use tlc_core::{Arrays, Cancelled, Progress, ReduceError};

use super::candidates::{BLOCK_ROWS, Candidates, Comparison};
use super::kmeans::Cells;
use super::recall::TrueNeighbours;
use super::router::Router;
use super::rows::Rows;
use super::{
    FEW_QUERIES, GraphReport, HnswIndex, KnnIndex, KnnMethod, KnnOptions, Neighbours, nearest_of, sweep::sweep,
};
use crate::blas::SingleThreadedBlas;
use crate::distance::squared_euclidean;

/// Cells per square root of the number of rows, from how many rows on.
const CELLS_PER_ROOT: [(usize, f64); 2] = [(400_000, 4.0), (0, 2.0)];
/// Cells that a cell is joined with, itself included: more until recall is reached.
pub(super) const JOINED: [usize; 2] = [24, 48];
/// Cells that a query is compared with.
const JOINED_FOR_QUERIES: usize = 24;
/// Sweeps before more cells are joined.
const SWEEPS: usize = 3;
/// Queries that are answered at a time: bounds memory, and paces progress.
const QUERY_BLOCK: usize = 16384;

/// Answers queries by looking into near cells.
#[derive(Debug)]
pub struct CellsIndex {
    cells: Cells,
    /// The rows in the order of the cells.
    ordered: Rows,
    /// Where each row is in that order.
    place_of: Vec<u32>,
    /// For each cell those it may be joined with, itself first, then by distance.
    near_cells: Array2<u32>,
    joined: [usize; 2],
    options: KnnOptions,
}

impl CellsIndex {
    /// Makes the cells of `rows`, `(n, d)`, or takes their centres from `arrays`. For the graph each is joined with the
    /// first of `joined`, with the second if the recall of the options is not reached.
    pub(super) fn build(
        rows: Array2<f32>,
        joined: [usize; 2],
        options: KnnOptions,
        arrays: &mut Arrays,
        progress: &Progress,
    ) -> Result<Self, ReduceError> {
        let _single = SingleThreadedBlas::begin();
        let rows = Rows::new(rows);
        let task = progress.task("make cells", 1);
        let cells = match Router::from_arrays(arrays, rows.width())? {
            Some(router) => Cells::with_router(&rows, router, progress)?,
            None => Cells::build(&rows, n_cells(rows.len()), options.seed, progress)?,
        };
        let n_near = joined[1].max(JOINED_FOR_QUERIES);
        let near_cells = near_cells(cells.router().centres().view(), n_near, progress)?;
        let ordered = rows.reorder(&cells.order);
        let mut place_of = vec![0; ordered.len()];
        for (place, &row) in cells.order.iter().enumerate() {
            place_of[row as usize] = place as u32;
        }
        task.advance(1)?;
        Ok(Self { cells, ordered, place_of, near_cells, joined, options })
    }

    /// The row at each place of the cells' order.
    pub(super) fn cell_order(&self) -> &[u32] {
        &self.cells.order
    }

    /// Where a row is in that order.
    pub(super) fn place_of(&self, row: u32) -> u32 {
        self.place_of[row as usize]
    }

    /// The cells that `cell` is joined with: the nearest `joined`, or all if those hold too few rows.
    fn joined_with(&self, cell: usize, joined: usize, least_rows: usize) -> Vec<usize> {
        let joined = joined.min(self.near_cells.ncols());
        let near: Vec<usize> = self.near_cells.slice(s![cell, ..joined]).iter().map(|&cell| cell as usize).collect();
        let n_rows: usize = near.iter().map(|&cell| self.cells.range(cell).len()).sum();
        if n_rows >= least_rows { near } else { (0..self.cells.len()).collect() }
    }

    /// Candidates for `queries` among the rows of some cells.
    fn candidates(&self, queries: ArrayView2<'_, f32>, k: usize, cells: &[usize]) -> Candidates {
        let values = |query: usize| queries.row(query).to_slice().expect("standard layout");
        let direct = |query: usize, id: u32| squared_euclidean(values(query), self.ordered.row(id as usize));
        let mut comparison = Comparison::new(queries, k);
        for &cell in cells {
            let range = self.cells.range(cell);
            comparison.offer(&self.ordered, range.clone(), range.start as u32, &direct);
        }
        comparison.finish()
    }

    /// The neighbours by joining each cell with its nearest `joined`, in the order of the cells.
    fn join(&self, k: usize, joined: usize, progress: &Progress) -> Result<Neighbours, ReduceError> {
        let task = progress.task("nearest neighbours", self.ordered.len() as u64);
        let blocks = (0..self.cells.len()).flat_map(|cell| {
            let range = self.cells.range(cell);
            range.clone().step_by(BLOCK_ROWS).map(move |start| {
                let block = start..(start + BLOCK_ROWS).min(range.end);
                (block.len(), (cell, block))
            })
        });
        let found = Neighbours::from_blocks(k, blocks.collect(), |(cell, block), lists| {
            let near = self.joined_with(cell, joined, k + 1);
            let rows = self.ordered.view();
            // One more, since a row is its own nearest.
            let mut candidates = self.candidates(rows.slice(s![block.clone(), ..]), k + 1, &near);
            for (place, row) in block.clone().enumerate() {
                let candidates = candidates.take(place);
                let own = Some(row as u32);
                lists.put(
                    place,
                    &nearest_of(candidates, self.ordered.row(row), own, k, |row| self.ordered.row(row as usize)),
                );
            }
            task.advance(block.len() as u64)
        })?;
        Ok(found)
    }

    /// The graph in the order of the cells: places instead of row numbers.
    pub(super) fn ordered_graph(
        &self,
        k: usize,
        progress: &Progress,
    ) -> Result<(Neighbours, GraphReport), ReduceError> {
        let _single = SingleThreadedBlas::begin();
        let truth = TrueNeighbours::of_sample(&self.ordered, k, self.options.seed, progress)?;
        let recall = |neighbours: &Neighbours| truth.recall(neighbours, |place| place as usize);
        let mut best = None;
        for joined in self.joined {
            // Not two of them at a time.
            drop(best.take());
            let mut neighbours = self.join(k, joined, progress)?;
            let mut found = recall(&neighbours);
            for _ in 0..SWEEPS {
                if found < self.options.target_recall {
                    sweep(&mut neighbours, &self.ordered, progress)?;
                    found = recall(&neighbours);
                }
            }
            best = Some((neighbours, found));
            if found >= self.options.target_recall || joined >= self.cells.len() {
                break;
            }
        }
        let (neighbours, recall) = best.expect("at least one number of cells was tried");
        let report = GraphReport { method: KnnMethod::Cells, recall, sampled_rows: truth.n_rows() };
        Ok((neighbours, report))
    }

    /// From the order of the cells to that of the rows.
    pub(super) fn in_row_order(&self, ordered: Neighbours) -> Neighbours {
        let Neighbours { indices, squared } = ordered;
        let k = indices.ncols();
        let mut result = Neighbours { indices: Array2::zeros(indices.dim()), squared: Array2::zeros(squared.dim()) };
        let (ids, distances) = (indices.as_slice().expect("new"), squared.as_slice().expect("new"));
        let targets = result.indices.as_slice_mut().expect("new").par_chunks_mut(k);
        let targets = targets.zip(result.squared.as_slice_mut().expect("new").par_chunks_mut(k));
        targets.zip(&self.place_of).with_min_len(512).for_each(|((target_ids, target_distances), &place)| {
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
}

/// How many cells are made of `n` rows.
pub(super) fn n_cells(n: usize) -> usize {
    let per_root = CELLS_PER_ROOT.iter().find(|(least, _)| n >= *least).map_or(2.0, |(_, per_root)| *per_root);
    (per_root * (n as f64).sqrt()).round() as usize
}

/// For each cell the nearest `n_near` by their centres, itself first; all if there are fewer.
pub(super) fn near_cells(
    centres: ArrayView2<'_, f32>,
    n_near: usize,
    progress: &Progress,
) -> Result<Array2<u32>, ReduceError> {
    let n_near = n_near.min(centres.nrows());
    let routes = HnswIndex::build(centres.to_owned(), KnnOptions::default(), progress)?;
    let mut near = routes.query(centres, n_near, progress)?.indices;
    for (cell, mut list) in near.outer_iter_mut().enumerate() {
        // Equal centres may come before it or instead of it.
        let own = list.iter().position(|&near| near as usize == cell).unwrap_or(n_near - 1);
        for place in (0..own).rev() {
            list[place + 1] = list[place];
        }
        list[0] = cell as u32;
    }
    Ok(near)
}

impl KnnIndex for CellsIndex {
    fn n_rows(&self) -> usize {
        self.ordered.len()
    }

    fn n_features(&self) -> usize {
        self.ordered.width()
    }

    fn row(&self, id: usize) -> &[f32] {
        self.ordered.row(self.place_of[id] as usize)
    }

    fn graph(&self, k: usize, progress: &Progress) -> Result<(Neighbours, GraphReport), ReduceError> {
        let (ordered, report) = self.ordered_graph(k, progress)?;
        Ok((self.in_row_order(ordered), report))
    }

    fn query(&self, queries: ArrayView2<'_, f32>, k: usize, progress: &Progress) -> Result<Neighbours, ReduceError> {
        let _single = SingleThreadedBlas::begin();
        let task = progress.task("nearest neighbours", queries.nrows() as u64);
        let mut lists: Vec<Vec<(f32, u32)>> = vec![Vec::new(); queries.nrows()];
        for (block, queries) in queries.axis_chunks_iter(Axis(0), QUERY_BLOCK).enumerate() {
            let mut by_cell: Vec<(u32, usize)> = self
                .cells
                .router()
                .nearest(queries, progress)?
                .into_iter()
                .enumerate()
                .map(|(at, cell)| (cell, at))
                .collect();
            by_cell.sort_unstable();
            let groups: Vec<&[(u32, usize)]> = by_cell.chunk_by(|a, b| a.0 == b.0).collect();
            let answers: Result<Vec<_>, Cancelled> = groups
                .into_par_iter()
                .map(|group| {
                    let places: Vec<usize> = group.iter().map(|&(_, place)| place).collect();
                    let queries = queries.select(Axis(0), &places);
                    let near = self.joined_with(group[0].0 as usize, JOINED_FOR_QUERIES, k);
                    let is_few = places.len() <= FEW_QUERIES;
                    let mut candidates = (!is_few).then(|| self.candidates(queries.view(), k, &near));
                    task.advance(places.len() as u64)?;
                    let row = |id: u32| self.ordered.row(id as usize);
                    let answer = |(at, place): (usize, usize)| {
                        let query = queries.row(at).to_slice().expect("standard layout");
                        let mut list = match &mut candidates {
                            Some(candidates) => nearest_of(candidates.take(at), query, None, k, row),
                            None => {
                                let all = near.iter().flat_map(|&cell| self.cells.range(cell)).map(|row| row as u32);
                                nearest_of(all, query, None, k, row)
                            }
                        };
                        list.iter_mut().for_each(|(_, id)| *id = self.cells.order[*id as usize]);
                        list.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                        (place, list)
                    };
                    Ok(places.into_iter().enumerate().map(answer).collect::<Vec<_>>())
                })
                .collect();
            for (place, list) in answers?.into_iter().flatten() {
                lists[block * QUERY_BLOCK + place] = list;
            }
        }
        Ok(Neighbours::from_lists(lists, k))
    }

    fn order(&self) -> Option<&[u32]> {
        Some(self.cell_order())
    }

    fn add_to(&self, arrays: Arrays) -> Arrays {
        self.cells.router().add_to(arrays)
    }
}
