//! PaCMAP as a whole; the parts are tested beside them.

use ndarray::{Array2, Axis, concatenate};
use tlc_core::rng::Stream;

use super::*;
use crate::knn::{Index, KnnMethod};
use crate::{Metric, Snapshots};

#[track_caller]
fn pacmap(params: PacmapParams) -> Pacmap {
    Pacmap::new(params).expect("valid parameters")
}

#[track_caller]
fn localmap(params: LocalmapParams) -> Localmap {
    Localmap::new(params).expect("valid parameters")
}

fn noise(n: usize, d: usize) -> Array2<f32> {
    let stream = Stream::new(4, "test");
    Array2::from_shape_fn((n, d), |(i, j)| stream.normal(i as u64, j as u64) as f32)
}

#[test]
fn keeps_the_contract() {
    tlc_core::conformance::check_reducer(&pacmap(PacmapParams::default()));
    let params = PacmapParams {
        n_components: 3,
        n_neighbors: Some(7),
        distance: Metric::Cosine,
        apply_pca: false,
        knn: KnnMethod::Hnsw,
        seed: 7,
        ..PacmapParams::default()
    };
    tlc_core::conformance::check_reducer(&pacmap(params.clone()));
    tlc_core::conformance::check_reducer(&localmap(LocalmapParams::default()));
    tlc_core::conformance::check_reducer(&localmap(LocalmapParams { pacmap: params, low_dist_thres: 4.0 }));
}

#[test]
fn few_rows_are_laid_out() {
    for n in 1..40 {
        let fitted = pacmap(PacmapParams::default()).fit(noise(n, 5).view(), &Progress::default()).expect("fits");
        assert_eq!(fitted.layout().dim(), (n, 2));
        assert!(fitted.layout().iter().all(|x| x.is_finite()), "{n} rows");
        let elsewhere = fitted.transform((noise(3, 5) + 0.5).view(), &Progress::default()).expect("transforms");
        assert!(elsewhere.coordinates.iter().all(|x| x.is_finite()), "{n} rows");
    }
}

#[test]
fn wide_rows_go_through_principal_components() {
    let data = noise(300, 150);
    let fitted = pacmap(PacmapParams::default()).fit(data.view(), &Progress::default()).expect("fits");
    assert_eq!(fitted.n_features(), 150);
    let again = fitted.transform(data.view(), &Progress::default()).expect("transforms");
    assert_eq!(again.coordinates, fitted.layout());
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let rows = noise(1200, 120);
    let fit = |n_jobs| {
        let params = PacmapParams { n_jobs, ..PacmapParams::default() };
        let local = LocalmapParams { pacmap: params.clone(), ..LocalmapParams::default() };
        [
            pacmap(params).fit(rows.view(), &Progress::default()).expect("fits"),
            localmap(local).fit(rows.view(), &Progress::default()).expect("fits"),
        ]
    };
    let expected = fit(1);
    for n_jobs in [-1, 2, 3, 8] {
        let found = fit(n_jobs);
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.layout(), expected.layout(), "{n_jobs} threads");
            let new = noise(50, 120) + 0.25;
            let transform = |fitted: &dyn FittedReducer| fitted.transform(new.view(), &Progress::default());
            assert_eq!(
                transform(found.as_ref()).expect("transforms"),
                transform(expected.as_ref()).expect("transforms")
            );
        }
    }
    assert_ne!(expected[0].layout(), expected[1].layout());
}

