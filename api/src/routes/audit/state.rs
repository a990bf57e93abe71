//! `GET /patients/{id}/history/{sequence}`, `GET /patients/{id}?at=`: a patient as it was.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use domain::Until;
use eventstore::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::not_kept;
use crate::Api;
use crate::history::Told;
use crate::openapi::{AUDIT, Described, Media, fields, schemas};
use crate::problem::{ApiError, FieldProblem, kinds};

pub(in crate::routes) fn example() -> Value {
    json!({
        "id": fields::AN_ID, "state": "active", "sequence": 1, "position": 1,
        "recorded_at": "2026-11-24T08:38:47.323577Z", "name": "John Doe", "email": "john@example.com",
        "phone": "+1234567890", "document_url": "https://example.com/photos/john.jpg",
    })
}

pub(super) fn described() -> Described {
    Described::new(
        AUDIT,
        "A patient just after an event",
        "As the patient's events up to and with this one tell it.",
    )
    .takes([
        fields::patient_id(),
        fields::path(
            "sequence",
            fields::whole_number(1),
            json!(1),
            "The number of the event in the history.",
        ),
    ])
    .answers(
        200,
        "The patient as it was.",
        [Media::json::<schemas::PastPatient>(example())],
        [fields::cache_control("no-store")],
    )
    .problems([
        kinds::PATIENT_NOT_FOUND,
        kinds::SEQUENCE_NOT_FOUND,
        kinds::UNAVAILABLE,
    ])
}

/// The patient just after an event. What is not a number is the sequence of no event.
pub(super) async fn after(
    State(api): State<Api>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path((id, sequence)) = path.map_err(|_| ApiError::NoSuchRoute)?;
    let id = Uuid::try_parse(&id).map_err(|_| ApiError::PatientNotFound)?;
    let sequence = sequence.parse().unwrap_or(0);
    match api.history.state(id, Until::Sequence(sequence)).await? {
        Told::Patient(past) if past.patient.sequence() == sequence => {
            Ok(Json(past.shown(id)).into_response())
        }
        Told::Patient(_) | Told::NobodyYet | Told::Future => Err(ApiError::NoSuchSequence),
        Told::Nobody => Err(ApiError::PatientNotFound),
    }
}

/// The patient as it was at `moment`.
pub(in crate::routes) async fn at(api: &Api, id: Uuid, moment: Timestamp) -> Result<Response, ApiError> {
    match api.history.at(id, moment, api.clock.now()).await? {
        Told::Patient(past) => Ok(not_kept(Json(past.shown(id)).into_response())),
        Told::Future => {
            let problem = FieldProblem::new("at", "must not be in the future");
            Err(ApiError::Invalid(vec![problem]))
        }
        Told::NobodyYet => Err(ApiError::NotRegisteredYet),
        Told::Nobody => Err(ApiError::PatientNotFound),
    }
}
