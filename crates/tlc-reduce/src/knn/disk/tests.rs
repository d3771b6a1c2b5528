//! Neighbours by cells in files, beside those by all distances.

use tlc_core::rng::Stream;

use super::*;
use crate::knn::Index;

fn clusters(n: usize, d: usize) -> Array2<f32> {
    let noise = Stream::new(5, "disk-test");
    Array2::from_shape_fn((n, d), |(i, j)| {
        (4.0 * noise.substream(1).normal((i % 20) as u64, j as u64) + noise.normal(i as u64, j as u64)) as f32
    })
}

fn small_memory() -> DiskOptions {
    DiskOptions { memory_bytes: 300_000, ..DiskOptions::default() }
}

fn graph(rows: &Array2<f32>, k: usize, options: &DiskOptions) -> (Neighbours, GraphReport) {
    let (graph, report) = graph_on_disk(&rows.view(), k, options, &Progress::default()).expect("finds");
    assert_eq!((graph.n_rows(), graph.k()), (rows.nrows(), k));
    (graph.read(0..rows.nrows()).expect("readable"), report)
}

#[test]
fn neighbours_are_the_true_ones_as_far_as_is_reported() {
    let rows = clusters(6000, 12);
    let (found, report) = graph(&rows, 10, &small_memory());
    let index = Index::build(rows.clone(), KnnMethod::Exact, &Progress::default()).expect("builds");
    let exact = index.graph(10, &Progress::default()).expect("finds");
    let mut hits = 0;
    for (row, (list, squared)) in found.indices.outer_iter().zip(found.squared.outer_iter()).enumerate() {
        assert!(squared.iter().zip(squared.iter().skip(1)).all(|(near, far)| near <= far));
        for (&other, &distance) in list.iter().zip(squared) {
            assert_ne!(other as usize, row);
            let direct: f32 = crate::distance::squared_euclidean(
                rows.row(row).to_slice().expect("contiguous"),
                rows.row(other as usize).to_slice().expect("contiguous"),
            );
            assert_eq!(distance, direct);
        }
        hits += squared.iter().filter(|&&distance| distance <= exact.squared[[row, 9]]).count();
    }
    let recall = hits as f64 / 60_000.0;
    assert!(recall >= 0.93, "{recall} of the true neighbours");
    assert!((recall - report.recall).abs() < 0.03, "{recall}, but {} was reported", report.recall);
    assert!(report.recall >= 0.95 && report.sampled_rows == 256, "{report:?}");
}

#[test]
fn all_are_found_where_that_is_asked_for() {
    let rows = clusters(1500, 5);
    let (found, report) = graph(&rows, 7, &DiskOptions { target_recall: 1.0, ..small_memory() });
    let index = Index::build(rows, KnnMethod::Exact, &Progress::default()).expect("builds");
    let exact = index.graph(7, &Progress::default()).expect("finds");
    let differing = (0..1500).filter(|&row| found.indices.row(row) != exact.indices.row(row)).count();
    assert!(report.recall == 1.0 && differing <= 30, "{differing} lists differ");
}

