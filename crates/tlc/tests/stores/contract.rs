//! What every store promises, on the servers of the tests and on any other that somebody has.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tlc::core::conformance::check_store;
use tlc::core::{TableStore, Url};
use tlc::table::LanceStore;

use super::races;
use super::server::Server;

on_server!(s3, S3: the_contract_holds);
on_server!(seaweedfs, SeaweedFs: the_contract_holds);
on_server!(azure, Azure: the_contract_holds);
on_server!(gcs, Gcs: the_contract_holds);

fn the_contract_holds(server: Server) {
    // A root whose name must be encoded in requests.
    check_store(&server.store(), &server.bucket("contract").join("a project/größe+1%").expect("a path"));
}

#[test]
#[ignore = "by hand: TLC_TEST_STORE names a place that can be written, and the environment leads there"]
fn the_contract_holds_elsewhere() {
    let place = std::env::var("TLC_TEST_STORE").expect("TLC_TEST_STORE is a URL, such as gs://bucket/folder");
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    let place: Url = place.parse().expect("a URL");
    let root = place.join(&format!("tlc-test-{}", since.as_micros())).expect("a path");
    let open: fn() -> Arc<dyn TableStore> = || Arc::new(LanceStore::default());
    check_store(open().as_ref(), &root.join("a project/größe+1%").expect("a path"));
    races::check(open(), &root.join("races").expect("a path"), 10);
    races::check_updates(open, &root.join("updates").expect("a path"));
    open().delete_folder(&root).expect("removable");
    assert_eq!(open().size_bytes(&root).expect("measurable"), 0, "nothing is left");
}
