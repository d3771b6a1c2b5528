//! Tables that are written in parts: what a bucket keeps of a job that was given up.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use tlc::core::ulid::Ulid;
use tlc::core::{BatchStream, Lineage, Operation, Progress, TableStore};

use super::server::Server;

on_server!(s3, S3: a_part_that_is_told_of_late_is_none_of_the_same_job_begun_again);
on_server!(seaweedfs, SeaweedFs: a_part_that_is_told_of_late_is_none_of_the_same_job_begun_again);

/// A folder that is renamed takes late writers along; a bucket's keys are listed once and removed, and what comes then stays.
fn a_part_that_is_told_of_late_is_none_of_the_same_job_begun_again(server: Server) {
    let url = server.bucket("parts").join("p/t.lance").expect("a path");
    let (store, job) = (server.store(), Ulid::generate());
    let lineage = Lineage::new("parts/1", Operation::new("made-up", 1));
    let field = Field::new("id", DataType::Int64, false);
    let schema = Arc::new(lineage.write_into(&Schema::new(vec![field])));
    let rows = || -> BatchStream<'static> {
        let ids = Arc::new(Int64Array::from_iter_values(0..10));
        Box::new([Ok(RecordBatch::try_new(schema.clone(), vec![ids]).expect("one column"))].into_iter())
    };
    let first = store.begin_parts(&url, job).expect("a free place");
    let (key, part) = (first.key(), store.write_part(&url, &schema, rows()).expect("writable"));
    assert!(first.give_up().expect("removable"), "it is alone");
    let again = store.begin_parts(&url, job).expect("free again");
    assert_ne!(again.key(), key);
    store.keep_part(&url, key, 0, part).expect("its writer cannot know that nobody waits");
    assert_eq!(again.kept_parts().expect("readable"), BTreeSet::new(), "its files are gone");
    assert_eq!(store.kept_part(&url, again.key(), 0).expect("readable"), None);
    let part = store.write_part(&url, &schema, rows()).expect("writable");
    let part = store.keep_part(&url, again.key(), 0, part).expect("the first");
    again.commit(&schema, vec![part], &Progress::default()).expect("committable");
    store.verify(&url, &Progress::default()).expect("whole");
    let folders = store.list_folders(&url).expect("there");
    assert!(!folders.contains(&"_tlc_parts".to_owned()), "{folders:?}");
}
