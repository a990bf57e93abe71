//! Parameters and headers of this API, each described once, in addition to those of the `web` crate.

use serde_json::json;
use utoipa::openapi::path::Parameter;

pub(crate) use web::openapi::fields::*;

pub(crate) const AN_ID: &str = "01a20c52-84f4-752b-9b94-14a23061549a";

/// Path parameter `id`.
pub(crate) fn patient_id() -> Parameter {
    path(
        "id",
        uuid(),
        json!(AN_ID),
        "The patient's id, as returned by the registration.",
    )
}

/// Path parameter `id` of a route that also works with a number.
pub(crate) fn patient_or_number() -> Parameter {
    path(
        "id",
        uuid(),
        json!(AN_ID),
        "The patient's id, as returned by the registration. If the service runs with `LEGACY_IDS=on`, also the number that an \
         imported patient had in the former service. The response then has this number as `id`, an integer instead of text.",
    )
}

pub(crate) fn at() -> Parameter {
    query(
        "at",
        moment(),
        json!("2026-11-24T08:38:50.699142Z"),
        "A time (RFC 3339), not in the future. Returns the patient's state at that time, even if the patient is deleted now. For \
         auditors only.",
    )
}

/// `Idempotency-Key` of a registration.
pub(crate) fn idempotency_key() -> Parameter {
    idempotency_key_header(
        "A unique value of visible ASCII characters. A registration with this header can be repeated \
         safely. Only one patient is registered, and each repetition gets the first response.",
    )
}

/// `Idempotency-Key` of an amendment.
pub(crate) fn amendment_idempotency_key() -> Parameter {
    idempotency_key_header(
        "A unique value of visible ASCII characters. An amendment with this header can be repeated safely, and requires `If-Match` \
         with an ETag. The patient is changed only once, and a repetition gets the response of that change.",
    )
}

fn idempotency_key_header(text: &str) -> Parameter {
    request_header(
        "Idempotency-Key",
        string()
            .min_length(Some(1))
            .max_length(Some(255))
            .pattern(Some("^[!-~]+$")),
        json!("6f1c7a52-2b2c-4f5e-9d0b-4f6d3a1c9e77"),
        text,
    )
}

pub(crate) fn if_match() -> Parameter {
    request_header(
        "If-Match",
        string().pattern(Some("^(\\*|(W/)?\"[!#-~]*\"( *, *(W/)?\"[!#-~]*\")*)$")),
        json!("\"1\""),
        "The patient's ETag, or a list of ETags: the patient's current ETag must be one of them. A weak ETag never matches. `*` \
         matches any ETag.",
    )
}

pub(crate) fn min_position() -> Parameter {
    request_header(
        "Min-Position",
        whole_number(0),
        json!(1),
        "An Event-Position. The response waits until the list includes this position, for a few seconds at most.",
    )
}

pub(crate) fn last_event_id() -> Parameter {
    request_header(
        "Last-Event-ID",
        whole_number(0),
        json!(17),
        "The id of the last event received, as browsers send it when they reconnect. Takes precedence over `after`.",
    )
}

pub(crate) fn event_position(text: &str) -> Named {
    response_header("Event-Position", whole_number(0), json!(1), text)
}

pub(crate) fn etag() -> Named {
    response_header(
        "ETag",
        string(),
        json!("\"1\""),
        "The patient's current state, for If-Match and If-None-Match.",
    )
}
