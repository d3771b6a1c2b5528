//! Squared distances from some queries to all rows, and what is read off them: the nearest, and ranks.
//!
//! Every distance is summed directly from the differences, in a fixed order. The shorter way,
//! `|x|² + |y|² - 2 x·y` by a matrix product, cancels for near rows, exactly where ranks are decided,
//! and its rounding depends on how a BLAS cuts the matrices. Four queries share each load of a row.
//! Equal rows are at distance exactly 0, and a distance has the same bits both ways round. The
//! order of a sum depends on the width of the processor's registers, and on nothing else.
//!
//! The kernels are types with an always inlined method: a closure of this size is not inlined into the
//! function that enables the instruction set, and would be compiled without it.
//!
//! Ties are broken by row number everywhere, so that equal distances give equal ranks in two spaces.

use ndarray::{Array2, ArrayView2};
use pulp::{Arch, NullaryFnOnce, Simd, WithSimd};
use rayon::prelude::*;
use tlc_core::{Cancelled, Progress, ReduceError};

const LANES: usize = 16;
/// Queries that share a load of a row.
const QUERIES: usize = 4;
/// Rows that stay in the second-level cache while a block of queries visits them.
const ROW_TILE_VALUES: usize = 1 << 15;
/// Distances that are held per thread and space: 16 MiB, as long as 8 queries fit.
const BLOCK_VALUES: usize = 1 << 22;
const MOST_QUERIES: usize = 64;

/// Rows, stored such that distances to all of them are quick.
#[derive(Debug)]
pub(super) struct Space<'a> {
    /// `(n, d)`; a slice, since views of ndarray do not let two spaces' lifetimes differ.
    rows: &'a [f32],
    dim: (usize, usize),
    /// `(d, n)`, for rows too narrow to fill a vector register.
    columns: Option<Array2<f32>>,
}

impl<'a> Space<'a> {
    /// `rows`, `(n, d)`, in standard layout, with values within ±1e15.
    pub(super) fn new(rows: ArrayView2<'a, f32>) -> Self {
        let columns = (rows.ncols() < LANES).then(|| rows.t().as_standard_layout().into_owned());
        Self { rows: rows.to_slice().expect("standard layout"), dim: rows.dim(), columns }
    }

    pub(super) fn n_rows(&self) -> usize {
        self.dim.0
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.rows[row * self.dim.1..][..self.dim.1]
    }

    /// Squared distance of two rows.
    pub(super) fn between(&self, i: usize, j: usize) -> f32 {
        self.pair(self.row(i), self.row(j))
    }

    /// With the bits that [`distances`](Self::distances) gives.
    fn pair(&self, query: &[f32], row: &[f32]) -> f32 {
        match self.columns {
            Some(_) => query.iter().zip(row).fold(0.0, |sum, (x, y)| sum + (x - y) * (x - y)),
            None => Arch::new().dispatch(Pair(query, row)),
        }
    }

    /// Squared distances from each query to each row, into `out`, `(queries, n)`.
    fn distances(&self, queries: &[&[f32]], out: &mut [f32]) {
        let n = self.n_rows();
        assert_eq!(out.len(), queries.len() * n, "one distance per query and row");
        if let Some(columns) = &self.columns {
            Arch::new().dispatch(Narrow { columns, queries, out });
        } else {
            Arch::new().dispatch(Wide { rows: self.rows, dim: self.dim, queries, out });
        }
    }
}

/// The squared distance of two rows.
struct Pair<'a>(&'a [f32], &'a [f32]);

impl WithSimd for Pair<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        alone(simd, self.0, self.1)
    }
}

/// Distances of rows that fill vector registers.
struct Wide<'a> {
    rows: &'a [f32],
    dim: (usize, usize),
    queries: &'a [&'a [f32]],
    out: &'a mut [f32],
}

