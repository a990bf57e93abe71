//! A circuit breaker: while no mail can be sent, one email is tried at intervals and all others wait.
//!
//! It opens immediately on a failure that no single email can cause. On a failure that an email may cause, it
//! opens only if [`Suspects`] show that unrelated emails fail too. If all suspects belong to a few domains,
//! emails to other domains are tried meanwhile, one at a time, because they provide the best evidence. The
//! first that is accepted closes the breaker.
//!
//! After an outage, only an attempt that began after the breaker opened can close it: older sessions may
//! still work when no new session can be opened. The attempt must also get past the step that failed: a
//! rejected recipient is no evidence about a rejected message.

use std::sync::Arc;
use std::time::Duration;

use eventstore::{Position, Timestamp};

use super::suspects::{Extent, Kind, Suspects};
use crate::error::{Failure, Outage, SmtpFailure, Step};
use crate::ledger::workers::ServerState;
use crate::template::Template;

/// Unique key of an email.
pub(super) type MailKey = (Position, Template);

/// Evidence about the server from an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// The server accepted an email.
    Sent,
    /// The server replied at this step with a reply that applies to one email only.
    Dealt(Step),
    /// The attempt provides no evidence.
    None,
    /// The server accepts no mail.
    Outage(Outage),
    /// The server rejected or deferred an email, possibly for a reason that applies to all mail.
    Suspicion(Kind, Failure),
}

/// The attempt that is the source of [`News`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Witness {
    pub(super) mail: MailKey,
    /// Domain of the recipient, from [`super::suspects::registrable`].
    pub(super) domain: Arc<str>,
    /// [`Breaker::epoch`] at the start of the attempt.
    pub(super) epoch: u64,
}

/// The current time from two clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// Wall-clock time, for display.
    pub(super) wall: Timestamp,
    /// Monotonic time, for pauses: setting the wall clock must not lengthen them.
    pub(super) monotonic: Duration,
}

/// Consequences of [`News`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// The email is not the cause, so its attempt does not count.
    pub(super) blameless: bool,
    /// Sessions that are open now must not be used again.
    pub(super) renew: bool,
    /// The server accepts mail again after it asked to slow down.
    pub(super) resumed: bool,
}

/// Which emails may be tried while the breaker is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Try {
    /// No email.
    Nothing,
    /// Any email.
    Any,
    /// Any email, preferably to a domain that is not a suspect.
    PreferOthers,
    /// An email to a domain that is not a suspect.
    OnlyOthers,
}

/// Circuit breaker for the mail server. Initially closed: mail can be sent.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    open: Option<Open>,
    epoch: u64,
    suspects: Suspects,
}

/// Why the breaker is open, in ascending order of severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// Unrelated emails were deferred.
    Throttled,
    /// The server is unreachable.
    Down,
    /// Unrelated emails were rejected, or one email was rejected at RCPT or later for a reason that applies
    /// to all mail.
    Unwelcome,
    /// The server rejects this client before it knows the recipient.
    Refused,
}

impl Cause {
    const fn server_state(self) -> ServerState {
        match self {
            Self::Throttled | Self::Down => ServerState::Down,
            Self::Unwelcome | Self::Refused => ServerState::Refused,
        }
    }

    /// Whether the cause is inferred from rejected or deferred emails. Any accepted email then disproves it.
    const fn is_inferred(self) -> bool {
        matches!(self, Self::Throttled | Self::Unwelcome)
    }

    /// First pause before another try, maximum pause, and growth factor.
    const fn pauses(self) -> (Duration, Duration, f64) {
        match self {
            // Smaller steps: the delay after the server accepts mail again is at most a sixth of the wait.
            Self::Throttled => (Duration::from_secs(1), Duration::from_secs(30), 1.2),
            Self::Down => (Duration::from_secs(1), Duration::from_secs(30), 2.0),
            Self::Unwelcome => (Duration::from_secs(1), Duration::from_mins(2), 2.0),
            // Longer pauses: some servers lock an account after a few wrong passwords.
            Self::Refused => (Duration::from_secs(30), Duration::from_mins(10), 2.0),
        }
    }
}

#[derive(Debug)]
struct Open {
    cause: Cause,
    extent: Extent,
    error: String,
    /// The latest step that has failed.
    step: Option<Step>,
    since: Timestamp,
    /// Number of failed tries since the breaker opened.
    tried: u32,
    next: Duration,
    trying: bool,
}

