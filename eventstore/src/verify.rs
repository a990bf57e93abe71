//! Checking a whole log.
//!
//! Every link of the chain is made anew from the columns of its event and compared with the one that is
//! stored, from the first event to `log_head`. What does not fit is named: the first position, and as far as
//! the log itself can tell, what was done there.
//!
//! A log that is consistent in itself may still have been rewritten from some event on, with every link made
//! again. Only a comparison with a head that was kept earlier shows this: see [`Trusted`].

mod chain;
mod diagnosis;
mod ends;
mod trusted;

use std::fmt;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::event::{Hash, Position};
use crate::log::{EventLog, Head};
use crate::scan::{Columns, scan};
use chain::{Broken, Chain};
use ends::Ends;

pub use trusted::{Trusted, TrustedError};

/// A log in which everything fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// The last position that was checked, which is how many events there are.
    pub position: Position,
    /// The link there.
    pub hash: Hash,
    /// The root of the Merkle tree over all events up to there.
    pub root: Hash,
    /// When the last event was recorded.
    pub recorded_at: Timestamp,
    /// Where the times go back because the one before was wrong.
    pub breaks: TimeBreaks,
}

/// The breaks in a log's times.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct TimeBreaks {
    /// How many there are.
    pub count: u64,
    /// The first of them, [`TimeBreaks::NAMED`] at most.
    pub first: Vec<TimeBreak>,
}

impl TimeBreaks {
    /// How many are named.
    pub const NAMED: usize = 10;

    fn add(&mut self, found: TimeBreak) {
        self.count += 1;
        if self.first.len() < Self::NAMED {
            self.first.push(found);
        }
    }
}

/// A step back of the times by more than [`CLOCKS_APART`](crate::append::CLOCKS_APART): the events before it
/// were recorded by a wrong clock, and the log goes on with the right time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TimeBreak {
    /// The first event with the right time.
    pub position: Position,
    /// The time of the event before it.
    pub before: Timestamp,
    /// The time of the event.
    pub after: Timestamp,
}

/// The first place where a log does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("position {position}: {problem}")]
pub struct Misfit {
    /// Where.
    pub position: Position,
    /// What is wrong.
    #[serde(flatten)]
    pub problem: Problem,
}

/// What is wrong at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum Problem {
    /// There is no event, although there are later ones or `log_head` says so.
    Missing,
    /// Everything fits, but the log ends before a trusted head: its end was removed, or the head is not of
    /// this log.
    TrustedBeyond {
        /// The position of the trusted head.
        trusted: Position,
        /// Where the log ends.
        end: Position,
    },
    /// A column cannot be read as what it should be.
    Unreadable {
        /// Which one, and how not.
        what: &'static str,
    },
    /// A column other than `hash` was altered: the next event follows from the stored hash, and the event
    /// does not give it.
    Altered,
    /// The column `hash` was altered: the next event follows from what the event gives.
    HashAltered,
    /// The event changed places with another.
    Swapped {
        /// The position of the other.
        with: Position,
    },
    /// An event was put in before the one that was recorded there.
    Added,
    /// The event that was recorded there is elsewhere.
    Moved {
        /// Where it is now.
        to: Position,
    },
    /// The event does not follow from the one before it, nor the next one from it.
    Replaced,
    /// The event is behind `log_head` and does not follow from the event before it: it was added.
    BehindHead,
    /// `log_head` is before the end of a log that goes on consistently: `log_head` was moved back, or events
    /// were added without it.
    HeadBehind {
        /// The last position that has an event.
        last: Position,
    },
    /// The event has a position before the first.
    BeforeFirst,
    /// `log_head` names another hash than that of the event it points to.
    Head,
    /// `log_head` names another time than that of the event it points to. The next event would be recorded at
    /// that time.
    HeadTime,
    /// The event's time is before that of the event before it, by less than an append goes back after a wrong
    /// clock.
    TimeBack,
    /// `log_head` has no row.
    NoHead,
    /// The log is consistent up to here, but has another hash and another root than the trusted head: the log
    /// was rewritten, or the head is not of this log.
    TrustedDiffers {
        /// The last position at which another trusted head fits; 0 if there is none.
        after: Position,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the event is missing"),
            Self::TrustedBeyond { trusted, end } => write!(
                f,
                "the log ends at {end}, before the trusted head at {trusted}: either events were removed from its end, \
                 or that head is not of this log or is mistyped"
            ),
            Self::Unreadable { what } => write!(f, "the event cannot be read: {what}"),
            Self::Altered => f.write_str("the event was altered: its columns do not give its hash"),
            Self::HashAltered => f.write_str("the event's hash was altered: its other columns fit"),
            Self::Swapped { with } => write!(f, "the event changed places with the one at {with}"),
            Self::Added => f.write_str("an event was put in before the one that was recorded there"),
            Self::Moved { to } => write!(f, "the event that was recorded there is now at {to}"),
            Self::Replaced => f.write_str("the event is not the one that was recorded there"),
            Self::BehindHead => f.write_str("the event was added behind the head of the log"),
            Self::HeadBehind { last } => write!(
                f,
                "log_head is before the end of the log at {last}: either log_head was moved back, or events were added \
                 without it"
            ),
            Self::BeforeFirst => f.write_str("the event was added before the first one"),
            Self::Head => f.write_str("log_head names another hash than the event has"),
            Self::HeadTime => f.write_str("log_head names another time than the event was recorded at"),
            Self::TimeBack => f.write_str("the event has an earlier time than the one before it"),
            Self::NoHead => f.write_str("log_head has no row: nothing says that the log ends here"),
            Self::TrustedDiffers { after } => {
                f.write_str("the log has another hash and another root here than the trusted head: either the log was rewritten")?;
                if *after > Position::BEGINNING {
                    write!(f, " after {after}")?;
                }
                f.write_str(", or that head is not of this log or is mistyped")
            }
        }
    }
}

