//! The patient aggregate: its state, and the commands that it accepts.

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use crate::{Hold, PatientCommand, PatientDetails, PatientError, PatientEvent, evolve};

/// A patient, reconstructed from its events.
///
/// A patient is registered once, amended any number of times and deleted at most once, and its id is never
/// reused. The aggregate does not enforce that active patients have different emails, because it knows only
/// one patient. See [`email_claim_key`](crate::email_claim_key).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patient {
    state: PatientState,
    sequence: u64,
    hold: Option<Hold>,
}

/// Lifecycle state of a patient.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PatientState {
    /// Not registered. The patient has no events.
    #[default]
    Unregistered,
    /// Registered and not deleted.
    Active(PatientDetails),
    /// Deleted. Only the history still contains the details.
    Deleted,
    /// Erased. The details can no longer be read.
    Erased,
}

impl Patient {
    /// Lifecycle state of the patient.
    #[must_use]
    pub const fn state(&self) -> &PatientState {
        &self.state
    }

    /// Details of the patient, if it is active.
    #[must_use]
    pub const fn details(&self) -> Option<&PatientDetails> {
        match &self.state {
            PatientState::Active(details) => Some(details),
            PatientState::Unregistered | PatientState::Deleted | PatientState::Erased => None,
        }
    }

    /// Number of applied events, which is the sequence of the last applied event.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The hold that was recorded last and not released. Its last day may have passed.
    #[must_use]
    pub const fn hold(&self) -> Option<&Hold> {
        self.hold.as_ref()
    }

    /// Returns the events that the command causes: an empty list if the command changes nothing.
    fn decide(&self, command: PatientCommand) -> Result<Vec<PatientEvent>, PatientError> {
        match command {
            PatientCommand::RegisterPatient(registration) => self.register(registration.into()),
            PatientCommand::ImportPatient(import) => self.register((*import).into()),
            PatientCommand::AmendPatient {
                amendment,
                expected_sequences,
            } => Ok(amendment
                .changes(self.active(expected_sequences.as_deref())?)
                .into_iter()
                .collect()),
            PatientCommand::DeletePatient { expected_sequences } => {
                self.active(expected_sequences.as_deref())?;
                Ok(vec![PatientEvent::PatientDeleted {}])
            }
            PatientCommand::ErasePatient { reason, scope, today } => {
                self.not_erased()?;
                if let Some(hold) = self.hold.filter(|hold| hold.applies_on(today)) {
                    return Err(PatientError::Held { until: hold.until });
                }
                let deleted = self.details().map(|_| PatientEvent::PatientDeleted {});
                let erased = PatientEvent::PatientErased { reason, scope };
                Ok(deleted.into_iter().chain([erased]).collect())
            }
            PatientCommand::HoldPatient(hold) => {
                self.not_erased()?;
                let Hold { until, reason } = hold;
                let is_new = self.hold != Some(hold);
                Ok(Vec::from_iter(
                    is_new.then_some(PatientEvent::PatientHeld { until, reason }),
                ))
            }
            PatientCommand::ReleaseHold => {
                self.not_erased()?;
                Ok(Vec::from_iter(
                    self.hold.map(|_| PatientEvent::PatientHoldReleased {}),
                ))
            }
        }
    }

    /// Returns the event of a registration. A patient is registered once.
    fn register(&self, event: PatientEvent) -> Result<Vec<PatientEvent>, PatientError> {
        match self.state {
            PatientState::Unregistered => Ok(vec![event]),
            PatientState::Active(_) => Err(PatientError::AlreadyRegistered),
            PatientState::Deleted => Err(PatientError::Deleted),
            PatientState::Erased => Err(PatientError::Erased),
        }
    }

    /// Rejects a patient that is unregistered or erased.
    const fn not_erased(&self) -> Result<(), PatientError> {
        match self.state {
            PatientState::Unregistered => Err(PatientError::NotFound),
            PatientState::Erased => Err(PatientError::Erased),
            PatientState::Active(_) | PatientState::Deleted => Ok(()),
        }
    }

    /// Returns the details of the patient, who must be active and at one of the expected sequences, if any
    /// are given.
    fn active(&self, expected_sequences: Option<&[u64]>) -> Result<&PatientDetails, PatientError> {
        match (&self.state, expected_sequences) {
            (PatientState::Unregistered, _) => Err(PatientError::NotFound),
            (PatientState::Deleted, _) => Err(PatientError::Deleted),
            (PatientState::Erased, _) => Err(PatientError::Erased),
            (PatientState::Active(_), Some(expected)) if !expected.contains(&self.sequence) => {
                Err(PatientError::SequenceMismatch {
                    actual: self.sequence,
                })
            }
            (PatientState::Active(details), _) => Ok(details),
        }
    }
}

impl Aggregate for Patient {
    const TYPE: &'static str = "patient";
    type Command = PatientCommand;
    type Event = PatientEvent;
    type Error = PatientError;
    type Services = ();

    async fn handle(
        &mut self,
        command: Self::Command,
        (): &Self::Services,
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        for event in self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Self::Event) {
        self.sequence += 1;
        match event {
            PatientEvent::PatientHeld { until, reason } => self.hold = Some(Hold { until, reason }),
            PatientEvent::PatientHoldReleased {} => self.hold = None,
            PatientEvent::PatientErased { .. } => {
                self.state = PatientState::Erased;
                self.hold = None;
            }
            PatientEvent::PatientRegistered { .. }
            | PatientEvent::PatientAmended { .. }
            | PatientEvent::PatientDeleted {} => {
                let before = match std::mem::take(&mut self.state) {
                    PatientState::Active(details) => Some(details),
                    PatientState::Unregistered | PatientState::Deleted | PatientState::Erased => None,
                };
                self.state = evolve(before, event).map_or(PatientState::Deleted, PatientState::Active);
            }
        }
    }
}
