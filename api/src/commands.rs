//! Commands: from a parsed request to durable events, through cqrs-es.

mod claims;
mod contention;
mod erase;
mod error;
mod first_registration;
mod history;
mod hold;
mod import;
mod key;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cqrs_es::persist::PersistedEventStore;
use cqrs_es::{Aggregate, CqrsFramework};
use domain::{Amendment, Patient, PatientCommand, PatientDetails, PatientEvent, Registration, upcasters};
use eventstore::sealing::Keyring;
use eventstore::{
    AppendQueue, Appended, ClaimRules, Clock, EventLog, EventRepository, LogFormat, Position, Sealing,
    TraceContext, trace,
};
use projector::eraser;
use tracing::{Instrument, Span, field};
use uuid::Uuid;

use crate::ids::new_id;
use crate::retention::Retention;
pub use claims::{ClaimScheme, EmailClaims, UnknownScheme};
use contention::{PatientLocks, TRIES, pause};
pub use error::CommandError;
use error::{Refused, refused, unavailable};
use first_registration::FirstRegistration;
use history::{COMMAND_ID, History};
pub use import::{Earlier, Imported, ids_of_import};
use key::{AmendmentIds, KeyedIds};

/// Aggregate type, as stored in the log.
pub const AGGREGATE_TYPE: &str = Patient::TYPE;

/// Actor and request that cause a command. They become the metadata of its events.
#[derive(Debug, Clone)]
pub struct Cause {
    /// Id of the request.
    pub request_id: Uuid,
    /// Actor that sent the request.
    pub actor: String,
    /// Trace context of the request, if it has one.
    pub trace: Option<TraceContext>,
}

impl Cause {
    /// Returns the metadata of the events appended in `span`. The trace context adds about 70 bytes to each
    /// event. It is therefore included only if the trace is recorded or the client sent a trace context.
    fn metadata(&self, span: &Span) -> HashMap<String, String> {
        let mut metadata = HashMap::from([
            ("request_id".to_owned(), self.request_id.to_string()),
            ("actor".to_owned(), self.actor.clone()),
        ]);
        if let Some(context) = trace::context(span).or(self.trace) {
            metadata.insert(trace::METADATA.to_owned(), context.to_string());
        }
        metadata
    }
}

/// Result of a registration.
#[derive(Debug, Clone)]
pub struct Registered {
    /// Id of the patient.
    pub id: Uuid,
    /// Position of the event.
    pub position: Position,
    /// Registered details.
    pub details: PatientDetails,
}

/// Result of an amendment.
#[derive(Debug, Clone)]
pub struct Amended {
    /// Details after the amendment.
    pub details: PatientDetails,
    /// Sequence of the patient's last event, up to the amendment.
    pub sequence: u64,
    /// Position of that event.
    pub position: Position,
}

/// The events of a patient that a command needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Events {
    /// All events, which are read first.
    All,
    /// No events: the id is newly generated.
    New,
    /// No events: the patient must not have any. The append checks this.
    None,
}

/// Executes commands.
pub struct Commands {
    log: EventLog,
    appends: AppendQueue,
    clock: Arc<dyn Clock>,
    retention: Retention,
    /// Locks for registrations that have an idempotency key.
    registrations: PatientLocks,
    /// Locks for commands that read the events of a patient.
    patients: PatientLocks,
}

impl Commands {
    /// Creates the commands of a log, without a retention period.
    #[must_use]
    pub fn new(log: EventLog, appends: AppendQueue, clock: Arc<dyn Clock>) -> Self {
        Self {
            log,
            appends,
            clock,
            retention: Retention::default(),
            registrations: PatientLocks::default(),
            patients: PatientLocks::default(),
        }
    }

    /// Sets which erasures are allowed.
    #[must_use]
    pub fn with_retention(self, retention: Retention) -> Self {
        Self { retention, ..self }
    }

    pub(crate) async fn shutdown(&self) {
        self.appends.shutdown().await;
    }

