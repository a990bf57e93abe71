//! `GET /projections`, and requests to rebuild and verify a projection and to skip an event. A projector
//! process carries out a rebuild; this process carries out a verification.

mod skip;
mod verify;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use eventstore::projection::{LONGEST_NAME, Requested, find as find_projection};
use eventstore::{Followed, Rebuild, RebuildState, Registered, Runner, overview};
use projector::PROJECTIONS;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::path::Parameter;
use web::RouteKind;
use web::access::Caller;
use web::routes::Routes;

use crate::openapi::{Described, Media, fields, schemas};
use crate::problem::{ApiError, kinds};
use crate::state::Api;

pub(super) fn routes() -> Routes<Api> {
    Routes::new()
        .get("/projections", RouteKind::Operate, all, all_described)
        .post(
            "/projections/{projection}/rebuild",
            RouteKind::Operate,
            rebuild,
            rebuild_described,
        )
        .get(
            "/projections/{projection}/rebuilds/{generation}",
            RouteKind::Operate,
            progress,
            progress_described,
        )
        .delete(
            "/projections/{projection}/rebuilds/{generation}",
            RouteKind::Operate,
            cancel,
            cancel_described,
        )
        .post(
            "/projections/{projection}/verify",
            RouteKind::Operate,
            verify::verify,
            verify::described,
        )
        .put(
            "/projections/{projection}/skips/{position}",
            RouteKind::Operate,
            skip::skip,
            skip::described,
        )
}

/// All subscriptions.
#[derive(Debug, Serialize, ToSchema)]
struct Overview {
    #[schema(value_type = Vec<schemas::Subscription>)]
    subscriptions: Vec<Followed>,
}

const PLACE: &str = "/projections/patient_view/rebuilds/2";

fn example() -> Value {
    json!({
        "projection": "patient_view", "generation": 2, "state": "filling", "runner": "projector", "replaced": null,
        "position": 9, "head": 17, "owner": null, "failure": null, "requested_by": "ops",
        "requested_at": "2026-11-24T08:38:47.323577Z", "finished_at": null,
    })
}

fn projection() -> Parameter {
    fields::path(
        "projection",
        fields::string(),
        json!("patient_view"),
        "Name of the projection.",
    )
}

fn generation() -> Parameter {
    fields::path(
        "generation",
        fields::whole_number(1),
        json!(2),
        "The generation that the rebuild fills.",
    )
}

fn accepted_as(described: Described, text: &str) -> Described {
    described.answers(
        202,
        text,
        [Media::json::<schemas::Rebuild>(example())],
        [fields::location(PLACE, "The address of the rebuild's progress.")],
    )
}

fn all_described() -> Described {
    let example = json!({"subscriptions": [{
        "name": "patient_view", "position": 17, "head": 17, "lag_events": 0, "lag_seconds": 0.0, "owner": null,
        "failure": null, "projection": {"active_generation": 1, "rebuild": null, "skips": []},
    }]});
    Described::new(
        "List subscriptions",
        "The position and the lag of each subscription (the read tables, the mailer, and a rebuild, if any), and any failure \
         that blocks the subscription.",
    )
    .answers(200, "All subscriptions.", [Media::json::<Overview>(example)], [])
    .problems([kinds::UNAVAILABLE])
}

fn rebuild_described() -> Described {
    let described = Described::new(
        "Rebuild a projection",
        "A projector process fills a new generation of the table from the log while the current generation is served, and then \
         switches to the new generation.",
    )
    .takes([projection()])
    .problems([kinds::PROJECTION_NOT_FOUND, kinds::REBUILD_UNDER_WAY, kinds::UNAVAILABLE])
    .header(409, fields::location(PLACE, "The address of the current rebuild's progress."));
    accepted_as(described, "The rebuild is requested.")
}

fn progress_described() -> Described {
    Described::new(
        "Read the progress of a rebuild",
        "The progress of a rebuild, or its result after it has ended.",
    )
    .takes([projection(), generation()])
    .answers(
        200,
        "The rebuild.",
        [Media::json::<schemas::Rebuild>(example())],
        [],
    )
    .problems([kinds::REBUILD_NOT_FOUND, kinds::UNAVAILABLE])
}

fn cancel_described() -> Described {
    let described = Described::new(
        "Cancel a rebuild",
        "Cancels a rebuild whose generation is not served yet. The rows of that generation are deleted.",
    )
    .takes([projection(), generation()])
    .problems([
        kinds::REBUILD_NOT_FOUND,
        kinds::REBUILD_TOO_FAR,
        kinds::UNAVAILABLE,
    ]);
    accepted_as(described, "The rebuild is being cancelled.")
}

