//! All distances, by blocked matrix products (see `candidates.rs` for why the result is exact).
//!
//! The graph of the known rows uses both triangles of a product: a block of rows against another
//! gives candidates to both. Pairs of blocks are played in rounds like a tournament, so that no block
//! is in two games of a round and each meets the others in a fixed order.

use std::sync::Mutex;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, linalg::general_mat_mul, s};
use rayon::prelude::*;
use tlc_core::{Cancelled, Progress, ReduceError, Task};

use super::candidates::{Candidates, Comparison, product_error};
use super::rows::Rows;
use super::{FEW_QUERIES, GraphReport, KnnIndex, KnnMethod, Neighbours, nearest_of};
use crate::blas::SingleThreadedBlas;
use crate::distance::squared_euclidean;

const BLOCK_ROWS: usize = 256;
/// Small, so that a few hundred queries keep several threads busy.
const QUERY_BLOCK: usize = 64;

/// Answers queries by looking at every row. Recall 1.
#[derive(Debug)]
pub struct ExactIndex {
    rows: Rows,
}

impl ExactIndex {
    /// An index of `rows`, `(n, d)`.
    pub fn new(rows: Array2<f32>) -> Self {
        Self { rows: Rows::new(rows) }
    }

    /// Lets two blocks of rows meet: candidates for the rows of both.
    fn meet(&self, [first, second]: [usize; 2], states: &[Mutex<Candidates>], mut product: ArrayViewMut2<'_, f32>) {
        let (a, b) = (self.block(first), self.block(second));
        let mut product = product.slice_mut(s![..a.len(), ..b.len()]);
        let (rows, norms) = (self.rows.view(), self.rows.squared_norms());
        general_mat_mul(-2.0, &rows.slice(s![a.clone(), ..]), &rows.slice(s![b.clone(), ..]).t(), 0.0, &mut product);
        let error = product_error(rows.ncols(), self.rows.largest_norm(a.clone()), self.rows.largest_norm(b.clone()));
        let lock = |block: usize| states[block].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let direct = |start: usize| {
            move |query: usize, id: u32| squared_euclidean(self.rows.row(start + query), self.rows.row(id as usize))
        };
        let (of_a, of_b) = (|at: usize| (a.start + at) as u32, |at: usize| (b.start + at) as u32);
        lock(first).offer_columns(product.view(), &norms[b.clone()], error, of_b, &direct(a.start));
        if first != second {
            lock(second).offer_rows(product.view(), &norms[a.clone()], error, of_a, &direct(b.start));
        }
    }

    fn block(&self, block: usize) -> std::ops::Range<usize> {
        block * BLOCK_ROWS..((block + 1) * BLOCK_ROWS).min(self.rows.len())
    }
}

impl KnnIndex for ExactIndex {
    fn n_rows(&self) -> usize {
        self.rows.len()
    }

    fn n_features(&self) -> usize {
        self.rows.width()
    }

    fn row(&self, id: usize) -> &[f32] {
        self.rows.row(id)
    }

    fn graph(&self, k: usize, progress: &Progress) -> Result<(Neighbours, GraphReport), ReduceError> {
        let _single = SingleThreadedBlas::begin();
        let n_blocks = self.rows.len().div_ceil(BLOCK_ROWS);
        // One more, since a row is its own nearest.
        let states: Vec<_> =
            (0..n_blocks).map(|block| Mutex::new(Candidates::new(self.block(block).len(), k + 1))).collect();
        let task = progress.task("nearest neighbours", (n_blocks * (n_blocks + 1) / 2) as u64);
        for round in rounds(n_blocks) {
            let products = || Array2::<f32>::zeros((BLOCK_ROWS, BLOCK_ROWS));
            round.into_par_iter().try_for_each_init(products, |product, pair| {
                self.meet(pair, &states, product.view_mut());
                task.advance(1)
            })?;
        }
        let blocks = states.into_iter().enumerate().map(|(block, state)| {
            let range = self.block(block);
            (range.len(), (range, state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)))
        });
        let neighbours = Neighbours::from_blocks(k, blocks.collect(), |(range, mut candidates), lists| {
            for (place, own) in range.enumerate() {
                let candidates = candidates.take(place);
                lists.put(
                    place,
                    &nearest_of(candidates, self.rows.row(own), Some(own as u32), k, |row| self.rows.row(row as usize)),
                );
            }
            progress.check()
        })?;
        Ok((neighbours, GraphReport { method: KnnMethod::Exact, recall: 1.0, sampled_rows: self.rows.len() }))
    }

    fn query(&self, queries: ArrayView2<'_, f32>, k: usize, progress: &Progress) -> Result<Neighbours, ReduceError> {
        search(&self.rows, queries, k, progress)
    }
}