#[test]
fn odd_data_are_laid_out() {
    let finite = |data: Array2<f32>, n_components: usize, what: &str| {
        let params = PacmapParams { n_components, ..PacmapParams::default() };
        let local = LocalmapParams { pacmap: params.clone(), ..LocalmapParams::default() };
        for reducer in [Box::new(pacmap(params)) as Box<dyn Reducer>, Box::new(localmap(local))] {
            let fitted = reducer.fit(data.view(), &Progress::default()).expect("fits");
            assert_eq!(fitted.layout().dim(), (data.nrows(), n_components), "{what}");
            assert!(fitted.layout().iter().all(|x| x.is_finite()), "{what}");
            let elsewhere = fitted.transform((&data + 0.5).view(), &Progress::default()).expect("transforms");
            assert!(elsewhere.coordinates.iter().all(|x| x.is_finite()), "{what}");
        }
    };
    finite(Array2::ones((200, 4)), 2, "all rows equal");
    let duplicates = concatenate(Axis(0), &[noise(200, 3).view(), Array2::ones((2000, 3)).view()]).expect("one width");
    finite(duplicates, 2, "thousands of duplicates");
    for n_components in 1..=3 {
        finite(noise(150, 1), n_components, "one feature");
        finite(noise(150, 2), n_components, "two features");
        finite(noise(2, 7), n_components, "two rows");
        finite(noise(130, 300), n_components, "more features than rows");
    }
    let mut constant = noise(150, 6);
    constant.column_mut(2).fill(3.0);
    constant.column_mut(5).fill(0.0);
    finite(constant, 2, "constant columns");
    finite(noise(150, 6) * 1e14, 2, "large values");
    finite(noise(150, 120) * 1e13, 2, "large values through principal components");
}

#[test]
fn many_points_have_wide_labels() {
    // More than 16 bits tell apart; neighbours are given, since this is not about finding them.
    let n = 70_000;
    let data = noise(n, 3);
    let neighbours = crate::knn::Neighbours {
        indices: Array2::from_shape_fn((n, 3), |(i, k)| ((i + k + 1) % n) as u32),
        squared: Array2::zeros((n, 3)),
    };
    let params =
        PacmapParams { n_neighbors: Some(2), num_iters: [2, 1, 11], knn: KnnMethod::Exact, ..PacmapParams::default() };
    let local = LocalmapParams { pacmap: params.clone(), ..LocalmapParams::default() };
    let options = || FitOptions { neighbours: Some(&neighbours), ..FitOptions::default() };
    let progress = Progress::default();
    let fitted = pacmap(params.clone()).fit_with(data.view(), options(), &progress).expect("fits");
    assert!(fitted.layout().iter().all(|x| x.is_finite()));
    let first = (&fitted.layout().row(0) - &fitted.layout().row(66_000)).mapv(|x| x * x).sum();
    assert!(first > 0.0);
    let again = pacmap(PacmapParams { n_jobs: 3, ..params }).fit_with(data.view(), options(), &progress).expect("fits");
    assert!(again.layout() == fitted.layout(), "whatever the number of threads");
    let fitted = localmap(local).fit_with(data.view(), options(), &progress).expect("fits");
    assert!(fitted.layout().iter().all(|x| x.is_finite()));
}

#[test]
fn snapshots_are_taken_on_the_way() {
    let data = noise(200, 8);
    let mut taken = Vec::new();
    let mut take = |iteration: usize, layout: ArrayView2<'_, f32>| taken.push((iteration, layout.to_owned()));
    let snapshots = Snapshots { iterations: &Pacmap::SNAPSHOT_ITERATIONS, take: &mut take };
    let options = FitOptions { snapshots: Some(snapshots), ..FitOptions::default() };
    let fitted = pacmap(PacmapParams::default()).fit_with(data.view(), options, &Progress::default()).expect("fits");
    assert!(taken.iter().map(|(iteration, _)| *iteration).eq(Pacmap::SNAPSHOT_ITERATIONS));
    assert_eq!(taken[12].1, fitted.layout(), "the last is the result");
    let short = PacmapParams { num_iters: [100, 40, 0], ..PacmapParams::default() };
    let short = pacmap(short).fit(data.view(), &Progress::default()).expect("fits");
    assert_eq!(short.layout(), taken[6].1, "a fit that ends there gives the same");
}

