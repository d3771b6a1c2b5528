//! Adam (Kingma and Ba 2015, algorithm 1), one point of the layout at a time.
//!
//! With `g` the gradient in iteration `t` (from 1):
//!
//! ```text
//! m ← β₁ m + (1 - β₁) g          v ← β₂ v + (1 - β₂) g²
//! θ ← θ - α √(1 - β₂ᵗ) / (1 - β₁ᵗ) · m / (√v + ε)
//! ```
//!
//! the order of computation at the end of section 2, with both bias corrections in the step size.

/// The step sizes of one iteration, shared by all points.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdamStep {
    beta1: f32,
    beta2: f32,
    /// The learning rate with both bias corrections (section 2, last paragraph of the paper).
    rate: f32,
}

const EPSILON: f32 = 1e-7;

impl AdamStep {
    /// The step of `iteration` (from 0).
    pub(crate) fn new(learning_rate: f32, beta1: f32, beta2: f32, iteration: usize) -> Self {
        let t = i32::try_from(iteration + 1).unwrap_or(i32::MAX);
        let correction = (1.0 - f64::from(beta2).powi(t)).sqrt() / (1.0 - f64::from(beta1).powi(t));
        Self { beta1, beta2, rate: (f64::from(learning_rate) * correction) as f32 }
    }

    /// Moves all coordinates against their gradients; `first` and `second` are the running means of the
    /// gradient and its square, 0 at the start. All slices have one length.
    #[inline(always)]
    pub(crate) fn apply_all(self, points: &mut [f32], first: &mut [f32], second: &mut [f32], gradients: &[f32]) {
        let n = points.len();
        let (first, second, gradients) = (&mut first[..n], &mut second[..n], &gradients[..n]);
        for i in 0..n {
            first[i] += (1.0 - self.beta1) * (gradients[i] - first[i]);
            second[i] += (1.0 - self.beta2) * (gradients[i] * gradients[i] - second[i]);
            points[i] -= self.rate * first[i] / (second[i].sqrt() + EPSILON);
        }
    }

    /// Moves `point` against `gradient`.
    #[inline]
    pub(crate) fn apply<const D: usize>(self, point: &mut [f32; D], moments: &mut Moments<D>, gradient: &[f32; D]) {
        for d in 0..D {
            moments.first[d] += (1.0 - self.beta1) * (gradient[d] - moments.first[d]);
            moments.second[d] += (1.0 - self.beta2) * (gradient[d] * gradient[d] - moments.second[d]);
            point[d] -= self.rate * moments.first[d] / (moments.second[d].sqrt() + EPSILON);
        }
    }
}

/// Running means of a point's gradient and its square.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moments<const D: usize> {
    first: [f32; D],
    second: [f32; D],
}

impl<const D: usize> Default for Moments<D> {
    fn default() -> Self {
        Self { first: [0.0; D], second: [0.0; D] }
    }
}
