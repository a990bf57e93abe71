//! The header `Host`, which says what a request was sent to. Nothing here is chosen by it, but whoever stands in front may
//! choose by it, and must not see another host than we do: a request is refused that names none, two, or something
//! that is none (RFC 9112, section 3.2).

use std::net::Ipv6Addr;

use axum::body::Body;
use axum::http::{HeaderMap, Request, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::ApiError;

/// Refuses a request without a good `Host`. HTTP/1.0 does without any.
pub(crate) fn check<B>(request: &Request<B>) -> Result<(), ApiError> {
    if is_good(request.version(), request.headers()) {
        Ok(())
    } else {
        Err(ApiError::InvalidHost)
    }
}

/// The middleware, where nothing else looks at requests.
pub(crate) async fn checked(request: Request<Body>, next: Next) -> Response {
    match check(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn is_good(version: Version, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => version < Version::HTTP_11,
        (Some(host), None) => host.to_str().is_ok_and(is_host),
        (Some(_), Some(_)) => false,
    }
}

/// Whether it is `uri-host [ ":" port ]` (RFC 9110, section 7.2), with a host, which `http` and `https` need (section 4.2.1).
fn is_host(value: &str) -> bool {
    let port = if let Some(rest) = value.strip_prefix('[') {
        let closed = rest.split_once(']');
        closed.and_then(|(address, port)| address.parse::<Ipv6Addr>().is_ok().then_some(port))
    } else {
        let (name, port) = value.split_at(value.find(':').unwrap_or(value.len()));
        is_name(name.as_bytes()).then_some(port)
    };
    port.is_some_and(|port| port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// `reg-name`, which an IPv4 address is too (RFC 3986, section 3.2.2), of one character and more.
fn is_name(mut name: &[u8]) -> bool {
    let mut some = false;
    loop {
        name = match name {
            [] => return some,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            [byte, rest @ ..] if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte) => rest,
            _ => return false,
        };
        some = true;
    }
}

/// Digits, or none, up to the largest port there is.
fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && (port.is_empty() || port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for value in [
            "localhost",
            "api",
            "clinic.example.com:8443",
            "127.0.0.1:8000",
            "[::1]",
            "[2001:db8::1]:443",
            "my_service",
            "xn--bcher-kva.example.",
            "b%C3%BCcher.example",
            "localhost:",
        ] {
            assert!(is_host(value), "{value}");
        }
        for value in [
            "",
            ":8000",
            "a b",
            "a/b",
            "http://a",
            "me@a",
            "a:b",
            "a:1:2",
            "a:65536",
            "a:+1",
            "[::1",
            "[::1]8000",
            "[]",
            "[::1%25eth0]",
            "::1",
            "a%",
            "a%2",
            "a%zz",
            "a, b",
            "a?b",
            "a#b",
            "a\\b",
            "\"a\"",
        ] {
            assert!(!is_host(value), "{value}");
        }
    }

    #[test]
    fn only_http_1_0_does_without_and_none_has_two() {
        let mut headers = HeaderMap::new();
        assert!(is_good(Version::HTTP_10, &headers));
        assert!(!is_good(Version::HTTP_11, &headers));
        headers.append(header::HOST, HeaderValue::from_static("a"));
        assert!(is_good(Version::HTTP_10, &headers) && is_good(Version::HTTP_11, &headers));
        headers.append(header::HOST, HeaderValue::from_static("a"));
        assert!(!is_good(Version::HTTP_10, &headers) && !is_good(Version::HTTP_11, &headers));
    }
}
