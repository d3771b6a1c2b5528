//! The report on one layout.

use std::fmt;

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};
use tlc_core::{Progress, ReduceError, is_measurable};

use super::consistency::SelfConsistency;
use super::distances::{Asked, Space};
use super::drift::Drift;
use super::measure::Measure;
use super::options::{QualityOptions, check_count};
use super::sample::{Sample, select};
use super::{labels, neighbourhoods, order, table};
use crate::input::{Metric, usable_rows};
use crate::knn::Neighbours;

/// How well a layout shows its data. Serialises to JSON, displays as a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QualityReport {
    /// The rows that the report is about.
    pub n_rows: usize,
    /// The rows that have no place in the layout or in the metric's space, left out.
    pub n_left_out: usize,
    /// How distances in the data were measured.
    pub metric: Metric,
    /// Of all samples.
    pub seed: u64,
    /// Whether rows that are near in the layout are near in the data, 0 to 1, about 1/2 by chance.
    pub trustworthiness: Vec<Measure>,
    /// Whether rows that are near in the data are near in the layout, 0 to 1, about 1/2 by chance.
    pub continuity: Vec<Measure>,
    /// The share of the `k` nearest that stay the `k` nearest.
    pub neighbour_preservation: Vec<Measure>,
    /// The share of random triplets whose order of distances is kept, 1/2 by chance.
    pub random_triplet_accuracy: Measure,
    /// Spearman's correlation of the distances of pairs of rows, -1 to 1, 0 by chance.
    pub distance_correlation: Measure,
    /// How often the nearest others in the layout have a row's own label, if there are labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_accuracy: Option<Measure>,
    /// The share of true neighbours that the graph names, if there is a graph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knn_recall: Option<Measure>,
    /// What [`self_consistency`](super::self_consistency) found, if the caller puts it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_consistency: Option<SelfConsistency>,
    /// What [`drift`](super::drift) found, if the caller puts it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
}

/// How well `layout`, `(n, n_components)`, shows `data`, `(n, d)`.
///
/// Rows that are not finite in both, and rows of zeros under the cosine metric, are left out and
/// counted. Exact for up to [`exact_up_to`](QualityOptions::exact_up_to) rows; beyond that a seeded
/// sample of rows is ranked against all, so that the values are unbiased, and each comes with its
/// standard error. The same bits for any number of threads. Cost: `queries · n · d`.
///
/// # Errors
/// Not one layout row, label or list of neighbours per row of the data; options out of range;
/// cancellation.
///
/// ```
/// use ndarray::{Array2, s};
/// use tlc_core::{Progress, rng::Stream};
/// use tlc_reduce::quality::{QualityOptions, report};
///
/// let noise = Stream::new(0, "example");
/// let data = Array2::from_shape_fn((300, 8), |(i, j)| noise.normal(i as u64, j as u64) as f32);
/// let two_columns = data.slice(s![.., ..2]);
/// let report = report(data.view(), two_columns, &QualityOptions::default(), &Progress::default())?;
/// let trustworthiness = report.trustworthiness[0].value.expect("300 rows are enough");
/// assert!((0.6..0.9).contains(&trustworthiness), "better than chance, not perfect");
/// println!("{report}");
/// # Ok::<(), tlc_core::ReduceError>(())
/// ```
pub fn report(
    data: ArrayView2<'_, f32>,
    layout: ArrayView2<'_, f32>,
    options: &QualityOptions<'_>,
    progress: &Progress,
) -> Result<QualityReport, ReduceError> {
    options.check(data.nrows())?;
    check_count(data.nrows(), layout.nrows(), "rows in the layout")?;
    let kept: Vec<usize> =
        usable_rows(&data, options.metric).into_iter().filter(|&row| is_measurable(layout.row(row))).collect();
    let (features, map) = (options.metric.embed(select(data, &kept)), select(layout, &kept));
    let (features, map) = (Space::new(features.view()), Space::new(map.view()));
    let sample = query_sample(kept.len(), options);
    let in_data = Asked::rows(&features, &sample.rows);
    let in_layout = Asked::rows(&map, &sample.rows);
    let own = Some(sample.rows.as_slice());
    let near = neighbourhoods::compare(&in_data, &in_layout, own, sample.population, options, progress)?;
    let label_accuracy = |labels: &[i64]| {
        let labels: Vec<i64> = kept.iter().map(|&row| labels[row]).collect();
        labels::accuracy(&map, &labels, options, progress)
    };
    let recall = |graph| {
        let lists = kept_lists(graph, &kept, &sample.rows);
        neighbourhoods::recall(&in_data, &sample.rows, &lists, sample.population, progress)
    };
    Ok(QualityReport {
        n_rows: kept.len(),
        n_left_out: data.nrows() - kept.len(),
        metric: options.metric,
        seed: options.seed,
        trustworthiness: near.trustworthiness,
        continuity: near.continuity,
        neighbour_preservation: near.preservation,
        random_triplet_accuracy: order::random_triplet_accuracy(&features, &map, options, progress)?,
        distance_correlation: order::distance_correlation(&features, &map, options, progress)?,
        label_accuracy: options.labels.map(label_accuracy).transpose()?,
        knn_recall: options.graph.map(recall).transpose()?,
        self_consistency: None,
        drift: None,
    })
}

