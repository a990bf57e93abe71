//! What clients saw: every request and its answer, with the times of a clock that is never set.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a patient is registered with. The name tells patients apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Details {
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) phone: String,
    pub(crate) document_url: String,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// With an `Idempotency-Key`, or without.
    Register {
        details: Details,
        key: Option<String>,
    },
    Delete {
        id: Uuid,
    },
    Read {
        id: Uuid,
    },
    List {
        after: Uuid,
        limit: usize,
        min_position: Option<u64>,
    },
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 201
    Registered {
        id: Uuid,
        position: u64,
        details: Details,
    },
    /// 204
    Deleted { position: u64 },
    /// 200, of one patient
    Patient { details: Details },
    /// 200, of the list: ids and emails
    Page(Vec<(Uuid, String)>),
    /// A problem, by the last part of its type.
    Problem { status: u16, slug: String },
    /// None: the connection ended, or it took too long.
    Nothing,
    /// Something that no client can make sense of.
    Nonsense(String),
}

impl Answer {
    /// Whether it is open what was done.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Problem { slug, .. } => slug == "outcome-unknown",
            _ => false,
        }
    }

    pub(crate) fn is_problem(&self, wanted: &str) -> bool {
        matches!(self, Self::Problem { slug, .. } if slug == wanted)
    }
}

/// One request and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Observation {
    /// The request's own id, which the log keeps with the event.
    pub(crate) request_id: String,
    pub(crate) client: usize,
    /// When it was sent, and when its answer was there; since the beginning of the run.
    pub(crate) began: Duration,
    pub(crate) ended: Duration,
    pub(crate) request: Request,
    pub(crate) answer: Answer,
}

impl Observation {
    /// Whether something was written: 201 or 204.
    pub(crate) fn position(&self) -> Option<u64> {
        match self.answer {
            Answer::Registered { position, .. } | Answer::Deleted { position } => Some(position),
            _ => None,
        }
    }
}
