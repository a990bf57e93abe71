//! Reasons for rejecting a JWT. They are logged at a limited rate, and not sent to the client.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use eventstore::Clock;

/// Minimum time between two log entries about rejected JWTs.
const PAUSE: Duration = Duration::from_secs(10);

/// Reason for rejecting a JWT. Reveals nothing of the token's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::access) enum Refusal {
    #[error("it is too long")]
    TooLong,
    #[error("it is not a valid JWT (RFC 7519)")]
    Malformed,
    #[error("its algorithm is not in AUTH_JWT_ALGORITHMS")]
    Algorithm,
    #[error("it has critical header parameters (crit), which are not supported")]
    Critical,
    #[error("its type (typ in the header) is not allowed by AUTH_JWT_TYPE")]
    Type,
    #[error("it is not an access token (typ, token_use, events, nonce, at_hash, c_hash or s_hash)")]
    NotAnAccessToken,
    #[error("it is bound to a key of its holder (cnf), and this binding cannot be checked here")]
    Bound,
    #[error("the issuer has no key that matches its key id (kid) and algorithm (alg)")]
    UnknownKey,
    #[error("its signature does not match any candidate key")]
    Signature,
    #[error("its issuer (iss) is not AUTH_JWT_ISSUER")]
    Issuer,
    #[error("its audience (aud) is not AUTH_JWT_AUDIENCE")]
    Audience,
    #[error("it has no valid expiry (exp)")]
    NoExpiry,
    #[error("it has expired (exp)")]
    Expired,
    #[error("it is not valid yet (nbf)")]
    NotYet,
    #[error("its subject (sub) is not 1 to 255 printable ASCII characters")]
    Subject,
}

impl Refusal {
    /// Whether the token may be valid with newer keys of the issuer. The issuer may have added a key, or
    /// reused a key id for another key.
    pub(in crate::access) const fn may_need_newer_keys(self) -> bool {
        matches!(self, Self::UnknownKey | Self::Signature)
    }
}

/// Logs rejections, at most once per [`PAUSE`], with the number of rejections since the last entry.
#[derive(Debug, Default)]
pub(super) struct RefusalLog(Mutex<LogState>);

#[derive(Debug, Default)]
struct LogState {
    last: Option<Duration>,
    since: u64,
}

impl RefusalLog {
    pub(super) fn log(&self, refusal: Refusal, clock: &dyn Clock) {
        if refusal == Refusal::Expired {
            // Every token expires eventually, so an expired token is not worth a warning.
            tracing::debug!(reason = %refusal, "a JWT was rejected");
            return;
        }
        if let Some(number) = self.due(clock.monotonic()) {
            tracing::warn!(reason = %refusal, access.refused = number, "a JWT was rejected");
        }
    }

    /// Counts a rejection. Returns the number of rejections to log, or `None` if the last log entry is too
    /// recent.
    fn due(&self, now: Duration) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.since += 1;
        if state.last.is_some_and(|last| now.saturating_sub(last) < PAUSE) {
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.since))
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
