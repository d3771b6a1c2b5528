use ndarray::{Array2, ArrayView2, array, concatenate, s};
use tlc_core::{Progress, ReduceError, Reducer, rng::Stream};

use super::*;
use crate::input::Metric;
use crate::knn::{Index, KnnMethod, Neighbours};
use crate::{Pca, PcaParams};

fn noise(n: usize, d: usize, seed: u64) -> Array2<f32> {
    let stream = Stream::new(seed, "test");
    Array2::from_shape_fn((n, d), |(i, j)| stream.normal(i as u64, j as u64) as f32)
}

fn ask(data: &Array2<f32>, layout: &Array2<f32>, options: &QualityOptions<'_>) -> QualityReport {
    report(data.view(), layout.view(), options, &Progress::default()).expect("fits")
}

fn value(measure: &Measure) -> f64 {
    measure.value.expect("defined")
}

/// All rows but `i` by distance from it, then by number: the plain definition.
fn order(rows: &Array2<f32>, i: usize) -> Vec<usize> {
    let distance = |j: usize| rows.row(i).iter().zip(rows.row(j)).map(|(x, y)| (x - y).powi(2)).sum::<f32>();
    let mut others: Vec<usize> = (0..rows.nrows()).filter(|&j| j != i).collect();
    others.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)).then(a.cmp(&b)));
    others
}

/// scikit-learn's formula, word for word.
fn plain_trustworthiness(data: &Array2<f32>, layout: &Array2<f32>, k: usize) -> f64 {
    let n = data.nrows();
    let mut total = 0;
    for i in 0..n {
        let in_data = order(data, i);
        for near in &order(layout, i)[..k] {
            let rank = in_data.iter().position(|j| j == near).expect("all are ranked") + 1;
            total += rank.saturating_sub(k);
        }
    }
    let (n, k) = (n as f64, k as f64);
    1.0 - total as f64 * (2.0 / (n * k * (2.0 * n - 3.0 * k - 1.0)))
}

fn plain_preservation(data: &Array2<f32>, layout: &Array2<f32>, k: usize) -> f64 {
    let kept = |i| {
        let near = &order(layout, i)[..k];
        order(data, i)[..k].iter().filter(|j| near.contains(j)).count()
    };
    (0..data.nrows()).map(kept).sum::<usize>() as f64 / (data.nrows() * k) as f64
}

#[test]
fn neighbourhood_measures_agree_with_their_definitions() {
    let data = noise(230, 19, 1);
    let layouts = [data.slice(s![.., ..2]).to_owned(), noise(230, 2, 2), (&data * 3.0).slice(s![.., 4..7]).to_owned()];
    let options = QualityOptions { rank_k: vec![5, 15, 114], preservation_k: vec![1, 15, 200], ..Default::default() };
    for layout in layouts {
        let report = ask(&data, &layout, &options);
        for (measure, k) in report.trustworthiness.iter().zip([5, 15, 114]) {
            assert_eq!((measure.k, measure.sample, measure.exact), (Some(k), 230, true));
            assert!((value(measure) - plain_trustworthiness(&data, &layout, k)).abs() < 1e-12);
        }
        for (measure, k) in report.continuity.iter().zip([5, 15, 114]) {
            assert!((value(measure) - plain_trustworthiness(&layout, &data, k)).abs() < 1e-12);
        }
        for (measure, k) in report.neighbour_preservation.iter().zip([1, 15, 200]) {
            assert!((value(measure) - plain_preservation(&data, &layout, k)).abs() < 1e-12);
        }
    }
}

