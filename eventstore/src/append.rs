//! Appending: one transaction for all that wait.
//!
//! Numbers from an auto-increment column are given at insert and seen at commit, so a reader that passes 8 before 7
//! commits loses 7 for ever (prooph/pdo-event-store#189, Marten#1629). Here one row, `log_head`, is locked by every
//! append in every process until its commit, which makes positions gapless and in commit order. A lock costs one
//! commit at a time, so the appends that wait in a process are committed together:
//!
//! ```text
//! take all that wait -> begin, lock log_head, read expected sequences and claims (one round trip) -> decide
//! -> insert events and claims, move log_head, commit (one round trip) -> publish the signal -> answer each caller
//! ```
//!
//! A conflict or a taken claim is decided in memory (`decide`), before anything is written, and fails alone. If a
//! statement fails for a reason that only one item may have (a value that the database refuses), each item is tried
//! in a transaction of its own.

mod decide;
mod error;
mod thread;
mod traced;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Handle;
use tracing::Instrument;

use crate::chain::{Canonical, Texts};
use crate::claim::ClaimChange;
use crate::clock::{Clock, Timestamp};
use crate::coalesce::{Batch, Coalescer};
use crate::database::{Connection, Database, Dialect};
use crate::error::Error;
use crate::event::{Hash, NewEvent, Position};
use crate::json::has_inexact_integer;
use crate::metrics::METRICS;
use crate::signal::{Notice, Signal};

use thread::Thread;
use traced::Traced;

pub use error::AppendError;

/// The most events in one append.
pub const MAX_EVENTS: usize = 100;
/// The most bytes of one event in canonical form.
pub const MAX_EVENT_BYTES: usize = 256 * 1024;
/// The most arrays and objects within each other in an event. MariaDB takes no more; MySQL takes 100, and SQLite
/// takes even what `serde_json` then does not read back.
pub const MAX_EVENT_DEPTH: usize = 31;

/// How long the connection is kept without a batch: shorter than the server keeps one that says nothing. The pool looks
/// whether one that was given back is still there.
const KEPT: Duration = Duration::from_secs(15);

/// The connections of a queue on MySQL: one, and one in its place while a broken one is being closed.
const CONNECTIONS: u32 = 2;

/// How long one transaction may take before its connection is given up.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a batch is tried again while the database is away, counted from its first failure.
const RETRY_FOR: Duration = Duration::from_secs(5);
/// The pause before the second try; it doubles from there up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Events of one aggregate, to be appended together or not at all, with what they do to its claims.
#[derive(Debug, Clone)]
pub struct Append {
    events: Vec<Prepared>,
    claims: Vec<ClaimChange>,
    new_aggregate: bool,
    traced: Traced,
}

#[derive(Debug, Clone)]
struct Prepared {
    event: NewEvent,
    payload: String,
    metadata: String,
    canonical: Canonical,
}

