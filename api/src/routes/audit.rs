//! Routes for auditors and for programs that follow the log: all events, past states, and the record of
//! reads. Events and past states include personal data of deleted patients.
//!
//! `GET /patients/{id}?at=` shares its path with a route for everyday use, and is handled by [`state::at`].

mod events;
mod history;
mod reads;
mod state;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use uuid::Uuid;
use web::access::Caller;
use web::routes::Routes;
use web::{RequestError, RequestId, RouteKind};

use crate::problem::ApiError;
use crate::read_log::{NotRecorded, ReadKind, ReadOutcome, ReadRecord, Via};
use crate::state::Api;

pub(super) use state::{at, example as past_example};

pub(super) fn routes() -> Routes<Api> {
    Routes::new()
        .get(
            "/patients/{id}/history",
            RouteKind::Audit,
            history::list,
            history::described,
        )
        .get(
            "/patients/{id}/history/{sequence}",
            RouteKind::Audit,
            state::after,
            state::described,
        )
        .get(
            "/events",
            RouteKind::Audit,
            events::pages,
            events::pages_described,
        )
        .get(
            "/events/stream",
            RouteKind::Audit,
            events::live,
            events::live_described,
        )
        .get("/audit/reads", RouteKind::Audit, reads::list, reads::described)
}

/// The reader and the request, as recorded for each read.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    actor: String,
    /// Whether access control has identified the actor.
    known: bool,
    request_id: Uuid,
}

impl<S: Sync> FromRequestParts<S> for Reader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Caller>().ok_or(RequestError::Internal)?;
        let request_id = parts
            .extensions
            .get::<RequestId>()
            .ok_or(RequestError::Internal)?;
        Ok(Self {
            actor: caller.actor().to_owned(),
            known: caller.known().is_some(),
            request_id: request_id.0,
        })
    }
}

impl Reader {
    /// Returns the caller whose streams are counted; `None` without access control.
    fn holder(&self) -> Option<&str> {
        self.known.then_some(&self.actor)
    }

    /// Returns the entry for a read of this kind.
    fn reads(&self, kind: ReadKind, outcome: ReadOutcome) -> ReadRecord {
        ReadRecord {
            actor: self.actor.clone(),
            via: Via::Http {
                request_id: self.request_id,
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
        let read = ReadRecord {
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
            NotRecorded::Overloaded => RequestError::Overloaded.into(),
            NotRecorded::ShuttingDown => Self::ShuttingDown,
            // The cause has already been logged.
            NotRecorded::Failed => Self::Unavailable,
            NotRecorded::Store(error) => Self::from(error.as_ref()),
        }
    }
}
