//! Who may ask, and what the page may do.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State as OfRouter};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
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
    if state.token.is_none() && !is_for_us(request.headers()) {
        let error = "this request is for another host";
        return Refused::new(StatusCode::FORBIDDEN, error, "Use the address that tlc view printed.").into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // Pages elsewhere may not even embed a picture of a sample.
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    response
}

/// Whether a request names this machine, at whatever port: a forwarded one (`ssh -L`) is another than that which is
/// listened at, and a page elsewhere, which has a name that it lets point here, cannot choose the name. What a page sends
/// names where it is from, which must be this server's.
fn is_for_us(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let Some(host) = text(header::HOST) else { return false };
    is_loopback(host) && text(header::ORIGIN).is_none_or(|origin| origin.strip_prefix("http://") == Some(host))
}

/// Whether `host`, with or without a port, is this machine for itself.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_let_in(host: &'static str, origin: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
        headers.extend(origin.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin))));
        is_for_us(&headers)
    }

    #[test]
    fn names_of_this_machine_are_let_in_with_any_port() {
        for (host, origin) in [
            ("localhost:8000", Some("http://localhost:8000")),
            ("127.0.0.1:9000", Some("http://127.0.0.1:9000")),
            ("127.0.0.2:8000", None),
            ("[::1]:8000", Some("http://[::1]:8000")),
            ("[::1]", None),
            // Clients leave the usual port out.
            ("localhost", Some("http://localhost")),
            ("127.0.0.1", None),
        ] {
            assert!(is_let_in(host, origin), "{host} {origin:?}");
        }
    }

    #[test]
    fn other_names_and_pages_of_others_are_refused() {
        for (host, origin) in [
            ("evil", None),
            ("evil:8000", Some("http://evil:8000")),
            ("localhost.evil:8000", None),
            ("127.0.0.1.evil:8000", None),
            ("192.168.1.2:8000", None),
            ("localhost:8000", Some("http://evil:8000")),
            // Another server of this machine.
            ("localhost:8000", Some("http://localhost:9000")),
            ("localhost:8000", Some("https://localhost:8000")),
            ("localhost:8000", Some("null")),
        ] {
            assert!(!is_let_in(host, origin), "{host} {origin:?}");
        }
        assert!(!is_for_us(&HeaderMap::new()), "whom it is for is not known");
    }
}
