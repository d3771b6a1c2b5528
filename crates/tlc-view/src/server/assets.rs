//! The page itself, built from `web/` and part of this program.

use std::io::Write;
use std::sync::LazyLock;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

/// The page's files, as `export --html` puts them into one.
pub(crate) const INDEX: &str = include_str!("../../web/dist/index.html");
pub(crate) const SCRIPT: &str = include_str!("../../web/dist/app.js");
pub(crate) const STYLE: &str = include_str!("../../web/dist/app.css");

static SMALL_SCRIPT: LazyLock<Vec<u8>> = LazyLock::new(|| compressed(SCRIPT.as_bytes()));
static SMALL_STYLE: LazyLock<Vec<u8>> = LazyLock::new(|| compressed(STYLE.as_bytes()));

pub(super) async fn index() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], INDEX)
}

pub(super) async fn script(headers: HeaderMap) -> Response {
    asset(&headers, "text/javascript; charset=utf-8", SCRIPT, &SMALL_SCRIPT)
}

pub(super) async fn style(headers: HeaderMap) -> Response {
    asset(&headers, "text/css; charset=utf-8", STYLE, &SMALL_STYLE)
}

fn asset(headers: &HeaderMap, kind: &'static str, text: &'static str, small: &'static LazyLock<Vec<u8>>) -> Response {
    if takes_gzip(headers) {
        let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_ENCODING, "gzip")];
        return (StatusCode::OK, headers, small.as_slice()).into_response();
    }
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("gzip"))
}

pub(super) fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.expect("memory takes what is written")
}