#[test]
fn trustworthiness_by_hand() {
    // A line; the layout exchanges its ends.
    let data = array![[0.0], [1.0], [2.1], [3.3], [4.6]];
    let layout = array![[4.6], [1.0], [2.1], [3.3], [0.0]];
    let options = QualityOptions { rank_k: vec![1], preservation_k: vec![1], ..Default::default() };
    let report = ask(&data, &layout, &options);
    // Nearest in the layout: 0 → 3 (rank 3 in the data), 1 → 4 (rank 4), 2 → 1, 3 → 2 (both rank 1) and
    // 4 → 1 (rank 3), in excess of k = 1 by 2, 3, 0, 0 and 2; each could be 3.
    assert!((value(&report.trustworthiness[0]) - (1.0 - 7.0 / 15.0)).abs() < 1e-12);
    // Nearest in the data: 0 → 1, 1 → 0, 2 → 1, 3 → 2, 4 → 3; two of them stay.
    assert_eq!(value(&report.neighbour_preservation[0]), 0.4);
}

#[test]
fn the_data_itself_is_a_perfect_layout() {
    let mut data = noise(400, 3, 3);
    // Duplicates: ties must not count against it.
    let half = data.slice(s![..200, ..]).to_owned();
    data.slice_mut(s![200.., ..]).assign(&half);
    let report = ask(&data, &data, &QualityOptions::default());
    let all = report.trustworthiness.iter().chain(&report.continuity).chain(&report.neighbour_preservation);
    for measure in all.chain([&report.random_triplet_accuracy]) {
        assert_eq!(value(measure), 1.0);
    }
    assert!((value(&report.distance_correlation) - 1.0).abs() < 1e-12);
}

#[test]
fn a_random_layout_is_chance() {
    let (data, layout) = (noise(900, 20, 4), noise(900, 2, 5));
    let report = ask(&data, &layout, &QualityOptions::default());
    assert!((value(&report.trustworthiness[0]) - 0.5).abs() < 0.02);
    assert!((value(&report.continuity[0]) - 0.5).abs() < 0.02);
    assert!((value(&report.random_triplet_accuracy) - 0.5).abs() < 0.03);
    assert!(value(&report.distance_correlation).abs() < 0.03);
    for measure in &report.neighbour_preservation {
        let chance = measure.k.expect("has a k") as f64 / 899.0;
        assert!((value(measure) - chance).abs() < 0.01, "{measure:?}");
    }
    assert_eq!(report.random_triplet_accuracy.sample, 4500);
}

#[test]
fn a_layout_of_one_point_is_chance() {
    let report = ask(&noise(600, 8, 6), &Array2::zeros((600, 2)), &QualityOptions::default());
    assert!((value(&report.trustworthiness[0]) - 0.5).abs() < 0.1);
    assert_eq!(value(&report.random_triplet_accuracy), 0.5);
    assert_eq!(report.distance_correlation.value, None);
}

#[test]
fn order_measures_by_hand() {
    // Distances 1, 2, 3 in the data, 1, 3, 2 in the layout: ranks correlate by 1 - 6·2 / (3·8) = 0.5.
    let (data, layout) = (array![[0.0], [1.0], [3.0]], array![[0.0], [1.0], [-2.0]]);
    let report = ask(&data, &layout, &QualityOptions { triplets_per_row: 1, ..Default::default() });
    assert!((value(&report.distance_correlation) - 0.5).abs() < 1e-12);
    assert_eq!((report.distance_correlation.sample, report.distance_correlation.exact), (3, true));
    // Seen from 0 and from 1 the order stays; from 2 it is 2, 3 in the data and 3, 2 in the layout.
    assert!((value(&report.random_triplet_accuracy) - 2.0 / 3.0).abs() < 1e-12);
}

