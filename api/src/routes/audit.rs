//! What auditors and programs that follow the log read: every event, and the past. Personal data of deleted
//! patients too.
//!
//! `GET /patients/{id}?at=` shares its path with a route of everyday use, and is answered by [`state::at`].

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

/// Who reads, in which request: what the record of reads says of it.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    actor: String,
    /// Whether there is access control, and the actor is somebody.
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
    /// Whose streams are counted, if there is access control.
    fn holder(&self) -> Option<&str> {
        self.known.then_some(&self.actor)
    }

    /// What is to be recorded of a read of this kind.
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

    /// Records a read of one patient, from after a sequence up to another, before it is handed out.
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
            // The log has the cause already.
            NotRecorded::Failed => Self::Unavailable,
            NotRecorded::Store(error) => Self::from(error.as_ref()),
        }
    }
}

/// Personal data is not for caches.
fn not_kept(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
