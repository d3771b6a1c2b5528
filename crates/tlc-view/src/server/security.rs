//! Who may ask, and what the page may do.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State as OfRouter};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
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
    if state.token.is_none() && !is_for_us(request.headers(), state.address) {
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

fn is_for_us(headers: &HeaderMap, address: SocketAddr) -> bool {
    let port = address.port();
    let mut names = ["127.0.0.1", "localhost", "[::1]"].map(|name| format!("{name}:{port}")).to_vec();
    names.push(address.to_string());
    let is_ours = |value: &HeaderValue, prefix: &str| {
        let value = value.to_str().ok().and_then(|value| value.strip_prefix(prefix));
        value.is_some_and(|value| {
            let is_it = |name: &String| {
                // Clients leave out the usual port.
                let bare = name.strip_suffix(":80").filter(|_| port == 80);
                name == value || bare == Some(value)
            };
            names.iter().any(is_it)
        })
    };
    let host = headers.get(header::HOST).is_some_and(|host| is_ours(host, ""));
    let origin = headers.get(header::ORIGIN).is_none_or(|origin| is_ours(origin, "http://"));
    host && origin
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_let_in(address: &str, host: &'static str, origin: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
        headers.extend(origin.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin))));
        is_for_us(&headers, address.parse().expect("an address"))
    }

    #[test]
    fn names_of_this_machine_are_let_in_with_the_port_that_clients_send() {
        assert!(is_let_in("127.0.0.1:8000", "localhost:8000", Some("http://127.0.0.1:8000")));
        assert!(is_let_in("127.0.0.2:8000", "127.0.0.2:8000", Some("http://127.0.0.2:8000")));
        assert!(is_let_in("[::1]:8000", "[::1]:8000", None));
        assert!(is_let_in("127.0.0.1:80", "localhost", Some("http://localhost")), "clients leave port 80 out");
        assert!(is_let_in("127.0.0.1:80", "localhost:80", None));
        for (host, origin) in [
            ("127.0.0.1", None),
            ("127.0.0.1:80", None),
            ("evil:8000", None),
            ("localhost:8000", Some("http://evil:8000")),
        ] {
            assert!(!is_let_in("127.0.0.1:8000", host, origin), "{host} {origin:?}");
        }
        assert!(!is_let_in("127.0.0.1:80", "evil", None));
    }
}
