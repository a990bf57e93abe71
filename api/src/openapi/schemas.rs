//! Bodies of answers whose types belong to crates that know nothing of OpenAPI, or that are written in
//! pieces.
//!
//! They are never made: they only describe. `tests/http/openapi.rs` compares them with answers.

#![expect(dead_code, reason = "they describe, and are never made")]
#![expect(
    clippy::struct_field_names,
    reason = "the fields have the names that they have in JSON"
)]

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

use crate::problem::FieldProblem;

/// Why a request was refused (RFC 9457).
#[derive(ToSchema)]
pub(crate) struct Problem {
    /// Which kind of problem: stable, and the address of a page that explains it.
    #[schema(example = "/problems/email-taken", format = "uri-reference")]
    r#type: String,
    /// The kind's name, for people.
    #[schema(example = "Email taken")]
    title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599, example = 409)]
    status: u16,
    /// A sentence that a person can act on.
    #[schema(example = "A registered patient has this email already.")]
    detail: String,
    /// Every field that was refused.
    #[schema(required = false)]
    errors: Vec<FieldProblem>,
    /// How far the read table is.
    #[schema(required = false, minimum = 0)]
    position: i64,
}

/// An event of the log.
#[derive(ToSchema)]
pub(crate) struct Event {
    /// Its number in the whole log, from 1, without gaps.
    #[schema(minimum = 1, example = 1)]
    position: i64,
    #[schema(example = "patient")]
    aggregate_type: String,
    /// The patient's id.
    #[schema(format = Uuid, example = "01a20c52-84f4-752b-9b94-14a23061549a")]
    aggregate_id: String,
    /// Its number among the patient's events, from 1, without gaps.
    #[schema(minimum = 1, example = 1)]
    sequence: i64,
    /// `PatientRegistered` or `PatientDeleted`.
    #[schema(example = "PatientRegistered")]
    event_type: String,
    /// The version of the payload's shape.
    #[schema(example = "1.0")]
    event_version: String,
    /// What the event says, as it was recorded.
    payload: BTreeMap<String, Value>,
    /// Who caused it, and by which request.
    #[schema(example = json!({"actor": "front-desk", "request_id": "01a20cb5-231a-78b4-a848-3c6052b0186b"}))]
    metadata: BTreeMap<String, Value>,
    #[schema(format = DateTime, example = "2026-11-24T08:38:47.323577Z")]
    recorded_at: String,
    /// The chain up to and with this event, in hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    hash: String,
}

/// A patient just after an event, or at a moment.
#[derive(ToSchema)]
pub(crate) struct PastPatient {
    #[schema(format = Uuid, example = "01a20c52-84f4-752b-9b94-14a23061549a")]
    id: String,
    #[schema(example = "active")]
    state: PatientState,
    /// The sequence of the last event that counts.
    #[schema(minimum = 1, example = 1)]
    sequence: i64,
    /// The position of that event.
    #[schema(minimum = 1, example = 1)]
    position: i64,
    /// When it was recorded.
    #[schema(format = DateTime, example = "2026-11-24T08:38:47.323577Z")]
    recorded_at: String,
    /// If active.
    #[schema(required = false, example = "John Doe")]
    name: String,
    /// If active.
    #[schema(required = false, example = "john@example.com")]
    email: String,
    /// If active.
    #[schema(required = false, example = "+1234567890")]
    phone: String,
    /// If active.
    #[schema(required = false, example = "https://example.com/photos/john.jpg")]
    document_url: String,
}

/// A patient as it is; with `at`, as it was at that moment.
#[derive(ToSchema)]
pub(crate) struct ReadPatient {
    #[schema(format = Uuid, example = "01a20c52-84f4-752b-9b94-14a23061549a")]
    id: String,
    /// Absent only with `at`, if the patient was deleted then.
    #[schema(required = false, example = "John Doe")]
    name: String,
    /// Absent only with `at`, if the patient was deleted then.
    #[schema(required = false, example = "john@example.com")]
    email: String,
    /// Absent only with `at`, if the patient was deleted then.
    #[schema(required = false, example = "+1234567890")]
    phone: String,
    /// Absent only with `at`, if the patient was deleted then.
    #[schema(required = false, example = "https://example.com/photos/john.jpg")]
    document_url: String,
    /// Only with `at`.
    #[schema(required = false, example = "active")]
    state: PatientState,
    /// Only with `at`: the sequence of the last event that counts.
    #[schema(required = false, minimum = 1, example = 1)]
    sequence: i64,
    /// Only with `at`: the position of that event.
    #[schema(required = false, minimum = 1, example = 1)]
    position: i64,
    /// Only with `at`: when that event was recorded.
    #[schema(required = false, format = DateTime, example = "2026-11-24T08:38:47.323577Z")]
    recorded_at: String,
}

