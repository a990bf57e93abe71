//! The routes, one file each.

mod about;
mod amend_patient;
mod audit;
mod checks;
mod delete_patient;
mod erasure;
mod get_patient;
mod health;
mod hold;
mod list_patients;
mod mail;
mod position_page;
mod projections;
mod published;
mod published_reads;
mod register;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use domain::OldId;
use projector::reads::ReadError;
use serde_json::json;
use utoipa::openapi::OpenApi;
use uuid::Uuid;
use web::access::Caller;
use web::metrics_page::{METRICS, OPEN_METRICS};
use web::openapi::{Service, Tokens};
use web::pipeline::{Pipeline, PipelineParts};
use web::routes::Routes;
use web::server::Front;
use web::{RequestError, RequestId, RequestTrace, RouteKind};

use crate::headers::{REQUEST_HEADERS, RESPONSE_HEADERS};
use crate::legacy::{self, ShownId};
use crate::openapi::{Described, Media, TEXTS, allow_numbers, fields};
use crate::paths::{LIVE, READY};
use crate::problem::ApiError;
use crate::state::Api;

#[cfg(feature = "fuzzing")]
pub(crate) use register::parse as registration;

/// Media type of JSON objects, one per line.
const NDJSON: &str = "application/x-ndjson";
/// Path of one patient.
const PATIENT: &str = "/patients/{id}";
/// Paths at which patients are registered: the path of the service that this service replaces, the path of
/// that service's load test, and the plain REST path.
const REGISTER: [&str; 3] = ["/register", "/patients/register", "/patients"];

/// Returns all routes: the routes of the service that this service replaces, the route of that service's load
/// test, and the plain REST routes.
fn routes() -> Routes<Api> {
    use RouteKind::{BatchedRead, Command, Health, Metrics, Read};

    REGISTER
        .into_iter()
        .fold(Routes::new(), |routes, path| {
            routes.post(path, Command, register::register, register::described)
        })
        .get(
            "/getPatients",
            Read,
            list_patients::list,
            list_patients::described,
        )
        .get("/patients", Read, list_patients::list, list_patients::described)
        .get(PATIENT, BatchedRead, get_patient::get, get_patient::described)
        .patch(PATIENT, Command, amend_patient::amend, amend_patient::described)
        .delete(
            PATIENT,
            Command,
            delete_patient::delete,
            delete_patient::described,
        )
        .merge(erasure::routes())
        .merge(hold::routes())
        .merge(audit::routes())
        .merge(published::routes())
        .merge(published_reads::routes())
        .merge(projections::routes())
        .merge(mail::routes())
        .merge(checks::routes())
        .get(METRICS, Metrics, metrics, metrics_described)
        .get(LIVE, Health, health::live, health::live_described)
        .get(READY, Health, health::ready, health::ready_described)
        .merge(web_console::routes())
        .merge(about::routes())
}

/// Creates the entry point of the requests to an API.
pub(crate) fn front(api: Api) -> Front {
    let table = routes();
    let pipeline = Pipeline::new(PipelineParts {
        clock: Arc::clone(&api.clock),
        access: api.access.clone(),
        kinds: table.kinds(),
        is_full: {
            let api = api.clone();
            Box::new(move || api.commands.is_full())
        },
        request_headers: &REQUEST_HEADERS,
        response_headers: &RESPONSE_HEADERS,
        options: api.options.http.clone(),
    });
    let router = pipeline.around(table.into_router()).with_state(api);
    Front::new(router, pipeline)
}

/// Creates the router of an API.
pub fn router(api: Api) -> Router {
    front(api).into_router()
}

/// Returns the OpenAPI document that applies to any service.
#[must_use]
pub fn openapi() -> OpenApi {
    routes().into_document(&TEXTS, Service::ANY)
}

/// Returns the OpenAPI document of this service.
fn document_of(api: &Api) -> OpenApi {
    let service = Service {
        url: api.options.http.public_url.as_ref(),
        tokens: if api.access.is_open() {
            Tokens::Ignored
        } else {
            Tokens::Required
        },
    };
    let mut document = routes().into_document(&TEXTS, service);
    if api.options.legacy_ids.in_paths {
        allow_numbers(&mut document);
    }
    document
}

fn metrics_described() -> Described {
    Described::new(
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
fn cause(request_id: RequestId, caller: &Caller, trace: &RequestTrace) -> crate::commands::Cause {
    crate::commands::Cause {
        request_id: request_id.0,
        actor: caller.actor().to_owned(),
        trace: trace.context(),
    }
}

/// Returns a check whether the sender of these headers may still use routes of this kind. A token may be
/// revoked while a response is streamed.
fn still_allowed(api: &Api, headers: &HeaderMap, kind: RouteKind) -> impl Fn() -> bool + Send + Sync + use<> {
    let api = api.clone();
    let given = headers.get_all(header::AUTHORIZATION).iter();
    let given: HeaderMap = given
        .map(|value| (header::AUTHORIZATION, value.clone()))
        .collect();
    move || kind.check(Some(&api.access.caller(&given))).is_ok()
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

/// The patient in a path: an id or, if [`LegacyIds`](crate::LegacyIds) allows it, a number.
struct PathPatient {
    id: Uuid,
    /// The id as the request names the patient.
    shown: ShownId,
}

impl FromRequestParts<Api> for PathPatient {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let legacy = &api.options.legacy_ids;
        if legacy.in_paths
            && let Ok(Path(text)) = Path::<String>::from_request_parts(parts, api).await
            && let Some(number) = legacy::number(&text)
        {
            let old_id = OldId::parse(&text).map_err(|_| ApiError::PatientNotFound)?;
            return Ok(Self {
                id: legacy::resolve(api, &legacy.source, &old_id).await?,
                shown: ShownId::Number(number),
            });
        }
        let PatientId(id) = PatientId::from_request_parts(parts, api).await?;
        Ok(Self { id, shown: id.into() })
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Overloaded => RequestError::Overloaded.into(),
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
                RequestError::Internal.into()
            }
        }
    }
}
