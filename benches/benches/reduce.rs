//! The reducers as a whole and stage by stage, beside what the machine can do.

#[path = "../peers/stages.rs"]
mod stages;

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use ndarray::{Array2, ArrayView2, Axis, s};
use tlc::core::{FittedReducer, Progress, ReduceError};
use tlc::reduce::knn::{Index, KnnMethod, Neighbours, estimate_recall};
use tlc::reduce::quality::{HeldOut, QualityOptions, report, self_consistency};
use tlc::reduce::{FitOptions, Pacmap, PacmapParams, PrincipalAxes, Umap, UmapParams};
use tlc_benches::clusters;

use self::stages::StageClock;

const N: usize = 5_000;
const D: usize = 128;

fn reducers(criterion: &mut Criterion) {
    let data = clusters(2 * N, D);
    let (known, new) = (data.slice(s![..N, ..]), data.slice(s![N.., ..]));
    let progress = Progress::default();
    let mut group = slow_group(criterion, "reduce_5000x128");
    for method in ["pca", "umap", "pacmap", "localmap"] {
        let reducer = tlc::create_reducer(method, []).expect("linked");
        group.bench_function(format!("{method}_fit"), |bencher| {
            bencher.iter(|| reducer.fit(known, &progress).expect("fits"));
        });
        let fitted = reducer.fit(known, &progress).expect("fits");
        check_map(fitted.as_ref(), known, new, method);
        group.bench_function(format!("{method}_transform_5000"), |bencher| {
            bencher.iter(|| fitted.transform(new, &progress).expect("transforms"));
        });
        group.bench_function(format!("{method}_transform_one_row"), |bencher| {
            bencher.iter(|| fitted.transform(new.slice(s![..1, ..]), &progress).expect("transforms"));
        });
    }
    group.finish();
}

fn fit_stages(criterion: &mut Criterion) {
    let data = clusters(20_000, D);
    let progress = Progress::default();
    let mut group = slow_group(criterion, "stages_20000x128");
    group.bench_function("pca_fit_50", |bencher| {
        bencher.iter(|| PrincipalAxes::fit(data.view(), 50, 0, &progress).expect("fits"));
    });
    let axes = PrincipalAxes::fit(data.view(), 50, 0, &progress).expect("fits");
    check_axes(&axes, data.view());
    group.bench_function("pca_project_50", |bencher| bencher.iter(|| axes.project(data.view())));
    for (name, method) in [("exact", KnnMethod::Exact), ("cells", KnnMethod::Cells), ("hnsw", KnnMethod::Hnsw)] {
        let recall = estimate_recall(data.view(), &graph(&data, 15, method), 0, &progress).expect("as many lists");
        assert!(recall > 0.97, "{name}: recall {recall}");
        group.bench_function(format!("knn_15_{name}"), |bencher| bencher.iter(|| graph(&data, 15, method)));
    }

    let neighbours = graph(&data, 65, KnnMethod::Auto);
    let umap = Umap::new(UmapParams::default()).expect("defaults hold");
    let umap_fit = |options: FitOptions<'_>, progress: &Progress| umap.fit_with(data.view(), options, progress);
    for stage in ["umap graph", "umap initial layout", "umap layout"] {
        bench_stage(&mut group, stage, &neighbours, umap_fit);
    }
    let pacmap = Pacmap::new(PacmapParams::default()).expect("defaults hold");
    let pacmap_fit = |options: FitOptions<'_>, progress: &Progress| pacmap.fit_with(data.view(), options, progress);
    for stage in ["pacmap pairs", "arrange pairs", "pacmap layout"] {
        bench_stage(&mut group, stage, &neighbours, pacmap_fit);
    }
    group.finish();
}

