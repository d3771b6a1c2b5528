//! UMAP as a whole; the parts are tested beside them.

use ndarray::{Array2, Axis, concatenate, s};
use tlc_core::rng::Stream;

use super::*;
use crate::Snapshots;
use crate::input::Metric;
use crate::knn::{Index, KnnMethod, Neighbours};
use crate::quality::{knn_accuracy, knn_accuracy_of_others};

#[track_caller]
fn umap(params: UmapParams) -> Umap {
    Umap::new(params).expect("valid parameters")
}

fn noise(n: usize, d: usize) -> Array2<f32> {
    let stream = Stream::new(4, "test");
    Array2::from_shape_fn((n, d), |(i, j)| stream.normal(i as u64, j as u64) as f32)
}

#[track_caller]
fn layout(params: UmapParams, rows: &Array2<f32>, options: FitOptions<'_>) -> Array2<f32> {
    let fitted = umap(params).fit_with(rows.view(), options, &Progress::default()).expect("fits");
    fitted.layout().to_owned()
}

fn graph(rows: &Array2<f32>, k: usize) -> Neighbours {
    let progress = Progress::default();
    let index = Index::build(rows.clone(), KnnMethod::Exact, &progress).expect("builds");
    index.graph(k, &progress).expect("k fits")
}

#[test]
fn keeps_the_contract() {
    tlc_core::conformance::check_reducer(&umap(UmapParams::default()));
    let params = UmapParams {
        n_components: 3,
        n_neighbors: 8,
        metric: Metric::Cosine,
        init: UmapInit::Pca,
        standard_scaler_normalize: true,
        knn: KnnMethod::Hnsw,
        seed: 7,
        ..UmapParams::default()
    };
    tlc_core::conformance::check_reducer(&umap(params));
    tlc_core::conformance::check_reducer(&umap(UmapParams {
        n_components: 1,
        init: UmapInit::Random,
        n_jobs: 2,
        set_op_mix_ratio: 0.5,
        local_connectivity: 1.5,
        ..UmapParams::default()
    }));
}

#[test]
fn classes_stay_together_and_new_rows_join_theirs() {
    let centres = noise(6, 20) * 2.0;
    let labels = |n: usize| -> Vec<i64> { (0..n as i64).map(|i| i % 6).collect() };
    let rows = Array2::from_shape_fn((900, 20), |(i, j)| centres[[i % 6, j]]) + noise(900, 20);
    let others = rows.slice(s![600.., ..]);
    let rows = rows.slice(s![..600, ..]);
    for (n_components, init) in
        [(1, UmapInit::Spectral), (2, UmapInit::Spectral), (2, UmapInit::Random), (3, UmapInit::Pca)]
    {
        let progress = Progress::default();
        let reducer = umap(UmapParams { n_components, init, ..UmapParams::default() });
        let fitted = reducer.fit(rows, &progress).expect("fits");
        let own = knn_accuracy(fitted.layout(), &labels(600), 10, &progress).expect("labels fit");
        assert!(own > 0.95, "{n_components} {init:?}: {own}");
        let placed = fitted.transform(others, &progress).expect("transforms").coordinates;
        let found = knn_accuracy_of_others(fitted.layout(), &labels(600), placed.view(), &labels(300), 10, &progress);
        let found = found.expect("labels fit");
        assert!(found > 0.95, "{n_components} {init:?}: {found}");
    }
}

#[test]
fn few_rows_are_laid_out() {
    for n in 1..=12 {
        for n_components in 1..=3 {
            for init in [UmapInit::Spectral, UmapInit::Pca, UmapInit::Random] {
                let rows = Array2::from_shape_fn((n, 2), |(i, j)| (i * (j + 1)) as f32);
                let params = UmapParams { n_components, init, n_epochs: Some(60), ..UmapParams::default() };
                let layout = layout(params, &rows, FitOptions::default());
                assert_eq!(layout.dim(), (n, n_components));
                assert!(layout.iter().all(|x| x.is_finite()), "{n} rows, {init:?}");
            }
        }
    }
}

