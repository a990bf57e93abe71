//! The routes below `/mail`: the status, the deliveries and their retries, previews and test emails.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use eventstore::Position;
use mailer::{
    DeliveriesWanted, DeliveryFailure, DeliveryState, EventDeliveries, Languages, LedgerStatus, RetryResult,
    SampleMailer, Template, TestResult,
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use utoipa::openapi::path::Parameter;
use web::body::JsonObject;
use web::headers::set_links;
use web::problem::FieldProblem;
use web::query::{DEFAULT_LIMIT, Query};
use web::routes::Routes;
use web::{RequestError, RouteKind};

use crate::openapi::schemas::mail::{Delivery, MailStatus, MailTrial, Shown};
use crate::openapi::{Described, Media, fields};
use crate::parameters::{patient_id, position};
use crate::problem::{ApiError, kinds};
use crate::state::Api;

/// Media type of an email as a file (RFC 5322, RFC 2046).
const EML: &str = "message/rfc822";

/// Languages in which an email can be previewed.
const LANGUAGES: [&str; 4] = ["es", "en", "es,en", "en,es"];

pub(super) fn routes() -> Routes<Api> {
    Routes::new()
        .get("/mail", RouteKind::Operate, status, status_described)
        .get("/mail/deliveries", RouteKind::Operate, list, list_described)
        .get("/mail/deliveries/{id}", RouteKind::Operate, show, show_described)
        .post(
            "/mail/deliveries/{id}/retry",
            RouteKind::Operate,
            retry,
            retry_described,
        )
        .get("/mail/preview", RouteKind::Operate, preview, preview_described)
        .post("/mail/test", RouteKind::Operate, test, test_described)
        .post(
            "/mail/dead/retry",
            RouteKind::Operate,
            retry_dead,
            retry_dead_described,
        )
}

fn mail_id() -> Parameter {
    fields::path(
        "id",
        fields::whole_number(1),
        json!(17),
        "The position of the event that the email is about.",
    )
}

fn example() -> Value {
    json!({
        "id": 17, "mail": "patient_registered", "patient_id": fields::AN_ID, "state": "sent", "attempts": 1, "next": null,
        "last_error": null, "created_at": "2026-11-24T08:38:47.323577Z", "updated_at": "2026-11-24T08:38:47.501244Z",
    })
}

fn status_described() -> Described {
    let example = json!({
        "mails": {"pending": 0, "sending": 0, "sent": 612, "failed": 0, "dead": 0, "cancelled": 3}, "oldest_waiting": null,
        "oldest_due": null, "due_too_late": 0,
        "mailers": [{
            "name": "mailer@clinic:4711:5c1f03aa", "server": "smtp.gmail.com:465 over TLS", "state": "ready", "error": null,
            "since": "2026-11-24T08:00:00.000000Z", "seen_at": "2026-11-24T08:38:47.323577Z",
        }],
    });
    Described::new(
        "Read the email status",
        "The number of emails in each state, the times of the oldest waiting and the oldest due email, and the status of each mailer. \
         The process counts the emails in the states `sent`, `dead` and `cancelled` again only if the last count is older than 49 times \
         its duration or than a minute, because a count reads the whole ledger. A retry in the same process also leads to a new count.",
    )
    .answers(200, "The email status.", [Media::json::<MailStatus>(example)], [])
    .problems([kinds::UNAVAILABLE])
}

fn list_described() -> Described {
    Described::new(
        "List emails",
        "All emails, ordered by the position of the event that they are about. The list contains no personal data: the address is in \
         the events of the patient. A page also contains the other emails about the event of its last email, so it can be longer than `limit`.",
    )
    .takes([
        fields::query(
            "state",
            fields::string().enum_values(Some(DeliveryState::ALL.map(DeliveryState::name))),
            json!("dead"),
            "Only emails in this state.",
        ),
        fields::query(
            "patient_id",
            fields::uuid(),
            json!(fields::AN_ID),
            "Only emails to this patient.",
        ),
        fields::query(
            "after",
            fields::whole_number(0),
            json!(0),
            "Only emails with a larger id.",
        ),
        fields::limit(),
    ])
    .answers(
        200,
        "A page of emails.",
        [Media::json_list::<Delivery>(json!([example()]))],
        [fields::link(
            "</mail/deliveries?after=117&limit=100>; rel=\"next\", </mail/deliveries?limit=100>; rel=\"first\"",
        )],
    )
    .problems([kinds::INVALID_REQUEST, kinds::UNAVAILABLE])
}

fn show_described() -> Described {
    let attempt = json!({
        "id": 17, "mail": "patient_registered", "attempt": 1, "started_at": "2026-11-24T08:38:47.400000Z",
        "ended_at": "2026-11-24T08:38:47.500000Z", "outcome": "sent", "error": null,
    });
    Described::new(
        "Read the emails about an event",
        "The emails about an event, with every finished attempt to send them.",
    )
    .takes([mail_id()])
    .answers(
        200,
        "The emails.",
        [Media::json::<Shown>(
            json!({"mails": [example()], "attempts": [attempt]}),
        )],
        [],
    )
    .problems([kinds::MAIL_NOT_FOUND, kinds::UNAVAILABLE])
}

fn retry_described() -> Described {
    Described::new(
        "Retry the emails about an event",
        "Makes the emails about an event due now, and restarts their retry schedules. Emails that were sent, are being sent or were \
         cancelled do not change, and if there are only such emails, the request is rejected.",
    )
    .takes([mail_id()])
    .answers(
        202,
        "At least one email is due now. `due` is the number of these emails.",
        [Media::json::<Due>(json!({"due": 1}))],
        [fields::location(
            "/mail/deliveries/17",
            "The address of the status of the emails.",
        )],
    )
    .problems([
        kinds::MAIL_NOT_FOUND,
        kinds::MAIL_NOT_TO_BE_RETRIED,
        kinds::UNAVAILABLE,
    ])
}

fn retry_dead_described() -> Described {
    Described::new(
        "Retry all dead emails",
        "Makes every dead email due now, and restarts its retry schedule.",
    )
    .answers(
        202,
        "The emails are due now.",
        [Media::json::<Due>(json!({"due": 2}))],
        [],
    )
    .problems([kinds::UNAVAILABLE])
}

fn preview_described() -> Described {
    Described::new(
        "Preview an email",
        "The email as patients receive it, about a fictitious patient, in a format that email programs can open.",
    )
    .takes([
        fields::query(
            "mail",
            fields::string().enum_values(Some(Template::ALL.map(Template::name))),
            json!("patient_registered"),
            "The kind of email; `patient_registered` by default.",
        ),
        fields::query(
            "language",
            fields::string().enum_values(Some(LANGUAGES)),
            json!("es,en"),
            "The language of the email, or its languages in this order. By default, the languages in the settings.",
        ),
    ])
    .answers(200, "The email.", [Media::of(EML, fields::string(), None)], [])
    .problems([kinds::INVALID_REQUEST])
}

fn test_described() -> Described {
    let step = |step| json!({"step": step, "result": "passed", "error": null});
    let example = json!({
        "server": "smtp.gmail.com:465 over TLS", "sent": true, "said": null, "advice": null,
        "steps": [step("resolve"), step("connect"), step("TLS"), step("EHLO"), step("AUTH"), step("MAIL"), step("RCPT"), step("DATA"), step("message")],
    });
    Described::new(
        "Send a test email",
        "Sends one real email that identifies itself as a test, with the mail settings of the process that responds. Returns the \
         result of each step and, if one failed, how to solve the problem. Only one test email is sent at a time.",
    )
    .body(Media::json::<TestMail>(json!({"to": "ops@example.com"})))
    .answers(200, "The result.", [Media::json::<MailTrial>(example)], [])
    .problems([
        kinds::MALFORMED_JSON,
        kinds::TOO_LARGE,
        kinds::UNSUPPORTED_MEDIA_TYPE,
        kinds::UNSUPPORTED_CONTENT_ENCODING,
        kinds::INVALID_REQUEST,
        kinds::BODY_TOO_SLOW,
        kinds::OVERLOADED,
    ])
}

/// The recipient of a test email.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "this type only describes; bodies are parsed member by member, see `body`"
)]
struct TestMail {
    #[schema(max_length = 254, example = "ops@example.com")]
    to: String,
}

