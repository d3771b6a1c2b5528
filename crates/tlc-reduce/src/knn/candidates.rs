//! The rows that may be among the `k` nearest of each query of a block.
//!
//! `|x - y|² = |x|² + |y|² - 2 x·y` lets a matrix product do the work, but it cancels, and its
//! rounding depends on how a BLAS cuts the matrices. So products only *exclude*: each gives a lower
//! and an upper bound of `|y|² - 2 x·y`, and a row is dropped when its lower bound is above the k-th
//! smallest upper bound. Distances of the few that remain are computed directly. The result is that
//! of sorting directly computed distances, whatever the BLAS, the blocks and the threads.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2, linalg::general_mat_mul, s};

use super::rows::Rows;
use crate::simd::vectorised;

const LANES: usize = 16;
/// Rows in one matrix product.
pub(super) const BLOCK_ROWS: usize = 512;
/// From here on candidates are decided by direct distances.
const TOO_MANY: usize = 2048;

/// How far a product's `|y|² - 2 x·y` and the directly computed one can differ.
///
/// Each of the two sums has `d` terms and relative error at most `d · ε` of the sum of magnitudes
/// (Higham 2002, section 3.1), which is at most `(|x| + |y|)²`.
pub(super) fn product_error(n_features: usize, norm: f32, other_norm: f32) -> f32 {
    let terms = n_features as f64 + 4.0;
    let magnitude = (f64::from(norm) + f64::from(other_norm)).powi(2);
    (2.0 * terms * f64::from(f32::EPSILON) * magnitude) as f32
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    lower: f32,
    upper: f32,
    id: u32,
}

/// Candidates of a block of queries.
#[derive(Debug)]
pub(super) struct Candidates {
    /// How many are certainly kept.
    k: usize,
    /// Farther than this is certainly not among the k nearest, `(n_queries,)`.
    cuts: Vec<f32>,
    close: Vec<Vec<Candidate>>,
    /// When to drop what has become too far, `(n_queries,)`.
    limits: Vec<usize>,
    /// Entries of a product that may be close: query and other row.
    hits: Vec<(u32, u32)>,
}

impl Candidates {
    pub(super) fn new(n_queries: usize, k: usize) -> Self {
        Self {
            k,
            cuts: vec![f32::INFINITY; n_queries],
            close: (0..n_queries).map(|_| Vec::new()).collect(),
            limits: vec![slots(k); n_queries],
            hits: Vec::new(),
        }
    }

    /// Offers the columns of `product` (`-2 x·y`, one row per query) to its rows.
    ///
    /// `norms` are the squared lengths of the columns' rows, `id_of` their numbers; no product is off
    /// by more than `error`.
    pub(super) fn offer_columns(
        &mut self,
        product: ArrayView2<'_, f32>,
        norms: &[f32],
        error: f32,
        id_of: impl Fn(usize) -> u32,
        direct: &impl Fn(usize, u32) -> f32,
    ) {
        let mut hits = std::mem::take(&mut self.hits);
        hits_in_rows(product, norms, &self.cuts, error, &mut hits);
        for &(query, other) in &hits {
            let (query, other) = (query as usize, other as usize);
            self.push(query, product[[query, other]] + norms[other], error, id_of(other), direct);
        }
        self.hits = hits;
    }

    /// Offers the rows of `product` to its columns: the other half of a symmetric search.
    pub(super) fn offer_rows(
        &mut self,
        product: ArrayView2<'_, f32>,
        norms: &[f32],
        error: f32,
        id_of: impl Fn(usize) -> u32,
        direct: &impl Fn(usize, u32) -> f32,
    ) {
        let mut hits = std::mem::take(&mut self.hits);
        hits_in_columns(product, norms, &self.cuts, error, &mut hits);
        for &(query, other) in &hits {
            let (query, other) = (query as usize, other as usize);
            self.push(query, product[[other, query]] + norms[other], error, id_of(other), direct);
        }
        self.hits = hits;
    }

    #[inline]
    fn push(&mut self, query: usize, value: f32, error: f32, id: u32, direct: &impl Fn(usize, u32) -> f32) {
        // The cut may have come nearer since this was found.
        if value - error <= self.cuts[query] {
            self.close[query].push(Candidate { lower: value - error, upper: value + error, id });
            if self.close[query].len() >= self.limits[query] {
                self.tighten(query);
                if self.close[query].len() > TOO_MANY.max(8 * self.k) {
                    self.resolve(query, direct);
                }
            }
        }
    }

    /// Decides among candidates that products cannot tell apart, such as duplicates: keeps the nearest by
    /// direct distances. Where these are all zero no other row can be nearer, and no more are looked at.
    #[cold]
    fn resolve(&mut self, query: usize, direct: &impl Fn(usize, u32) -> f32) {
        let close = &mut self.close[query];
        let distances: Vec<f32> = close.iter().map(|candidate| direct(query, candidate.id)).collect();
        let mut order: Vec<usize> = (0..close.len()).collect();
        order.sort_by(|&a, &b| distances[a].total_cmp(&distances[b]).then(close[a].id.cmp(&close[b].id)));
        order.truncate(self.k);
        let farthest = order.last().map_or(0.0, |&last| distances[last]);
        *close = order.into_iter().map(|at| close[at]).collect();
        self.cuts[query] = if farthest == 0.0 { f32::NEG_INFINITY } else { self.cuts[query] };
        self.limits[query] = slots(self.k);
    }