#[test]
fn neither_threads_nor_the_size_of_blocks_matter() {
    struct Odd(Array2<f32>);
    impl RowSource for Odd {
        fn n_rows(&self) -> usize {
            self.0.nrows()
        }
        fn n_features(&self) -> usize {
            self.0.ncols()
        }
        fn read(
            &self,
            take: &mut dyn FnMut(ArrayView2<'_, f32>) -> Result<(), ReduceError>,
        ) -> Result<(), ReduceError> {
            self.0.axis_chunks_iter(Axis(0), 37).try_for_each(take)
        }
    }
    let rows = clusters(3000, 6);
    let (one, _) = graph(&rows, 5, &small_memory());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("a pool");
    let progress = Progress::default();
    let (other, _) = pool.install(|| graph_on_disk(&Odd(rows), 5, &small_memory(), &progress)).expect("finds");
    assert_eq!(other.read(0..3000).expect("readable"), one);
}

#[test]
fn equal_rows_are_neighbours_of_each_other() {
    let mut rows = clusters(2000, 4);
    for row in 0..700 {
        rows.row_mut(row).fill(2.5);
    }
    let (found, report) = graph(&rows, 3, &small_memory());
    assert!(found.squared.rows().into_iter().take(700).flatten().all(|&squared| squared == 0.0));
    assert!(
        found
            .indices
            .rows()
            .into_iter()
            .take(700)
            .enumerate()
            .all(|(row, list)| { list.iter().all(|&other| (other as usize) < 700 && other as usize != row) })
    );
    assert!(report.recall >= 0.95, "{report:?}");
}

#[test]
fn a_fit_takes_its_graph_from_disk_where_that_is_asked_for() {
    let data = clusters(900, 8);
    let params = crate::UmapParams { n_epochs: Some(10), knn: KnnMethod::Disk, ..Default::default() };
    let umap = crate::Umap::new(params).expect("valid");
    let (progress, mut report) = (Progress::default(), None);
    let options = crate::FitOptions { graph_report: Some(&mut report), ..Default::default() };
    let fitted = umap.fit_with(data.view(), options, &progress).expect("fits");
    let report = report.expect("was searched");
    assert!(report.method == KnnMethod::Disk && report.recall >= 0.99, "{report:?}");
    let placed = fitted.transform(data.view(), &progress).expect("placed");
    assert_eq!(placed.coordinates, fitted.layout());
    let json = serde_json::to_value(umap.params()).expect("plain data");
    assert_eq!(json["knn"], "disk");
}

#[test]
fn few_rows_and_bad_ones() {
    let rows = clusters(3, 2);
    let (found, report) = graph(&rows, 2, &DiskOptions { memory_bytes: 0, ..DiskOptions::default() });
    assert_eq!((found.indices.dim(), report.recall, report.sampled_rows), ((3, 2), 1.0, 3));
    let check = |rows: &Array2<f32>, k, options: &DiskOptions, expected: &str| {
        let error = graph_on_disk(&rows.view(), k, options, &Progress::default()).expect_err("refused");
        let error = tlc_core::with_causes(&error);
        assert!(error.contains(expected), "{error}");
    };
    let options = DiskOptions::default();
    check(&rows, 3, &options, "between 1 and 2 neighbours can be found");
    check(&rows, 1, &DiskOptions { target_recall: 0.0, ..options.clone() }, "target_recall");
    let folder = PathBuf::from("/no/such/folder");
    check(&rows, 1, &DiskOptions { folder, ..DiskOptions::default() }, "it is in /no/such/folder; name a folder");
    let mut bad = rows;
    bad[[1, 0]] = f32::NAN;
    check(&bad, 1, &options, "1 of 3 rows");
}

/// However many groups the memory asks for, and however little of one fits, cells are as small as in memory, and all rows
/// are looked at.
#[test]
fn the_size_of_cells_does_not_depend_on_the_memory() {
    let rows = clusters(4000, 16);
    for memory_bytes in [0, 20_000, 200_000, 2_000_000, 1 << 30] {
        let options = DiskOptions { memory_bytes, ..DiskOptions::default() };
        let cells = CellFile::write(&rows.view(), &options, &Progress::default()).expect("writes");
        let sizes: Vec<usize> = cells.offsets.windows(2).map(|ends| ends[1] - ends[0]).collect();
        let mean = 4000 / sizes.len();
        assert!((8..64).contains(&mean), "{} cells with a memory of {memory_bytes}", sizes.len());
        assert!((0..sizes.len()).all(|cell| cells.range(cell).len() == sizes[cell]), "{sizes:?}");
        let mut order = cells.order.clone();
        for (place, &row) in cells.order.iter().enumerate() {
            let stored = cells.read(place..place + 1).expect("readable");
            assert_eq!(stored.row(0), rows.row(row as usize), "place {place}");
        }
        order.sort_unstable();
        assert!(order.into_iter().eq(0..4000));
    }
}

#[test]
fn cells_that_do_not_fit_at_once_are_joined_one_after_the_other() {
    let rows = clusters(6000, 12);
    let (small, report) = graph(&rows, 10, &DiskOptions { memory_bytes: 0, ..DiskOptions::default() });
    assert!(report.recall >= 0.9, "{report:?}");
    let index = Index::build(rows, KnnMethod::Exact, &Progress::default()).expect("builds");
    let exact = index.graph(10, &Progress::default()).expect("finds");
    let lists = small.squared.outer_iter().zip(exact.squared.column(9));
    let hits: usize = lists.map(|(list, farthest)| list.iter().filter(|&found| found <= farthest).count()).sum();
    assert!(hits >= 54_000, "{hits} of 60,000 neighbours");
}
