//! `/patients/{id}/erasure`: erases a patient, and returns the progress of the erasure.

mod certificate;
mod due;

use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::ErasureReason;
use projector::reads::ReadError;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;
use uuid::Uuid;
use web::access::Caller;
use web::body::JsonObject;
use web::problem::FieldProblem;
use web::routes::Routes;
use web::{RequestError, RequestId, RequestTrace, RouteKind};

use super::{PatientId, cause};
use crate::erasure::{self, Erasure, ErasureStatus};
use crate::headers::EVENT_POSITION;
use crate::openapi::{Described, Media, fields};
use crate::problem::{ApiError, kinds};
use crate::state::Api;

/// Path of the erasure of a patient.
const ERASURE: &str = "/patients/{id}/erasure";
/// Path of the certificate of an erasure.
const CERTIFICATE: &str = "/patients/{id}/erasure/certificate";
/// Pause between two checks whether everything is destroyed.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// Reasons in requests.
const REASONS: [ErasureReason; 3] = [
    ErasureReason::Request,
    ErasureReason::Retention,
    ErasureReason::Error,
];

/// The reason for an erasure.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "this type only describes; bodies are parsed member by member, see `parse`"
)]
struct NewErasure {
    /// `request`: the patient requested it; `retention`: the retention period has ended; `error`: the patient
    /// was registered in error.
    #[schema(pattern = "^(request|retention|error)$", example = "request")]
    reason: String,
}

pub(super) fn routes() -> Routes<Api> {
    Routes::new()
        .post(ERASURE, RouteKind::Privacy, erase, erase_described)
        .get(ERASURE, RouteKind::Privacy, status, status_described)
        .get(
            CERTIFICATE,
            RouteKind::Privacy,
            certificate::certificate,
            certificate::described,
        )
        .get(due::PATH, RouteKind::Privacy, due::list, due::described)
}

fn example() -> Value {
    json!({
        "id": fields::AN_ID, "position": 16, "erased_at": "2026-11-24T08:38:47.323577Z", "reason": "request", "scope": "full",
        "key_destroyed_at": "2026-11-24T08:38:47.323577Z", "pending": [], "positions_in_clear": [], "complete": true,
    })
}

fn erase_described() -> Described {
    let answer = || [Media::json::<ErasureStatus>(example())];
    Described::new(
        "Erase a patient",
        "Deletes the patient, if active, and destroys the key of the patient's personal data, the rows in the read tables and the \
         unsent emails. The hash chain and all proofs remain valid. An erasure cannot be undone. A repeated request is answered \
         like the first request, with the first reason.",
    )
    .takes([fields::patient_id()])
    .body(Media::json::<NewErasure>(json!({ "reason": "request" })))
    .answers(
        200,
        "Everything is destroyed.",
        answer(),
        [fields::event_position("The position of the erasure in the log.")],
    )
    .answers(
        202,
        "The erasure is recorded, and reads already answer 410. `pending` lists what is not destroyed yet, for example because the \
         projector is not running.",
        answer(),
        [
            fields::event_position("The position of the erasure in the log."),
            fields::location(
                &format!("/patients/{}/erasure", fields::AN_ID),
                "The address of the progress.",
            ),
        ],
    )
    .problems([
        kinds::MALFORMED_JSON,
        kinds::TOO_LARGE,
        kinds::UNSUPPORTED_MEDIA_TYPE,
        kinds::UNSUPPORTED_CONTENT_ENCODING,
        kinds::INVALID_REQUEST,
        kinds::PATIENT_NOT_FOUND,
        kinds::PATIENT_HELD,
        kinds::RETENTION_PERIOD,
        kinds::LOG_IN_CLEAR,
        kinds::BODY_TOO_SLOW,
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

fn status_described() -> Described {
    Described::new(
        "Read the progress of an erasure",
        "What is destroyed, and what is still pending.",
    )
    .takes([fields::patient_id()])
    .answers(
        200,
        "The erasure. `complete` is true if everything is destroyed.",
        [Media::json::<ErasureStatus>(example())],
        [fields::cache_control("no-store")],
    )
    .problems([
        kinds::PATIENT_NOT_FOUND,
        kinds::NOT_ERASED,
        kinds::OVERLOADED,
        kinds::SHUTTING_DOWN,
        kinds::UNAVAILABLE,
        kinds::LOG_DAMAGED,
        kinds::KEYRING_UNUSABLE,
        kinds::PATIENT_UNREADABLE,
    ])
}

async fn erase(
    State(api): State<Api>,
    Extension(request_id): Extension<RequestId>,
    Extension(caller): Extension<Caller>,
    Extension(trace): Extension<RequestTrace>,
    PatientId(id): PatientId,
    body: JsonObject,
) -> Result<Response, ApiError> {
    let reason = parse(body)?;
    let until = Instant::now() + api.options.read_wait;
    let cause = cause(request_id, &caller, &trace);
    let erasure = api.commands.erase(id, reason, &cause).await?;
    // The erasure is durable, so a failure to read its progress is not a failure of the request.
    let status = match finished(&api, &erasure, until).await {
        Ok(status) => status,
        Err(error) => {
            tracing::warn!(patient.id = %id, %error, "the progress of an erasure could not be read");
            erasure.unknown_status()
        }
    };
    let position = [(EVENT_POSITION, status.position.to_string())];
    Ok(if status.complete {
        (position, Json(status)).into_response()
    } else {
        let place = [(header::LOCATION, format!("/patients/{id}/erasure"))];
        (StatusCode::ACCEPTED, position, place, Json(status)).into_response()
    })
}

/// Returns the progress once everything is destroyed, or at the time `until`.
async fn finished(api: &Api, erasure: &Erasure, until: Instant) -> Result<ErasureStatus, ReadError> {
    let mut can_rewrite = true;
    loop {
        let status = erasure.status(&api.log).await?;
        if status.complete || Instant::now() >= until {
            return Ok(status);
        }
        if can_rewrite && status.pending == [erasure::FILE] {
            // The task continues after the response.
            let log = api.log.clone();
            let rewriting = tokio::spawn(async move { erasure::rewrite_files(&log, Duration::MAX).await });
            can_rewrite = matches!(timeout_at(until, rewriting).await, Ok(Ok(true)));
        }
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
}

async fn status(State(api): State<Api>, PatientId(id): PatientId) -> Result<Response, ApiError> {
    let erasure = find(&api, id).await?;
    Ok(Json(erasure.status(&api.log).await?).into_response())
}

/// Returns the erasure of a patient.
async fn find(api: &Api, id: Uuid) -> Result<Erasure, ApiError> {
    if let Some(erasure) = erasure::find(&api.log, id).await? {
        return Ok(erasure);
    }
    if api.history.events(id, 0, 1).await?.is_empty() {
        return Err(ApiError::PatientNotFound);
    }
    Err(ApiError::NotErased)
}

fn parse(body: JsonObject) -> Result<ErasureReason, ApiError> {
    let ([reason], mut problems) = body.strings(["reason"]);
    let known = |reason: &str| REASONS.into_iter().find(|known| known.name() == reason);
    let parsed = reason.as_deref().and_then(known);
    if reason.is_some() && parsed.is_none() {
        problems.push(FieldProblem::in_body(
            "reason",
            "must be request, retention or error",
        ));
    }
    match parsed {
        Some(reason) if problems.is_empty() => Ok(reason),
        _ => Err(RequestError::Invalid(problems).into()),
    }
}
