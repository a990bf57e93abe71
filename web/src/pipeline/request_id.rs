//! The id of a request.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Request};
use eventstore::Clock;
use uuid::Uuid;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Id of a request: the client's `X-Request-Id` if it is 1 to 128 visible ASCII characters, otherwise a new
/// UUID.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

impl RequestId {
    pub(super) fn of<B>(request: &Request<B>, clock: &dyn Clock) -> Self {
        let given = request
            .headers()
            .get(X_REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()));
        Self(given.map_or_else(|| generate(clock).to_string(), str::to_owned))
    }

    /// Adds `X-Request-Id` to a response.
    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
        if let Ok(id) = HeaderValue::from_str(&self.0) {
            headers.insert(X_REQUEST_ID, id);
        }
    }
}

/// Generates an id. Ids may be guessable, so no random bits of the operating system are needed.
fn generate(clock: &dyn Clock) -> Uuid {
    let millis = clock.now().as_micros().unsigned_abs() / 1_000;
    let random = fastrand::u128(..).to_be_bytes();
    let mut bits = [0; 10];
    bits.copy_from_slice(&random[..10]);
    uuid::Builder::from_unix_timestamp_millis(millis, &bits).into_uuid()
}