/// Checks the log up to its head of this moment, and against every trusted head. Appends may go on meanwhile.
///
/// `progress` is told the position that is reached, every few hundred events. Memory does not grow with the
/// log. Reading and hashing are two tasks, so two cores are used.
///
/// # Errors
///
/// [`Error::Database`], [`Error::Timeout`]: it could not be checked. What does not fit is no error but a
/// [`Misfit`].
pub async fn verify(
    log: &EventLog,
    trusted: Vec<Trusted>,
    progress: impl FnMut(Position) + Send + 'static,
) -> Result<Result<Verified, Misfit>> {
    let ends = Ends::read(log).await?;
    if let Some(misfit) = ends.before_first() {
        return Ok(Err(misfit));
    }
    let end = ends.end();
    let blocks = scan(log.database(), Columns::All, Position::BEGINNING, end);
    let chain = Chain::new(trusted, end);
    let checked = tokio::task::spawn_blocking(move || chain.check(blocks, progress))
        .await
        .map_err(|_| Error::Interrupted)??;
    let (whole, beyond) = match checked {
        Ok(checked) => checked,
        Err(Broken::At(misfit)) => return Ok(Err(misfit)),
        Err(Broken::Link { position, previous }) => {
            let problem = diagnosis::problem(log, position, &previous, ends.head.as_ref()).await?;
            return Ok(Err(Misfit { position, problem }));
        }
    };
    // A trusted head beyond `log_head` says nothing if `log_head` itself does not fit.
    let misfit = ends.misfit(log).await?.or_else(|| {
        beyond.map(|trusted| Misfit {
            position: whole.position.next(),
            problem: Problem::TrustedBeyond {
                trusted: trusted.position,
                end: whole.position,
            },
        })
    });
    Ok(misfit.map_or(Ok(whole), Err))
}

/// The head of the log, if it agrees with the ends of the log and with the event that it names. What is
/// before that event is not checked. For everything that goes up to the head: proofs, exports, and heads to
/// be kept.
///
/// # Errors
///
/// [`Error::Database`], [`Error::Timeout`]: it could not be checked.
pub async fn head(log: &EventLog) -> Result<Result<Head, Misfit>> {
    let ends = Ends::read(log).await?;
    let misfit = match ends.before_first() {
        None => ends.misfit(log).await?,
        misfit => misfit,
    };
    match (misfit, ends.head) {
        (Some(misfit), _) => Ok(Err(misfit)),
        (None, Some(head)) => Ok(Ok(head)),
        (None, None) => Err(Error::NoHead),
    }
}
