//! Parsers of request headers.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;

use crate::problem::{FieldProblem, RequestError};

/// `Idempotency-Key`.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Maximum length of an `Idempotency-Key`, in bytes.
const LONGEST_KEY: usize = 255;

/// Returns the only value of a header. `None` if it was not sent.
///
/// # Errors
///
/// [`RequestError::Invalid`] if the header was sent more than once, or contains other characters than visible
/// ASCII characters.
pub fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, RequestError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(invalid(name, "was sent more than once"));
    }
    value
        .to_str()
        .map(|value| Some(value.trim()))
        .map_err(|_| invalid(name, "must contain only visible ASCII characters"))
}

/// Returns the error of an invalid header.
#[must_use]
pub fn invalid(name: &HeaderName, message: &str) -> RequestError {
    RequestError::Invalid(vec![FieldProblem::new(name.as_str(), message)])
}

/// Returns the `Idempotency-Key`: 1 to 255 visible ASCII characters, with quotation marks (as the draft
/// requires) or without. `None` if the header was not sent.
///
/// # Errors
///
/// [`RequestError::Invalid`].
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, RequestError> {
    let Some(value) = single(headers, &IDEMPOTENCY_KEY)? else {
        return Ok(None);
    };
    let key = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(value);
    if key.is_empty() || key.len() > LONGEST_KEY {
        return Err(invalid(&IDEMPOTENCY_KEY, "must have 1 to 255 characters"));
    }
    Ok(Some(key))
}

/// Adds the header `Link` (RFC 8288) with the first page, and with the next page if there is one.
pub fn set_links(response: &mut Response, first: &str, next: Option<&str>) {
    let next = next.map_or_else(String::new, |next| format!("<{next}>; rel=\"next\", "));
    if let Ok(links) = HeaderValue::try_from(format!("{next}<{first}>; rel=\"first\"")) {
        response.headers_mut().insert(header::LINK, links);
    }
}

