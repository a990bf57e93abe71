//! Headers with positions of the log.

use axum::http::{HeaderMap, HeaderName};
use eventstore::Position;
use web::RequestError;
use web::headers::{invalid, single};

pub(crate) const EVENT_POSITION: HeaderName = HeaderName::from_static("event-position");
const MIN_POSITION: HeaderName = HeaderName::from_static("min-position");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Request headers of this API, in addition to the headers of the `web` crate.
pub(crate) static REQUEST_HEADERS: [HeaderName; 2] = [LAST_EVENT_ID, MIN_POSITION];
/// Response headers of this API, in addition to the headers of the `web` crate.
pub(crate) static RESPONSE_HEADERS: [HeaderName; 1] = [EVENT_POSITION];

/// `Min-Position`: a whole number, 0 or greater.
pub(crate) fn min_position(headers: &HeaderMap) -> Result<Option<Position>, RequestError> {
    single(headers, &MIN_POSITION)?
        .map(|value| {
            value.parse().map_err(|_| {
                invalid(
                    &MIN_POSITION,
                    "must be a whole number, 0 or greater, as in Event-Position",
                )
            })
        })
        .transpose()
}

/// `Last-Event-ID`: the last position that the client received from a stream of server-sent events. Browsers
/// send an empty value if the client received no position.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<Option<Position>, RequestError> {
    single(headers, &LAST_EVENT_ID)?
        .filter(|value| !value.is_empty())
        .map(|value| {
            value
                .parse()
                .map_err(|_| invalid(&LAST_EVENT_ID, "must be the id of an event of this stream"))
        })
        .transpose()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn last_event_id_is_a_position_or_empty() {
        for (value, expected) in [("17", Position::new(17)), ("", None)] {
            assert_eq!(last_event_id(&headers(LAST_EVENT_ID, value)).unwrap(), expected);
        }
        for value in ["x", "-1", "+1", "9223372036854775808"] {
            assert!(last_event_id(&headers(LAST_EVENT_ID, value)).is_err(), "{value}");
        }
    }

    #[test]
    fn min_position_is_a_whole_number() {
        assert_eq!(
            min_position(&headers(MIN_POSITION, "17")).unwrap(),
            Position::new(17)
        );
        for value in ["-1", "+1", "1.5", "x", "18446744073709551615"] {
            assert!(min_position(&headers(MIN_POSITION, value)).is_err(), "{value}");
        }
    }
}
