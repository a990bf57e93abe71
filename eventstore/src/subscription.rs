//! Subscriptions: named loops over the feed.
//!
//! ```text
//! wait for signal, or poll interval, or shutdown
//! -> read a batch after the checkpoint -> one transaction: apply all, move the checkpoint (compare-and-set) -> again
//! ```
//!
//! The handler's writes and the checkpoint are committed in one transaction, so a crash at any moment neither
//! loses nor duplicates an event. The checkpoint advances only from the position that this owner read. If
//! another process has taken over the lease and moved the checkpoint, the transaction is rolled back.
//!
//! An event that cannot be applied stops the subscription. The subscription retries the event, with a pause
//! that grows to [`LONGEST_PAUSE`], and never skips it by itself. A failed batch is halved, so that the
//! events before the faulty event are applied. The reason for the stop is stored in the database
//! ([`SubscriptionFailure`]), where every process can read it.

pub mod failure;
mod status;
mod traced;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::checkpoint;
use crate::clock::Clock;
use crate::database::Transaction;
use crate::error::{Error, Result};
use crate::event::{Position, RecordedEvent};
use crate::lease::{self, Lease};
use crate::log::{EventFilter, EventLog};
use crate::signal::{Signal, Wake};

use traced::Traced;

pub use failure::SubscriptionFailure;
pub use status::SubscriptionStatus;

/// Default interval between reads of the feed when no signal arrives.
pub const DEFAULT_POLL: Duration = Duration::from_secs(1);
/// Maximum number of events in one transaction.
pub const DEFAULT_BATCH: u32 = 500;

/// Default pause after a transaction that was not full. Under load, the pause lets events accumulate: unless
/// its transactions are full, a subscription commits at most about thirty times a second, regardless of the
/// append rate, and leaves disk capacity to the appends. After a quiet period, an event is applied
/// immediately.
pub const DEFAULT_GATHER: Duration = Duration::from_millis(30);

/// Maximum pause between two attempts to apply a faulty event.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Maximum pause after a failure of the database rather than of an event. The database may recover at any
/// moment.
const LONGEST_OUTAGE_PAUSE: Duration = Duration::from_secs(5);
/// Maximum interval at which a process requests a lease that another owner holds. No signal announces that
/// the owner was killed.
const STAND_BY: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Timeout of one transaction.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeout for recording a failure, because the database itself may have failed.
const NOTE_TIMEOUT: Duration = Duration::from_secs(5);

/// Applies the events of a subscription.
pub trait Handler: Send + 'static {
    /// Reason why an event cannot be applied.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The only event type that the handler needs, if it needs only one. The subscription then reads only
    /// these events, as stored.
    const EVENT_TYPE: Option<&'static str> = None;

    /// Whether the handler needs the personal data of events of this type. Other events reach the handler as
    /// stored, which saves the decryption. Without effect if [`Handler::EVENT_TYPE`] is set.
    #[must_use]
    fn needs_opened(_event_type: &str) -> bool {
        true
    }

    /// Applies `events`, writing only through `transaction`. The events are in order of position, without
    /// gaps unless [`Handler::EVENT_TYPE`] is set. Each event is part of exactly one committed transaction.
    fn apply(
        &mut self,
        transaction: &mut Transaction<'_>,
        events: &[RecordedEvent],
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Whether the events caused the error. If so, the subscription stops at the first faulty event and
    /// reports it, and an operator can skip it. If not, the subscription retries and reports no event.
    fn is_of_events(_error: &Self::Error) -> bool {
        true
    }

    /// Called after the transaction of a call to [`Handler::apply`] is committed.
    fn committed(&mut self) {}
}

/// A named loop over the feed.
#[derive(Debug)]
pub struct Subscription<H> {
    name: String,
    log: EventLog,
    wake: Wake,
    lease: Lease,
    clock: Arc<dyn Clock>,
    handler: H,
    poll: Duration,
    gather: Duration,
    /// Maximum number of events in the next transaction.
    batch: u32,
    checkpoint: Option<Position>,
    /// Whether a past failure may still be recorded, possibly by an earlier process.
    failed: bool,
}

impl<H: Handler> Subscription<H> {
    /// Creates a subscription named `name` (at most 64 bytes). The subscription starts at the beginning of
    /// the log if it has no checkpoint yet. `owner` identifies this process among all processes that run the
    /// same subscription.
    #[must_use]
    pub fn new(
        name: &str,
        owner: &str,
        log: EventLog,
        signal: &Signal,
        clock: Arc<dyn Clock>,
        handler: H,
    ) -> Self {
        if H::EVENT_TYPE.is_none() {
            log.add_subscription();
        }
        let lease = Lease::new(
            log.database().clone(),
            Arc::clone(&clock),
            name.to_owned(),
            owner.to_owned(),
            lease::DEFAULT_DURATION,
        );
        Self {
            name: name.to_owned(),
            log,
            wake: signal.subscribe(),
            lease,
            clock,
            handler,
            poll: DEFAULT_POLL,
            gather: DEFAULT_GATHER,
            batch: DEFAULT_BATCH,
            checkpoint: None,
            failed: true,
        }
    }

