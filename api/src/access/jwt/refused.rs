//! Why a JWT is refused. Its sender is not told; the log is, so many times and no more.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use eventstore::Clock;

/// How often a refusal is told to the log at most.
const PAUSE: Duration = Duration::from_secs(10);

/// Why a JWT is refused. Says nothing of what the token holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::access) enum Refusal {
    #[error("it is too long")]
    TooLong,
    #[error("it is not a JWT as RFC 7519 has them")]
    Malformed,
    #[error("its algorithm is not in AUTH_JWT_ALGORITHMS")]
    Algorithm,
    #[error("it has critical header parameters, and none are understood")]
    Critical,
    #[error("its type (typ, in the header) is not one that AUTH_JWT_TYPE allows")]
    Type,
    #[error("it is no access token (typ, token_use, events, nonce, at_hash, c_hash or s_hash)")]
    NotAnAccessToken,
    #[error("it is bound to a key of its holder (cnf), which cannot be checked here")]
    Bound,
    #[error("none of the issuer's keys is the one that it names, for its algorithm")]
    UnknownKey,
    #[error("its signature is not that of any key that it can mean")]
    Signature,
    #[error("its issuer (iss) is not AUTH_JWT_ISSUER")]
    Issuer,
    #[error("its audience (aud) is not AUTH_JWT_AUDIENCE")]
    Audience,
    #[error("it does not say when it expires (exp)")]
    NoExpiry,
    #[error("it has expired (exp)")]
    Expired,
    #[error("it is not valid yet (nbf)")]
    NotYet,
    #[error("its subject (sub) is not 1 to 255 printable ASCII characters")]
    Subject,
}

impl Refusal {
    /// Whether the issuer may have a key by now that the token is good with: a new one, or one that has taken
    /// the name of another.
    pub(in crate::access) const fn may_need_newer_keys(self) -> bool {
        matches!(self, Self::UnknownKey | Self::Signature)
    }
}

/// Tells the log, at most once in [`PAUSE`], and then how many there were.
#[derive(Debug, Default)]
pub(super) struct RefusalLog(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    last: Option<Duration>,
    since: u64,
}

impl RefusalLog {
    pub(super) fn tell(&self, refusal: Refusal, clock: &dyn Clock) {
        if refusal == Refusal::Expired {
            // As every token does some day.
            tracing::debug!(reason = %refusal, "a JWT is refused");
            return;
        }
        if let Some(number) = self.due(clock.monotonic()) {
            tracing::warn!(reason = %refusal, access.refused = number, "a JWT is refused");
        }
    }

    /// How many refusals are to be told of now, if it is time to.
    fn due(&self, now: Duration) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.since += 1;
        if told.last.is_some_and(|last| now.saturating_sub(last) < PAUSE) {
            return None;
        }
        told.last = Some(now);
        Some(std::mem::take(&mut told.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_bad_tokens_is_no_flood_of_lines() {
        let log = RefusalLog::default();
        assert_eq!(log.due(Duration::ZERO), Some(1));
        for millis in 1..1000 {
            assert_eq!(log.due(Duration::from_millis(millis)), None);
        }
        assert_eq!(log.due(PAUSE), Some(1000));
    }
}