impl WithSimd for Wide<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (n, d) = self.dim;
        let tile_rows = (ROW_TILE_VALUES / d).max(1);
        for (t, rows) in self.rows.chunks(tile_rows * d).enumerate() {
            let first = t * tile_rows;
            for (q, queries) in self.queries.chunks(QUERIES).enumerate() {
                let q = q * QUERIES;
                for (r, row) in rows.chunks_exact(d).enumerate() {
                    if let &[a, b, c, e] = queries {
                        let distances = together(simd, [a, b, c, e], row);
                        for (lane, distance) in distances.into_iter().enumerate() {
                            self.out[(q + lane) * n + first + r] = distance;
                        }
                    } else {
                        for (lane, &query) in queries.iter().enumerate() {
                            self.out[(q + lane) * n + first + r] = alone(simd, query, row);
                        }
                    }
                }
            }
        }
    }
}

/// Squared distances of four queries to one row; each has the same bits as [`alone`].
///
/// Written with vector types: left to itself the compiler gathers one vector from four queries.
#[inline(always)]
fn together<S: Simd>(simd: S, [a, b, c, d]: [&[f32]; QUERIES], row: &[f32]) -> [f32; QUERIES] {
    assert!([a, b, c, d].iter().all(|query| query.len() == row.len()), "rows have one width");
    let (vectors, rest) = S::as_simd_f32s(row);
    let ((a, a_rest), (b, b_rest)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let ((c, c_rest), (d, d_rest)) = (S::as_simd_f32s(c), S::as_simd_f32s(d));
    let [mut sum_a, mut sum_b, mut sum_c, mut sum_d] = [simd.splat_f32s(0.0); QUERIES];
    for ((((&row, &a), &b), &c), &d) in vectors.iter().zip(a).zip(b).zip(c).zip(d) {
        sum_a = add_squares(simd, sum_a, a, row);
        sum_b = add_squares(simd, sum_b, b, row);
        sum_c = add_squares(simd, sum_c, c, row);
        sum_d = add_squares(simd, sum_d, d, row);
    }
    [
        finish(simd, sum_a, a_rest, rest),
        finish(simd, sum_b, b_rest, rest),
        finish(simd, sum_c, c_rest, rest),
        finish(simd, sum_d, d_rest, rest),
    ]
}

/// The squared distance of one query to one row.
#[inline(always)]
fn alone<S: Simd>(simd: S, query: &[f32], row: &[f32]) -> f32 {
    assert_eq!(query.len(), row.len(), "rows have one width");
    let ((vectors, rest), (row_vectors, row_rest)) = (S::as_simd_f32s(query), S::as_simd_f32s(row));
    let mut sum = simd.splat_f32s(0.0);
    for (&query, &row) in vectors.iter().zip(row_vectors) {
        sum = add_squares(simd, sum, query, row);
    }
    finish(simd, sum, rest, row_rest)
}

#[inline(always)]
fn add_squares<S: Simd>(simd: S, sum: S::f32s, query: S::f32s, row: S::f32s) -> S::f32s {
    let difference = simd.sub_f32s(query, row);
    simd.mul_add_f32s(difference, difference, sum)
}

#[inline(always)]
fn finish<S: Simd>(simd: S, sum: S::f32s, query: &[f32], row: &[f32]) -> f32 {
    let mut total = simd.reduce_sum_f32s(sum);
    for (x, y) in query.iter().zip(row) {
        total += (x - y) * (x - y);
    }
    total
}

/// Distances of narrow rows, a column at a time.
struct Narrow<'a> {
    columns: &'a Array2<f32>,
    queries: &'a [&'a [f32]],
    out: &'a mut [f32],
}

impl NullaryFnOnce for Narrow<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        const TILE: usize = 1024;
        let (d, n) = self.columns.dim();
        let columns = self.columns.as_slice().expect("standard layout");
        for (query, out) in self.queries.iter().zip(self.out.chunks_exact_mut(n)) {
            assert_eq!(query.len(), d, "rows have one width");
            for (t, out) in out.chunks_mut(TILE).enumerate() {
                out.fill(0.0);
                for (column, value) in query.iter().enumerate() {
                    let column = &columns[column * n + t * TILE..][..out.len()];
                    for (out, x) in out.iter_mut().zip(column) {
                        *out += (x - value) * (x - value);
                    }
                }
            }
        }
    }
}

/// Queries against the rows of a space.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) space: &'a Space<'a>,
    /// `(m, d)`.
    pub(super) queries: Array2<f32>,
}

