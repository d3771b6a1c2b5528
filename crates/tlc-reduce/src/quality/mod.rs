//! How good a layout is.
//!
//! [`report`] compares a layout with its data: are the near still near
//! (`neighbourhoods`), the far still far (`order`), the labels still together (`labels`)?
//! [`self_consistency`] looks at a fitted model's transform, [`drift`] at two layouts of the same
//! rows. Each number says how many rows it looked at and whether those were all.
//!
//! Left out: the silhouette, which rewards tearing classes apart; classifiers trained on a layout,
//! which measure the classifier as well.

mod consistency;
mod distances;
mod drift;
mod labels;
mod measure;
mod neighbourhoods;
mod options;
mod order;
mod report;
mod sample;
mod table;
#[cfg(test)]
mod tests;

pub use consistency::{HeldOut, HeldOutQuality, SelfConsistency, self_consistency};
pub use drift::{Drift, drift};
pub use labels::{knn_accuracy, knn_accuracy_of_others, label_accuracy};
pub use measure::Measure;
pub use options::QualityOptions;
pub use report::{QualityReport, knn_recall, report};
