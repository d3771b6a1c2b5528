//! A fit from rows to layout, stage by stage.

use std::borrow::Cow;

use ndarray::{Array1, ArrayView2, s};
use tlc_core::{Arrays, FittedReducer, Progress, ReduceError, is_measurable};

use super::fitted::FittedUmap;
use super::graph::FuzzyGraph;
use super::optimise::Optimiser;
use super::scale::{Scaler, embed};
use super::{Umap, init};
use crate::fit_options::FitOptions;
use crate::input::{Metric, array_from_points, checked_for_fit};
use crate::jobs::Jobs;
use crate::knn::{Index, KnnOptions, Neighbours};
use crate::neighbours::{FittedRows, local_scale};

pub(super) fn fit<const D: usize>(
    umap: &Umap,
    data: &ArrayView2<'_, f32>,
    mut options: FitOptions<'_>,
    progress: &Progress,
) -> Result<Box<dyn FittedReducer>, ReduceError> {
    let params = umap.params();
    // Which rows have no direction is seen after scaling.
    let raw_metric = if params.standard_scaler_normalize { Metric::Euclidean } else { params.metric };
    let data = checked_for_fit(data, raw_metric)?;
    let n = data.nrows();
    let others = params.n_neighbors.min(n) - 1;
    let given_neighbours = options.checked_neighbours(n, others)?;
    let given_start = options.checked_init::<D>(n)?;
    let jobs = Jobs::new(params.n_jobs)?;

    let n_features = data.ncols();
    let (rows, scaler) = jobs.run(|| {
        let scaler = params.standard_scaler_normalize.then(|| Scaler::fit(data.view()));
        (embed(scaler.as_ref(), params.metric, data.into_owned()), scaler)
    });
    if let Some(row) = rows.outer_iter().position(|row| !is_measurable(row)) {
        let reason = format!("row {row} is all zeros after scaling and has no direction; use the euclidean metric");
        return Err(ReduceError::data(reason));
    }
    progress.check()?;

    let fitted = |fitted| Ok(Box::new(FittedUmap::<D>::new(umap.clone(), scaler, n_features, fitted)) as Box<_>);
    let knn = KnnOptions { method: params.knn, target_recall: params.target_recall, seed: params.seed };
    let index = jobs.run(|| Index::from_parts(rows, knn, &mut Arrays::default(), progress))?;
    if others == 0 {
        let points = match given_start {
            Some(start) => start,
            None => vec![[0.0; D]],
        };
        options.snapshot(0, &points);
        return fitted(FittedRows::new(index, array_from_points(&points), Array1::ones(n)));
    }
    let neighbours = match given_neighbours {
        Some(given) => first_of_each(given, others),
        None => {
            let (found, report) = jobs.run(|| index.graph_with_report(others, progress))?;
            options.report(report, knn);
            Cow::Owned(found)
        }
    };
    let n_epochs = params.n_epochs.unwrap_or(if n <= 10_000 { 500 } else { 200 });
    let local_scale = local_scale(&neighbours);
    let graph = jobs.run(|| FuzzyGraph::new(&neighbours, params, n_epochs, progress))?;
    drop(neighbours);
    let start = match given_start {
        Some(start) => start,
        None => jobs.run(|| init::layout::<D>(params, &index, &graph, progress))?,
    };
    let mut optimiser = Optimiser::new(&graph, start, umap.forces(), n_epochs, params);
    options.snapshot(0, optimiser.points());
    let task = progress.task("umap layout", n_epochs as u64);
    for iteration in 1..=n_epochs {
        jobs.run(|| optimiser.step());
        options.snapshot(iteration, optimiser.points());
        task.advance(1)?;
    }
    let layout = array_from_points(optimiser.points());
    fitted(FittedRows::new(index, layout, local_scale))
}

fn first_of_each(neighbours: &Neighbours, k: usize) -> Cow<'_, Neighbours> {
    if neighbours.k() == k {
        return Cow::Borrowed(neighbours);
    }
    let first = s![.., ..k];
    Cow::Owned(Neighbours {
        indices: neighbours.indices.slice(first).to_owned(),
        squared: neighbours.squared.slice(first).to_owned(),
    })
}
