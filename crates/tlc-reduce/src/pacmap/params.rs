//! The parameters of PaCMAP: names and defaults as users of pacmap and of its products know them.

use serde::{Deserialize, Deserializer, Serialize};
use tlc_core::ReduceError;

use super::pairs::PairCounts;
use crate::input::{Metric, Problems};
use crate::knn::KnnMethod;

/// Where the layout of [`Pacmap`](super::Pacmap) starts, unless [`FitOptions`](crate::FitOptions) give a
/// place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PacmapInit {
    /// The first principal components times 0.01.
    #[default]
    Pca,
    /// Normal noise of standard deviation 0.0001.
    Random,
}

/// The parameters of [`Pacmap`](super::Pacmap).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PacmapParams {
    /// Coordinates per row: 1, 2 or 3. Default 2.
    pub n_components: usize,
    /// Near neighbours per row, at least 1, the row itself not counted; `None` (default): 10 for up to
    /// 10,000 rows, then `10 + 15·(log10 n - 4)`. With fewer rows, all others.
    pub n_neighbors: Option<usize>,
    /// Mid-near pairs per neighbour, 0 to 100. Default 0.5. They keep the global structure.
    #[serde(rename = "MN_ratio", alias = "mn_ratio")]
    pub mn_ratio: f64,
    /// Further pairs per neighbour, 0 to 100. Default 2. They repel.
    #[serde(rename = "FP_ratio", alias = "fp_ratio")]
    pub fp_ratio: f64,
    /// Default euclidean. Also called `metric`; cosine is also called angular.
    #[serde(alias = "metric")]
    pub distance: Metric,
    /// Step size, positive. Default 1.
    #[serde(alias = "learning_rate")]
    pub lr: f32,
    /// Iterations of the three phases. Default 100, 100, 250. In files also one number, the total: up to
    /// 100 for each of the first two phases and the rest for the third.
    #[serde(deserialize_with = "phases")]
    pub num_iters: [usize; 3],
    /// Accepted because callers pass it, and without effect: nothing is ever printed, and progress goes
    /// to the caller's [`Progress`](tlc_core::Progress) in either case. Default false.
    pub verbose: bool,
    /// Whether rows wider than 100 are first brought to 100 principal components. Default true.
    pub apply_pca: bool,
    /// How neighbours are searched. Default auto. Also called `knn_backend`.
    #[serde(alias = "knn_backend", deserialize_with = "null_is_auto")]
    pub knn: KnnMethod,
    /// The share of the true neighbours that the search shall find, above 0 and up to 1; a warning says where it does
    /// not. Default 0.95: 50 more neighbours are searched than become pairs, and the nearer ones are found more surely.
    pub target_recall: f64,
    /// Where the layout starts. Default PCA.
    pub init: PacmapInit,
    /// Threads of a fit: -1 (default) for those of the caller's thread pool, or a number of its own, up to
    /// 4096. The result does not depend on it.
    pub n_jobs: i64,
    /// All random draws follow from it. Default 42, also in place of a null.
    #[serde(alias = "random_state", deserialize_with = "seed_or_default")]
    pub seed: u64,
}

impl Default for PacmapParams {
    fn default() -> Self {
        Self {
            n_components: 2,
            n_neighbors: None,
            mn_ratio: 0.5,
            fp_ratio: 2.0,
            distance: Metric::Euclidean,
            lr: 1.0,
            num_iters: [100, 100, 250],
            verbose: false,
            apply_pca: true,
            knn: KnnMethod::Auto,
            target_recall: 0.95,
            init: PacmapInit::Pca,
            n_jobs: -1,
            seed: DEFAULT_SEED,
        }
    }
}

const DEFAULT_SEED: u64 = 42;
const MOST_ITERATIONS: usize = 1_000_000;

impl PacmapParams {
    /// Notes every parameter out of its range.
    pub(super) fn check(&self, problems: &mut Problems) {
        let one_to_three = (1..=3).contains(&self.n_components);
        problems.require(one_to_three, "n_components", self.n_components, "use 1, 2 or 3");
        problems.require(self.n_neighbors != Some(0), "n_neighbors", 0, "use at least 1, or leave it out");
        problems.require((0.0..=100.0).contains(&self.mn_ratio), "MN_ratio", self.mn_ratio, "use 0 to 100");
        problems.require((0.0..=100.0).contains(&self.fp_ratio), "FP_ratio", self.fp_ratio, "use 0 to 100");
        problems.require(self.lr > 0.0 && self.lr.is_finite(), "lr", self.lr, "use a positive number");
        let most = self.num_iters.into_iter().max().unwrap_or(0);
        problems.require(most <= MOST_ITERATIONS, "num_iters", most, "use up to 1000000 per phase");
        let recall = self.target_recall;
        let accepted = "use a number above 0 and up to 1";
        problems.require(recall > 0.0 && recall <= 1.0, "target_recall", recall, accepted);
        let n_jobs = self.n_jobs;
        problems.require(n_jobs == -1 || (1..=4096).contains(&n_jobs), "n_jobs", n_jobs, "use -1 or 1 to 4096");
    }

