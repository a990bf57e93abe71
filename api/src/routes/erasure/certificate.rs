//! `/patients/{id}/erasure/certificate`: proves and attests that a patient was erased.

use axum::Json;
use axum::extract::State;
use eventstore::proof::ProveError;
use serde_json::{Value, json};
use tokio::time::Instant;
use web::RequestError;

use super::{find, finished};
use crate::erasure::{Certificate, CertificateError};
use crate::openapi::{Described, Media, fields};
use crate::problem::{ApiError, kinds};
use crate::read_log::{ReadKind, ReadOutcome, ReadRecord};
use crate::routes::PatientId;
use crate::routes::audit::Reader;
use crate::state::Api;

fn example() -> Value {
    let hash = "5d03b7e52a1c1e1a8e1f3c24c3b1ad1b2f8f0d5c6e7a9b0c1d2e3f405162738a";
    json!({
        "format": Certificate::FORMAT,
        "attestation": {
            "patient_id": fields::AN_ID, "reason": "request", "scope": "full", "erased_at": "2026-11-24T08:38:47.323577Z",
            "key_destroyed_at": "2026-11-24T08:38:47.323577Z",
            "checked_stores": ["key", "patient_view", "patient_names", "mail"], "attested_at": "2026-11-24T08:38:52.018254Z",
        },
        "proof": {
            "format": "event-log-proof-1",
            "tree": { "size": 16, "root": hash },
            "inclusion": {
                "event": {
                    "position": 16, "aggregate_type": "patient", "aggregate_id": fields::AN_ID, "sequence": 3,
                    "event_type": "PatientErased", "event_version": "1.0",
                    "payload": { "type": "PatientErased", "reason": "request", "scope": "full" },
                    "metadata": { "actor": "dpo", "request_id": "01a20cb5-231a-78b4-a848-3c6052b0186b" },
                    "recorded_at": "2026-11-24T08:38:47.323577Z", "hash": hash,
                },
                "previous_hash": hash,
                "path": [hash, hash, hash, hash],
            },
        },
    })
}

pub(super) fn described() -> Described {
    Described::new(
        "Get a certificate of an erasure",
        "A file that proves offline that the log contains the erasure, and in which the service attests that it has destroyed the \
         patient's data. `patients audit check` and `docs/verify.py` check the file. The attestation is not signed. There is a \
         certificate only if everything is destroyed. The request waits for a short time until the erasure is complete.",
    )
    .takes([fields::patient_id()])
    .answers(
        200,
        "The certificate.",
        [Media::json::<Certificate>(example())],
        [fields::cache_control("no-store")],
    )
    .problems([
        kinds::PATIENT_NOT_FOUND,
        kinds::NOT_ERASED,
        kinds::ERASURE_INCOMPLETE,
        kinds::ERASURE_PARTIAL,
        kinds::OVERLOADED,
        kinds::SHUTTING_DOWN,
        kinds::UNAVAILABLE,
        kinds::LOG_DAMAGED,
        kinds::KEYRING_UNUSABLE,
        kinds::PATIENT_UNREADABLE,
    ])
}

pub(super) async fn certificate(
    State(api): State<Api>,
    reader: Reader,
    PatientId(id): PatientId,
) -> Result<Json<Certificate>, ApiError> {
    let until = Instant::now() + api.options.read_wait;
    let erasure = find(&api, id).await?;
    let status = finished(&api, &erasure, until).await?;
    let turn = api.proving.try_acquire().map_err(|_| RequestError::Overloaded)?;
    let certificate = Certificate::make(&api.log, api.clock.as_ref(), &status, |_| {}).await?;
    drop(turn);
    let position = status.position.get();
    let read = ReadRecord {
        patient: Some(id),
        after: Some(position.saturating_sub(1)),
        to: Some(position),
        ..reader.reads(ReadKind::Proof, ReadOutcome::Given)
    };
    api.read_log.record_past(read).await?;
    Ok(Json(certificate))
}

impl From<CertificateError> for ApiError {
    fn from(error: CertificateError) -> Self {
        match error {
            CertificateError::Incomplete(pending) => Self::ErasureIncomplete(pending),
            CertificateError::Partial(positions) => Self::ErasurePartial(positions),
            CertificateError::Read(error) => error.into(),
            CertificateError::Prove(ProveError::Log(error)) => {
                tracing::error!(%error, "an erasure could not be proved");
                Self::from(&error)
            }
            error => {
                tracing::error!(%error, "an erasure could not be proved");
                Self::LogDamaged
            }
        }
    }
}
