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
use crate::read_log::{NotRecorded, ReadKind, ReadOutcome, ReadRecord, Room, Via};
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
        .get(
            "/patients/{id}/reads",
            RouteKind::Audit,
            reads::of_patient,
            reads::of_patient_described,
        )
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
    pub(super) fn reads(&self, kind: ReadKind, outcome: ReadOutcome) -> ReadRecord {
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
        Ok(api.read_log.record_past(read).await?)
    }

    /// Records a read of a patient's current state before its data is returned. `sequence` is the sequence of
    /// the patient's last event; `None` if there is no active patient.
    pub(super) async fn reads_current(
        &self,
        api: &Api,
        id: Uuid,
        sequence: Option<u64>,
    ) -> Result<(), ApiError> {
        match api.read_log.reserve(1)? {
            Some(room) => self.reads_current_in(room, api, id, sequence).await,
            None => Ok(()),
        }
    }

    /// Like [`Reader::reads_current`], in room that was reserved for the entry.
    pub(super) async fn reads_current_in(
        &self,
        room: Room,
        api: &Api,
        id: Uuid,
        sequence: Option<u64>,
    ) -> Result<(), ApiError> {
        let outcome = match sequence {
            Some(_) => ReadOutcome::Given,
            None => ReadOutcome::NotFound,
        };
        let read = ReadRecord {
            patient: Some(id),
            to: sequence,
            ..self.reads(ReadKind::Patient, outcome)
        };
        Ok(api.read_log.record_in(room, [read]).await?)
    }

    /// Records a read of a page of patients before the page is returned: one entry for each patient, or one
    /// entry for an empty page.
    pub(super) async fn reads_page(&self, api: &Api, kind: ReadKind, ids: &[Uuid]) -> Result<(), ApiError> {
        let Some(room) = api.read_log.reserve(ids.len().max(1))? else {
            return Ok(());
        };
        let reads = if ids.is_empty() {
            vec![self.reads(kind, ReadOutcome::NotFound)]
        } else {
            let of_one = |id: &Uuid| ReadRecord {
                patient: Some(*id),
                ..self.reads(kind, ReadOutcome::Given)
            };
            ids.iter().map(of_one).collect()
        };
        Ok(api.read_log.record_in(room, reads).await?)
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
