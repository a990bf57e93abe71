//! Retention: how long a deleted patient is kept before it may be erased.

use std::fmt;
use std::str::FromStr;

use chrono::{Days, Months};
use domain::{ErasureReason, PATIENT_DELETED};
use eventstore::{EventFilter, EventLog, Position, Timestamp};
use uuid::Uuid;

use crate::erasure::erased_among;

mod due;

pub(crate) use due::{ErasureDue, erasures_due};

/// The time for which patients are kept after their deletion, of at least a day and at most 100 years. It
/// counts days, months or years of the calendar, in UTC.
///
/// ```
/// # use api::retention::RetentionPeriod;
/// # use eventstore::Timestamp;
/// let period: RetentionPeriod = "18mo".parse()?;
/// assert_eq!(period.to_string(), "18mo");
/// let deleted: Timestamp = "2026-08-31T10:00:00Z".parse()?;
/// assert_eq!(period.after(deleted).to_string(), "2028-02-29T10:00:00.000000Z");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionPeriod {
    number: u32,
    unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Days,
    Months,
    Years,
}

impl Unit {
    const ALL: [Self; 3] = [Self::Days, Self::Months, Self::Years];

    const fn suffix(self) -> &'static str {
        match self {
            Self::Days => "d",
            Self::Months => "mo",
            Self::Years => "y",
        }
    }

    /// Maximum number of these units.
    const fn max(self) -> u32 {
        match self {
            Self::Days => 36_500,
            Self::Months => 1200,
            Self::Years => 100,
        }
    }
}

/// A malformed retention period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 day to 100 years, such as 90d, 18mo or 5y")]
pub struct RetentionPeriodError;

impl RetentionPeriod {
    /// Returns the moment at which the period ends that starts at `start`.
    #[must_use]
    pub fn after(self, start: Timestamp) -> Timestamp {
        let start = start.to_datetime();
        let end = start.and_then(|start| match self.unit {
            Unit::Days => start.checked_add_days(Days::new(self.number.into())),
            Unit::Months => start.checked_add_months(Months::new(self.number)),
            Unit::Years => start.checked_add_months(Months::new(self.number.checked_mul(12)?)),
        });
        end.map_or(Timestamp::LATEST, Timestamp::from)
    }
}

impl FromStr for RetentionPeriod {
    type Err = RetentionPeriodError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, suffix) = text.split_at(digits);
        let unit = Unit::ALL.into_iter().find(|unit| unit.suffix() == suffix);
        match (number.parse(), unit) {
            (Ok(number), Some(unit)) if (1..=unit.max()).contains(&number) => Ok(Self { number, unit }),
            _ => Err(RetentionPeriodError),
        }
    }
}

impl fmt::Display for RetentionPeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, self.unit.suffix())
    }
}

/// Which erasures are allowed before patients have been kept for long enough. By default, all erasures are
/// allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Time for which patients are kept after their deletion; `None` if they may be erased at any time.
    pub period: Option<RetentionPeriod>,
    /// Whether a patient may request to be erased earlier.
    pub override_for_requests: bool,
}

/// An erasure before the end of the retention period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooEarly {
    /// When the retention period ends; `None` if the patient is not deleted, so the period has not started.
    pub(crate) until: Option<Timestamp>,
}

impl Retention {
    /// Checks whether a patient may be erased at `now`.
    pub(crate) fn check(
        &self,
        reason: ErasureReason,
        deleted_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), TooEarly> {
        let Some(period) = self.period else {
            return Ok(());
        };
        if reason == ErasureReason::Request && self.override_for_requests {
            return Ok(());
        }
        let until = deleted_at.map(|at| period.after(at));
        match until {
            Some(until) if until <= now => Ok(()),
            _ => Err(TooEarly { until }),
        }
    }
}

/// A deleted patient that is not erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletedPatient {
    /// Id of the patient.
    pub id: Uuid,
    /// Position of the deletion in the log.
    pub position: Position,
    /// Time of the deletion.
    pub deleted_at: Timestamp,
}

/// Returns deleted patients that are not erased, in the order of their deletions after the position `after`
/// and up to `until`, and the position after which the next page starts. Examines at most `limit` deletions.
/// A page can be empty. `now` is the current time.
///
/// # Errors
///
/// The errors of [`EventLog::page`].
pub async fn deleted_patients(
    log: &EventLog,
    after: Position,
    until: Position,
    limit: u32,
    now: Timestamp,
) -> eventstore::Result<(Vec<DeletedPatient>, Position)> {
    let filter = EventFilter {
        event_type: Some(PATIENT_DELETED.to_owned()),
        aggregate: None,
    };
    let page = log.page(&filter, after, until, limit).await?;
    let ids: Vec<&str> = page
        .events
        .iter()
        .map(|event| event.aggregate_id.as_str())
        .collect();
    let erased = erased_among(log, &ids).await?;
    let (mut patients, mut earliest) = (Vec::new(), Timestamp::EARLIEST);
    for event in page
        .events
        .iter()
        .filter(|event| !erased.contains_key(&event.aggregate_id))
    {
        // Patients have UUIDs; the log may also have aggregates of another type.
        let Ok(id) = Uuid::try_parse(&event.aggregate_id) else {
            continue;
        };
        // The deletions before this one on the page are earlier events too.
        let deletion = (event.position, event.recorded_at.max(earliest));
        let deleted_at = right_time(log, deletion, now).await?;
        if deleted_at <= now {
            earliest = deleted_at;
        }
        patients.push(DeletedPatient {
            id,
            position: event.position,
            deleted_at,
        });
    }
    Ok((patients, page.reaches))
}

/// Returns the time of an event. If a wrong clock recorded a later time than `now`, returns the time at which
/// the log's clock was correct again, if it was. If a wrong clock recorded a time before an earlier event,
/// returns the time of the last event before the clock was wrong, so that no retention period ends too early.
pub(crate) async fn right_time(
    log: &EventLog,
    (position, recorded_at): (Position, Timestamp),
    now: Timestamp,
) -> eventstore::Result<Timestamp> {
    let time = if recorded_at <= now {
        recorded_at
    } else {
        log.right_time(position, now).await?.unwrap_or(recorded_at)
    };
    log.time_not_before_earlier_events((position, time), now).await
}
