//! Verification of a whole log.
//!
//! Every link of the chain is recomputed from the columns of its event and compared with the stored link,
//! from the first event to `log_head`. The result contains the first inconsistent position and, if the log
//! shows it, the change at that position.
//!
//! A consistent log may still have been rewritten from some event on, with all links recomputed. Only a
//! comparison with a head kept from before the rewrite detects this: see [`Trusted`].

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

/// Result of verifying a consistent log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Last verified position, which is the number of events.
    pub position: Position,
    /// Link at this position.
    pub hash: Hash,
    /// Root of the Merkle tree over all events up to this position.
    pub root: Hash,
    /// When the last event was recorded.
    pub recorded_at: Timestamp,
    /// Positions at which the recorded time steps back because a wrong clock was corrected.
    pub breaks: TimeBreaks,
}

/// Time breaks of a log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct TimeBreaks {
    /// Number of breaks.
    pub count: u64,
    /// The first breaks, at most [`TimeBreaks::NAMED`].
    pub first: Vec<TimeBreak>,
}

impl TimeBreaks {
    /// Maximum number of breaks that are listed.
    pub const NAMED: usize = 10;

    fn add(&mut self, found: TimeBreak) {
        self.count += 1;
        if self.first.len() < Self::NAMED {
            self.first.push(found);
        }
    }
}

/// A step back in time by more than [`CLOCKS_APART`](crate::append::CLOCKS_APART). A wrong clock recorded the
/// events before the step, and a correct clock recorded the events after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TimeBreak {
    /// Position of the first event with the correct time.
    pub position: Position,
    /// Time of the previous event.
    pub before: Timestamp,
    /// Time of the event itself.
    pub after: Timestamp,
}

/// The first position at which a log is inconsistent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("position {position}: {problem}")]
pub struct Mismatch {
    /// The position.
    pub position: Position,
    /// Problem at this position.
    #[serde(flatten)]
    pub problem: Problem,
}

/// Problem at a position of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum Problem {
    /// The event is missing, although there are later events or `log_head` points at or beyond it.
    Missing,
    /// The log is consistent, but ends before a trusted head. Either the end of the log was removed, or the
    /// head is from another log.
    TrustedBeyond {
        /// Position of the trusted head.
        trusted: Position,
        /// Last position of the log.
        end: Position,
    },
    /// A column has an unreadable value.
    Unreadable {
        /// Description of the unreadable column.
        what: &'static str,
    },
    /// A column other than `hash` was altered. The event's columns do not match the stored hash, but the next
    /// event follows from it.
    Altered,
    /// The column `hash` was altered. The next event follows from the hash that the other columns give.
    HashAltered,
    /// The event was swapped with another event.
    Swapped {
        /// Position of the other event.
        with: Position,
    },
    /// An event was inserted before the event recorded at this position.
    Added,
    /// The event recorded at this position was moved.
    Moved {
        /// Its new position.
        to: Position,
    },
    /// The event does not follow from the previous event, and the next event does not follow from it.
    Replaced,
    /// The event is after `log_head` and does not follow from the previous event, so it was added.
    BehindHead,
    /// `log_head` is before the end of a consistent log. Either `log_head` was moved back, or events were
    /// added without updating it.
    HeadBehind {
        /// Position of the last event.
        last: Position,
    },
    /// The event has a position before the first valid position.
    BeforeFirst,
    /// The hash in `log_head` differs from the hash of the event at its position.
    Head,
    /// The time in `log_head` differs from the time of the event at its position. Appends are rejected
    /// until it is corrected.
    HeadTime,
    /// The event's time is earlier than the previous event's time by at most
    /// [`CLOCKS_APART`](crate::append::CLOCKS_APART). No append records such a time: after a wrong clock, the
    /// recorded time steps back only by more than [`CLOCKS_APART`](crate::append::CLOCKS_APART).
    TimeBack,
    /// `log_head` has no row. Its JSON name, `no_head`, is older than the name of the variant.
    #[serde(rename = "no_head")]
    MissingHead,
    /// The log is consistent up to this position, but neither the hash nor the root at this position matches
    /// the trusted head. Either the log was rewritten, or the head is from another log.
    TrustedDiffers {
        /// The last position at which another trusted head matches, or 0 if no trusted head matches.
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
                 or that head is from another log or is mistyped"
            ),
            Self::Unreadable { what } => write!(f, "the event cannot be read: {what}"),
            Self::Altered => f.write_str("the event was altered: its columns do not match its hash"),
            Self::HashAltered => f.write_str("the event's hash was altered: its other columns are intact"),
            Self::Swapped { with } => write!(f, "the event was swapped with the event at {with}"),
            Self::Added => f.write_str("an event was inserted before the event recorded at this position"),
            Self::Moved { to } => write!(f, "the event recorded at this position is now at {to}"),
            Self::Replaced => f.write_str("this is not the event that was recorded at this position"),
            Self::BehindHead => f.write_str("the event was added after the head of the log"),
            Self::HeadBehind { last } => write!(
                f,
                "log_head is before the end of the log at {last}: either log_head was moved back, or events were added \
                 without updating it"
            ),
            Self::BeforeFirst => f.write_str("the event was added before the first event"),
            Self::Head => f.write_str("the hash in log_head differs from the hash of the event"),
            Self::HeadTime => f.write_str("the time in log_head differs from the time of the event"),
            Self::TimeBack => f.write_str("the event has an earlier time than the event before it"),
            Self::MissingHead => f.write_str("log_head has no row, so the end of the log cannot be verified"),
            Self::TrustedDiffers { after } => {
                f.write_str("neither the hash nor the root of the log matches the trusted head here: either the log was rewritten")?;
                if *after > Position::BEGINNING {
                    write!(f, " after {after}")?;
                }
                f.write_str(", or that head is from another log or is mistyped")
            }
        }
    }
}