/// Returns a preview of an email about a fictitious patient.
async fn preview(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let mut query = Query::parse(query.as_deref());
    let must = format!("must be one of {}", Template::ALL.map(Template::name).join(", "));
    let template = query.read("mail", &must, Template::named);
    let must = format!("must be one of {}", LANGUAGES.join("; "));
    let languages: Option<Languages> = query.read("language", &must, |value| {
        value.parse().ok().filter(|_| LANGUAGES.contains(&value))
    });
    query.finish()?;
    let template = template.unwrap_or(Template::PatientRegistered);
    let mail = sample_mailer(&api)?.preview(template, languages.as_ref(), api.clock.now());
    let mail = mail.map_err(|failure| settings_unusable(&failure.to_string()))?;
    Ok(([(header::CONTENT_TYPE, EML)], mail.content().to_owned()).into_response())
}

/// Maximum length of an address, in characters (RFC 5321, section 4.5.3.1.3, without the angle brackets).
const LONGEST_EMAIL: usize = 254;

/// Permits one test email at a time, because a person waits for the result, and the email may go to any
/// address.
static TURN: Semaphore = Semaphore::const_new(1);

/// Sends a test email.
async fn test(State(api): State<Api>, body: JsonObject) -> Result<Json<TestResult>, ApiError> {
    let ([to], problems) = body.strings(["to"]);
    let Some(to) = to.filter(|_| problems.is_empty()) else {
        return Err(RequestError::Invalid(problems).into());
    };
    if to.chars().count() > LONGEST_EMAIL {
        let message = format!("must have at most {LONGEST_EMAIL} characters");
        return Err(RequestError::Invalid(vec![FieldProblem::in_body("to", message)]).into());
    }
    let _turn = TURN.try_acquire().map_err(|_| RequestError::Overloaded)?;
    let result = sample_mailer(&api)?.test(&to, api.clock.now()).await;
    result.map(Json).map_err(|failure| match failure {
        DeliveryFailure::Address => {
            let message = "must be an address that mail can be sent to".to_owned();
            RequestError::Invalid(vec![FieldProblem::in_body("to", message)]).into()
        }
        failure => settings_unusable(&failure.to_string()),
    })
}

