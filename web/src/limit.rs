//! Rate limits per client.
//!
//! A client is the holder of an access token, identified by name, or an address if there is no token. Each
//! client has a quota that is replenished at a constant rate. The state of all clients has a fixed maximum
//! size, which does not depend on the number of clients (`table`).
//!
//! Unknown tokens are also counted by address. Their requests are rejected in any case, so limiting them
//! costs valid clients nothing. A known token from the same address is still accepted, so one misconfigured
//! program does not block other clients behind the same router. Guessing a token is infeasible: a token has
//! 256 random bits.

mod table;

use std::net::IpAddr;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::time::Instant;

use crate::access::Caller;
use crate::clients::{Proxies, peer, subscriber};
use crate::problem::RequestError;
use table::{Decision, Table};

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Limit on requests with unknown tokens, per address.
const UNKNOWN_TOKENS: RateLimit = RateLimit {
    requests: 60,
    window: Duration::from_mins(1),
};

/// Quota of requests per window. A client may use the whole quota at once. It is replenished evenly over the
/// window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    requests: u32,
    window: Duration,
}

impl RateLimit {
    /// Maximum number of requests in a window.
    pub const MOST: u32 = 1_000_000;

    /// Returns a limit of `requests` per `window`. `None` unless `requests` is from 1 to [`RateLimit::MOST`]
    /// and `window` is at least one second.
    #[must_use]
    pub const fn new(requests: u32, window: Duration) -> Option<Self> {
        if requests == 0 || requests > Self::MOST || window.as_secs() == 0 {
            return None;
        }
        Some(Self { requests, window })
    }
}

/// Named limit, and the state of each client.
struct Policy {
    name: &'static str,
    described: Option<HeaderValue>,
    table: Table,
}

impl Policy {
    fn new(name: &'static str, limit: RateLimit, clients: usize, now: Instant) -> Self {
        let RateLimit { requests, window } = limit;
        let described = format!("\"{name}\";q={requests};w={}", window.as_secs());
        Self {
            name,
            described: described.try_into().ok(),
            table: Table::new(requests, window, clients, now),
        }
    }

    /// Returns the header values that describe `decision`.
    fn headers(&self, decision: Decision) -> QuotaHeaders {
        let (remaining, in_time) = match decision {
            Decision::Allowed { remaining, whole_in } => (remaining, whole_in),
            Decision::Refused { wait } => (0, wait),
        };
        QuotaHeaders {
            policy: self.described.clone(),
            current: Some((self.name, remaining, seconds(in_time))),
        }
    }
}

/// State of a client's quota, as sent in the headers `RateLimit` and `RateLimit-Policy`
/// (draft-ietf-httpapi-ratelimit-headers-10).
#[derive(Debug, Default)]
pub(crate) struct QuotaHeaders {
    policy: Option<HeaderValue>,
    /// Name of the policy, remaining requests, and seconds until the quota is full. For a rejected request,
    /// the last value is the number of seconds until the next request is allowed.
    current: Option<(&'static str, u64, u64)>,
}

impl QuotaHeaders {
    /// Adds the headers to a response. If the response has a `Retry-After` header for any reason, `t`
    /// has the same value, as the draft requires.
    pub(crate) fn add_to(self, headers: &mut HeaderMap) {
        if let Some(policy) = self.policy {
            headers.insert(RATELIMIT_POLICY, policy);
        }
        let Some((name, remaining, seconds)) = self.current else {
            return;
        };
        let retry_after = headers
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        let seconds = retry_after
            .and_then(|value| value.parse().ok())
            .unwrap_or(seconds);
        if let Ok(current) = HeaderValue::try_from(format!("\"{name}\";r={remaining};t={seconds}")) {
            headers.insert(RATELIMIT, current);
        }
    }
}

/// Rate limits of an API.
pub(crate) struct Limits {
    requests: Option<Policy>,
    unknown_tokens: Policy,
    proxies: Proxies,
}

/// Minimum number of clients tracked at a time. The most active clients stay tracked.
const CLIENTS: usize = 1 << 17;
const UNKNOWN: usize = 1 << 12;

impl Limits {
    pub(crate) fn new(requests: Option<RateLimit>, proxies: Proxies) -> Self {
        let now = Instant::now();
        Self {
            requests: requests.map(|limit| Policy::new("default", limit, CLIENTS, now)),
            unknown_tokens: Policy::new("unknown-tokens", UNKNOWN_TOKENS, UNKNOWN, now),
            proxies,
        }
    }

    /// Counts a request of `caller` against its limits.
    pub(crate) fn count(
        &self,
        caller: &Caller,
        extensions: &axum::http::Extensions,
        headers: &HeaderMap,
    ) -> (QuotaHeaders, Result<(), RequestError>) {
        let address = || peer(extensions).map(|peer| subscriber(self.proxies.client(peer, headers)));
        let now = Instant::now();
        if *caller == Caller::Refused
            && let Some(address) = address()
        {
            let decision = self.unknown_tokens.table.count(&Client::Address(address), now);
            if let Decision::Refused { wait } = decision {
                return (self.unknown_tokens.headers(decision), Err(too_many(wait)));
            }
        }
        let Some(policy) = &self.requests else {
            return (QuotaHeaders::default(), Ok(()));
        };
        let client = match caller {
            Caller::Known { actor, .. } => Some(Client::Holder(actor)),
            Caller::Anybody | Caller::Nobody | Caller::Refused => address().map(Client::Address),
        };
        let Some(client) = client else {
            return (QuotaHeaders::default(), Ok(()));
        };
        let decision = policy.table.count(&client, now);
        let outcome = match decision {
            Decision::Allowed { .. } => Ok(()),
            Decision::Refused { wait } => Err(too_many(wait)),
        };
        (policy.headers(decision), outcome)
    }
}

/// Owner of a quota.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Client<'n> {
    Holder(&'n str),
    Address(IpAddr),
}

fn too_many(wait: Duration) -> RequestError {
    RequestError::TooManyRequests(seconds(wait))
}

/// Returns the duration in seconds, rounded up.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
