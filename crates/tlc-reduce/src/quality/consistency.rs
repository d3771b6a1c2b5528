//! Whether a fitted model places its own rows where the fit did, and other rows where they belong.

use std::fmt;

use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};
use tlc_core::{FittedReducer, Progress, ReduceError, is_measurable};

use super::distances::{Asked, Space};
use super::drift::spread;
use super::labels;
use super::measure::Measure;
use super::neighbourhoods;
use super::options::{QualityOptions, check_count};
use super::order;
use super::sample::{Sample, select};
use super::table;
use crate::input::{check_width, usable_rows};

/// Rows that were not fitted.
#[derive(Debug, Clone, Copy)]
pub struct HeldOut<'a> {
    /// `(m, d)`.
    pub data: ArrayView2<'a, f32>,
    /// A class per row; used if [`QualityOptions::labels`] has those of the fitted rows.
    pub labels: Option<&'a [i64]>,
}

/// How a fitted model's transform treats fitted and other rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SelfConsistency {
    /// How many fitted rows were transformed.
    pub sample: usize,
    /// Whether those were all.
    pub exact: bool,
    /// How many fitted rows had no place in the layout or got none in the transform, left out.
    pub n_left_out: usize,
    /// How many of the transformed rows are not exactly where the fit placed them.
    pub n_moved: usize,
    /// Largest distance between the two places, in units of the layout's spread (root of the mean
    /// square distance from its centre); `None` if there is no spread. Of equal fitted rows all are
    /// transformed to the place of the first, so this also shows how far equal rows were laid apart.
    pub max_displacement: Option<f64>,
    /// Mean of the same.
    pub mean_displacement: Option<f64>,
    /// How the rows that were not fitted fare, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOutQuality>,
}

/// How rows that were not fitted are placed among those that were.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HeldOutQuality {
    /// How many held-out rows there are.
    pub n_rows: usize,
    /// Those of them that cannot be transformed, left out.
    pub n_left_out: usize,
    /// Whether the fitted rows near them in the layout are near them in the data, for each
    /// [`rank_k`](QualityOptions::rank_k).
    pub trustworthiness: Vec<Measure>,
    /// The share of the nearest fitted rows that stay the nearest, for each
    /// [`preservation_k`](QualityOptions::preservation_k).
    pub neighbour_preservation: Vec<Measure>,
    /// The share of random triplets of a held-out and two fitted rows whose order of distances is kept, 1/2 by chance.
    pub random_triplet_accuracy: Measure,
    /// How often the nearest fitted rows in the layout have their label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_accuracy: Option<Measure>,
}

/// Transforms rows of a fit, and others, and compares with where the fit placed its rows.
///
/// `data`, `(n, d)`, are the rows that were fitted, in their order. Of them, a sample of
/// [`layout_queries`](QualityOptions::layout_queries) is transformed; so are all held-out rows.
///
/// # Errors
/// Data of another shape than was fitted; options out of range; cancellation; a failing transform.
pub fn self_consistency(
    fitted: &dyn FittedReducer,
    data: ArrayView2<'_, f32>,
    held_out: Option<HeldOut<'_>>,
    options: &QualityOptions<'_>,
    progress: &Progress,
) -> Result<SelfConsistency, ReduceError> {
    options.check(data.nrows())?;
    let layout = fitted.layout();
    check_count(data.nrows(), layout.nrows(), "rows in the layout")?;
    check_width(&data, fitted.n_features())?;
    if let Some(held_out) = held_out {
        check_width(&held_out.data, fitted.n_features())?;
        if let Some(labels) = held_out.labels {
            check_count(held_out.data.nrows(), labels.len(), "labels")?;
        }
    }

    let sample = labels::layout_sample(data.nrows(), options);
    let again = fitted.transform(data.select(Axis(0), &sample.rows).view(), progress)?.coordinates;
    let moved = displacements(layout, &sample.rows, &again);
    let finite: Vec<usize> = (0..layout.nrows()).filter(|&row| is_measurable(layout.row(row))).collect();
    let unit = spread(select(layout, &finite).view());
    let in_spreads = |displacement: f64| (unit > 0.0).then_some(displacement / unit);
    let largest = moved.iter().copied().reduce(f64::max);
    let mean = (!moved.is_empty()).then(|| moved.iter().sum::<f64>() / moved.len() as f64);
    Ok(SelfConsistency {
        sample: sample.rows.len(),
        exact: sample.rows.len() == sample.population,
        n_left_out: sample.rows.len() - moved.len(),
        n_moved: moved.iter().filter(|&&displacement| displacement > 0.0).count(),
        max_displacement: largest.and_then(in_spreads),
        mean_displacement: mean.and_then(in_spreads),
        held_out: held_out.map(|rows| held_out_quality(fitted, data, rows, options, progress)).transpose()?,
    })
}

