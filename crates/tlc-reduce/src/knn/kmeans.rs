//! Cells of near rows: k-means (Lloyd 1982) on a seeded sample, by matrix products.
//!
//! Cells need not be good clusters, only small and compact: few iterations on a sample do. Cells that
//! come out empty are dropped, those that come out much too large are split again. Thousands of equal
//! rows cannot be split and stay in one cell. Very many cells are made group by group.

use ndarray::{Array2, Axis, linalg::general_mat_mul};
use rayon::prelude::*;
use tlc_core::rng::Stream;
use tlc_core::{Cancelled, Progress, ReduceError};

use super::recall::sample;
use super::router::Router;
use super::rows::Rows;
use crate::simd::vectorised;

pub(super) const SAMPLED_PER_CELL: usize = 48;
const ITERATIONS: usize = 6;
const BLOCK_ROWS: usize = 512;
/// A cell this many times the mean size is split.
pub(super) const TOO_LARGE: usize = 3;
/// From so many cells on they are made and found by way of groups, of about so many cells each.
const GROUPED_FROM: usize = 1500;
const CELLS_PER_GROUP: usize = 8;
/// Splits of splits; what is still too large then are equal rows.
const MAX_SPLITS: usize = 4;

/// Rows by cell.
#[derive(Debug)]
pub(super) struct Cells {
    /// Row numbers, cell after cell, ascending within each.
    pub(super) order: Vec<u32>,
    /// Where each cell begins in `order`, `(n_cells + 1,)`.
    pub(super) offsets: Vec<usize>,
    /// Says in which cell a row is.
    router: Router,
}

impl Cells {
    /// About `n_cells` cells of `rows`.
    pub(super) fn build(rows: &Rows, n_cells: usize, seed: u64, progress: &Progress) -> Result<Self, ReduceError> {
        let n_cells = n_cells.clamp(1, rows.len());
        let draws = Stream::new(seed, "knn-cells");
        if n_cells >= GROUPED_FROM {
            return Self::build_grouped(rows, n_cells, draws, progress);
        }
        let largest = (TOO_LARGE * rows.len()).div_ceil(n_cells);
        let mut centres: Vec<Array2<f32>> = Vec::new();
        split(rows, n_cells, largest, draws, 0, progress, &mut centres)?;
        Self::with_router(rows, Router::flat(stacked(&centres)?), progress)
    }

    /// Groups by k-means, then cells within each: to make so many cells at once would take longer than to join them.
    fn build_grouped(rows: &Rows, n_cells: usize, draws: Stream, progress: &Progress) -> Result<Self, ReduceError> {
        let n_groups = n_cells / CELLS_PER_GROUP;
        let mut centres: Vec<Array2<f32>> = Vec::new();
        split(rows, n_groups, (TOO_LARGE * rows.len()).div_ceil(n_groups), draws, 0, progress, &mut centres)?;
        let groups = Self::with_router(rows, Router::flat(stacked(&centres)?), progress)?;
        let cell_size = rows.len().div_ceil(n_cells);
        let members: Result<Vec<Array2<f32>>, ReduceError> = (0..groups.len())
            .into_par_iter()
            .map(|group| {
                let own = rows.select(&groups.order[groups.range(group)]);
                let (parts, draws) = (own.len().div_ceil(cell_size), draws.substream(u64::MAX - group as u64));
                let mut centres: Vec<Array2<f32>> = Vec::new();
                split(&own, parts, TOO_LARGE * cell_size, draws, 0, progress, &mut centres)?;
                stacked(&centres)
            })
            .collect();
        let centres = groups.router.centres().view().to_owned();
        Self::with_router(rows, Router::grouped(&centres, &members?)?, progress)
    }

    /// Each row in the cell that the router says; cells without rows are dropped.
    pub(super) fn with_router(rows: &Rows, router: Router, progress: &Progress) -> Result<Self, ReduceError> {
        let mut lists = vec![Vec::new(); router.centres().len()];
        for (row, cell) in router.nearest(rows.view(), progress)?.into_iter().enumerate() {
            lists[cell as usize].push(row as u32);
        }
        let kept: Vec<u32> = (0..lists.len() as u32).filter(|&cell| !lists[cell as usize].is_empty()).collect();
        lists.retain(|list| !list.is_empty());
        let mut offsets = vec![0];
        offsets.extend(lists.iter().scan(0, |end, list| {
            *end += list.len();
            Some(*end)
        }));
        Ok(Self { order: lists.concat(), offsets, router: router.keep(&kept) })
    }

