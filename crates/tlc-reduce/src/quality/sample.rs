//! Which rows are looked at.

use ndarray::{ArrayView2, Axis, CowArray, Ix2};
use tlc_core::rng::Stream;

/// Some of `n` rows: all, or a seeded sample without repetition.
#[derive(Debug)]
pub(super) struct Sample {
    /// Ascending.
    pub(super) rows: Vec<usize>,
    /// How many there are to choose from.
    pub(super) population: usize,
}

impl Sample {
    /// All rows if there are at most `exact_up_to` or `size`, otherwise `size` of them.
    pub(super) fn draw(n: usize, exact_up_to: usize, size: usize, seed: u64, stage: &str) -> Self {
        if n <= exact_up_to.max(size) {
            return Self { rows: (0..n).collect(), population: n };
        }
        let mut rows = Stream::new(seed, stage).permutation(n);
        rows.truncate(size);
        rows.sort_unstable();
        Self { rows, population: n }
    }
}

/// The named rows in standard layout; without a copy if these are all and already so.
pub(super) fn select<'a>(data: ArrayView2<'a, f32>, rows: &[usize]) -> CowArray<'a, f32, Ix2> {
    if rows.len() == data.nrows() && data.is_standard_layout() {
        return data.into();
    }
    CowArray::from(data.select(Axis(0), rows).as_standard_layout().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_all_rows_or_distinct_ones() {
        assert_eq!(Sample::draw(10, 10, 3, 0, "test").rows, (0..10).collect::<Vec<_>>());
        assert_eq!(Sample::draw(10, 0, 10, 0, "test").rows.len(), 10);
        let mut some = Sample::draw(1000, 999, 100, 0, "test").rows;
        assert!(some.is_sorted());
        some.dedup();
        assert_eq!(some.len(), 100);
        assert_ne!(some, Sample::draw(1000, 999, 100, 1, "test").rows);
        let mean = some.iter().sum::<usize>() as f64 / 100.0;
        assert!((400.0..600.0).contains(&mean), "from everywhere: {mean}");
    }
}
