//! `GET /patients/{id}`: one patient.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::PatientId;
use super::register::PatientBody;
use crate::Api;
use crate::headers::etag;
use crate::problem::ApiError;
use crate::reads::Found;

pub(super) async fn get(State(api): State<Api>, PatientId(id): PatientId) -> Result<Response, ApiError> {
    match api.reads.by_id(id).await? {
        Found::Active(details, sequence) => {
            let body = PatientBody::new(id, &details);
            Ok(([(header::ETAG, etag(sequence))], Json(body)).into_response())
        }
        Found::Deleted => Err(ApiError::PatientDeleted),
        Found::Nothing => Err(ApiError::PatientNotFound),
    }
}