    /// Says in which cell a row is. A row that was known when the cells were made comes to its own cell.
    pub(super) fn router(&self) -> &Router {
        &self.router
    }

    pub(super) fn into_router(self) -> Router {
        self.router
    }

    pub(super) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub(super) fn range(&self, cell: usize) -> std::ops::Range<usize> {
        self.offsets[cell]..self.offsets[cell + 1]
    }
}

fn stacked(centres: &[Array2<f32>]) -> Result<Array2<f32>, ReduceError> {
    ndarray::concatenate(Axis(0), &centres.iter().map(|centre| centre.view()).collect::<Vec<_>>())
        .map_err(|error| ReduceError::backend("put the cells' centres together", error))
}

/// Appends the centres of the cells of `rows`; cells with too many rows get several.
fn split(
    rows: &Rows,
    n_cells: usize,
    largest: usize,
    draws: Stream,
    depth: usize,
    progress: &Progress,
    centres: &mut Vec<Array2<f32>>,
) -> Result<(), Cancelled> {
    let found = centres_of(rows, n_cells, draws.substream(depth as u64), progress)?;
    let mut lists = vec![Vec::new(); found.nrows()];
    for (row, cell) in nearest_centres(rows, &found, progress)?.into_iter().enumerate() {
        lists[cell as usize].push(row as u32);
    }
    for (cell, list) in lists.into_iter().enumerate().filter(|(_, list)| !list.is_empty()) {
        // Where splitting does not help, the rows are equal.
        let is_hopeless = depth == MAX_SPLITS || (depth > 0 && list.len() == rows.len());
        if list.len() <= largest || is_hopeless {
            centres.push(found.select(Axis(0), &[cell]));
        } else {
            let parts = (TOO_LARGE * list.len()).div_ceil(largest);
            let draws = draws.substream(cell as u64);
            split(&rows.select(&list), parts, largest, draws, depth + 1, progress, centres)?;
        }
    }
    Ok(())
}

/// Lloyd's iterations on a sample: one row from each of as many equal stretches.
fn centres_of(rows: &Rows, n_cells: usize, draws: Stream, progress: &Progress) -> Result<Array2<f32>, Cancelled> {
    let n = rows.len();
    let n_sampled = (SAMPLED_PER_CELL * n_cells).min(n);
    let sample = rows.select(&sample(n, n_sampled, draws.bits(0, 0)));
    let starts: Vec<u32> = (0..n_cells).map(|cell| (cell * n_sampled / n_cells) as u32).collect();
    let mut centres = sample.select(&starts).view().to_owned();
    for _ in 0..ITERATIONS {
        let nearest = nearest_centres(&sample, &centres, progress)?;
        let mut sums = Array2::<f32>::zeros(centres.dim());
        let mut counts = vec![0_u32; n_cells];
        for (place, &cell) in nearest.iter().enumerate() {
            let mut sum = sums.row_mut(cell as usize);
            sum.iter_mut().zip(sample.row(place)).for_each(|(sum, value)| *sum += value);
            counts[cell as usize] += 1;
        }
        for ((mut centre, sum), &count) in centres.outer_iter_mut().zip(sums.outer_iter()).zip(&counts) {
            // A centre without rows stays; its cell is dropped in the end if it still has none.
            if count > 0 {
                centre.assign(&(&sum / count as f32));
            }
        }
    }
    Ok(centres)
}

/// The nearest centre of each row.
fn nearest_centres(rows: &Rows, centres: &Array2<f32>, progress: &Progress) -> Result<Vec<u32>, Cancelled> {
    let norms: Vec<f32> = centres.outer_iter().map(|centre| centre.dot(&centre)).collect();
    let found: Result<Vec<Vec<u32>>, Cancelled> = rows
        .view()
        .axis_chunks_iter(Axis(0), BLOCK_ROWS)
        .into_par_iter()
        .map(|block| {
            progress.check()?;
            let mut product = Array2::<f32>::zeros((block.nrows(), centres.nrows()));
            general_mat_mul(-2.0, &block, &centres.t(), 0.0, &mut product);
            Ok(product.outer_iter().map(|row| least(row.to_slice().expect("new"), &norms)).collect())
        })
        .collect();
    Ok(found?.concat())
}

