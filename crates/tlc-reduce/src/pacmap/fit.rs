//! A fit from rows to layout, stage by stage.

use std::borrow::Cow;

use ndarray::{Array1, Array2, ArrayView2, s};
use rayon::prelude::*;
use tlc_core::rng::Stream;
use tlc_core::{Arrays, FittedReducer, Progress, ReduceError, Reducer};

use super::fitted::FittedPacmap;
use super::layout::{Optimiser, n_iterations};
use super::pairs::Pairs;
use super::params::{PacmapInit, PacmapParams};
use super::preprocess::Preprocess;
use crate::distance::squared_euclidean;
use crate::fit_options::FitOptions;
use crate::input::{array_from_points, checked_for_fit};
use crate::jobs::Jobs;
use crate::knn::{Index, KnnOptions, Neighbours};
use crate::neighbours::{Embedded, FittedRows, local_scale};
use crate::pca::PrincipalAxes;

/// How many more neighbours are searched than used: the nearest by scaled distance are among them.
const EXTRA_NEIGHBOURS: usize = 50;
/// The initial layout is the first principal components times this.
const PCA_SCALE: f32 = 0.01;
/// Standard deviation of a random or given initial layout.
const INIT_DEVIATION: f32 = 1e-4;

/// PaCMAP, or LocalMAP if there is a distance up to which points repel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Method<'a> {
    pub(super) params: &'a PacmapParams,
    pub(super) low_dist_thres: Option<f32>,
}

impl Method<'_> {
    /// `reducer` is who is asked for the fit.
    pub(super) fn fit(
        self,
        reducer: Box<dyn Reducer>,
        data: &ArrayView2<'_, f32>,
        options: FitOptions<'_>,
        progress: &Progress,
    ) -> Result<Box<dyn FittedReducer>, ReduceError> {
        progress.check()?;
        match self.params.n_components {
            1 => self.fit_in::<1>(reducer, data, options, progress),
            2 => self.fit_in::<2>(reducer, data, options, progress),
            _ => self.fit_in::<3>(reducer, data, options, progress),
        }
    }

    fn fit_in<const D: usize>(
        self,
        reducer: Box<dyn Reducer>,
        data: &ArrayView2<'_, f32>,
        mut options: FitOptions<'_>,
        progress: &Progress,
    ) -> Result<Box<dyn FittedReducer>, ReduceError> {
        let params = self.params;
        let data = checked_for_fit(data, params.distance)?;
        let n = data.nrows();
        let counts = params.pair_counts(n);
        let given_neighbours = options.checked_neighbours(n, counts.near)?;
        let given_start = options.checked_init::<D>(n)?;
        let jobs = Jobs::new(params.n_jobs)?;

        let (preprocess, Embedded { rows, residuals }) =
            jobs.run(|| Preprocess::fit_and_apply(data, params, progress))?;
        progress.check()?;
        let start = match given_start {
            Some(mut start) => {
                standardise(&mut start);
                start
            }
            None => jobs.run(|| self.initial_layout::<D>(&preprocess, rows.view(), progress))?,
        };
        progress.check()?;
        let knn = KnnOptions { method: params.knn, target_recall: params.target_recall, seed: params.seed };
        let index = jobs.run(|| Index::from_parts(rows, knn, &mut Arrays::default(), progress))?;
        let fitted = |layout: &[[f32; D]], local_scale, index| {
            let fitted = FittedRows::new(index, array_from_points(layout), local_scale).with_residuals(residuals);
            Ok(Box::new(FittedPacmap::<D>::new(reducer, params.clone(), preprocess, fitted)) as Box<_>)
        };
        if counts.near == 0 {
            options.snapshot(0, &start);
            return fitted(&start, Array1::ones(n), index);
        }
        let k = (counts.near + EXTRA_NEIGHBOURS).min(n - 1);
        let neighbours = match given_neighbours {
            Some(given) => jobs.run(|| measured(given, k, &index)),
            None => {
                let (found, report) = jobs.run(|| index.graph_with_report(k, progress))?;
                options.report(report, knn);
                found
            }
        };
        let local_scale = local_scale(&neighbours);
        let pairs = jobs.run(|| Pairs::sample(&index, &neighbours, counts, params.seed, progress))?;
        // The largest array of the fit has done its work.
        drop(neighbours);
        let arranging = progress.task("arrange pairs", 1);
        let mut optimiser = jobs.run(|| Optimiser::new(pairs, start, self));
        arranging.advance(1)?;
        drop(arranging);
        let task = progress.task("pacmap layout", n_iterations(params) as u64);
        options.snapshot(0, optimiser.points());
        for iteration in 1..=n_iterations(params) {
            jobs.run(|| optimiser.step());
            options.snapshot(iteration, optimiser.points());
            task.advance(1)?;
        }
        fitted(optimiser.points(), local_scale, index)
    }

    fn initial_layout<const D: usize>(
        self,
        preprocess: &Preprocess,
        rows: ArrayView2<'_, f32>,
        progress: &Progress,
    ) -> Result<Vec<[f32; D]>, ReduceError> {
        let n = rows.nrows();
        if self.params.init == PacmapInit::Random {
            let noise = Stream::new(self.params.seed, "pacmap-init");
            let place = |i: usize, d: usize| INIT_DEVIATION * noise.normal(i as u64, d as u64) as f32;
            return Ok((0..n).map(|i| std::array::from_fn(|d| place(i, d))).collect());
        }
        let projected = if preprocess.is_pca() {
            Cow::Owned(rows.slice(s![.., ..D.min(rows.ncols())]).to_owned())
        } else {
            Cow::<Array2<f32>>::Owned(PrincipalAxes::fit(rows, D, self.params.seed, progress)?.coordinates(rows))
        };
        // Where few rows span fewer axes than the layout has, the others start at zero.
        let place = |row: usize, d: usize| if d < projected.ncols() { PCA_SCALE * projected[[row, d]] } else { 0.0 };
        Ok((0..n).map(|row| std::array::from_fn(|d| place(row, d))).collect())
    }
}