impl<'a> Asked<'a> {
    /// Some of the space's own rows.
    pub(super) fn rows(space: &'a Space<'a>, rows: &[usize]) -> Self {
        let values = rows.iter().flat_map(|&row| space.row(row)).copied().collect();
        let queries = Array2::from_shape_vec((rows.len(), space.dim.1), values).expect("rows of one width");
        Self { space, queries }
    }

    /// Squared distance of a query to a row of the space.
    pub(super) fn between(&self, query: usize, row: usize) -> f32 {
        let query = self.queries.row(query);
        self.space.pair(query.to_slice().expect("standard layout"), self.space.row(row))
    }
}

/// `f(query, distances)` for each query, in order: squared distances to all rows, in each of `S` spaces.
///
/// The spaces hold the same rows, and as many queries each. Where `own` gives a query's own row, the
/// distance to it is infinite.
pub(super) fn scan<const S: usize, T: Send>(
    asked: [&Asked<'_>; S],
    own: Option<&[usize]>,
    name: &str,
    progress: &Progress,
    f: impl Fn(usize, [&[f32]; S]) -> T + Sync,
) -> Result<Vec<T>, ReduceError> {
    let [first, ..] = asked.as_slice() else { return Ok(Vec::new()) };
    let (n, m) = (first.space.n_rows(), first.queries.nrows());
    let task = progress.task(name, m as u64);
    task.advance(0)?;
    if n == 0 {
        return Ok(Vec::new());
    }
    let block = (BLOCK_VALUES / n).clamp(2 * QUERIES, MOST_QUERIES);
    let starts: Vec<usize> = (0..m).step_by(block).collect();
    let buffers = || [(); S].map(|()| Vec::<f32>::new());
    let parts: Result<Vec<Vec<T>>, Cancelled> = starts
        .into_par_iter()
        .map_init(buffers, |buffers, start| {
            task.advance(0)?;
            let count = block.min(m - start);
            for (asked, buffer) in asked.iter().zip(buffers.iter_mut()) {
                buffer.resize(count * n, 0.0);
                let queries: Vec<&[f32]> = (start..start + count)
                    .map(|query| asked.queries.row(query).to_slice().expect("standard layout"))
                    .collect();
                asked.space.distances(&queries, buffer);
                for (query, distances) in buffer.chunks_exact_mut(n).enumerate() {
                    if let Some(own) = own {
                        distances[own[start + query]] = f32::INFINITY;
                    }
                }
            }
            let result = (0..count)
                .map(|query| f(start + query, std::array::from_fn(|s| &buffers[s][query * n..(query + 1) * n])))
                .collect();
            task.advance(count as u64)?;
            Ok(result)
        })
        .collect();
    Ok(parts?.into_iter().flatten().collect())
}

/// The `k` nearest of all rows, nearest first; fewer if there are not as many at a finite distance.
pub(super) fn nearest(distances: &[f32], k: usize) -> Vec<u32> {
    if k == 0 {
        return Vec::new();
    }
    let mut close = Arch::new().dispatch(Closest { distances, k });
    close.sort_unstable();
    close.truncate(k);
    close.into_iter().map(|key| key as u32).collect()
}

/// Finds the `k` nearest and perhaps some more, as keys of distance and row number.
struct Closest<'a> {
    distances: &'a [f32],
    k: usize,
}

impl NullaryFnOnce for Closest<'_> {
    type Output = Vec<u64>;

    #[inline(always)]
    fn call(self) -> Vec<u64> {
        let limit = 2 * self.k + 64;
        let mut close: Vec<u64> = Vec::with_capacity(limit + LANES);
        let mut cut = f32::INFINITY;
        let (chunks, rest) = self.distances.as_chunks::<LANES>();
        for (c, chunk) in chunks.iter().enumerate() {
            // Most chunks hold nothing near: one vector comparison decides.
            let nearer: u32 = chunk.iter().map(|&distance| u32::from(distance < cut)).sum();
            if nearer > 0 {
                take_close(chunk, c * LANES, cut, &mut close);
                if close.len() >= limit {
                    cut = tighten(&mut close, self.k);
                }
            }
        }
        take_close(rest, chunks.len() * LANES, cut, &mut close);
        close
    }
}

