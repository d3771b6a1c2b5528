//! Fitted reducers as SQL functions.
#[cfg(feature = "ballista")]
use ballista_scheduler as _;
