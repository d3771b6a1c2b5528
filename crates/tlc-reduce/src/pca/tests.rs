//! PCA as a whole: axes by each of the ways, and the reducer.

use ndarray::{Array1, Array2, Axis, s};
use tlc_core::rng::Stream;
use tlc_core::{Arrays, Progress, ReduceError, Reducer};

use super::{Pca, PcaParams, PrincipalAxes};

/// Variance 9 along one direction, 0.01 across it.
fn stretched(n: usize, d: usize) -> (Array2<f32>, Array1<f32>) {
    let noise = Stream::new(5, "test");
    let direction = Array1::from_shape_fn(d, |j| if j % 2 == 0 { 1.0 } else { -1.0 } / (d as f32).sqrt());
    let data = Array2::from_shape_fn((n, d), |(i, j)| {
        let along = 3.0 * noise.normal(i as u64, 1_000_000) as f32;
        5.0 + along * direction[j] + 0.1 * noise.normal(i as u64, j as u64) as f32
    });
    (data, direction)
}

#[test]
fn the_first_axis_is_the_direction_of_largest_variance() {
    // Covariance, Gram matrix, iteration on the covariance and on the rows.
    for (n, d) in [(500, 20), (40, 300), (400, 300), (1100, 1200)] {
        let (data, direction) = stretched(n, d);
        let axes = PrincipalAxes::fit(data.view(), 2, 0, &Progress::default()).expect("fits");
        let cosine = axes.axes.column(0).dot(&direction);
        assert!(cosine.abs() > 0.99, "{n} x {d}: cosine {cosine}");
        assert!((axes.axes.column(0).dot(&axes.axes.column(1))).abs() < 1e-4);
    }
}

#[test]
fn the_number_of_threads_does_not_matter() {
    // The four ways, the last with more than one block of rows.
    for (n, d, n_axes) in [(40, 300, 5), (1100, 1200, 5), (500, 200, 20), (9000, 300, 20)] {
        let (data, _) = stretched(n, d);
        let fit = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| PrincipalAxes::fit(data.view(), n_axes, 0, &Progress::default())).expect("fits")
        };
        let one = fit(1);
        for threads in [2, 3, 8] {
            assert_eq!(fit(threads), one, "{n} x {d}, {threads} threads");
        }
    }
}

#[test]
fn rows_of_few_dimensions_have_their_variance_in_as_many_axes() {
    let noise = Stream::new(8, "test");
    let normal = |i: usize, j: usize| noise.normal(i as u64, j as u64) as f32;
    let (places, directions) = (Array2::from_shape_fn((600, 3), |(i, j)| normal(i, j)), {
        Array2::from_shape_fn((3, 300), |(i, j)| normal(1000 + i, j))
    });
    let data = places.dot(&directions);
    // Far more axes than there are directions: the iteration's columns become parallel.
    let axes = PrincipalAxes::fit(data.view(), 40, 0, &Progress::default()).expect("fits");
    let variances = axes.coordinates(data.view()).map_axis(Axis(0), |column| column.dot(&column));
    let (held, rest) = (variances.slice(s![..3]).sum(), variances.slice(s![3..]).sum());
    assert!(rest < 1e-6 * held && held.is_finite(), "{held} in three axes, {rest} in the others");
}

#[test]
fn rows_of_another_width_are_an_error() {
    let (data, _) = stretched(30, 5);
    let axes = PrincipalAxes::fit(data.view(), 2, 0, &Progress::default()).expect("fits");
    assert_eq!(axes.project(data.view()).expect("as wide").dim(), (30, 2));
    assert!(PrincipalAxes::fit(data.slice(s![..0, ..]), 2, 0, &Progress::default()).is_err(), "no rows");
    let error = axes.project(data.slice(s![.., ..4])).expect_err("narrower").to_string();
    assert_eq!(error, "cannot reduce the data: its rows have 4 values, the model was fitted on 5");
}

/// Arrays without values can have any shape, so a small file can ask for any amount of memory.
#[test]
fn damaged_arrays_of_no_values_are_refused() {
    let pca = |n_components| Pca::new(PcaParams { n_components, seed: 0 }).expect("valid");
    let spread = ndarray::arr1(&[1.0_f32]);
    let arrays = |mean: usize, axes: (usize, usize), layout: (usize, usize)| {
        Arrays::default()
            .with_f32("pca_mean", &Array1::zeros(mean))
            .with_f32("pca_axes", &Array2::zeros(axes))
            .with_f32("layout", &Array2::zeros(layout))
            .with_f32("spread", &spread)
    };
    for (arrays, n_components) in [
        (arrays(0, (0, 1 << 40), (5, 2)), 2),
        (arrays(6, (6, 0), (5, 2)), 2),
        (arrays(6, (6, 2), (0, 1 << 40)), 1 << 40),
    ] {
        let error = pca(n_components).restore(arrays).expect_err("refused");
        assert!(matches!(error, ReduceError::Model { .. }), "{error}");
    }
}

#[test]
fn keeps_the_contract() {
    let pca = Pca::new(PcaParams { n_components: 2, seed: 0 }).expect("valid");
    tlc_core::conformance::check_reducer(&pca);
}
