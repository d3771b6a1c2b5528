//! Suites that every store and every reducer passes, ours and yours.
//!
//! ```
//! use tlc_core::{TableStore, Url, conformance};
//!
//! /// Call it from a test with your store and an empty folder.
//! fn keeps_the_contract(store: &dyn TableStore, root: &Url) {
//!     conformance::check_store(store, root);
//! }
//! ```
//!
//! They panic with the promise that was broken, as tests do. Not covered by semver: a suite grows
//! when a promise gets a check.

mod reducer;
mod store;

pub use reducer::check_reducer;
pub use store::check_store;
