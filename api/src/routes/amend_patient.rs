//! `PATCH /patients/{id}`: changes details of a patient.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use domain::{Amendment, UrlSchemes};
use serde_json::json;
use utoipa::ToSchema;
use web::access::Caller;
use web::body::{MERGE_PATCH, MergePatch};
use web::headers::{etag, idempotency_key, if_match};
use web::problem::FieldProblem;
use web::{RequestError, RequestId, RequestTrace};

use super::register::{self, PatientBody};
use super::{PathPatient, audit, cause};
use crate::headers::EVENT_POSITION;
use crate::openapi::{Described, Media, fields};
use crate::problem::{ApiError, kinds};
use crate::state::Api;

/// The fields to change, at least one. The rules for values are the same as for a registration. Fields that
/// are not sent are kept, and no field can be removed.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(min_properties = 1)]
#[expect(
    dead_code,
    reason = "this type only describes; bodies are parsed member by member, see `body`"
)]
struct PatientPatch {
    /// The new name.
    #[schema(nullable = false, min_length = 1, max_length = 800, example = "Jon Doe")]
    name: Option<String>,
    /// The new email address. It must be unique among active patients, regardless of case.
    #[schema(nullable = false, max_length = 254, example = "jon@example.com")]
    email: Option<String>,
    /// The new phone number.
    #[schema(nullable = false, min_length = 2, max_length = 64, example = "+1234567891")]
    phone: Option<String>,
    /// The new address of the photo of the document.
    #[schema(
        nullable = false,
        max_length = 4096,
        pattern = "://",
        example = "https://example.com/photos/jon.jpg"
    )]
    document_url: Option<String>,
}

pub(super) fn described() -> Described {
    let sample = json!({ "name": "Jon Doe" });
    Described::new(
        "Amend a patient",
        "Changes the given fields with a JSON merge patch (RFC 7396). The response is sent when the change is durable. Send the \
         `ETag` of the last read as `If-Match`: the request is then rejected if another request has changed the patient in the \
         meantime. A patch that changes nothing is answered with 200 and records no event. With `Idempotency-Key`, `If-Match` is \
         required. The body can also be sent as `application/json`.",
    )
    .takes([
        fields::patient_or_number(),
        fields::if_match(),
        fields::amendment_idempotency_key(),
    ])
    .body(Media::json::<PatientPatch>(sample).named(MERGE_PATCH))
    .answers(
        200,
        "The patient after the change, by this request or by an earlier request with the same Idempotency-Key.",
        [Media::json::<PatientBody<'_>>(register::example())],
        [
            fields::event_position("The position of the patient's last event in the log, for Min-Position."),
            fields::etag(),
        ],
    )
    .problems([
        kinds::MALFORMED_JSON,
        kinds::TOO_LARGE,
        kinds::UNSUPPORTED_MEDIA_TYPE,
        kinds::UNSUPPORTED_CONTENT_ENCODING,
        kinds::INVALID_REQUEST,
        kinds::PATIENT_NOT_FOUND,
        kinds::PATIENT_DELETED,
        kinds::PATIENT_ERASED,
        kinds::PRECONDITION_FAILED,
        kinds::IDEMPOTENCY_KEY_REUSED,
        kinds::EMAIL_TAKEN,
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

pub(super) async fn amend(
    State(api): State<Api>,
    Extension(request_id): Extension<RequestId>,
    (Extension(caller), reader): (Extension<Caller>, audit::Reader),
    Extension(trace): Extension<RequestTrace>,
    PathPatient { id, shown }: PathPatient,
    headers: HeaderMap,
    body: MergePatch,
) -> Result<Response, ApiError> {
    let expected = if_match(&headers)?;
    let key = match (idempotency_key(&headers)?, expected.as_deref()) {
        (Some(key), Some([sequence])) => Some((key, *sequence)),
        (Some(_), _) => return Err(key_without_sequence()),
        (None, _) => None,
    };
    let amendment = parse(body, &api.options.document_url_schemes)?;
    // The response contains the whole patient. Without room for its entry, nothing is changed.
    let room = api.read_log.reserve(1)?;
    let amended = api
        .commands
        .amend(id, amendment, key, expected, &cause(request_id, &caller, &trace))
        .await?;
    if let Some(room) = room {
        let recorded = reader.reads_current_in(room, &api, id, Some(amended.sequence));
        recorded.await.map_err(|_| RequestError::OutcomeUnknown)?;
    }
    let headers = [
        (header::ETAG, etag(amended.sequence)),
        (EVENT_POSITION, amended.position.to_string()),
    ];
    Ok((headers, Json(PatientBody::new(shown, &amended.details))).into_response())
}

/// Returns the error of a request with a key but without exactly one sequence. Without the sequence, a late
/// copy of the request could undo a later change.
fn key_without_sequence() -> ApiError {
    let problem = FieldProblem::new(
        header::IF_MATCH.as_str(),
        "is required with Idempotency-Key, and must contain exactly one strong ETag returned by GET",
    );
    RequestError::Invalid(vec![problem]).into()
}

/// Parses a patch. All invalid fields are reported together, whether their type or their value is wrong.
fn parse(MergePatch(body): MergePatch, schemes: &UrlSchemes) -> Result<Amendment, ApiError> {
    let (strings, mut problems) = body.some_strings(["name", "email", "phone", "document_url"]);
    let [name, email, phone, document_url] = strings.each_ref().map(Option::as_deref);
    match Amendment::parse_with(name, email, phone, document_url, schemes) {
        Ok(amendment) if problems.is_empty() => Ok(amendment),
        Ok(_) => Err(RequestError::Invalid(problems).into()),
        Err(refused) => {
            let refused = refused.into_iter();
            problems.extend(refused.map(|field| FieldProblem::in_body(field.field, field.error.to_string())));
            Err(RequestError::Invalid(problems).into())
        }
    }
}
