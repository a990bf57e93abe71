//! The id of a request.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Request};
use eventstore::Clock;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Id of a request: the client's `X-Request-Id` if it is a UUID in hyphenated form, otherwise a new UUIDv7.
///
/// The id is written to places from which nothing can be erased, such as the metadata of events. It must
/// therefore not contain free text from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(pub Uuid);

impl RequestId {
    pub(super) fn of<B>(request: &Request<B>, clock: &dyn Clock) -> Self {
        Self(given(request.headers()).unwrap_or_else(|| generate(clock)))
    }

    /// Writes the id in hyphenated form and lower case into `buffer`.
    pub(super) fn write(self, buffer: &mut [u8; Hyphenated::LENGTH]) -> &str {
        self.0.hyphenated().encode_lower(buffer)
    }

    /// Adds `X-Request-Id` to a response.
    pub(super) fn add_to(self, headers: &mut HeaderMap) {
        if let Ok(id) = HeaderValue::from_str(self.write(&mut [0; Hyphenated::LENGTH])) {
            headers.insert(X_REQUEST_ID, id);
        }
    }
}

/// Id that the client sent. `None` if the header is not a UUID in hyphenated form, or was sent more than
/// once.
fn given(headers: &HeaderMap) -> Option<Uuid> {
    let mut values = headers.get_all(X_REQUEST_ID).iter();
    let id: Hyphenated = values.next()?.to_str().ok()?.parse().ok()?;
    values.next().is_none().then(|| id.into_uuid())
}

/// Generates an id. Ids may be guessable, so no random bits of the operating system are needed.
fn generate(clock: &dyn Clock) -> Uuid {
    let millis = clock.now().as_micros().unsigned_abs() / 1_000;
    let random = fastrand::u128(..).to_be_bytes();
    let mut bits = [0; 10];
    bits.copy_from_slice(&random[..10]);
    uuid::Builder::from_unix_timestamp_millis(millis, &bits).into_uuid()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::{X_REQUEST_ID, given};

    const ID: &str = "01a20c52-84f4-7444-83a5-f001d7d34c61";

    fn read(values: &[&[u8]]) -> Option<String> {
        let values = values
            .iter()
            .map(|value| (X_REQUEST_ID, value.to_vec().try_into().unwrap()));
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(name, value);
        }
        given(&headers).map(|id| id.to_string())
    }

    #[test]
    fn a_hyphenated_uuid_of_any_version_is_kept_in_lower_case() {
        for id in [
            ID,
            "c232ab00-9414-11ec-b3c8-9f6bdeced846",
            "f81d4fae-7dec-41d0-8765-00a0c91e6bf6",
            "4c2e9a52-66f1-5b3d-9f2a-5c8a1c5a2b10",
            "2489e9ad-2ee2-8e00-0ec9-32d5f69181c0",
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ] {
            assert_eq!(read(&[id.as_bytes()]).as_deref(), Some(id));
            assert_eq!(read(&[id.to_uppercase().as_bytes()]).as_deref(), Some(id));
        }
    }

    #[test]
    fn every_other_value_is_ignored() {
        let id = ID.as_bytes();
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[id, id]), None);
        for value in [
            "",
            "one",
            "maria@example.com",
            &"x".repeat(300),
            &ID.replace('-', ""),
            &ID.replace('-', "_"),
            &ID.replace('1', "g"),
            &format!("{{{ID}}}"),
            &format!("urn:uuid:{ID}"),
            &format!("\"{ID}\""),
            &format!("{ID} "),
            &format!("{ID}1"),
            &format!("{ID}, {ID}"),
            &ID[..35],
            &ID.replacen('0', "\u{661}", 1),
            "01a20c52-84f4-7444-83a5f-001d7d34c61",
        ] {
            assert_eq!(read(&[value.as_bytes()]), None, "{value}");
        }
        assert_eq!(read(&[b"\xff\xfe"]), None);
    }
}
