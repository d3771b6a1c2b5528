//! Writing and scanning a table of 100,000 × 512, beside plain writes to the same disk.

use std::fs::File;
use std::io::Write;

use criterion::{BatchSize, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use tlc::core::{Scan, TableStore, UniqueName, Url};
use tlc::table::LanceStore;
use tlc_benches::embedding_batches;

const N: usize = 100_000;
const D: usize = 512;

/// Deletes its table when dropped, which criterion does outside of the measured time.
struct Written<'a> {
    store: &'a LanceStore,
    url: Url,
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        self.store.delete(&self.url).expect("deletable");
    }
}

fn tables(criterion: &mut Criterion) {
    let (schema, batches) = embedding_batches(N, D);
    let folder = tempfile::tempdir_in(std::env::current_dir().expect("a folder")).expect("a folder on this disk");
    let root = Url::from_path(folder.path()).expect("an absolute path");
    let store = LanceStore::default();
    let fresh = || root.join(&format!("{}.lance", UniqueName::new("t"))).expect("a name");
    let bytes = vec![7_u8; N * D * 4];

    let mut group = criterion.benchmark_group("table_100000x512");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).throughput(Throughput::Bytes((N * D * 4) as u64));
    group.bench_function("disk_write_and_sync", |bencher| {
        bencher.iter(|| {
            let path = folder.path().join("raw");
            let mut file = File::create(&path).expect("creatable");
            file.write_all(&bytes).and_then(|()| file.sync_all()).expect("writable");
        });
    });
    group.bench_function("create", |bencher| {
        bencher.iter_batched(
            || (fresh(), batches.clone()),
            |(url, batches)| {
                let info =
                    store.create(&url, schema.clone(), Box::new(batches.into_iter().map(Ok))).expect("creatable");
                assert_eq!(info.rows, N as u64);
                Written { store: &store, url }
            },
            BatchSize::PerIteration,
        );
    });
    let url = fresh();
    store.create(&url, schema.clone(), Box::new(batches.into_iter().map(Ok))).expect("creatable");
    group.bench_function("scan", |bencher| {
        bencher.iter(|| {
            let rows: usize = store
                .scan(&url, Scan::default())
                .expect("there")
                .map(|batch| batch.expect("readable").num_rows())
                .sum();
            assert_eq!(rows, N);
        });
    });
    group.finish();
}

criterion_group!(benches, tables);
criterion_main!(benches);