#[test]
fn samples_agree_with_exact_values() {
    let data = noise(3000, 12, 7);
    let layout = data.slice(s![.., ..3]).to_owned();
    let labels: Vec<i64> = data.outer_iter().map(|row| i64::from(row[0] + 0.3 * row[5] > 0.0)).collect();
    let exact_options = QualityOptions { labels: Some(&labels), pairs: usize::MAX, ..Default::default() };
    let exact = ask(&data, &layout, &exact_options);
    let some_options =
        QualityOptions { exact_up_to: 0, queries: 300, layout_queries: 500, pairs: 20_000, ..exact_options.clone() };
    let some = ask(&data, &layout, &some_options);
    let all = |report: &QualityReport| {
        let parts = [&report.trustworthiness, &report.continuity, &report.neighbour_preservation];
        let lists = parts.into_iter().flatten().cloned();
        lists.chain(report.label_accuracy.clone()).collect::<Vec<_>>()
    };
    for (exact, some) in all(&exact).iter().zip(&all(&some)) {
        assert!(exact.exact && exact.standard_error.is_none());
        assert!(!some.exact && [300, 500].contains(&some.sample));
        let error = some.standard_error.expect("sampled");
        assert!(error > 0.0 && error < 0.03);
        assert!((value(exact) - value(some)).abs() < 4.0 * error, "{exact:?}, {some:?}");
    }
    assert!((value(&exact.distance_correlation) - value(&some.distance_correlation)).abs() < 0.02);
    assert!(exact.distance_correlation.exact && !some.distance_correlation.exact);
    let another = ask(&data, &layout, &QualityOptions { seed: 1, ..some_options });
    assert_ne!(another.trustworthiness, some.trustworthiness);
}

#[test]
fn label_accuracy_is_that_of_knn_accuracy() {
    let layout = noise(800, 2, 8);
    let labels: Vec<i64> = layout.outer_iter().map(|row| (row[0] * 2.0) as i64).collect();
    let options = QualityOptions { labels: Some(&labels), ..Default::default() };
    let measure = ask(&noise(800, 5, 9), &layout, &options).label_accuracy.expect("there are labels");
    let expected = knn_accuracy(layout.view(), &labels, 10, &Progress::default()).expect("fits");
    assert!((value(&measure) - expected).abs() < 1e-12 && measure.exact);
    assert!(expected > 0.7 && expected < 1.0, "{expected}");
    let alone = label_accuracy(layout.view(), &options, &Progress::default()).expect("fits");
    assert_eq!(alone.as_ref(), Some(&measure));
    let some_options = QualityOptions { exact_up_to: 100, layout_queries: 200, ..options };
    let some = label_accuracy(layout.view(), &some_options, &Progress::default()).expect("fits").expect("labels");
    assert!(some.sample == 200 && !some.exact, "{some:?}");
    assert!((value(&some) - expected).abs() < 4.0 * some.standard_error.expect("a sample has one"), "{some:?}");
}

#[test]
fn recall_counts_what_is_no_farther_than_the_true_last() {
    let data = array![[0.0], [1.0], [3.0], [6.0], [6.0], [6.0]];
    let indices = array![[1, 2], [0, 2], [1, 5], [3, 4], [3, 3], [4, 0]];
    let graph = Neighbours { squared: Array2::zeros(indices.dim()), indices };
    let measure = knn_recall(data.view(), &graph, &QualityOptions::default(), &Progress::default()).expect("fits");
    // Row 2: 0 is as near as 3, 4 and 5. Row 3 names itself, row 4 a row twice, row 5 a far one.
    assert_eq!(measure.value, Some((2.0 + 2.0 + 2.0 + 1.0 + 1.0 + 1.0) / 12.0));
    assert_eq!((measure.k, measure.sample, measure.exact), (Some(2), 6, true));
}

#[test]
fn an_exact_graph_has_recall_1_also_among_the_rows_that_are_kept() {
    let data = noise(700, 24, 10);
    let progress = Progress::default();
    let graph = Index::build(data.clone(), KnnMethod::Exact, &progress).and_then(|index| index.graph(20, &progress));
    let graph = graph.expect("k fits");
    let mut layout = noise(700, 2, 11);
    let recall = |layout: &Array2<f32>, graph: &Neighbours| {
        let report = ask(&data, layout, &QualityOptions { graph: Some(graph), ..Default::default() });
        report.knn_recall.expect("there is a graph")
    };
    assert_eq!(recall(&layout, &graph).value, Some(1.0));
    layout.slice_mut(s![..100, ..]).fill(f32::NAN);
    let measure = recall(&layout, &graph);
    assert_eq!((measure.value, measure.sample), (Some(1.0), 600));
    let mut half = graph;
    half.indices.slice_mut(s![.., 10..]).mapv_inplace(|row| (row + 350) % 700);
    let measure = recall(&layout, &half);
    assert!((0.5..0.6).contains(&value(&measure)), "{measure:?}");
}

