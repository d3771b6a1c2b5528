//! How much each neighbour belongs to a point's neighbourhood (section 3.1 of the paper, algorithm 3).
//!
//! `rho` is the distance up to which neighbours belong entirely, `sigma` is such that memberships sum to the logarithm
//! of the neighbourhood's size:
//!
//! ```text
//! Σ over neighbours j of  exp(-max(0, d(i, j) - ρ_i) / σ_i)  =  log₂ k
//! ```

use super::kernels::exp2;

const BISECTIONS: usize = 64;
const TOLERANCE: f32 = 1e-5;
const LEAST_SIGMA: f32 = 1e-3;
const LANES: usize = 16;

/// Computes memberships row by row; holds what one row needs, so that rows do not allocate.
#[derive(Debug)]
pub(super) struct Memberships {
    /// Which of the non-zero distances is `rho`: 1 for the first, fractions between.
    pub(super) local_connectivity: f32,
    /// The mean distance that bounds `sigma` where `rho` is 0; `None`: the row's own mean.
    pub(super) mean_if_duplicate: Option<f32>,
    excess: Vec<[f32; LANES]>,
}

impl Memberships {
    pub(super) fn new(local_connectivity: f32, mean_if_duplicate: Option<f32>) -> Self {
        Self { local_connectivity, mean_if_duplicate, excess: Vec::new() }
    }

    /// Writes the memberships of neighbours at `distances`, nearest first and without the point itself,
    /// in a neighbourhood of `size` points. To be called within [`crate::simd::vectorised`].
    #[inline(always)]
    pub(super) fn write(&mut self, distances: &[f32], size: usize, memberships: &mut [f32]) {
        let rho = rho(distances, self.local_connectivity);
        // Lanes past the last neighbour are so far away that they add nothing.
        self.excess.clear();
        self.excess.resize(distances.len().div_ceil(LANES), [f32::MAX; LANES]);
        for (excess, &distance) in self.excess.as_flattened_mut().iter_mut().zip(distances) {
            *excess = (distance - rho).max(0.0);
        }
        let mean = match self.mean_if_duplicate {
            Some(mean) if rho <= 0.0 => mean,
            _ => distances.iter().sum::<f32>() / size as f32,
        };
        let sigma = smooth_sigma(&self.excess, (size as f32).log2());
        let sigma = sigma.max(LEAST_SIGMA * mean).max(f32::MIN_POSITIVE);
        let scale = -std::f32::consts::LOG2_E / sigma;
        for (membership, &excess) in memberships.iter_mut().zip(self.excess.as_flattened()) {
            *membership = if excess > 0.0 { exp2(scale * excess) } else { 1.0 };
        }
    }
}

/// The `local_connectivity`-th of the non-zero distances, interpolated as in umap-learn: between 0 and the
/// first below 1, the last where there are too few.
fn rho(distances: &[f32], local_connectivity: f32) -> f32 {
    let zeros = distances.partition_point(|&distance| distance <= 0.0);
    let positive = &distances[zeros..];
    let Some(&last) = positive.last() else { return 0.0 };
    let whole = local_connectivity.floor();
    let (at, fraction) = (whole as usize, local_connectivity - whole);
    if positive.len() < at || (positive.len() == at && fraction > 0.0) {
        return last;
    }
    let below = if at > 0 { positive[at - 1] } else { 0.0 };
    if fraction > TOLERANCE { below + fraction * (positive[at] - below) } else { below }
}

/// The `sigma` for which memberships sum to `target`, by bisection.
#[inline(always)]
fn smooth_sigma(excess: &[[f32; LANES]], target: f32) -> f32 {
    let (mut low, mut high, mut sigma) = (0.0_f32, f32::INFINITY, 1.0_f32);
    for _ in 0..BISECTIONS {
        let scale = -std::f32::consts::LOG2_E / sigma;
        let mut sums = [0.0_f32; LANES];
        for excess in excess {
            for lane in 0..LANES {
                sums[lane] += exp2(scale * excess[lane]);
            }
        }
        let found = sums.iter().sum::<f32>();
        if (found - target).abs() < TOLERANCE {
            break;
        }
        if found > target {
            high = sigma;
            sigma = f32::midpoint(low, high);
        } else {
            low = sigma;
            sigma = if high.is_infinite() { sigma * 2.0 } else { f32::midpoint(low, high) };
        }
    }
    sigma
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memberships(distances: &[f32], size: usize, local_connectivity: f32, mean: Option<f32>) -> Vec<f32> {
        let mut found = vec![0.0; distances.len()];
        Memberships::new(local_connectivity, mean).write(distances, size, &mut found);
        found
    }

    #[test]
    fn they_sum_to_the_logarithm_of_the_size() {
        for scale in [1e-6_f32, 1.0, 1e6] {
            for size in [3, 15, 16, 17, 18, 60] {
                let distances: Vec<f32> = (1..size).map(|i| scale * (0.3 + (i as f32).sqrt())).collect();
                let weights = memberships(&distances, size, 1.0, None);
                let sum: f32 = weights.iter().sum();
                assert!((sum - (size as f32).log2()).abs() < 1e-4, "{scale} {size}: {sum}");
                assert_eq!(weights[0], 1.0, "the nearest belongs entirely");
                assert!(weights.windows(2).all(|pair| pair[0] >= pair[1]));
            }
        }
    }

    #[test]
    fn duplicates_belong_entirely() {
        let weights = memberships(&[0.0, 0.0, 1.0, 2.0], 5, 1.0, None);
        assert_eq!(weights[..3], [1.0, 1.0, 1.0]);
        assert!(memberships(&[0.0; 5], 6, 1.0, None).iter().all(|&weight| weight == 1.0));
    }

    #[test]
    fn local_connectivity_says_how_many_belong_entirely() {
        let distances = [0.0, 1.0, 2.0, 4.0, 8.0];
        for (connectivity, expected) in
            [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0), (1.5, 1.5), (2.25, 2.5), (4.0, 8.0), (4.5, 8.0), (9.0, 8.0)]
        {
            assert_eq!(rho(&distances, connectivity), expected, "{connectivity}");
        }
        let weights = memberships(&distances, 6, 2.0, None);
        assert_eq!(weights[..3], [1.0, 1.0, 1.0]);
        assert!(weights[3] < 1.0);
    }

    #[test]
    fn where_nothing_is_local_the_mean_of_all_bounds_sigma() {
        // The nearest alone exceed the sum, which drives sigma down to its bound.
        let distances = [0.0, 0.0, 0.0, 0.0, 1e-4];
        let own = memberships(&distances, 6, 0.0, None);
        let all = memberships(&distances, 6, 0.0, Some(1.0));
        assert!(own[4] < 1e-6, "{own:?}");
        assert!((all[4] - (-0.1_f32).exp()).abs() < 1e-5, "{all:?}");
    }
}
