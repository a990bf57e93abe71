//! The clients' observations: every request and its response, with times from a monotonic clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The details of a registration. The name is unique.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Details {
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) phone: String,
    pub(crate) document_url: String,
}

/// The details that an amendment changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Changes {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) phone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) document_url: Option<String>,
}

impl Changes {
    /// Returns the details after these changes.
    pub(crate) fn applied_to(&self, details: &Details) -> Details {
        let new = |change: &Option<String>, old: &String| change.as_ref().unwrap_or(old).clone();
        Details {
            name: new(&self.name, &details.name),
            email: new(&self.email, &details.email),
            phone: new(&self.phone, &details.phone),
            document_url: new(&self.document_url, &details.document_url),
        }
    }

    /// Returns the changes whose values differ from `details`.
    pub(crate) fn that_differ_from(&self, details: &Details) -> Self {
        let new = |change: &Option<String>, old: &String| change.clone().filter(|value| value != old);
        Self {
            name: new(&self.name, &details.name),
            email: new(&self.email, &details.email),
            phone: new(&self.phone, &details.phone),
            document_url: new(&self.document_url, &details.document_url),
        }
    }
}

/// The content of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// A registration, with or without an `Idempotency-Key`.
    Register {
        details: Details,
        key: Option<String>,
    },
    /// An amendment, with or without the sequence in `If-Match`, and with or without an `Idempotency-Key`.
    Amend {
        id: Uuid,
        changes: Changes,
        if_match: Option<u64>,
        key: Option<String>,
    },
    Delete {
        id: Uuid,
    },
    /// An erasure, which the patient requested.
    Erase {
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

/// The content of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 201
    Registered {
        id: Uuid,
        position: u64,
        details: Details,
    },
    /// 200, with the patient after the amendment and the sequence in `ETag`.
    Amended {
        position: u64,
        details: Details,
        sequence: u64,
    },
    /// 204
    Deleted { position: u64 },
    /// 200 if everything is destroyed, or 202.
    Erased { position: u64, complete: bool },
    /// 200, with a patient.
    Patient { details: Details },
    /// 200, with a page of the list: ids and email addresses.
    Page(Vec<(Uuid, String)>),
    /// A problem, with the last part of its `type`.
    Problem { status: u16, slug: String },
    /// No response: the connection was lost, or the client timed out.
    Nothing,
    /// A response that a client cannot interpret.
    Nonsense(String),
}

impl Request {
    /// Returns the patient that the request names.
    pub(crate) const fn id(&self) -> Option<Uuid> {
        match self {
            Self::Amend { id, .. } | Self::Delete { id } | Self::Erase { id } | Self::Read { id } => {
                Some(*id)
            }
            Self::Register { .. } | Self::List { .. } => None,
        }
    }

    /// Returns the marks of the values that the request sends.
    pub(crate) fn marks(&self) -> Vec<String> {
        let values = match self {
            Self::Register { details, .. } => {
                vec![
                    &details.name,
                    &details.email,
                    &details.phone,
                    &details.document_url,
                ]
            }
            Self::Amend { changes, .. } => {
                let values = [
                    &changes.name,
                    &changes.email,
                    &changes.phone,
                    &changes.document_url,
                ];
                values.into_iter().flatten().collect()
            }
            _ => Vec::new(),
        };
        values.iter().flat_map(|value| marks(value.as_bytes())).collect()
    }
}

/// Length of a mark, such as `03z00017`.
const MARK: usize = 8;

/// Returns the mark of the values in the request of a client with this number. No other request has the mark,
/// and it has a letter that is no hexadecimal digit, so it can be searched for in the whole database.
pub(crate) fn mark(client: usize, request: usize) -> String {
    format!("{client:02}z{request:05}")
}

/// Returns the marks in a text.
pub(crate) fn marks(text: &[u8]) -> impl Iterator<Item = String> {
    let is_mark = |bytes: &&[u8]| {
        let is_digit = |(index, byte): (usize, &u8)| index == 2 || byte.is_ascii_digit();
        bytes[2] == b'z' && bytes.iter().enumerate().all(is_digit)
    };
    let found = text.windows(MARK).filter(is_mark);
    found.map(|mark| String::from_utf8_lossy(mark).into_owned())
}

impl Answer {
    /// Whether the effect of the request is unknown.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Problem { slug, .. } => slug == "outcome-unknown",
            _ => false,
        }
    }

    /// Whether a write succeeded.
    pub(crate) fn is_success(&self) -> bool {
        matches!(
            self,
            Self::Registered { .. } | Self::Amended { .. } | Self::Deleted { .. } | Self::Erased { .. }
        )
    }

    /// Whether there was no response, or the status was 503.
    pub(crate) fn is_unavailable(&self) -> bool {
        matches!(self, Self::Problem { status: 503, .. } | Self::Nothing)
    }

    pub(crate) fn is_problem(&self, wanted: &str) -> bool {
        matches!(self, Self::Problem { slug, .. } if slug == wanted)
    }
}

/// A request and its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Observation {
    /// The request id, which the log keeps with the event.
    pub(crate) request_id: String,
    pub(crate) client: usize,
    /// The times of the request and of its response, from the beginning of the run.
    pub(crate) began: Duration,
    pub(crate) ended: Duration,
    pub(crate) request: Request,
    pub(crate) answer: Answer,
}

impl Observation {
    /// Returns the position of the write that the response confirms (200 to an amendment, 200 or 202 to an
    /// erasure, 201 or 204).
    pub(crate) fn position(&self) -> Option<u64> {
        match self.answer {
            Answer::Registered { position, .. }
            | Answer::Amended { position, .. }
            | Answer::Deleted { position }
            | Answer::Erased { position, .. } => Some(position),
            _ => None,
        }
    }
}
