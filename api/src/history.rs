//! The history of one patient: its events, and the state that they tell at any point of it.

use cqrs_es::Aggregate;
use domain::{Patient, PatientDetails, PatientState, StoredEvent, Until};
use eventstore::append::CLOCKS_APART;
use eventstore::{EventLog, Position, RecordedEvent, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use crate::reads::ReadError;

/// Events that are read at a time when a state is told.
const PAGE: u32 = 500;

/// A patient at a point of its past.
#[derive(Debug, Clone)]
pub struct Past {
    /// The patient, as the events up to there tell it.
    pub patient: Patient,
    /// The position of the last of these events.
    pub position: Position,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

impl Past {
    /// As the API and the command line show it.
    #[must_use]
    pub fn shown(&self, id: Uuid) -> ShownPast<'_> {
        let (state, details) = match self.patient.state() {
            PatientState::Active(details) => ("active", Some(details)),
            PatientState::Deleted => ("deleted", None),
            PatientState::Unregistered => ("unregistered", None),
        };
        ShownPast {
            id,
            state,
            sequence: self.patient.sequence(),
            position: self.position,
            recorded_at: self.recorded_at,
            details,
        }
    }
}

/// A patient at a point of its past; the details if it was active then.
#[derive(Debug, Serialize)]
pub struct ShownPast<'p> {
    /// The patient's id.
    pub id: Uuid,
    /// `active` or `deleted`.
    pub state: &'static str,
    /// The number of the patient's last event up to there.
    pub sequence: u64,
    /// The position of that event.
    pub position: Position,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// What was known of the patient.
    #[serde(flatten)]
    pub details: Option<&'p PatientDetails>,
}

/// What there was under an id.
#[derive(Debug, Clone)]
pub enum Told {
    /// A patient.
    Patient(Past),
    /// Nobody yet, but somebody later.
    NobodyYet,
    /// Nobody, to this day.
    Nobody,
    /// A patient, who has no event with the sequence that was asked for.
    NoSuchSequence {
        /// The sequence of the patient's last event up to there; 0 if there is none.
        last: u64,
    },
    /// The moment is still to come, and what will be recorded until then is not known.
    Future,
}

/// What the record of reads says of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToldEntry {
    /// No entry: the request was refused.
    None,
    /// There was nothing to read.
    NotFound,
    /// The state just after the event with this sequence was given.
    Given(u64),
}

impl ToldEntry {
    /// The sequences that were read: after the first, up to the second.
    #[must_use]
    pub const fn sequences(self) -> Option<(u64, u64)> {
        match self {
            Self::Given(sequence) => Some((sequence.saturating_sub(1), sequence)),
            Self::None | Self::NotFound => None,
        }
    }
}

impl Told {
    /// What the record of reads says of this answer, over HTTP and from the command line alike.
    #[must_use]
    pub const fn entry(&self) -> ToldEntry {
        match self {
            Self::Patient(past) => ToldEntry::Given(past.patient.sequence()),
            Self::NobodyYet | Self::Nobody | Self::NoSuchSequence { .. } => ToldEntry::NotFound,
            Self::Future => ToldEntry::None,
        }
    }
}

/// Reads histories: from the log alone, so that they include deleted patients and what is not projected yet.
/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct PatientHistory {
    log: EventLog,
}

impl PatientHistory {
    /// The histories in that log.
    #[must_use]
    pub const fn new(log: EventLog) -> Self {
        Self { log }
    }

    /// At most `limit` of a patient's events after the sequence `after`, in order.
    ///
    /// # Errors
    ///
    /// [`ReadError::Store`].
    pub async fn events(&self, id: Uuid, after: u64, limit: u32) -> Result<Vec<RecordedEvent>, ReadError> {
        let id = id.to_string();
        Ok(self.log.history(Patient::TYPE, &id, after, limit).await?)
    }

    /// The patient just after the last event that `until` takes.
    ///
    /// # Errors
    ///
    /// [`ReadError::Store`]; [`ReadError::Unreadable`] if one of these events cannot be read.
    pub async fn state(&self, id: Uuid, until: Until<Timestamp>) -> Result<Told, ReadError> {
        self.state_as_of(id, until, None).await
    }

    /// As [`PatientHistory::state`]. If the time is given, an event that was recorded in its future, which is
    /// by a wrong clock, counts from when the log had the right time again.
    async fn state_as_of(
        &self,
        id: Uuid,
        until: Until<Timestamp>,
        now: Option<Timestamp>,
    ) -> Result<Told, ReadError> {
        let mut patient = Patient::default();
        let mut last = None;
        'replay: loop {
            let events = self.events(id, patient.sequence(), PAGE).await?;
            let full = events.len() >= PAGE as usize;
            for event in events {
                let happened_at = match now {
                    Some(now) if event.recorded_at > now => self.log.right_time(event.position, now).await?,
                    _ => None,
                };
                if !until.takes(event.sequence, &happened_at.unwrap_or(event.recorded_at)) {
                    if last.is_none() {
                        return Ok(Told::NobodyYet);
                    }
                    break 'replay;
                }
                let (position, recorded_at) = (event.position, event.recorded_at);
                patient
                    .replay([stored(event)], &Until::Now)
                    .map_err(|source| ReadError::Unreadable { position, source })?;
                last = Some((position, recorded_at));
            }
            if !full {
                break;
            }
        }
        Ok(last.map_or(Told::Nobody, |(position, recorded_at)| {
            Told::Patient(Past {
                patient,
                position,
                recorded_at,
            })
        }))
    }

    /// The patient just after its event with that sequence.
    ///
    /// # Errors
    ///
    /// As [`PatientHistory::state`].
    pub async fn after(&self, id: Uuid, sequence: u64) -> Result<Told, ReadError> {
        Ok(match self.state(id, Until::Sequence(sequence)).await? {
            Told::Patient(past) if past.patient.sequence() != sequence => Told::NoSuchSequence {
                last: past.patient.sequence(),
            },
            Told::NobodyYet => Told::NoSuchSequence { last: 0 },
            told => told,
        })
    }

    /// The patient as it was at `moment`, asked at `now`.
    ///
    /// # Errors
    ///
    /// As [`PatientHistory::state`].
    pub async fn at(&self, id: Uuid, moment: Timestamp, now: Timestamp) -> Result<Told, ReadError> {
        // Another process's clock may be ahead of this one's.
        if moment > now && (moment > now + CLOCKS_APART || moment > self.log.head().await?.recorded_at) {
            return Ok(Told::Future);
        }
        self.state_as_of(id, Until::Moment(moment), Some(now)).await
    }
}

fn stored(event: RecordedEvent) -> StoredEvent<Timestamp> {
    StoredEvent {
        sequence: event.sequence,
        recorded_at: event.recorded_at,
        event_type: event.event_type,
        event_version: event.event_version,
        payload: event.payload,
    }
}
