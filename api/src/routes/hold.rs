//! `/patients/{id}/hold`: protects a patient from erasure.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use domain::{Hold, HoldReason};
use eventstore::Timestamp;
use serde_json::{Value, json};
use utoipa::ToSchema;
use web::access::Caller;
use web::body::JsonObject;
use web::problem::FieldProblem;
use web::routes::Routes;
use web::{RequestError, RequestId, RequestTrace, RouteKind};

mod list;

use super::{PatientId, cause};
use crate::hold::{self, HoldLookup, HoldStatus};
use crate::openapi::{Described, Media, fields};
use crate::problem::{ApiError, kinds};
use crate::state::Api;

/// Path of the hold of a patient.
const HOLD: &str = "/patients/{id}/hold";

/// A hold to record.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "this type only describes; bodies are parsed member by member, see `parse`"
)]
struct NewHold {
    /// Last day of the hold, in UTC: today or later.
    #[schema(format = Date, example = "2031-12-31")]
    until: String,
    /// `legal_claim`, `legal_obligation`, `public_health` or `research`, see article 17(3) of the GDPR.
    #[schema(
        pattern = "^(legal_claim|legal_obligation|public_health|research)$",
        example = "legal_claim"
    )]
    reason: String,
}

pub(super) fn routes() -> Routes<Api> {
    Routes::new()
        .get(HOLD, RouteKind::Privacy, get, get_described)
        .put(HOLD, RouteKind::Privacy, put, put_described)
        .delete(HOLD, RouteKind::Privacy, delete, delete_described)
        .get(list::PATH, RouteKind::Privacy, list::list, list::described)
}

fn example() -> Value {
    json!({
        "id": fields::AN_ID, "until": "2031-12-31", "reason": "legal_claim", "position": 16,
        "held_at": "2026-11-24T08:38:47.323577Z", "expired": false,
    })
}

fn get_described() -> Described {
    Described::new(
        "Read the hold of a patient",
        "The hold that was recorded last, unless it was released. A patient with a hold cannot be erased until the last day has \
         passed.",
    )
    .takes([fields::patient_id()])
    .answers(
        200,
        "The hold.",
        [Media::json::<HoldStatus>(example())],
        [fields::cache_control("no-store")],
    )
    .problems([
        kinds::PATIENT_NOT_FOUND,
        kinds::PATIENT_ERASED,
        kinds::NOT_HELD,
        kinds::OVERLOADED,
        kinds::SHUTTING_DOWN,
        kinds::UNAVAILABLE,
        kinds::LOG_DAMAGED,
        kinds::KEYRING_UNUSABLE,
        kinds::PATIENT_UNREADABLE,
    ])
}

fn put_described() -> Described {
    Described::new(
        "Hold a patient",
        "Protects the patient, active or deleted, from erasure until the last day has passed. Replaces an earlier hold.",
    )
    .takes([fields::patient_id()])
    .body(Media::json::<NewHold>(
        json!({ "until": "2031-12-31", "reason": "legal_claim" }),
    ))
    .answers(200, "The hold.", [Media::json::<HoldStatus>(example())], [])
    .problems(changes().into_iter().chain([
        kinds::NOT_HELD,
        kinds::MALFORMED_JSON,
        kinds::TOO_LARGE,
        kinds::UNSUPPORTED_MEDIA_TYPE,
        kinds::UNSUPPORTED_CONTENT_ENCODING,
        kinds::INVALID_REQUEST,
        kinds::BODY_TOO_SLOW,
    ]))
}

fn delete_described() -> Described {
    Described::new(
        "Release the hold of a patient",
        "The patient can be erased again. A request for a patient without a hold changes nothing.",
    )
    .takes([fields::patient_id()])
    .answers(204, "The patient has no hold.", [], [])
    .problems(changes())
}

/// Problems of requests that change a hold.
const fn changes() -> [web::problem::Kind; 11] {
    [
        kinds::PATIENT_NOT_FOUND,
        kinds::PATIENT_ERASED,
        kinds::LOG_IN_CLEAR,
        kinds::OVERLOADED,
        kinds::SHUTTING_DOWN,
        kinds::UNAVAILABLE,
        kinds::CLOCK_WRONG,
        kinds::LOG_DAMAGED,
        kinds::KEYRING_UNUSABLE,
        kinds::PATIENT_UNREADABLE,
        kinds::CONTENDED,
    ]
}

async fn get(State(api): State<Api>, PatientId(id): PatientId) -> Result<Json<HoldStatus>, ApiError> {
    match hold::find(&api.log, id, api.clock.now()).await? {
        HoldLookup::Held(status) => Ok(Json(status)),
        HoldLookup::Erased => Err(ApiError::PatientErased),
        HoldLookup::NotHeld => Err(ApiError::NotHeld),
        HoldLookup::NotFound => Err(ApiError::PatientNotFound),
    }
}

async fn put(
    state: State<Api>,
    Extension(request_id): Extension<RequestId>,
    Extension(caller): Extension<Caller>,
    Extension(trace): Extension<RequestTrace>,
    PatientId(id): PatientId,
    body: JsonObject,
) -> Result<Json<HoldStatus>, ApiError> {
    let hold = parse(body, state.clock.now())?;
    let cause = cause(request_id, &caller, &trace);
    state.commands.hold(id, hold, &cause).await?;
    // The hold is durable, so a failure to read it must not say that nothing was changed.
    match hold::find(&state.log, id, state.clock.now()).await {
        Ok(HoldLookup::Held(status)) => Ok(Json(status)),
        // Another request has released the hold.
        Ok(HoldLookup::NotHeld) => Err(ApiError::NotHeld),
        Ok(HoldLookup::Erased) => Err(ApiError::PatientErased),
        Ok(HoldLookup::NotFound) | Err(_) => Err(RequestError::OutcomeUnknown.into()),
    }
}

async fn delete(
    State(api): State<Api>,
    Extension(request_id): Extension<RequestId>,
    Extension(caller): Extension<Caller>,
    Extension(trace): Extension<RequestTrace>,
    PatientId(id): PatientId,
) -> Result<StatusCode, ApiError> {
    let cause = cause(request_id, &caller, &trace);
    api.commands.release_hold(id, &cause).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn parse(body: JsonObject, now: Timestamp) -> Result<Hold, ApiError> {
    let ([until, reason], mut problems) = body.strings(["until", "reason"]);
    let mut field = |name, value: Option<String>, message: &str, is_valid: bool| {
        if value.is_some() && !is_valid {
            problems.push(FieldProblem::in_body(name, message));
        }
    };
    let day = until.as_deref().and_then(|until| hold::parse_until(until, now));
    let known = |reason: &str| HoldReason::ALL.into_iter().find(|known| known.name() == reason);
    let code = reason.as_deref().and_then(known);
    field(
        "until",
        until,
        "must be a date, such as 2031-12-31, today or later",
        day.is_some(),
    );
    field(
        "reason",
        reason,
        "must be legal_claim, legal_obligation, public_health or research",
        code.is_some(),
    );
    match (day, code) {
        (Some(until), Some(reason)) if problems.is_empty() => Ok(Hold { until, reason }),
        _ => Err(RequestError::Invalid(problems).into()),
    }
}
