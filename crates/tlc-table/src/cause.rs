//! The causes of failures, as short as a reader needs them and without anybody's credentials.
//!
//! The answer of an object store to a refused request may repeat the access key, the signed text, or an expired token.

use tlc_core::Url;

/// Why something below failed.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The cause itself, or if it comes from an object store, what the store said of it.
#[cfg_attr(not(feature = "remote"), expect(unused_variables, reason = "local causes are short"))]
pub(crate) fn brief(url: &Url, cause: Cause) -> Cause {
    #[cfg(feature = "remote")]
    if let Some(text) = crate::remote::explain(url, cause.as_ref()) {
        return text.into();
    }
    cause
}
