//! `DELETE /patients/{id}`: deletes a patient.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::{PatientId, cause};
use crate::Api;
use crate::access::Caller;
use crate::headers::{EVENT_POSITION, if_match};
use crate::observe::RequestId;
use crate::problem::ApiError;

pub(super) async fn delete(
    State(api): State<Api>,
    Extension(request_id): Extension<RequestId>,
    Extension(caller): Extension<Caller>,
    PatientId(id): PatientId,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let position = api
        .commands
        .delete(id, if_match(&headers)?, &cause(&request_id, &caller))
        .await?;
    Ok((StatusCode::NO_CONTENT, [(EVENT_POSITION, position.to_string())]).into_response())
}