    /// Pairs per row of a fit on `n` rows.
    pub(super) fn pair_counts(&self, n: usize) -> PairCounts {
        let automatic =
            || if n <= 10_000 { 10 } else { (10.0 + 15.0 * ((n as f64).log10() - 4.0)).round_ties_even() as usize };
        let near = self.n_neighbors.unwrap_or_else(automatic).min(n - 1);
        let times = |ratio: f64| (near as f64 * ratio).round_ties_even() as usize;
        PairCounts {
            near,
            mid_near: if n > 2 { times(self.mn_ratio) } else { 0 },
            further: times(self.fp_ratio).min(n - 1 - near),
        }
    }

    pub(super) fn checked(self) -> Result<Self, ReduceError> {
        let mut problems = Problems::default();
        self.check(&mut problems);
        problems.finish()?;
        Ok(self)
    }
}

/// As pacmap's `knn_backend`, of which null means a choice of its own.
fn null_is_auto<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KnnMethod, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn phases<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[usize; 3], D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "num_iters is a whole number, the total, or a list of three: one per phase")]
    enum Given {
        Total(usize),
        Phases([usize; 3]),
    }
    Ok(match Given::deserialize(deserializer)? {
        Given::Total(total) => {
            let (first, second) = (total.min(100), total.saturating_sub(100).min(100));
            [first, second, total - first - second]
        }
        Given::Phases(phases) => phases,
    })
}

fn seed_or_default<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(DEFAULT_SEED))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn read(value: Value) -> PacmapParams {
        serde_json::from_value(value).expect("can be read")
    }

    #[test]
    fn default_neighbour_count_follows_the_published_rule() {
        let near = |n| PacmapParams::default().pair_counts(n).near;
        assert_eq!([near(9_000), near(20_000), near(60_000), near(70_000), near(1_000_000)], [10, 15, 22, 23, 40]);
    }

    #[test]
    fn other_names_and_forms_are_understood() {
        let ours = read(json!({"n_neighbors": null, "random_state": null, "metric": "angular", "num_iters": 450}));
        assert_eq!(ours, PacmapParams { distance: Metric::Cosine, ..PacmapParams::default() });
        let ours = read(json!({"random_state": 7, "knn_backend": "exact", "init": "random", "MN_ratio": 1}));
        let expected = PacmapParams {
            seed: 7,
            knn: KnnMethod::Exact,
            init: PacmapInit::Random,
            mn_ratio: 1.0,
            ..PacmapParams::default()
        };
        assert_eq!(ours, expected);
        let phases = |value: Value| read(json!({ "num_iters": value })).num_iters;
        assert_eq!(phases(json!(60)), [60, 0, 0]);
        assert_eq!(phases(json!(150)), [100, 50, 0]);
        assert_eq!(phases(json!(1000)), [100, 100, 800]);
        assert_eq!(phases(json!([1, 2, 3])), [1, 2, 3]);
        let error = serde_json::from_value::<PacmapParams>(json!({"num_iters": "many"})).expect_err("no number");
        assert!(error.to_string().contains("one per phase"), "{error}");
    }

    #[test]
    fn every_parameter_out_of_range_is_named() {
        let error = PacmapParams {
            n_components: 0,
            n_neighbors: Some(0),
            mn_ratio: -0.5,
            fp_ratio: f64::NAN,
            lr: -1.0,
            num_iters: [1, 2, 1_000_001],
            n_jobs: 0,
            ..PacmapParams::default()
        }
        .checked()
        .expect_err("out of range");
        let expected = "n_components is 0; use 1, 2 or 3; n_neighbors is 0; use at least 1, or leave it out; \
                        MN_ratio is -0.5; use 0 to 100; FP_ratio is NaN; use 0 to 100; lr is -1; use a positive number; \
                        num_iters is 1000001; use up to 1000000 per phase; n_jobs is 0; use -1 or 1 to 4096";
        assert_eq!(error.to_string(), expected);
    }
}
