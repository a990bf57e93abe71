//! Routes for auditors and for programs that follow the log: all events, and past states. The responses
//! include personal data of deleted patients.
//!
//! `GET /patients/{id}?at=` shares its path with a route for everyday use, and is handled by [`state::at`].

mod events;
mod history;
mod reads;
mod state;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::Response;

use uuid::Uuid;

use super::table::Routes;
use crate::Api;
use crate::access::{AUDITORS, Caller};
use crate::observe::RequestId;
use crate::problem::ApiError;
use crate::read_log::{NotRecorded, Read, ReadKind, ReadOutcome, Via};

pub(super) use state::{at, example as past_example};

pub(super) fn routes() -> Routes {
    Routes::new()
        .get(
            "/patients/{id}/history",
            AUDITORS,
            history::list,
            history::described,
        )
        .get(
            "/patients/{id}/history/{sequence}",
            AUDITORS,
            state::after,
            state::described,
        )
        .get("/events", AUDITORS, events::pages, events::pages_described)
        .get("/events/stream", AUDITORS, events::live, events::live_described)
        .get("/audit/reads", AUDITORS, reads::list, reads::described)
        .map_response(not_kept)
}

/// The reader and the request, as recorded for each read.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    actor: String,
    /// Whether access control has identified the actor.
    known: bool,
    request_id: String,
}

impl<S: Sync> FromRequestParts<S> for Reader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Caller>().ok_or(ApiError::Internal)?;
        let request_id = parts.extensions.get::<RequestId>().ok_or(ApiError::Internal)?;
        Ok(Self {
            actor: caller.actor().to_owned(),
            known: caller.known().is_some(),
            request_id: request_id.0.clone(),
        })
    }
}

impl Reader {
    /// Returns the caller whose streams are counted; `None` without access control.
    fn holder(&self) -> Option<&str> {
        self.known.then_some(&self.actor)
    }

    /// Returns the entry for a read of this kind.
    fn reads(&self, kind: ReadKind, outcome: ReadOutcome) -> Read {
        Read {
            actor: self.actor.clone(),
            via: Via::Http {
                request_id: self.request_id.clone(),
            },
            kind,
            outcome,
            patient: None,
            event_type: None,
            after: None,
            to: None,
        }
    }

    /// Records a read of one patient before its data is returned. `sequences` are the sequence after which
    /// the read begins, and the sequence of its last event.
    async fn reads_patient(
        &self,
        api: &Api,
        kind: ReadKind,
        id: Uuid,
        sequences: Option<(u64, u64)>,
    ) -> Result<(), ApiError> {
        let outcome = match sequences {
            Some(_) => ReadOutcome::Given,
            None => ReadOutcome::NotFound,
        };
        let read = Read {
            patient: Some(id),
            after: sequences.map(|(after, _)| after),
            to: sequences.map(|(_, to)| to),
            ..self.reads(kind, outcome)
        };
        Ok(api.read_log.record(read).await?)
    }
}

impl From<NotRecorded> for ApiError {
    fn from(error: NotRecorded) -> Self {
        match error {
            NotRecorded::Overloaded => Self::Overloaded,
            NotRecorded::ShuttingDown => Self::ShuttingDown,
            // The cause has already been logged.
            NotRecorded::Failed => Self::Unavailable,
            NotRecorded::Store(error) => Self::from(error.as_ref()),
        }
    }
}

/// Keeps personal data out of caches.
fn not_kept(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
