//! `POST /register`, `POST /patients/register`, `POST /patients`: registers a patient.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, response::AppendHeaders};
use domain::{PatientDetails, Registration};
use serde::Serialize;
use uuid::Uuid;

use super::cause;
use crate::Api;
use crate::access::Caller;
use crate::body::JsonObject;
use crate::headers::{EVENT_POSITION, etag, idempotency_key};
use crate::observe::RequestId;
use crate::problem::{ApiError, FieldProblem};

/// A patient with all that is known, as the seed's API shows one.
#[derive(Debug, Serialize)]
pub(super) struct PatientBody<'d> {
    id: Uuid,
    name: &'d str,
    email: &'d str,
    phone: &'d str,
    document_url: &'d str,
}

impl<'d> PatientBody<'d> {
    pub(super) fn new(id: Uuid, details: &'d PatientDetails) -> Self {
        let PatientDetails {
            name,
            email,
            phone,
            document_url,
        } = details;
        Self {
            id,
            name,
            email,
            phone,
            document_url,
        }
    }
}

pub(super) async fn register(
    State(api): State<Api>,
    Extension(request_id): Extension<RequestId>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: JsonObject,
) -> Result<Response, ApiError> {
    let key = idempotency_key(&headers)?;
    let registration = parse(body)?;
    let registered = api
        .commands
        .register(registration, key, &cause(&request_id, &caller))
        .await?;

    let headers: AppendHeaders<[(HeaderName, String); 3]> = AppendHeaders([
        (header::LOCATION, format!("/patients/{}", registered.id)),
        (EVENT_POSITION, registered.position.to_string()),
        (header::ETAG, etag(1)),
    ]);
    let body = PatientBody::new(registered.id, &registered.details);
    Ok((StatusCode::CREATED, headers, Json(body)).into_response())
}

/// Every field that is refused is reported, whether for its shape or for its value.
fn parse(body: JsonObject) -> Result<Registration, ApiError> {
    let (strings, mut problems) = body.strings(["name", "email", "phone", "document_url"]);
    let [name, email, phone, document_url] = strings.map(Option::unwrap_or_default);
    match Registration::parse(&name, &email, &phone, &document_url) {
        Ok(registration) if problems.is_empty() => Ok(registration),
        Ok(_) => Err(ApiError::Invalid(problems)),
        Err(refused) => {
            for field in refused {
                // What is missing is not to be reported as empty as well.
                if !problems.iter().any(|problem| problem.field == field.field) {
                    problems.push(FieldProblem::new(field.field, field.error.to_string()));
                }
            }
            Err(ApiError::Invalid(problems))
        }
    }
}
