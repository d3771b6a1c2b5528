//! What a fit can be given besides the data.

use std::fmt;

use ndarray::ArrayView2;

use crate::knn::Neighbours;

/// What a fit of [`Umap`](crate::Umap) or [`Pacmap`](crate::Pacmap) can be given besides the data; the
/// default is nothing.
#[derive(Debug, Default)]
pub struct FitOptions<'a> {
    /// The nearest other rows of each row, nearest first, from [`knn::Index::graph`](crate::knn::Index::graph)
    /// or elsewhere; it may hold more per row than are needed. One graph can serve several methods and
    /// parameter sets.
    pub neighbours: Option<&'a Neighbours>,
    /// Where the layout starts, `(n, n_components)`: a warm start.
    pub init: Option<ArrayView2<'a, f32>>,
    /// Layouts on the way.
    pub snapshots: Option<Snapshots<'a>>,
}

/// Takes layouts on the way of a fit.
pub struct Snapshots<'a> {
    /// After how many iterations; 0 is the initial layout.
    pub iterations: &'a [usize],
    /// Gets the number of iterations and the layout, `(n, n_components)`.
    pub take: &'a mut dyn FnMut(usize, ArrayView2<'_, f32>),
}

impl fmt::Debug for Snapshots<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshots").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl FitOptions<'_> {
    /// Hands over the layout after `iteration` iterations if it is wanted.
    pub(crate) fn snapshot<const D: usize>(&mut self, iteration: usize, points: &[[f32; D]]) {
        if let Some(snapshots) = &mut self.snapshots
            && snapshots.iterations.contains(&iteration)
        {
            let layout = ArrayView2::from_shape((points.len(), D), points.as_flattened()).expect("n times D values");
            (snapshots.take)(iteration, layout);
        }
    }
}
