//! Where the layout starts.
//!
//! Whatever it is, it is scaled so that each axis covers `0..=10`, as in umap-learn.

mod eigen;
mod pieces;
mod spectral;

use ndarray::{Array2, ArrayView2};
use tlc_core::rng::Stream;
use tlc_core::{Progress, ReduceError};

use super::graph::FuzzyGraph;
use super::{UmapInit, UmapParams};
use crate::knn::Index;
use crate::pca::PrincipalAxes;

/// Relative to the largest coordinate.
const NOISE: f32 = 1e-5;

/// The initial layout of the rows of `index`, between which `graph` was built.
pub(super) fn layout<const D: usize>(
    params: &UmapParams,
    index: &Index,
    graph: &FuzzyGraph,
    progress: &Progress,
) -> Result<Vec<[f32; D]>, ReduceError> {
    let noise = Stream::new(params.seed, "umap-init");
    let task = progress.task("umap initial layout", 1);
    let mut points = match params.init {
        UmapInit::Random => uniform(index.n_rows(), noise),
        UmapInit::Pca => with_noise(principal_components(index, params.seed, progress)?, noise),
        UmapInit::Spectral => match spectral::layout(graph, index, params.seed, progress)? {
            Some(points) => with_noise(points, noise),
            None => with_noise(principal_components(index, params.seed, progress)?, noise),
        },
    };
    for d in 0..D {
        let (least, most) = points.iter().fold((f32::MAX, f32::MIN), |(a, b), p| (a.min(p[d]), b.max(p[d])));
        let range = (most - least).max(f32::MIN_POSITIVE);
        for point in &mut points {
            point[d] = 10.0 * (point[d] - least) / range;
        }
    }
    task.advance(1)?;
    Ok(points)
}

fn uniform<const D: usize>(n: usize, noise: Stream) -> Vec<[f32; D]> {
    (0..n as u64).map(|i| std::array::from_fn(|d| noise.uniform(i, d as u64) as f32)).collect()
}

/// The first `D` principal components of the rows of `index`; the search of wide rows has them already.
fn principal_components<const D: usize>(
    index: &Index,
    seed: u64,
    progress: &Progress,
) -> Result<Vec<[f32; D]>, ReduceError> {
    match index.first_components(D) {
        Some(known) => Ok(first_columns(&known)),
        None => components_of(index.to_rows().view(), seed, progress),
    }
}

fn components_of<const D: usize>(
    rows: ArrayView2<'_, f32>,
    seed: u64,
    progress: &Progress,
) -> Result<Vec<[f32; D]>, ReduceError> {
    Ok(first_columns(&PrincipalAxes::fit(rows, D, seed, progress)?.coordinates(rows)))
}

/// The first `D` columns; 0 where there are fewer.
fn first_columns<const D: usize>(values: &Array2<f32>) -> Vec<[f32; D]> {
    values.outer_iter().map(|row| std::array::from_fn(|d| row.get(d).copied().unwrap_or(0.0))).collect()
}

/// A little noise takes duplicates apart, and fills axes that few rows do not span.
fn with_noise<const D: usize>(mut points: Vec<[f32; D]>, noise: Stream) -> Vec<[f32; D]> {
    let largest = points.as_flattened().iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let scale = if largest > 1e-30 { 1.0 / largest } else { 0.0 };
    for (i, point) in points.iter_mut().enumerate() {
        for (d, x) in point.iter_mut().enumerate() {
            *x = *x * scale + NOISE * noise.normal(i as u64, d as u64) as f32;
        }
    }
    points
}
