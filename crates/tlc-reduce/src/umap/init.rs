//! Where the layout starts.

use ndarray::{Array2, Axis};
use tlc_core::rng::Stream;
use tlc_core::{Progress, ReduceError};

use super::graph::FuzzyGraph;
use super::{UmapInit, UmapParams};
use crate::input::points_from_array;
use crate::knn::Index;
use crate::pca::PrincipalAxes;

/// Scaled so that each axis covers `0..=10`, as in umap-learn.
pub(super) fn layout<const D: usize>(
    params: &UmapParams,
    index: &Index,
    _graph: &FuzzyGraph,
    _progress: &Progress,
) -> Result<Vec<[f32; D]>, ReduceError> {
    let n = index.n_rows();
    let noise = Stream::new(params.seed, "umap-init");
    let mut layout = match params.init {
        UmapInit::Random => Array2::from_shape_fn((n, D), |(i, d)| noise.uniform(i as u64, d as u64) as f32),
        _ => {
            let projected = principal_components(index, D, params.seed)?;
            let largest = projected.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
            let scale = if largest > 1e-30 { 10.0 / largest } else { 0.0 };
            // A little noise takes duplicates apart, and fills axes that few rows do not span.
            Array2::from_shape_fn((n, D), |(i, d)| {
                let value = if d < projected.ncols() { projected[[i, d]] * scale } else { 0.0 };
                value + 1e-4 * noise.normal(i as u64, d as u64) as f32
            })
        }
    };
    for mut axis in layout.axis_iter_mut(Axis(1)) {
        let (least, most) = axis.iter().fold((f32::MAX, f32::MIN), |(a, b), &x| (a.min(x), b.max(x)));
        let range = (most - least).max(f32::MIN_POSITIVE);
        axis.mapv_inplace(|x| 10.0 * (x - least) / range);
    }
    Ok(points_from_array(&layout.view()))
}

/// The first principal components of the rows; the search of wide rows has them already.
fn principal_components(index: &Index, n_axes: usize, seed: u64) -> Result<Array2<f32>, ReduceError> {
    if let Some(known) = index.first_components(n_axes) {
        return Ok(known);
    }
    let rows = index.to_rows();
    Ok(PrincipalAxes::fit(rows.view(), n_axes, seed)?.project(rows.view()))
}
