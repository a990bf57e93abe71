//! Schemas of response bodies whose types belong to crates without OpenAPI support, or that are written in
//! parts.
//!
//! These types are never constructed. They only describe responses, and `tests/http/openapi.rs` compares them
//! with real responses.

#![expect(dead_code, reason = "these types only describe, and are never constructed")]
#![expect(clippy::struct_field_names, reason = "the field names match the JSON")]

pub(crate) mod mail;
pub(crate) mod proof;

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;
use web::problem::FieldProblem;

/// The reason why a request failed (RFC 9457).
#[derive(ToSchema)]
pub(crate) struct Problem {
    /// The type of problem. It is stable, and is the address of a page that explains the problem.
    #[schema(example = "/problems/email-taken", format = "uri-reference")]
    r#type: String,
    /// The name of the problem type, for people.
    #[schema(example = "Email taken")]
    title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599, example = 409)]
    status: u16,
    /// What happened, and what to do about it.
    #[schema(example = "A registered patient already has this email.")]
    detail: String,
    /// All invalid fields.
    #[schema(required = false)]
    errors: Vec<FieldProblem>,
    /// Position that the read table has reached.
    #[schema(required = false, minimum = 0)]
    position: i64,
}

/// An event of the log.
#[derive(ToSchema)]
pub(crate) struct Event {
    /// Number of the event in the whole log, from 1, without gaps.
    #[schema(minimum = 1, example = 1)]
    position: i64,
    #[schema(example = "patient")]
    aggregate_type: String,
    /// Id of the patient.
    #[schema(format = Uuid, example = "01a20c52-84f4-752b-9b94-14a23061549a")]
    aggregate_id: String,
    /// Number of the event among the patient's events, from 1, without gaps.
    #[schema(minimum = 1, example = 1)]
    sequence: i64,
    /// `PatientRegistered`, `PatientAmended`, `PatientDeleted`, `PatientErased`, `PatientHeld` or
    /// `PatientHoldReleased`.
    #[schema(example = "PatientRegistered")]
    event_type: String,
    /// Version of the payload's schema.
    #[schema(example = "1.0")]
    event_version: String,
    /// Content of the event. The feed shows it as it was recorded, with the personal data sealed. Histories
    /// show the personal data or, if the patient was erased, the member `erased` with the time.
    payload: BTreeMap<String, Value>,
    /// Only in the feed: the content of a sealed event with its personal data opened. If the patient was
    /// erased, it has the member `erased` with the time instead. The hash does not cover this member.
    #[schema(required = false)]
    opened: BTreeMap<String, Value>,
    /// The actor and the request that caused the event.
    #[schema(example = json!({"actor": "front-desk", "request_id": "01a20cb5-231a-78b4-a848-3c6052b0186b"}))]
    metadata: BTreeMap<String, Value>,
    #[schema(format = DateTime, example = "2026-11-24T08:38:47.323577Z")]
    recorded_at: String,
    /// Hash of the chain up to and including this event, in hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    hash: String,
}

/// An event in a patient's history.
#[derive(ToSchema)]
pub(crate) struct HistoryEntry {
    #[serde(flatten)]
    event: Event,
    /// The details that an amendment changed, by field. Absent for other events.
    #[schema(required = false, example = json!({"name": {"from": "John Doe", "to": "Jon Doe"}}))]
    changes: BTreeMap<String, Change>,
}

/// A changed detail of a patient.
#[derive(ToSchema)]
pub(crate) struct Change {
    /// Value before the event.
    #[schema(example = "John Doe")]
    from: String,
    /// Value after the event.
    #[schema(example = "Jon Doe")]
    to: String,
}

/// State of a patient just after an event, or at a given time.
#[derive(ToSchema)]
pub(crate) struct PastPatient {
    #[schema(format = Uuid, example = "01a20c52-84f4-752b-9b94-14a23061549a")]
    id: String,
    #[schema(example = "active")]
    state: PatientState,
    /// Sequence of the last event that the state includes.
    #[schema(minimum = 1, example = 1)]
    sequence: i64,
    /// Position of the last event that the state includes.
    #[schema(minimum = 1, example = 1)]
    position: i64,
    /// Time at which the last event that the state includes was recorded.
    #[schema(format = DateTime, example = "2026-11-24T08:38:47.323577Z")]
    recorded_at: String,
    /// Present if the patient was active.
    #[schema(required = false, example = "John Doe")]
    name: String,
    /// Present if the patient was active.
    #[schema(required = false, example = "john@example.com")]
    email: String,
    /// Present if the patient was active.
    #[schema(required = false, example = "+1234567890")]
    phone: String,
    /// Present if the patient was active.
    #[schema(required = false, example = "https://example.com/photos/john.jpg")]
    document_url: String,
}

