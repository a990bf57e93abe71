//! A circuit breaker: while no mail can be sent, one mail is tried now and then, and all others wait.
//!
//! It opens at once for what no mail can be to blame for, and for what mails may be to blame for when
//! [`Suspects`] say that unrelated mails meet it too. If all suspects are of a few domains, mails to other
//! domains are tried meanwhile, one after the other, for they tell most; the first that is accepted closes
//! it.
//!
//! For an outage, only what was begun after it opened can close it: a session that was open before may still
//! be served while no new one can be opened. And only what got further than the step that failed: a recipient
//! that is refused says nothing of a message that is.

use std::sync::Arc;
use std::time::Duration;

use eventstore::{Position, Timestamp};

use super::suspects::{Extent, Kind, Suspects};
use crate::error::{Failure, Outage, SmtpFailure, Step};
use crate::ledger::workers::Standing;
use crate::template::Template;

/// Which mail, of all.
pub(super) type MailKey = (Position, Template);

/// What an attempt tells of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// It has accepted a mail.
    Sent,
    /// It has answered at that step, for that mail alone.
    Dealt(Step),
    /// Nothing.
    None,
    /// It accepts no mail.
    Outage(Outage),
    /// It has turned a mail down, perhaps for what it turns every mail down for.
    Suspicion(Kind, Failure),
}

/// An attempt that tells news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Witness {
    pub(super) mail: MailKey,
    /// The domain of its recipient, as [`super::suspects::registrable`] has it.
    pub(super) domain: Arc<str>,
    /// [`Breaker::epoch`] when it began.
    pub(super) epoch: u64,
}

/// The time, twice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// To tell people.
    pub(super) wall: Timestamp,
    /// To measure pauses by: a clock that is set must not draw one out.
    pub(super) monotonic: Duration,
}

/// What news lead to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// The mail is not to blame: its attempt does not count.
    pub(super) blameless: bool,
    /// Sessions that are open now must not be used any more.
    pub(super) renew: bool,
    /// The server accepts mail again after it had asked to slow down.
    pub(super) resumed: bool,
}

/// Which mails may be tried while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Try {
    /// None.
    Nothing,
    /// Any one.
    Any,
    /// Any one, best to a domain that is no suspect.
    PreferOthers,
    /// One to a domain that is no suspect.
    OnlyOthers,
}

/// Whether mails can be sent; closed, so that they can, to begin with.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    open: Option<Open>,
    epoch: u64,
    suspects: Suspects,
}

/// Why it is open, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// Unrelated mails were put off.
    Throttled,
    /// The server is away.
    Down,
    /// Unrelated mails were refused, or one for a reason that holds for every mail, but after its recipient
    /// was named.
    Unwelcome,
    /// The server refuses us before it knows which mail it is.
    Refused,
}

impl Cause {
    const fn standing(self) -> Standing {
        match self {
            Self::Throttled | Self::Down => Standing::Down,
            Self::Unwelcome | Self::Refused => Standing::Refused,
        }
    }

    /// Whether it follows from what mails were turned down for. Then any mail that is accepted disproves it.
    const fn is_inferred(self) -> bool {
        matches!(self, Self::Throttled | Self::Unwelcome)
    }

    /// The first pause before another try, the longest, and how fast it grows.
    const fn pauses(self) -> (Duration, Duration, f64) {
        match self {
            // Finer: a try comes at most about a sixth of the wait after the server accepts mail again.
            Self::Throttled => (Duration::from_secs(1), Duration::from_secs(30), 1.2),
            Self::Down => (Duration::from_secs(1), Duration::from_secs(30), 2.0),
            Self::Unwelcome => (Duration::from_secs(1), Duration::from_mins(2), 2.0),
            // Longer: some servers lock an account after a few wrong passwords.
            Self::Refused => (Duration::from_secs(30), Duration::from_mins(10), 2.0),
        }
    }
}