impl Append {
    /// Prepares an append. The first event's sequence says what is expected: that the aggregate has exactly
    /// `sequence − 1` events.
    ///
    /// # Errors
    ///
    /// [`AppendError::Invalid`] if there are no events or more than [`MAX_EVENTS`], if they are not consecutive events
    /// of one aggregate from sequence 1, or if a part of one is longer than a [`NewEvent`] may be.
    pub fn new(events: Vec<NewEvent>, claims: Vec<ClaimChange>) -> Result<Self, AppendError> {
        let Some(first) = events.first() else {
            return Err(AppendError::Invalid("no events"));
        };
        if events.len() > MAX_EVENTS {
            return Err(AppendError::Invalid("too many events"));
        }
        if first.sequence == 0 {
            return Err(AppendError::Invalid("sequences count from 1"));
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
        let events = events.into_iter().map(Prepared::new).collect::<Result<_, _>>()?;
        Ok(Self {
            events,
            claims,
            new_aggregate: false,
            traced: Traced::default(),
        })
    }

    /// Says that the aggregate's id has just been made up, so that the log need not be asked whether it has events. If it
    /// has, the log's own key refuses the batch, and the append is tried again alone, and asked about.
    #[must_use]
    pub const fn of_new_aggregate(mut self) -> Self {
        self.new_aggregate = true;
        self
    }
}

impl Prepared {
    fn new(event: NewEvent) -> Result<Self, AppendError> {
        let short = |text: &str, most: usize| !text.is_empty() && text.len() <= most && text.is_ascii();
        if !short(&event.aggregate_type, 64)
            || !short(&event.aggregate_id, 64)
            || !short(&event.event_type, 128)
            || !short(&event.event_version, 16)
        {
            return Err(AppendError::Invalid(
                "a name that is empty, too long or not ASCII",
            ));
        }
        if deeper_than(MAX_EVENT_DEPTH, &event.payload) || deeper_than(MAX_EVENT_DEPTH, &event.metadata) {
            return Err(AppendError::Invalid("an event that is nested too deeply"));
        }
        if has_inexact_integer(&event.payload) || has_inexact_integer(&event.metadata) {
            return Err(AppendError::Invalid("an integer beyond 2⁵³ − 1"));
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
        let canonical = Canonical::of(&texts, event.sequence)
            .map_err(|_| AppendError::Invalid("JSON without a canonical form"))?;
        if canonical.len() > MAX_EVENT_BYTES {
            return Err(AppendError::Invalid("an event that is too large"));
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

/// Where an append went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The position of its first event.
    pub first: Position,
    /// The position of its last event.
    pub last: Position,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// The process's queue of appends. Cheap to clone.
#[derive(Clone)]
pub struct AppendQueue {
    coalescer: Coalescer<Appender>,
    /// Kept for as long as anybody may append.
    _thread: Option<Thread>,
}

impl AppendQueue {
    /// Starts the queue. At most `capacity` appends wait, at most `largest` are committed together.
    #[must_use]
    pub fn start(
        database: Database,
        signal: Signal,
        clock: Arc<dyn Clock>,
        capacity: usize,
        largest: usize,
    ) -> Self {
        // SQLite works on threads of its own anyway, and has one writer for all.
        let (thread, database) = match database.dialect() {
            Dialect::MySql => {
                let thread = Thread::start();
                let _entered = thread.handle().enter();
                (Some(thread.clone()), database.apart(CONNECTIONS))
            }
            Dialect::Sqlite => (None, database),
        };
        let runtime = thread.as_ref().map_or_else(Handle::current, Thread::handle);
        let appender = Appender {
            database,
            signal,
            clock,
            connection: None,
            used_at: tokio::time::Instant::now(),
            in_doubt: None,
        };
        Self {
            coalescer: Coalescer::start_on(&runtime, [appender], capacity, largest),
            _thread: thread,
        }
    }

    /// Appends, and returns when it is durable.
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

    /// How many wait to be written, and how many may.
    #[must_use]
    pub fn depth(&self) -> (usize, usize) {
        (self.coalescer.waiting(), self.coalescer.capacity())
    }

    /// Whether there is no room for one more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let (waiting, capacity) = self.depth();
        waiting >= capacity
    }

    /// Refuses new appends, finishes those that wait, and returns.
    pub async fn shutdown(&self) {
        self.coalescer.shutdown().await;
    }
}

type Outcome = Result<Appended, AppendError>;

/// What was about to be committed when it failed.
struct InDoubt {
    position: Position,
    hash: Hash,
    outcomes: Vec<Outcome>,
    notices: Vec<Notice>,
    /// What the database said, if it refused what travelled with the commit: no reason to try again if nothing was written.
    refusal: Option<Arc<Error>>,
}

struct Appender {
    database: Database,
    signal: Signal,
    clock: Arc<dyn Clock>,
    /// Kept from batch to batch on MySQL: giving it back to the pool costs a ping. SQLite's one writer is shared, so it is given
    /// back.
    connection: Option<Connection>,
    /// When the last batch ended.
    used_at: tokio::time::Instant,
    in_doubt: Option<InDoubt>,
}

impl Batch for Appender {
    type Item = Append;
    type Answer = Outcome;

    async fn run(&mut self, items: Vec<Append>) -> Vec<Outcome> {
        // Whatever a batch that panicked left is not about this one.
        self.in_doubt = None;
        let (began, appends) = (tokio::time::Instant::now(), items.len());
        if self.used_at.elapsed() > KEPT {
            self.connection = None;
        }
        let span = traced::batch(items.iter().map(|item| &item.traced));
        let outcomes = self.answer(items).instrument(span).await;
        self.used_at = tokio::time::Instant::now();
        METRICS.batch(appends, began.elapsed().as_secs_f64());
        outcomes
    }
}

impl Appender {
    /// Commits `items` together, or, if the database refuses that, each alone.
    async fn answer(&mut self, items: Vec<Append>) -> Vec<Outcome> {
        match self.commit(&items).await {
            Ok(outcomes) => outcomes,
            Err(AppendError::Unavailable(error)) if refused(&error) => {
                tracing::warn!(
                    append.batch = items.len(),
                    error = %error,
                    "the database refused a batch; trying each append alone"
                );
                self.alone(items).await
            }
            Err(error) => vec![Err(error); items.len()],
        }
    }
}

/// Whether the database answered that it does not take what was sent, which may be the fault of one append alone.
fn refused(error: &Error) -> bool {
    !error.is_connection() && !error.is_contention()
}

impl Appender {
    /// Commits each of `items` in a transaction of its own; those after one that the database could not be asked about
    /// are not tried.
    async fn alone(&mut self, items: Vec<Append>) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(items.len());
        let mut lost: Option<AppendError> = None;
        for mut item in items {
            if let Some(error) = &lost {
                outcomes.push(Err(error.clone()));
                continue;
            }
            // If its aggregate is not new after all, this try says so.
            item.new_aggregate = false;
            let outcome = match self.commit(&[item]).await {
                Ok(mut alone) => alone.pop().unwrap_or(Err(AppendError::Failed)),
                Err(error) => {
                    if let AppendError::Unavailable(cause) = &error
                        && !refused(cause)
                    {
                        lost = Some(error.clone());
                    }
                    Err(error)
                }
            };
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Commits `items`, again and again while the database is away, for as long as [`RETRY_FOR`].
    async fn commit(&mut self, items: &[Append]) -> Result<Vec<Outcome>, AppendError> {
        let mut pause = FIRST_PAUSE;
        let mut retry_until = None;
        loop {
            let tried = tokio::time::timeout(TRANSACTION_TIMEOUT, self.try_commit(items)).await;
            let error = match tried.unwrap_or(Err(Error::Timeout(TRANSACTION_TIMEOUT).into())) {
                Ok((outcomes, notices)) => {
                    if self.database.dialect() == Dialect::Sqlite {
                        self.connection = None;
                    }
                    self.signal.publish(notices);
                    return Ok(outcomes);
                }
                Err(error) => error,
            };
            if let Some(mut connection) = self.connection.take() {
                connection.close_on_drop();
            }
            if let Some(doubt) = self.in_doubt.as_mut().filter(|_| refused(&error)) {
                doubt.refusal = Some(Arc::clone(&error));
            }
            let now = tokio::time::Instant::now();
            let until = *retry_until.get_or_insert(now + RETRY_FOR);
            let again = !refused(&error) || self.in_doubt.is_some();
            if !again || now + pause > until {
                return Err(match self.in_doubt.take() {
                    Some(_) => AppendError::InDoubt(error),
                    None => AppendError::Unavailable(error),
                });
            }
            tracing::warn!(append.batch = items.len(), error = %error, "an append failed; trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One try. If the one before was lost at its commit, first asks the log whether it was written after all; if it was not, and
    /// the database had refused it, that is what came of it.
    async fn try_commit(&mut self, items: &[Append]) -> Result<(Vec<Outcome>, Vec<Notice>), Arc<Error>> {
        if self.connection.is_none() {
            self.connection = Some(self.database.writer().await?);
        }
        let Some(connection) = self.connection.as_mut() else {
            return Err(Error::NoHead.into());
        };
        if let Some(lost) = &self.in_doubt {
            let written = transaction::holds(connection, lost.position, lost.hash).await?;
            match self.in_doubt.take() {
                Some(lost) if written => return Ok((lost.outcomes, lost.notices)),
                Some(InDoubt {
                    refusal: Some(refusal),
                    ..
                }) => return Err(refusal),
                _ => {}
            }
        }
        let open = transaction::open(connection, items, self.clock.as_ref()).await?;
        let Some(head) = open.head else {
            open.transaction.rollback().await?;
            return Ok((open.outcomes, open.notices));
        };
        self.in_doubt = Some(InDoubt {
            position: head.position,
            hash: head.hash,
            outcomes: open.outcomes,
            notices: open.notices,
            refusal: None,
        });
        open.transaction.commit_with(open.rest).await?;
        let done = self.in_doubt.take().map(|done| (done.outcomes, done.notices));
        Ok(done.unwrap_or_default())
    }
}
