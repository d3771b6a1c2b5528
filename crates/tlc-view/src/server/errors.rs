//! Errors as the page shows them: what is wrong, and what to do.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tlc_core::StoreError;
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
        let text = text_of(&error);
        let is_gone = matches!(
            error,
            ViewError::Store(StoreError::NotFound { .. })
                | ViewError::Run(RunError::Store(StoreError::NotFound { .. }))
        );
        match error {
            _ if is_gone => Self::new(
                StatusCode::NOT_FOUND,
                text,
                "The table was deleted or replaced meanwhile; read the list of tables again.",
            ),
            ViewError::Unknown { .. } | ViewError::Run(RunError::UnknownRun { .. }) => {
                Self::new(StatusCode::NOT_FOUND, text, "Reload the page: the run has changed.")
            }
            ViewError::NotReady { .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, text, "Wait until it is."),
            ViewError::Unusable { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, text, ""),
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, text, "See the terminal in which tlc view runs."),
        }
    }
}

/// An error with its causes.
pub(super) fn text_of(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

pub(super) async fn no_such_place() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "there is nothing at this address", "Use the address that tlc view printed.")
}