/// Whether `If-None-Match` contains `etag`, by weak comparison (RFC 9110, section 13.1.2), or is `*`.
/// Malformed entity tags match nothing.
#[must_use]
pub fn none_match(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        // A comma within a tag is harmless: the resulting parts lack a quotation mark, so they match nothing.
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// Returns the versions in `If-Match`, by strong comparison (RFC 9110, section 13.1.1): entity tags that are
/// weak or that [`etag`] does not return match no version. `None` if the header was not sent, or is `*`,
/// which matches any version.
///
/// # Errors
///
/// [`RequestError::Invalid`] if the header is neither `*` nor a list of entity tags.
pub fn if_match(headers: &HeaderMap) -> Result<Option<Vec<u64>>, RequestError> {
    let values: Vec<_> = headers.get_all(header::IF_MATCH).iter().collect();
    if values.is_empty() || matches!(&*values, [only] if only.as_bytes().trim_ascii() == b"*") {
        return Ok(None);
    }
    let mut versions = Vec::new();
    for value in values {
        let tags = value.to_str().ok().and_then(entity_tags);
        let tags = tags.ok_or_else(|| {
            let message = "must be a list of ETags returned by GET, such as \"1\", or *";
            invalid(&header::IF_MATCH, message)
        })?;
        versions.extend(tags.into_iter().filter_map(version));
    }
    Ok(Some(versions))
}

/// Returns the entity tags in a list, each as it was sent. `None` if the list is malformed or empty.
fn entity_tags(list: &str) -> Option<Vec<&str>> {
    // A list may have empty elements (RFC 9110, section 5.6.1).
    let separators = [',', ' ', '\t'];
    let (mut tags, mut rest) = (Vec::new(), list.trim().trim_start_matches(separators));
    while !rest.is_empty() {
        let opaque = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"')?;
        let (tag, after) = opaque.split_once('"')?;
        if !tag.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        tags.push(&rest[..rest.len() - after.len()]);
        rest = match after.trim_start().strip_prefix(',') {
            Some(next) => next.trim_start_matches(separators),
            None if after.is_empty() => after,
            None => return None,
        };
    }
    (!tags.is_empty()).then_some(tags)
}

/// Returns the version of a strong entity tag, if [`etag`] returns this tag.
fn version(tag: &str) -> Option<u64> {
    let version = tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()?;
    // Entity tags are compared byte by byte (RFC 9110, section 8.8.3.2), so "01" and "+1" differ from "1".
    (etag(version) == tag).then_some(version)
}

/// Returns the entity tag of a version.
#[must_use]
pub fn etag(version: u64) -> String {
    format!("\"{version}\"")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn an_idempotency_key_may_be_quoted_or_bare() {
        for value in ["abc", "\"abc\"", "  abc "] {
            assert_eq!(
                idempotency_key(&headers(IDEMPOTENCY_KEY, value)).unwrap(),
                Some("abc")
            );
        }
        assert!(idempotency_key(&headers(IDEMPOTENCY_KEY, "")).is_err());
        assert_eq!(idempotency_key(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn a_header_sent_twice_is_refused() {
        let mut twice = headers(IDEMPOTENCY_KEY, "a");
        twice.append(IDEMPOTENCY_KEY, HeaderValue::from_static("b"));
        assert!(idempotency_key(&twice).is_err());
    }

    #[test]
    fn if_match_takes_a_list_of_etags_or_a_star() {
        for (value, expected) in [
            ("*", None),
            (" \"1\" ", Some(vec![1])),
            ("\"1\", \"2\"", Some(vec![1, 2])),
            ("\"1\",,\"2\" , ", Some(vec![1, 2])),
            ("\"a,b\", W/\"3\", \"2\"", Some(vec![2])),
        ] {
            assert_eq!(
                if_match(&headers(header::IF_MATCH, value)).unwrap(),
                expected,
                "{value}"
            );
        }
        let mut two = headers(header::IF_MATCH, "\"1\"");
        two.append(header::IF_MATCH, HeaderValue::from_static("\"7\""));
        assert_eq!(if_match(&two).unwrap(), Some(vec![1, 7]));
        two.append(header::IF_MATCH, HeaderValue::from_static("*"));
        assert!(if_match(&two).is_err());
        assert_eq!(if_match(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn a_weak_or_unknown_etag_in_if_match_matches_no_version() {
        for value in ["W/\"1\"", "\"x\"", "\"01\"", "\"+1\"", "\"\"", "\"*\""] {
            assert_eq!(
                if_match(&headers(header::IF_MATCH, value)).unwrap(),
                Some(vec![]),
                "{value}"
            );
        }
    }

    #[test]
    fn if_match_takes_nothing_else() {
        for value in [
            "",
            "1",
            "\"",
            "\"1",
            "w/\"1\"",
            "\"1\" \"2\"",
            "\"1\"2",
            "*, \"1\"",
            ",",
            "\"1 2\"",
        ] {
            assert!(if_match(&headers(header::IF_MATCH, value)).is_err(), "{value}");
        }
    }

    #[test]
    fn if_none_match_takes_lists_and_weak_tags_and_a_star() {
        for value in [
            "\"1\"",
            "W/\"1\"",
            "*",
            "\"7\", W/\"1\"",
            "\"a,b\",\"1\"",
            "  \"1\" ,",
        ] {
            assert!(
                none_match(&headers(header::IF_NONE_MATCH, value), "\"1\""),
                "{value}"
            );
        }
        for value in [
            "",
            "1",
            "\"11\"",
            "w/\"1\"",
            "W/W/\"1\"",
            "\"1",
            "\"a,1\"",
            "\"*\"",
        ] {
            assert!(
                !none_match(&headers(header::IF_NONE_MATCH, value), "\"1\""),
                "{value}"
            );
        }
        let mut two = headers(header::IF_NONE_MATCH, "\"7\"");
        assert!(!none_match(&two, "\"1\""));
        two.append(header::IF_NONE_MATCH, HeaderValue::from_static("\"1\""));
        assert!(none_match(&two, "\"1\""));
    }
}
