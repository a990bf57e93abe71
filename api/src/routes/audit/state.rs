//! `GET /patients/{id}/history/{sequence}`, `GET /patients/{id}?at=`: a past state of a patient.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use eventstore::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;
use web::RequestError;
use web::problem::FieldProblem;

use super::Reader;
use crate::history::{LookupRecord, PastLookup};
use crate::legacy::ShownId;
use crate::openapi::{Described, Media, fields, schemas};
use crate::problem::{ApiError, kinds};
use crate::read_log::ReadKind;
use crate::state::Api;

pub(in crate::routes) fn example() -> Value {
    json!({
        "id": fields::AN_ID, "state": "active", "sequence": 1, "position": 1,
        "recorded_at": "2026-11-24T08:38:47.323577Z", "name": "John Doe", "email": "john@example.com",
        "phone": "+1234567890", "document_url": "https://example.com/photos/john.jpg",
    })
}

pub(super) fn described() -> Described {
    Described::new(
        "Read a past state of a patient",
        "The state just after an event, rebuilt from the patient's events up to and including this event.",
    )
    .takes([
        fields::patient_id(),
        fields::path(
            "sequence",
            fields::whole_number(1),
            json!(1),
            "The sequence of the event in the history.",
        ),
    ])
    .answers(
        200,
        "The past state of the patient.",
        [Media::json::<schemas::PastPatient>(example())],
        [fields::cache_control("no-store")],
    )
    .problems([
        kinds::PATIENT_NOT_FOUND,
        kinds::PATIENT_ERASED,
        kinds::SEQUENCE_NOT_FOUND,
        kinds::OVERLOADED,
        kinds::SHUTTING_DOWN,
        kinds::UNAVAILABLE,
        kinds::LOG_DAMAGED,
        kinds::KEYRING_UNUSABLE,
        kinds::PATIENT_UNREADABLE,
    ])
}

/// Returns the patient's state just after an event. If the sequence is not a number, there is no such event.
pub(super) async fn after(
    State(api): State<Api>,
    reader: Reader,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path((id, sequence)) = path.map_err(|_| RequestError::NotFound)?;
    let id = Uuid::try_parse(&id).map_err(|_| ApiError::PatientNotFound)?;
    let sequence = sequence.parse().unwrap_or(0);
    let lookup = api.history.after(id, sequence).await?;
    answer(&api, &reader, (id, id.into()), lookup).await
}

/// Returns the state of the patient with `id` at `moment`, under the id as the request names the patient.
pub(in crate::routes) async fn at(
    api: &Api,
    reader: &Reader,
    (id, shown): (Uuid, ShownId),
    moment: Timestamp,
) -> Result<Response, ApiError> {
    let lookup = api.history.at(id, moment, api.clock.now()).await?;
    answer(api, reader, (id, shown), lookup).await
}

/// Records the read, and then returns the state.
async fn answer(
    api: &Api,
    reader: &Reader,
    (id, shown): (Uuid, ShownId),
    lookup: PastLookup,
) -> Result<Response, ApiError> {
    let record = lookup.record();
    if record != LookupRecord::None {
        reader
            .reads_patient(api, ReadKind::State, id, record.sequences())
            .await?;
    }
    match lookup {
        PastLookup::Found(past) => Ok(Json(past.shown(shown)).into_response()),
        PastLookup::NoSuchSequence { .. } => Err(ApiError::NoSuchSequence),
        PastLookup::NotRegisteredYet => Err(ApiError::NotRegisteredYet),
        PastLookup::NotFound => Err(ApiError::PatientNotFound),
        PastLookup::Erased => Err(ApiError::PatientErased),
        PastLookup::InFuture => {
            let problem = FieldProblem::new("at", "must not be in the future");
            Err(RequestError::Invalid(vec![problem]).into())
        }
    }
}
