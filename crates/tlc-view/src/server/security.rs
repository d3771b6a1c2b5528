//! Who may ask, and what the page may do.

use std::sync::Arc;

use axum::extract::{Request, State as OfRouter};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::State;
use super::errors::Refused;

/// Only what this process serves: no other script, style, picture or connection.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
                      connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// Refuses requests that were meant for another name, as a page elsewhere could make a browser send them (DNS
/// rebinding), and says in each answer what the page may load.
pub(super) async fn guard(OfRouter(state): OfRouter<Arc<State>>, request: Request, next: Next) -> Response {
    // With a token nobody elsewhere knows the address.
    if state.token.is_none() && !is_for_us(&request, state.port) {
        let error = "this request is for another host";
        return Refused::new(StatusCode::FORBIDDEN, error, "Use the address that tlc view printed.").into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    response
}

fn is_for_us(request: &Request, port: u16) -> bool {
    let names = ["127.0.0.1", "localhost", "[::1]"].map(|name| format!("{name}:{port}"));
    let is_ours = |value: &HeaderValue, prefix: &str| {
        value
            .to_str()
            .ok()
            .and_then(|value| value.strip_prefix(prefix))
            .is_some_and(|value| names.iter().any(|n| n == value))
    };
    let host = request.headers().get(header::HOST).is_some_and(|host| is_ours(host, ""));
    let origin = request.headers().get(header::ORIGIN).is_none_or(|origin| is_ours(origin, "http://"));
    host && origin
}
