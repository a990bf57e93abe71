//! The host that a request is sent to: the header `Host` (RFC 9112, section 3.2) and the authority of an
//! absolute request target.
//!
//! A proxy in front of the service may route by host. A request with no host, several hosts or an invalid
//! host is therefore rejected. [`Hosts`] decides which hosts are accepted.

mod allowed;

use std::net::Ipv6Addr;

use axum::body::Body;
use axum::http::{HeaderMap, Request, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::RequestError;

pub(crate) use allowed::Hosts;
pub use allowed::{AllowedHost, NoHost};

/// Rejects a request without a valid `Host`. HTTP/1.0 requests may omit it.
pub(crate) fn check<B>(request: &Request<B>) -> Result<(), RequestError> {
    host_header(request.version(), request.headers()).map(drop)
}

/// Middleware for a listener that accepts every host.
pub(crate) async fn checked(request: Request<Body>, next: Next) -> Response {
    match check(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Returns the validated value of `Host`. `None` if an HTTP/1.0 request has no `Host`.
fn host_header(version: Version, headers: &HeaderMap) -> Result<Option<&str>, RequestError> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version < Version::HTTP_11 => Ok(None),
        (Some(host), None) => host
            .to_str()
            .ok()
            .filter(|host| split(host).is_some())
            .map(Some)
            .ok_or(RequestError::InvalidHost),
        (None, _) | (Some(_), Some(_)) => Err(RequestError::InvalidHost),
    }
}

/// Host and port that a request is sent to, as `host[:port]`. `None` if an HTTP/1.0 request has no host. The
/// authority of an absolute request target takes precedence over `Host` (RFC 9112, section 3.2.2).
pub(crate) fn target<B>(request: &Request<B>) -> Option<&str> {
    let header = || host_header(request.version(), request.headers()).ok().flatten();
    let authority = request.uri().authority();
    authority.map(axum::http::uri::Authority::as_str).or_else(header)
}

/// Splits `uri-host [ ":" port ]` (RFC 9110, section 7.2) into host and port. An IPv6 address keeps its
/// brackets. The port may be empty. The host must not be empty, as `http` and `https` require (section
/// 4.2.1).
pub(crate) fn split(value: &str) -> Option<(&str, &str)> {
    let end = if let Some(rest) = value.strip_prefix('[') {
        let address = rest.split(']').next()?;
        address.parse::<Ipv6Addr>().ok()?;
        address.len() + 2
    } else {
        let end = value.find(':').unwrap_or(value.len());
        is_name(&value.as_bytes()[..end]).then_some(end)?
    };
    let (host, port) = value.split_at_checked(end)?;
    match port.strip_prefix(':') {
        Some(port) => is_port(port).then_some((host, port)),
        None => port.is_empty().then_some((host, "")),
    }
}

/// Whether this is a `reg-name` (RFC 3986, section 3.2.2) of at least one character. IPv4 addresses are also
/// `reg-name`s.
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

/// Whether this is empty or a decimal port number up to 65535.
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
            assert!(split(value).is_some(), "{value}");
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
            assert!(split(value).is_none(), "{value}");
        }
    }

    #[test]
    fn a_host_is_split_from_its_port() {
        for (value, parts) in [
            ("localhost", ("localhost", "")),
            ("localhost:", ("localhost", "")),
            ("127.0.0.1:8000", ("127.0.0.1", "8000")),
            ("[::1]", ("[::1]", "")),
            ("[::1]:8443", ("[::1]", "8443")),
        ] {
            assert_eq!(split(value), Some(parts), "{value}");
        }
    }

    #[test]
    fn only_http_1_0_may_omit_the_host_and_nothing_may_repeat_it() {
        let is_good = |version, headers: &HeaderMap| host_header(version, headers).is_ok();
        let mut headers = HeaderMap::new();
        assert!(is_good(Version::HTTP_10, &headers));
        assert!(!is_good(Version::HTTP_11, &headers));
        headers.append(header::HOST, HeaderValue::from_static("a"));
        assert!(is_good(Version::HTTP_10, &headers) && is_good(Version::HTTP_11, &headers));
        headers.append(header::HOST, HeaderValue::from_static("a"));
        assert!(!is_good(Version::HTTP_10, &headers) && !is_good(Version::HTTP_11, &headers));
    }
}