#[derive(Debug)]
struct Open {
    cause: Cause,
    extent: Extent,
    error: String,
    /// The furthest step that has failed.
    step: Option<Step>,
    since: Timestamp,
    /// How many tries have failed since it opened.
    tried: u32,
    next: Duration,
    trying: bool,
}

impl Breaker {
    /// How the worker stands with its server, since when if that is not well, and why.
    pub(super) fn standing(&self) -> (Standing, Option<Timestamp>, Option<&str>) {
        match &self.open {
            None => (Standing::Ready, None, None),
            Some(open) => (open.cause.standing(), Some(open.since), Some(&open.error)),
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// How often it has opened, or learned of something worse.
    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How long until one mail may be tried; nothing while there is no need to wait.
    pub(super) fn pause(&self, now: Duration) -> Option<Duration> {
        self.open.as_ref().map(|open| open.next.saturating_sub(now))
    }

    /// Which mail may be tried while it is open.
    pub(super) fn may_try(&self, now: Duration) -> Try {
        match &self.open {
            Some(open) if open.trying => Try::Nothing,
            Some(open) if open.next <= now && open.cause.is_inferred() => Try::PreferOthers,
            Some(open) if open.next <= now => Try::Any,
            Some(open) if open.extent == Extent::Domains => Try::OnlyOthers,
            Some(_) | None => Try::Nothing,
        }
    }

    /// Whether a mail to that domain tells little of the server.
    pub(super) fn is_suspect(&self, domain: &Arc<str>) -> bool {
        self.suspects.is_suspect(domain)
    }

    /// An attempt begins.
    pub(super) const fn begin(&mut self) {
        if let Some(open) = &mut self.open {
            open.trying = true;
        }
    }

    /// Takes what an attempt tells. `slowed` says that the server is known to ask to slow down. `random`,
    /// from 0 to 1, draws the pause, so that many workers do not try at once.
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
            // What began later has already shown that it is over.
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
        // A server that puts mails off accepts some now and then, and that is not the other domains' fault.
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
            // The server can be reached again, or accepts the sender.
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
            // What is said of others already covers this mail.
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

    /// A try has failed for what says nothing of the server; the next one is not sooner for it.
    fn in_vain(&mut self, current: bool, now: Now, random: f64) -> Heard {
        if let (Some(open), true) = (&mut self.open, current)
            && open.next <= now.monotonic
        {
            open.next = now.monotonic + pause(open.cause, open.tried, random);
        }
        Heard::default()
    }

    /// The server has dealt with a mail as far as that step, or has accepted it.
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
            // A person is needed still, even if the server cannot be reached meanwhile.
            Some(open) if open.cause >= cause => {
                if open.cause == cause {
                    open.error = failure.to_string();
                    if extent == Extent::All {
                        open.extent = extent;
                    }
                }
                open.step = open.step.max(step);
                // What was under way when it opened fails too, and says nothing new.
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
                "the mail server puts mail off; mail is sent more slowly"
            ),
            Cause::Down => tracing::warn!(
                mail.error = error,
                "no mail can be sent; all of it waits, and the server is tried now and then"
            ),
            Cause::Unwelcome | Cause::Refused => tracing::error!(
                mail.error = error,
                "the mail server refuses every mail; this needs a person, and all mail waits until then"
            ),
        }
    }
}

/// Whether the server answered to a mail that it is to come later.
const fn is_put_off(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Smtp(Step::Mail, SmtpFailure::Reply { code: 400..=499, .. })
    )
}

/// The pause after so many tries have failed.
fn pause(cause: Cause, tried: u32, random: f64) -> Duration {
    let (first, longest, growth) = cause.pauses();
    // More than enough for the longest.
    let grown = first.mul_f64(growth.powi(i32::try_from(tried.min(32)).unwrap_or(32)));
    grown.min(longest).mul_f64(0.8 + 0.4 * random)
}

#[cfg(test)]
mod tests;
