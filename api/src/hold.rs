//! Holds, which protect patients from erasure.

use chrono::NaiveDate;
use domain::{Hold, HoldReason, PatientEvent};
use eventstore::{EventLog, Position, RecordedEvent, Timestamp};
use projector::reads::ReadError;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::erasure::StoredEvents;

mod list;

pub(crate) use list::{PAGE, PAGES, current_holds, holds};

/// The day of a moment, in UTC; `None` outside the years that calendars support.
pub(crate) fn day_of(moment: Timestamp) -> Option<NaiveDate> {
    moment.to_datetime().map(|moment| moment.date_naive())
}

/// Parses the last day of a new hold, as `YYYY-MM-DD`; `None` if the text is not a date, or the day has
/// passed at `now`.
#[must_use]
pub fn parse_until(text: &str, now: Timestamp) -> Option<NaiveDate> {
    // chrono also accepts years with a sign or more digits.
    let has_shape = text.len() == 10 && text.starts_with(|c: char| c.is_ascii_digit());
    let until: NaiveDate = text.parse().ok().filter(|_| has_shape)?;
    (day_of(now)? <= until).then_some(until)
}

/// A hold, with the event that recorded it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordedHold {
    pub(crate) hold: Hold,
    pub(crate) position: Position,
    recorded_at: Timestamp,
}

impl RecordedHold {
    /// Returns the hold as the API shows it; `now` is the current time.
    fn status(self, id: Uuid, now: Timestamp) -> HoldStatus {
        HoldStatus {
            id,
            until: self.hold.until,
            reason: self.hold.reason,
            position: self.position,
            held_at: self.recorded_at,
            expired: self.is_expired(now),
        }
    }

    /// Whether the last day has passed at `now`.
    pub(crate) fn is_expired(self, now: Timestamp) -> bool {
        day_of(now).is_some_and(|today| !self.hold.applies_on(today))
    }

    /// Reads the hold from its event.
    pub(crate) fn of(event: &RecordedEvent) -> Result<Self, ReadError> {
        let position = event.position;
        let read = PatientEvent::from_stored(&event.event_type, &event.event_version, &event.payload);
        match read {
            Ok(PatientEvent::PatientHeld { until, reason }) => Ok(Self {
                hold: Hold { until, reason },
                position,
                recorded_at: event.recorded_at,
            }),
            // The caller has compared the type.
            Ok(_) => Err(ReadError::Failed),
            Err(source) => Err(ReadError::Unreadable { position, source }),
        }
    }
}

/// The hold of a patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Hold)]
pub struct HoldStatus {
    /// Id of the patient.
    #[schema(example = "01a20c52-84f4-752b-9b94-14a23061549a")]
    pub id: Uuid,
    /// Last day of the hold, in UTC.
    #[schema(value_type = String, format = Date, example = "2031-12-31")]
    pub until: NaiveDate,
    /// Reason: `legal_claim`, `legal_obligation`, `public_health` or `research`.
    #[schema(value_type = String, example = "legal_claim")]
    pub reason: HoldReason,
    /// Position of the hold in the log.
    #[schema(value_type = i64, minimum = 1, example = 16)]
    pub position: Position,
    /// When the hold was recorded.
    #[schema(value_type = String, format = DateTime, example = "2026-11-24T08:38:47.323577Z")]
    pub held_at: Timestamp,
    /// Whether the last day has passed, so that the patient can be erased.
    #[schema(example = false)]
    pub expired: bool,
}

/// Result of a lookup of a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldLookup {
    /// The patient has this hold.
    Held(HoldStatus),
    /// The patient has no hold.
    NotHeld,
    /// The patient was erased.
    Erased,
    /// No patient has or ever had this id.
    NotFound,
}

/// Returns the hold of a patient; `now` is the current time.
///
/// # Errors
///
/// [`ReadError`].
pub async fn find(log: &EventLog, id: Uuid, now: Timestamp) -> Result<HoldLookup, ReadError> {
    let stored = StoredEvents::read(log, id).await?;
    Ok(match stored.hold {
        _ if stored.last_sequence == 0 => HoldLookup::NotFound,
        _ if stored.is_erased => HoldLookup::Erased,
        None => HoldLookup::NotHeld,
        Some(hold) => HoldLookup::Held(hold.status(id, now)),
    })
}
