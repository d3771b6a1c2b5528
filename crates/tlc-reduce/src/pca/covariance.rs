//! `Σ (x - mean)(x - mean)ᵀ` of all rows, by matrix products.
//!
//! It is symmetric, so that only tiles on and above its diagonal are computed: with five tiles a side 60 % of the
//! work. Rows go in blocks, whose products are added up in double precision, in order: the same bits for any number
//! of threads.

use ndarray::{Array1, Array2, ArrayView2, s};
use rayon::prelude::*;
use tlc_core::{Cancelled, Task};

/// Rows in one product: long enough that adding up its result costs little.
const BLOCK_ROWS: usize = 4096;
/// About the columns of a tile: small enough to leave out much, large enough for a product to be fast.
const TILE_COLUMNS: usize = 160;
/// So many at least, so that several threads have about the same to do.
const LEAST_TILES: usize = 3;

/// How many blocks of rows [`covariance`] reports.
pub(super) fn n_blocks(n: usize) -> usize {
    n.div_ceil(BLOCK_ROWS)
}

/// Of `data`, `(n, d)`: `(d, d)`, not divided by `n`.
pub(super) fn covariance(data: ArrayView2<'_, f32>, mean: &Array1<f64>, task: &Task) -> Result<Array2<f64>, Cancelled> {
    let d = data.ncols();
    let mean = mean.mapv(|x| x as f32);
    let n_tiles = d.div_ceil(TILE_COLUMNS).max(LEAST_TILES).min(d);
    let columns = |tile: usize| tile * d / n_tiles..(tile + 1) * d / n_tiles;
    let mut tiles: Vec<(usize, usize, Array2<f64>)> = (0..n_tiles)
        .flat_map(|i| (i..n_tiles).map(move |j| (i, j)))
        .map(|(i, j)| (i, j, Array2::zeros((columns(i).len(), columns(j).len()))))
        .collect();
    let mut centred = Array2::<f32>::zeros((BLOCK_ROWS.min(data.nrows()), d));
    for block in data.axis_chunks_iter(ndarray::Axis(0), BLOCK_ROWS) {
        let mut centred = centred.slice_mut(s![..block.nrows(), ..]);
        ndarray::Zip::from(centred.rows_mut()).and(block.rows()).par_for_each(|mut target, row| {
            target.zip_mut_with(&row, |target, &value| *target = value);
            target -= &mean;
        });
        let centred = centred.view();
        tiles.par_iter_mut().for_each(|(i, j, sum)| {
            let part = centred.slice(s![.., columns(*i)]).t().dot(&centred.slice(s![.., columns(*j)]));
            sum.zip_mut_with(&part, |sum, &value| *sum += f64::from(value));
        });
        task.advance(1)?;
    }
    let mut covariance = Array2::zeros((d, d));
    for (i, j, sum) in tiles {
        covariance.slice_mut(s![columns(i), columns(j)]).assign(&sum);
    }
    // Also within the tiles on the diagonal: not every processor's kernel gives both halves of these the same last bits.
    for row in 0..d {
        for column in 0..row {
            covariance[[row, column]] = covariance[[column, row]];
        }
    }
    Ok(covariance)
}

#[cfg(test)]
mod tests {
    use tlc_core::Progress;
    use tlc_core::rng::Stream;

    use super::*;

    #[test]
    fn tiles_make_the_whole_symmetric_matrix() {
        let noise = Stream::new(2, "test");
        for (n, d) in [(10, 1), (30, 2), (BLOCK_ROWS + 77, 37), (700, 2 * LEAST_TILES * TILE_COLUMNS + 5)] {
            let data = Array2::from_shape_fn((n, d), |(i, j)| 1.0 + noise.normal(i as u64, j as u64) as f32);
            let mean = crate::pca::blocks::column_means(data.view());
            let task = Progress::default().task("test", 1);
            let found = covariance(data.view(), &mean, &task).expect("not cancelled");
            let centred = data.mapv(f64::from) - &mean;
            let expected = centred.t().dot(&centred);
            for ((at, found), expected) in found.indexed_iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-4 * n as f64, "{at:?} of {n} x {d}: {found}, not {expected}");
            }
            assert_eq!(found, found.t());
        }
    }
}