/// Verifies the log up to its current head, and against every trusted head. Appends may continue during the
/// verification.
///
/// Calls `progress` with the position reached, every few hundred events. Memory use does not grow with the
/// log. Reading and hashing run in two tasks, so verification uses two cores.
///
/// # Errors
///
/// [`Error::Database`] or [`Error::Timeout`] if the log could not be read. An inconsistent log is not an
/// error but a [`Mismatch`].
pub async fn verify(
    log: &EventLog,
    trusted: Vec<Trusted>,
    progress: impl FnMut(Position) + Send + 'static,
) -> Result<Result<Verified, Mismatch>> {
    let ends = Ends::read(log).await?;
    if let Some(mismatch) = ends.before_first() {
        return Ok(Err(mismatch));
    }
    let end = ends.end();
    let blocks = scan(log.database(), Columns::All, Position::BEGINNING, end);
    let chain = Chain::new(trusted, end);
    let checked = tokio::task::spawn_blocking(move || chain.check(blocks, progress))
        .await
        .map_err(|_| Error::Interrupted)??;
    let (whole, beyond) = match checked {
        Ok(checked) => checked,
        Err(Broken::At(mismatch)) => return Ok(Err(mismatch)),
        Err(Broken::Unlinked { position, previous }) => {
            let problem = diagnosis::problem(log, position, &previous, ends.head.as_ref()).await?;
            return Ok(Err(Mismatch { position, problem }));
        }
    };
    // If `log_head` is inconsistent, a trusted head beyond it is not reported.
    let mismatch = ends.mismatch(log).await?.or_else(|| {
        beyond.map(|trusted| Mismatch {
            position: whole.position.next(),
            problem: Problem::TrustedBeyond {
                trusted: trusted.position,
                end: whole.position,
            },
        })
    });
    Ok(mismatch.map_or(Ok(whole), Err))
}

/// Returns the head of the log if it is consistent with the first and last events and with the event at its
/// position. Earlier events are not verified. Proofs, exports and kept heads all rely on this head.
///
/// # Errors
///
/// [`Error::Database`] or [`Error::Timeout`] if the log could not be read; [`Error::MissingHead`].
pub async fn head(log: &EventLog) -> Result<Result<Head, Mismatch>> {
    let ends = Ends::read(log).await?;
    let mismatch = match ends.before_first() {
        None => ends.mismatch(log).await?,
        mismatch => mismatch,
    };
    match (mismatch, ends.head) {
        (Some(mismatch), _) => Ok(Err(mismatch)),
        (None, Some(head)) => Ok(Ok(head)),
        (None, None) => Err(Error::MissingHead),
    }
}
