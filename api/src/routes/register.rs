//! `POST /register`, `POST /patients/register`, `POST /patients`: registers a patient.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, response::AppendHeaders};
use domain::Registration;
use serde::Serialize;
use uuid::Uuid;

use super::cause;
use crate::Api;
use crate::body::JsonObject;
use crate::headers::{EVENT_POSITION, etag, idempotency_key};
use crate::observe::RequestId;
use crate::problem::{ApiError, FieldProblem};

/// A patient with all that is known, as the seed's API shows one.
#[derive(Debug, Serialize)]
pub(super) struct PatientBody {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) phone: String,
    pub(super) document_url: String,
}

pub(super) async fn register(
    State(api): State<Api>,
    Extension(request_id): Extension<RequestId>,
    headers: HeaderMap,
    body: JsonObject,
) -> Result<Response, ApiError> {
    let key = idempotency_key(&headers)?;
    let registration = parse(body)?;
    let registered = api
        .commands
        .register(registration, key, &cause(&request_id))
        .await?;

    let headers: AppendHeaders<[(HeaderName, String); 3]> = AppendHeaders([
        (header::LOCATION, format!("/patients/{}", registered.id)),
        (EVENT_POSITION, registered.position.to_string()),
        (header::ETAG, etag(1)),
    ]);
    let details = registered.details;
    let body = PatientBody {
        id: registered.id,
        name: details.name,
        email: details.email,
        phone: details.phone,
        document_url: details.document_url,
    };
    Ok((StatusCode::CREATED, headers, Json(body)).into_response())
}

fn parse(body: JsonObject) -> Result<Registration, ApiError> {
    let [name, email, phone, document_url] = body.strings(["name", "email", "phone", "document_url"])?;
    Registration::parse(&name, &email, &phone, &document_url).map_err(|errors| {
        ApiError::Invalid(
            errors
                .into_iter()
                .map(|refused| FieldProblem::new(refused.field, refused.error.to_string()))
                .collect(),
        )
    })
}
