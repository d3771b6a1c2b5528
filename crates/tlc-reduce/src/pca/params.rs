//! The parameters of PCA.

use serde::{Deserialize, Serialize};

/// The parameters of [`Pca`](super::Pca).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PcaParams {
    /// Coordinates per row; at least 1. Default 2.
    pub n_components: usize,
    /// Start of the iterations, on data wider than 256. Default 42.
    #[serde(alias = "random_state")]
    pub seed: u64,
}

impl Default for PcaParams {
    fn default() -> Self {
        Self { n_components: 2, seed: 42 }
    }
}