#[test]
fn neighbours_and_start_can_be_given() {
    let data = noise(300, 8);
    let progress = Progress::default();
    let reducer = pacmap(PacmapParams::default());
    let index = Index::build(data.clone(), KnnMethod::Exact, &progress).expect("builds");
    let graph = index.graph(70, &progress).expect("k fits");
    let with = |neighbours: &crate::knn::Neighbours| {
        let options = FitOptions { neighbours: Some(neighbours), ..FitOptions::default() };
        reducer.fit_with(data.view(), options, &progress)
    };
    let own = reducer.fit(data.view(), &progress).expect("fits");
    let given = with(&graph).expect("fits");
    let new = noise(20, 8) + 0.1;
    let scores =
        |fitted: &dyn FittedReducer| fitted.transform(new.view(), &progress).expect("transforms").out_of_distribution;
    let apart = (&scores(own.as_ref()) - &scores(given.as_ref())).mapv(f32::abs).sum();
    assert!(apart < 1e-3, "a graph of the raw rows gives the same scale: {apart}");

    let mut bad = graph.clone();
    bad.indices[[17, 2]] = 17;
    let expected = "cannot reduce the data: the neighbours of row 17 are not different other rows below 300, nearest first, at finite distances";
    assert_eq!(with(&bad).expect_err("not another row").to_string(), expected);
    bad.indices[[17, 2]] = 300;
    assert_eq!(with(&bad).expect_err("no such row").to_string(), expected);
    let few = index.graph(9, &progress).expect("k fits");
    let expected = "cannot reduce the data: its neighbours are 9 for each of 300 rows; 10 for each of 300 are needed";
    assert_eq!(with(&few).expect_err("too few").to_string(), expected);

    let start = |init: &Array2<f32>| {
        let options = FitOptions { init: Some(init.view()), ..FitOptions::default() };
        reducer.fit_with(data.view(), options, &progress)
    };
    let init = noise(300, 2);
    let fitted = start(&init).expect("fits");
    assert_ne!(fitted.layout(), own.layout());
    assert_eq!(start(&(&init * 8.0)).expect("fits").layout(), fitted.layout(), "its scale does not matter");
    let expected = "cannot reduce the data: its initial layout is (300, 3); (300, 2) is needed";
    assert_eq!(start(&noise(300, 3)).expect_err("too wide").to_string(), expected);
    let random = pacmap(PacmapParams { init: PacmapInit::Random, ..PacmapParams::default() });
    let random = random.fit(data.view(), &progress).expect("fits");
    assert_ne!(random.layout(), own.layout());
}

#[test]
fn a_new_row_lies_beside_the_fitted_row_it_resembles() {
    let data = noise(600, 8);
    let local = localmap(LocalmapParams::default());
    for reducer in [Box::new(pacmap(PacmapParams::default())) as Box<dyn Reducer>, Box::new(local)] {
        let fitted = reducer.fit(data.view(), &Progress::default()).expect("fits");
        let new = fitted.transform((&data + 0.01).view(), &Progress::default()).expect("transforms").coordinates;
        let apart = (&new - &fitted.layout()).map_axis(Axis(1), |x| x.dot(&x).sqrt());
        let extent = fitted.layout().iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        assert!(apart.iter().all(|&x| x > 0.0), "beside, not upon");
        assert!(apart.mean().expect("rows") < 0.05 * extent, "{apart} of {extent}");
    }
}

#[test]
fn rows_far_outside_score_high() {
    let fitted = pacmap(PacmapParams::default()).fit(noise(500, 8).view(), &Progress::default()).expect("fits");
    let score = |rows: Array2<f32>| {
        let scores = fitted.transform(rows.view(), &Progress::default()).expect("transforms").out_of_distribution;
        scores.mean().expect("some rows")
    };
    let inside = score(noise(700, 8).slice(ndarray::s![500.., ..]).to_owned());
    let outside = score(noise(50, 8) * 20.0);
    assert!((0.5..1.5).contains(&inside), "inside {inside}");
    assert!(outside > 10.0, "outside {outside}");
}

#[test]
fn a_row_that_differs_beyond_the_components_is_no_fitted_row() {
    // 110 columns of which the components hold 100 directions; the last column alone is constant in the fit.
    let mut data = noise(300, 110);
    data.column_mut(109).fill(0.5);
    let fitted = pacmap(PacmapParams::default()).fit(data.view(), &Progress::default()).expect("fits");
    let transform = |rows: &Array2<f32>| fitted.transform(rows.view(), &Progress::default()).expect("transforms");
    let own = transform(&data);
    assert_eq!((own.coordinates, own.out_of_distribution.sum()), (fitted.layout().to_owned(), 0.0));
    data.column_mut(109).fill(500.0);
    let shifted = transform(&data);
    assert!(shifted.out_of_distribution.iter().all(|&score| score > 10.0), "{}", shifted.out_of_distribution);
    assert!(shifted.coordinates.iter().all(|x| x.is_finite()));
}

