//! The feed over HTTP: pages and streams of the log.
//!
//! A stream has no queue, and does not keep a database connection. Once the client has consumed the previous
//! events, the stream takes a connection, reads the next events, returns the connection, and only then sends
//! the events. A slow client therefore delays only its own stream. A stream keeps only one chunk in memory,
//! regardless of the length of the log. The server drops a client that does not read at all (`stall` in the
//! `web` crate).
//!
//! The following are limited:
//!
//! - the number of streams, in total and per caller (`places`)
//! - the number of streams that read the database at a time ([`READING`])
//! - the number of events that a stream reads at a time ([`CHUNK`])
//! - the duration of one read ([`READ_TIMEOUT`])

mod event;
mod export;
mod live;
mod places;
mod sse;

use std::sync::Arc;
use std::time::Duration;

use eventstore::{Error, EventFilter, EventLog, Head, Position, Signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::problem::ApiError;
use places::{Place, Places};
use projector::reads::ReadError;

pub use event::FeedEvent;
use event::FeedPage;
pub(crate) use export::Incomplete;
pub(crate) use sse::frames;

/// Maximum number of streams that read the database at a time. The other connections of the pool remain
/// available to other requests.
const READING: usize = 2;
/// Maximum number of events that a stream reads at a time.
const CHUNK: u32 = 100;
/// Maximum duration of one read by a stream, including the wait for its turn.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The log, for reading over HTTP. Cheap to clone.
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
    /// Creates the feed of a log. `signal` wakes live streams. Without a signal, they check the log at the
    /// interval `poll`.
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

    /// Reads a page like [`EventLog::page`], with the opened payloads.
    pub(crate) async fn page(
        &self,
        filter: &EventFilter,
        after: Position,
        end: Position,
        limit: u32,
    ) -> Result<FeedPage, ReadError> {
        Ok(FeedPage::read(&self.log, filter, after, end, limit).await?)
    }

    /// Opens a stream of the events after `after`. `holder` is the caller, if access control is enabled. The
    /// stream ends once `allowed` returns false.
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

    /// Ends all streams. No new stream can be opened afterward.
    pub(crate) fn close(&self) {
        self.stop.cancel();
    }

    /// Runs one read of a stream when its turn comes.
    async fn read<T>(&self, read: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::time::timeout(READ_TIMEOUT, async {
            // The semaphore is never closed.
            let _turn = self.reading.acquire().await.ok();
            read.await
        })
        .await
        .unwrap_or(Err(Error::Timeout(READ_TIMEOUT)))
    }
}

/// A stream and its position.
pub(crate) struct Reader {
    feed: Feed,
    filter: EventFilter,
    after: Position,
    /// Whether the client may continue to read. Called before each read.
    allowed: Box<dyn Fn() -> bool + Send + Sync>,
    /// Called when the stream ends for any reason, with the position that it has reached.
    ended: Option<Box<dyn FnOnce(Position) + Send + Sync>>,
    _place: Place,
}

impl Reader {
    /// Calls `ended` when the stream ends, with the last position that the client may have received.
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