#[test]
fn rows_without_a_place_are_left_out() {
    let (mut data, mut layout) = (noise(300, 6, 12), noise(300, 2, 13));
    let labels: Vec<i64> = (0..300).map(|i| i % 3).collect();
    let without = QualityOptions { labels: Some(&labels[3..]), metric: Metric::Cosine, ..Default::default() };
    let expected = report(data.slice(s![3.., ..]), layout.slice(s![3.., ..]), &without, &Progress::default());
    data.row_mut(0).fill(0.0);
    data[[1, 2]] = f32::INFINITY;
    layout[[2, 0]] = f32::NAN;
    let with = ask(&data, &layout, &QualityOptions { labels: Some(&labels), ..without });
    assert_eq!((with.n_rows, with.n_left_out), (297, 3));
    assert_eq!(with, QualityReport { n_left_out: 3, ..expected.expect("fits") });
}

#[test]
fn cosine_ignores_the_length_of_rows() {
    let data = noise(300, 8, 14);
    let mut longer = data.clone();
    for (i, mut row) in longer.outer_iter_mut().enumerate() {
        row *= 1.0 + (i % 5) as f32;
    }
    let options = QualityOptions { metric: Metric::Cosine, ..Default::default() };
    let report = report(data.view(), data.view(), &options, &Progress::default()).expect("fits");
    assert!(value(&report.trustworthiness[0]) < 1.0, "euclidean in the layout");
    let length = |row: ndarray::ArrayView1<'_, f32>| row.dot(&row).sqrt();
    let mut unit = longer.clone();
    unit.outer_iter_mut().for_each(|mut row| {
        let length = length(row.view());
        row /= length;
    });
    assert!(value(&ask(&longer, &unit, &options).trustworthiness[0]) > 0.9999);
}

#[test]
fn few_rows_leave_measures_undefined() {
    for n in 0..5 {
        let data = noise(n, 4, 15);
        let labels = vec![0; n];
        let indices = Array2::from_elem((n, 1), 0_u32);
        let graph = Neighbours { squared: Array2::zeros((n, 1)), indices };
        let options = QualityOptions { labels: Some(&labels), graph: Some(&graph), ..Default::default() };
        let report = ask(&data, &data.slice(s![.., ..2]).to_owned(), &options);
        assert_eq!(report.n_rows, n);
        assert_eq!(report.trustworthiness[0].value.is_some(), n > 2);
        assert_eq!(report.neighbour_preservation[0].value.is_some(), n > 1);
        assert_eq!(report.random_triplet_accuracy.value.is_some(), n > 2);
        assert_eq!(report.distance_correlation.value.is_some(), n > 2, "one pair does not vary");
        assert_eq!(report.label_accuracy.as_ref().and_then(|measure| measure.value), (n > 1).then_some(1.0));
        assert!(report.to_string().lines().count() > 7);
    }
    // k is cut to what there is: at most (n - 1) / 2 for ranks, n - 1 for neighbours.
    let data = noise(21, 4, 16);
    let report = ask(&data, &data, &QualityOptions::default());
    assert_eq!(report.trustworthiness[0].k, Some(10));
    assert_eq!(report.neighbour_preservation.iter().map(|m| m.k).collect::<Vec<_>>(), [Some(15), Some(20), Some(20)]);
    // All rows equal: everything is a tie.
    let report = ask(&Array2::ones((50, 3)), &noise(50, 2, 17), &QualityOptions::default());
    assert_eq!(value(&report.random_triplet_accuracy), 0.5);
    assert_eq!(report.distance_correlation.value, None);
    // No columns at all.
    assert_eq!(ask(&Array2::zeros((9, 0)), &Array2::zeros((9, 0)), &QualityOptions::default()).n_rows, 9);
}

