//! Our side of `cargo xtask bench --peers`: one reducer on one job, each step timed.
//!
//! An example of this crate, so that neither Lance nor libtorch is linked.

#![expect(clippy::print_stdout, reason = "the report goes to whoever started the process")]

#[path = "../../../benches/peers/job.rs"]
mod job;
#[path = "../../../benches/peers/stages.rs"]
mod stages;

use std::time::Instant;

use anyhow::{Context, Result, bail};
use ndarray::{ArrayView2, s};
use serde_json::Value;
use tlc_core::{FittedReducer, Progress, Reducer};
use tlc_reduce::knn::GraphReport;
use tlc_reduce::{FitOptions, Localmap, Pacmap, Pca, Umap};

use self::job::{Job, Matrix, note_first_result};
use self::stages::StageClock;

/// How often one row is transformed; the median is reported.
const ONE_ROW_REPETITIONS: usize = 201;

fn main() -> Result<()> {
    let mut job = Job::from_command_line()?;
    let progress = Progress::default();
    let mut args = job.args.clone();
    args.insert("seed".to_owned(), job.seed.into());
    // Of PCA none is asked for: its result does not depend on it but for rounding.
    if job.method == "pca" {
        args.remove("seed");
    }
    let (clock, watched) = StageClock::start();
    let (fitted, report) = job.timed("fit", |job| fit(&job.method, args.into(), view(&job.train)?, &watched))?;
    job.report.insert("fit_stages".to_owned(), serde_json::to_value(clock.seconds())?);
    if let Some(report) = report {
        job.report.insert("knn_recall".to_owned(), report.recall.into());
    }
    note_first_result(&mut job);
    let n_components = fitted.reducer().n_components();
    job.write("layout.npy", fitted.layout().as_standard_layout().as_slice().context("a layout")?, n_components)?;
    if !job.first_result_only {
        transform(&mut job, fitted, n_components, &progress)?;
    }
    job.finish(concat!("tlc ", env!("CARGO_PKG_VERSION")));
    Ok(())
}

/// A fitted model, and what the search for neighbours came to.
fn fit(
    method: &str,
    args: Value,
    data: ArrayView2<'_, f32>,
    progress: &Progress,
) -> Result<(Box<dyn FittedReducer>, Option<GraphReport>)> {
    let mut report = None;
    let options = FitOptions { graph_report: Some(&mut report), ..FitOptions::default() };
    let fitted = match method {
        "umap" => serde_json::from_value::<Umap>(args)?.fit_with(data, options, progress),
        "pacmap" => serde_json::from_value::<Pacmap>(args)?.fit_with(data, options, progress),
        "localmap" => serde_json::from_value::<Localmap>(args)?.fit_with(data, options, progress),
        "pca" => serde_json::from_value::<Pca>(args)?.fit(data, progress),
        other => bail!("no method is called {other}; there are umap, pacmap, localmap and pca"),
    };
    Ok((fitted.context("cannot fit")?, report))
}

/// All new rows by the model that was just fitted, as the peers do; then one row, by the model that another process
/// would put together from its file's arrays. The peak of memory is that before the latter.
fn transform(job: &mut Job, fitted: Box<dyn FittedReducer>, n_components: usize, progress: &Progress) -> Result<()> {
    let transformed =
        job.timed("transform", |job| fitted.transform(view(&job.test)?, progress).context("cannot place"))?;
    let coordinates = transformed.coordinates.as_standard_layout();
    job.write("transformed.npy", coordinates.as_slice().context("coordinates")?, n_components)?;
    job.note_peak();

    let (reducer, arrays) = (fitted.reducer().boxed_clone(), fitted.to_arrays());
    drop(fitted);
    let restored = job.timed("restore", |_| reducer.restore(arrays))?;
    let mut times = Vec::new();
    for row in (0..job.test.rows).cycle().take(ONE_ROW_REPETITIONS) {
        let started = Instant::now();
        restored.transform(view(&job.test)?.slice(s![row..=row, ..]), progress)?;
        times.push(started.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    job.report.insert("one_row_secs".to_owned(), times[times.len() / 2].into());
    Ok(())
}

fn view(matrix: &Matrix) -> Result<ArrayView2<'_, f32>> {
    Ok(ArrayView2::from_shape((matrix.rows, matrix.width), &matrix.values)?)
}
