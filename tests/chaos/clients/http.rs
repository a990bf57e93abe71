//! The requests of a client in HTTP, and the responses to them.

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::record::{Answer, Details, Request};

/// Returns the HTTP request to the API at `base`.
pub(super) fn http_request(client: &Client, base: &str, request: &Request) -> RequestBuilder {
    let to = |method, path: &str| client.request(method, format!("{base}{path}"));
    match request {
        Request::Register { details, key } => {
            let register = to(Method::POST, "/register").json(details);
            match key {
                Some(key) => register.header("idempotency-key", key),
                None => register,
            }
        }
        Request::Amend {
            id,
            changes,
            if_match,
            key,
        } => {
            let mut amend = to(Method::PATCH, &format!("/patients/{id}")).json(changes);
            if let Some(sequence) = if_match {
                amend = amend.header("if-match", format!("\"{sequence}\""));
            }
            if let Some(key) = key {
                amend = amend.header("idempotency-key", key);
            }
            amend
        }
        Request::Delete { id } => to(Method::DELETE, &format!("/patients/{id}")),
        Request::Erase { id } => {
            let erase = to(Method::POST, &format!("/patients/{id}/erasure"));
            erase.json(&json!({ "reason": "request" }))
        }
        Request::Read { id } => to(Method::GET, &format!("/patients/{id}")),
        Request::List {
            after,
            limit,
            min_position,
        } => {
            let list = to(Method::GET, &format!("/patients?limit={limit}&after={after}"));
            match min_position {
                Some(position) => list.header("min-position", position.to_string()),
                None => list,
            }
        }
    }
}

#[derive(Deserialize)]
struct Body {
    id: Uuid,
    #[serde(flatten)]
    details: Details,
}

/// The progress of an erasure.
#[derive(Deserialize)]
struct Erasure {
    id: Uuid,
    position: u64,
    reason: String,
    scope: String,
    pending: Vec<String>,
    complete: bool,
}

#[derive(Deserialize)]
struct Listed {
    id: Uuid,
    email: String,
}

/// Returns the recorded form of a response.
pub(super) async fn answer(request: &Request, response: Response) -> Answer {
    let status = response.status();
    let number = |name| -> Option<u64> {
        let value = response.headers().get(name)?.to_str().ok()?;
        value.trim_matches('"').parse().ok()
    };
    let (position, sequence) = (number("event-position"), number("etag"));
    // A truncated response counts as no response.
    let Ok(body) = response.bytes().await else {
        return Answer::Nothing;
    };
    let answer = match (request, status) {
        (Request::Register { .. }, StatusCode::CREATED) => serde_json::from_slice(&body)
            .ok()
            .zip(position)
            .map(|(Body { id, details }, position)| Answer::Registered {
                id,
                position,
                details,
            }),
        (Request::Amend { id: amended, .. }, StatusCode::OK) => serde_json::from_slice(&body)
            .ok()
            .filter(|Body { id, .. }| id == amended)
            .zip(position.zip(sequence))
            .map(|(Body { details, .. }, (position, sequence))| Answer::Amended {
                position,
                details,
                sequence,
            }),
        (Request::Delete { .. }, StatusCode::NO_CONTENT) => {
            position.map(|position| Answer::Deleted { position })
        }
        (Request::Erase { id }, StatusCode::OK | StatusCode::ACCEPTED) => serde_json::from_slice(&body)
            .ok()
            .filter(|erasure: &Erasure| {
                erasure.id == *id
                    && Some(erasure.position) == position
                    && (erasure.reason.as_str(), erasure.scope.as_str()) == ("request", "full")
                    && erasure.complete == (status == StatusCode::OK)
                    && erasure.complete == erasure.pending.is_empty()
            })
            .map(
                |Erasure {
                     position, complete, ..
                 }| Answer::Erased { position, complete },
            ),
        (Request::Read { .. }, StatusCode::OK) => serde_json::from_slice(&body)
            .ok()
            .map(|Body { details, .. }| Answer::Patient { details }),
        (Request::List { .. }, StatusCode::OK) => {
            serde_json::from_slice(&body).ok().map(|page: Vec<Listed>| {
                Answer::Page(page.into_iter().map(|listed| (listed.id, listed.email)).collect())
            })
        }
        _ => serde_json::from_slice(&body).ok().and_then(|problem: Value| {
            let slug = problem["type"].as_str()?.strip_prefix("/problems/")?.to_owned();
            Some(Answer::Problem {
                status: status.as_u16(),
                slug,
            })
        }),
    };
    answer.unwrap_or_else(|| Answer::Nonsense(format!("{status} {}", String::from_utf8_lossy(&body))))
}
