//! The largest eigenvectors of a piece's normalised adjacency, after the constant one.
//!
//! Small pieces: LAPACK. Larger ones: subspace iteration with a Chebyshev filter (Zhou, Saad, Tiago,
//! Chelikowsky 2006, algorithm 4.1): a polynomial of the matrix that is small on the unwanted part of the
//! spectrum, from −1 to the smallest value that the block holds, and grows fastest above it; then a
//! Rayleigh-Ritz step. Eight vectors move together, so that each edge is read once for all of them, and
//! each row's sum is its own: the same bits for any number of threads. Lanczos needs more memory (scipy's
//! default for umap-learn keeps √n vectors) and its single vectors use a fraction of each loaded line.

use ndarray::{Array1, Array2, s};
use ndarray_linalg::{Eigh, UPLO};
use rayon::prelude::*;
use tlc_core::rng::Stream;
use tlc_core::{Progress, ReduceError};

use super::pieces::Piece;
use crate::blas::SingleThreadedBlas;
use crate::simd::vectorised;

/// Vectors that are iterated together: more than are wanted, since those beyond set the filter's speed.
const WIDTH: usize = 8;
/// Up to here by LAPACK.
const DENSE_UP_TO: usize = 200;
const BLOCK_ROWS: usize = 1024;
/// The filter amplifies wanted over unwanted by about `e` to this per iteration: more would make the
/// vectors parallel in single precision.
const AMPLIFICATION: f64 = 4.0;
const DEGREES: std::ops::RangeInclusive<f64> = 4.0..=120.0;
/// Edges that are visited, and products with the matrix, before the search is given up: Fashion-MNIST's
/// 60,000 rows take under a hundred products, a ring of thousands (whose eigenvalues lie closest) about a
/// thousand.
const MOST_VISITS: usize = 3_000_000_000;
const MOST_PRODUCTS: std::ops::RangeInclusive<usize> = 150..=1200;
/// Wanted and accepted residuals, relative to the eigenvalue of the Laplacian, `1 - value`: a start for a
/// layout needs no more.
const WANTED: f64 = 0.1;
const ACCEPTED: f64 = 0.5;
/// Below this a residual is rounding.
const ROUNDING: f64 = 2e-6;

type Row = [f32; WIDTH];

/// The `D` eigenvectors, `(n, D)`, of the largest eigenvalues below the first; `None` if the search did not
/// converge, or if there are too few. Each one's entry of largest magnitude is positive.
pub(super) fn eigenvectors<const D: usize>(
    piece: &Piece,
    seed: u64,
    progress: &Progress,
) -> Result<Option<Vec<[f32; D]>>, ReduceError> {
    if piece.n_points() <= D {
        return Ok(None);
    }
    let _single = SingleThreadedBlas::begin();
    let vectors =
        if piece.n_points() <= DENSE_UP_TO { Some(dense(piece)?) } else { filtered(piece, D, seed, progress)? };
    Ok(vectors.map(|mut vectors| {
        for d in 0..D {
            let largest = vectors.iter().fold(0.0_f32, |best, v| if v[d].abs() > best.abs() { v[d] } else { best });
            if largest < 0.0 {
                vectors.iter_mut().for_each(|v| v[d] = -v[d]);
            }
        }
        vectors
    }))
}

fn eigh(matrix: &Array2<f64>) -> Result<(Array1<f64>, Array2<f64>), ReduceError> {
    matrix.eigh(UPLO::Lower).map_err(|error| ReduceError::backend("compute the eigenvectors of the graph", error))
}

fn dense<const D: usize>(piece: &Piece) -> Result<Vec<[f32; D]>, ReduceError> {
    let n = piece.n_points();
    let mut matrix = Array2::<f64>::zeros((n, n));
    for i in 0..n {
        for e in piece.offsets[i]..piece.offsets[i + 1] {
            matrix[[i, piece.targets[e] as usize]] = f64::from(piece.weights[e]);
        }
    }
    let (_, vectors) = eigh(&matrix)?;
    // LAPACK sorts ascending; the last is the constant one.
    Ok((0..n).map(|i| std::array::from_fn(|d| vectors[[i, n - 2 - d]] as f32)).collect())
}