#[test]
fn memory_order_does_not_matter() {
    let (data, layout) = (noise(150, 20, 18), noise(150, 2, 19));
    let transposed = |array: &Array2<f32>| array.t().as_standard_layout().into_owned();
    let (data_t, layout_t) = (transposed(&data), transposed(&layout));
    let options = QualityOptions::default();
    let other = report(data_t.t(), layout_t.t(), &options, &Progress::default()).expect("fits");
    assert_eq!(other, ask(&data, &layout, &options));
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let (data, layout) = (noise(1300, 33, 20), noise(1300, 2, 21));
    let labels: Vec<i64> = (0..1300).map(|i| i % 4).collect();
    let options = QualityOptions {
        labels: Some(&labels),
        exact_up_to: 100,
        queries: 333,
        layout_queries: 777,
        ..Default::default()
    };
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| {
            let mut report = ask(&data, &layout, &options);
            let drift = drift(layout.view(), data.slice(s![.., 3..5]), &options, &Progress::default());
            report.drift = Some(drift.expect("fits"));
            let fitted = Pca::new(PcaParams::default()).and_then(|pca| pca.fit(data.view(), &Progress::default()));
            let held_out = HeldOut { data: data.view(), labels: Some(&labels) };
            let consistency =
                self_consistency(&*fitted.expect("fits"), data.view(), Some(held_out), &options, &Progress::default());
            report.self_consistency = Some(consistency.expect("fits"));
            report
        })
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(5));
}

#[test]
fn a_transform_that_repeats_the_fit_is_consistent() {
    let data = noise(500, 10, 22);
    let labels: Vec<i64> = data.outer_iter().map(|row| i64::from(row[0] > 0.0)).collect();
    let progress = Progress::default();
    let fitted = Pca::new(PcaParams::default()).and_then(|pca| pca.fit(data.view(), &progress)).expect("fits");
    let options = QualityOptions { labels: Some(&labels), ..Default::default() };
    // Held-out rows are the fitted ones: they find themselves first, in the data and in the layout.
    let mut again = concatenate![ndarray::Axis(0), data, noise(1, 10, 23)];
    again.row_mut(500).fill(f32::NAN);
    let again_labels: Vec<i64> = labels.iter().copied().chain([0]).collect();
    let held_out = HeldOut { data: again.view(), labels: Some(&again_labels) };
    let found = self_consistency(&*fitted, data.view(), Some(held_out), &options, &progress).expect("fits");
    assert_eq!((found.sample, found.exact, found.n_left_out), (500, true, 0));
    assert!(found.max_displacement.expect("has spread") < 1e-5);
    let held_out = found.held_out.as_ref().expect("given");
    assert_eq!((held_out.n_rows, held_out.n_left_out), (501, 1));
    let report = ask(&data, &fitted.layout().to_owned(), &options);
    let (own, other) = (value(&report.trustworthiness[0]), value(&held_out.trustworthiness[0]));
    assert!((own - other).abs() < 0.05 && other > 0.6, "{own}, {other}");
    let (own, other) = (value(&report.random_triplet_accuracy), value(&held_out.random_triplet_accuracy));
    assert!((own - other).abs() < 0.05 && other > 0.6, "{own}, {other}");
    assert_eq!(held_out.random_triplet_accuracy.sample, 2500);
    assert!(value(held_out.label_accuracy.as_ref().expect("has labels")) > 0.5);
    let text = found.to_string();
    assert!(text.contains("held out: label accuracy") && text.contains("all 500 held-out rows"), "{text}");
}

/// Forgets where the fit placed its rows: the whole layout is shifted in the transform.
#[derive(Debug)]
struct Shifted(Box<dyn tlc_core::FittedReducer>);

