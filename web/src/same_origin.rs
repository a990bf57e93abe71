//! Protection against unsafe requests sent by pages of other origins.
//!
//! A browser sends a simple request (`text/plain`, or a form) to any origin without asking first, and only
//! hides the response from the page. By then, the request has taken effect. For example, a rebuild has begun,
//! or an email was sent again. However, the browser reports the origin of the request in `Sec-Fetch-Site` and
//! `Origin`, and pages cannot set these headers. Programs other than browsers do not send these headers.

use axum::http::{HeaderName, HeaderValue, Request, header};
use url::Url;

use crate::host;
use crate::problem::RequestError;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Origins other than the service's own whose pages may send unsafe requests.
#[derive(Debug)]
pub(crate) struct TrustedOrigins {
    /// Trusted origins, as browsers send them.
    origins: Vec<HeaderValue>,
    /// Whether this process serves TLS, in which case its own pages are always `https`.
    over_tls: bool,
}

impl TrustedOrigins {
    pub(crate) const fn new(origins: Vec<HeaderValue>, over_tls: bool) -> Self {
        Self { origins, over_tls }
    }

    /// Rejects an unsafe request (RFC 9110, section 9.2.1) from a page of another origin that is
    /// not trusted.
    ///
    /// `Sec-Fetch-Site: same-origin` identifies a page of the service's own origin, even if a proxy in front
    /// changed the host. If this header is absent or `none`, the page's origin, if given, must match the host
    /// that the request is sent to.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<(), RequestError> {
        if request.method().is_safe() {
            return Ok(());
        }
        let only = |name: &HeaderName| {
            let mut values = request.headers().get_all(name).iter();
            match (values.next(), values.next()) {
                (value, None) => Ok(value),
                (_, Some(_)) => Err(RequestError::CrossOrigin),
            }
        };
        let (origin, site) = (only(&header::ORIGIN)?, only(&SEC_FETCH_SITE)?);
        if origin.is_some_and(|origin| self.origins.contains(origin)) {
            return Ok(());
        }
        let allowed = match site.map(HeaderValue::as_bytes) {
            Some(b"same-origin") => true,
            None | Some(b"none") => origin.is_none_or(|origin| self.is_own(origin, request)),
            Some(_) => false,
        };
        if allowed {
            Ok(())
        } else {
            Err(RequestError::CrossOrigin)
        }
    }

    /// Whether an origin matches the host that the request is sent to. Unless this process serves TLS, both
    /// schemes are accepted, because a proxy in front may serve TLS.
    fn is_own<B>(&self, origin: &HeaderValue, request: &Request<B>) -> bool {
        let own = || {
            let origin = Url::parse(origin.to_str().ok()?).ok()?;
            let scheme = origin.scheme();
            let (host, port) = host::split(host::target(request)?)?;
            let target = Url::parse(&format!("{scheme}://{host}:{port}")).ok()?;
            let known = scheme == "https" || scheme == "http" && !self.over_tls;
            let is_same = same_host(&origin, &target)
                && origin.port_or_known_default() == target.port_or_known_default();
            Some(known && is_same)
        };
        own().unwrap_or(false)
    }
}

fn same_host(one: &Url, other: &Url) -> bool {
    one.host().is_some() && one.host() == other.host()
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::*;

    const OWN: &str = "https://clinic.example.com";
    const FOREIGN: &str = "https://evil.example";
    const NAMED: &str = "https://app.example.com";

    /// Whether a request with these headers is accepted.
    fn accepts_by(method: &Method, over_tls: bool, headers: &[(&str, &str)]) -> bool {
        let origins = TrustedOrigins::new(vec![HeaderValue::from_static(NAMED)], over_tls);
        let mut request = Request::builder().method(method).uri("/register");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        origins.check(&request.body(()).unwrap()).is_ok()
    }

    fn accepts(headers: &[(&str, &str)]) -> bool {
        accepts_by(&Method::POST, false, headers)
    }

    #[test]
    fn a_page_of_another_origin_sends_no_unsafe_request() {
        let host = ("host", "clinic.example.com");
        for headers in [
            &[host, ("origin", FOREIGN)][..],
            &[host, ("origin", "null")],
            &[host, ("origin", "")],
            &[host, ("origin", "file://")],
            &[host, ("origin", "https://clinic.example.com:8443")],
            &[host, ("origin", "https://evil.clinic.example.com")],
            &[host, ("origin", "https://clinic.example.com.evil.example")],
            &[host, ("origin", FOREIGN), ("sec-fetch-site", "cross-site")],
            &[host, ("origin", FOREIGN), ("sec-fetch-site", "same-site")],
            &[host, ("origin", FOREIGN), ("sec-fetch-site", "none")],
            &[host, ("origin", "null"), ("sec-fetch-site", "cross-site")],
            &[host, ("sec-fetch-site", "cross-site")],
            &[host, ("sec-fetch-site", "same-site")],
            &[host, ("sec-fetch-site", "anything else")],
            &[host, ("origin", OWN), ("sec-fetch-site", "cross-site")],
            &[host, ("origin", OWN), ("origin", FOREIGN)],
            &[
                host,
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-site", "cross-site"),
            ],
            &[("origin", OWN)],
        ] {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                assert!(!accepts_by(&method, false, headers), "{method} {headers:?}");
            }
            for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
                assert!(accepts_by(&method, false, headers), "{method} {headers:?}");
            }
        }
    }

    #[test]
    fn programs_own_pages_and_named_origins_send_what_they_like() {
        for headers in [
            &[("host", "clinic.example.com")][..],
            &[("host", "clinic.example.com"), ("origin", OWN)],
            &[("host", "Clinic.Example.com:443"), ("origin", OWN)],
            &[
                ("host", "clinic.example.com"),
                ("origin", "http://clinic.example.com"),
            ],
            &[("host", "localhost:8000"), ("origin", "http://localhost:8000")],
            &[("host", "127.0.0.1:8000"), ("origin", "http://127.0.0.1:8000")],
            &[("host", "[::1]:8000"), ("origin", "http://[::1]:8000")],
            &[("host", "localhost:8000"), ("sec-fetch-site", "none")],
            &[("host", "a"), ("origin", NAMED)],
            &[("host", "a"), ("origin", NAMED), ("sec-fetch-site", "cross-site")],
            // A proxy changed the host, and the page's policy hides its origin.
            &[
                ("host", "127.0.0.1:8000"),
                ("origin", OWN),
                ("sec-fetch-site", "same-origin"),
            ],
            &[
                ("host", "127.0.0.1:8000"),
                ("origin", "null"),
                ("sec-fetch-site", "same-origin"),
            ],
        ] {
            assert!(accepts(headers), "{headers:?}");
        }
    }

    #[test]
    fn a_page_without_tls_is_none_of_a_service_with_it() {
        let host = ("host", "clinic.example.com");
        let plain = ("origin", "http://clinic.example.com");
        assert!(!accepts_by(&Method::POST, true, &[host, plain]));
        assert!(accepts_by(&Method::POST, true, &[host, ("origin", OWN)]));
    }
}