fn sample_mailer(api: &Api) -> Result<&SampleMailer, ApiError> {
    api.sample_mailer
        .as_ref()
        .map_err(|error| settings_unusable(error))
}

fn settings_unusable(error: &str) -> ApiError {
    tracing::error!(error, "the mail settings of this process cannot be used");
    RequestError::Internal.into()
}

/// Returns the number of emails in each state and the status of each mailer.
async fn status(State(api): State<Api>) -> Result<Json<LedgerStatus>, ApiError> {
    let finished = api.finished_mails.get(&api.mail_ledger, api.clock.as_ref());
    let finished = finished.await.map_err(unavailable)?;
    let status = api.mail_ledger.status_with(finished, api.clock.now()).await;
    Ok(Json(status.map_err(unavailable)?))
}

/// Lists the deliveries, page by page.
async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let mut query = Query::parse(query.as_deref());
    let must = format!(
        "must be one of {}",
        DeliveryState::ALL.map(DeliveryState::name).join(", ")
    );
    let state = query.read("state", &must, DeliveryState::named);
    let patient = patient_id(&mut query, "patient_id").map(|id| id.to_string());
    let after = position(&mut query, "after").unwrap_or_default();
    let limit = query.limit().unwrap_or(DEFAULT_LIMIT);
    query.finish()?;
    let wanted = DeliveriesWanted { state, patient };
    let page = api
        .mail_ledger
        .list(&wanted, after, limit)
        .await
        .map_err(unavailable)?;
    let state = wanted.state.map(|state| format!("&state={}", state.name()));
    let patient = wanted.patient.map(|id| format!("&patient_id={id}"));
    let filter = [state, patient].map(Option::unwrap_or_default).concat();
    let first = format!("/mail/deliveries?limit={limit}{filter}");
    let next = page.last().filter(|_| page.len() >= limit as usize);
    let next = next.map(|last| format!("/mail/deliveries?after={}&limit={limit}{filter}", last.position));
    let mut response = Json(page).into_response();
    set_links(&mut response, &first, next.as_deref());
    Ok(response)
}

/// Returns the emails about one event, with every attempt to send them.
async fn show(
    State(api): State<Api>,
    path: Result<Path<u64>, PathRejection>,
) -> Result<Json<EventDeliveries>, ApiError> {
    let found = api.mail_ledger.at(id(path)?).await.map_err(unavailable)?;
    if found.deliveries.is_empty() {
        return Err(ApiError::NoSuchMail);
    }
    Ok(Json(found))
}

/// Makes the deliveries of one event due now.
async fn retry(State(api): State<Api>, path: Result<Path<u64>, PathRejection>) -> Result<Response, ApiError> {
    let id = id(path)?;
    let result = api.mail_ledger.retry(id, api.clock.now()).await;
    match result.map_err(unavailable)? {
        RetryResult::Due(due) => {
            api.finished_mails.forget().await;
            let location = [(header::LOCATION, format!("/mail/deliveries/{id}"))];
            Ok((StatusCode::ACCEPTED, location, Json(Due { due })).into_response())
        }
        RetryResult::NotRetryable(state) => Err(ApiError::NotToBeRetried(state.name())),
        RetryResult::NotFound => Err(ApiError::NoSuchMail),
    }
}

/// Makes all dead deliveries due now.
async fn retry_dead(State(api): State<Api>) -> Result<Response, ApiError> {
    let due = api.mail_ledger.retry_dead(api.clock.now()).await;
    let due = due.map_err(unavailable)?;
    api.finished_mails.forget().await;
    Ok((StatusCode::ACCEPTED, Json(Due { due })).into_response())
}

/// Number of emails that are due now.
#[derive(Debug, Serialize, ToSchema)]
struct Due {
    #[schema(example = 2)]
    due: u64,
}

/// Parses the id in a path. No email has an id that is not a number.
fn id(path: Result<Path<u64>, PathRejection>) -> Result<Position, ApiError> {
    let Path(number) = path.map_err(|_| ApiError::NoSuchMail)?;
    Position::new(number).ok_or(ApiError::NoSuchMail)
}

#[expect(clippy::needless_pass_by_value, reason = "map_err passes the error by value")]
fn unavailable(error: eventstore::Error) -> ApiError {
    tracing::error!(%error, "the mail ledger could not be queried");
    ApiError::from(&error)
}
