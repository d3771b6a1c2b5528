//! What a fit can be given besides the data.

use std::fmt;

use ndarray::ArrayView2;
use rayon::prelude::*;
use tlc_core::{ReduceError, is_measurable};

use crate::input::points_from_array;
use crate::knn::{GraphReport, KnnOptions, Neighbours};

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
    /// Is told how the neighbours were searched and how many of the true ones were found; it stays as it is where they
    /// were given.
    pub graph_report: Option<&'a mut Option<GraphReport>>,
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

impl<'a> FitOptions<'a> {
    /// The given neighbours, which must be at least `k` for each of `n` rows.
    pub(crate) fn checked_neighbours(&self, n: usize, k: usize) -> Result<Option<&'a Neighbours>, ReduceError> {
        let Some(given) = self.neighbours else { return Ok(None) };
        let (shape, distances) = (given.indices.dim(), given.squared.dim());
        if shape != distances {
            let reason = format!("its neighbours have indices {shape:?} and distances {distances:?}");
            return Err(ReduceError::data(reason));
        }
        if shape.0 != n || shape.1 < k {
            let reason =
                format!("its neighbours are {} for each of {} rows; {k} for each of {n} are needed", shape.1, shape.0);
            return Err(ReduceError::data(reason));
        }
        let holds = |row: usize| {
            let (mut ids, squared) = (given.indices.row(row).to_vec(), given.squared.row(row));
            ids.sort_unstable();
            ids.iter().all(|&other| (other as usize) < n && other as usize != row)
                && ids.windows(2).all(|pair| pair[0] != pair[1])
                && squared.iter().all(|&squared| squared >= 0.0 && squared.is_finite())
                && squared.iter().zip(squared.iter().skip(1)).all(|(near, far)| near <= far)
        };
        match (0..n).into_par_iter().position_first(|row| !holds(row)) {
            None => Ok(Some(given)),
            Some(row) => Err(ReduceError::data(format!(
                "the neighbours of row {row} are not different other rows below {n}, nearest first, at finite distances"
            ))),
        }
    }

    /// Hands over what the search came to, and says so where it missed its target.
    pub(crate) fn report(&mut self, report: GraphReport, wanted: KnnOptions) {
        if report.recall < wanted.target_recall {
            let (recall, target) = (report.recall, wanted.target_recall);
            tracing::warn!(
                recall,
                target,
                "fewer of the true neighbours were found than asked for; knn exact finds all"
            );
        }
        if let Some(place) = &mut self.graph_report {
            **place = Some(report);
        }
    }

    /// The given initial layout, which must be of `n` points.
    pub(crate) fn checked_init<const D: usize>(&self, n: usize) -> Result<Option<Vec<[f32; D]>>, ReduceError> {
        let Some(init) = self.init else { return Ok(None) };
        if init.dim() != (n, D) {
            let reason = format!("its initial layout is {:?}; ({n}, {D}) is needed", init.dim());
            return Err(ReduceError::data(reason));
        }
        if let Some(row) = init.outer_iter().position(|row| !is_measurable(row)) {
            let reason = format!("row {row} of its initial layout holds NaN, infinity or values beyond ±1e15");
            return Err(ReduceError::data(reason));
        }
        Ok(Some(points_from_array(&init)))
    }

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
