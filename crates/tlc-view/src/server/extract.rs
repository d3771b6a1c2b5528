//! What a request asks for. What cannot be read is refused as everything else is: as JSON, with what is wrong.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::errors::Refused;

/// The query.
pub(super) struct Asked<T>(pub(super) T);

/// The body, JSON.
pub(super) struct Sent<T>(pub(super) T);

/// What the path names.
pub(super) struct Named<T>(pub(super) T);

const ADVICE: &str = "Reload the page; if it happens again, it is of another version than the server.";

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let refused = |error: QueryRejection| Refused::new(error.status(), error.body_text(), ADVICE);
        Query::from_request_parts(parts, state).await.map(|Query(query)| Self(query)).map_err(refused)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Sent<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let refused = |error: JsonRejection| Refused::new(error.status(), error.body_text(), ADVICE);
        Json::from_request(request, state).await.map(|Json(body)| Self(body)).map_err(refused)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let refused = |error: PathRejection| Refused::new(error.status(), error.body_text(), ADVICE);
        Path::from_request_parts(parts, state).await.map(|Path(path)| Self(path)).map_err(refused)
    }
}
