//! How far the rows moved between two layouts.
//!
//! A layout may be turned, mirrored, shifted or scaled without being another, so the second is first
//! laid over the first: ordinary Procrustes analysis (Schönemann 1966; scale as in Gower 1975). With
//! both centred, `BᵀA = U S Vᵀ`, the best orthogonal map is `R = U Vᵀ` and the best scale
//! `tr S / |B|²`. What moved is told in units of the first layout's spread, the root of the mean square
//! distance from its centre. Neighbourhoods are compared without any alignment.

use std::fmt;

use ndarray::{Array1, Array2, ArrayView2, Axis};
use ndarray_linalg::SVD;
use serde::{Deserialize, Serialize};
use tlc_core::{Progress, ReduceError, is_measurable};

use super::distances::{Asked, Space, nearest, scan};
use super::measure::Measure;
use super::neighbourhoods::shares_in_common;
use super::options::{QualityOptions, check_count};
use super::sample::{Sample, select};
use super::table;
use crate::blas::SingleThreadedBlas;

/// How much two layouts of the same rows differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Drift {
    /// The rows with a place in both layouts. Displacements are over all of them.
    pub n_rows: usize,
    /// The rows without a place in one of the layouts, left out.
    pub n_left_out: usize,
    /// Mean distance between a row's two places after alignment, in units of the first layout's
    /// spread; `None`, as the next, if the first layout has no spread.
    pub mean_displacement: Option<f64>,
    /// The distance that half of the rows do not exceed.
    pub median_displacement: Option<f64>,
    /// The distance that 95 % of the rows do not exceed.
    pub p95_displacement: Option<f64>,
    /// The share of the `k` nearest in the first layout that are among the `k` nearest in the second,
    /// for each [`preservation_k`](QualityOptions::preservation_k).
    pub neighbour_overlap: Vec<Measure>,
}

/// How far rows moved from layout `before` to layout `after`, both `(n, n_components)`, row by row.
///
/// Rows that are not finite in both are left out. Cost: `queries · n` distances (see
/// [`QualityOptions`]). Metric, labels and graph are not used.
///
/// # Errors
/// Layouts of different shapes; options out of range; cancellation.
///
/// ```
/// use ndarray::array;
/// use tlc_core::Progress;
/// use tlc_reduce::quality::{QualityOptions, drift};
///
/// let before = array![[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]];
/// let turned_and_doubled = array![[5.0, 5.0], [5.0, 7.0], [1.0, 5.0]];
/// let drift = drift(before.view(), turned_and_doubled.view(), &QualityOptions::default(), &Progress::default())?;
/// assert!(drift.p95_displacement.is_some_and(|moved| moved < 1e-6));
/// # Ok::<(), tlc_core::ReduceError>(())
/// ```
pub fn drift(
    before: ArrayView2<'_, f32>,
    after: ArrayView2<'_, f32>,
    options: &QualityOptions<'_>,
    progress: &Progress,
) -> Result<Drift, ReduceError> {
    let options = &QualityOptions { labels: None, graph: None, ..options.clone() };
    options.check(before.nrows())?;
    check_count(before.nrows(), after.nrows(), "rows in the other layout")?;
    if before.ncols() != after.ncols() {
        let reason = format!("the layouts have {} and {} coordinates per row", before.ncols(), after.ncols());
        return Err(ReduceError::data(reason));
    }
    let kept: Vec<usize> =
        (0..before.nrows()).filter(|&row| is_measurable(before.row(row)) && is_measurable(after.row(row))).collect();
    let (before_rows, after_rows) = (select(before, &kept), select(after, &kept));
    let mut moved = displacements(before_rows.view(), after_rows.view())?;
    let mean = moved.as_ref().map(|moved| moved.iter().sum::<f64>() / moved.len() as f64);
    if let Some(moved) = &mut moved {
        moved.sort_unstable_by(f64::total_cmp);
    }
    let percentile = |percent: usize| moved.as_ref().map(|moved| moved[(moved.len() * percent).div_ceil(100) - 1]);
    Ok(Drift {
        n_rows: kept.len(),
        n_left_out: before.nrows() - kept.len(),
        mean_displacement: mean,
        median_displacement: percentile(50),
        p95_displacement: percentile(95),
        neighbour_overlap: overlap(&Space::new(before_rows.view()), &Space::new(after_rows.view()), options, progress)?,
    })
}

