//! `GET /patients/{id}/history/{sequence}`, `GET /patients/{id}?at=`: a patient as it was.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use domain::Until;
use eventstore::Timestamp;
use uuid::Uuid;

use super::not_kept;
use crate::Api;
use crate::history::Told;
use crate::problem::{ApiError, FieldProblem};

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
