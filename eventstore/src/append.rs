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
//! On MySQL and MariaDB, a batch of new aggregates is first tried in a single round trip, without reading
//! (`one_trip`).
//!
//! Conflicts and taken claims are detected in memory (`decide`) before anything is written, and only the
//! affected append fails. If a statement fails for a reason that may apply to a single append, such as a
//! value that the database rejects, each append is retried in its own transaction.

mod appender;
mod clock;
mod decide;
mod doubt;
mod error;
mod head;
mod one_trip;
mod options;
mod prepared;
mod thread;
mod traced;
mod transaction;
mod writes;

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::coalesce::Coalescer;
use crate::database::{Database, Dialect};
use crate::metrics::Metrics;
use crate::signal::Signal;

use appender::Appender;
use clock::CheckedClock;
use thread::Thread;
use traced::Traced;

pub use clock::CLOCKS_APART;
pub use error::AppendError;
pub use options::AppendOptions;
pub use prepared::{Append, Appended, MAX_EVENT_BYTES, MAX_EVENT_DEPTH, MAX_EVENTS};

/// Maximum number of MySQL connections of a queue: one, plus its replacement while a broken connection is
/// being closed.
const CONNECTIONS: u32 = 2;

/// The append queue of a process. Cheap to clone.
#[derive(Clone)]
pub struct AppendQueue {
    coalescer: Coalescer<Appender>,
    clock: CheckedClock,
    metrics: Metrics,
    /// Keeps the thread alive while the queue exists.
    _thread: Option<Thread>,
}

impl AppendQueue {
    /// Starts the queue with default times. At most `capacity` appends wait, and at most `largest` appends
    /// are committed together.
    #[must_use]
    pub fn start(
        database: Database,
        signal: Signal,
        clock: Arc<dyn Clock>,
        capacity: usize,
        largest: usize,
    ) -> Self {
        let options = AppendOptions {
            capacity,
            largest,
            ..AppendOptions::default()
        };
        Self::start_with(database, signal, clock, options)
    }

    /// Starts the queue.
    #[must_use]
    pub fn start_with(
        database: Database,
        signal: Signal,
        clock: Arc<dyn Clock>,
        options: AppendOptions,
    ) -> Self {
        // SQLite connections run on their own threads, and all writes share one connection.
        let (thread, database) = match database.dialect() {
            Dialect::MySql => {
                let thread = Thread::start();
                let _entered = thread.handle().enter();
                (Some(thread.clone()), database.with_separate_pool(CONNECTIONS))
            }
            Dialect::Sqlite => (None, database),
        };
        let runtime = thread.as_ref().map_or_else(Handle::current, Thread::handle);
        let metrics = database.metrics().clone();
        let clock = CheckedClock::new(clock, options.not_before, metrics.clone());
        let appender = Appender::new(database, signal, clock.clone(), options);
        let (capacity, largest) = (options.capacity, options.largest);
        Self {
            coalescer: Coalescer::start_on(&runtime, [appender], capacity, largest),
            clock,
            metrics,
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
        append.queued_at = Some(Instant::now());
        let answer = self.coalescer.ask(append).await;
        let answer = answer.unwrap_or_else(|rejected| Err(rejected.into()));
        let outcome = answer.as_ref().map_or_else(AppendError::name, |_| "appended");
        self.metrics.append(outcome);
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

    /// Checks the clock of this process as far as that is possible without the database:
    /// [`EventLog::check_clock`](crate::EventLog::check_clock) compares the clock with the database's clock.
    ///
    /// # Errors
    ///
    /// [`Error::ClockWrong`](crate::Error::ClockWrong) if an append would now be rejected because of the
    /// clock.
    pub fn check_clock(&self) -> crate::Result<()> {
        self.clock.check()
    }

    /// Rejects new appends, finishes the waiting appends, and returns.
    pub async fn shutdown(&self) {
        self.coalescer.shutdown().await;
    }
}