#[test]
fn equal_rows_and_duplicates_are_laid_out() {
    let equal = Array2::ones((300, 5));
    assert!(layout(UmapParams::default(), &equal, FitOptions::default()).iter().all(|x| x.is_finite()));
    let params = UmapParams { n_epochs: Some(50), ..UmapParams::default() };
    let duplicates = concatenate![Axis(0), Array2::ones((2500, 5)), noise(500, 5)];
    let layout = layout(params, &duplicates, FitOptions::default());
    assert!(layout.iter().all(|x| x.is_finite()));
}

#[test]
fn huge_values_are_refused_and_a_row_without_direction_has_no_place() {
    let mut rows = noise(60, 4);
    let cosine = UmapParams { metric: Metric::Cosine, standard_scaler_normalize: true, ..UmapParams::default() };
    let fitted = umap(cosine).fit(rows.view(), &Progress::default()).expect("fits");
    let mean = rows.mean_axis(Axis(0)).expect("rows").insert_axis(Axis(0));
    let placed = fitted.transform(concatenate![Axis(0), mean, rows].view(), &Progress::default());
    assert!(placed.expect("no error").coordinates.rows().into_iter().skip(1).flatten().all(|x| x.is_finite()));
    rows[[7, 0]] = 1e30;
    let error = umap(UmapParams::default()).fit(rows.view(), &Progress::default()).expect_err("too large");
    assert!(matches!(error, ReduceError::NotFinite { count: 1, .. }), "{error:?}");
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let rows = noise(2500, 10);
    for (init, n_components) in [(UmapInit::Spectral, 2), (UmapInit::Pca, 3), (UmapInit::Random, 1)] {
        let params = UmapParams { init, n_components, n_epochs: Some(30), ..UmapParams::default() };
        let expected = layout(UmapParams { n_jobs: 1, ..params.clone() }, &rows, FitOptions::default());
        for n_jobs in [2, 3, 8] {
            let found = layout(UmapParams { n_jobs, ..params.clone() }, &rows, FitOptions::default());
            assert!(found == expected, "{init:?} with {n_jobs} threads");
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(5).build().expect("a pool");
        assert!(pool.install(|| layout(params, &rows, FitOptions::default())) == expected, "{init:?} in another pool");
    }
}

#[test]
fn the_number_of_threads_does_not_matter_for_large_data_either() {
    // Cells as for more rows than auto would search exactly, in the rows' own width and in a projection.
    for width in [10, 150] {
        let rows = noise(2500, width);
        let fit = |n_jobs| {
            let params = UmapParams { n_jobs, knn: KnnMethod::Cells, n_epochs: Some(12), ..UmapParams::default() };
            let fitted = umap(params).fit(rows.view(), &Progress::default()).expect("fits");
            let new = fitted.transform((noise(300, width) + 0.25).view(), &Progress::default()).expect("transforms");
            (fitted.layout().to_owned(), new)
        };
        let expected = fit(1);
        for n_jobs in [2, 3, 8] {
            assert!(fit(n_jobs) == expected, "{width} columns, {n_jobs} threads");
        }
    }
}

#[test]
fn a_fit_says_how_many_neighbours_it_found() {
    let rows = noise(3000, 20);
    let recall = |target_recall: f64| {
        let mut report = None;
        let params = UmapParams { knn: KnnMethod::Cells, n_epochs: Some(1), target_recall, ..UmapParams::default() };
        layout(params, &rows, FitOptions { graph_report: Some(&mut report), ..FitOptions::default() });
        report.expect("they were searched")
    };
    let (low, high) = (recall(0.3), recall(0.9));
    assert_eq!(high.method, KnnMethod::Cells);
    assert!(low.recall >= 0.3 && low.recall < high.recall && high.recall >= 0.9, "{low:?}, {high:?}");
}

#[test]
fn odd_data_are_laid_out() {
    let mut constant = noise(150, 6);
    constant.column_mut(2).fill(3.0);
    for (data, what) in [(noise(200, 1), "one column"), (constant, "a constant column"), (noise(60, 2) * 1e14, "large")]
    {
        for n_components in 1..=3 {
            let params = UmapParams { n_components, n_epochs: Some(40), ..UmapParams::default() };
            let layout = layout(params, &data, FitOptions::default());
            assert!(layout.iter().all(|x| x.is_finite()), "{what}, {n_components} components");
        }
    }
}

#[test]
fn rows_far_outside_score_high() {
    let params = UmapParams { n_epochs: Some(20), ..UmapParams::default() };
    let fitted = umap(params).fit(noise(500, 8).view(), &Progress::default()).expect("fits");
    let score = |rows: Array2<f32>| {
        let placed = fitted.transform(rows.view(), &Progress::default()).expect("transforms");
        placed.out_of_distribution.mean().expect("some rows")
    };
    let inside = score(noise(700, 8).slice(s![500.., ..]).to_owned());
    let outside = score(noise(50, 8) * 20.0);
    assert!((0.5..1.5).contains(&inside) && outside > 10.0, "inside {inside}, outside {outside}");
}

#[test]
fn every_problem_of_the_arguments_is_listed_and_no_other() {
    let complaint = |args: serde_json::Value| {
        let serde_json::Value::Object(args) = args else { panic!("an object") };
        let error = tlc_core::reducer_from_args("umap", args).expect_err("refused");
        let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
        format!("{error}{cause}")
    };
    let found = complaint(serde_json::json!({"spread": 3, "min_dist": 2, "n_epochs": 0, "n_components": 9}));
    assert!(found.contains("n_components is 9") && found.contains("n_epochs is 0"), "{found}");
    assert!(!found.contains("min_dist"), "2 is below the spread: {found}");
    let found = complaint(serde_json::json!({"n_neighbors": 3, "local_connectivity": 5, "densmap": true, "seed": "x"}));
    assert!(found.contains("local_connectivity is 5; use 0 up to"), "{found}");
    assert!(found.contains("`densmap`") && found.contains("seed: invalid type"), "{found}");
}

#[test]
fn given_neighbours_serve_as_well_as_found_ones() {
    let rows = noise(400, 6);
    let params = UmapParams { n_epochs: Some(20), knn: KnnMethod::Exact, ..UmapParams::default() };
    let found = layout(params.clone(), &rows, FitOptions::default());
    for k in [14, 30] {
        let neighbours = graph(&rows, k);
        let options = FitOptions { neighbours: Some(&neighbours), ..FitOptions::default() };
        assert_eq!(layout(params.clone(), &rows, options), found, "{k} neighbours");
    }
}

#[test]
fn neighbours_that_do_not_fit_are_refused() {
    let rows = noise(100, 6);
    let good = graph(&rows, 14);
    let check = |neighbours: Neighbours, expected: &str| {
        let options = FitOptions { neighbours: Some(&neighbours), ..FitOptions::default() };
        let error = umap(UmapParams::default()).fit_with(rows.view(), options, &Progress::default());
        let message = error.expect_err("does not fit").to_string();
        assert!(message.contains(expected), "{message}");
    };
    check(graph(&rows, 13), "13 for each of 100 rows; 14 for each of 100 are needed");
    check(graph(&noise(90, 6), 14), "14 for each of 90 rows");
    check(Neighbours { squared: good.squared.slice(s![.., ..5]).to_owned(), ..good.clone() }, "(100, 14)");
    let with = |row: usize, index: u32, squared: f32| {
        let mut changed = good.clone();
        (changed.indices[[row, 3]], changed.squared[[row, 3]]) = (index, squared);
        changed
    };
    check(with(5, 5, good.squared[[5, 3]]), "the neighbours of row 5");
    check(with(6, 100, good.squared[[6, 3]]), "the neighbours of row 6");
    check(with(7, good.indices[[7, 0]], good.squared[[7, 3]]), "the neighbours of row 7");
    check(with(8, good.indices[[8, 3]], f32::NAN), "the neighbours of row 8");
    check(with(9, good.indices[[9, 3]], 0.0), "nearest first");
}

#[test]
fn a_given_start_is_where_it_starts() {
    let rows = noise(200, 6);
    let start = noise(200, 2) * 3.0;
    let params = UmapParams { n_epochs: Some(12), ..UmapParams::default() };
    let mut taken = Vec::new();
    let mut take = |iteration: usize, layout: ndarray::ArrayView2<'_, f32>| taken.push((iteration, layout.to_owned()));
    let snapshots = Some(Snapshots { iterations: &[0, 5, 12, 40], take: &mut take });
    let last =
        layout(params.clone(), &rows, FitOptions { init: Some(start.view()), snapshots, ..FitOptions::default() });
    assert_eq!(taken.iter().map(|(iteration, _)| *iteration).collect::<Vec<_>>(), [0, 5, 12]);
    assert_eq!(taken[0].1, start);
    assert_ne!(taken[1].1, start);
    assert_eq!(taken[2].1, last);
    for bad in [noise(200, 3), noise(199, 2), start * f32::NAN] {
        let options = FitOptions { init: Some(bad.view()), ..FitOptions::default() };
        let error =
            umap(params.clone()).fit_with(rows.view(), options, &Progress::default()).expect_err("does not fit");
        assert!(error.to_string().contains("initial layout"), "{error}");
    }
}

#[test]
fn a_fit_stops_when_asked() {
    let progress = Progress::default();
    let rows = noise(300, 6);
    let mut take = |_: usize, _: ndarray::ArrayView2<'_, f32>| progress.cancel();
    let snapshots = Some(Snapshots { iterations: &[3], take: &mut take });
    let options = FitOptions { snapshots, ..FitOptions::default() };
    let error = umap(UmapParams::default()).fit_with(rows.view(), options, &progress).expect_err("cancelled");
    assert!(matches!(error, ReduceError::Cancelled(_)), "{error:?}");
}

#[test]
fn parameters_out_of_range_are_named() {
    let check = |params: UmapParams, expected: &str| {
        assert_eq!(Umap::new(params).expect_err("out of range").to_string(), expected);
    };
    let defaults = UmapParams::default;
    check(UmapParams { n_components: 4, ..defaults() }, "n_components is 4; use 1, 2 or 3");
    check(UmapParams { n_neighbors: 1, ..defaults() }, "n_neighbors is 1; use at least 2");
    check(UmapParams { min_dist: 2.0, ..defaults() }, "min_dist is 2; use 0 up to the spread, 1");
    check(UmapParams { spread: f64::NAN, ..defaults() }, "spread is NaN; use 0.001 to 1000");
    check(UmapParams { learning_rate: 0.0, ..defaults() }, "learning_rate is 0; use a positive number");
    check(UmapParams { n_epochs: Some(0), ..defaults() }, "n_epochs is 0; use 1 to 1000000, or leave it out");
    check(UmapParams { repulsion_strength: -1.0, ..defaults() }, "repulsion_strength is -1; use 0 to 1000000");
    check(
        UmapParams { set_op_mix_ratio: 1.5, ..defaults() },
        "set_op_mix_ratio is 1.5; use 0 (intersection) to 1 (union)",
    );
    check(
        UmapParams { local_connectivity: 15.0, ..defaults() },
        "local_connectivity is 15; use 0 up to the number of other rows in a neighbourhood, 14",
    );
    check(
        UmapParams { n_jobs: 0, n_components: 9, min_dist: 3.0, ..defaults() },
        "n_components is 9; use 1, 2 or 3; min_dist is 3; use 0 up to the spread, 1; n_jobs is 0; use -1 or 1 to 4096",
    );
}

#[test]
fn parameters_are_read_by_the_products_names() {
    let read = |json: &str| serde_json::from_str::<Umap>(json);
    assert_eq!(read("{}").expect("all have defaults").params(), &UmapParams::default());
    assert_eq!(read(r#"{"random_state": null, "n_jobs": -1}"#).expect("accepted").params().seed, 42);
    assert_eq!(read(r#"{"random_state": 7}"#).expect("accepted").params().seed, 7);
    assert!(read(r#"{"densmap": true}"#).is_err(), "unknown");
    let written = serde_json::to_string(&umap(UmapParams { n_jobs: 3, ..UmapParams::default() })).expect("writes");
    assert_eq!(read(&written).expect("reads back").params().n_jobs, 3);
}
