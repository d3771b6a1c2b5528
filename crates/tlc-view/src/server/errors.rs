//! Errors as the page shows them: what is wrong, and what to do.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tlc_core::{StoreError, with_causes};
use tlc_run::RunError;

use crate::ViewError;

/// A refused request.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) error: String,
    pub(super) advice: String,
}

impl Refused {
    pub(super) fn new(status: StatusCode, error: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { status, error: error.into(), advice: advice.into() }
    }

    pub(super) fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, "Reload the page.")
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.error, "advice": self.advice }))).into_response()
    }
}

impl From<ViewError> for Refused {
    fn from(error: ViewError) -> Self {
        let text = with_causes(&error);
        match error {
            _ if error.is_not_found() => Self::new(
                StatusCode::NOT_FOUND,
                text,
                "The table was deleted or replaced meanwhile; read the list of tables again.",
            ),
            ViewError::Unknown { .. } | ViewError::Run(RunError::UnknownRun { .. } | RunError::Name { .. }) => {
                Self::new(StatusCode::NOT_FOUND, text, "Reload the page: the run has changed.")
            }
            ViewError::NotReady { .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, text, "Wait until it is."),
            ViewError::Unusable { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, text, ""),
            // Rows and columns that a table does not have.
            ViewError::Store(StoreError::Unsupported { .. })
            | ViewError::Run(RunError::Store(StoreError::Unsupported { .. })) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, text, "Read the list of tables again.")
            }
            ViewError::Cancelled(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, text, "Ask again."),
            _ => {
                tracing::error!(error = text, "a request failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, text, "See the terminal in which tlc view runs.")
            }
        }
    }
}

pub(super) async fn no_such_method() -> Refused {
    let error = "this address is not asked in this way";
    Refused::new(StatusCode::METHOD_NOT_ALLOWED, error, "Reload the page.")
}

pub(super) async fn no_such_place() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "there is nothing at this address", "Use the address that tlc view printed.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_says_whose_fault_it_is() {
        let url: tlc_core::Url = "memory://p/t.lance".parse().expect("a URL");
        let status = |error: ViewError| Refused::from(error).status.as_u16();
        assert_eq!(status(ViewError::Run(RunError::Name { what: "run", name: "../x".to_owned() })), 404);
        let store = |error: StoreError| status(ViewError::Store(error));
        assert_eq!(store(StoreError::Unsupported { url: url.clone(), reason: "no row 9".to_owned() }), 422);
        assert_eq!(store(StoreError::NotFound { url: url.clone() }), 404);
        assert_eq!(store(StoreError::Damaged { url, reason: "no footer".to_owned() }), 500);
    }
}