fn filtered<const D: usize>(
    piece: &Piece,
    n_wanted: usize,
    seed: u64,
    progress: &Progress,
) -> Result<Option<Vec<[f32; D]>>, ReduceError> {
    let n = piece.n_points();
    let start = Stream::new(seed, "umap-spectral-start");
    let mut block: Vec<Row> = (0..n as u64)
        .into_par_iter()
        .map(|i| std::array::from_fn(|column| start.uniform(i, column as u64) as f32 - 0.5))
        .collect();
    let (mut before, mut image) = (vec![[0.0; WIDTH]; n], vec![[0.0; WIDTH]; n]);
    // The upper end of what the filter suppresses.
    let mut edge = 0.9_f64;
    let mut n_products = 0;
    let most_products = (MOST_VISITS / piece.targets.len()).clamp(*MOST_PRODUCTS.start(), *MOST_PRODUCTS.end());
    loop {
        remove_constant(piece, &mut block);
        let growth = (1.0 + 2.0 * (1.0 - edge) / (1.0 + edge)).acosh();
        let degree = (AMPLIFICATION / growth).clamp(*DEGREES.start(), *DEGREES.end()) as usize;
        // T(k+1) = 2·M·T(k) - T(k-1), where M maps the suppressed part to -1..=1.
        let (centre, half_width) = ((edge - 1.0) / 2.0, (edge + 1.0) / 2.0);
        before.copy_from_slice(&block);
        product(piece, &before, &mut block, 1.0 / half_width, -centre / half_width, 0.0);
        for _ in 1..degree {
            product(piece, &block, &mut before, 2.0 / half_width, -2.0 * centre / half_width, -1.0);
            std::mem::swap(&mut block, &mut before);
            progress.check()?;
        }
        n_products += degree + 1;
        remove_constant(piece, &mut block);
        product(piece, &block, &mut image, 1.0, 0.0, 0.0);
        let (values, rotation) = ritz(&block, &image)?;
        rotate(&mut block, &rotation);
        rotate(&mut image, &rotation);
        let residuals = residuals(&block, &image, &values);
        let within = |limit: f64| (0..n_wanted).all(|d| residuals[d] <= limit * (1.0 - values[d]) + ROUNDING);
        if within(WANTED) || (n_products >= most_products && within(ACCEPTED)) {
            return Ok(Some(block.iter().map(|row| std::array::from_fn(|d| row[d])).collect()));
        }
        if n_products >= most_products {
            return Ok(None);
        }
        edge = values[WIDTH - 1].clamp(0.0, 1.0 - 1e-7);
    }
}

/// `target = scale · (matrix · block) + shift · block + keep · target`.
fn product(piece: &Piece, block: &[Row], target: &mut [Row], scale: f64, shift: f64, keep: f64) {
    let (scale, shift, keep) = (scale as f32, shift as f32, keep as f32);
    target.par_chunks_mut(BLOCK_ROWS).enumerate().for_each(|(chunk, target)| {
        vectorised(
            #[inline(always)]
            || {
                let first = chunk * BLOCK_ROWS;
                for (i, target) in (first..).zip(target) {
                    let edges = piece.offsets[i]..piece.offsets[i + 1];
                    let mut sum = [0.0_f32; WIDTH];
                    for (&j, &weight) in piece.targets[edges.clone()].iter().zip(&piece.weights[edges]) {
                        let other = &block[j as usize];
                        for column in 0..WIDTH {
                            sum[column] = weight.mul_add(other[column], sum[column]);
                        }
                    }
                    let here = &block[i];
                    for column in 0..WIDTH {
                        // Not what is left of an earlier product, which may not be a number.
                        let kept = if keep == 0.0 { 0.0 } else { keep * target[column] };
                        target[column] = scale * sum[column] + shift * here[column] + kept;
                    }
                }
            },
        );
    });
}

