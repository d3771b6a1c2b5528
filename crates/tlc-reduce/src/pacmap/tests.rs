//! PaCMAP as a whole; the parts are tested beside them.

use ndarray::Array2;
use tlc_core::rng::Stream;

use super::*;

#[track_caller]
fn pacmap(params: PacmapParams) -> Pacmap {
    Pacmap::new(params).expect("valid parameters")
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
    tlc_core::conformance::check_reducer(&pacmap(params));
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
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| pacmap(PacmapParams::default()).fit(rows.view(), &Progress::default()).expect("fits"))
    };
    assert_eq!(run(1).layout(), run(3).layout());
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
fn default_neighbour_count_follows_the_published_rule() {
    let near = |n| pacmap(PacmapParams::default()).pair_counts(n).near;
    assert_eq!([near(9_000), near(20_000), near(70_000), near(1_000_000)], [10, 15, 23, 40]);
}

#[test]
fn parameters_out_of_range_are_named() {
    let check = |params: PacmapParams, expected: &str| {
        assert_eq!(Pacmap::new(params).expect_err("out of range").to_string(), expected);
    };
    let defaults = PacmapParams::default;
    check(PacmapParams { n_components: 0, ..defaults() }, "n_components is 0; use 1, 2 or 3");
    check(PacmapParams { n_neighbors: Some(0), ..defaults() }, "n_neighbors is 0; use at least 1, or leave it out");
    check(PacmapParams { mn_ratio: -0.5, ..defaults() }, "MN_ratio is -0.5; use 0 to 100");
    check(PacmapParams { fp_ratio: f64::NAN, ..defaults() }, "FP_ratio is NaN; use 0 to 100");
    check(PacmapParams { lr: -1.0, ..defaults() }, "lr is -1; use a positive number");
    let error = tlc_core::reducer_from_args("pacmap", serde_json::Map::from_iter([("lr".to_owned(), 0.into())]));
    let error = error.expect_err("a file goes through the same check");
    let cause = std::error::Error::source(&error).expect("has a cause").to_string();
    assert!(cause.contains("lr is 0; use a positive number"), "{cause}");
}
