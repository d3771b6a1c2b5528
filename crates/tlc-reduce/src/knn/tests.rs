//! All ways of search against the plain definition.

use ndarray::{Axis, concatenate, s};
use tlc_core::rng::Stream;

use super::*;
use crate::distance::squared_euclidean;

fn noise(n: usize, d: usize) -> Array2<f32> {
    let stream = Stream::new(9, "test");
    Array2::from_shape_fn((n, d), |(i, j)| stream.normal(i as u64, j as u64) as f32)
}

/// The plain definition: sort all distances.
fn naive(rows: &Array2<f32>, query: &[f32], k: usize, leave_out: Option<usize>) -> Vec<u32> {
    let distance = |i: usize| squared_euclidean(query, rows.row(i).as_slice().expect("contiguous"));
    let mut all: Vec<(f32, usize)> =
        (0..rows.nrows()).filter(|&i| Some(i) != leave_out).map(|i| (distance(i), i)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    all[..k].iter().map(|&(_, i)| i as u32).collect()
}

fn check(rows: Array2<f32>, k: usize, method: KnnMethod, least_recall: f64) {
    let progress = Progress::default();
    let index = Index::build(rows.clone(), method, &progress).expect("builds");
    let graph = index.graph(k, &progress).expect("k fits");
    let mut found = 0;
    for i in 0..rows.nrows() {
        let expected = naive(&rows, rows.row(i).as_slice().expect("contiguous"), k, Some(i));
        let list = graph.indices.row(i);
        assert!(list.iter().all(|&j| j as usize != i), "a row is not its own neighbour");
        found += list.iter().filter(|j| expected.contains(j)).count();
    }
    let recall = found as f64 / (rows.nrows() * k) as f64;
    assert!(recall >= least_recall, "{method:?}: recall {recall}");

    let queries = noise(70, rows.ncols()) + 0.1;
    let all = index.query(queries.view(), k, &progress).expect("k fits");
    let some = index.query(queries.slice(s![10..13, ..]), k, &progress).expect("k fits");
    assert_eq!(all.indices.slice(s![10..13, ..]), some.indices, "each query is answered by itself");
    assert_eq!(all.squared.slice(s![10..13, ..]), some.squared);
}

#[test]
fn rows_and_queries_that_cannot_be_are_refused() {
    let progress = Progress::default();
    for method in [KnnMethod::Exact, KnnMethod::Cells, KnnMethod::Hnsw] {
        for (n, d) in [(0, 5), (10, 0)] {
            let error = Index::build(Array2::zeros((n, d)), method, &progress).expect_err("refused");
            let expected =
                format!("cannot reduce the data: it has {n} rows of {d} values; at least 1 of each is needed");
            assert_eq!(error.to_string(), expected);
        }
        let mut rows = noise(300, 4);
        let index = Index::build(rows.clone(), method, &progress).expect("builds");
        rows[[7, 2]] = f32::NAN;
        for error in [
            Index::build(rows.clone(), method, &progress).map(drop),
            index.query(rows.view(), 3, &progress).map(drop),
            index.query(rows.slice(s![7..8, ..]), 3, &progress).map(drop),
        ] {
            let error = error.expect_err("refused");
            assert!(matches!(error, ReduceError::NotFinite { count: 1, .. }), "{method:?}: {error}");
        }
    }
}

#[test]
fn exact_agrees_with_sorting_all_distances() {
    check(noise(700, 33), 15, KnnMethod::Exact, 1.0);
    check(noise(5, 3), 4, KnnMethod::Exact, 1.0);
    // Far from the origin the products cancel; the direct recomputation must still be right.
    check(noise(300, 8) + 1000.0, 10, KnnMethod::Exact, 1.0);
}

#[test]
fn exact_keeps_duplicates_and_breaks_ties_by_row_number() {
    let rows =
        concatenate(Axis(0), &[noise(50, 4).view(), noise(50, 4).view(), noise(50, 4).view()]).expect("one width");
    check(rows, 7, KnnMethod::Exact, 1.0);
    let progress = Progress::default();
    let index = Index::build(Array2::zeros((400, 4)), KnnMethod::Exact, &progress).expect("builds");
    let graph = index.graph(3, &progress).expect("k fits");
    assert_eq!(graph.indices.row(0).to_vec(), [1, 2, 3]);
    assert_eq!(graph.indices.row(399).to_vec(), [0, 1, 2]);
}

#[test]
fn hnsw_finds_nearly_all_and_every_row_finds_itself() {
    let rows = noise(2000, 16);
    check(rows.clone(), 15, KnnMethod::Hnsw, 0.97);
    let progress = Progress::default();
    let index = Index::build(rows.clone(), KnnMethod::Hnsw, &progress).expect("builds");
    let nearest = index.query(rows.view(), 1, &progress).expect("k fits");
    let found = nearest.indices.iter().enumerate().filter(|&(i, &j)| i == j as usize).count();
    assert_eq!(found, 2000, "every point finds itself");
}

#[test]
fn hnsw_is_repeatable_and_survives_duplicates() {
    let progress = Progress::default();
    let rows = concatenate(Axis(0), &[noise(300, 6).view(), Array2::ones((300, 6)).view()]).expect("one width");
    let build = || Index::build(rows.clone(), KnnMethod::Hnsw, &progress).and_then(|index| index.graph(10, &progress));
    let graph = build().expect("builds");
    assert_eq!(build().expect("builds"), graph);
    assert!(graph.squared.iter().all(|d| d.is_finite()));
}

/// Rows of `d` values that lie near a space of twelve dimensions, as embeddings do.
fn wide(n: usize, d: usize) -> Array2<f32> {
    let axes = Stream::new(11, "test-axes");
    let axes = Array2::from_shape_fn((12, d), |(i, j)| axes.normal(i as u64, j as u64) as f32);
    noise(n, 12).dot(&axes) + 0.05 * noise(n, d)
}

#[test]
fn cells_find_nearly_all_and_every_row_finds_itself() {
    check(noise(3000, 10), 15, KnnMethod::Cells, 0.98);
    let progress = Progress::default();
    for rows in [noise(3000, 10), wide(2500, 200)] {
        let index = Index::build(rows.clone(), KnnMethod::Cells, &progress).expect("builds");
        let nearest = index.query(rows.view(), 3, &progress).expect("k fits");
        assert!(nearest.indices.column(0).iter().enumerate().all(|(i, &j)| i == j as usize));
        assert_eq!(index.to_rows(), rows);
    }
}

#[test]
fn wide_rows_are_ranked_by_full_distances() {
    check(wide(2500, 200), 15, KnnMethod::Cells, 0.97);
}

#[test]
fn recall_is_estimated_well_and_reported() {
    let progress = Progress::default();
    let rows = noise(3000, 10);
    let index = Index::build(rows.clone(), KnnMethod::Cells, &progress).expect("builds");
    let (graph, report) = index.graph_with_report(15, &progress).expect("k fits");
    assert_eq!((report.method, report.sampled_rows), (KnnMethod::Cells, 256));
    let exact = Index::build(rows.clone(), KnnMethod::Exact, &progress).expect("builds");
    let exact = exact.graph(15, &progress).expect("k fits");
    let hits = graph.indices.outer_iter().zip(exact.indices.outer_iter()).map(|(found, expected)| {
        let expected = expected.to_vec();
        found.iter().filter(|id| expected.contains(id)).count()
    });
    let recall = hits.sum::<usize>() as f64 / (3000.0 * 15.0);
    assert!(report.recall >= 0.99 && (report.recall - recall).abs() < 0.01, "{recall} {report:?}");
    assert_eq!(estimate_recall(rows.view(), &exact, 3, &progress).expect("fits"), 1.0);
    let mut worse = exact.clone();
    worse.squared.column_mut(14).fill(f32::MAX);
    assert!((estimate_recall(rows.view(), &worse, 3, &progress).expect("fits") - 14.0 / 15.0).abs() < 1e-9);
    let cut = Neighbours { squared: Array2::zeros((3, 15)), ..exact };
    let error = estimate_recall(rows.view(), &cut, 3, &progress).expect_err("too few distances").to_string();
    assert!(error.contains("and distances (3, 15)"), "{error}");
    let options = KnnOptions { target_recall: 1.5, ..KnnOptions::default() };
    let error = Index::build_with(rows, options, &progress).expect_err("out of range");
    assert_eq!(error.to_string(), "target_recall is 1.5; use a number above 0 and up to 1");
}

#[test]
fn thousands_of_equal_rows_have_neighbours() {
    let progress = Progress::default();
    let many = concatenate(Axis(0), &[noise(1000, 4).view(), Array2::ones((4000, 4)).view()]).expect("one width");
    for method in [KnnMethod::Exact, KnnMethod::Cells] {
        let index = Index::build(many.clone(), method, &progress).expect("builds");
        let graph = index.graph(12, &progress).expect("k fits");
        for i in [0, 999, 1000, 3000, 4999] {
            let mut list = graph.indices.row(i).to_vec();
            assert!(i < 1000 || graph.squared.row(i).iter().all(|&squared| squared == 0.0), "{method:?}: row {i}");
            list.sort_unstable();
            list.dedup();
            assert!(list.len() == 12 && !list.contains(&(i as u32)), "{method:?}: row {i}");
        }
    }
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let run = |threads, rows: &Array2<f32>, method| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| {
            let progress = Progress::default();
            let index = Index::build(rows.clone(), method, &progress)?;
            Ok::<_, ReduceError>((index.graph(12, &progress)?, index.query((rows + 0.01).view(), 5, &progress)?))
        })
    };
    let cases = [
        (noise(1500, 24), KnnMethod::Exact),
        (noise(2500, 10), KnnMethod::Cells),
        (wide(1500, 150), KnnMethod::Cells),
        (noise(800, 10), KnnMethod::Hnsw),
    ];
    for (rows, method) in cases {
        let expected = run(1, &rows, method).expect("runs");
        for threads in [2, 3, 8] {
            assert_eq!(run(threads, &rows, method).expect("runs"), expected, "{method:?}, {threads} threads");
        }
    }
}

#[test]
fn an_impossible_k_is_refused() {
    let index = Index::build(noise(5, 2), KnnMethod::Auto, &Progress::default()).expect("builds");
    let error = index.graph(5, &Progress::default()).expect_err("only 4 others");
    assert_eq!(error.to_string(), "k is 5; between 1 and 4 neighbours can be found among these rows");
}
