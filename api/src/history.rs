//! The history of a patient: its events, and its state after any of them.

use std::collections::BTreeMap;

use cqrs_es::Aggregate;
use domain::{
    PERSONAL_FIELDS, Patient, PatientDetails, PatientEvent, PatientState, ReplayEvent, Until, evolve,
    is_personal,
};
use eventstore::append::CLOCKS_APART;
use eventstore::{EventLog, Position, RecordedEvent, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use projector::reads::ReadError;

use crate::erasure;

/// Number of events read at a time while a state is rebuilt.
const PAGE: u32 = 500;

/// A past state of a patient.
#[derive(Debug, Clone)]
pub struct PastState {
    /// The patient, rebuilt from its events up to `position`.
    pub patient: Patient,
    /// Position of the last included event.
    pub position: Position,
    /// Time at which the last included event was recorded.
    pub recorded_at: Timestamp,
}

impl PastState {
    /// Returns the form that the API and the command line show. `id` is the patient's id, or the number that
    /// the request has in place of it.
    #[must_use]
    pub fn shown<I: Serialize>(&self, id: I) -> ShownPastState<'_, I> {
        let (state, details) = match self.patient.state() {
            PatientState::Active(details) => ("active", Some(details)),
            PatientState::Deleted => ("deleted", None),
            PatientState::Erased => ("erased", None),
            PatientState::Unregistered => ("unregistered", None),
        };
        ShownPastState {
            id,
            state,
            sequence: self.patient.sequence(),
            position: self.position,
            recorded_at: self.recorded_at,
            details,
        }
    }
}

/// A past state of a patient, with the details if the patient was active.
#[derive(Debug, Serialize)]
pub struct ShownPastState<'p, I> {
    /// The patient's id.
    pub id: I,
    /// `active`, `deleted`, `erased` or `unregistered`. Lookups find only active and deleted patients.
    pub state: &'static str,
    /// Sequence of the last event that the state includes.
    pub sequence: u64,
    /// Position of the last included event.
    pub position: Position,
    /// Time at which the last included event was recorded.
    pub recorded_at: Timestamp,
    /// The patient's details at that time.
    #[serde(flatten)]
    pub details: Option<&'p PatientDetails>,
}

/// An event in a patient's history.
#[derive(Debug, Clone, Serialize)]
pub struct HistoryEntry {
    /// The event, as stored.
    #[serde(flatten)]
    pub event: RecordedEvent,
    /// The details that an amendment changed, by field. Empty for other events, and if this program cannot
    /// read an earlier event.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub changes: BTreeMap<&'static str, Change>,
}

/// A changed detail of a patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Value before the event.
    pub from: String,
    /// Value after the event.
    pub to: String,
}

/// Returns the details that differ, if the patient was active before and after an event.
fn changes(
    before: Option<&PatientDetails>,
    after: Option<&PatientDetails>,
) -> BTreeMap<&'static str, Change> {
    let fields = |details: &PatientDetails| {
        let PatientDetails {
            name,
            email,
            phone,
            document_url,
        } = details.clone();
        [
            ("name", name),
            ("email", email),
            ("phone", phone),
            ("document_url", document_url),
        ]
    };
    let (Some(before), Some(after)) = (before, after) else {
        return BTreeMap::new();
    };
    fields(before)
        .into_iter()
        .zip(fields(after))
        .filter(|((_, from), (_, to))| from != to)
        .map(|((field, from), (_, to))| (field, Change { from, to }))
        .collect()
}

/// Result of a lookup of a past state.
#[derive(Debug, Clone)]
pub enum PastLookup {
    /// The patient's state.
    Found(PastState),
    /// The patient was registered later.
    NotRegisteredYet,
    /// No patient has or ever had this id.
    NotFound,
    /// The patient has no event with the requested sequence.
    NoSuchSequence {
        /// Sequence of the patient's last event, or 0 if the requested sequence is 0.
        last: u64,
    },
    /// The patient was erased, so no state can be read.
    Erased,
    /// The requested time is in the future, and more events may be recorded before it.
    InFuture,
}

/// The entry for a lookup in the record of reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupRecord {
    /// No entry: the request was rejected.
    None,
    /// There was nothing to read.
    NotFound,
    /// The state after the event with this sequence was returned.
    Given(u64),
}

impl LookupRecord {
    /// Returns the range of the sequences that were read, as an exclusive start and an inclusive end.
    #[must_use]
    pub const fn sequences(self) -> Option<(u64, u64)> {
        match self {
            Self::Given(sequence) => Some((sequence.saturating_sub(1), sequence)),
            Self::None | Self::NotFound => None,
        }
    }
}

impl PastLookup {
    /// Returns the entry for the record of reads, the same for HTTP and the command line.
    #[must_use]
    pub const fn record(&self) -> LookupRecord {
        match self {
            Self::Found(past) => LookupRecord::Given(past.patient.sequence()),
            Self::NotRegisteredYet | Self::NotFound | Self::NoSuchSequence { .. } | Self::Erased => {
                LookupRecord::NotFound
            }
            Self::InFuture => LookupRecord::None,
        }
    }
}