/// The first `k` of the given neighbours with their distances in the space of the fit, nearest first.
///
/// Given distances may be of the rows before they were scaled or projected; then they would not compare
/// to those of new rows.
fn measured(given: &Neighbours, k: usize, index: &Index) -> Neighbours {
    let k = k.min(given.k());
    let lists: Vec<Vec<(f32, u32)>> = (0..index.n_rows())
        .into_par_iter()
        .map(|i| {
            let indices = given.indices.row(i);
            let mut list: Vec<(f32, u32)> =
                indices.iter().take(k).map(|&j| (squared_euclidean(index.row(i), index.row(j as usize)), j)).collect();
            list.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            list
        })
        .collect();
    Neighbours {
        indices: Array2::from_shape_fn((lists.len(), k), |(i, rank)| lists[i][rank].1),
        squared: Array2::from_shape_fn((lists.len(), k), |(i, rank)| lists[i][rank].0),
    }
}

/// Brings each axis of a given layout to mean 0 and a standard deviation of 0.0001 as in pacmap: the
/// optimisation needs points close together.
fn standardise<const D: usize>(start: &mut [[f32; D]]) {
    let n = start.len() as f64;
    for d in 0..D {
        let mean = start.iter().map(|point| f64::from(point[d])).sum::<f64>() / n;
        let variance = start.iter().map(|point| (f64::from(point[d]) - mean).powi(2)).sum::<f64>() / n;
        let scale = if variance > 0.0 { f64::from(INIT_DEVIATION) / variance.sqrt() } else { 0.0 };
        start.iter_mut().for_each(|point| point[d] = ((f64::from(point[d]) - mean) * scale) as f32);
    }
}
