//! Content negotiation: `Accept` and `Accept-Encoding` (RFC 9110, sections 12.4 and 12.5).

use std::cmp::Reverse;

use axum::http::{HeaderMap, HeaderName, header};

/// Returns the media type that the client prefers: `default` or one of `others`.
///
/// The type with the highest weight wins. Ties are decided by whether the client named the type itself rather
/// than a wildcard, then by the order in `Accept`, then by the order of the arguments. Without `Accept`, or
/// if `Accept` names no offered type, the result is `default` instead of a 406 error.
#[must_use]
pub fn preferred<'o>(headers: &HeaderMap, default: &'o str, others: &[&'o str]) -> &'o str {
    let ranges: Vec<_> = members(headers, &header::ACCEPT).filter_map(Range::of).collect();
    let offered = std::iter::once(&default).chain(others).enumerate();
    offered
        .filter_map(|(offer, media_type)| {
            // The most specific range applies (section 12.5.1). Among equally specific ranges, the first
            // applies.
            let matching = ranges.iter().enumerate();
            let (order, exactness, weight) = matching
                .filter_map(|(order, range)| Some((order, range.exactness(media_type)?, range.weight)))
                .max_by_key(|(order, exactness, _)| (*exactness, Reverse(*order)))?;
            let rank = (weight, exactness, Reverse(order), Reverse(offer));
            (weight > 0).then_some((rank, *media_type))
        })
        .max_by_key(|(rank, _)| *rank)
        .map_or(default, |(_, media_type)| media_type)
}

/// Whether the client prefers gzip to an uncompressed response.
#[must_use]
pub fn prefers_gzip(headers: &HeaderMap) -> bool {
    let codings: Vec<_> = members(headers, &header::ACCEPT_ENCODING)
        .filter_map(|member| Some((member.name, member.weight()?)))
        .collect();
    let weight = |names: &[&str]| {
        let named = codings
            .iter()
            .filter(|(coding, _)| names.iter().any(|name| coding.eq_ignore_ascii_case(name)));
        named.map(|(_, weight)| *weight).max()
    };
    // Recipients treat "x-gzip" as "gzip" (section 8.4.1.3).
    let gzip = weight(&["gzip", "x-gzip"])
        .or_else(|| weight(&["*"]))
        .unwrap_or(0);
    gzip > 0 && gzip >= weight(&["identity"]).unwrap_or(0)
}

/// Member of a header's list, with its parameters.
#[derive(Clone, Copy)]
struct Member<'h> {
    name: &'h str,
    parameters: &'h str,
}

fn members<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = Member<'h>> {
    let values = headers.get_all(name).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| unquoted(value, ','))
        .map(|member| {
            let (name, parameters) = member.split_once(';').unwrap_or((member, ""));
            Member {
                name: name.trim(),
                parameters,
            }
        })
}

impl<'h> Member<'h> {
    fn parameters(&self) -> impl Iterator<Item = (&'h str, &'h str)> + use<'h> {
        unquoted(self.parameters, ';')
            .filter_map(|parameter| parameter.split_once('='))
            .map(|(name, value)| (name.trim(), value.trim()))
    }

    /// Weight in thousandths. `None` if the weight is malformed.
    fn weight(&self) -> Option<u16> {
        let given = self.parameters().find(|(name, _)| is_weight(name));
        given.map_or(Some(1000), |(_, value)| thousandths(value))
    }
}

/// Splits a text at each separator outside quoted strings.
fn unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c: char| {
        let literal = std::mem::take(&mut escaped);
        match c {
            '\\' if quoted && !literal => escaped = true,
            '"' if !literal => quoted = !quoted,
            _ => {}
        }
        c == separator && !quoted
    })
}

fn is_weight(parameter: &str) -> bool {
    parameter.eq_ignore_ascii_case("q")
}

/// Parses a weight such as `0.5` into thousandths.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(3);
    let fraction = digits.fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match whole {
        "" | "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

/// Media range, such as `text/html`, `text/*` or `*/*`, with its weight.
struct Range<'h> {
    kind: &'h str,
    subtype: &'h str,
    weight: u16,
}

impl<'h> Range<'h> {
    /// Parses a media range. `None` if it is malformed, or has a parameter that no representation of this API
    /// has.
    fn of(member: Member<'h>) -> Option<Self> {
        let (kind, subtype) = member.name.split_once('/')?;
        let mut parameters = member.parameters().take_while(|(name, _)| !is_weight(name));
        let is_ours = parameters.all(|(name, value)| {
            name.eq_ignore_ascii_case("charset") && value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        });
        let weight = member.weight()?;
        is_ours.then_some(Self {
            kind,
            subtype,
            weight,
        })
    }

