//! Distances between rows, summed in a fixed order.

const LANES: usize = 16;

/// Squared Euclidean distance.
///
/// Sixteen running sums, so that the compiler can use vector registers and the rounding still does
/// not depend on where the rows lie in memory. Always inlined, to be compiled for the vectors of its caller
/// (`simd.rs`).
#[inline(always)]
pub(crate) fn squared_euclidean(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "rows have one width");
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            let difference = x[lane] - y[lane];
            sums[lane] += difference * difference;
        }
    }
    let mut total: f32 = sums.iter().sum();
    for (x, y) in a_rest.iter().zip(b_rest) {
        total += (x - y) * (x - y);
    }
    total
}

/// Squared distance of two points of the layout.
#[inline]
pub(crate) fn squared_low<const D: usize>(a: &[f32; D], b: &[f32; D]) -> f32 {
    let mut total = 0.0;
    for d in 0..D {
        total += (a[d] - b[d]) * (a[d] - b[d]);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_the_plain_sum(pairs in prop::collection::vec((-100.0_f32..100.0, -100.0_f32..100.0), 0..200)) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let plain: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(x - y).powi(2)).sum();
            prop_assert!((f64::from(squared_euclidean(&a, &b)) - plain).abs() <= 1e-5 * plain);
        }
    }
}