fn overlap(
    before: &Space<'_>,
    after: &Space<'_>,
    options: &QualityOptions<'_>,
    progress: &Progress,
) -> Result<Vec<Measure>, ReduceError> {
    let n = before.n_rows();
    let sample = Sample::draw(n, options.exact_up_to, options.queries, options.seed, "quality: queries");
    let ks: Vec<usize> = options.preservation_k.iter().map(|&k| k.min(n.saturating_sub(1))).collect();
    let longest = ks.iter().copied().max().unwrap_or(0);
    let asked = [before, after].map(|space| Asked::rows(space, &sample.rows));
    let [before, after] = &asked;
    let shares = scan([before, after], Some(&sample.rows), "compare layouts", progress, |_, [in_before, in_after]| {
        shares_in_common(&nearest(in_before, longest), &nearest(in_after, longest), &ks)
    })?;
    let mean = |(place, &k): (usize, &usize)| {
        let shares: Vec<f64> = shares.iter().filter(|_| k > 0).map(|shares| shares[place]).collect();
        Measure::mean(Some(k), &shares, sample.population)
    };
    Ok(ks.iter().enumerate().map(mean).collect())
}

/// Each row's displacement after alignment, relative to the spread of `before`.
fn displacements(before: ArrayView2<'_, f32>, after: ArrayView2<'_, f32>) -> Result<Option<Vec<f64>>, ReduceError> {
    let n = before.nrows() as f64;
    let (before, after) = (centred(before), centred(after));
    let spread = (before.iter().map(|x| x * x).sum::<f64>() / n).sqrt();
    if spread.is_nan() || spread == 0.0 {
        return Ok(None);
    }
    let aligned = align(&before, after)?;
    let distance = |(a, b): (ndarray::ArrayView1<'_, f64>, ndarray::ArrayView1<'_, f64>)| {
        a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt() / spread
    };
    Ok(Some(before.outer_iter().zip(aligned.outer_iter()).map(distance).collect()))
}

/// `moved` turned, mirrored and scaled onto `fixed`, as well as that goes; both are centred.
fn align(fixed: &Array2<f64>, moved: Array2<f64>) -> Result<Array2<f64>, ReduceError> {
    let size: f64 = moved.iter().map(|x| x * x).sum();
    if size == 0.0 {
        return Ok(moved);
    }
    let _single = SingleThreadedBlas::begin();
    let components = fixed.ncols();
    // By hand: a product's sum over so many rows would depend on how a BLAS cuts it.
    let mut cross = Array2::<f64>::zeros((components, components));
    for (a, b) in fixed.outer_iter().zip(moved.outer_iter()) {
        for ((i, j), sum) in cross.indexed_iter_mut() {
            *sum += b[i] * a[j];
        }
    }
    let failed = |error| ReduceError::backend("align two layouts", error);
    let (Some(u), singular, Some(vt)) = cross.svd(true, true).map_err(failed)? else {
        return Err(ReduceError::backend("align two layouts", "the singular vectors are missing"));
    };
    let map = u.dot(&vt) * (singular.sum() / size);
    Ok(moved.dot(&map))
}

fn centred(layout: ArrayView2<'_, f32>) -> Array2<f64> {
    let layout = layout.mapv(f64::from);
    let mean: Array1<f64> = layout.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(layout.ncols()));
    layout - mean
}

/// The root of the mean square distance from the centre; 0 without rows.
pub(super) fn spread(layout: ArrayView2<'_, f32>) -> f64 {
    let n = layout.nrows().max(1) as f64;
    (centred(layout).iter().map(|x| x * x).sum::<f64>() / n).sqrt()
}

impl Drift {
    pub(super) fn lines(&self) -> Vec<table::Line> {
        let rows = format!("all {} rows", table::grouped(self.n_rows));
        let mut lines = vec![
            table::Line::number("drift: mean displacement", self.mean_displacement, &rows),
            table::Line::number("drift: median displacement", self.median_displacement, &rows),
            table::Line::number("drift: 95th percentile", self.p95_displacement, &rows),
        ];
        lines.extend(
            self.neighbour_overlap
                .iter()
                .map(|measure| table::Line::measure("drift: neighbour overlap", measure, "rows")),
        );
        lines
    }

    /// The report as a Markdown table.
    pub fn to_markdown(&self) -> String {
        table::markdown(&self.lines())
    }
}

impl fmt::Display for Drift {
    /// An aligned table, a line per number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&table::aligned(&self.lines()))
    }
}
