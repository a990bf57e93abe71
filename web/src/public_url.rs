//! The URL under which clients reach the API, if it differs from the listening address.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, header};
use url::Url;

/// URL under which clients reach the API, such as `https://api.example.com`. It has a path if a proxy serves
/// the API below a path. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    /// URL without a trailing slash.
    text: Arc<str>,
    host: Arc<str>,
}

/// Error for a text that is not a public URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an http or https URL without a user, query or fragment, such as https://api.example.com or \
     https://example.com/api"
)]
pub struct NotPublicUrl;

impl FromStr for PublicUrl {
    type Err = NotPublicUrl;

    fn from_str(text: &str) -> Result<Self, NotPublicUrl> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").ok_or(NotPublicUrl)?;
        let is_http = ["http", "https"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known));
        // The parser would also accept `http:///path`, `http://user@host` and `http:\\host`.
        if !is_http || rest.starts_with('/') || rest.contains(['@', '\\', '?', '#']) {
            return Err(NotPublicUrl);
        }
        let url = Url::parse(text).map_err(|_| NotPublicUrl)?;
        let host = url.host_str().ok_or(NotPublicUrl)?;
        if host.contains('*') || !host.contains(|c: char| c.is_ascii_alphanumeric()) {
            return Err(NotPublicUrl);
        }
        Ok(Self {
            host: host.into(),
            text: url.as_str().trim_end_matches('/').into(),
        })
    }
}

impl PublicUrl {
    /// The URL, without a trailing slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Host in lower case, without the port: a name in its ASCII form, an IPv4 address, or an IPv6 address in
    /// brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Origin of the URL, as browsers send it.
    pub(crate) fn origin(&self) -> Option<HeaderValue> {
        let origin = Url::parse(&self.text).ok()?.origin();
        HeaderValue::try_from(origin.ascii_serialization()).ok()
    }

    /// Makes the URLs in `Location` and `Link` absolute. Handlers write them as paths from the root.
    pub(crate) fn complete(&self, headers: &mut HeaderMap) {
        if let Some(location) = headers.get_mut(header::LOCATION) {
            replace(location, |path| {
                path.starts_with('/').then(|| format!("{self}{path}"))
            });
        }
        if let Some(links) = headers.get_mut(header::LINK) {
            // No target contains `<`.
            replace(links, |links| Some(links.replace("</", &format!("<{self}/"))));
        }
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn replace(value: &mut HeaderValue, change: impl FnOnce(&str) -> Option<String>) {
    let changed = value.to_str().ok().and_then(change);
    if let Some(changed) = changed.and_then(|changed| HeaderValue::try_from(changed).ok()) {
        *value = changed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_an_http_url_with_a_host_and_perhaps_a_path() {
        for (text, url, host) in [
            (
                "https://api.example.com",
                "https://api.example.com",
                "api.example.com",
            ),
            (
                " HTTPS://API.example.com:443/ ",
                "https://api.example.com",
                "api.example.com",
            ),
            ("http://localhost:8000//", "http://localhost:8000", "localhost"),
            (
                "https://example.com/a/b/",
                "https://example.com/a/b",
                "example.com",
            ),
            ("http://[::1]:8000", "http://[::1]:8000", "[::1]"),
            (
                "https://clínica.example",
                "https://xn--clnica-4va.example",
                "xn--clnica-4va.example",
            ),
        ] {
            let parsed: PublicUrl = text.parse().unwrap();
            assert_eq!((parsed.as_str(), parsed.host()), (url, host), "{text}");
        }
        for text in [
            "",
            "api.example.com",
            "localhost:8000",
            "//api.example.com",
            "ftp://api.example.com",
            "https:api.example.com",
            "https:///api.example.com",
            "https://",
            "https://.",
            "https://*.example.com",
            "https://me@example.com",
            "https://example.com?a=b",
            "https://example.com/?",
            "https://example.com/#a",
            "https://example.com\\a",
            "https://example.com:99999",
            "https://a b",
        ] {
            assert_eq!(text.parse::<PublicUrl>(), Err(NotPublicUrl), "{text}");
        }
    }

    #[test]
    fn addresses_that_are_paths_become_absolute_and_others_stay() {
        let public: PublicUrl = "https://example.com/api".parse().unwrap();
        let completed = |name: header::HeaderName, value: &'static str| {
            let mut headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(value))]);
            public.complete(&mut headers);
            headers[name].to_str().unwrap().to_owned()
        };
        assert_eq!(
            completed(header::LOCATION, "/items/1"),
            "https://example.com/api/items/1"
        );
        assert_eq!(
            completed(header::LOCATION, "https://other.example/"),
            "https://other.example/"
        );
        assert_eq!(
            completed(
                header::LINK,
                "</items?after=1>; rel=\"next\", </items>; rel=\"first\""
            ),
            "<https://example.com/api/items?after=1>; rel=\"next\", <https://example.com/api/items>; rel=\"first\""
        );
        assert_eq!(completed(header::ETAG, "\"/\""), "\"/\"");
    }
}
