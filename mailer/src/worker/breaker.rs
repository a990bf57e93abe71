//! A circuit breaker: while no mail can be sent, one mail is tried now and then, and all others wait.
//!
//! Only what was begun after it opened can close it: a session that was open before may still be served while no new one
//! can be opened. And only what got further than the step that failed: a recipient that is refused says nothing of a
//! message that is.

use std::time::Duration;

use eventstore::{Position, Timestamp};

use crate::error::{Failure, Outage, Step};
use crate::ledger::workers::Standing;
use crate::template::Template;

/// The first and the longest pause before a server that is away is tried again.
const DOWN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// The same for a server that refuses us. Longer: some lock an account after a few wrong passwords.
const REFUSED: (Duration, Duration) = (Duration::from_secs(30), Duration::from_mins(10));

/// Which mail, of all.
pub(super) type MailKey = (Position, Template);

/// What an attempt tells of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// It has taken a mail.
    Sent,
    /// It has answered at that step, for that mail alone.
    Dealt(Step),
    /// Nothing.
    None,
    /// It takes no mail.
    Outage(Outage),
    /// It has refused a mail, perhaps for what it refuses every mail for.
    Suspicion(Failure),
}

/// An attempt that tells news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Witness {
    pub(super) mail: MailKey,
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

/// Whether mails can be sent; closed, so that they can, to begin with.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    open: Option<Open>,
    epoch: u64,
}

#[derive(Debug)]
struct Open {
    standing: Standing,
    error: String,
    /// The furthest step that has failed.
    step: Option<Step>,
    /// The mail that was refused, if it may be to blame itself.
    suspect: Option<MailKey>,
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
            Some(open) => (open.standing, Some(open.since), Some(&open.error)),
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

    /// Whether one mail may be tried while it is open.
    pub(super) fn may_try(&self, now: Duration) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| !open.trying && open.next <= now)
    }

    /// An attempt begins.
    pub(super) const fn begin(&mut self) {
        if let Some(open) = &mut self.open {
            open.trying = true;
        }
    }

    /// Takes what an attempt tells; whether a suspicion is confirmed by it, so that the mail is not to blame. `random`, from
    /// 0 to 1, draws the pause, so that many workers do not try at once.
    pub(super) fn hear(&mut self, news: &News, from: Witness, now: Now, random: f64) -> bool {
        let current = from.epoch == self.epoch;
        if let (Some(open), true) = (&mut self.open, current) {
            open.trying = false;
        }
        if self.open.is_none() && !current {
            // What began later has already shown that it is over.
            return false;
        }
        match news {
            News::Sent if current => self.close(None),
            News::Dealt(step) if current => self.close(Some(*step)),
            News::Sent | News::Dealt(_) | News::None => {}
            News::Outage(Outage::Down(failure)) => {
                self.fail(Standing::Down, failure, None, current, now, random);
            }
            News::Outage(Outage::Refused(failure)) => {
                self.fail(Standing::Refused, failure, None, current, now, random);
            }
            News::Suspicion(failure) => {
                let (standing, suspect) = match &self.open {
                    Some(open) if open.standing == Standing::Refused => (Standing::Refused, None),
                    // A second mail is refused likewise: it is not the mails.
                    Some(open) if open.suspect.is_some_and(|mail| mail != from.mail) => {
                        (Standing::Refused, None)
                    }
                    _ => (Standing::Down, Some(from.mail)),
                };
                self.fail(standing, failure, suspect, current, now, random);
                return standing == Standing::Refused;
            }
        }
        false
    }

    /// The server has dealt with a mail as far as that step, or has taken it.
    fn close(&mut self, reached: Option<Step>) {
        let proves = |open: &mut Open| reached.is_none_or(|reached| open.step < Some(reached));
        if self.open.take_if(proves).is_some() {
            tracing::info!("mail can be sent again");
        }
    }

    fn fail(
        &mut self,
        standing: Standing,
        failure: &Failure,
        suspect: Option<MailKey>,
        current: bool,
        now: Now,
        random: f64,
    ) {
        let step = failure.step();
        match &mut self.open {
            // A person is needed still, even if the server cannot be reached meanwhile.
            Some(open) if open.standing == standing || open.standing == Standing::Refused => {
                if open.standing == standing {
                    open.error = failure.to_string();
                }
                open.step = open.step.max(step);
                open.suspect = open.suspect.or(suspect);
                // What was under way when it opened fails too, and says nothing new.
                if current {
                    open.tried += 1;
                    open.next = now.monotonic + pause(open.standing, open.tried, random);
                }
            }
            _ => {
                self.epoch += 1;
                self.open = Some(Open {
                    standing,
                    error: failure.to_string(),
                    step,
                    suspect,
                    since: now.wall,
                    tried: 0,
                    next: now.monotonic + pause(standing, 0, random),
                    trying: false,
                });
                self.report();
            }
        }
    }

    fn report(&self) {
        match self.standing() {
            (Standing::Refused, _, error) => tracing::error!(
                mail.error = error,
                "the mail server refuses every mail; this needs a person, and all mail waits until then"
            ),
            (Standing::Down | Standing::Ready, _, error) => tracing::warn!(
                mail.error = error,
                "no mail can be sent; all of it waits, and the server is tried now and then"
            ),
        }
    }
}

/// The pause after so many tries have failed.
fn pause(standing: Standing, tried: u32, random: f64) -> Duration {
    let (first, longest) = match standing {
        Standing::Refused => REFUSED,
        Standing::Down | Standing::Ready => DOWN,
    };
    let pause = first.saturating_mul(2_u32.saturating_pow(tried)).min(longest);
    pause.mul_f64(0.8 + 0.4 * random)
}

#[cfg(test)]
mod tests;
