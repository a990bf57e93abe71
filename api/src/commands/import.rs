//! Importing patients of another service.

use std::collections::{HashMap, HashSet};

use cqrs_es::Aggregate;
use domain::{
    Import, ImportSource, OldId, Patient, PatientCommand, PatientDetails, PatientEvent, mailbox_key,
};
use eventstore::sealing::Keyring;
use eventstore::{EventLog, KeysPlace, LogFormat, RecordedEvent};
use uuid::Uuid;

use super::error::{Refused, unavailable};
use super::key::ImportIds;
use super::{Cause, ClaimScheme, CommandError, Commands, Events, claims_of};

/// Result of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// The patient was registered.
    Now,
    /// A patient with this old id was imported before. It may have been amended, deleted or erased since.
    Before(Earlier),
}

/// What an earlier import of the same old id registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// This patient. The registration had the same name or the same email, or cannot be read, for example
    /// because the patient was erased.
    SamePatient,
    /// A patient with another name and another email. Two services may have been imported as one source.
    OtherPatient,
}

impl Earlier {
    fn of(first: &RecordedEvent, import: &Import) -> Self {
        match first.content(PatientEvent::from_stored) {
            Ok(Some(PatientEvent::PatientRegistered { name, email, .. }))
                if name != import.registration.name.as_str()
                    && mailbox_key(&email) != mailbox_key(import.registration.email.as_str()) =>
            {
                Self::OtherPatient
            }
            _ => Self::SamePatient,
        }
    }
}

/// Like [`Commands::ids_of_import`]. `keyring` is the keyring of the log, if the log is sealed.
#[must_use]
pub fn ids_of_import(source: &ImportSource, old_id: &OldId, keyring: Option<&Keyring>) -> [Uuid; 2] {
    ImportIds::of(source, old_id, keyring).all()
}

impl Commands {
    /// Returns the ids that a patient of a source may have: the id with which it is imported, and the id with
    /// which it was imported while the log was unencrypted.
    #[must_use]
    pub fn ids_of_import(&self, source: &ImportSource, old_id: &OldId) -> [Uuid; 2] {
        ids_of_import(source, old_id, self.keyring().as_deref())
    }

    /// Returns for each of these imports what an import of the same old id registered before, if any. The
    /// patients are looked up in one statement.
    ///
    /// # Errors
    ///
    /// [`CommandError::Unavailable`] and the other errors of reading the log.
    pub async fn imported_before(&self, imports: &[&Import]) -> Result<Vec<Option<Earlier>>, CommandError> {
        let ids: Vec<[String; 2]> = imports
            .iter()
            .map(|import| self.ids_of_import(&import.source, &import.old_id))
            .map(|ids| ids.map(|id| id.to_string()))
            .collect();
        let all: HashSet<&str> = ids.iter().flatten().map(String::as_str).collect();
        let all: Vec<&str> = all.into_iter().collect();
        let found = async {
            let mut connection = self.log.database().reader().await?;
            EventLog::first_events_of(&mut connection, Patient::TYPE, &all).await
        };
        let found = found.await.map_err(|error| {
            tracing::error!(%error, "the log could not be read");
            unavailable(&error)
        })?;
        let found: HashMap<&str, &RecordedEvent> = found
            .iter()
            .map(|event| (event.aggregate_id.as_str(), event))
            .collect();
        let earlier = |(import, ids): (&&Import, &[String; 2])| {
            let first = ids.iter().find_map(|id| found.get(id.as_str()))?;
            Some(Earlier::of(first, import))
        };
        Ok(imports.iter().zip(&ids).map(earlier).collect())
    }

    /// Whether every import accesses a database before its append, because it stores a data key in the keys'
    /// database or looks up the claims of an older log.
    #[must_use]
    pub fn import_needs_connection(&self) -> bool {
        self.sealing().is_some_and(|sealing| {
            let is_elsewhere = matches!(
                sealing.keys().format(),
                LogFormat::Sealed(_, KeysPlace::Elsewhere)
            );
            is_elsewhere || ClaimScheme::of(sealing.claims()) == Ok(ClaimScheme::Upgrading)
        })
    }

    /// Registers a patient of another service. The id is derived from the source and the old id, so a patient
    /// is never imported twice, even by another process. A patient who was imported before the log was sealed
    /// must be found by [`Commands::imported_before`].
    ///
    /// # Errors
    ///
    /// [`CommandError::EmailTaken`], and the errors of the append.
    pub async fn import(&self, import: Import, cause: &Cause) -> Result<Imported, CommandError> {
        let [id, _] = self.ids_of_import(&import.source, &import.old_id);
        self.check_older_claims(id, import.registration.email.as_str())
            .await?;
        let command = PatientCommand::ImportPatient(Box::new(import.clone()));
        match self.execute_with(id, command, cause, None, Events::None).await {
            Ok(_) => Ok(Imported::Now),
            Err(Refused::Failed(CommandError::Erased)) => Ok(Imported::Before(Earlier::SamePatient)),
            // Another row or another process imported the old id a moment ago.
            Err(Refused::Conflict) => {
                let earlier = self.imported_before(&[&import]).await?.pop().flatten();
                earlier.map(Imported::Before).ok_or(CommandError::Internal)
            }
            Err(refused) => Err(refused.into()),
        }
    }

    /// Whether a patient with these details cannot be registered now, because an active patient has the
    /// email.
    ///
    /// # Errors
    ///
    /// [`CommandError::Unavailable`] and the other errors of reading the log.
    pub async fn is_taken(&self, details: &PatientDetails) -> Result<bool, CommandError> {
        let held = claims_of(self.sealing())?.of_details(details);
        let claims = held
            .iter()
            .filter(|held| !held.optional)
            .flat_map(|held| std::iter::once(&held.claim).chain(&held.older));
        for claim in claims {
            let holder = async {
                let mut connection = self.log.database().reader().await?;
                claim.holder(&mut connection).await
            };
            match holder.await {
                Ok(None) => {}
                Ok(Some(_)) => return Ok(true),
                Err(error) => {
                    tracing::error!(%error, "a claim could not be read");
                    return Err(unavailable(&error));
                }
            }
        }
        Ok(false)
    }
}
