//! The feed over HTTP: pages of the log, and streams of it.
//!
//! A stream holds no queue and no connection: when its client has taken what it was given, it reads the next
//! events itself, on a connection that it gives back before it hands them on. So a client that reads slowly
//! slows down nobody but itself, and what a stream keeps in memory is one chunk, however long the log is. A
//! client that does not read at all is dropped by the server (`server/stall.rs`).
//!
//! What is bounded: how many streams there are, in all and of each caller (`places`), how many of them read
//! at a time ([`READING`]), what one of them reads at a time ([`CHUNK`]) and how long that may take
//! ([`READ_TIMEOUT`]).

mod export;
mod live;
mod places;
mod sse;

use std::sync::Arc;
use std::time::Duration;

use eventstore::{Error, EventFilter, EventLog, EventPage, Head, Position, Signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::problem::ApiError;
use crate::reads::ReadError;
use places::{Place, Places};

pub(crate) use sse::frames;

/// Streams that read the database at a time: the other connections of the pool are for everybody else.
const READING: usize = 2;
/// Events that a stream reads at a time.
const CHUNK: u32 = 100;
/// How long one read of a stream may take, with the wait for its turn.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The log, to be read through HTTP. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    log: EventLog,
    signal: Signal,
    poll: Duration,
    places: Places,
    reading: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Feed {
    /// The feed of a log. Live streams are woken by `signal`, and look every `poll` when it does not come.
    pub(crate) fn new(log: EventLog, signal: Signal, poll: Duration) -> Self {
        Self {
            log,
            signal,
            poll,
            places: Places::default(),
            reading: Arc::new(Semaphore::new(READING)),
            stop: CancellationToken::new(),
        }
    }

    pub(crate) async fn head(&self) -> Result<Head, ReadError> {
        Ok(self.log.head().await?)
    }

    /// As [`EventLog::page`].
    pub(crate) async fn page(
        &self,
        filter: &EventFilter,
        after: Position,
        end: Position,
        limit: u32,
    ) -> Result<EventPage, ReadError> {
        Ok(self.log.page(filter, after, end, limit).await?)
    }

    /// Begins a stream of the events after `after` for `holder`, if there is access control. It ends as soon
    /// as it is no longer `allowed`.
    pub(crate) fn open(
        &self,
        filter: EventFilter,
        after: Position,
        holder: Option<&str>,
        allowed: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<Reader, ApiError> {
        if self.stop.is_cancelled() {
            return Err(ApiError::ShuttingDown);
        }
        Ok(Reader {
            feed: self.clone(),
            filter,
            after,
            allowed: Box::new(allowed),
            ended: None,
            _place: self.places.take(holder)?,
        })
    }

    /// Ends every stream, and begins no more.
    pub(crate) fn close(&self) {
        self.stop.cancel();
    }

    /// Runs one read of a stream when it is its turn.
    async fn read<T>(&self, read: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::time::timeout(READ_TIMEOUT, async {
            // It is never closed.
            let _turn = self.reading.acquire().await.ok();
            read.await
        })
        .await
        .unwrap_or(Err(Error::Timeout(READ_TIMEOUT)))
    }
}

/// One stream, and how far it is.
pub(crate) struct Reader {
    feed: Feed,
    filter: EventFilter,
    after: Position,
    /// Whether its client may read on; asked before each read.
    allowed: Box<dyn Fn() -> bool + Send + Sync>,
    /// What to do when it ends, however it ends: it is told how far the stream has read.
    ended: Option<Box<dyn FnOnce(Position) + Send + Sync>>,
    _place: Place,
}

impl Reader {
    /// Calls `ended` when the stream has ended, with the last position that its client may have been given.
    pub(crate) fn at_end(mut self, ended: impl FnOnce(Position) + Send + Sync + 'static) -> Self {
        self.ended = Some(Box::new(ended));
        self
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            ended(self.after);
        }
    }
}
