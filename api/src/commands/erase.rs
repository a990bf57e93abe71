//! Erasing a patient.

use cqrs_es::{Aggregate, DomainEvent};
use domain::{ErasureReason, ErasureScope, Patient, PatientCommand, PatientError, PatientEvent};
use eventstore::sealing::SealingError;
use eventstore::{Append, AppendError, ClaimChange, NewEvent, Timestamp};
use projector::eraser;
use projector::reads::ReadError;
use tracing::Span;
use uuid::Uuid;

use super::contention::{TRIES, pause};
use super::error::{self, Refused, unavailable};
use super::{Cause, CommandError, Commands};
use crate::erasure::{self, Erasure, StoredEvents};
use crate::hold;
use crate::retention::{TooEarly, right_time};

impl Commands {
    /// Erases a patient: records the erasure, and destroys the patient's data key. Subscriptions destroy the
    /// other data, and the key if this process is killed between the two steps. If the patient was already
    /// erased, returns the first erasure.
    ///
    /// # Errors
    ///
    /// [`CommandError::LogInClear`], [`CommandError::NotFound`], [`CommandError::Held`],
    /// [`CommandError::Retained`], [`CommandError::Contended`], and the errors of the append.
    pub async fn erase(
        &self,
        id: Uuid,
        reason: ErasureReason,
        cause: &Cause,
    ) -> Result<Erasure, CommandError> {
        if self.keyring().is_none() {
            return Err(CommandError::LogInClear);
        }
        let _lock = self.patients.lock(id).await?;
        for conflicts in 0..TRIES {
            if let Some(erasure) = self.found_erasure(id).await? {
                return Ok(erasure);
            }
            let stored = StoredEvents::read(&self.log, id).await.map_err(unread)?;
            let scope = if stored.in_clear.is_empty() {
                ErasureScope::Full
            } else {
                ErasureScope::Partial
            };
            let now = self.clock.now();
            self.check_retention(reason, &stored, now).await?;
            let today = hold::day_of(now).ok_or(CommandError::ClockWrong)?;
            let command = PatientCommand::ErasePatient { reason, scope, today };
            let erased = PatientEvent::PatientErased { reason, scope };
            match self.execute(id, command, cause, None, false).await {
                // The event is durable, so a failure to read it must not say that nothing was written.
                Ok(_) => {
                    let found = self.found_erasure(id).await;
                    return found.ok().flatten().ok_or(CommandError::OutcomeUnknown);
                }
                // The loop finds the erasure that another request has recorded, or decides again.
                Err(Refused::Conflict | Refused::Business(PatientError::Erased)) => pause(conflicts).await,
                // The key is destroyed. If the log lacks the erasure, the log was restored from a backup.
                Err(Refused::Failed(CommandError::Erased)) => {
                    if let Some(erasure) = self.found_erasure(id).await? {
                        return Ok(erasure);
                    }
                    self.record_lost_erasure(id, &stored, erased, cause).await?;
                    let found = self.found_erasure(id).await;
                    if let Some(erasure) = found.map_err(|_| CommandError::OutcomeUnknown)? {
                        return Ok(erasure);
                    }
                }
                Err(refused) => return Err(refused.into()),
            }
        }
        self.found_erasure(id).await?.ok_or(CommandError::Contended)
    }

    /// Rejects the erasure of a patient whose retention period has not ended.
    async fn check_retention(
        &self,
        reason: ErasureReason,
        stored: &StoredEvents,
        now: Timestamp,
    ) -> Result<(), CommandError> {
        if stored.last_sequence == 0 {
            return Err(CommandError::NotFound);
        }
        let deleted_at = match stored.deletion {
            None => None,
            Some(deletion) => {
                let right = right_time(&self.log, deletion, now).await;
                Some(right.map_err(|error| unread(error.into()))?)
            }
        };
        self.retention
            .check(reason, deleted_at, now)
            .map_err(|TooEarly { until }| CommandError::Retained { until })
    }

    /// Returns the erasure of a patient, if the log has it. First destroys the patient's data key.
    async fn found_erasure(&self, id: Uuid) -> Result<Option<Erasure>, CommandError> {
        let found = erasure::find(&self.log, id).await.map_err(unread)?;
        if let Some(erasure) = &found {
            self.destroy_key(erasure).await;
        }
        Ok(found)
    }

    /// Records the erasure of a patient whose data key is destroyed, although the log does not have the
    /// erasure. The patient's email is unknown, so all claims of the patient are released.
    async fn record_lost_erasure(
        &self,
        id: Uuid,
        stored: &StoredEvents,
        erased: PatientEvent,
        cause: &Cause,
    ) -> Result<(), CommandError> {
        let Some(sealing) = self.sealing() else {
            return Err(CommandError::LogInClear);
        };
        let aggregate_id = id.to_string();
        let deleted = stored
            .deletion
            .is_none()
            .then_some(PatientEvent::PatientDeleted {});
        let events = deleted.into_iter().chain([erased]);
        let metadata = serde_json::to_value(cause.metadata(&Span::current()));
        let metadata = metadata.map_err(|_| CommandError::Internal)?;
        let events = (stored.last_sequence + 1..)
            .zip(events)
            .map(|(sequence, event)| {
                Ok(NewEvent {
                    aggregate_type: Patient::TYPE.to_owned(),
                    aggregate_id: aggregate_id.clone(),
                    sequence,
                    event_type: event.event_type(),
                    event_version: event.event_version(),
                    payload: serde_json::to_value(&event).map_err(|_| CommandError::Internal)?,
                    metadata: metadata.clone(),
                })
            })
            .collect::<Result<_, CommandError>>()?;
        let append =
            Append::new(events, vec![ClaimChange::ReleaseAll]).map_err(|_| CommandError::Internal)?;
        match self.appends.append(append.sealed(sealing.keys(), None)).await {
            // The caller decides again.
            Ok(_) | Err(AppendError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error::append_failed(id, &error)),
        }
    }

    /// Destroys the data key of an erased patient. If this fails, the subscription destroys it.
    async fn destroy_key(&self, erasure: &Erasure) {
        let (database, id) = (self.log.database(), erasure.patient.to_string());
        let destroyed = async {
            let keys = database.sealing().ok_or(SealingError::NotOpened)?.keys();
            let mut writer = database.writer().await?;
            eraser::destroy_key(keys, &mut writer, &id, erasure.recorded_at).await
        };
        if let Err(error) = destroyed.await {
            tracing::warn!(patient.id = %id, %error, "a data key is not destroyed yet; the projector destroys it");
        }
    }
}

/// Classifies a failed read of a patient's events before anything was written.
fn unread(error: ReadError) -> CommandError {
    tracing::error!(%error, "a patient's events could not be read");
    match error {
        ReadError::Store(error) => unavailable(&error),
        ReadError::Unreadable { .. } => CommandError::Unreadable,
        _ => CommandError::Unavailable,
    }
}