    /// Sets the interval between reads of the feed when no signal arrives.
    #[must_use]
    pub const fn with_poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// Sets the pause after a transaction that was not full.
    #[must_use]
    pub const fn with_gather(mut self, gather: Duration) -> Self {
        self.gather = gather;
        self
    }

    /// Follows the log until `shutdown`. Failures are logged and retried after a pause.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        while !shutdown.is_cancelled() {
            self.wake.clear();
            let wait = match self.turn().await {
                Ok(Turn::Applied { full }) => {
                    pause = FIRST_PAUSE;
                    if !full {
                        tokio::select! {
                            () = shutdown.cancelled() => {}
                            () = tokio::time::sleep(self.gather) => {}
                        }
                    }
                    continue;
                }
                Ok(Turn::UpToDate) => {
                    pause = FIRST_PAUSE;
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        () = self.wake.wait(self.poll) => {}
                    }
                    continue;
                }
                // Only the owner needs the signal. Requesting the lease at every signal would only slow the
                // owner down.
                Ok(Turn::StandBy) => {
                    pause = FIRST_PAUSE;
                    self.poll.min(STAND_BY)
                }
                Err(error) => {
                    // Read the checkpoint and the events from the database again.
                    self.checkpoint = None;
                    self.log.forget_reads();
                    let wait = pause;
                    self.note(&error, wait).await;
                    // The pause does not grow while a batch is halved, but only once the faulty event is
                    // found.
                    if !matches!(error, Error::Handler { events, .. } if events > 1) {
                        pause = longer(pause, &error);
                    }
                    wait
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        if let Err(error) = self.lease.release().await {
            tracing::warn!(subscription.name = self.name, %error, "could not release a lease; it will expire");
        }
    }

    /// Logs a failure, and records it in the database if possible.
    async fn note(&mut self, error: &Error, pause: Duration) {
        let text = failure::without_data(error);
        tracing::warn!(
            subscription.name = self.name,
            subscription.retry_ms = pause.as_millis(),
            error = text,
            "a subscription failed; retrying"
        );
        let position = match error {
            // Another owner has taken over the checkpoint.
            Error::Superseded { .. } => return,
            // Halving the batch has not found the faulty event yet.
            Error::Handler { events, .. } if *events > 1 => return,
            Error::Handler { after, .. } => Some(after.next()),
            _ => None,
        };
        self.failed = true;
        self.log.database().metrics().failed(&self.name);
        let noted = failure::record(
            self.log.database(),
            &self.name,
            position,
            &text,
            self.clock.now(),
            pause,
            Some(self.lease.owner()),
        );
        let noted = tokio::time::timeout(NOTE_TIMEOUT, noted)
            .await
            .unwrap_or(Err(Error::Timeout(NOTE_TIMEOUT)));
        if let Err(error) = noted {
            tracing::debug!(subscription.name = self.name, %error, "could not record the failure");
        }
    }

    /// Deletes the record of a past failure.
    async fn forget(&mut self) -> Result<()> {
        if self.failed {
            failure::clear(self.log.database(), &self.name).await?;
            self.failed = false;
        }
        Ok(())
    }

    async fn turn(&mut self) -> Result<Turn> {
        tokio::time::timeout(TRANSACTION_TIMEOUT, async {
            let until = self.lease.expires_at();
            if !self.lease.hold().await? {
                // Another owner has taken over the checkpoint.
                self.checkpoint = None;
                return Ok(Turn::StandBy);
            }
            // If the lease was renewed late, another owner may have held the lease meanwhile and recorded a
            // failure.
            self.failed |= self.lease.expires_at() != until;
            self.step().await
        })
        .await
        .unwrap_or(Err(Error::Timeout(TRANSACTION_TIMEOUT)))
    }

    async fn step(&mut self) -> Result<Turn> {
        let checkpoint = match self.checkpoint {
            Some(checkpoint) => checkpoint,
            None => *self
                .checkpoint
                .insert(checkpoint::load_or_create(self.log.database(), &self.name).await?),
        };
        let Some(Batch { events, last, full }) = self.read(checkpoint).await? else {
            // An empty batch is valid only at the end of the log.
            checkpoint::check(&self.name, checkpoint, self.log.head().await?.position)?;
            self.forget().await?;
            return Ok(Turn::UpToDate);
        };
        let traced = Traced::begin(&self.name, &events);
        if let Err(error) = self.apply(checkpoint, &events, last).await {
            traced.failed();
            return Err(error);
        }
        drop(traced);
        self.checkpoint = Some(last);
        self.batch = (self.batch * 2).min(DEFAULT_BATCH);
        self.handler.committed();
        let metrics = self.log.database().metrics();
        metrics.followed(&self.name, events.len());
        self.forget().await?;
        Ok(Turn::Applied { full })
    }

