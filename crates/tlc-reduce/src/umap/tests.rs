//! UMAP as a whole; the parts are tested beside them.

use ndarray::{Array2, Axis};
use tlc_core::rng::Stream;

use super::*;
use crate::input::Metric;
use crate::knn::KnnMethod;

#[track_caller]
fn umap(params: UmapParams) -> Umap {
    Umap::new(params).expect("valid parameters")
}

#[test]
fn keeps_the_contract() {
    tlc_core::conformance::check_reducer(&umap(UmapParams::default()));
    let params = UmapParams {
        n_components: 3,
        n_neighbors: 8,
        metric: Metric::Cosine,
        standard_scaler_normalize: true,
        knn: KnnMethod::Hnsw,
        seed: 7,
        ..UmapParams::default()
    };
    tlc_core::conformance::check_reducer(&umap(params));
}

#[test]
fn few_rows_are_laid_out() {
    for n in 1..12 {
        let rows = Array2::from_shape_fn((n, 4), |(i, j)| (i * (j + 1)) as f32);
        let fitted = umap(UmapParams::default()).fit(rows.view(), &Progress::default()).expect("fits");
        assert_eq!(fitted.layout().dim(), (n, 2));
        assert!(fitted.layout().iter().all(|x| x.is_finite()), "{n} rows");
    }
}

#[test]
fn huge_values_are_refused_and_a_row_without_direction_has_no_place() {
    let noise = Stream::new(4, "test");
    let mut rows = Array2::from_shape_fn((60, 4), |(i, j)| noise.normal(i as u64, j as u64) as f32);
    let cosine = UmapParams { metric: Metric::Cosine, standard_scaler_normalize: true, ..UmapParams::default() };
    let fitted = umap(cosine).fit(rows.view(), &Progress::default()).expect("fits");
    let mean = rows.mean_axis(Axis(0)).expect("rows").insert_axis(Axis(0));
    let placed = fitted.transform(ndarray::concatenate![Axis(0), mean, rows].view(), &Progress::default());
    assert!(placed.expect("no error").coordinates.rows().into_iter().skip(1).flatten().all(|x| x.is_finite()));
    rows[[7, 0]] = 1e30;
    let error = umap(UmapParams::default()).fit(rows.view(), &Progress::default()).expect_err("too large");
    assert!(matches!(error, ReduceError::NotFinite { count: 1, .. }), "{error:?}");
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let noise = Stream::new(4, "test");
    let rows = Array2::from_shape_fn((600, 10), |(i, j)| noise.normal(i as u64, j as u64) as f32);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| umap(UmapParams::default()).fit(rows.view(), &Progress::default()).expect("fits"))
    };
    assert_eq!(run(1).layout(), run(3).layout());
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
}
