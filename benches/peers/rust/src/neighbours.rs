//! What umap-rs wants to be given: exact neighbours and a first layout.
//!
//! Plain blocked products: the peer's kNN is not what is measured, and its time is reported apart.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

const BLOCK: usize = 1024;

/// The `k` nearest rows of every row, itself the first as umap-learn counts, and their distances.
pub(crate) fn exact(rows: ArrayView2<'_, f32>, k: usize) -> (Array2<u32>, Array2<f32>) {
    let n = rows.nrows();
    let norms: Array1<f32> = rows.map_axis(Axis(1), |row| row.dot(&row));
    let (mut indices, mut distances) = (Array2::zeros((n, k)), Array2::zeros((n, k)));
    for start in (0..n).step_by(BLOCK) {
        let end = n.min(start + BLOCK);
        let products = rows.slice(s![start..end, ..]).dot(&rows.t());
        let found: Vec<Vec<(f32, u32)>> = products
            .outer_iter()
            .into_par_iter()
            .enumerate()
            .map(|(offset, products)| {
                let i = start + offset;
                let dist_sq = |j: usize| (norms[i] + norms[j] - 2.0 * products[j]).max(0.0);
                let mut all: Vec<(f32, u32)> =
                    (0..n).map(|j| (if j == i { -1.0 } else { dist_sq(j) }, j as u32)).collect();
                all.select_nth_unstable_by(k - 1, |a, b| a.0.total_cmp(&b.0));
                all.truncate(k);
                // Squares that cancel have few digits left: the few that remain are measured directly.
                for (dist_sq, j) in &mut all {
                    let other = rows.row(*j as usize);
                    let direct: f32 = rows.row(i).iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum();
                    *dist_sq = if *j as usize == i { -1.0 } else { direct };
                }
                all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
                all
            })
            .collect();
        for (i, found) in (start..end).zip(found) {
            for (rank, (dist_sq, j)) in found.into_iter().enumerate() {
                indices[(i, rank)] = j;
                distances[(i, rank)] = dist_sq.max(0.0).sqrt();
            }
        }
    }
    (indices, distances)
}

/// The first two principal components, scaled to at most 10, by subspace iteration on the covariance.
pub(crate) fn principal_components(rows: ArrayView2<'_, f32>, seed: u64) -> Array2<f32> {
    let mean = rows.mean_axis(Axis(0)).expect("there are rows");
    let centred = &rows - &mean;
    let covariance = centred.t().dot(&centred) / rows.nrows() as f32;
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut axes = Array2::from_shape_simple_fn((rows.ncols(), 2), || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    });
    for _ in 0..100 {
        axes = covariance.dot(&axes);
        let (mut first, mut second) = (axes.column(0).to_owned(), axes.column(1).to_owned());
        first /= first.dot(&first).sqrt();
        second = &second - &(&first * first.dot(&second));
        second /= second.dot(&second).sqrt();
        axes.column_mut(0).assign(&first);
        axes.column_mut(1).assign(&second);
    }
    let layout = centred.dot(&axes);
    let largest = layout.fold(0.0f32, |largest, value| largest.max(value.abs()));
    layout * (10.0 / largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_those_of_all_pairs() {
        let rows = Array2::from_shape_fn((1500, 5), |(i, j)| ((i * i * (j + 3) + 7 * i) % 1009) as f32 / 100.0);
        let (indices, distances) = exact(rows.view(), 4);
        for i in [0, 700, 1499] {
            let dist = |j: usize| (&rows.row(i) - &rows.row(j)).mapv(|x| x * x).sum().sqrt();
            let mut all: Vec<f32> = (0..1500).filter(|&j| j != i).map(dist).collect();
            all.sort_by(f32::total_cmp);
            assert_eq!((indices[(i, 0)], distances[(i, 0)]), (i as u32, 0.0));
            for rank in 1..4 {
                assert!((distances[(i, rank)] - all[rank - 1]).abs() < 1e-2);
                assert!((dist(indices[(i, rank)] as usize) - all[rank - 1]).abs() < 1e-2);
            }
        }
    }
}
