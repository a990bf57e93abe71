//! The routes, one file each.

mod about;
mod amend_patient;
mod audit;
mod delete_patient;
mod get_patient;
mod health;
mod list_patients;
mod mail;
mod projections;
mod register;
mod slash;
mod table;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use serde_json::json;
use tower::ServiceBuilder;
use utoipa::openapi::OpenApi;
use uuid::Uuid;

use crate::Api;
use crate::access::{CLERKS, Caller, EVERYBODY, OPERATORS, READERS};
use crate::body::MAX_BODY;
use crate::cors::share;
use crate::metrics::OPEN_METRICS;
use crate::observe::{RequestId, RequestTrace, observe};
use crate::openapi::{Described, Media, OPERATIONS, Service, Tokens, fields};
use crate::paths::{LIVE, METRICS, PATIENT, READY, REGISTER};
use crate::problem::ApiError;
use crate::secure::{OverTls, secure};
use projector::reads::ReadError;
use table::Routes;

#[cfg(feature = "fuzzing")]
pub(crate) use register::parse as registration;

/// Returns all routes: the routes of the service that this service replaces, the route of that service's load
/// test, and the plain REST routes.
fn routes() -> Routes {
    REGISTER
        .into_iter()
        .fold(Routes::new(), |routes, path| {
            routes.post(path, CLERKS, register::register, register::described)
        })
        .get(
            "/getPatients",
            READERS,
            list_patients::list,
            list_patients::described,
        )
        .get(
            "/patients",
            READERS,
            list_patients::list,
            list_patients::described,
        )
        .get(PATIENT, READERS, get_patient::get, get_patient::described)
        .patch(PATIENT, CLERKS, amend_patient::amend, amend_patient::described)
        .delete(PATIENT, CLERKS, delete_patient::delete, delete_patient::described)
        .merge(audit::routes())
        .merge(projections::routes())
        .merge(mail::routes())
        .get(METRICS, OPERATORS, metrics, metrics_described)
        .get(LIVE, EVERYBODY, health::live, health::live_described)
        .get(READY, EVERYBODY, health::ready, health::ready_described)
        .merge(about::routes())
}

/// Creates the router of an API.
pub fn router(api: Api) -> Router {
    // CORS precedes observation, so a preflight request is neither authenticated nor counted.
    let cors = api.options.cors.clone();
    let cors = cors.map(|cors| from_fn_with_state((cors, api.clone()), share));
    // One stack of layers: each layer that is added to the router separately costs every request an
    // allocation.
    let layers = ServiceBuilder::new()
        .map_response({
            let api = api.clone();
            move |response| finish(&api, response)
        })
        .option_layer(cors)
        .layer(from_fn_with_state(api.clone(), observe))
        .layer(DefaultBodyLimit::max(MAX_BODY));
    routes().into_router().layer(layers).with_state(api)
}

/// Completes every response.
fn finish(api: &Api, mut response: Response) -> Response {
    if let Some(url) = &api.options.public_url {
        url.complete(response.headers_mut());
    }
    secure(response, OverTls(api.options.over_tls))
}

/// Returns the OpenAPI document that applies to any service.
#[must_use]
pub fn openapi() -> OpenApi {
    routes().into_document(Service::ANY)
}

/// Returns the OpenAPI document of this service.
fn document_of(api: &Api) -> OpenApi {
    routes().into_document(Service {
        url: api.options.public_url.as_ref(),
        tokens: if api.access.is_open() {
            Tokens::Ignored
        } else {
            Tokens::Required
        },
    })
}

fn metrics_described() -> Described {
    Described::new(
        OPERATIONS,
        "Metrics for Prometheus",
        "The metrics of this process, and the status of the log, its subscriptions and the mail, in the OpenMetrics 1.0 format. \
         The same page is served on `METRICS_ADDR`, if that is set.",
    )
    .answers(
        200,
        "The metrics.",
        [Media::of(OPEN_METRICS, fields::string(), Some(json!("# EOF\n")))],
        [],
    )
}

/// Returns the metrics page.
async fn metrics(State(api): State<Api>) -> Response {
    api.metrics.page().await
}

/// Returns the cause to record in the events of this request.
fn cause(request_id: &RequestId, caller: &Caller, trace: &RequestTrace) -> crate::commands::Cause {
    crate::commands::Cause {
        request_id: request_id.0.clone(),
        actor: caller.actor().to_owned(),
        trace: trace.context(),
    }
}

/// The patient id in a path. No patient has an id that is not a UUID.
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
            ReadError::Store(error) if matches!(*error, eventstore::Error::NotFilled { .. }) => {
                tracing::warn!(%error, "a read table cannot be searched yet");
                Self::NotFilled
            }
            ReadError::Store(error) => {
                tracing::error!(%error, "patients could not be read");
                Self::from(error.as_ref())
            }
            ReadError::ClaimsDamaged { .. } => {
                tracing::error!(%error, "a search by email found a damaged claim");
                Self::ClaimsDamaged
            }
            ReadError::Unreadable { .. } => {
                tracing::error!(%error, "an event of a patient cannot be read");
                Self::PatientUnreadable
            }
            ReadError::Failed => {
                tracing::error!(%error, "a patient could not be read");
                Self::Internal
            }
        }
    }
}