/// The `k` nearest of all `rows` for each query.
pub(super) fn search(
    rows: &Rows,
    queries: ArrayView2<'_, f32>,
    k: usize,
    progress: &Progress,
) -> Result<Neighbours, ReduceError> {
    search_within(rows, queries, k, &progress.task("nearest neighbours", queries.nrows() as u64))
}

/// The same as a part of a task, which advances by the queries.
pub(super) fn search_within(
    rows: &Rows,
    queries: ArrayView2<'_, f32>,
    k: usize,
    task: &Task,
) -> Result<Neighbours, ReduceError> {
    let _single = SingleThreadedBlas::begin();
    let queries = queries.as_standard_layout();
    let blocks: Vec<_> = queries.axis_chunks_iter(Axis(0), QUERY_BLOCK).collect();
    let lists: Result<Vec<_>, Cancelled> = blocks
        .into_par_iter()
        .map(|queries| {
            let values = |query: usize| queries.row(query).to_slice().expect("standard layout");
            let row = |id: u32| rows.row(id as usize);
            if queries.nrows() <= FEW_QUERIES {
                task.advance(queries.nrows() as u64)?;
                let all = || 0..rows.len() as u32;
                return Ok((0..queries.nrows()).map(|query| nearest_of(all(), values(query), None, k, row)).collect());
            }
            let direct = |query: usize, id: u32| squared_euclidean(values(query), rows.row(id as usize));
            let mut comparison = Comparison::new(queries, k);
            comparison.offer(rows, 0..rows.len(), 0, &direct);
            let mut candidates = comparison.finish();
            task.advance(queries.nrows() as u64)?;
            let nearest =
                (0..queries.nrows()).map(|query| nearest_of(candidates.take(query), values(query), None, k, row));
            Ok(nearest.collect::<Vec<_>>())
        })
        .collect();
    Ok(Neighbours::from_lists(lists?.into_iter().flatten().collect(), k))
}

/// All pairs of `0..n`, equal ones included, in rounds in which each number occurs once at most: the
/// circle method of tournaments.
fn rounds(n: usize) -> impl Iterator<Item = Vec<[usize; 2]>> {
    let seats = n + n % 2;
    let with_itself = std::iter::once((0..n).map(|block| [block, block]).collect());
    with_itself.chain((0..seats.saturating_sub(1)).map(move |round| {
        // Seat 0 stays, the others move on by one each round.
        let at = |seat: usize| if seat == 0 { 0 } else { 1 + (seat - 1 + round) % (seats - 1) };
        (0..seats / 2)
            .map(|seat| [at(seat), at(seats - 1 - seat)])
            .map(|[a, b]| [a.min(b), a.max(b)])
            .filter(|pair| pair[1] < n)
            .collect()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_meets_once_and_nobody_twice_in_a_round() {
        for n in 0..12 {
            let mut all: Vec<[usize; 2]> = Vec::new();
            for round in rounds(n) {
                let mut seen: Vec<usize> =
                    round.iter().flat_map(|[a, b]| if a == b { vec![*a] } else { vec![*a, *b] }).collect();
                let count = seen.len();
                seen.sort_unstable();
                seen.dedup();
                assert_eq!(seen.len(), count, "{n} blocks: {round:?}");
                all.extend(round);
            }
            all.sort_unstable();
            let expected: Vec<[usize; 2]> = (0..n).flat_map(|a| (a..n).map(move |b| [a, b])).collect();
            assert_eq!(all, expected);
        }
    }
}