#[test]
fn a_fit_stops_when_asked() {
    let progress = Progress::default();
    let mut take = |_: usize, _: ArrayView2<'_, f32>| progress.cancel();
    let options = FitOptions { snapshots: Some(Snapshots { iterations: &[3], take: &mut take }), ..Default::default() };
    let error = pacmap(PacmapParams::default()).fit_with(noise(300, 6).view(), options, &progress);
    assert!(matches!(error, Err(ReduceError::Cancelled(_))), "{error:?}");
}

#[test]
fn rows_without_direction_are_refused_and_can_be_dropped() {
    let mut data = noise(60, 4);
    data.row_mut(7).fill(0.0);
    let cosine = pacmap(PacmapParams { distance: Metric::Cosine, ..PacmapParams::default() });
    let error = cosine.fit(data.view(), &Progress::default()).expect_err("no direction").to_string();
    assert!(error.contains("1 rows are all zeros (first: [7])"), "{error}");
    let fit = tlc_core::fit_finite_rows(&cosine, data.view(), &Progress::default()).expect("the others fit");
    assert_eq!(fit.n_dropped(), 1);
}

#[test]
fn the_number_of_threads_does_not_matter_for_large_data_either() {
    // Cells as for more rows than auto would search exactly, in the rows' own width and in a projection.
    for width in [10, 150] {
        let rows = noise(2500, width);
        let fit = |n_jobs| {
            let mut params = PacmapParams { n_jobs, knn: KnnMethod::Cells, num_iters: [4, 4, 8], ..Default::default() };
            // Wider than the search takes as it is.
            params.apply_pca = width == 10;
            let local = LocalmapParams { pacmap: params.clone(), ..LocalmapParams::default() };
            [Box::new(pacmap(params)) as Box<dyn Reducer>, Box::new(localmap(local))].map(|reducer| {
                let fitted = reducer.fit(rows.view(), &Progress::default()).expect("fits");
                let new =
                    fitted.transform((noise(300, width) + 0.25).view(), &Progress::default()).expect("transforms");
                (fitted.layout().to_owned(), new)
            })
        };
        let expected = fit(1);
        for n_jobs in [2, 3, 8] {
            assert!(fit(n_jobs) == expected, "{width} columns, {n_jobs} threads");
        }
    }
}

#[test]
fn a_file_goes_through_the_same_check() {
    let error = tlc_core::reducer_from_args("pacmap", serde_json::Map::from_iter([("lr".to_owned(), 0.into())]));
    let error = error.expect_err("out of range");
    let cause = std::error::Error::source(&error).expect("has a cause").to_string();
    assert!(cause.contains("lr is 0; use a positive number"), "{cause}");
    let json = serde_json::json!({"knn_backend": null});
    let serde_json::Value::Object(args) = json else { panic!("an object") };
    tlc_core::reducer_from_args("pacmap", args).expect("the product's default");
}

#[test]
fn localmap_takes_its_own_parameter_and_those_of_pacmap() {
    let read = |value: serde_json::Value| {
        let serde_json::Value::Object(args) = value else { panic!("an object") };
        tlc_core::reducer_from_args("localmap", args)
    };
    let reducer =
        read(serde_json::json!({"low_dist_thres": 5, "n_neighbors": 7, "random_state": null})).expect("valid");
    let expected = LocalmapParams {
        pacmap: PacmapParams { n_neighbors: Some(7), ..PacmapParams::default() },
        low_dist_thres: 5.0,
    };
    assert_eq!(
        serde_json::to_value(&reducer).expect("plain"),
        serde_json::to_value(Box::new(localmap(expected)) as Box<dyn Reducer>).expect("plain")
    );
    let cause = |error: tlc_core::PluginError| std::error::Error::source(&error).expect("has a cause").to_string();
    let error = cause(read(serde_json::json!({"low_dist_thres": 0, "n_components": 4})).expect_err("out of range"));
    assert!(error.contains("n_components is 4; use 1, 2 or 3"), "{error}");
    assert!(error.contains("low_dist_thres is 0; use a positive number"), "{error}");
    let error = cause(read(serde_json::json!({"high_dist_thres": 1})).expect_err("unknown"));
    assert!(error.contains("high_dist_thres"), "{error}");
}