impl Breaker {
    /// Returns the state of the worker's mail server and, if the breaker is open, since when and why.
    pub(super) fn server_state(&self) -> (ServerState, Option<Timestamp>, Option<&str>) {
        match &self.open {
            None => (ServerState::Ready, None, None),
            Some(open) => (open.cause.server_state(), Some(open.since), Some(&open.error)),
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Number of times that the breaker opened or changed to a more severe cause.
    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns the time until one email may be tried, or `None` if the breaker is closed.
    pub(super) fn pause(&self, now: Duration) -> Option<Duration> {
        self.open.as_ref().map(|open| open.next.saturating_sub(now))
    }

    /// Returns which emails may be tried while the breaker is open.
    pub(super) fn may_try(&self, now: Duration) -> Try {
        match &self.open {
            Some(open) if open.trying => Try::Nothing,
            Some(open) if open.next <= now && open.cause.is_inferred() => Try::PreferOthers,
            Some(open) if open.next <= now => Try::Any,
            Some(open) if open.extent == Extent::Domains => Try::OnlyOthers,
            Some(_) | None => Try::Nothing,
        }
    }

    /// Whether an email to that domain provides little evidence about the server.
    pub(super) fn is_suspect(&self, domain: &Arc<str>) -> bool {
        self.suspects.is_suspect(domain)
    }

    /// Registers the start of an attempt.
    pub(super) const fn begin(&mut self) {
        if let Some(open) = &mut self.open {
            open.trying = true;
        }
    }

    /// Processes the news from an attempt. `slowed` means that the server has asked to slow down, and a rate
    /// has been learned. `random`, from 0 to 1, varies the pause, so that many workers do not try at the same
    /// time.
    pub(super) fn hear(&mut self, news: &News, from: &Witness, slowed: bool, now: Now, random: f64) -> Heard {
        let current = from.epoch == self.epoch;
        if let (Some(open), true) = (&mut self.open, current) {
            open.trying = false;
        }
        match news {
            News::Sent => self.accepted(from, current),
            News::Dealt(step) if current => self.close(Some(*step)),
            News::Dealt(_) | News::None => Heard::default(),
            News::Outage(Outage::Crowded(_)) => Heard {
                blameless: true,
                ..self.in_vain(current, now, random)
            },
            // A later attempt has already shown that the outage is over.
            News::Outage(_) if self.open.is_none() && !current => Heard {
                blameless: true,
                ..Heard::default()
            },
            News::Outage(Outage::Refused(failure)) if failure.step() > Some(Step::Mail) => {
                if self.suspects.is_unreliable(&from.domain) {
                    return self.in_vain(current, now, random);
                }
                self.suspects.add(from.mail, &from.domain, Kind::Refused);
                self.fail((Cause::Unwelcome, Extent::All), failure, current, now, random)
            }
            News::Outage(Outage::Refused(failure)) => {
                self.fail((Cause::Refused, Extent::All), failure, current, now, random)
            }
            News::Outage(Outage::Down(failure)) if is_put_off(failure) => {
                self.fail((Cause::Throttled, Extent::All), failure, current, now, random)
            }
            News::Outage(Outage::Down(failure)) => {
                self.fail((Cause::Down, Extent::All), failure, current, now, random)
            }
            News::Suspicion(kind, failure) => self.suspect(*kind, failure, from, slowed, now, random),
        }
    }

    fn accepted(&mut self, from: &Witness, current: bool) -> Heard {
        let inferred = self.open.as_ref().is_some_and(|open| open.cause.is_inferred());
        // A server that defers mail still accepts an email now and then, which is not evidence against the
        // other domains.
        let disproved = self.open.as_ref().is_some_and(|open| {
            open.cause == Cause::Unwelcome
                || (open.cause == Cause::Throttled && open.extent == Extent::Domains)
        });
        self.suspects.clear(&from.domain, disproved);
        if current || inferred {
            self.close(None)
        } else {
            Heard::default()
        }
    }

    fn suspect(
        &mut self,
        kind: Kind,
        failure: &Failure,
        from: &Witness,
        slowed: bool,
        now: Now,
        random: f64,
    ) -> Heard {
        let current = from.epoch == self.epoch;
        if self.open.is_none() && !current {
            return Heard::default();
        }
        if self.suspects.is_unreliable(&from.domain) {
            return self.in_vain(current, now, random);
        }
        let outage = self.open.as_ref().is_some_and(|open| !open.cause.is_inferred());
        if current && outage {
            // The server is reachable again, or accepts the sender.
            self.close(failure.step());
        }
        let cause = match kind {
            Kind::Refused => Cause::Unwelcome,
            Kind::PutOff => Cause::Throttled,
        };
        let extent = match self.suspects.add(from.mail, &from.domain, kind) {
            _ if kind == Kind::PutOff && slowed => Extent::All,
            extent => extent,
        };
        match &self.open {
            // The known cause already covers this email.
            Some(open) if open.cause >= cause => {
                let extent = if extent == Extent::None {
                    open.extent
                } else {
                    extent
                };
                self.fail((cause, extent), failure, current, now, random)
            }
            _ if extent != Extent::None => self.fail((cause, extent), failure, current, now, random),
            _ => self.in_vain(current, now, random),
        }
    }

    /// Handles a try that failed without evidence about the server. The next try waits for another pause of
    /// the same length.
    fn in_vain(&mut self, current: bool, now: Now, random: f64) -> Heard {
        if let (Some(open), true) = (&mut self.open, current)
            && open.next <= now.monotonic
        {
            open.next = now.monotonic + pause(open.cause, open.tried, random);
        }
        Heard::default()
    }

    /// Closes the breaker if the server accepted an email, or processed an email past the step that failed.
    fn close(&mut self, reached: Option<Step>) -> Heard {
        let proves = |open: &mut Open| reached.is_none_or(|reached| open.step < Some(reached));
        let Some(open) = self.open.take_if(proves) else {
            return Heard::default();
        };
        if open.cause == Cause::Throttled {
            tracing::debug!("the mail server accepts mail again");
        } else {
            tracing::info!("mail can be sent again");
        }
        Heard {
            resumed: open.cause == Cause::Throttled && reached.is_none(),
            ..Heard::default()
        }
    }

    fn fail(
        &mut self,
        (cause, extent): (Cause, Extent),
        failure: &Failure,
        current: bool,
        now: Now,
        random: f64,
    ) -> Heard {
        let step = failure.step();
        let mut renew = false;
        match &mut self.open {
            // The more severe cause remains, even if the server becomes unreachable meanwhile.
            Some(open) if open.cause >= cause => {
                if open.cause == cause {
                    open.error = failure.to_string();
                    if extent == Extent::All {
                        open.extent = extent;
                    }
                }
                open.step = open.step.max(step);
                // Attempts that were in progress when the breaker opened also fail, without new evidence.
                if current && open.next <= now.monotonic {
                    open.tried += 1;
                    open.next = now.monotonic + pause(open.cause, open.tried, random);
                }
            }
            _ => {
                self.epoch += 1;
                self.open = Some(Open {
                    cause,
                    extent,
                    error: failure.to_string(),
                    step,
                    since: now.wall,
                    tried: 0,
                    next: now.monotonic + pause(cause, 0, random),
                    trying: false,
                });
                renew = !cause.is_inferred();
                self.report();
            }
        }
        Heard {
            blameless: true,
            renew,
            resumed: false,
        }
    }

    fn report(&self) {
        let Some(open) = &self.open else { return };
        let error = open.error.as_str();
        match open.cause {
            Cause::Throttled => tracing::warn!(
                mail.error = error,
                "the mail server defers mail; sending more slowly"
            ),
            Cause::Down => tracing::warn!(
                mail.error = error,
                "no mail can be sent; all mail waits while the server is probed"
            ),
            Cause::Unwelcome | Cause::Refused => tracing::error!(
                mail.error = error,
                "the mail server rejects all mail; all mail waits until someone fixes the cause"
            ),
        }
    }
}

/// Whether the server rejected MAIL temporarily (4xx).
const fn is_put_off(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Smtp(Step::Mail, SmtpFailure::Reply { code: 400..=499, .. })
    )
}

/// Returns the pause after `tried` failed tries.
fn pause(cause: Cause, tried: u32, random: f64) -> Duration {
    let (first, longest, growth) = cause.pauses();
    // An exponent of 32 exceeds every maximum.
    let grown = first.mul_f64(growth.powi(i32::try_from(tried.min(32)).unwrap_or(32)));
    grown.min(longest).mul_f64(0.8 + 0.4 * random)
}

#[cfg(test)]
mod tests;