    /// Reads the next batch of events after the checkpoint. Returns `None` if the log has no events after the
    /// checkpoint. For a handler with one event type, a batch can be empty.
    async fn read(&mut self, checkpoint: Position) -> Result<Option<Batch>> {
        if checkpoint < Position::BEGINNING {
            return Ok(None);
        }
        let Some(event_type) = H::EVENT_TYPE else {
            let events = self
                .log
                .feed_for_subscription(checkpoint, self.batch, H::needs_opened)
                .await?;
            return Ok(events.last().map(|last| last.position).map(|last| Batch {
                full: events.len() as u64 >= u64::from(self.batch),
                events,
                last,
            }));
        };
        let filter = EventFilter {
            event_type: Some(event_type.to_owned()),
            aggregate: None,
        };
        let head = self.log.head().await?.position;
        let page = self.log.page(&filter, checkpoint, head, self.batch).await?;
        Ok((page.reaches > checkpoint).then_some(Batch {
            full: page.reaches < head,
            events: page.events,
            last: page.reaches,
        }))
    }

    /// Runs the transaction of a step: applies the events and advances the checkpoint to the last event.
    async fn apply(&mut self, checkpoint: Position, events: &[RecordedEvent], last: Position) -> Result<()> {
        let mut transaction = self.log.database().begin().await?;
        if let Err(source) = self.handler.apply(&mut transaction, events).await {
            drop(transaction);
            let of_events = H::is_of_events(&source);
            return Err(self
                .refused(checkpoint, events, of_events, Box::new(source))
                .await?);
        }
        checkpoint::advance(&mut transaction, &self.name, checkpoint, last, self.clock.now()).await?;
        transaction.commit().await
    }

    /// Classifies the failure of the handler to apply `events`, which follow `checkpoint`. If the checkpoint
    /// has moved in the meantime, the failure is ignored, because it concerns events that another process has
    /// handled.
    async fn refused(
        &mut self,
        checkpoint: Position,
        events: &[RecordedEvent],
        of_events: bool,
        source: Box<dyn std::error::Error + Send + Sync>,
    ) -> Result<Error> {
        if checkpoint::load_or_create(self.log.database(), &self.name).await? != checkpoint {
            return Ok(Error::Superseded {
                name: self.name.clone(),
            });
        }
        if !of_events {
            let name = self.name.clone();
            return Ok(Error::NotWritten { name, source });
        }
        self.batch = u32::try_from(events.len() / 2).map_or(1, |half| half.max(1));
        Ok(Error::Handler {
            name: self.name.clone(),
            // With a filter, the first event is not necessarily the next one.
            after: events.first().map_or(checkpoint, |first| {
                Position::from_stored(first.position.to_stored() - 1)
            }),
            events: events.len(),
            source,
        })
    }
}

/// Returns the pause that follows `pause` after another failed attempt.
fn longer(pause: Duration, error: &Error) -> Duration {
    let longest = match error {
        Error::Handler { .. } => LONGEST_PAUSE,
        _ => LONGEST_OUTAGE_PAUSE,
    };
    (pause * 2).min(longest)
}

/// Events to apply together.
struct Batch {
    events: Vec<RecordedEvent>,
    /// Position up to which the events are complete.
    last: Position,
    /// Whether more events may follow.
    full: bool,
}

enum Turn {
    Applied { full: bool },
    UpToDate,
    StandBy,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(error: &Error) -> Vec<Duration> {
        std::iter::successors(Some(FIRST_PAUSE), |pause| Some(longer(*pause, error)))
            .take(20)
            .collect()
    }

    #[test]
    fn a_database_that_is_away_is_asked_again_soon_however_long_it_has_been_away() {
        let away = pauses(&Error::Timeout(TRANSACTION_TIMEOUT));
        assert_eq!(away.iter().max(), Some(&LONGEST_OUTAGE_PAUSE));
    }

    #[test]
    fn an_event_that_cannot_be_applied_is_tried_less_and_less_often() {
        let refused = pauses(&Error::Handler {
            name: "x".to_owned(),
            after: Position::BEGINNING,
            events: 1,
            source: "no".into(),
        });
        assert_eq!(refused.iter().max(), Some(&LONGEST_PAUSE));
    }
}
