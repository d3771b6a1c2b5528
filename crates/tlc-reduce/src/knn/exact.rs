//! All distances, by blocked matrix products.
//!
//! `|x - y|² = |x|² + |y|² - 2 x·y` lets a matrix product do the work, but it cancels, and its
//! rounding depends on how a BLAS cuts the matrices. So the product only *excludes*: a candidate is
//! dropped when it is farther than the k-th nearest by more than twice a bound on the product's
//! error. Distances of the few that remain are computed directly. The result is that of sorting
//! directly computed distances, whatever the BLAS, the blocks and the threads.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, linalg::general_mat_mul, s};
use rayon::prelude::*;
use tlc_core::{Cancelled, Progress, ReduceError};

use super::{Nearest, Neighbours};
use crate::blas::SingleThreadedBlas;
use crate::distance::squared_euclidean;

const QUERY_BLOCK: usize = 256;
const ROW_BLOCK: usize = 2048;

/// Answers queries by looking at every row.
#[derive(Debug)]
pub struct ExactIndex {
    rows: Array2<f32>,
    squared_norms: Vec<f32>,
    largest_norm: f64,
}

impl ExactIndex {
    /// An index of `rows`, `(n, d)`.
    pub fn new(rows: Array2<f32>) -> Self {
        let rows = if rows.is_standard_layout() { rows } else { rows.as_standard_layout().into_owned() };
        let norm = |row: ndarray::ArrayView1<'_, f32>| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let squared: Vec<f64> = rows.outer_iter().map(norm).collect();
        let largest_norm = squared.iter().copied().fold(0.0, f64::max).sqrt();
        Self { squared_norms: squared.iter().map(|x| *x as f32).collect(), largest_norm, rows }
    }

    /// The rows it was built on.
    pub fn rows(&self) -> ArrayView2<'_, f32> {
        self.rows.view()
    }

    pub(super) fn graph(&self, k: usize, progress: &Progress) -> Result<Neighbours, ReduceError> {
        self.search(self.rows.view(), k, true, progress)
    }

    pub(super) fn query(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
        progress: &Progress,
    ) -> Result<Neighbours, ReduceError> {
        let queries = queries.as_standard_layout();
        self.search(queries.view(), k, false, progress)
    }

    fn search(
        &self,
        queries: ArrayView2<'_, f32>,
        k: usize,
        leave_out_self: bool,
        progress: &Progress,
    ) -> Result<Neighbours, ReduceError> {
        let _single = SingleThreadedBlas::begin();
        let task = progress.task("nearest neighbours", queries.nrows() as u64);
        let product = || Array2::<f32>::zeros((QUERY_BLOCK, ROW_BLOCK));
        let blocks: Vec<_> = queries.axis_chunks_iter(Axis(0), QUERY_BLOCK).enumerate().collect();
        let lists: Result<Vec<_>, Cancelled> = blocks
            .into_par_iter()
            .map_init(product, |product, (block, queries)| {
                let first = leave_out_self.then_some(block * QUERY_BLOCK);
                let lists = self.search_block(queries, first, k, product.view_mut());
                task.advance(queries.nrows() as u64)?;
                Ok(lists)
            })
            .collect();
        Ok(Neighbours::from_lists(lists?.into_iter().flatten().collect(), k))
    }

    /// Neighbours of some queries; `first_row` is the first one's own row number, to be left out.
    fn search_block(
        &self,
        queries: ArrayView2<'_, f32>,
        first_row: Option<usize>,
        k: usize,
        mut product: ArrayViewMut2<'_, f32>,
    ) -> Vec<Vec<(f32, u32)>> {
        let mut candidates: Vec<Candidates> =
            queries.outer_iter().map(|query| Candidates::new(k, self.product_error(query))).collect();
        for (block, rows) in self.rows.axis_chunks_iter(Axis(0), ROW_BLOCK).enumerate() {
            let start = block * ROW_BLOCK;
            let norms = &self.squared_norms[start..start + rows.nrows()];
            let mut product = product.slice_mut(s![..queries.nrows(), ..rows.nrows()]);
            general_mat_mul(-2.0, &queries, &rows.t(), 0.0, &mut product);
            for (q, candidates) in candidates.iter_mut().enumerate() {
                let own = first_row.map(|first| first + q);
                candidates.scan(product.row(q).as_slice().expect("rows are contiguous"), norms, start, own);
            }
        }
        candidates
            .into_iter()
            .zip(queries.outer_iter())
            .map(|(candidates, query)| {
                let query = query.as_slice().expect("rows are contiguous");
                let mut nearest = Nearest::new(k);
                for (_, id) in candidates.close {
                    let row = self.rows.row(id as usize);
                    nearest.offer(squared_euclidean(query, row.as_slice().expect("rows are contiguous")), id);
                }
                nearest.kept
            })
            .collect()
    }

    /// A bound on how far `|y|² - 2 x·y` by products and direct computation can differ, for any row `y`.
    ///
    /// Each of the two sums has d terms and relative error at most `d · ε` of the sum of magnitudes
    /// (Higham 2002, section 3.1), which is at most `(|x| + |y|)²`.
    fn product_error(&self, query: ndarray::ArrayView1<'_, f32>) -> f32 {
        let norm = query.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let terms = self.rows.ncols() as f64 + 4.0;
        (2.0 * terms * f64::from(f32::EPSILON) * (norm + self.largest_norm).powi(2)) as f32
    }
}

/// The rows that may be among the k nearest of one query, by approximate distance.
struct Candidates {
    k: usize,
    slack: f32,
    /// Farther than this is certainly not among the k nearest.
    cut: f32,
    close: Vec<(f32, u32)>,
    /// When to drop what has become too far.
    limit: usize,
}

impl Candidates {
    fn new(k: usize, error: f32) -> Self {
        Self { k, slack: 2.0 * error, cut: f32::INFINITY, close: Vec::new(), limit: 2 * k + 64 }
    }

    fn scan(&mut self, product: &[f32], norms: &[f32], start: usize, own: Option<usize>) {
        const LANES: usize = 16;
        assert_eq!(product.len(), norms.len());
        for (chunk, (p, n)) in product.chunks(LANES).zip(norms.chunks(LANES)).enumerate() {
            // Most chunks hold nothing close: one vector comparison decides.
            let least = p.iter().zip(n).fold(f32::INFINITY, |least, (p, n)| if p + n < least { p + n } else { least });
            if least > self.cut {
                continue;
            }
            for (lane, (p, n)) in p.iter().zip(n).enumerate() {
                let id = start + chunk * LANES + lane;
                if p + n <= self.cut && Some(id) != own {
                    self.close.push((p + n, id as u32));
                }
            }
            if self.close.len() >= self.limit {
                self.tighten();
            }
        }
    }

    fn tighten(&mut self) {
        let (_, kth, _) = self.close.select_nth_unstable_by(self.k - 1, |a, b| a.0.total_cmp(&b.0));
        self.cut = kth.0 + self.slack;
        let cut = self.cut;
        self.close.retain(|(distance, _)| *distance <= cut);
        // Many ties may remain; do not look at them again for every newcomer.
        self.limit = (2 * self.close.len()).max(2 * self.k + 64);
    }
}
