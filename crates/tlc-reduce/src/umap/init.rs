//! Where the layout starts.

use ndarray::{Array2, ArrayView2, Axis};
use tlc_core::rng::Stream;
use tlc_core::{Progress, ReduceError};

use super::graph::FuzzyGraph;
use super::{UmapInit, UmapParams};
use crate::input::points_from_array;
use crate::pca::PrincipalAxes;

/// Scaled so that each axis covers `0..=10`, as in umap-learn.
pub(super) fn layout<const D: usize>(
    params: &UmapParams,
    rows: ArrayView2<'_, f32>,
    _graph: &FuzzyGraph,
    _progress: &Progress,
) -> Result<Vec<[f32; D]>, ReduceError> {
    let n = rows.nrows();
    let noise = Stream::new(params.seed, "umap-init");
    let mut layout = match params.init {
        UmapInit::Random => Array2::from_shape_fn((n, D), |(i, d)| noise.uniform(i as u64, d as u64) as f32),
        _ => {
            let axes = PrincipalAxes::fit(rows, D, params.seed)?;
            let projected = axes.project(rows);
            let largest = projected.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
            let scale = if largest > 1e-30 { 10.0 / largest } else { 0.0 };
            // A little noise takes duplicates apart, and fills axes that few rows do not span.
            Array2::from_shape_fn((n, D), |(i, d)| {
                let value = if d < axes.n_axes() { projected[[i, d]] * scale } else { 0.0 };
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
