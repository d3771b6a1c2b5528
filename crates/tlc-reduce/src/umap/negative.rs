//! Which points push: random numbers for many lanes at once.
//!
//! The numbers that [`tlc_core::rng::Stream`] gives take two 64-bit products each, which processors do
//! not have for vectors. Here a key of that stream, one per block of points and epoch, seeds a 32-bit
//! hash of a counter (a multiplicative mixer in the manner of MurmurHash3's finaliser, the key's halves
//! added before and within it), which costs three 32-bit products per draw in lanes. Tested for even
//! counts, for independence of neighbouring draws and of keys.

/// The random numbers of one block of points in one epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draws {
    keys: [u32; 2],
}

impl Draws {
    pub(super) fn new(key: u64) -> Self {
        Self { keys: [key as u32, (key >> 32) as u32] }
    }

    /// 32 random bits.
    #[inline(always)]
    fn bits(self, counter: u32) -> u32 {
        let mut x = counter.wrapping_mul(0x9e37_79b9) ^ self.keys[0];
        x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
        x = ((x ^ (x >> 15)) ^ self.keys[1]).wrapping_mul(0x846c_a68b);
        x ^ (x >> 16)
    }

    /// Uniform in `0..n`; the bias of the multiply-shift is at most `n / 2³²`.
    #[inline(always)]
    pub(super) fn below(self, n: u32, counter: u32) -> u32 {
        ((u64::from(self.bits(counter)) * u64::from(n)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use tlc_core::rng::Stream;

    use super::*;

    /// Pearson's statistic minus its mean, in standard deviations.
    fn deviation(counts: &[u32]) -> f64 {
        let total: f64 = counts.iter().map(|&count| f64::from(count)).sum();
        let expected = total / counts.len() as f64;
        let statistic: f64 = counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum();
        let freedom = (counts.len() - 1) as f64;
        (statistic - freedom) / (2.0 * freedom).sqrt()
    }

    #[test]
    fn every_point_is_drawn_evenly() {
        let stream = Stream::new(3, "test");
        for n in [7_u32, 1000, 60_000] {
            let mut counts = vec![0_u32; n as usize];
            for block in 0..2000 {
                let draws = Draws::new(stream.bits(block, 0));
                (0..1024).for_each(|counter| counts[draws.below(n, counter) as usize] += 1);
            }
            assert!(deviation(&counts).abs() < 4.0, "{n}: {}", deviation(&counts));
        }
    }

    #[test]
    fn draws_do_not_depend_on_the_draw_before_or_on_other_blocks_and_epochs() {
        let stream = Stream::new(4, "test");
        let (mut serial, mut strided, mut elsewhere) = (vec![0_u32; 4096], vec![0_u32; 4096], vec![0_u32; 4096]);
        for block in 0..1000 {
            let draws = Draws::new(stream.bits(block, 0));
            let others = [Draws::new(stream.bits(block + 1, 0)), Draws::new(stream.substream(1).bits(block, 0))];
            for counter in 0..1024 {
                let cell = |a: u32, b: u32| (a * 64 + b) as usize;
                let here = draws.below(64, counter);
                serial[cell(here, draws.below(64, counter + 1))] += 1;
                strided[cell(here, draws.below(64, counter + 64))] += 1;
                elsewhere[cell(here, others[counter as usize % 2].below(64, counter))] += 1;
            }
        }
        for (name, counts) in [("serial", serial), ("strided", strided), ("elsewhere", elsewhere)] {
            assert!(deviation(&counts).abs() < 4.0, "{name}: {}", deviation(&counts));
        }
    }

    #[test]
    fn bits_of_a_draw_are_even_and_change_with_the_counter() {
        let draws = Draws::new(0);
        let n = 1 << 16;
        for bit in 0..32 {
            let ones = (0..n).filter(|&counter| draws.bits(counter) >> bit & 1 == 1).count();
            assert!(ones.abs_diff(n as usize / 2) < 700, "bit {bit}: {ones}");
        }
        for flip in 0..16 {
            let changed: u32 = (0..n).map(|c| (draws.bits(c) ^ draws.bits(c ^ (1 << flip))).count_ones()).sum();
            let mean = f64::from(changed) / f64::from(n);
            assert!((15.0..17.0).contains(&mean), "counter bit {flip} changes {mean} bits");
        }
    }
}
