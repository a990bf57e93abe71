//! Protecting a patient from erasure.

use domain::{Hold, PatientCommand};
use uuid::Uuid;

use super::contention::{TRIES, pause};
use super::error::Refused;
use super::{Cause, CommandError, Commands};

impl Commands {
    /// Records a hold of a patient, active or deleted, in place of an earlier hold. If the patient already
    /// has this hold, records nothing.
    ///
    /// # Errors
    ///
    /// [`CommandError::LogInClear`], [`CommandError::NotFound`], [`CommandError::Erased`],
    /// [`CommandError::Contended`], and the errors of the append.
    pub async fn hold(&self, id: Uuid, hold: Hold, cause: &Cause) -> Result<(), CommandError> {
        self.change_hold(id, PatientCommand::HoldPatient(hold), cause)
            .await
    }

    /// Releases the hold of a patient. Without a hold, records nothing.
    ///
    /// # Errors
    ///
    /// Same as [`Commands::hold`].
    pub async fn release_hold(&self, id: Uuid, cause: &Cause) -> Result<(), CommandError> {
        self.change_hold(id, PatientCommand::ReleaseHold, cause).await
    }

    async fn change_hold(
        &self,
        id: Uuid,
        command: PatientCommand,
        cause: &Cause,
    ) -> Result<(), CommandError> {
        // Programs of earlier versions, which may use an unencrypted log, do not know the events.
        if self.keyring().is_none() {
            return Err(CommandError::LogInClear);
        }
        let _lock = self.patients.lock(id).await?;
        for conflicts in 0..TRIES {
            match self.execute(id, command.clone(), cause, None, false).await {
                Ok(_) => return Ok(()),
                // Another command was appended first. Decide again, based on the new state.
                Err(Refused::Conflict) => pause(conflicts).await,
                Err(refused) => return Err(refused.into()),
            }
        }
        Err(CommandError::Contended)
    }
}