/// The sum of `f` over blocks of rows, in order.
fn sums<const N: usize>(n: usize, f: impl Fn(usize, &mut [f64; N]) + Sync) -> [f64; N] {
    let parts: Vec<[f64; N]> = (0..n.div_ceil(BLOCK_ROWS))
        .into_par_iter()
        .map(|block| {
            let mut sums = [0.0; N];
            (block * BLOCK_ROWS..n.min((block + 1) * BLOCK_ROWS)).for_each(|i| f(i, &mut sums));
            sums
        })
        .collect();
    parts.into_iter().fold([0.0; N], |total, part| std::array::from_fn(|at| total[at] + part[at]))
}

fn remove_constant(piece: &Piece, block: &mut [Row]) {
    let shares: [f64; WIDTH] = sums(block.len(), |i, sums: &mut [f64; WIDTH]| {
        for column in 0..WIDTH {
            sums[column] += f64::from(piece.constant[i] * block[i][column]);
        }
    });
    block.par_iter_mut().zip(&piece.constant).with_min_len(BLOCK_ROWS).for_each(|(row, &constant)| {
        for column in 0..WIDTH {
            row[column] -= shares[column] as f32 * constant;
        }
    });
}

/// The Ritz values, largest first, and the matrix that takes the block to the Ritz vectors.
fn ritz(block: &[Row], image: &[Row]) -> Result<([f64; WIDTH], Array2<f64>), ReduceError> {
    let product_of = |left: &[Row], right: &[Row]| -> Array2<f64> {
        let sums: [f64; WIDTH * WIDTH] = sums(left.len(), |i, sums: &mut [f64; WIDTH * WIDTH]| {
            for a in 0..WIDTH {
                for b in 0..WIDTH {
                    sums[a * WIDTH + b] += f64::from(left[i][a]) * f64::from(right[i][b]);
                }
            }
        });
        Array2::from_shape_fn((WIDTH, WIDTH), |(a, b)| sums[a * WIDTH + b])
    };
    let (lengths, axes) = eigh(&product_of(block, block))?;
    let least = (1e-12 * lengths[WIDTH - 1]).max(f64::MIN_POSITIVE);
    let whiten = &axes * &lengths.mapv(|length| 1.0 / length.max(least).sqrt());
    let inner = product_of(block, image);
    let inner = whiten.t().dot(&((&inner + &inner.t()) / 2.0)).dot(&whiten);
    let (values, vectors) = eigh(&inner)?;
    Ok((std::array::from_fn(|at| values[WIDTH - 1 - at]), whiten.dot(&vectors.slice(s![.., ..;-1]))))
}

fn rotate(block: &mut [Row], rotation: &Array2<f64>) {
    let rotation: [[f32; WIDTH]; WIDTH] = std::array::from_fn(|a| std::array::from_fn(|b| rotation[[a, b]] as f32));
    block.par_iter_mut().with_min_len(BLOCK_ROWS).for_each(|row| {
        let old = *row;
        *row = [0.0; WIDTH];
        for (value, axis) in old.iter().zip(&rotation) {
            for column in 0..WIDTH {
                row[column] += value * axis[column];
            }
        }
    });
}

/// The length of `image - value · vector` for each column.
fn residuals(block: &[Row], image: &[Row], values: &[f64; WIDTH]) -> [f64; WIDTH] {
    let squares: [f64; WIDTH] = sums(block.len(), |i, sums: &mut [f64; WIDTH]| {
        for column in 0..WIDTH {
            sums[column] += (f64::from(image[i][column]) - values[column] * f64::from(block[i][column])).powi(2);
        }
    });
    squares.map(f64::sqrt)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn columns(vectors: &[[f32; 2]]) -> [Vec<f32>; 2] {
        std::array::from_fn(|d| vectors.iter().map(|v| v[d]).collect())
    }

    /// The two vectors by LAPACK.
    pub(in super::super) fn dense_subspace(piece: &Piece) -> [Vec<f32>; 2] {
        columns(&dense(piece).expect("LAPACK works"))
    }

    /// The two vectors by iteration.
    pub(in super::super) fn filtered_subspace(piece: &Piece) -> [Vec<f32>; 2] {
        columns(&filtered(piece, 2, 3, &Progress::default()).expect("not cancelled").expect("converges"))
    }
}
