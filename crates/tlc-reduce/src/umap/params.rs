//! The parameters of UMAP and what is accepted for each.

use serde::{Deserialize, Deserializer, Serialize};
use tlc_core::ReduceError;

use crate::input::{Metric, Problems};
use crate::knn::KnnMethod;

const DEFAULT_SEED: u64 = 42;

/// Where the layout starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UmapInit {
    /// The smoothest functions on the neighbourhood graph (Laplacian eigenmaps, Belkin and Niyogi 2003);
    /// pieces of the graph that are not connected are laid out one by one. Principal components where
    /// this does not converge, or with more than a thousand pieces.
    #[default]
    Spectral,
    /// The first principal components.
    Pca,
    /// Uniform noise.
    Random,
}

/// The parameters of [`Umap`](super::Umap).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UmapParams {
    /// Coordinates per row: 1, 2 or 3. Default 2.
    pub n_components: usize,
    /// Size of a neighbourhood, the row itself included; at least 2. Default 15. Small values show
    /// detail, large ones the whole. With fewer rows, all rows.
    pub n_neighbors: usize,
    /// Default euclidean.
    pub metric: Metric,
    /// Least distance of points in the layout, `0..=spread`. Default 0.1.
    pub min_dist: f64,
    /// Scale of the layout's clusters, `0.001..=1000`. Default 1.
    pub spread: f64,
    /// Passes over the graph, `1..=1000000`; `None` (default): 500 for up to 10,000 rows, otherwise 200.
    pub n_epochs: Option<usize>,
    /// Initial step size, positive. Default 1.
    pub learning_rate: f32,
    /// Repelling points per attracting one, up to 1000. Default 5.
    pub negative_sample_rate: usize,
    /// Weight of repulsion, `0..=1e6`. Default 1.
    pub repulsion_strength: f32,
    /// How the two directions of an edge combine, `0..=1`: 1 (default) is the fuzzy union, 0 the fuzzy
    /// intersection, between them a mixture (section 3.1 of the paper).
    pub set_op_mix_ratio: f32,
    /// How many of the nearest neighbours belong entirely, at least 0 and below `n_neighbors`; a fraction
    /// interpolates between neighbours. Default 1.
    pub local_connectivity: f32,
    /// Where the layout starts. Default spectral.
    pub init: UmapInit,
    /// Whether each feature is first brought to mean 0 and variance 1. Default false.
    pub standard_scaler_normalize: bool,
    /// How neighbours are searched. Default auto.
    pub knn: KnnMethod,
    /// The share of the true neighbours that the search shall find, above 0 and up to 1; a warning says where it does
    /// not. Default 0.99.
    pub target_recall: f64,
    /// Threads of a fit: −1 (default) for those of the pool that the call comes from, a positive number
    /// for a pool of its own. The result does not depend on it.
    pub n_jobs: i64,
    /// All random draws follow from it. Default 42, also in place of a null.
    #[serde(alias = "random_state", deserialize_with = "seed_or_default")]
    pub seed: u64,
}

impl Default for UmapParams {
    fn default() -> Self {
        Self {
            n_components: 2,
            n_neighbors: 15,
            metric: Metric::Euclidean,
            min_dist: 0.1,
            spread: 1.0,
            n_epochs: None,
            learning_rate: 1.0,
            negative_sample_rate: 5,
            repulsion_strength: 1.0,
            set_op_mix_ratio: 1.0,
            local_connectivity: 1.0,
            init: UmapInit::default(),
            standard_scaler_normalize: false,
            knn: KnnMethod::Auto,
            target_recall: 0.99,
            n_jobs: -1,
            seed: DEFAULT_SEED,
        }
    }
}

fn seed_or_default<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(DEFAULT_SEED))
}

impl UmapParams {
    /// # Errors
    /// All parameters that are out of range or contradict each other.
    pub(super) fn check(&self) -> Result<(), ReduceError> {
        let mut problems = Problems::default();
        problems.require((1..=3).contains(&self.n_components), "n_components", self.n_components, "use 1, 2 or 3");
        problems.require(self.n_neighbors >= 2, "n_neighbors", self.n_neighbors, "use at least 2");
        let spread_holds = (1e-3..=1e3).contains(&self.spread);
        problems.require(spread_holds, "spread", self.spread, "use 0.001 to 1000");
        if spread_holds {
            let accepted = format!("use 0 up to the spread, {}", self.spread);
            problems.require((0.0..=self.spread).contains(&self.min_dist), "min_dist", self.min_dist, &accepted);
        } else {
            problems.require(self.min_dist >= 0.0, "min_dist", self.min_dist, "use 0 up to the spread");
        }
        if let Some(n_epochs) = self.n_epochs {
            let accepted = "use 1 to 1000000, or leave it out";
            problems.require((1..=1_000_000).contains(&n_epochs), "n_epochs", n_epochs, accepted);
        }
        let rate = self.learning_rate;
        problems.require(rate > 0.0 && rate.is_finite(), "learning_rate", rate, "use a positive number");
        let sample_rate = self.negative_sample_rate;
        problems.require(sample_rate <= 1000, "negative_sample_rate", sample_rate, "use 0 to 1000");
        let strength = self.repulsion_strength;
        problems.require((0.0..=1e6).contains(&strength), "repulsion_strength", strength, "use 0 to 1000000");
        let mix = self.set_op_mix_ratio;
        problems.require((0.0..=1.0).contains(&mix), "set_op_mix_ratio", mix, "use 0 (intersection) to 1 (union)");
        if self.n_neighbors >= 2 {
            let most = self.n_neighbors - 1;
            let accepted = format!("use 0 up to the number of other rows in a neighbourhood, {most}");
            let holds = (0.0..=most as f32).contains(&self.local_connectivity);
            problems.require(holds, "local_connectivity", self.local_connectivity, &accepted);
        }
        let recall = self.target_recall;
        let accepted = "use a number above 0 and up to 1";
        problems.require(recall > 0.0 && recall <= 1.0, "target_recall", recall, accepted);
        let n_jobs = self.n_jobs;
        problems.require(n_jobs == -1 || (1..=4096).contains(&n_jobs), "n_jobs", n_jobs, "use -1 or 1 to 4096");
        problems.finish()
    }
}
