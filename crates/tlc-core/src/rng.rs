//! Random numbers without state: `hash(seed, stage, item, draw)`.
//!
//! A generator that is advanced from call to call gives each row numbers that depend on the rows
//! before it, and on the threads. Here the numbers of an item depend on nothing but its own
//! coordinates, so any part of a computation can be repeated, reordered or run in parallel.
//!
//! The mixer is the finaliser of SplitMix64 (Steele, Lea, Flood 2014), applied once per coordinate.

/// The random numbers of one stage of one computation.
///
/// ```
/// use tlc_core::rng::Stream;
/// let stream = Stream::new(42, "negative-samples");
/// assert_eq!(stream.below(10, 7, 0), stream.below(10, 7, 0));
/// assert!((0.0..1.0).contains(&stream.uniform(7, 1)));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    key: u64,
}

impl Stream {
    /// The numbers of the stage called `stage` under `seed`.
    pub fn new(seed: u64, stage: &str) -> Self {
        let key = stage.bytes().fold(mix(seed ^ GOLDEN), |key, byte| mix(key ^ u64::from(byte)));
        Self { key }
    }

    /// A sub-stage, for example one epoch of an optimiser.
    #[inline]
    pub fn substream(self, index: u64) -> Self {
        Self { key: mix(self.key ^ index.wrapping_mul(GOLDEN)) }
    }

    /// 64 random bits for the `draw`-th use by `item`.
    #[inline]
    pub fn bits(self, item: u64, draw: u64) -> u64 {
        mix(mix(self.key ^ item.wrapping_mul(GOLDEN)).wrapping_add(draw.wrapping_mul(GOLDEN)))
    }

    /// Uniform in `0..n`; `n` must be positive and below 2³².
    ///
    /// The bias of the multiply-shift is at most `n / 2⁶⁴`.
    #[inline]
    pub fn below(self, n: usize, item: u64, draw: u64) -> usize {
        ((u128::from(self.bits(item, draw)) * n as u128) >> 64) as usize
    }

    /// Uniform in `[0, 1)`.
    #[inline]
    pub fn uniform(self, item: u64, draw: u64) -> f64 {
        (self.bits(item, draw) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Standard normal (Box and Muller 1958); uses the draws `2·draw` and `2·draw + 1`.
    pub fn normal(self, item: u64, draw: u64) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform(item, 2 * draw)).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform(item, 2 * draw + 1)).cos()
    }

    /// The numbers `0..n` in random order.
    pub fn permutation(self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }

    /// Puts `items` into random order (Fisher and Yates 1938).
    pub fn shuffle<T>(self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1, i as u64, 0));
        }
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline]
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_mean_zero_and_variance_one() {
        let stream = Stream::new(1, "test");
        let n = 100_000;
        let draws: Vec<f64> = (0..n).map(|i| stream.normal(i, 0)).collect();
        let mean = draws.iter().sum::<f64>() / n as f64;
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / n as f64 - mean * mean;
        assert!(mean.abs() < 0.015, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.02, "variance {variance}");
    }

    #[test]
    fn below_reaches_every_value_evenly() {
        let stream = Stream::new(2, "test").substream(3);
        let mut counts = [0_usize; 7];
        for item in 0..70_000 {
            counts[stream.below(7, item, 5)] += 1;
        }
        assert!(counts.iter().all(|&count| (9_600..10_400).contains(&count)), "{counts:?}");
    }

    #[test]
    fn a_permutation_holds_every_number_once() {
        let mut order = Stream::new(3, "test").permutation(1000);
        assert_ne!(order[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        order.sort_unstable();
        assert!(order.into_iter().eq(0..1000));
    }

    #[test]
    fn stages_and_seeds_give_different_numbers() {
        let bits = [Stream::new(1, "a"), Stream::new(1, "b"), Stream::new(2, "a"), Stream::new(1, "a").substream(1)]
            .map(|stream| stream.bits(0, 0));
        for (i, left) in bits.iter().enumerate() {
            assert!(bits[i + 1..].iter().all(|right| left != right));
        }
    }
}
