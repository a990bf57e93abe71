//! `PUT /projections/{projection}/skips/{position}`: permanently skips an event at which a projection has
//! stopped.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use eventstore::projection::{LONGEST_REASON, SkipError};
use eventstore::{Position, Skip};
use serde_json::json;
use utoipa::ToSchema;
use web::RequestError;
use web::access::Caller;
use web::body::JsonObject;
use web::problem::FieldProblem;

use super::{named, operator, unavailable};
use crate::openapi::{Described, Media, fields, schemas};
use crate::problem::{ApiError, kinds};
use crate::state::Api;

/// The reason for a skip.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "this type only describes; bodies are parsed member by member, see `skip`"
)]
struct NewSkip {
    /// Why the event is skipped, without personal data. The reason is kept, and cannot be changed.
    #[schema(
        min_length = 1,
        max_length = 500,
        pattern = "\\S",
        example = "written by a test, see incident 17"
    )]
    reason: String,
}

pub(super) fn described() -> Described {
    let skip = json!({
        "position": 7, "reason": "written by a test, see incident 17", "skipped_by": "ops",
        "skipped_at": "2026-11-24T08:38:47.323577Z",
    });
    let position = fields::path(
        "position",
        fields::whole_number(1),
        json!(7),
        "The position of the event, at which the projection or its rebuild has stopped.",
    );
    Described::new(
        "Skip an event",
        "Permanently skips the event at which a projection or its rebuild has stopped, like `patients projection skip`. The \
         projection continues at its next attempt, within 30 s. Rebuilds and verifications skip the event too. The event stays in \
         the log, and reads of its patient return 503 until a program runs that can read the event. A skip cannot be undone. A \
         repeated request is answered with the first record, as long as the projection has stopped.",
    )
    .takes([super::projection(), position])
    .body(Media::json::<NewSkip>(
        json!({ "reason": "written by a test, see incident 17" }),
    ))
    .answers(200, "The event is skipped.", [Media::json::<schemas::Skip>(skip)], [])
    .problems([
        kinds::MALFORMED_JSON,
        kinds::TOO_LARGE,
        kinds::UNSUPPORTED_MEDIA_TYPE,
        kinds::UNSUPPORTED_CONTENT_ENCODING,
        kinds::INVALID_REQUEST,
        kinds::BODY_TOO_SLOW,
        kinds::PROJECTION_NOT_FOUND,
        kinds::NOT_STOPPED_THERE,
        kinds::UNAVAILABLE,
    ])
}

/// Skips an event.
pub(super) async fn skip(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<(String, String)>, PathRejection>,
    body: JsonObject,
) -> Result<Json<Skip>, ApiError> {
    let Path((projection, position)) = path.map_err(|_| ApiError::NoSuchProjection)?;
    let projection = named(&projection)?;
    let position: Option<Position> = position.parse().ok().and_then(Position::new);
    let ([reason], mut problems) = body.strings(["reason"]);
    let Some(position) = position.filter(|position| *position > Position::BEGINNING) else {
        problems.push(FieldProblem::new(
            "position",
            "must be a whole number, 1 or greater",
        ));
        return Err(RequestError::Invalid(problems).into());
    };
    let Some(reason) = reason.filter(|_| problems.is_empty()) else {
        return Err(RequestError::Invalid(problems).into());
    };
    let skip = Skip {
        position,
        reason,
        skipped_by: operator(&caller),
        skipped_at: api.clock.now(),
    };
    match skip.record(api.log.database(), projection.name()).await {
        Ok(skip) => {
            tracing::warn!(
                projection = projection.name(),
                position = position.get(),
                "an operator skipped an event"
            );
            Ok(Json(skip))
        }
        Err(SkipError::NotStoppedThere { stopped, .. }) => Err(ApiError::NotStoppedThere(stopped)),
        Err(SkipError::Reason) => {
            let message = format!("must have 1 to {LONGEST_REASON} characters");
            problems.push(FieldProblem::in_body("reason", message));
            Err(RequestError::Invalid(problems).into())
        }
        Err(SkipError::Store(error)) => Err(unavailable(error)),
        Err(error) => {
            tracing::error!(%error, "a skip was not recorded");
            Err(RequestError::Internal.into())
        }
    }
}
