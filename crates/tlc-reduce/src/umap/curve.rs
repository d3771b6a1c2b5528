//! The curve `1 / (1 + a·x^(2b))` that says how close two points of the layout are.

/// The two constants of the curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Curve {
    pub(super) a: f32,
    pub(super) b: f32,
}

const N_SAMPLES: usize = 300;

impl Curve {
    /// The least-squares fit to 1 below `min_dist` and `exp(-(x - min_dist) / spread)` above, at 300
    /// points on `[0, 3 · spread]`, by Levenberg and Marquardt's method.
    pub(super) fn fit(spread: f64, min_dist: f64) -> Self {
        let samples: Vec<(f64, f64)> = (0..N_SAMPLES)
            .map(|i| {
                let x = 3.0 * spread * i as f64 / (N_SAMPLES - 1) as f64;
                (x, if x < min_dist { 1.0 } else { (-(x - min_dist) / spread).exp() })
            })
            .collect();
        let error = |a: f64, b: f64| -> f64 { samples.iter().map(|&(x, y)| (value(a, b, x) - y).powi(2)).sum() };
        let (mut a, mut b, mut damping) = (1.0, 1.0, 1e-3);
        let mut current = error(a, b);
        for _ in 0..500 {
            let (mut aa, mut ab, mut bb, mut ga, mut gb) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for &(x, y) in samples.iter().filter(|(x, _)| *x > 0.0) {
                let f = value(a, b, x);
                let power = x.powf(2.0 * b);
                let (da, db) = (-power * f * f, -a * power * 2.0 * x.ln() * f * f);
                aa += da * da;
                ab += da * db;
                bb += db * db;
                ga += da * (f - y);
                gb += db * (f - y);
            }
            let (aa, bb) = (aa * (1.0 + damping), bb * (1.0 + damping));
            let determinant = aa * bb - ab * ab;
            let (step_a, step_b) = ((bb * ga - ab * gb) / determinant, (aa * gb - ab * ga) / determinant);
            let (next_a, next_b) = (a - step_a, b - step_b);
            let next = error(next_a, next_b);
            if next_a > 0.0 && next <= current {
                (a, b, current, damping) = (next_a, next_b, next, damping * 0.3);
                if step_a.abs() + step_b.abs() < 1e-12 {
                    break;
                }
            } else {
                damping *= 4.0;
            }
        }
        Self { a: a as f32, b: b as f32 }
    }
}

fn value(a: f64, b: f64, x: f64) -> f64 {
    1.0 / (1.0 + a * x.powf(2.0 * b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_known_optima() {
        for (spread, min_dist, a, b) in [
            (1.0, 0.0, 1.932809, 0.790495),
            (1.0, 0.001, 1.929074, 0.791504),
            (1.0, 0.01, 1.895606, 0.800638),
            (1.0, 0.1, 1.576944, 0.895061),
            (1.0, 0.25, 1.121436, 1.057500),
            (1.0, 0.5, 0.583030, 1.334167),
            (1.0, 0.99, 0.119306, 1.916389),
            (2.0, 0.1, 0.544661, 0.842055),
        ] {
            let curve = Curve::fit(spread, min_dist);
            let near = |found: f32, expected: f64| (f64::from(found) - expected).abs() < 2e-5;
            assert!(near(curve.a, a) && near(curve.b, b), "{spread} {min_dist}: {curve:?}");
        }
    }
}
