//! How much one client may ask for.
//!
//! A client is the holder of an access token, by its name; without one, the address that it asks from. Each
//! has a quota that comes back evenly. What is known of clients has a fixed size, however many there are
//! (`table`).
//!
//! Tokens that are not known are counted by address besides. Such a request is refused anyway, so nothing is
//! gained by more of them; and a known token from the same address is let in all the same, so that one wrong
//! program does not shut out everybody behind the same router. Guessing is no way in: a token has 256 random
//! bits.

mod table;

use std::net::IpAddr;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::time::Instant;

use crate::access::Caller;
use crate::clients::{Proxies, peer, subscriber};
use crate::problem::ApiError;
use table::{Answer, Table};

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Tokens that are not known, by address.
const UNKNOWN_TOKENS: RateLimit = RateLimit {
    requests: 60,
    window: Duration::from_mins(1),
};

/// So many requests in so much time, all of them at once if the client likes; what was used comes back evenly
/// over that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    requests: u32,
    window: Duration,
}

impl RateLimit {
    /// The most requests in a window.
    pub const MOST: u32 = 1_000_000;

    /// So many requests, 1 to [`RateLimit::MOST`], in a time of a second or more; `None` for others.
    #[must_use]
    pub const fn new(requests: u32, window: Duration) -> Option<Self> {
        if requests == 0 || requests > Self::MOST || window.as_secs() == 0 {
            return None;
        }
        Some(Self { requests, window })
    }
}

/// A limit with a name, and how each client stands.
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

    /// What to tell a client that stands so.
    fn standing(&self, answer: Answer) -> Standing {
        let (remaining, in_time) = match answer {
            Answer::Allowed { remaining, whole_in } => (remaining, whole_in),
            Answer::Refused { wait } => (0, wait),
        };
        Standing {
            policy: self.described.clone(),
            current: Some((self.name, remaining, seconds(in_time))),
        }
    }
}

/// How a client stands, as the headers `RateLimit` and `RateLimit-Policy` say it
/// (draft-ietf-httpapi-ratelimit-headers-10).
#[derive(Debug, Default)]
pub(crate) struct Standing {
    policy: Option<HeaderValue>,
    /// The policy's name, how much is left, and in how many seconds that changes.
    current: Option<(&'static str, u64, u64)>,
}

impl Standing {
    /// Adds the headers to an answer. If it says in `Retry-After` when to try again, whyever that is, `t` is
    /// the same moment, as the draft wants it.
    pub(crate) fn tell(self, headers: &mut HeaderMap) {
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

/// The limits of an API.
pub(crate) struct Limits {
    requests: Option<Policy>,
    unknown_tokens: Policy,
    proxies: Proxies,
}

/// How many clients are known at a time, at least; those who ask most are.
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

    /// Counts a request of `caller`.
    pub(crate) fn count(
        &self,
        caller: &Caller,
        extensions: &axum::http::Extensions,
        headers: &HeaderMap,
    ) -> (Standing, Result<(), ApiError>) {
        let address = || peer(extensions).map(|peer| subscriber(self.proxies.client(peer, headers)));
        let now = Instant::now();
        if *caller == Caller::Refused
            && let Some(address) = address()
        {
            let answer = self.unknown_tokens.table.count(&Client::Address(address), now);
            if let Answer::Refused { wait } = answer {
                return (self.unknown_tokens.standing(answer), Err(too_many(wait)));
            }
        }
        let Some(policy) = &self.requests else {
            return (Standing::default(), Ok(()));
        };
        let client = match caller {
            Caller::Known { actor, .. } => Some(Client::Holder(actor)),
            Caller::Anybody | Caller::Nobody | Caller::Refused => address().map(Client::Address),
        };
        let Some(client) = client else {
            return (Standing::default(), Ok(()));
        };
        let answer = policy.table.count(&client, now);
        let outcome = match answer {
            Answer::Allowed { .. } => Ok(()),
            Answer::Refused { wait } => Err(too_many(wait)),
        };
        (policy.standing(answer), outcome)
    }
}

/// Whom a quota is of.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Client<'n> {
    Holder(&'n str),
    Address(IpAddr),
}

fn too_many(wait: Duration) -> ApiError {
    ApiError::TooManyRequests(seconds(wait))
}

/// Whole seconds, none of them too few.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
