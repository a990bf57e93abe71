//! `GET /mail`, the deliveries under it, and trying them again.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use eventstore::Position;
use serde::Serialize;

use crate::Api;
use crate::headers::set_next;
use crate::mail::{MailStatus, Retried, STATES, Shown};
use crate::problem::ApiError;
use crate::query::Query;

const DEFAULT_LIMIT: u32 = 100;

/// How mail stands.
pub(super) async fn status(State(api): State<Api>) -> Result<Json<MailStatus>, ApiError> {
    Ok(Json(api.mail.status().await.map_err(unavailable)?))
}

/// The deliveries, page by page.
pub(super) async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let mut query = Query::parse(query.as_deref());
    let must = format!("must be one of {}", STATES.join(", "));
    let state = query.read("state", &must, |value| {
        STATES.into_iter().find(|state| *state == value)
    });
    let after = query.position("after").unwrap_or_default();
    let limit = query.limit().unwrap_or(DEFAULT_LIMIT);
    query.finish()?;
    let page = api.mail.list(state, after, limit).await.map_err(unavailable)?;
    let next = page.last().filter(|_| page.len() == limit as usize).map(|last| {
        let state = state.map_or_else(String::new, |state| format!("&state={state}"));
        format!("/mail/deliveries?after={}&limit={limit}{state}", last.id)
    });
    let mut response = Json(page).into_response();
    if let Some(next) = next {
        set_next(&mut response, &next);
    }
    Ok(response)
}

/// The mails about one event, with every attempt.
pub(super) async fn show(
    State(api): State<Api>,
    path: Result<Path<u64>, PathRejection>,
) -> Result<Json<Shown>, ApiError> {
    let shown = api.mail.show(id(path)?).await.map_err(unavailable)?;
    if shown.mails.is_empty() {
        return Err(ApiError::NoSuchMail);
    }
    Ok(Json(shown))
}

/// Makes one due.
pub(super) async fn retry(
    State(api): State<Api>,
    path: Result<Path<u64>, PathRejection>,
) -> Result<Response, ApiError> {
    let id = id(path)?;
    match api.mail.retry(id).await.map_err(unavailable)? {
        Retried::Due => {
            let location = [(header::LOCATION, format!("/mail/deliveries/{id}"))];
            Ok((StatusCode::ACCEPTED, location, Json(Due { due: 1 })).into_response())
        }
        Retried::Not(state) => Err(ApiError::NotToBeRetried(state)),
        Retried::Unknown => Err(ApiError::NoSuchMail),
    }
}

/// Makes all that are dead due.
pub(super) async fn retry_dead(State(api): State<Api>) -> Result<Response, ApiError> {
    let due = api.mail.retry_dead().await.map_err(unavailable)?;
    Ok((StatusCode::ACCEPTED, Json(Due { due })).into_response())
}

/// How many mails are to be sent now.
#[derive(Debug, Serialize)]
struct Due {
    due: u64,
}

/// What is not a number names no mail.
fn id(path: Result<Path<u64>, PathRejection>) -> Result<Position, ApiError> {
    let Path(number) = path.map_err(|_| ApiError::NoSuchMail)?;
    Position::new(number).ok_or(ApiError::NoSuchMail)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unavailable(error: eventstore::Error) -> ApiError {
    tracing::error!(%error, "the mail ledger could not be asked");
    ApiError::Unavailable
}
