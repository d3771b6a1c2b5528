//! Projects on S3: the store's contract, races, faults of the network, errors that a user can act on, and jobs.

#[cfg(feature = "cluster")]
mod apply;
mod errors;
mod faults;
mod proxy;
mod races;
mod server;

use tlc::core::conformance::check_store;

use server::{address, bucket, store_at};

#[test]
fn the_contract_holds_on_s3() {
    // A root whose name must be encoded in requests.
    check_store(&store_at(address()), &bucket("contract").join("a project/größe+1%").expect("a path"));
}
