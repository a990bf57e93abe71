//! Query strings and their cursors.

use api::fuzzing::parameters;
use axum::http::Uri;
use axum::response::IntoResponse;

/// Reads a query string. Each accepted value is within its limits, and is read unchanged after the service
/// writes it.
pub fn query(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    // The query string is taken from a URI, as in a request.
    let Ok(uri) = format!("/events?{text}").parse::<Uri>() else {
        return;
    };
    let read = match parameters(uri.query().unwrap_or_default()) {
        Ok(read) => read,
        Err(error) => {
            assert_eq!(error.into_response().status(), 422);
            return;
        }
    };
    assert!(read.limit.is_none_or(|limit| (1..=1000).contains(&limit)));
    let mut written = Vec::new();
    written.extend(read.after.map(|after| format!("after={after}")));
    written.extend(read.limit.map(|limit| format!("limit={limit}")));
    written.extend(read.id.map(|id| format!("aggregate_id={id}")));
    // RFC 3339 requires four digits for the year, and an offset can move the time outside that range.
    let at = read.at.map(|at| at.to_string());
    let at = at.filter(|at| at.len() == "2026-11-24T06:51:04.000000Z".len() && !at.starts_with('-'));
    written.extend(at.as_ref().map(|at| format!("at={at}")));
    let again = parameters(&written.join("&")).unwrap();
    assert_eq!(
        (again.after, again.limit, again.id),
        (read.after, read.limit, read.id)
    );
    if at.is_some() {
        assert_eq!(again.at, read.at);
    }
    for digits in ["after", "limit"] {
        let said = uri.query().unwrap_or_default().split('&');
        let value = said
            .filter_map(|pair| pair.split_once('='))
            .find(|(name, _)| *name == digits);
        if let Some((_, value)) = value {
            assert!(
                !value.contains(['+', '-']) && !value.contains("%2B"),
                "{value} is no number from 0"
            );
        }
    }
}
