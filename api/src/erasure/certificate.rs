//! Certificates of erasure, each in one small file.
//!
//! A certificate has two parts. The [`Proof`] proves that the log contains the event with which the patient
//! was erased, and can be checked without the log. The [`Attestation`] is a statement of the service about
//! its stores at one time. It is not signed, and no proof covers the times in it other than `erased_at`.

use cqrs_es::Aggregate;
use domain::{ErasureScope, PATIENT_ERASED, Patient};
use eventstore::proof::{Inclusion, ProofError, ProveError, Request};
use eventstore::{Clock, EventLog, Position, Proof, Timestamp, prove};
use projector::reads::ReadError;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{ErasureStatus, FILE, REPLICA, StoredEvents, stores};
use crate::openapi::schemas::proof::InclusionProof;

/// A certificate, as stored in its file. Its contents are unverified until [`Certificate::check`] succeeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ErasureCertificate)]
pub struct Certificate {
    /// Format of the file: `erasure-certificate-1`.
    #[schema(example = "erasure-certificate-1")]
    pub format: String,
    /// What the service states about the erasure.
    pub attestation: Attestation,
    /// Proof that the log contains the event of the erasure.
    #[schema(value_type = InclusionProof)]
    pub proof: Proof,
}

/// Statement of the service that it has destroyed the data of a patient. The event in the proof has the same
/// patient, reason, scope and time. The other members cannot be proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ErasureAttestation)]
pub struct Attestation {
    /// Id of the patient.
    #[schema(format = Uuid, example = "01a20c52-84f4-752b-9b94-14a23061549a")]
    pub patient_id: String,
    /// Reason: `request`, `retention` or `error`.
    #[schema(example = "request")]
    pub reason: String,
    /// Always `full`: the erasure covers all events of the patient.
    #[schema(example = "full")]
    pub scope: String,
    /// When the erasure was recorded.
    #[schema(value_type = String, format = DateTime, example = "2026-11-24T08:38:47.323577Z")]
    pub erased_at: Timestamp,
    /// The time that is recorded for the destruction of the patient's data key.
    #[schema(value_type = String, format = DateTime, example = "2026-11-24T08:38:47.323577Z")]
    pub key_destroyed_at: Timestamp,
    /// The stores that the service checked, and that have no data of the patient: `key`, read tables by name,
    /// `mail`, on SQLite `file`, and with a replica `replica`.
    #[schema(example = json!(["key", "patient_view", "patient_names", "mail"]))]
    pub checked_stores: Vec<String>,
    /// When the service checked the stores.
    #[schema(value_type = String, format = DateTime, example = "2026-11-24T08:38:52.018254Z")]
    pub attested_at: Timestamp,
}

/// Reason why there is no certificate of an erasure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// These stores still have data of the patient.
    #[error("the erasure is not complete; pending: {}", .0.join(", "))]
    Incomplete(Vec<&'static str>),
    /// The events at these positions stay unencrypted in the log.
    #[error("{} events of the patient stay unencrypted in the log", .0.len())]
    Partial(Vec<Position>),
    /// The patient's events could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The event could not be proved.
    #[error(transparent)]
    Prove(#[from] ProveError),
    /// The certificate made from the log is invalid.
    #[error("the log is damaged: {0}")]
    Unsound(#[from] CertificateFault),
}

/// Reason why a certificate is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateFault {
    /// The format is not `erasure-certificate-1`.
    #[error("its format is unknown")]
    Format,
    /// The proof is invalid.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The proof has no event, or another event.
    #[error("the event in the proof is not the erasure of the patient in the attestation")]
    Event,
    /// The event has another reason, scope or time.
    #[error("the attestation differs from the event in the proof")]
    Attestation,
    /// The scope is not `full`.
    #[error("the erasure does not cover all events of the patient")]
    Scope,
}

impl Certificate {
    /// Format of certificates.
    pub const FORMAT: &'static str = "erasure-certificate-1";

    /// Makes a certificate of the erasure in `status`, which the caller must have just read. Reads every hash
    /// in the log.
    ///
    /// # Errors
    ///
    /// [`CertificateError`].
    pub async fn make(
        log: &EventLog,
        clock: &dyn Clock,
        status: &ErasureStatus,
        progress: impl FnMut(Position),
    ) -> Result<Self, CertificateError> {
        let attested_at = clock.now();
        let key_destroyed_at = Self::destroyed_at(log, status).await?;
        let request = Request {
            event: Some(status.position),
            ..Request::default()
        };
        let database = log.database();
        let file = database.has_files().then_some(FILE);
        let replica = database.replica().map(|_| REPLICA);
        let certificate = Self {
            format: Self::FORMAT.to_owned(),
            attestation: Attestation {
                patient_id: status.id.to_string(),
                reason: status.reason.name().to_owned(),
                scope: status.scope.name().to_owned(),
                erased_at: status.erased_at,
                key_destroyed_at,
                checked_stores: stores().chain(file).chain(replica).map(str::to_owned).collect(),
                attested_at,
            },
            proof: prove(log, request, progress).await?,
        };
        certificate.check()?;
        Ok(certificate)
    }

    /// Checks that everything of the patient is destroyed. Returns the time that marks the data key as
    /// destroyed.
    ///
    /// # Errors
    ///
    /// [`CertificateError`].
    pub async fn destroyed_at(log: &EventLog, status: &ErasureStatus) -> Result<Timestamp, CertificateError> {
        let in_clear = StoredEvents::read(log, status.id).await?.in_clear;
        if !in_clear.is_empty() {
            return Err(CertificateError::Partial(in_clear));
        }
        let destroyed_at = status.key_destroyed_at.filter(|_| status.complete);
        destroyed_at.ok_or_else(|| CertificateError::Incomplete(status.pending.clone()))
    }

    /// Verifies the proof, and compares the attestation with the event in the proof. Like a proof, a valid
    /// certificate is only as trustworthy as its root: see [`Proof::meets`].
    ///
    /// # Errors
    ///
    /// [`CertificateFault`].
    pub fn check(&self) -> Result<(), CertificateFault> {
        let Self {
            format,
            attestation,
            proof,
        } = self;
        if format != Self::FORMAT {
            return Err(CertificateFault::Format);
        }
        proof.check()?;
        let Some(Inclusion { event, .. }) = &proof.inclusion else {
            return Err(CertificateFault::Event);
        };
        let identity = (&*event.aggregate_type, &*event.event_type, &*event.aggregate_id);
        if identity != (Patient::TYPE, PATIENT_ERASED, &*attestation.patient_id) {
            return Err(CertificateFault::Event);
        }
        let payload =
            json!({ "type": PATIENT_ERASED, "reason": attestation.reason, "scope": attestation.scope });
        if event.payload != payload || event.recorded_at != attestation.erased_at {
            return Err(CertificateFault::Attestation);
        }
        if attestation.scope != ErasureScope::Full.name() {
            return Err(CertificateFault::Scope);
        }
        Ok(())
    }
}