fn take_close(distances: &[f32], first: usize, cut: f32, close: &mut Vec<u64>) {
    for (row, &distance) in distances.iter().enumerate() {
        if distance < cut {
            // Bits of numbers that are not negative sort as the numbers do; the row number breaks ties.
            close.push((u64::from(distance.to_bits()) << 32) | (first + row) as u64);
        }
    }
}

/// Keeps the `k` nearest. Rows to come have higher numbers, so only a distance below the returned one,
/// the farthest kept, puts them among these.
fn tighten(close: &mut Vec<u64>, k: usize) -> f32 {
    let (_, kth, _) = close.select_nth_unstable(k - 1);
    let cut = f32::from_bits((*kth >> 32) as u32);
    close.truncate(k);
    cut
}

/// The rank of `row` by distance, 1 for the nearest.
pub(super) fn rank(distances: &[f32], row: u32) -> usize {
    let row = row as usize;
    let distance = distances[row];
    let nearer = Nearer { before: &distances[..row], after: &distances[row + 1..], distance };
    Arch::new().dispatch(nearer) as usize + 1
}

/// How many come before the row between `before` and `after`.
struct Nearer<'a> {
    before: &'a [f32],
    after: &'a [f32],
    distance: f32,
}

impl NullaryFnOnce for Nearer<'_> {
    type Output = u32;

    #[inline(always)]
    fn call(self) -> u32 {
        let before: u32 = self.before.iter().map(|&other| u32::from(other <= self.distance)).sum();
        let after: u32 = self.after.iter().map(|&other| u32::from(other < self.distance)).sum();
        before + after
    }
}

#[cfg(test)]
mod tests {
    use tlc_core::rng::Stream;

    use super::*;

    /// Distances that `scan` hands out for every row, and by the plain sum.
    fn check(n: usize, d: usize) {
        let noise = Stream::new(4, "test");
        let rows = Array2::from_shape_fn((n, d), |(i, j)| noise.normal(i as u64, j as u64) as f32);
        let space = Space::new(rows.view());
        let own: Vec<usize> = (0..n).collect();
        let asked = Asked::rows(&space, &own);
        let all = scan([&asked], Some(&own), "test", &Progress::default(), |_, [distances]| distances.to_vec())
            .expect("not cancelled");
        for (i, distances) in all.iter().enumerate() {
            for (j, &distance) in distances.iter().enumerate() {
                if i == j {
                    assert_eq!(distance, f32::INFINITY);
                    continue;
                }
                let plain: f64 = rows.row(i).iter().zip(rows.row(j)).map(|(x, y)| f64::from(x - y).powi(2)).sum();
                assert!((f64::from(distance) - plain).abs() <= 1e-5 * plain, "{i} to {j}: {distance}, not {plain}");
                assert_eq!(distance, all[j][i], "the same both ways round");
                assert_eq!(distance, space.between(i, j), "the same alone");
            }
        }
    }

    #[test]
    fn distances_agree_with_the_plain_sum() {
        check(70, 2);
        check(70, 15);
        check(67, 16);
        check(131, 49);
        check(1, 3);
    }

    #[test]
    fn nearest_and_rank_agree_with_sorting() {
        let noise = Stream::new(5, "test");
        // Few different values: many ties.
        for values in [3, 50, 1_000_000] {
            let mut distances: Vec<f32> = (0..1500).map(|i| noise.below(values, i, 0) as f32).collect();
            distances[77] = f32::INFINITY;
            let mut sorted: Vec<u32> = (0..1500).filter(|&i| i != 77).collect();
            sorted.sort_by(|&a, &b| distances[a as usize].total_cmp(&distances[b as usize]));
            for k in [0, 1, 10, 150, 1499, 2000] {
                assert_eq!(nearest(&distances, k), sorted[..k.min(1499)]);
            }
            for (place, &row) in sorted.iter().enumerate() {
                assert_eq!(rank(&distances, row), place + 1);
            }
        }
    }

    #[test]
    fn a_scan_can_be_cancelled() {
        let rows = Array2::<f32>::zeros((10, 2));
        let space = Space::new(rows.view());
        let progress = Progress::default();
        progress.cancel();
        let result = scan([&Asked::rows(&space, &[1, 2])], None, "test", &progress, |_, _| ());
        assert!(matches!(result, Err(ReduceError::Cancelled(_))));
    }
}