/// The share of true nearest neighbours that `graph` names, one list per row of `data`, `(n, d)`.
///
/// A named row counts if it is no farther than the last true neighbour: it does not matter which of
/// several equally far a graph names. Rows that the metric has no place for are left out of the lists.
/// Sampled as [`report`] is.
///
/// # Errors
/// Not one list per row, or a neighbour that does not exist; options out of range; cancellation.
pub fn knn_recall(
    data: ArrayView2<'_, f32>,
    graph: &Neighbours,
    options: &QualityOptions<'_>,
    progress: &Progress,
) -> Result<Measure, ReduceError> {
    QualityOptions { labels: None, graph: Some(graph), ..options.clone() }.check(data.nrows())?;
    let kept = usable_rows(&data, options.metric);
    let features = options.metric.embed(select(data, &kept));
    let features = Space::new(features.view());
    let sample = query_sample(kept.len(), options);
    let lists = kept_lists(graph, &kept, &sample.rows);
    neighbourhoods::recall(&Asked::rows(&features, &sample.rows), &sample.rows, &lists, sample.population, progress)
}

fn query_sample(n: usize, options: &QualityOptions<'_>) -> Sample {
    Sample::draw(n, options.exact_up_to, options.queries, options.seed, "quality: queries")
}

/// The graph's lists of the sampled among the kept rows, in numbers of kept rows.
fn kept_lists(graph: &Neighbours, kept: &[usize], sample: &[usize]) -> Vec<Vec<Option<u32>>> {
    let mut place = vec![None; graph.indices.nrows()];
    for (new, &row) in kept.iter().enumerate() {
        place[row] = Some(new as u32);
    }
    let list = |&query: &usize| graph.indices.row(kept[query]).iter().map(|&row| place[row as usize]).collect();
    sample.iter().map(list).collect()
}

impl QualityReport {
    fn lines(&self) -> Vec<table::Line> {
        let named = |name: &'static str| move |measure| table::Line::measure(name, measure, "rows");
        let mut lines: Vec<table::Line> = self.trustworthiness.iter().map(named("trustworthiness")).collect();
        lines.extend(self.continuity.iter().map(named("continuity")));
        lines.extend(self.neighbour_preservation.iter().map(named("neighbour preservation")));
        lines.push(table::Line::measure("random triplet accuracy", &self.random_triplet_accuracy, "triplets"));
        lines.push(table::Line::measure("distance correlation", &self.distance_correlation, "pairs"));
        lines.extend(self.label_accuracy.iter().map(named("label accuracy")));
        lines.extend(self.knn_recall.iter().map(named("neighbour graph recall")));
        lines.extend(self.self_consistency.iter().flat_map(SelfConsistency::lines));
        lines.extend(self.drift.iter().flat_map(Drift::lines));
        if self.n_left_out > 0 {
            lines.push(table::Line::count("rows left out", self.n_left_out, "all rows"));
        }
        lines
    }

    /// The report as a Markdown table: measure, k, value, standard error, what was looked at.
    pub fn to_markdown(&self) -> String {
        table::markdown(&self.lines())
    }
}

impl fmt::Display for QualityReport {
    /// An aligned table, a line per number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&table::aligned(&self.lines()))
    }
}
