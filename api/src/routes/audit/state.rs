//! `GET /patients/{id}/history/{sequence}`, `GET /patients/{id}?at=`: a patient as it was.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use domain::{PatientDetails, PatientState, Until};
use eventstore::{Position, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use super::not_kept;
use crate::Api;
use crate::history::{Past, Told};
use crate::problem::{ApiError, FieldProblem};

/// A patient at a point of its past; the details if it was active then.
#[derive(Debug, Serialize)]
struct PastBody<'p> {
    id: Uuid,
    state: &'static str,
    sequence: u64,
    position: Position,
    recorded_at: Timestamp,
    #[serde(flatten)]
    details: Option<&'p PatientDetails>,
}

impl<'p> PastBody<'p> {
    fn new(id: Uuid, past: &'p Past) -> Self {
        let (state, details) = match past.patient.state() {
            PatientState::Active(details) => ("active", Some(details)),
            PatientState::Deleted => ("deleted", None),
            PatientState::Unregistered => ("unregistered", None),
        };
        Self {
            id,
            state,
            sequence: past.patient.sequence(),
            position: past.position,
            recorded_at: past.recorded_at,
            details,
        }
    }
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
            Ok(Json(PastBody::new(id, &past)).into_response())
        }
        Told::Patient(_) | Told::NobodyYet => Err(ApiError::NoSuchSequence),
        Told::Nobody => Err(ApiError::PatientNotFound),
    }
}

/// The patient as it was at `moment`.
pub(in crate::routes) async fn at(api: &Api, id: Uuid, moment: Timestamp) -> Result<Response, ApiError> {
    // What will be recorded until then is not known. Another process's clock may be ahead of this one's.
    if moment > api.clock.now() && moment > api.history.last_recorded().await? {
        let problem = FieldProblem::new("at", "must not be in the future");
        return Err(ApiError::Invalid(vec![problem]));
    }
    match api.history.state(id, Until::Moment(moment)).await? {
        Told::Patient(past) => Ok(not_kept(Json(PastBody::new(id, &past)).into_response())),
        Told::NobodyYet => Err(ApiError::NotRegisteredYet),
        Told::Nobody => Err(ApiError::PatientNotFound),
    }
}