/// The current state of a patient or, with `at`, the state at that time.
#[derive(ToSchema)]
pub(crate) struct ReadPatient {
    #[schema(format = Uuid, example = "01a20c52-84f4-752b-9b94-14a23061549a")]
    id: String,
    /// Absent only with `at`, if the patient was deleted at that time.
    #[schema(required = false, example = "John Doe")]
    name: String,
    /// Absent only with `at`, if the patient was deleted at that time.
    #[schema(required = false, example = "john@example.com")]
    email: String,
    /// Absent only with `at`, if the patient was deleted at that time.
    #[schema(required = false, example = "+1234567890")]
    phone: String,
    /// Absent only with `at`, if the patient was deleted at that time.
    #[schema(required = false, example = "https://example.com/photos/john.jpg")]
    document_url: String,
    /// Present only with `at`.
    #[schema(required = false, example = "active")]
    state: PatientState,
    /// Present only with `at`: sequence of the last event that the state includes.
    #[schema(required = false, minimum = 1, example = 1)]
    sequence: i64,
    /// Present only with `at`: position of the last event that the state includes.
    #[schema(required = false, minimum = 1, example = 1)]
    position: i64,
    /// Present only with `at`: time at which the last event that the state includes was recorded.
    #[schema(required = false, format = DateTime, example = "2026-11-24T08:38:47.323577Z")]
    recorded_at: String,
}

/// Whether a patient is active or deleted.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum PatientState {
    Active,
    Deleted,
}

/// A named consumer of the log.
#[derive(ToSchema)]
pub(crate) struct Subscription {
    #[schema(example = "patient_view")]
    name: String,
    /// Position of the last event that the subscription has processed.
    #[schema(minimum = 0, example = 17)]
    position: i64,
    /// Position of the last event of the log.
    #[schema(minimum = 0, example = 17)]
    head: i64,
    /// Number of events that the subscription has not processed yet.
    #[schema(minimum = 0, example = 0)]
    lag_events: i64,
    /// Time that the oldest unprocessed event has waited, in seconds.
    #[schema(minimum = 0, example = 0.0)]
    lag_seconds: f64,
    /// The process that owns the subscription, if there is one.
    #[schema(required)]
    owner: Option<String>,
    /// The failure that blocks the subscription, if there is one.
    #[schema(required)]
    failure: Option<Failure>,
    /// Why the stored state of the subscription is invalid: either its checkpoint or the record of the served
    /// generation was altered.
    #[schema(required = false)]
    damage: String,
    /// The table of the projection, if the subscription is a projection.
    #[schema(required = false)]
    projection: Projection,
}

/// A failure that blocks a subscription or a rebuild.
#[derive(ToSchema)]
pub(crate) struct Failure {
    /// Position of the event that causes the failure; null if no event causes it, for example if the database
    /// cannot be reached.
    #[schema(required, minimum = 1)]
    position: Option<i64>,
    /// The error, without personal data.
    error: String,
    /// Number of attempts.
    #[schema(minimum = 0)]
    attempts: i64,
    /// Time of the first failure.
    #[schema(format = DateTime)]
    since: String,
    /// Time of the last failure.
    #[schema(format = DateTime)]
    last_at: String,
    /// Time of the next attempt.
    #[schema(format = DateTime)]
    retry_at: String,
}

/// The table of a projection.
#[derive(ToSchema)]
pub(crate) struct Projection {
    /// The generation that is served.
    #[schema(example = 1)]
    active_generation: i64,
    /// The unfinished rebuild, if there is one.
    #[schema(required)]
    rebuild: Option<Rebuild>,
    /// The events that the projection skips.
    skips: Vec<Skip>,
}

/// An event that a projection skips.
#[derive(ToSchema)]
pub(crate) struct Skip {
    /// Position of the event.
    #[schema(minimum = 1, example = 7)]
    position: i64,
    /// Why the event is skipped.
    reason: String,
    /// The operator who skipped the event.
    skipped_by: String,
    /// Time at which the event was skipped.
    #[schema(format = DateTime)]
    skipped_at: String,
}

/// A rebuild of a projection.
#[derive(ToSchema)]
pub(crate) struct Rebuild {
    /// Name of the projection.
    #[schema(example = "patient_view")]
    projection: String,
    /// The generation that the rebuild fills.
    #[schema(example = 2)]
    generation: i64,
    #[schema(example = "filling")]
    state: RebuildState,
    /// What runs the rebuild.
    #[schema(example = "projector")]
    runner: Runner,
    /// The generation that was served before; null until the new generation is served.
    #[schema(required)]
    replaced: Option<i64>,
    /// Position of the last event in the new generation, while it is being filled.
    #[schema(required, minimum = 0)]
    position: Option<i64>,
    /// Position of the last event of the log.
    #[schema(minimum = 0, example = 17)]
    head: i64,
    /// The process that currently runs the rebuild, if there is one.
    #[schema(required)]
    owner: Option<String>,
    /// The failure that blocks the rebuild, if there is one.
    #[schema(required)]
    failure: Option<Failure>,
    /// The actor who requested the rebuild.
    #[schema(example = "ops")]
    requested_by: String,
    /// Time of the request.
    #[schema(format = DateTime)]
    requested_at: String,
    /// Time at which the rebuild ended.
    #[schema(required, format = DateTime)]
    finished_at: Option<String>,
}

/// State of a rebuild.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum RebuildState {
    Filling,
    Cleaning,
    Done,
    Cancelling,
    Cancelled,
}

/// What runs a rebuild: a projector process or a command.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum Runner {
    Projector,
    Command,
}
