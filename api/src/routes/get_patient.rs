//! `GET /patients/{id}`: the current state of a patient; with `?at=`, a past state.

use axum::Json;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use web::RouteKind;
use web::access::Caller;
use web::headers::{etag, none_match};
use web::query::Query;

use super::register::PatientBody;
use super::{PathPatient, audit, register};
use crate::openapi::schemas::ReadPatient;
use crate::openapi::{Described, Media, fields};
use crate::problem::{ApiError, kinds};
use crate::state::Api;
use projector::reads::Found;

pub(super) fn described() -> Described {
    Described::new(
        "Read a patient",
        "The current state of the patient. The response is always up to date, whichever process recorded the last change. With \
         `at`, the state at that time, for auditors only.",
    )
    .takes([
        fields::patient_or_number(),
        fields::at(),
        fields::if_none_match("\"1\""),
    ])
    .answers(
        200,
        "The patient. With `at`, the state at that time.",
        [Media::json_with::<ReadPatient>([
            ("now", register::example()),
            ("at", audit::past_example()),
        ])],
        [fields::etag(), fields::cache_control("no-store")],
    )
    .answers(
        304,
        "The patient has not changed since the ETag in `If-None-Match`. Never sent with `at`.",
        [],
        [fields::etag()],
    )
    .problems([
        kinds::PATIENT_NOT_FOUND,
        kinds::PATIENT_DELETED,
        kinds::PATIENT_ERASED,
        kinds::NOT_REGISTERED_YET,
        kinds::INVALID_REQUEST,
        kinds::OVERLOADED,
        kinds::SHUTTING_DOWN,
        kinds::UNAVAILABLE,
        kinds::LOG_DAMAGED,
        kinds::KEYRING_UNUSABLE,
        kinds::PATIENT_UNREADABLE,
    ])
}

pub(super) async fn get(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    reader: audit::Reader,
    PathPatient { id, shown }: PathPatient,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if let Some(query) = query {
        let mut query = Query::parse(Some(&query));
        let moment = query.moment("at");
        query.finish()?;
        if let Some(moment) = moment {
            RouteKind::Audit.check(Some(&caller))?;
            return audit::at(&api, &reader, (id, shown), moment).await;
        }
    }
    match api.reads.by_id(id).await? {
        Found::Active(details, sequence) => {
            reader.reads_current(&api, id, Some(sequence)).await?;
            let etag = etag(sequence);
            if none_match(&headers, &etag) {
                return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
            }
            let body = PatientBody::new(shown, &details);
            Ok(([(header::ETAG, etag)], Json(body)).into_response())
        }
        Found::Deleted => {
            reader.reads_current(&api, id, None).await?;
            Err(ApiError::PatientDeleted)
        }
        Found::Erased => {
            reader.reads_current(&api, id, None).await?;
            Err(ApiError::PatientErased)
        }
        Found::Nothing => {
            reader.reads_current(&api, id, None).await?;
            Err(ApiError::PatientNotFound)
        }
    }
}
