//! A circuit breaker: while no mail can be sent, one email probes the server at intervals and all others
//! wait.
//!
//! It opens immediately on a failure that no single email can cause. On a failure that an email may cause, it
//! opens only if the [`AmbiguousResponses`] show that unrelated emails fail too. If all of them belong to a
//! few domains, emails to other domains continue to be sent, one at a time, because they provide the best
//! evidence. The first that is accepted closes the breaker.
//!
//! After an outage, only an attempt that began after the breaker opened can close it: older sessions may
//! still work when no new session can be opened. The attempt must also get past the step that failed: a
//! rejected recipient is no evidence about a rejected message.

mod cause;

use std::sync::Arc;
use std::time::Duration;

use eventstore::Timestamp;

use self::cause::OpenCause;
use super::ambiguous::{AmbiguousResponses, OutageScope};
use super::evidence::{Evidence, EvidenceSource, NotAccepted};
use super::now::Now;
use crate::error::{DeliveryFailure, Outage, SmtpFailure, SmtpStep};
use crate::ledger::workers::ServerState;

/// Consequences of [`Evidence`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Consequences {
    /// The attempt does not count, because the email is not the cause of its failure.
    pub(super) uncounted: bool,
    /// Sessions that are open now must not be used again.
    pub(super) discard_sessions: bool,
    /// The server accepts mail again after it asked to slow down.
    pub(super) resumed: bool,
}

/// Which emails may probe the server while the breaker is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    /// No email.
    None,
    /// Any email.
    Any,
    /// Any email, preferably to a domain without ambiguous responses.
    PreferUnaffected,
    /// An email to a domain without ambiguous responses.
    OnlyUnaffected,
}

/// Circuit breaker for the mail server. Initially closed: mail can be sent.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    open: Option<OpenBreaker>,
    epoch: u64,
    ambiguous: AmbiguousResponses,
}

#[derive(Debug)]
struct OpenBreaker {
    cause: OpenCause,
    scope: OutageScope,
    error: String,
    /// The latest step that has failed.
    step: Option<SmtpStep>,
    since: Timestamp,
    /// Number of failed probes since the breaker opened.
    failed_probes: u32,
    next_probe: Duration,
    probing: bool,
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

    /// Returns the time until the next probe, or `None` if the breaker is closed.
    pub(super) fn pause(&self, now: Duration) -> Option<Duration> {
        self.open.as_ref().map(|open| open.next_probe.saturating_sub(now))
    }

    /// Returns which emails may probe the server while the breaker is open.
    pub(super) fn allowed_probe(&self, now: Duration) -> Probe {
        match &self.open {
            Some(open) if open.probing => Probe::None,
            Some(open) if open.next_probe <= now && open.cause.is_inferred() => Probe::PreferUnaffected,
            Some(open) if open.next_probe <= now => Probe::Any,
            Some(open) if open.scope == OutageScope::SomeDomains => Probe::OnlyUnaffected,
            Some(_) | None => Probe::None,
        }
    }

    /// Whether an email to that domain provides little evidence about the server.
    pub(super) fn is_affected(&self, domain: &Arc<str>) -> bool {
        self.ambiguous.is_affected(domain)
    }

    /// Registers the start of an attempt.
    pub(super) const fn attempt_started(&mut self) {
        if let Some(open) = &mut self.open {
            open.probing = true;
        }
    }

    /// Processes the evidence from an attempt. `slowed` means that the server has asked to slow down, and a
    /// rate has been learned. `random`, from 0 to 1, varies the pause, so that many workers do not probe at
    /// the same time.
    pub(super) fn attempt_ended(
        &mut self,
        evidence: &Evidence,
        from: &EvidenceSource,
        slowed: bool,
        now: Now,
        random: f64,
    ) -> Consequences {
        let current = from.epoch == self.epoch;
        if let (Some(open), true) = (&mut self.open, current) {
            open.probing = false;
        }
        match evidence {
            Evidence::Accepted => self.accepted(from, current),
            Evidence::SingleEmailReply(step) if current => self.close(Some(*step)),
            Evidence::SingleEmailReply(_) | Evidence::None => Consequences::default(),
            Evidence::Outage(Outage::ConnectionLimit(_)) => Consequences {
                uncounted: true,
                ..self.inconclusive(current, now, random)
            },
            // A later attempt has already shown that the outage is over.
            Evidence::Outage(_) if self.open.is_none() && !current => Consequences {
                uncounted: true,
                ..Consequences::default()
            },
            Evidence::Outage(Outage::Refused(failure)) if failure.step() > Some(SmtpStep::Mail) => {
                if self.ambiguous.is_unreliable(&from.domain) {
                    return self.inconclusive(current, now, random);
                }
                self.ambiguous
                    .add(from.delivery, &from.domain, NotAccepted::Rejected);
                let cause = (OpenCause::MailRejected, OutageScope::AllMail);
                self.failed(cause, failure, current, now, random)
            }
            Evidence::Outage(Outage::Refused(failure)) => {
                let cause = (OpenCause::ClientRejected, OutageScope::AllMail);
                self.failed(cause, failure, current, now, random)
            }
            Evidence::Outage(Outage::Down(failure)) => {
                let cause = if is_sender_deferred(failure) {
                    OpenCause::Throttled
                } else {
                    OpenCause::Down
                };
                self.failed((cause, OutageScope::AllMail), failure, current, now, random)
            }
            Evidence::Ambiguous(kind, failure) => {
                self.not_accepted(*kind, failure, from, slowed, now, random)
            }
        }
    }

