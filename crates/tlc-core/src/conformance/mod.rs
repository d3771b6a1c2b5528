//! Suites that every store and every reducer passes, ours and yours.
//!
//! ```no_run
//! # fn my_store() -> Box<dyn tlc_core::TableStore> { unimplemented!() }
//! tlc_core::conformance::check_store(my_store().as_ref(), &"memory://test/p".parse().unwrap());
//! ```
//!
//! They panic with the promise that was broken, as tests do. Not covered by semver: a suite grows
//! when a promise gets a check.

mod reducer;
mod store;

pub use reducer::check_reducer;
pub use store::check_store;
