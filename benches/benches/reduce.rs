//! Fit and transform of the reducers.

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use ndarray::s;
use tlc::core::Progress;
use tlc_benches::clusters;

const N: usize = 5_000;
const D: usize = 128;

fn reducers(criterion: &mut Criterion) {
    let data = clusters(2 * N, D);
    let (known, new) = (data.slice(s![..N, ..]), data.slice(s![N.., ..]));
    let progress = Progress::default();
    let mut group = criterion.benchmark_group("reduce_5000x128");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for method in ["pca", "umap", "pacmap"] {
        let reducer = tlc::create_reducer(method, []).expect("linked");
        group.bench_function(format!("{method}_fit"), |bencher| {
            bencher.iter(|| reducer.fit(known, &progress).expect("fits"));
        });
        let fitted = reducer.fit(known, &progress).expect("fits");
        group.bench_function(format!("{method}_transform_5000"), |bencher| {
            bencher.iter(|| fitted.transform(new, &progress).expect("transforms"));
        });
        group.bench_function(format!("{method}_transform_one_row"), |bencher| {
            bencher.iter(|| fitted.transform(new.slice(s![..1, ..]), &progress).expect("transforms"));
        });
    }
    group.finish();
}

criterion_group!(benches, reducers);
criterion_main!(benches);