    /// Whether the append queue is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.appends.is_full()
    }

    /// Registers a patient.
    ///
    /// If an idempotency key is given, the patient id is derived from the key and the actor. A retry
    /// therefore finds the first event of the original registration and returns the same result, even after
    /// the patient was deleted. If another actor uses the same key, the id is different. While the first
    /// request is in progress in this process, a retry is rejected. A retry in another process waits for the
    /// lock that every append takes.
    ///
    /// # Errors
    ///
    /// [`CommandError::EmailTaken`]. [`CommandError::IdempotencyKeyReused`] if the key was first used for a
    /// different registration. [`CommandError::InProgress`] if a registration with the same key is in
    /// progress. Also the errors of the append.
    pub async fn register(
        &self,
        registration: Registration,
        key: Option<&str>,
        cause: &Cause,
    ) -> Result<Registered, CommandError> {
        let details = PatientDetails::from(registration.clone());
        let ids = key.map(|key| KeyedIds::of(&cause.actor, key, self.keyring().as_deref()));
        let id = ids.map_or_else(|| new_id(self.clock.as_ref()), |ids| ids.id);
        let _lock = match ids {
            Some(_) => Some(self.registrations.try_lock(id).ok_or(CommandError::InProgress)?),
            None => None,
        };
        if let Some(ids) = ids
            && let Some(first) = self.registered_as(ids, cause).await?
        {
            return first.again(&details);
        }
        self.check_older_claims(id, &details.email).await?;
        let command = PatientCommand::RegisterPatient(registration);
        let refused = match self.execute(id, command, cause, None, true).await {
            Ok(None) => return Err(CommandError::Internal),
            Ok(Some(appended)) => {
                return Ok(Registered {
                    id,
                    position: appended.last,
                    details,
                });
            }
            Err(refused) => refused,
        };
        match (refused, ids) {
            // Another process may have completed the same registration first, and may have claimed the email
            // for it.
            (Refused::Business(_) | Refused::Conflict | Refused::OtherClaims, Some(ids)) => {
                let first = self.registered_as(ids, cause).await?;
                first.ok_or(CommandError::Internal)?.again(&details)
            }
            (Refused::Failed(CommandError::EmailTaken), Some(ids)) => {
                let first = self.registered_as(ids, cause).await?;
                first.ok_or(CommandError::EmailTaken)?.again(&details)
            }
            (Refused::Failed(error), _) => Err(error),
            (Refused::Business(_) | Refused::Conflict | Refused::OtherClaims, None) => {
                tracing::error!(patient.id = %id, "a newly generated id is already in use");
                Err(CommandError::Internal)
            }
        }
    }

    /// Returns the sealing of the log, if it is sealed.
    fn sealing(&self) -> Option<Sealing> {
        self.log.database().sealing().cloned()
    }

    /// Reads the version of the log's claim rules again.
    async fn refresh_claims(&self) -> Result<(), CommandError> {
        let (database, sealing) = (self.log.database(), self.sealing());
        let claims = LogFormat::claims(database).await;
        let claims = claims.map_err(|error| unavailable(&error))?;
        if let Some(sealing) = sealing {
            tracing::info!(claims, "the claim rules of the log have changed");
            sealing.set_claims(claims);
        }
        Ok(())
    }

    /// Returns the keyring, if the log is sealed.
    fn keyring(&self) -> Option<Arc<Keyring>> {
        self.sealing().as_ref().map(Sealing::keyring)
    }

    /// Rejects an email that another patient has claimed in an older format. No process creates new claims in
    /// that format, so a check before the append suffices.
    async fn check_older_claims(&self, id: Uuid, email: &str) -> Result<(), CommandError> {
        for claim in claims_of(self.sealing())?.older(email) {
            let holder = async {
                let mut connection = self.log.database().reader().await?;
                claim.holder(&mut connection).await
            };
            match holder.await {
                Ok(Some(holder)) if holder != id.to_string() => return Err(CommandError::EmailTaken),
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(patient.id = %id, %error, "a claim could not be read");
                    return Err(CommandError::Unavailable);
                }
            }
        }
        Ok(())
    }

    /// Amends a patient. If `expected_sequences` are given, they must contain the patient's current sequence.
    /// An amendment that changes nothing records no event.
    ///
    /// `key` contains an idempotency key and the expected sequence, which takes precedence over
    /// `expected_sequences`. With a key, a retry finds the event of the first request and gets the same
    /// answer, even if the patient was changed or deleted since.
    ///
    /// # Errors
    ///
    /// [`CommandError::NotFound`], [`CommandError::Deleted`], [`CommandError::Erased`],
    /// [`CommandError::SequenceMismatch`], [`CommandError::EmailTaken`],
    /// [`CommandError::IdempotencyKeyReused`] if the key was first used for a different amendment of this
    /// patient, [`CommandError::Contended`], and the errors of the append.
    pub async fn amend(
        &self,
        id: Uuid,
        amendment: Amendment,
        key: Option<(&str, u64)>,
        expected_sequences: Option<Vec<u64>>,
        cause: &Cause,
    ) -> Result<Amended, CommandError> {
        let expected_sequences = key.map(|(_, sequence)| vec![sequence]).or(expected_sequences);
        let keyring = self.keyring();
        let first_request = key.map(|(key, sequence)| {
            let ids = AmendmentIds::of(id, &cause.actor, key, keyring.as_deref());
            (ids, sequence)
        });
        if let Some(email) = &amendment.email {
            self.check_older_claims(id, email.as_str()).await?;
        }
        let lock = self.patients.lock(id).await?;
        for conflicts in 0..TRIES {
            if let Some((command_id, expected)) = first_request
                && let Some(first) = self.history(id).await?.amended_as(command_id)
            {
                return first.again(&amendment, expected);
            }
            let command = PatientCommand::AmendPatient {
                amendment: amendment.clone(),
                expected_sequences: expected_sequences.clone(),
            };
            match self
                .execute(id, command, cause, first_request.map(|(ids, _)| ids.id), false)
                .await
            {
                // The event is durable, so a failure to read it must not say that nothing was written.
                Ok(Some(appended)) => {
                    drop(lock);
                    let after = self.history(id).await;
                    return after.map_err(|_| CommandError::OutcomeUnknown)?.at(appended.last);
                }
                // Another command may have been appended since. The answer must be true for one state.
                Ok(None) => {
                    let now = self.history(id).await?.now()?;
                    if amendment.clone().changes(&now.details).is_none() {
                        return Ok(now);
                    }
                }
                // Another command was appended first. Decide again, based on the new state.
                Err(Refused::Conflict) => pause(conflicts).await,
                // A retry may have looked for the event before the first request was committed.
                Err(Refused::Business(error)) => {
                    if let Some((command_id, expected)) = first_request
                        && let Some(first) = self.history(id).await?.amended_as(command_id)
                    {
                        return first.again(&amendment, expected);
                    }
                    return Err(Refused::Business(error).into());
                }
                Err(refused) => return Err(refused.into()),
            }
        }
        Err(CommandError::Contended)
    }

    /// Reads all events of a patient.
    async fn history(&self, id: Uuid) -> Result<History, CommandError> {
        History::read(&self.log, id).await.map_err(|error| {
            if error.is::<history::Erased>() {
                return CommandError::Erased;
            }
            tracing::error!(patient.id = %id, %error, "a patient's events could not be read");
            let store = error.downcast_ref::<eventstore::Error>();
            store.map_or(CommandError::Unreadable, unavailable)
        })
    }

    /// Deletes a patient. If `expected_sequences` are given, they must contain the patient's current
    /// sequence.
    ///
    /// # Errors
    ///
    /// [`CommandError::NotFound`], [`CommandError::Deleted`], [`CommandError::Erased`],
    /// [`CommandError::SequenceMismatch`], [`CommandError::Contended`], and the errors of the append.
    pub async fn delete(
        &self,
        id: Uuid,
        expected_sequences: Option<Vec<u64>>,
        cause: &Cause,
    ) -> Result<Position, CommandError> {
        let _lock = self.patients.lock(id).await?;
        for conflicts in 0..TRIES {
            let command = PatientCommand::DeletePatient {
                expected_sequences: expected_sequences.clone(),
            };
            match self.execute(id, command, cause, None, false).await {
                Ok(appended) => {
                    return appended
                        .map(|appended| appended.last)
                        .ok_or(CommandError::Internal);
                }
                // Another command was appended first. Decide again, based on the new state.
                Err(Refused::Conflict) => pause(conflicts).await,
                Err(refused) => return Err(refused.into()),
            }
        }
        Err(CommandError::Contended)
    }

    /// Executes a command. Returns `None` if the command causes no event. If `fresh` is set, the id is newly
    /// generated, so no events are read.
    async fn execute(
        &self,
        id: Uuid,
        command: PatientCommand,
        cause: &Cause,
        command_id: Option<Uuid>,
        fresh: bool,
    ) -> Result<Option<Appended>, Refused> {
        let events = if fresh { Events::New } else { Events::All };
        self.execute_with(id, command, cause, command_id, events).await
    }

    /// Executes a command. If the claim rules of the log have changed, executes the command again by the new
    /// rules.
    async fn execute_with(
        &self,
        id: Uuid,
        command: PatientCommand,
        cause: &Cause,
        command_id: Option<Uuid>,
        events: Events,
    ) -> Result<Option<Appended>, Refused> {
        for _ in 0..TRIES {
            let executed = self.execute_once(id, command.clone(), cause, command_id, events);
            match executed.await {
                Err(Refused::OtherClaims) => self.refresh_claims().await.map_err(Refused::Failed)?,
                outcome => return outcome,
            }
        }
        Err(Refused::Failed(CommandError::Contended))
    }

    async fn execute_once(
        &self,
        id: Uuid,
        command: PatientCommand,
        cause: &Cause,
        command_id: Option<Uuid>,
        events: Events,
    ) -> Result<Option<Appended>, Refused> {
        let sealing = self.sealing();
        let claims = claims_of(sealing.clone()).map_err(Refused::Failed)?;
        let claims: Arc<dyn ClaimRules> = Arc::new(claims);
        let (log, appends) = (self.log.clone(), self.appends.clone());
        let repository =
            EventRepository::new(log, appends, claims, events != Events::All).with_sealing(sealing);
        let repository = match events {
            Events::None => repository.of_absent_aggregate(),
            Events::All | Events::New => repository,
        };
        let receipt = repository.receipt();
        let store =
            PersistedEventStore::<_, Patient>::new_event_store(repository).with_upcasters(upcasters());
        // The current span, which belongs to the request, is the parent.
        let span = trace::span(None, || {
            tracing::info_span!(
                target: trace::TARGET,
                "append",
                otel.kind = "producer",
                append.wait_ms = field::Empty,
            )
        });
        let mut metadata = cause.metadata(&span);
        if let Some(command_id) = command_id {
            metadata.insert(COMMAND_ID.to_owned(), command_id.to_string());
        }
        CqrsFramework::new(store, Vec::new(), ())
            .execute_with_metadata(&id.to_string(), command, metadata)
            .instrument(span)
            .await
            .map_err(|error| refused(id, error))?;
        Ok(receipt.appended())
    }

    /// Returns the registration that the key was first used for, if any.
    async fn registered_as(
        &self,
        ids: KeyedIds,
        cause: &Cause,
    ) -> Result<Option<FirstRegistration>, CommandError> {
        self.first_event(ids, cause).await.map_err(|error| {
            tracing::error!(patient.id = %ids.id, %error, "the first event of a patient could not be read");
            let store = error.downcast_ref::<eventstore::Error>();
            store.map_or(CommandError::Unreadable, unavailable)
        })
    }

    async fn first_event(
        &self,
        ids: KeyedIds,
        cause: &Cause,
    ) -> Result<Option<FirstRegistration>, Box<dyn std::error::Error + Send + Sync>> {
        let all = ids.all().map(|id| id.to_string());
        let mut connection = self.log.database().reader().await?;
        let events = EventLog::events_of(
            &mut connection,
            Patient::TYPE,
            &all.each_ref().map(String::as_str),
            Position::BEGINNING,
        )
        .await?;
        // The key of a patient that was erased a moment ago may still exist.
        let erasures = events.iter().filter(|event| eraser::is_erasure(event));
        let erased: HashSet<_> = erasures.map(|event| event.aggregate_id.clone()).collect();
        let Some((id, first)) = ids.registration(&cause.actor, events) else {
            return Ok(None);
        };
        let event = if erased.contains(&first.aggregate_id) {
            None
        } else {
            first.content(PatientEvent::from_stored)?
        };
        Ok(Some(FirstRegistration {
            id,
            position: first.position,
            event,
        }))
    }
}

/// Returns the claim rules of a log with this sealing, as far as this process knows.
fn claims_of(sealing: Option<Sealing>) -> Result<EmailClaims, CommandError> {
    EmailClaims::of(sealing).map_err(|error| {
        tracing::error!(%error, "the claims of the log are unknown");
        CommandError::Internal
    })
}
