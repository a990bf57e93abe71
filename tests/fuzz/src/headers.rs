//! Request headers.

use std::net::IpAddr;

use api::fuzzing;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use eventstore::Position;
use web::RequestError;
use web::access::{Access, Tokens};
use web::clients::{Proxies, ProxyHeader};

/// The only valid token.
const TOKEN: &str = "pat_0123456789";
/// The line of [`TOKEN`] in the token file, with the token's SHA-256.
const LINE: &str = "desk clerk 314f755e4dcdea38e7eeca7aac526239d4c5a7f1fafdb97c51cafe5fc851511a";

/// Reads headers, one per line. Each accepted value is within its limits, and is read unchanged after the
/// service writes it. No client is authenticated without the token.
pub fn headers(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let read = fuzzing::headers(&headers);
    if let Some(key) = taken(read.idempotency_key) {
        assert!((1..=255).contains(&key.len()));
        let again = only("idempotency-key", &format!("\"{key}\""));
        assert_eq!(fuzzing::headers(&again).idempotency_key.unwrap(), Some(key));
    }
    if let Some(position) = taken(read.min_position) {
        whole_number(&headers, "min-position");
        let again = only("min-position", &position.to_string());
        assert_eq!(fuzzing::headers(&again).min_position.unwrap(), Some(position));
    }
    if let Some(position) = taken(read.last_event_id) {
        whole_number(&headers, "last-event-id");
        assert!(position >= Position::BEGINNING);
        let again = only("last-event-id", &position.to_string());
        assert_eq!(fuzzing::headers(&again).last_event_id.unwrap(), Some(position));
    }
    for sequence in taken(read.if_match).unwrap_or_default() {
        // Entity tags are compared byte by byte (RFC 9110 §8.8.3.2).
        let tag = format!("\"{sequence}\"");
        let mut sent = headers.get_all("if-match").iter();
        assert!(sent.any(|sent| sent.to_str().unwrap().contains(&tag)));
    }
    assert!(!read.ndjson || named(&headers, "accept", &["application/x-ndjson", "*"]));
    assert!(!read.gzip || named(&headers, "accept-encoding", &["gzip", "*"]));
    known(&headers);
    forwarded(&headers);
}

/// Returns the value of a header, if it was sent and is valid.
fn taken<T>(read: Result<Option<T>, RequestError>) -> Option<T> {
    read.unwrap_or_else(|error| {
        assert_eq!(error.into_response().status(), 422);
        None
    })
}

fn only(name: &'static str, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(
        HeaderName::from_static(name),
        HeaderValue::from_str(value).unwrap(),
    )])
}

fn whole_number(headers: &HeaderMap, name: &str) {
    let sent = headers[name].to_str().unwrap().trim();
    assert!(sent.bytes().all(|byte| byte.is_ascii_digit()), "{sent}");
}

fn named(headers: &HeaderMap, header: &str, any: &[&str]) -> bool {
    let values = headers.get_all(header).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .any(|value| any.iter().any(|what| value.to_ascii_lowercase().contains(what)))
}

fn known(headers: &HeaderMap) {
    let access = Access::by(Tokens::parse(LINE).unwrap());
    let known = fuzzing::actor(&access, headers) == "desk";
    let mut given = headers.get_all("authorization").iter();
    let only = match (given.next(), given.next()) {
        (Some(only), None) => only.to_str().unwrap_or_default(),
        _ => "",
    };
    let with_token = only
        .split_once(' ')
        .is_some_and(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && token.trim() == TOKEN);
    assert_eq!(known, with_token);
    assert_eq!(fuzzing::actor(&Access::open(), headers), "anonymous");
}

/// The client's address is the address that the proxy adds, no matter what the client sends as `Forwarded`
/// and as `Host`. The proxy quotes `Host`.
fn forwarded(headers: &HeaderMap) {
    let proxy = IpAddr::from([10, 0, 0, 1]);
    let client = IpAddr::from([198, 51, 100, 1]);
    let proxies = Proxies::new(vec!["10.0.0.0/8".parse().unwrap()], ProxyHeader::Forwarded);
    let mut added = format!("for={client};host=\"").into_bytes();
    for byte in headers.get(header::HOST).map_or(&b"a"[..], HeaderValue::as_bytes) {
        added.extend((*byte == b'"' || *byte == b'\\').then_some(b'\\'));
        added.push(*byte);
    }
    added.push(b'"');
    let sent: Vec<_> = headers.get_all(header::FORWARDED).iter().cloned().collect();
    let forwarded = |lines: Vec<Vec<u8>>| {
        let lines = lines.iter().map(|line| HeaderValue::from_bytes(line).unwrap());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::FORWARDED, line);
        }
        fuzzing::client(&proxies, proxy, &headers)
    };
    // The proxy adds the address either as a separate line or at the end of the last line.
    let mut lines: Vec<_> = sent.iter().map(|line| line.as_bytes().to_vec()).collect();
    let mut joined = lines.clone();
    lines.push(added.clone());
    assert_eq!(forwarded(lines), client);
    let last = joined
        .pop()
        .map_or_else(Vec::new, |last| [&last[..], b", "].concat());
    joined.push([last, added].concat());
    assert_eq!(forwarded(joined), client);
}