/// Returns the status of all subscriptions.
async fn all(State(api): State<Api>) -> Result<Json<Overview>, ApiError> {
    let subscriptions = overview(api.log.database(), api.clock.now())
        .await
        .map_err(unavailable)?;
    Ok(Json(Overview { subscriptions }))
}

/// Requests a rebuild.
async fn rebuild(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(projection) = path.map_err(|_| ApiError::NoSuchProjection)?;
    let (database, by) = (api.log.database(), operator(&caller));
    let requested = Rebuild::request(database, &projection, Runner::Projector, &by, api.clock.now());
    match requested.await.map_err(unavailable)? {
        Requested::New(rebuild) => Ok(accepted(&rebuild)),
        Requested::NoProjection => Err(ApiError::NoSuchProjection),
        // A command left this rebuild unfinished. The projector continues the rebuild.
        Requested::Unfinished(rebuild)
            if rebuild.owner.is_none() && rebuild.state != RebuildState::Cancelling =>
        {
            rebuild.leave_to_projector(database).await.map_err(unavailable)?;
            Ok(accepted(&rebuild))
        }
        Requested::Unfinished(rebuild) => Err(ApiError::RebuildUnderWay(location(&rebuild))),
    }
}

/// Returns the progress of a rebuild.
async fn progress(
    State(api): State<Api>,
    path: Result<Path<(String, i64)>, PathRejection>,
) -> Result<Json<Rebuild>, ApiError> {
    Ok(Json(find(&api, path).await?))
}

/// Cancels a rebuild.
async fn cancel(
    State(api): State<Api>,
    path: Result<Path<(String, i64)>, PathRejection>,
) -> Result<Response, ApiError> {
    let rebuild = find(&api, path).await?;
    if !rebuild.cancel(api.log.database()).await.map_err(unavailable)? {
        return Err(ApiError::RebuildTooFar);
    }
    let rebuild = Rebuild {
        state: RebuildState::Cancelling,
        ..rebuild
    };
    Ok(accepted(&rebuild))
}

async fn find(api: &Api, path: Result<Path<(String, i64)>, PathRejection>) -> Result<Rebuild, ApiError> {
    // No rebuild has a generation that is not a number.
    let Path((projection, generation)) = path.map_err(|_| ApiError::NoSuchRebuild)?;
    Rebuild::of(api.log.database(), &projection, generation, api.clock.now())
        .await
        .map_err(unavailable)?
        .ok_or(ApiError::NoSuchRebuild)
}

/// Returns the projection that a path names.
fn registered(path: Result<Path<String>, PathRejection>) -> Result<&'static dyn Registered, ApiError> {
    let Path(projection) = path.map_err(|_| ApiError::NoSuchProjection)?;
    named(&projection)
}

fn named(projection: &str) -> Result<&'static dyn Registered, ApiError> {
    find_projection(&PROJECTIONS, projection).ok_or(ApiError::NoSuchProjection)
}

/// Returns the name of an operator, as recorded. The name of a person who signs in at an issuer can be longer
/// than the record permits. It begins with the issuer, so its end is kept.
fn operator(caller: &Caller) -> String {
    let name = caller.actor();
    let excess = name.chars().count().saturating_sub(LONGEST_NAME);
    if excess == 0 {
        return name.to_owned();
    }
    let end = name.chars().skip(excess + 1);
    ["…".to_owned(), end.collect()].concat()
}

fn accepted(rebuild: &Rebuild) -> Response {
    let location = [(header::LOCATION, location(rebuild))];
    (StatusCode::ACCEPTED, location, Json(rebuild)).into_response()
}

fn location(rebuild: &Rebuild) -> String {
    format!(
        "/projections/{}/rebuilds/{}",
        rebuild.projection, rebuild.generation
    )
}

#[expect(clippy::needless_pass_by_value, reason = "map_err passes the error by value")]
fn unavailable(error: eventstore::Error) -> ApiError {
    tracing::error!(%error, "the status of projections could not be read");
    ApiError::from(&error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_name_is_recorded() {
        let operator_named = |actor: &str| {
            operator(&Caller::Known {
                actor: actor.to_owned(),
                roles: web::access::Roles::default(),
            })
        };
        assert_eq!(operator_named("ops"), "ops");
        let fits = "é".repeat(LONGEST_NAME);
        assert_eq!(operator_named(&fits), fits);
        let long = format!("https://id.example.com/{}#ana", "x".repeat(LONGEST_NAME));
        let recorded = operator_named(&long);
        assert_eq!(recorded.chars().count(), LONGEST_NAME);
        assert!(
            recorded.starts_with("…x") && recorded.ends_with("#ana"),
            "{recorded}"
        );
    }
}
