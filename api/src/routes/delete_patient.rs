//! `DELETE /patients/{id}`: deletes a patient.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use web::access::Caller;
use web::headers::if_match;
use web::{RequestId, RequestTrace};

use super::{PathPatient, cause};
use crate::headers::EVENT_POSITION;
use crate::openapi::{Described, fields};
use crate::problem::{ApiError, kinds};
use crate::state::Api;

pub(super) fn described() -> Described {
    Described::new(
        "Delete a patient",
        "The response is sent when the deletion is durable. The email becomes available again. Auditors can still read the history.",
    )
    .takes([fields::patient_or_number(), fields::if_match()])
    .answers(
        204,
        "The patient is deleted.",
        [],
        [fields::event_position(
            "The position of the deletion in the log, for Min-Position.",
        )],
    )
    .problems([
        kinds::PATIENT_NOT_FOUND,
        kinds::PATIENT_DELETED,
        kinds::PATIENT_ERASED,
        kinds::PRECONDITION_FAILED,
        kinds::INVALID_REQUEST,
        kinds::OVERLOADED,
        kinds::SHUTTING_DOWN,
        kinds::UNAVAILABLE,
        kinds::CLOCK_WRONG,
        kinds::LOG_DAMAGED,
        kinds::KEYRING_UNUSABLE,
        kinds::PATIENT_UNREADABLE,
        kinds::CONTENDED,
    ])
}

pub(super) async fn delete(
    State(api): State<Api>,
    Extension(request_id): Extension<RequestId>,
    Extension(caller): Extension<Caller>,
    Extension(trace): Extension<RequestTrace>,
    PathPatient { id, .. }: PathPatient,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let position = api
        .commands
        .delete(id, if_match(&headers)?, &cause(request_id, &caller, &trace))
        .await?;
    Ok((StatusCode::NO_CONTENT, [(EVENT_POSITION, position.to_string())]).into_response())
}
