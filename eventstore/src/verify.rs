//! Checking a whole log.
//!
//! Every link of the chain is made anew from the columns of its event and compared with the one that is stored, from the
//! first event to `log_head`. What does not fit is named: the first position, and as far as the log itself can tell,
//! what was done there.
//!
//! A log that fits in itself may still have been written anew from some event on, with every link made again. Only
//! whoever has kept an earlier head finds that: see [`Trusted`].

mod chain;
mod diagnosis;
mod trusted;

use std::fmt;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::database::Session;
use crate::error::{Error, Result};
use crate::event::{Hash, Position};
use crate::log::{EventLog, Head};
use crate::scan::{Columns, scan};
use chain::{Broken, Chain};

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

/// A step back of the times by more than [`CLOCKS_APART`](crate::append::CLOCKS_APART): the events before it were recorded by a
/// wrong clock, and the log goes on with the right time.
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
    /// The log ends before an event that a trusted head names.
    CutOff {
        /// Where the log ends now.
        end: Position,
    },
    /// A column cannot be read as what it should be.
    Unreadable {
        /// Which one, and how not.
        what: &'static str,
    },
    /// A column other than `hash` was altered: the next event follows from the stored hash, and the event does not give it.
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
    /// The event was added behind `log_head`.
    BehindHead,
    /// The event has a position before the first.
    BeforeFirst,
    /// `log_head` names another hash than that of the event it points to.
    Head,
    /// `log_head` names another time than that of the event it points to. The next event would be recorded at that time.
    HeadTime,
    /// The event's time is before that of the event before it, by less than an append goes back after a wrong clock.
    TimeBack,
    /// `log_head` has no row.
    NoHead,
    /// Everything fits in itself but not the trusted head: the log was written anew.
    Rewritten {
        /// The last position at which another trusted head fits; 0 if there is none.
        after: Position,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the event is missing"),
            Self::CutOff { end } => {
                write!(
                    f,
                    "the event is missing: the log ends at {end}, before the trusted head"
                )
            }
            Self::Unreadable { what } => write!(f, "the event cannot be read: {what}"),
            Self::Altered => f.write_str("the event was altered: its columns do not give its hash"),
            Self::HashAltered => f.write_str("the event's hash was altered: its other columns fit"),
            Self::Swapped { with } => write!(f, "the event changed places with the one at {with}"),
            Self::Added => f.write_str("an event was put in before the one that was recorded there"),
            Self::Moved { to } => write!(f, "the event that was recorded there is now at {to}"),
            Self::Replaced => f.write_str("the event is not the one that was recorded there"),
            Self::BehindHead => f.write_str("the event was added behind the head of the log"),
            Self::BeforeFirst => f.write_str("the event was added before the first one"),
            Self::Head => f.write_str("log_head names another hash than the event has"),
            Self::HeadTime => f.write_str("log_head names another time than the event was recorded at"),
            Self::TimeBack => f.write_str("the event has an earlier time than the one before it"),
            Self::NoHead => f.write_str("log_head has no row: nothing says that the log ends here"),
            Self::Rewritten { after } => {
                f.write_str("the log fits in itself, but not the trusted head: it was written anew")?;
                if *after > Position::BEGINNING {
                    write!(f, ", from an event after {after} on")?;
                }
                Ok(())
            }
        }
    }
}

/// Checks the log up to its head of this moment, and against every trusted head. Appends may go on meanwhile.
///
/// `progress` is told the position that is reached, every few hundred events. Memory does not grow with the log. Reading
/// and hashing are two tasks, so two cores are used.
///
/// # Errors
///
/// [`Error::Database`], [`Error::Timeout`]: it could not be checked. What does not fit is no error but a [`Misfit`].
pub async fn verify(
    log: &EventLog,
    trusted: Vec<Trusted>,
    progress: impl FnMut(Position) + Send + 'static,
) -> Result<Result<Verified, Misfit>> {
    let bounds = Bounds::read(log).await?;
    if let Some(misfit) = bounds.before_first() {
        return Ok(Err(misfit));
    }
    let end = bounds.end();
    let blocks = scan(log.database(), Columns::All, Position::BEGINNING, end);
    let chain = Chain::new(trusted, end);
    let checked = tokio::task::spawn_blocking(move || chain.check(blocks, progress))
        .await
        .map_err(|_| Error::Interrupted)??;
    let whole = match checked {
        Ok(whole) => whole,
        Err(Broken::At(misfit)) => return Ok(Err(misfit)),
        Err(Broken::Link { position, previous }) => {
            let problem = diagnosis::problem(log, position, &previous, bounds.head.as_ref()).await?;
            return Ok(Err(Misfit { position, problem }));
        }
    };
    Ok(bounds.misfit_of_head(&whole).map_or(Ok(whole), Err))
}

/// The head, and the ends of the table, all of one moment.
struct Bounds {
    head: Option<Head>,
    first: Option<i64>,
    last: Option<i64>,
}

impl Bounds {
    async fn read(log: &EventLog) -> Result<Self> {
        let mut connection = log.database().reader().await?;
        let sql = "SELECT h.position, h.hash, h.recorded_at, e.first_position, e.last_position \
                   FROM (SELECT MIN(position) AS first_position, MAX(position) AS last_position FROM events) e \
                   LEFT JOIN log_head h ON h.id = 1";
        // An aggregate gives a row, whatever there is.
        let row = connection
            .query(sql)
            .fetch_optional()
            .await?
            .ok_or(Error::NoHead)?;
        let head = match row.get::<Option<i64>, _>(0)? {
            Some(_) => Some(Head::of(Some(&row))?),
            None => None,
        };
        Ok(Self {
            head,
            first: row.get(3)?,
            last: row.get(4)?,
        })
    }

    /// The last position that there should be.
    fn end(&self) -> Position {
        let last = Position::at(self.last.unwrap_or_default());
        self.head.map_or(last, |head| head.position)
    }

    fn before_first(&self) -> Option<Misfit> {
        self.first.filter(|first| *first < 1).map(|first| Misfit {
            position: Position::at(first),
            problem: Problem::BeforeFirst,
        })
    }

    /// What does not fit of `log_head`, beside the chain of all events up to it.
    fn misfit_of_head(&self, whole: &Verified) -> Option<Misfit> {
        let position = whole.position;
        let misfit = |position, problem| Some(Misfit { position, problem });
        let Some(head) = self.head else {
            return misfit(position, Problem::NoHead);
        };
        if whole.hash != head.hash {
            return misfit(position, Problem::Head);
        }
        if self.last.is_some_and(|last| Position::at(last) > position) {
            return misfit(position.next(), Problem::BehindHead);
        }
        if whole.recorded_at != head.recorded_at {
            return misfit(position, Problem::HeadTime);
        }
        None
    }
}