/// How far apart the two places of each row are that has two.
fn displacements(layout: ArrayView2<'_, f32>, rows: &[usize], again: &Array2<f32>) -> Vec<f64> {
    let displacement = |(&row, place): (&usize, ndarray::ArrayView1<'_, f32>)| {
        let fitted = layout.row(row);
        let squared = || fitted.iter().zip(place).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>();
        (is_measurable(fitted) && is_measurable(place)).then(|| squared().sqrt())
    };
    rows.iter().zip(again.outer_iter()).filter_map(displacement).collect()
}

fn held_out_quality(
    fitted: &dyn FittedReducer,
    data: ArrayView2<'_, f32>,
    held_out: HeldOut<'_>,
    options: &QualityOptions<'_>,
    progress: &Progress,
) -> Result<HeldOutQuality, ReduceError> {
    let metric = options.metric;
    let layout = fitted.layout();
    let known: Vec<usize> =
        usable_rows(&data, metric).into_iter().filter(|&row| is_measurable(layout.row(row))).collect();
    let (features, map) = (metric.embed(select(data, &known)), select(layout, &known));
    let (features, map) = (Space::new(features.view()), Space::new(map.view()));

    let places = fitted.transform(held_out.data, progress)?.coordinates;
    let new: Vec<usize> =
        usable_rows(&held_out.data, metric).into_iter().filter(|&row| is_measurable(places.row(row))).collect();
    let new_features = metric.embed(select(held_out.data, &new));

    let draw = |size: usize, stage: &str| Sample::draw(new.len(), options.exact_up_to, size, options.seed, stage);
    let sample = draw(options.queries, "quality: held-out queries");
    let in_data = Asked { space: &features, queries: new_features.select(Axis(0), &sample.rows) };
    let asked_rows = |sample: &Sample| sample.rows.iter().map(|&row| new[row]).collect::<Vec<_>>();
    let in_layout = Asked { space: &map, queries: places.select(Axis(0), &asked_rows(&sample)) };
    let near = neighbourhoods::compare(&in_data, &in_layout, None, new.len(), options, progress)?;

    let label_accuracy = match (options.labels, held_out.labels) {
        (Some(labels), Some(new_labels)) => {
            let sample = draw(options.layout_queries, "quality: held-out rows");
            let rows = asked_rows(&sample);
            let asked = Asked { space: &map, queries: places.select(Axis(0), &rows) };
            let known_labels: Vec<i64> = known.iter().map(|&row| labels[row]).collect();
            let truth: Vec<i64> = rows.iter().map(|&row| new_labels[row]).collect();
            Some(labels::accuracy_of(&asked, None, &known_labels, &truth, new.len(), options, progress)?)
        }
        _ => None,
    };
    Ok(HeldOutQuality {
        n_rows: held_out.data.nrows(),
        n_left_out: held_out.data.nrows() - new.len(),
        trustworthiness: near.trustworthiness,
        neighbour_preservation: near.preservation,
        random_triplet_accuracy: order::held_out_triplet_accuracy(&in_data, &in_layout, options, progress)?,
        label_accuracy,
    })
}

impl SelfConsistency {
    pub(super) fn lines(&self) -> Vec<table::Line> {
        let rows =
            format!("{} {} fitted rows", if self.exact { "all" } else { "a sample of" }, table::grouped(self.sample));
        let mut lines = vec![
            table::Line::number("transform: largest displacement", self.max_displacement, &rows),
            table::Line::number("transform: mean displacement", self.mean_displacement, &rows),
            table::Line::count("transform: rows moved", self.n_moved, &rows),
        ];
        if let Some(held_out) = &self.held_out {
            let named = |name: &'static str| move |measure| table::Line::measure(name, measure, "held-out rows");
            lines.extend(held_out.trustworthiness.iter().map(named("held out: trustworthiness")));
            lines.extend(held_out.neighbour_preservation.iter().map(named("held out: neighbour preservation")));
            let triplets = &held_out.random_triplet_accuracy;
            lines.push(table::Line::measure("held out: random triplet accuracy", triplets, "triplets"));
            lines.extend(held_out.label_accuracy.iter().map(named("held out: label accuracy")));
        }
        lines
    }

    /// The report as a Markdown table.
    pub fn to_markdown(&self) -> String {
        table::markdown(&self.lines())
    }
}

impl fmt::Display for SelfConsistency {
    /// An aligned table, a line per number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&table::aligned(&self.lines()))
    }
}