    fn tighten(&mut self, query: usize) {
        let close = &mut self.close[query];
        if close.len() <= self.k || self.cuts[query] == f32::NEG_INFINITY {
            return;
        }
        let (_, kth, _) = close.select_nth_unstable_by(self.k - 1, |a, b| a.upper.total_cmp(&b.upper));
        let cut = kth.upper;
        close.retain(|candidate| candidate.lower <= cut);
        self.cuts[query] = cut;
        // Many ties may remain; do not look at them again for every newcomer.
        self.limits[query] = (2 * close.len()).max(slots(self.k));
    }

    /// The candidates of `query`, of which none is certainly too far; it has none afterwards.
    pub(super) fn take(&mut self, query: usize) -> impl Iterator<Item = u32> + '_ {
        self.tighten(query);
        self.close[query].drain(..).map(|candidate| candidate.id)
    }
}

/// A block of queries that is compared with blocks of rows, one matrix product each.
pub(super) struct Comparison<'a> {
    queries: ArrayView2<'a, f32>,
    /// The largest length of a query.
    norm: f32,
    product: Vec<f32>,
    candidates: Candidates,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(queries: ArrayView2<'a, f32>, k: usize) -> Self {
        Self {
            queries,
            norm: Rows::largest_norm_of(queries),
            product: Vec::new(),
            candidates: Candidates::new(queries.nrows(), k),
        }
    }

    /// Offers some of `rows`, whose numbers begin with `first_id`; `direct` gives the squared distance of a query and the
    /// row with a number.
    pub(super) fn offer(
        &mut self,
        rows: &Rows,
        range: Range<usize>,
        first_id: u32,
        direct: &impl Fn(usize, u32) -> f32,
    ) {
        for start in range.clone().step_by(BLOCK_ROWS) {
            let block = start..(start + BLOCK_ROWS).min(range.end);
            // A product's rows lie together, which is faster to look through.
            let shape = (self.queries.nrows(), block.len());
            let n_values = shape.0 * shape.1;
            self.product.resize(n_values.max(self.product.len()), 0.0);
            let product = ArrayViewMut2::from_shape(shape, &mut self.product[..n_values]);
            let mut product = product.expect("as many values");
            general_mat_mul(-2.0, &self.queries, &rows.view().slice(s![block.clone(), ..]).t(), 0.0, &mut product);
            let error = product_error(self.queries.ncols(), self.norm, rows.largest_norm(block.clone()));
            let norms = &rows.squared_norms()[block];
            let id_of = |at: usize| first_id + (start - range.start + at) as u32;
            self.candidates.offer_columns(product.view(), norms, error, id_of, direct);
        }
    }

    /// Those of all rows that were offered.
    pub(super) fn finish(self) -> Candidates {
        self.candidates
    }
}

/// Room for candidates before the first look at them.
fn slots(k: usize) -> usize {
    2 * k + 32
}

/// Finds the entries with `product + norm of the column - error` at most the row's cut.
fn hits_in_rows(product: ArrayView2<'_, f32>, norms: &[f32], cuts: &[f32], error: f32, hits: &mut Vec<(u32, u32)>) {
    assert!(product.nrows() <= cuts.len() && product.ncols() == norms.len());
    hits.clear();
    let (norm_chunks, norm_rest) = norms.as_chunks::<LANES>();
    vectorised(
        #[inline(always)]
        || {
            for (query, row) in product.outer_iter().enumerate() {
                let (chunks, rest) = row.to_slice().expect(CONTIGUOUS).as_chunks::<LANES>();
                let cut = cuts[query] + error;
                for (at, (p, n)) in chunks.iter().zip(norm_chunks).enumerate() {
                    let mut is_close = [false; LANES];
                    for lane in 0..LANES {
                        is_close[lane] = p[lane] + n[lane] <= cut;
                    }
                    // Most chunks hold none.
                    if is_close != [false; LANES] {
                        push_lanes(&is_close, at, |lane| hits.push((query as u32, lane)));
                    }
                }
                for (lane, (p, n)) in rest.iter().zip(norm_rest).enumerate() {
                    if p + n <= cut {
                        hits.push((query as u32, (chunks.len() * LANES + lane) as u32));
                    }
                }
            }
        },
    );
}

/// Finds the entries with `product + norm of the row - error` at most the column's cut.
fn hits_in_columns(product: ArrayView2<'_, f32>, norms: &[f32], cuts: &[f32], error: f32, hits: &mut Vec<(u32, u32)>) {
    assert!(product.ncols() <= cuts.len() && product.nrows() == norms.len());
    hits.clear();
    let (cut_chunks, cut_rest) = cuts[..product.ncols()].as_chunks::<LANES>();
    vectorised(
        #[inline(always)]
        || {
            for (other, row) in product.outer_iter().enumerate() {
                let (chunks, rest) = row.to_slice().expect(CONTIGUOUS).as_chunks::<LANES>();
                let norm = norms[other] - error;
                for (at, (p, c)) in chunks.iter().zip(cut_chunks).enumerate() {
                    let mut is_close = [false; LANES];
                    for lane in 0..LANES {
                        is_close[lane] = p[lane] + norm <= c[lane];
                    }
                    if is_close != [false; LANES] {
                        push_lanes(&is_close, at, |lane| hits.push((lane, other as u32)));
                    }
                }
                for (lane, (p, c)) in rest.iter().zip(cut_rest).enumerate() {
                    if p + norm <= *c {
                        hits.push(((chunks.len() * LANES + lane) as u32, other as u32));
                    }
                }
            }
        },
    );
}

const CONTIGUOUS: &str = "products have contiguous rows";

#[inline(always)]
fn push_lanes(is_close: &[bool; LANES], chunk: usize, mut push: impl FnMut(u32)) {
    for (lane, is_close) in is_close.iter().enumerate() {
        if *is_close {
            push((chunk * LANES + lane) as u32);
        }
    }
}