impl tlc_core::FittedReducer for Shifted {
    fn reducer(&self) -> &dyn Reducer {
        self.0.reducer()
    }

    fn n_features(&self) -> usize {
        self.0.n_features()
    }

    fn layout(&self) -> ArrayView2<'_, f32> {
        self.0.layout()
    }

    fn transform(&self, data: ArrayView2<'_, f32>, progress: &Progress) -> Result<tlc_core::Transformed, ReduceError> {
        let mut transformed = self.0.transform(data, progress)?;
        transformed.coordinates.column_mut(0).mapv_inplace(|x| x + 3.0);
        transformed.coordinates.row_mut(0).fill(f32::NAN);
        Ok(transformed)
    }

    fn to_arrays(&self) -> tlc_core::Arrays {
        self.0.to_arrays()
    }
}

#[test]
fn a_transform_that_shifts_is_found() {
    // Places ±4 and 0 on one axis, ±3 on the other: the spread is √(2·16 + 2·9)/√5.
    let data = array![[4.0, 0.0], [-4.0, 0.0], [0.0, 3.0], [0.0, -3.0], [0.0, 0.0]];
    let progress = Progress::default();
    let fitted = Pca::new(PcaParams::default()).and_then(|pca| pca.fit(data.view(), &progress)).expect("fits");
    let found = self_consistency(&Shifted(fitted), data.view(), None, &QualityOptions::default(), &progress);
    let found = found.expect("fits");
    assert_eq!((found.n_moved, found.n_left_out), (4, 1));
    let expected = 3.0 / 10.0_f64.sqrt();
    assert!((found.max_displacement.expect("has spread") - expected).abs() < 1e-6, "{found:?}");
    assert!((found.mean_displacement.expect("has spread") - expected).abs() < 1e-6);
}

#[test]
fn drift_ignores_how_a_layout_lies() {
    let before = noise(400, 3, 24);
    // Mirrored, turned by a Pythagorean rotation, scaled and shifted.
    let map = array![[0.6, 0.8, 0.0], [0.8, -0.6, 0.0], [0.0, 0.0, 1.0]];
    let after = before.dot(&map) * 7.0 + 100.0;
    let same = drift(before.view(), after.view(), &QualityOptions::default(), &Progress::default()).expect("fits");
    assert!(same.p95_displacement.expect("has spread") < 1e-4, "{same}");
    assert!(value(&same.neighbour_overlap[0]) > 0.99);

    let other = drift(before.view(), noise(400, 3, 25).view(), &QualityOptions::default(), &Progress::default());
    let other = other.expect("fits");
    assert!((0.8..1.1).contains(&other.mean_displacement.expect("has spread")), "unrelated: about one spread, {other}");
    assert!(value(&other.neighbour_overlap[0]) < 0.1);
}