/// Times `stage` alone, as it runs within fits whose neighbours are given.
fn bench_stage(
    group: &mut BenchmarkGroup<'_, WallTime>,
    stage: &str,
    neighbours: &Neighbours,
    fit: impl Fn(FitOptions<'_>, &Progress) -> Result<Box<dyn FittedReducer>, ReduceError>,
) {
    group.bench_function(stage.replace(' ', "_"), |bencher| {
        bencher.iter_custom(|n| {
            let (clock, progress) = StageClock::start();
            for _ in 0..n {
                let options = FitOptions { neighbours: Some(neighbours), ..FitOptions::default() };
                black_box(fit(options, &progress).expect("fits"));
            }
            Duration::from_secs_f64(clock.seconds()[stage])
        });
    });
}

/// A benchmark of a wrong answer says nothing: near rows must be near in the map, fitted or new, better than chance.
fn check_map(fitted: &dyn FittedReducer, known: ArrayView2<'_, f32>, new: ArrayView2<'_, f32>, method: &str) {
    let (options, progress) = (QualityOptions::default(), Progress::default());
    let of_fit = report(known, fitted.layout(), &options, &progress).expect("as many rows").trustworthiness[0].value;
    let held_out = Some(HeldOut { data: new.slice(s![..500, ..]), labels: None });
    let consistency = self_consistency(fitted, known, held_out, &options, &progress).expect("as many rows");
    let of_new = consistency.held_out.expect("given").trustworthiness[0].value;
    let least = Some(if method == "pca" { 0.6 } else { 0.8 });
    assert!(of_fit > least && of_new > least, "{method}: trustworthiness {of_fit:?}, of new rows {of_new:?}");
}

/// What the stages are to be compared with: products of the shape that the search multiplies, and copying.
fn limits(criterion: &mut Criterion) {
    let (a, b) = (clusters(512, D), clusters(512, D));
    let mut group = criterion.benchmark_group("machine");
    group.throughput(Throughput::Elements(2 * 512 * 512 * D as u64));
    group.bench_function("sgemm_512x128x512_flops", |bencher| bencher.iter(|| a.dot(&b.t())));
    let (from, mut to) = (vec![1.0_f32; 1 << 26], vec![0.0_f32; 1 << 26]);
    group.throughput(Throughput::Bytes(2 * size_of_val(from.as_slice()) as u64));
    group.bench_function("copy_256MiB", |bencher| bencher.iter(|| to.copy_from_slice(black_box(&from))));
    group.finish();
}

fn slow_group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group
}

/// Scores on principal axes are uncorrelated, fall in variance, and hold what the clusters differ in.
fn check_axes(axes: &PrincipalAxes, data: ArrayView2<'_, f32>) {
    let centred = |rows: ArrayView2<'_, f32>| {
        let rows = rows.mapv(f64::from);
        let mean = rows.mean_axis(Axis(0)).expect("rows");
        rows - mean
    };
    let scores = centred(axes.project(data).expect("as wide").view());
    let covariance = scores.t().dot(&scores);
    for ((i, j), value) in covariance.indexed_iter().filter(|((i, j), _)| i < j) {
        let (of_i, of_j) = (covariance[[i, i]], covariance[[j, j]]);
        assert!(value.abs() < 0.02 * (of_i * of_j).sqrt(), "axes {i} and {j} correlate: {value} of {of_i}, {of_j}");
        assert!(of_j <= 1.001 * of_i, "axis {j} holds more than axis {i}: {of_j}, {of_i}");
    }
    let held = covariance.diag().sum() / centred(data).mapv(|value| value * value).sum();
    assert!(held > 0.9, "50 axes hold {held} of the variance");
}

fn graph(data: &Array2<f32>, k: usize, method: KnnMethod) -> Neighbours {
    let progress = Progress::default();
    let view: ArrayView2<'_, f32> = data.view();
    Index::build(view.to_owned(), method, &progress).expect("builds").graph(k, &progress).expect("k fits")
}

criterion_group!(benches, reducers, fit_stages, limits);
criterion_main!(benches);
