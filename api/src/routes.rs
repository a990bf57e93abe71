//! The routes, one file each.

mod audit;
mod delete_patient;
mod get_patient;
mod health;
mod list_patients;
mod mail;
mod projections;
mod register;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{delete, get, post};
use uuid::Uuid;

use crate::Api;
use crate::access::{CLERKS, Caller, EVERYBODY, OPERATORS, READERS};
use crate::body::MAX_BODY;
use crate::observe::{RequestId, observe};
use crate::problem::ApiError;
use crate::reads::ReadError;

/// All routes: the seed's, the one of its load test, and the plain REST ones.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/register", CLERKS.may(post(register::register)))
        .route("/patients/register", CLERKS.may(post(register::register)))
        .route("/patients", CLERKS.may(post(register::register)))
        .route("/patients", READERS.may(get(list_patients::list)))
        .route("/getPatients", READERS.may(get(list_patients::list)))
        .route("/patients/{id}", READERS.may(get(get_patient::get)))
        .route("/patients/{id}", CLERKS.may(delete(delete_patient::delete)))
        .merge(audit::routes())
        .route("/projections", OPERATORS.may(get(projections::all)))
        .route(
            "/projections/{projection}/rebuild",
            OPERATORS.may(post(projections::rebuild)),
        )
        .route(
            "/projections/{projection}/rebuilds/{generation}",
            OPERATORS.may(get(projections::progress).delete(projections::cancel)),
        )
        .route("/mail", OPERATORS.may(get(mail::status)))
        .route("/mail/deliveries", OPERATORS.may(get(mail::list)))
        .route("/mail/deliveries/{id}", OPERATORS.may(get(mail::show)))
        .route("/mail/deliveries/{id}/retry", OPERATORS.may(post(mail::retry)))
        .route("/mail/dead/retry", OPERATORS.may(post(mail::retry_dead)))
        .route("/health/live", EVERYBODY.may(get(health::live)))
        .route("/health/ready", EVERYBODY.may(get(health::ready)))
        .route("/metrics", OPERATORS.may(get(metrics)))
        .fallback(async || ApiError::NoSuchRoute)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(api.clone(), observe))
        .with_state(api)
}

/// `GET /metrics`.
async fn metrics(State(api): State<Api>) -> Response {
    api.metrics.page().await
}

/// Who causes what this request does.
fn cause(request_id: &RequestId, caller: &Caller) -> crate::commands::Cause {
    crate::commands::Cause {
        request_id: request_id.0.clone(),
        actor: caller.actor().to_owned(),
    }
}

/// The patient's id in a path. What is not a UUID names no patient.
struct PatientId(Uuid);

impl<S: Send + Sync> FromRequestParts<S> for PatientId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Path::<Uuid>::from_request_parts(parts, state)
            .await
            .map(|Path(id)| Self(id))
            .map_err(|_| ApiError::PatientNotFound)
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Overloaded => Self::Overloaded,
            ReadError::ShuttingDown => Self::ShuttingDown,
            ReadError::Store(error) if matches!(*error, eventstore::Error::Damaged { .. }) => {
                tracing::error!(%error, "the log is damaged");
                Self::Internal
            }
            ReadError::Store(error) => {
                tracing::error!(%error, "patients could not be read");
                Self::Unavailable
            }
            ReadError::Unreadable { .. } | ReadError::Failed => {
                tracing::error!(%error, "a patient could not be read");
                Self::Internal
            }
        }
    }
}
