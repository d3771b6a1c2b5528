//! The attracting and repelling force of a pair of points, one pair per lane.
//!
//! With `s = |y - z|²` the squared distance of `y` and `z`, UMAP's similarity is `Φ = 1 / (1 + a·s^b)` (section 3.2 of
//! the paper, definition 11). The cross entropy of memberships `v` and similarities falls along
//!
//! ```text
//! v ∂ ln Φ / ∂y             =  v · 2ab · s^(b-1) / (1 + a·s^b) · (z - y)                  attraction
//! (1 - v) ∂ ln(1 - Φ) / ∂y  = -(1 - v) · γ · 2b / ((ε + s)(1 + a·s^b)) · (z - y)          repulsion
//! ```
//!
//! with `ε = 0.001` and `γ` the `repulsion_strength`. [`Forces::attraction`] and [`Forces::repulsion`] are the factors
//! of `z - y`, without `v`. Everything here is arithmetic without branches or calls, so that loops over arrays become
//! vector instructions; the power is a polynomial logarithm and exponential, right to a relative 1e-5 (tested).

use super::curve::Curve;

/// Limit of a force's components, as in umap-learn.
const CLIP: f32 = 4.0;
/// Keeps the logarithm of a distance of 0 finite; forces there are 0, since the difference is.
const LEAST_SQUARED: f32 = 1e-30;

/// What acts between two points.
#[derive(Debug, Clone, Copy)]
pub(super) struct Forces {
    pub(super) curve: Curve,
    pub(super) repulsion_strength: f32,
}

impl Forces {
    /// The factor of `there - here` that pulls: `2ab · s^(b-1) / (1 + a·s^b)`.
    #[inline(always)]
    pub(super) fn attraction(self, squared: f32) -> f32 {
        let Curve { a, b } = self.curve;
        let squared = squared.max(LEAST_SQUARED);
        let power = pow(squared, b);
        2.0 * a * b * power / (squared * (1.0 + a * power))
    }

    /// The factor of `there - here` that pushes, negative: `-2γb / ((ε + s)(1 + a·s^b))`. `ε = 0.001` keeps it finite,
    /// as in umap-learn.
    #[inline(always)]
    pub(super) fn repulsion(self, squared: f32) -> f32 {
        let Curve { a, b } = self.curve;
        let power = pow(squared.max(LEAST_SQUARED), b);
        -2.0 * self.repulsion_strength * b / ((0.001 + squared) * (1.0 + a * power))
    }
}

/// A force's component within its limit.
#[inline(always)]
pub(super) fn clipped(component: f32) -> f32 {
    component.clamp(-CLIP, CLIP)
}

/// `x^y` for positive normal `x`.
#[inline(always)]
pub(super) fn pow(x: f32, y: f32) -> f32 {
    exp2(y * log2(x))
}

/// The logarithm of a positive normal number: exponent, and a polynomial on `√½..√2`.
#[inline(always)]
fn log2(x: f32) -> f32 {
    const SQRT_HALF: i32 = 0x3f35_04f3;
    let bits = x.to_bits() as i32;
    let exponent = (bits - SQRT_HALF) >> 23;
    let t = f32::from_bits((bits - (exponent << 23)) as u32) - 1.0;
    let mut q = -0.206_605_18_f32;
    q = q.mul_add(t, 0.322_142_94);
    q = q.mul_add(t, -0.367_483_73);
    q = q.mul_add(t, 0.479_349_68);
    q = q.mul_add(t, -0.721_132_3);
    q = q.mul_add(t, 1.442_713_4);
    q.mul_add(t, exponent as f32)
}

/// 2 to the power of `x`, which is first limited to what normal numbers can hold.
#[inline(always)]
pub(super) fn exp2(x: f32) -> f32 {
    // Adding this rounds to an integer, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-126.0, 126.0);
    let rounded = x + ROUND;
    let t = x - (rounded - ROUND);
    let mut p = 0.001_327_647_2_f32;
    p = p.mul_add(t, 0.009_675_541);
    p = p.mul_add(t, 0.055_507_133);
    p = p.mul_add(t, 0.240_221_2);
    p = p.mul_add(t, 0.693_146_97);
    // The constant term is exactly 1, and so is the power of 0.
    p = p.mul_add(t, 1.0);
    f32::from_bits(p.to_bits().wrapping_add(rounded.to_bits() << 23))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn powers_are_right_to_a_hundred_thousandth(exponent in -60.0_f32..60.0, y in 0.2_f32..2.0) {
            let x = 2.0_f32.powf(exponent);
            let expected = f64::from(x).powf(f64::from(y));
            let error = (f64::from(pow(x, y)) - expected).abs() / expected;
            prop_assert!(error < 1e-5 * f64::from(1.0 + exponent.abs() / 10.0), "{x}^{y}: {error}");
        }

        #[test]
        fn logarithms_and_exponentials_are_right(x in 1e-30_f32..1e30, y in -126.0_f32..126.0) {
            prop_assert!((f64::from(log2(x)) - f64::from(x).log2()).abs() < 8e-6);
            let expected = f64::from(y).exp2();
            prop_assert!((f64::from(exp2(y)) - expected).abs() / expected < 1e-6);
        }
    }

    #[test]
    fn exact_where_it_matters_and_finite_everywhere() {
        assert_eq!(exp2(0.0), 1.0);
        assert_eq!(exp2(-3.0), 0.125);
        assert_eq!(log2(1.0), 0.0);
        let forces = Forces { curve: Curve { a: 0.119, b: 1.916 }, repulsion_strength: 1.0 };
        for squared in [0.0, 1e-38, 1e-20, 1.0, 1e20, 1e31] {
            assert!(forces.attraction(squared).is_finite() && forces.repulsion(squared).is_finite(), "{squared}");
        }
    }

    #[test]
    fn forces_are_the_gradient_of_the_cross_entropy() {
        let forces = Forces { curve: Curve { a: 1.577, b: 0.895 }, repulsion_strength: 1.0 };
        let (here, there) = ([0.7_f32, -0.4], [0.1_f32, 0.3]);
        let similarity = |x: f64| {
            let squared = (x - f64::from(there[0])).powi(2) + f64::from(here[1] - there[1]).powi(2);
            1.0 / (1.0 + 1.577 * squared.powf(0.895))
        };
        let slope = |f: &dyn Fn(f64) -> f64| (f(f64::from(here[0]) + 1e-5) - f(f64::from(here[0]) - 1e-5)) / 2e-5;
        let squared = (here[0] - there[0]).powi(2) + (here[1] - there[1]).powi(2);
        let attraction = f64::from(forces.attraction(squared) * (there[0] - here[0]));
        let expected = slope(&|x| similarity(x).ln());
        assert!((attraction - expected).abs() < 1e-4, "{attraction} {expected}");
        let repulsion = f64::from(forces.repulsion(squared) * (there[0] - here[0]));
        let expected = slope(&|x| (1.0 - similarity(x)).ln());
        // The 0.001 that keeps repulsion finite makes it slightly weaker.
        assert!((repulsion - expected).abs() < 5e-3, "{repulsion} {expected}");
    }
}