/// Reads histories from the log alone, so they include deleted patients and events that are not projected
/// yet. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PatientHistory {
    log: EventLog,
}

impl PatientHistory {
    /// Creates a reader of the histories in `log`.
    #[must_use]
    pub const fn new(log: EventLog) -> Self {
        Self { log }
    }

    /// Returns at most `limit` of the patient's events after the sequence `after`, in order. If the patient
    /// was erased, the events have no personal data, even if the patient's key is not destroyed yet.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub async fn events(&self, id: Uuid, after: u64, limit: u32) -> Result<Vec<RecordedEvent>, ReadError> {
        let aggregate_id = id.to_string();
        let mut events = self
            .log
            .history(Patient::TYPE, &aggregate_id, after, limit)
            .await?;
        let readable = |event: &RecordedEvent| event.erased_at.is_none() && is_personal(&event.event_type);
        if events.iter().any(readable)
            && let Some(erasure) = erasure::find(&self.log, id).await?
        {
            for event in events.iter_mut().filter(|event| readable(event)) {
                event.erase_members(PERSONAL_FIELDS, erasure.recorded_at);
            }
        }
        Ok(events)
    }

    /// Like [`PatientHistory::events`], with the details that each event changed.
    ///
    /// # Errors
    ///
    /// [`ReadError::Store`].
    pub async fn entries(&self, id: Uuid, after: u64, limit: u32) -> Result<Vec<HistoryEntry>, ReadError> {
        let events = self.events(id, after, limit).await?;
        let mut details = match self.state(id, Until::Sequence(after)).await {
            Ok(PastLookup::Found(past)) => past.patient.details().cloned(),
            Ok(_) | Err(ReadError::Unreadable { .. }) => None,
            Err(error) => return Err(error),
        };
        let entry = |event: RecordedEvent| {
            let parsed = event.content(PatientEvent::from_stored).ok().flatten();
            let before = details.take();
            details = parsed.and_then(|parsed| evolve(before.clone(), parsed));
            HistoryEntry {
                changes: changes(before.as_ref(), details.as_ref()),
                event,
            }
        };
        Ok(events.into_iter().map(entry).collect())
    }

    /// Returns the patient's state just after the last event that `until` includes.
    ///
    /// # Errors
    ///
    /// [`ReadError::Store`]; [`ReadError::Unreadable`] if one of these events cannot be read.
    pub async fn state(&self, id: Uuid, until: Until<Timestamp>) -> Result<PastLookup, ReadError> {
        self.state_as_of(id, until, None).await
    }

    /// Like [`PatientHistory::state`]. If `now` is given and a wrong clock recorded an event with a later
    /// time than `now`, the event counts from the time at which the log's clock was correct again.
    async fn state_as_of(
        &self,
        id: Uuid,
        until: Until<Timestamp>,
        now: Option<Timestamp>,
    ) -> Result<PastLookup, ReadError> {
        let mut patient = Patient::default();
        let mut last = None;
        'replay: loop {
            let events = self.events(id, patient.sequence(), PAGE).await?;
            let full = events.len() >= PAGE as usize;
            for event in events {
                if event.erased_at.is_some() {
                    return Ok(PastLookup::Erased);
                }
                let happened_at = match now {
                    Some(now) if event.recorded_at > now => self.log.right_time(event.position, now).await?,
                    _ => None,
                };
                if !until.includes(event.sequence, &happened_at.unwrap_or(event.recorded_at)) {
                    if last.is_none() {
                        return Ok(PastLookup::NotRegisteredYet);
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
        Ok(last.map_or(PastLookup::NotFound, |(position, recorded_at)| {
            PastLookup::Found(PastState {
                patient,
                position,
                recorded_at,
            })
        }))
    }

    /// Returns the patient's state just after its event with the sequence `sequence`.
    ///
    /// # Errors
    ///
    /// Same as [`PatientHistory::state`].
    pub async fn after(&self, id: Uuid, sequence: u64) -> Result<PastLookup, ReadError> {
        Ok(match self.state(id, Until::Sequence(sequence)).await? {
            PastLookup::Found(past) if past.patient.sequence() != sequence => PastLookup::NoSuchSequence {
                last: past.patient.sequence(),
            },
            PastLookup::NotRegisteredYet => PastLookup::NoSuchSequence { last: 0 },
            lookup => lookup,
        })
    }

    /// Returns the patient's state at `moment`; `now` is the current time.
    ///
    /// # Errors
    ///
    /// Same as [`PatientHistory::state`].
    pub async fn at(&self, id: Uuid, moment: Timestamp, now: Timestamp) -> Result<PastLookup, ReadError> {
        // The clock of another process may be ahead of this one.
        if moment > now && (moment > now + CLOCKS_APART || moment > self.log.head().await?.recorded_at) {
            return Ok(PastLookup::InFuture);
        }
        self.state_as_of(id, Until::Moment(moment), Some(now)).await
    }
}

fn stored(event: RecordedEvent) -> ReplayEvent<Timestamp> {
    ReplayEvent {
        sequence: event.sequence,
        recorded_at: event.recorded_at,
        event_type: event.event_type,
        event_version: event.event_version,
        payload: event.payload,
    }
}
