//! Appending events: one transaction for all waiting appends.
//!
//! An auto-increment column assigns numbers at insert, but the rows become visible only at commit. A reader
//! that reads past position 8 before position 7 is committed never sees position 7
//! (prooph/pdo-event-store#189, Marten#1629). Here, every append in every process locks the single row of
//! `log_head` until its commit, so positions are gapless and in commit order. The lock allows one commit at a
//! time, so the waiting appends of a process are committed together:
//!
//! ```text
//! take all waiting appends -> begin, lock log_head, read the event at the head, expected sequences and claims (one round trip)
//! -> check the head and the clock, decide
//! -> insert events and claims, move log_head, commit (one round trip) -> publish the signal -> answer each caller
//! ```
//!
//! Conflicts and taken claims are detected in memory (`decide`) before anything is written, and only the
//! affected append fails. If a statement fails for a reason that may apply to a single append, such as a
//! value that the database rejects, each append is retried in its own transaction.

mod appender;
mod clock;
mod decide;
mod error;
mod head;
mod thread;
mod traced;
mod transaction;

use std::sync::Arc;

use serde_json::Value;
use tokio::runtime::Handle;

use crate::chain::{Canonical, Texts};
use crate::claim::ClaimChange;
use crate::clock::{Clock, Timestamp};
use crate::coalesce::Coalescer;
use crate::database::{Database, Dialect};
use crate::event::{NewEvent, Position};
use crate::json::DEPTH;
use crate::metrics::METRICS;
use crate::signal::Signal;

use appender::Appender;
use thread::Thread;
use traced::Traced;

pub use clock::CLOCKS_APART;
pub(crate) use clock::check as check_clock;
pub use error::AppendError;

/// Maximum number of events in one append.
pub const MAX_EVENTS: usize = 100;
/// Maximum size of one event in canonical form, in bytes.
pub const MAX_EVENT_BYTES: usize = 256 * 1024;
/// Maximum number of nested arrays and objects in an event's payload or metadata.
pub const MAX_EVENT_DEPTH: usize = DEPTH;

/// Maximum number of MySQL connections of a queue: one, plus its replacement while a broken connection is
/// being closed.
const CONNECTIONS: u32 = 2;

/// Events of one aggregate, appended together or not at all, and their changes to the aggregate's claims.
#[derive(Debug, Clone)]
pub struct Append {
    events: Vec<PreparedEvent>,
    claims: Vec<ClaimChange>,
    new_aggregate: bool,
    traced: Traced,
}

#[derive(Debug, Clone)]
struct PreparedEvent {
    event: NewEvent,
    payload: String,
    metadata: String,
    canonical: Canonical,
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
            traced: Traced::default(),
        })
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

/// The append queue of a process. Cheap to clone.
#[derive(Clone)]
pub struct AppendQueue {
    coalescer: Coalescer<Appender>,
    /// Keeps the thread alive while the queue exists.
    _thread: Option<Thread>,
}

impl AppendQueue {
    /// Starts the queue. At most `capacity` appends wait, and at most `largest` appends are committed
    /// together.
    #[must_use]
    pub fn start(
        database: Database,
        signal: Signal,
        clock: Arc<dyn Clock>,
        capacity: usize,
        largest: usize,
    ) -> Self {
        // SQLite connections run on their own threads, and all writes share one connection.
        let (thread, database) = match database.dialect() {
            Dialect::MySql => {
                let thread = Thread::start();
                let _entered = thread.handle().enter();
                (Some(thread.clone()), database.apart(CONNECTIONS))
            }
            Dialect::Sqlite => (None, database),
        };
        let runtime = thread.as_ref().map_or_else(Handle::current, Thread::handle);
        let appender = Appender::new(database, signal, clock);
        Self {
            coalescer: Coalescer::start_on(&runtime, [appender], capacity, largest),
            _thread: thread,
        }
    }

    /// Appends events and returns when they are durable.
    ///
    /// # Errors
    ///
    /// [`AppendError`].
    pub async fn append(&self, mut append: Append) -> Result<Appended, AppendError> {
        append.traced = Traced::queued();
        let answer = self.coalescer.ask(append).await;
        let answer = answer.unwrap_or_else(|rejected| Err(rejected.into()));
        METRICS.append(&answer);
        answer
    }

    /// Returns the number of waiting appends and the maximum.
    #[must_use]
    pub fn depth(&self) -> (usize, usize) {
        (self.coalescer.waiting(), self.coalescer.capacity())
    }

    /// Whether the queue has no room for another append.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let (waiting, capacity) = self.depth();
        waiting >= capacity
    }

    /// Rejects new appends, finishes the waiting appends, and returns.
    pub async fn shutdown(&self) {
        self.coalescer.shutdown().await;
    }
}

type Outcome = Result<Appended, AppendError>;
