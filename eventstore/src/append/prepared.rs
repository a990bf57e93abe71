//! Appends, prepared for the queue: checked against the limits, with the texts that are written.

use serde_json::Value;
use tokio::time::Instant;

use super::error::AppendError;
use super::traced::Traced;
use crate::chain::{Canonical, Texts};
use crate::claim::ClaimChange;
use crate::clock::Timestamp;
use crate::event::{NewEvent, Position};
use crate::format::LogFormat;
use crate::json::DEPTH;
use crate::sealing::{KeyStore, WrappedKey};

/// Maximum number of events in one append.
pub const MAX_EVENTS: usize = 100;
/// Maximum size of one event in canonical form, in bytes.
pub const MAX_EVENT_BYTES: usize = 256 * 1024;
/// Maximum nesting depth of arrays and objects in an event's payload or metadata.
pub const MAX_EVENT_DEPTH: usize = DEPTH;

/// Events of one aggregate, appended together or not at all, and their changes to the aggregate's claims.
#[derive(Debug, Clone)]
pub struct Append {
    pub(super) events: Vec<PreparedEvent>,
    pub(super) claims: Vec<ClaimChange>,
    pub(super) new_aggregate: bool,
    /// Format of the log for which the events were prepared.
    pub(super) format: LogFormat,
    /// Version of the claim rules with which the append was prepared.
    pub(super) claims_version: Option<i64>,
    /// New data key of the aggregate, stored in the same transaction.
    pub(super) key: Option<WrappedKey>,
    /// When the append was queued.
    pub(super) queued_at: Option<Instant>,
    pub(super) traced: Traced,
}

/// An event with its JSON texts and its canonical form.
#[derive(Debug, Clone)]
pub(super) struct PreparedEvent {
    pub(super) event: NewEvent,
    pub(super) payload: String,
    pub(super) metadata: String,
    pub(super) canonical: Canonical,
}

impl Append {
    /// Prepares an append. The append expects the aggregate to have exactly `sequence − 1` events, where
    /// `sequence` belongs to the first event.
    ///
    /// # Errors
    ///
    /// [`AppendError::Invalid`] if there are no events or more than [`MAX_EVENTS`] events, if a sequence is
    /// 0, if the events are not consecutive events of one aggregate, or if an event exceeds a limit of
    /// [`NewEvent`], [`MAX_EVENT_BYTES`] or [`MAX_EVENT_DEPTH`].
    pub fn new(events: Vec<NewEvent>, claims: Vec<ClaimChange>) -> Result<Self, AppendError> {
        let Some(first) = events.first() else {
            return Err(AppendError::Invalid("no events"));
        };
        if events.len() > MAX_EVENTS {
            return Err(AppendError::Invalid("too many events"));
        }
        if first.sequence == 0 {
            return Err(AppendError::Invalid("sequences start at 1"));
        }
        let same_aggregate = |event: &NewEvent| {
            event.aggregate_id == first.aggregate_id && event.aggregate_type == first.aggregate_type
        };
        let consecutive = (first.sequence..)
            .zip(&events)
            .all(|(sequence, event)| event.sequence == sequence);
        if !consecutive || !events.iter().all(same_aggregate) {
            return Err(AppendError::Invalid("not consecutive events of one aggregate"));
        }
        let events = events
            .into_iter()
            .map(PreparedEvent::new)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            events,
            claims,
            new_aggregate: false,
            format: LogFormat::Clear,
            claims_version: None,
            key: None,
            queued_at: None,
            traced: Traced::default(),
        })
    }

    /// Marks the events as sealed for the log of these keys. `key` is the new data key of the aggregate, if
    /// it is not stored yet; it is stored in the same transaction as the events. Appends to a sealed log are
    /// rejected without this mark or if the log has its keys in another place, and appends to an unencrypted
    /// log are rejected with it.
    #[must_use]
    pub fn sealed(mut self, keys: &KeyStore, key: Option<WrappedKey>) -> Self {
        self.format = keys.format();
        self.key = key;
        self
    }

    /// Sets the [version of the claim rules](crate::ClaimRules::version) from which the claims follow.
    #[must_use]
    pub const fn by_claim_rules(mut self, version: Option<i64>) -> Self {
        self.claims_version = version;
        self
    }

    /// Marks the aggregate's id as newly generated, so the append does not check whether the aggregate
    /// already has events. If the aggregate has events, a unique key of the log rejects the batch, and the
    /// append is retried alone with that check.
    #[must_use]
    pub const fn of_new_aggregate(mut self) -> Self {
        self.new_aggregate = true;
        self
    }
}

impl PreparedEvent {
    fn new(event: NewEvent) -> Result<Self, AppendError> {
        let short = |text: &str, most: usize| !text.is_empty() && text.len() <= most && text.is_ascii();
        if !short(&event.aggregate_type, 64)
            || !short(&event.aggregate_id, 64)
            || !short(&event.event_type, 128)
            || !short(&event.event_version, 16)
        {
            return Err(AppendError::Invalid(
                "a type, id or version is empty, too long or not ASCII",
            ));
        }
        if deeper_than(MAX_EVENT_DEPTH, &event.payload) || deeper_than(MAX_EVENT_DEPTH, &event.metadata) {
            return Err(AppendError::Invalid("an event is nested too deeply"));
        }
        let (payload, metadata) = (event.payload.to_string(), event.metadata.to_string());
        let texts = Texts {
            aggregate_id: &event.aggregate_id,
            aggregate_type: &event.aggregate_type,
            event_type: &event.event_type,
            event_version: &event.event_version,
            metadata: &metadata,
            payload: &payload,
        };
        let canonical = Canonical::of(&texts, event.sequence).map_err(|_| {
            AppendError::Invalid("an event has JSON that the log rejects, such as an integer beyond 2⁵³ − 1")
        })?;
        if canonical.len() > MAX_EVENT_BYTES {
            return Err(AppendError::Invalid("an event is too large"));
        }
        Ok(Self {
            event,
            payload,
            metadata,
            canonical,
        })
    }
}

fn deeper_than(levels: usize, value: &Value) -> bool {
    let inner_is = |inner| deeper_than(levels - 1, inner);
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(inner_is),
        Value::Object(members) => levels == 0 || members.values().any(inner_is),
        _ => false,
    }
}

/// Result of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Position of the first event.
    pub first: Position,
    /// Position of the last event.
    pub last: Position,
    /// Time at which the events were recorded.
    pub recorded_at: Timestamp,
}

/// What a caller of the queue gets.
pub(super) type Outcome = Result<Appended, AppendError>;
