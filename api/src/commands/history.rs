//! The events of one patient, as a command needs them.

use cqrs_es::Aggregate;
use domain::{Amendment, Patient, PatientDetails, PatientEvent, evolve};
use eventstore::{EventLog, Position, RecordedEvent};
use projector::eraser;
use uuid::Uuid;

use super::key::AmendmentIds;
use super::{Amended, CommandError};

/// Metadata field with the id that is derived from the `Idempotency-Key` of an amendment.
pub(super) const COMMAND_ID: &str = "command_id";

/// The patient was erased, so its events cannot be read.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the patient was erased")]
pub(super) struct Erased;

/// All events of a patient, in order.
pub(super) struct History(Vec<(RecordedEvent, PatientEvent)>);

/// The event that a key was first used for, with the states around it.
pub(super) struct FirstAmendment {
    before: PatientDetails,
    event: PatientEvent,
    after: Amended,
}

impl History {
    pub(super) async fn read(
        log: &EventLog,
        id: Uuid,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let mut connection = log.database().reader().await?;
        let ids = [id.to_string()];
        let ids = ids.each_ref().map(String::as_str);
        let events = EventLog::events_of(&mut connection, Patient::TYPE, &ids, Position::BEGINNING).await?;
        let mut parsed = Vec::with_capacity(events.len());
        if events.iter().any(eraser::is_erasure) {
            return Err(Erased.into());
        }
        for recorded in events {
            let event = recorded.content(PatientEvent::from_stored)?.ok_or(Erased)?;
            parsed.push((recorded, event));
        }
        Ok(Self(parsed))
    }

    /// Returns the state after the event at `position`.
    pub(super) fn at(&self, position: Position) -> Result<Amended, CommandError> {
        self.states()
            .find(|(recorded, _, _)| recorded.position == position)
            .and_then(|(recorded, _, after)| amended(recorded, after))
            .ok_or(CommandError::Internal)
    }

    /// Returns the current state of an active patient.
    pub(super) fn now(&self) -> Result<Amended, CommandError> {
        let (recorded, _, after) = self.states().last().ok_or(CommandError::NotFound)?;
        amended(recorded, after).ok_or(CommandError::Deleted)
    }

    /// Returns the amendment that was recorded with one of these ids.
    pub(super) fn amended_as(&self, ids: AmendmentIds) -> Option<FirstAmendment> {
        let ids = [ids.id, ids.in_clear].map(|id| id.to_string());
        let position = self
            .0
            .iter()
            .position(|(recorded, _)| ids.iter().any(|id| recorded.metadata[COMMAND_ID] == *id))?;
        let before = self.states().nth(position.checked_sub(1)?)?.2?;
        let (recorded, event, after) = self.states().nth(position)?;
        Some(FirstAmendment {
            before,
            event: event.clone(),
            after: amended(recorded, after)?,
        })
    }

    /// Returns each event with the details after it.
    fn states(&self) -> impl Iterator<Item = (&RecordedEvent, &PatientEvent, Option<PatientDetails>)> {
        let mut details = None;
        self.0.iter().map(move |(recorded, event)| {
            details = evolve(details.take(), event.clone());
            (recorded, event, details.clone())
        })
    }
}

impl FirstAmendment {
    /// Returns the answer to the first request if `amendment` is the same request.
    pub(super) fn again(self, amendment: &Amendment, expected: u64) -> Result<Amended, CommandError> {
        let same = self.after.sequence == expected + 1
            && amendment.clone().changes(&self.before).as_ref() == Some(&self.event);
        if same {
            Ok(self.after)
        } else {
            Err(CommandError::IdempotencyKeyReused)
        }
    }
}

fn amended(recorded: &RecordedEvent, details: Option<PatientDetails>) -> Option<Amended> {
    Some(Amended {
        details: details?,
        sequence: recorded.sequence,
        position: recorded.position,
    })
}