/// Whether a patient is there.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum PatientState {
    Active,
    Deleted,
}

/// A named loop over the log.
#[derive(ToSchema)]
pub(crate) struct Subscription {
    #[schema(example = "patient_view")]
    name: String,
    /// The last event that it has finished.
    #[schema(minimum = 0, example = 17)]
    position: i64,
    /// The last event of the log.
    #[schema(minimum = 0, example = 17)]
    head: i64,
    /// How many events it has not finished.
    #[schema(minimum = 0, example = 0)]
    lag_events: i64,
    /// How long the first of them has waited, in seconds.
    #[schema(minimum = 0, example = 0.0)]
    lag_seconds: f64,
    /// The process that owns it, if one does.
    #[schema(required)]
    owner: Option<String>,
    /// Why it does not move, if it does not.
    #[schema(required)]
    failure: Option<Failure>,
    /// Why what the database says of it cannot be true: its checkpoint, or the generation that is served, was
    /// altered.
    #[schema(required = false)]
    damage: String,
    /// Its table, if it is a projection.
    #[schema(required = false)]
    projection: Projection,
}

/// Why something does not move.
#[derive(ToSchema)]
pub(crate) struct Failure {
    /// The event that it has stopped at; null if that is not the reason, as when the database is away.
    #[schema(required, minimum = 1)]
    position: Option<i64>,
    /// What failed, without personal data.
    error: String,
    /// How often it has been tried.
    #[schema(minimum = 0)]
    attempts: i64,
    /// When it failed first.
    #[schema(format = DateTime)]
    since: String,
    /// When it failed last.
    #[schema(format = DateTime)]
    last_at: String,
    /// When it is tried again.
    #[schema(format = DateTime)]
    retry_at: String,
}

/// A projection's table.
#[derive(ToSchema)]
pub(crate) struct Projection {
    /// The generation that is served.
    #[schema(example = 1)]
    active_generation: i64,
    /// The rebuild that is not over, if there is one.
    #[schema(required)]
    rebuild: Option<Rebuild>,
    /// The events that it passes over.
    skips: Vec<Skip>,
}

/// An event that a projection passes over.
#[derive(ToSchema)]
pub(crate) struct Skip {
    /// Which.
    #[schema(minimum = 1, example = 7)]
    position: i64,
    /// Why.
    reason: String,
    /// Who said so.
    skipped_by: String,
    /// When.
    #[schema(format = DateTime)]
    skipped_at: String,
}

/// A rebuild of a projection.
#[derive(ToSchema)]
pub(crate) struct Rebuild {
    /// Of which projection.
    #[schema(example = "patient_view")]
    projection: String,
    /// The generation that it fills.
    #[schema(example = 2)]
    generation: i64,
    #[schema(example = "filling")]
    state: RebuildState,
    /// Who carries it out.
    #[schema(example = "projector")]
    runner: Runner,
    /// The generation that was served before, once its own is.
    #[schema(required)]
    replaced: Option<i64>,
    /// The last event in its generation, while that is filled.
    #[schema(required, minimum = 0)]
    position: Option<i64>,
    /// The end of the log.
    #[schema(minimum = 0, example = 17)]
    head: i64,
    /// The process that works at it now, if one does.
    #[schema(required)]
    owner: Option<String>,
    /// Why it does not move, if it does not.
    #[schema(required)]
    failure: Option<Failure>,
    /// Who asked for it.
    #[schema(example = "ops")]
    requested_by: String,
    /// When.
    #[schema(format = DateTime)]
    requested_at: String,
    /// When it was over.
    #[schema(required, format = DateTime)]
    finished_at: Option<String>,
}

/// What a rebuild is at.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum RebuildState {
    Filling,
    Cleaning,
    Done,
    Cancelling,
    Cancelled,
}

/// Who carries a rebuild out.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum Runner {
    Projector,
    Command,
}
