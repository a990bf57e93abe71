//! `POST /register`, `POST /patients/register`, `POST /patients`: registers a patient.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, response::AppendHeaders};
use domain::{PatientDetails, Registration, UrlSchemes};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use web::access::Caller;
use web::body::JsonObject;
use web::headers::{etag, idempotency_key};
use web::problem::FieldProblem;
use web::{RequestError, RequestId, RequestTrace};

use super::cause;
use crate::headers::EVENT_POSITION;
use crate::legacy::ShownId;
use crate::openapi::{Described, Media, fields};
use crate::problem::{ApiError, kinds};
use crate::state::Api;

/// The fields of a registration. White space and invisible characters around a value are removed. Line
/// breaks, tabs and other control characters within a value are rejected. Lengths are counted in code points,
/// after this cleanup. Names, emails and phone numbers are returned in Unicode Normalization Form C.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "this type only describes; bodies are parsed member by member, see `body`"
)]
struct NewPatient {
    /// At most 200 user-perceived characters (extended grapheme clusters), including at least one letter or
    /// digit of any script. Directional overrides are rejected, as are directional embeddings and isolates
    /// that are not closed.
    #[schema(min_length = 1, max_length = 800, example = "John Doe")]
    name: String,
    /// A plain address with a full domain, at most 254 bytes. International addresses (RFC 6531) are
    /// accepted. It must be unique among active patients, regardless of case.
    #[schema(max_length = 254, example = "john@example.com")]
    email: String,
    /// A phone number in any format, with at least two digits of any script. Invisible characters within it
    /// are removed.
    #[schema(min_length = 2, max_length = 64, example = "+1234567890")]
    phone: String,
    /// The address of the photo of the document: an absolute URL with a host, without a user name or
    /// password. It is stored as written and never fetched. The scheme must be `http` or `https`, in upper or
    /// lower case, unless the service is configured for other schemes.
    #[schema(
        max_length = 4096,
        pattern = "://",
        example = "https://example.com/photos/john.jpg"
    )]
    document_url: String,
}

/// A patient with all details, in the format of the API that this service replaces.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Patient)]
pub(super) struct PatientBody<'d> {
    #[schema(value_type = Uuid, example = "01a20c52-84f4-752b-9b94-14a23061549a")]
    id: ShownId,
    #[schema(example = "John Doe")]
    name: &'d str,
    #[schema(example = "john@example.com")]
    email: &'d str,
    #[schema(example = "+1234567890")]
    phone: &'d str,
    #[schema(example = "https://example.com/photos/john.jpg")]
    document_url: &'d str,
}

/// Returns the example of the API that this service replaces, with an id in the format of this service.
pub(super) fn example() -> Value {
    json!({
        "id": fields::AN_ID,
        "name": "John Doe",
        "email": "john@example.com",
        "phone": "+1234567890",
        "document_url": "https://example.com/photos/john.jpg",
    })
}

impl<'d> PatientBody<'d> {
    pub(super) fn new(id: impl Into<ShownId>, details: &'d PatientDetails) -> Self {
        let PatientDetails {
            name,
            email,
            phone,
            document_url,
        } = details;
        Self {
            id: id.into(),
            name,
            email,
            phone,
            document_url,
        }
    }
}

pub(super) fn described() -> Described {
    let sample = json!({
        "name": "John Doe",
        "email": "john@example.com",
        "phone": "+1234567890",
        "document_url": "https://example.com/photos/john.jpg",
    });
    Described::new(
        "Register a patient",
        "The response is sent when the registration is durable. The confirmation email is sent afterward. `POST /patients`, \
         `POST /register` and `POST /patients/register` are equivalent.",
    )
    .takes([fields::idempotency_key()])
    .body(Media::json::<NewPatient>(sample))
    .answers(
        201,
        "The patient is registered, by this request or by an earlier request with the same Idempotency-Key.",
        [Media::json::<PatientBody<'_>>(example())],
        [
            fields::location(&format!("/patients/{}", fields::AN_ID), "The address of the patient."),
            fields::event_position("The position of the registration in the log, for Min-Position."),
            fields::etag(),
        ],
    )
    .problems([
        kinds::MALFORMED_JSON,
        kinds::TOO_LARGE,
        kinds::UNSUPPORTED_MEDIA_TYPE,
        kinds::UNSUPPORTED_CONTENT_ENCODING,
        kinds::INVALID_REQUEST,
        kinds::PATIENT_ERASED,
        kinds::IDEMPOTENCY_KEY_REUSED,
        kinds::EMAIL_TAKEN,
        kinds::REQUEST_IN_PROGRESS,
        kinds::BODY_TOO_SLOW,
        kinds::OVERLOADED,
        kinds::SHUTTING_DOWN,
        kinds::UNAVAILABLE,
        kinds::CLOCK_WRONG,
        kinds::LOG_DAMAGED,
        kinds::KEYRING_UNUSABLE,
        kinds::PATIENT_UNREADABLE,
    ])
}

pub(super) async fn register(
    State(api): State<Api>,
    Extension(request_id): Extension<RequestId>,
    Extension(caller): Extension<Caller>,
    Extension(trace): Extension<RequestTrace>,
    headers: HeaderMap,
    body: JsonObject,
) -> Result<Response, ApiError> {
    let key = idempotency_key(&headers)?;
    let registration = parse(body, &api.options.document_url_schemes)?;
    let registered = api
        .commands
        .register(registration, key, &cause(request_id, &caller, &trace))
        .await?;

    let headers: AppendHeaders<[(HeaderName, String); 3]> = AppendHeaders([
        (header::LOCATION, format!("/patients/{}", registered.id)),
        (EVENT_POSITION, registered.position.to_string()),
        (header::ETAG, etag(1)),
    ]);
    let body = PatientBody::new(registered.id, &registered.details);
    Ok((StatusCode::CREATED, headers, Json(body)).into_response())
}

/// Parses a registration. All invalid fields are reported together, whether their type or their value is
/// wrong.
pub(crate) fn parse(body: JsonObject, schemes: &UrlSchemes) -> Result<Registration, ApiError> {
    let (strings, mut problems) = body.strings(["name", "email", "phone", "document_url"]);
    let [name, email, phone, document_url] = strings.map(Option::unwrap_or_default);
    match Registration::parse_with(&name, &email, &phone, &document_url, schemes) {
        Ok(registration) if problems.is_empty() => Ok(registration),
        Ok(_) => Err(RequestError::Invalid(problems).into()),
        Err(refused) => {
            for field in refused {
                // Do not report a missing field as empty as well.
                if !problems.iter().any(|problem| problem.field == field.field) {
                    problems.push(FieldProblem::in_body(field.field, field.error.to_string()));
                }
            }
            Err(RequestError::Invalid(problems).into())
        }
    }
}