    fn accepted(&mut self, from: &EvidenceSource, current: bool) -> Consequences {
        let inferred = self.open.as_ref().is_some_and(|open| open.cause.is_inferred());
        // A server that defers mail still accepts an email now and then, which is not evidence against the
        // other domains.
        let disproved = self.open.as_ref().is_some_and(|open| {
            open.cause == OpenCause::MailRejected
                || (open.cause == OpenCause::Throttled && open.scope == OutageScope::SomeDomains)
        });
        self.ambiguous.clear(&from.domain, disproved);
        if current || inferred {
            self.close(None)
        } else {
            Consequences::default()
        }
    }

    /// Handles an email that was not accepted, possibly for a reason that applies to all mail.
    fn not_accepted(
        &mut self,
        kind: NotAccepted,
        failure: &DeliveryFailure,
        from: &EvidenceSource,
        slowed: bool,
        now: Now,
        random: f64,
    ) -> Consequences {
        let current = from.epoch == self.epoch;
        if self.open.is_none() && !current {
            return Consequences::default();
        }
        if self.ambiguous.is_unreliable(&from.domain) {
            return self.inconclusive(current, now, random);
        }
        let outage = self.open.as_ref().is_some_and(|open| !open.cause.is_inferred());
        if current && outage {
            // If the attempt got past the step that failed, the server is reachable, or accepts this client,
            // again.
            self.close(failure.step());
        }
        let cause = match kind {
            NotAccepted::Rejected => OpenCause::MailRejected,
            NotAccepted::Deferred => OpenCause::Throttled,
        };
        let scope = match self.ambiguous.add(from.delivery, &from.domain, kind) {
            _ if kind == NotAccepted::Deferred && slowed => OutageScope::AllMail,
            scope => scope,
        };
        match &self.open {
            // The known cause already covers this email.
            Some(open) if open.cause >= cause => {
                let scope = if scope == OutageScope::None {
                    open.scope
                } else {
                    scope
                };
                self.failed((cause, scope), failure, current, now, random)
            }
            _ if scope != OutageScope::None => self.failed((cause, scope), failure, current, now, random),
            _ => self.inconclusive(current, now, random),
        }
    }

    /// Handles a probe that failed without evidence about the server. The next probe waits for another pause
    /// of the same length.
    fn inconclusive(&mut self, current: bool, now: Now, random: f64) -> Consequences {
        if let (Some(open), true) = (&mut self.open, current)
            && open.next_probe <= now.monotonic
        {
            open.next_probe = now.monotonic + open.cause.pause(open.failed_probes, random);
        }
        Consequences::default()
    }

    /// Closes the breaker if the server accepted an email, or processed an email past the step that failed.
    fn close(&mut self, reached: Option<SmtpStep>) -> Consequences {
        let proves = |open: &mut OpenBreaker| reached.is_none_or(|reached| open.step < Some(reached));
        let Some(open) = self.open.take_if(proves) else {
            return Consequences::default();
        };
        if open.cause == OpenCause::Throttled {
            tracing::debug!("the mail server accepts mail again");
        } else {
            tracing::info!("mail can be sent again");
        }
        Consequences {
            resumed: open.cause == OpenCause::Throttled && reached.is_none(),
            ..Consequences::default()
        }
    }

    /// Handles a failure that applies to all mail, or to all mail to some domains.
    fn failed(
        &mut self,
        (cause, scope): (OpenCause, OutageScope),
        failure: &DeliveryFailure,
        current: bool,
        now: Now,
        random: f64,
    ) -> Consequences {
        let step = failure.step();
        let mut discard_sessions = false;
        match &mut self.open {
            // The more severe cause remains, even if the server becomes unreachable meanwhile.
            Some(open) if open.cause >= cause => {
                if open.cause == cause {
                    open.error = failure.to_string();
                    if scope == OutageScope::AllMail {
                        open.scope = scope;
                    }
                }
                open.step = open.step.max(step);
                // Attempts that were in progress when the breaker opened also fail, without new evidence.
                if current && open.next_probe <= now.monotonic {
                    open.failed_probes += 1;
                    open.next_probe = now.monotonic + open.cause.pause(open.failed_probes, random);
                }
            }
            _ => {
                self.epoch += 1;
                let error = failure.to_string();
                cause.report(&error);
                self.open = Some(OpenBreaker {
                    cause,
                    scope,
                    error,
                    step,
                    since: now.wall,
                    failed_probes: 0,
                    next_probe: now.monotonic + cause.pause(0, random),
                    probing: false,
                });
                discard_sessions = !cause.is_inferred();
            }
        }
        Consequences {
            uncounted: true,
            discard_sessions,
            resumed: false,
        }
    }
}

/// Whether the server rejected MAIL temporarily (4xx).
const fn is_sender_deferred(failure: &DeliveryFailure) -> bool {
    matches!(
        failure,
        DeliveryFailure::Smtp(SmtpStep::Mail, SmtpFailure::Reply { code: 400..=499, .. })
    )
}

#[cfg(test)]
mod tests;