    /// How specifically the range matches a media type: 0 for `*/*`, 1 for `type/*`, 2 for the type itself.
    /// `None` if the range does not match.
    fn exactness(&self, media_type: &str) -> Option<u8> {
        let (kind, subtype) = media_type.split_once('/')?;
        let is_kind = self.kind.eq_ignore_ascii_case(kind);
        match (self.kind, self.subtype) {
            ("*", "*") => Some(0),
            (_, "*") if is_kind => Some(1),
            (_, named) if is_kind && named.eq_ignore_ascii_case(subtype) => Some(2),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const JSON: &str = "application/json";
    const LINES: &str = "application/x-ndjson";
    const TEXT: &str = "text/plain";
    const HTML: &str = "text/html";

    fn headers(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
        let values = values.iter().map(|value| HeaderValue::from_static(value));
        values.map(|value| (name.clone(), value)).collect()
    }

    fn chosen(accept: &'static str, default: &'static str, other: &'static str) -> &'static str {
        preferred(&headers(&header::ACCEPT, &[accept]), default, &[other])
    }

    #[test]
    fn the_greatest_weight_decides() {
        for (accept, expected) in [
            ("application/json, application/x-ndjson;q=0.1", JSON),
            ("application/json;q=0.1, application/x-ndjson", LINES),
            ("application/json;q=0.1,application/x-ndjson;q=0.2", LINES),
            ("application/json ; q=0.899 , application/x-ndjson ; Q=0.9", LINES),
            ("application/x-ndjson;q=0.5, */*", JSON),
            ("application/x-ndjson, */*;q=0.5", LINES),
            ("application/x-ndjson;q=0.5, application/*;q=0.4", LINES),
            ("application/x-ndjson;q=0.5, application/*;q=0.6", JSON),
            ("application/json;q=0, application/x-ndjson", LINES),
            ("application/json;q=0, */*", LINES),
            ("application/json;q=0.000, application/*;q=0.001", LINES),
            ("application/x-ndjson;q=1.000, application/json;q=0.999", LINES),
            ("application/x-ndjson;q=.9, application/json;q=1.", JSON),
        ] {
            assert_eq!(chosen(accept, JSON, LINES), expected, "{accept}");
        }
    }

    #[test]
    fn of_equal_weights_the_one_that_is_named_then_the_first_is_chosen() {
        for (accept, expected) in [
            ("application/x-ndjson", LINES),
            ("APPLICATION/X-NDJSON", LINES),
            ("application/x-ndjson, application/json", LINES),
            ("application/json, application/x-ndjson", JSON),
            ("*/*, application/x-ndjson", LINES),
            ("application/*, application/x-ndjson", LINES),
            ("*/*", JSON),
            ("application/*", JSON),
            ("application/*;q=0.1", JSON),
        ] {
            assert_eq!(chosen(accept, JSON, LINES), expected, "{accept}");
        }
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        assert_eq!(chosen(browser, TEXT, HTML), HTML);
        assert_eq!(chosen("text/html, */*", TEXT, HTML), HTML);
        assert_eq!(chosen("text/*", TEXT, HTML), TEXT);
    }

    #[test]
    fn what_names_nothing_that_there_is_gets_the_default() {
        for accept in [
            "",
            ",",
            "text/csv",
            "text/*",
            "application/x-ndjson;q=0",
            "application/x-ndjson;q=0.0",
            "*/*;q=0",
            "application/json;q=0",
            "application/x-ndjson;q=2",
            "application/x-ndjson;q=1.001",
            "application/x-ndjson;q=-1",
            "application/x-ndjson;q=x",
            "application/x-ndjson;q=",
            "application/x-ndjson;q=0.5x",
            "application/x-ndjson;version=2",
            "application/x-ndjson/x",
            "application",
            "*/x-ndjson",
            "text/html;a=\",application/x-ndjson,\"",
            "text/html;a=\"\\\",application/x-ndjson",
        ] {
            assert_eq!(chosen(accept, JSON, LINES), JSON, "{accept}");
        }
        assert_eq!(preferred(&HeaderMap::new(), JSON, &[LINES]), JSON);
    }

    #[test]
    fn the_example_of_the_standard_and_parameters() {
        let accept = "text/*;q=0.3, text/html;q=0.7, text/html;level=1, text/html;level=2;q=0.4, */*;q=0.5";
        assert_eq!(chosen(accept, TEXT, HTML), HTML);
        assert_eq!(chosen(accept, TEXT, "image/jpeg"), "image/jpeg");
        assert_eq!(
            chosen("text/html;charset=UTF-8, text/plain;q=0.9", TEXT, HTML),
            HTML
        );
        assert_eq!(
            chosen("text/html; charset=\"utf-8\";q=0.1, text/plain", TEXT, HTML),
            TEXT
        );
        assert_eq!(
            chosen("text/html;q=0.5;level=1, text/plain;q=0.4", TEXT, HTML),
            HTML
        );
        let two_lines = headers(
            &header::ACCEPT,
            &["application/json;q=0.5", "application/x-ndjson"],
        );
        assert_eq!(preferred(&two_lines, JSON, &[LINES]), LINES);
    }

    #[test]
    fn gzip_is_used_unless_the_client_would_rather_not() {
        for value in [
            "gzip",
            "GZIP",
            "x-gzip",
            "br, gzip",
            "gzip;q=0.001",
            "*",
            "identity;q=0.5, *;q=0.5",
            "gzip, identity",
            "br, *;q=0.1",
        ] {
            assert!(
                prefers_gzip(&headers(&header::ACCEPT_ENCODING, &[value])),
                "{value}"
            );
        }
        for value in [
            "",
            "identity",
            "br",
            "gzip;q=0",
            "gzip;q=0.0",
            "gzip;q=0, *",
            "identity, gzip;q=0.5",
            "identity;q=0.6, *;q=0.5",
            "*;q=0",
            "gzip;q=x",
            "gzipped",
        ] {
            assert!(
                !prefers_gzip(&headers(&header::ACCEPT_ENCODING, &[value])),
                "{value}"
            );
        }
        assert!(!prefers_gzip(&HeaderMap::new()));
    }
}
