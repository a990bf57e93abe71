//! `GET /projections`, and rebuilds of one: asked for, watched, called off. A projector process does the work.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use eventstore::rebuild::Requested;
use eventstore::{Followed, Rebuild, RebuildState, Runner, overview};
use serde::Serialize;

use crate::Api;
use crate::access::Caller;
use crate::problem::ApiError;

#[derive(Debug, Serialize)]
pub(super) struct Overview {
    subscriptions: Vec<Followed>,
}

/// How far every subscription is.
pub(super) async fn all(State(api): State<Api>) -> Result<Json<Overview>, ApiError> {
    let subscriptions = overview(api.log.database(), api.clock.now())
        .await
        .map_err(unavailable)?;
    Ok(Json(Overview { subscriptions }))
}

/// Asks for a rebuild.
pub(super) async fn rebuild(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(projection) = path.map_err(|_| ApiError::NoSuchProjection)?;
    let (database, by) = (api.log.database(), caller.actor());
    let requested = Rebuild::request(database, &projection, Runner::Projector, by, api.clock.now());
    match requested.await.map_err(unavailable)? {
        Requested::New(rebuild) => Ok(accepted(&rebuild)),
        Requested::NoProjection => Err(ApiError::NoSuchProjection),
        // One that a command left unfinished: the projector goes on with it.
        Requested::Unfinished(rebuild)
            if rebuild.owner.is_none() && rebuild.state != RebuildState::Cancelling =>
        {
            rebuild.leave_to_projector(database).await.map_err(unavailable)?;
            Ok(accepted(&rebuild))
        }
        Requested::Unfinished(rebuild) => Err(ApiError::RebuildUnderWay(location(&rebuild))),
    }
}

/// How far a rebuild is.
pub(super) async fn progress(
    State(api): State<Api>,
    path: Result<Path<(String, i64)>, PathRejection>,
) -> Result<Json<Rebuild>, ApiError> {
    Ok(Json(find(&api, path).await?))
}

/// Calls a rebuild off.
pub(super) async fn cancel(
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
    // What is not a number names no rebuild.
    let Path((projection, generation)) = path.map_err(|_| ApiError::NoSuchRebuild)?;
    Rebuild::of(api.log.database(), &projection, generation, api.clock.now())
        .await
        .map_err(unavailable)?
        .ok_or(ApiError::NoSuchRebuild)
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

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unavailable(error: eventstore::Error) -> ApiError {
    tracing::error!(%error, "what the database knows of projections could not be had");
    ApiError::Unavailable
}