/// The first place of the least `product + norm`.
fn least(product: &[f32], norms: &[f32]) -> u32 {
    const LANES: usize = 16;
    let (products, product_rest) = product.as_chunks::<LANES>();
    let (norm_chunks, norm_rest) = norms.as_chunks::<LANES>();
    let mut best = [f32::INFINITY; LANES];
    let mut places = [0_u32; LANES];
    vectorised(
        #[inline(always)]
        || {
            for (at, (p, n)) in products.iter().zip(norm_chunks).enumerate() {
                for lane in 0..LANES {
                    let value = p[lane] + n[lane];
                    let is_less = value < best[lane];
                    places[lane] = if is_less { at as u32 } else { places[lane] };
                    best[lane] = if is_less { value } else { best[lane] };
                }
            }
        },
    );
    let lanes = (0..LANES).map(|lane| (best[lane], places[lane] * LANES as u32 + lane as u32));
    let first_rest = products.len() * LANES;
    let rest = product_rest.iter().zip(norm_rest).enumerate().map(|(at, (p, n))| (p + n, (first_rest + at) as u32));
    lanes.chain(rest).min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))).map_or(0, |(_, place)| place)
}

#[cfg(test)]
mod tests {
    use tlc_core::Arrays;

    use super::*;

    fn rows(n: usize, d: usize) -> Rows {
        let noise = Stream::new(3, "test");
        Rows::new(Array2::from_shape_fn((n, d), |(i, j)| noise.normal(i as u64, j as u64) as f32))
    }

    #[test]
    fn every_row_is_in_one_cell_and_no_cell_is_empty_or_huge() {
        for (n, n_cells) in [(1, 1), (5, 5), (1000, 20), (3000, 64), (20_000, GROUPED_FROM)] {
            let cells = Cells::build(&rows(n, 7), n_cells, 1, &Progress::default()).expect("not cancelled");
            let mut order = cells.order.clone();
            order.sort_unstable();
            assert!(order.into_iter().eq(0..n as u32));
            assert_eq!(cells.router().centres().len(), cells.len());
            for cell in 0..cells.len() {
                let size = cells.range(cell).len();
                assert!((1..=(3 * n).div_ceil(n_cells)).contains(&size), "{size} rows in a cell");
            }
        }
    }

    #[test]
    fn equal_rows_share_a_cell() {
        let rows = Rows::new(Array2::ones((5000, 3)));
        let cells = Cells::build(&rows, 50, 1, &Progress::default()).expect("not cancelled");
        assert_eq!(cells.offsets, [0, 5000]);
    }

    #[test]
    fn known_rows_come_to_their_own_cell() {
        for (n, n_cells) in [(2000, 40), (12_000, GROUPED_FROM)] {
            let rows = rows(n, 5);
            let cells = Cells::build(&rows, n_cells, 1, &Progress::default()).expect("not cancelled");
            assert!((n_cells / 2..2 * n_cells).contains(&cells.len()), "{} instead of {n_cells}", cells.len());
            let find = |cells: &Cells| cells.router().nearest(rows.view(), &Progress::default()).expect("finds");
            let found = find(&cells);
            for cell in 0..cells.len() {
                assert!(cells.order[cells.range(cell)].iter().all(|&row| found[row as usize] as usize == cell));
            }
            let mut arrays = cells.router().add_to(Arrays::default());
            let router = Router::from_arrays(&mut arrays, 5).expect("fits").expect("is there");
            let again = Cells::with_router(&rows, router, &Progress::default()).expect("not cancelled");
            assert!(again.order == cells.order && find(&again) == found);
        }
    }

    #[test]
    fn the_least_is_found_wherever_it_is() {
        for n in [1, 15, 16, 40] {
            for place in 0..n {
                let mut product = vec![2.0; n];
                product[place] = 1.0;
                assert_eq!(least(&product, &vec![0.5; n]), place as u32);
            }
        }
    }
}