#[test]
fn drift_by_hand() {
    // Symmetric about both axes before and after, so nothing is turned: scale and displacement by hand.
    let before = array![[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [f32::NAN, 0.0]];
    let after = array![[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.0, 0.0]];
    let found = drift(before.view(), after.view(), &QualityOptions::default(), &Progress::default()).expect("fits");
    assert_eq!((found.n_rows, found.n_left_out), (4, 1));
    // tr S = 4 + 2, |B|² = 10, scale 0.6: places 1.2 and 0.6 instead of 1 and 1; the spread is 1.
    assert!((found.mean_displacement.expect("has spread") - 0.3).abs() < 1e-9);
    assert!((found.median_displacement.expect("has spread") - 0.2).abs() < 1e-9);
    assert!((found.p95_displacement.expect("has spread") - 0.4).abs() < 1e-9);
    for (before, after) in [(0, 0), (1, 1)].map(|(n, m)| (Array2::<f32>::zeros((n, 2)), Array2::zeros((m, 2)))) {
        let found = drift(before.view(), after.view(), &QualityOptions::default(), &Progress::default());
        let found = found.expect("fits");
        assert_eq!((found.mean_displacement, found.neighbour_overlap[0].value), (None, None));
    }
    // Everything collapsed to a point: displaced by the distance to the centre.
    let collapsed = Array2::zeros((5, 2));
    let found = drift(before.view(), collapsed.view(), &QualityOptions::default(), &Progress::default());
    assert_eq!(found.expect("fits").mean_displacement, Some(1.0));
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let (data, layout) = (noise(10, 3, 26), noise(10, 2, 27));
    let progress = Progress::default();
    let message = |options: &QualityOptions<'_>, layout: &Array2<f32>| {
        report(data.view(), layout.view(), options, &progress).expect_err("refused").to_string()
    };
    let bad = QualityOptions { rank_k: vec![15, 0], queries: 0, ..Default::default() };
    assert_eq!(message(&bad, &layout), "rank_k is 0; at least 1; queries is 0; at least 1");
    assert_eq!(
        message(&QualityOptions { labels: Some(&[1, 2]), ..Default::default() }, &layout),
        "cannot reduce the data: it has 10 rows and 2 labels; one each is needed"
    );
    assert_eq!(
        message(&QualityOptions::default(), &noise(9, 2, 28)),
        "cannot reduce the data: it has 10 rows and 9 rows in the layout; one each is needed"
    );
    let graph = Neighbours { indices: Array2::from_elem((10, 2), 10), squared: Array2::zeros((10, 2)) };
    assert_eq!(
        message(&QualityOptions { graph: Some(&graph), ..Default::default() }, &layout),
        "cannot reduce the data: it has 10 rows and a neighbour numbered 10"
    );
    assert!(drift(layout.view(), data.view(), &QualityOptions::default(), &progress).is_err());
}

#[test]
fn every_part_can_be_cancelled() {
    let (data, layout) = (noise(50, 3, 29), noise(50, 2, 30));
    let fitted = Pca::new(PcaParams::default()).and_then(|pca| pca.fit(data.view(), &Progress::default()));
    let fitted = fitted.expect("fits");
    let options = QualityOptions::default();
    let progress = Progress::default();
    progress.cancel();
    let errors = [
        report(data.view(), layout.view(), &options, &progress).expect_err("cancelled"),
        drift(layout.view(), layout.view(), &options, &progress).expect_err("cancelled"),
        self_consistency(&*fitted, data.view(), None, &options, &progress).expect_err("cancelled"),
    ];
    for error in errors {
        assert!(matches!(error, ReduceError::Cancelled(_)), "{error}");
    }
}

#[test]
fn a_report_is_json_and_tables() {
    let (data, layout) = (noise(60, 3, 31), noise(60, 2, 32));
    let mut report = ask(&data, &layout, &QualityOptions { exact_up_to: 0, queries: 40, ..Default::default() });
    let json = serde_json::to_value(&report).expect("serialises");
    assert_eq!(json["trustworthiness"][0]["k"], 15);
    assert_eq!(json["trustworthiness"][0]["exact"], false);
    assert_eq!(json["neighbour_preservation"][2]["k"], 59);
    assert!(json.get("label_accuracy").is_none());
    let read: QualityReport = serde_json::from_value(json).expect("deserialises");
    assert_eq!(read, report);

    report.drift =
        Some(drift(layout.view(), layout.view(), &QualityOptions::default(), &Progress::default()).expect("fits"));
    report.n_left_out = 1234;
    let text = report.to_string();
    let first = "measure                      k   value       ±  of";
    assert_eq!(text.lines().next(), Some(first));
    assert!(text.contains("a sample of 40 rows") && text.contains("all 1,770 pairs"), "{text}");
    assert!(text.contains("drift: neighbour overlap") && text.contains("1,234"), "{text}");
    let markdown = report.to_markdown();
    assert_eq!(markdown.lines().count(), text.lines().count() + 1);
    assert!(
        markdown.lines().all(|line| line.starts_with('|') && line.ends_with('|') && line.matches('|').count() == 6)
    );
}
