//! `/patients/{id}/erasure/certificate`: proves and attests that a patient was erased.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use eventstore::proof::ProveError;
use serde_json::{Value, json};
use tokio::time::Instant;
use web::RequestError;
use web::query::Query;

use super::{find, finished};
use crate::erasure::{Certificate, CertificateError};
use crate::openapi::{Described, Media, fields};
use crate::problem::{ApiError, kinds};
use crate::read_log::{ReadKind, ReadOutcome, ReadRecord};
use crate::routes::audit::Reader;
use crate::routes::{PatientId, published};
use crate::state::Api;

/// Value of the parameter `format` for a proof in a signed checkpoint.
const TLOG_PROOF: &str = "tlog-proof";

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
         certificate only if everything is destroyed. The request waits for a short time until the erasure is complete. With \
         `?format=tlog-proof`, the response is the proof of the erasure in a signed checkpoint, as in `GET /log/proof/{position}`, \
         with the event and without an attestation.",
    )
    .takes([
        fields::patient_id(),
        fields::query(
            "format",
            fields::string().enum_values(Some(["certificate", TLOG_PROOF])),
            json!(TLOG_PROOF),
            "The form of the response; `certificate` by default.",
        ),
    ])
    .answers(
        200,
        "The certificate.",
        [Media::json::<Certificate>(example()), published::tlog_proof()],
        [fields::cache_control("no-store")],
    )
    .problems([
        kinds::PATIENT_NOT_FOUND,
        kinds::INVALID_REQUEST,
        kinds::LOG_NOT_PUBLISHED,
        kinds::NO_CHECKPOINT_YET,
        kinds::NOT_COVERED_YET,
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
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let mut query = Query::parse(query.as_deref());
    let format = query.read(
        "format",
        "must be certificate or tlog-proof",
        |format| match format {
            "certificate" => Some(false),
            TLOG_PROOF => Some(true),
            _ => None,
        },
    );
    query.finish()?;
    let until = Instant::now() + api.options.read_wait;
    let erasure = find(&api, id).await?;
    let status = finished(&api, &erasure, until).await?;
    let response = if format == Some(true) {
        Certificate::destroyed_at(&api.log, &status).await?;
        let proof = api.published()?.prove_event(&api.log, status.position).await?;
        published::proof_response(&proof)
    } else {
        let turn = api.proving.try_acquire().map_err(|_| RequestError::Overloaded)?;
        let certificate = Certificate::make(&api.log, api.clock.as_ref(), &status, |_| {}).await?;
        drop(turn);
        Json(certificate).into_response()
    };
    let position = status.position.get();
    let read = ReadRecord {
        patient: Some(id),
        after: Some(position.saturating_sub(1)),
        to: Some(position),
        ..reader.reads(ReadKind::Proof, ReadOutcome::Given)
    };
    api.read_log.record_past(read).await?;
    Ok(response)
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
