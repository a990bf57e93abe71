//! Subscriptions: named loops over the feed.
//!
//! ```text
//! wait for signal, or poll interval, or shutdown
//! -> read a batch after the checkpoint -> one transaction: apply all, move the checkpoint (compare-and-set) -> again
//! ```
//!
//! What a handler writes and the checkpoint that says so are one transaction: a kill at any moment loses and
//! doubles nothing. The checkpoint moves only from where this owner read it; an owner whose lease has passed
//! on while it was stopped finds it moved, and what it wrote is rolled back.
//!
//! An event that cannot be applied stops the subscription there: it is tried again, with a pause that grows
//! to [`LONGEST_PAUSE`], and never passed over. A batch that fails is halved, so that the events before it
//! are applied. Why it has stopped is kept in the database ([`Failure`]), where every process sees it.

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
use crate::log::EventLog;
use crate::metrics::METRICS;
use crate::signal::{Signal, Wake};

use traced::Traced;

pub use failure::Failure;
pub use status::SubscriptionStatus;

/// How often the feed is read when no signal comes.
pub const DEFAULT_POLL: Duration = Duration::from_secs(1);
/// The most events in one transaction.
pub const DEFAULT_BATCH: u32 = 500;

/// The pause after a transaction that was not full. Under load it lets events gather, so that a subscription
/// commits some thirty times a second at most, however fast the log grows, and leaves the disk to the
/// appends; an event that comes after a quieter time is applied at once.
pub const DEFAULT_GATHER: Duration = Duration::from_millis(30);

/// The longest pause between two tries of an event that cannot be applied.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause when no event is at fault, but the database: it may be back at any moment.
const LONGEST_OUTAGE_PAUSE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// How long one transaction may take before it is given up.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(30);
/// How long noting a failure may take: the database may be what failed.
const NOTE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a subscription does with events.
pub trait Handler: Send + 'static {
    /// Why an event cannot be applied.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Writes what `events` mean, all through `transaction`. They are in the order of their positions,
    /// without a gap, each seen in exactly one transaction that commits.
    fn apply(
        &mut self,
        transaction: &mut Transaction<'_>,
        events: &[RecordedEvent],
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Whether the events are at fault. If so the subscription stops at the first that is, says which, and an
    /// operator may have it skipped; if not, it is tried again and no event is blamed.
    fn is_of_events(_error: &Self::Error) -> bool {
        true
    }

    /// Is called after the transaction of an [`Handler::apply`] has been committed.
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
    /// How many events the next transaction takes at most.
    batch: u32,
    checkpoint: Option<Position>,
    /// Whether a failure may be noted that has been got over; an earlier process may have left one.
    failed: bool,
}

impl<H: Handler> Subscription<H> {
    /// A subscription under `name` (at most 64 bytes), which starts from the beginning of the log if there is
    /// no checkpoint of that name yet. `owner` names this process among all that run the same subscription.
    #[must_use]
    pub fn new(
        name: &str,
        owner: &str,
        log: EventLog,
        signal: &Signal,
        clock: Arc<dyn Clock>,
        handler: H,
    ) -> Self {
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

    /// Sets how often the feed is read when no signal comes.
    #[must_use]
    pub const fn with_poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// Sets how long events gather after a transaction that was not full.
    #[must_use]
    pub const fn with_gather(mut self, gather: Duration) -> Self {
        self.gather = gather;
        self
    }

    /// Follows the log until `shutdown`. A failure is logged, and tried again after a pause.
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
                // The signal is for the owner; asking for the lease at every one would only be in its way.
                Ok(Turn::StandBy) => {
                    pause = FIRST_PAUSE;
                    self.poll
                }
                Err(error) => {
                    // Where the checkpoint is now is for the database to say.
                    self.checkpoint = None;
                    let wait = pause;
                    self.note(&error, wait).await;
                    // Halving goes on without growing pauses: those are for the event that is at fault.
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
            tracing::warn!(subscription.name = self.name, %error, "a lease could not be released; it runs out by itself");
        }
    }

    /// Says that it failed: in the log, and in the database if that can be reached.
    async fn note(&mut self, error: &Error, pause: Duration) {
        let text = failure::without_data(error);
        tracing::warn!(
            subscription.name = self.name,
            subscription.retry_ms = pause.as_millis(),
            error = text,
            "a subscription failed; trying again"
        );
        let position = match error {
            // Somebody else moves it.
            Error::Superseded { .. } => return,
            // One of several; which, is found by halving.
            Error::Handler { events, .. } if *events > 1 => return,
            Error::Handler { after, .. } => Some(after.next()),
            _ => None,
        };
        self.failed = true;
        METRICS.failed(&self.name);
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
            tracing::debug!(subscription.name = self.name, %error, "the failure could not be noted");
        }
    }

    /// Forgets a failure that it has got over.
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
                // Another owner moves the checkpoint.
                self.checkpoint = None;
                return Ok(Turn::StandBy);
            }
            // Another may have held it meanwhile, and have left a failure.
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
        let events = if checkpoint < Position::BEGINNING {
            Vec::new()
        } else {
            self.log.feed(checkpoint, self.batch).await?
        };
        let Some(last) = events.last() else {
            // Nothing is left only if this is the end of the log.
            checkpoint::check(&self.name, checkpoint, self.log.head().await?.position)?;
            self.forget().await?;
            return Ok(Turn::UpToDate);
        };
        let traced = Traced::begin(&self.name, &events);
        if let Err(error) = self.apply(checkpoint, &events, last.position).await {
            traced.failed();
            return Err(error);
        }
        drop(traced);
        self.checkpoint = Some(last.position);
        let full = events.len() as u64 >= u64::from(self.batch);
        self.batch = (self.batch * 2).min(DEFAULT_BATCH);
        self.handler.committed();
        METRICS.followed(&self.name, events.len());
        self.forget().await?;
        Ok(Turn::Applied { full })
    }

    /// The transaction of a step: what the events mean, and the checkpoint after the last of them.
    async fn apply(&mut self, checkpoint: Position, events: &[RecordedEvent], last: Position) -> Result<()> {
        let mut transaction = self.log.database().begin().await?;
        if let Err(source) = self.handler.apply(&mut transaction, events).await {
            drop(transaction);
            let of_events = H::is_of_events(&source);
            return Err(self
                .refused(checkpoint, events.len(), of_events, Box::new(source))
                .await?);
        }
        checkpoint::advance(&mut transaction, &self.name, checkpoint, last, self.clock.now()).await?;
        transaction.commit().await
    }

    /// What it means that the handler could not apply `events` events after `checkpoint`: nothing, if the
    /// checkpoint has been moved meanwhile, because then they were not the events that are due.
    async fn refused(
        &mut self,
        checkpoint: Position,
        events: usize,
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
        self.batch = u32::try_from(events / 2).map_or(1, |half| half.max(1));
        Ok(Error::Handler {
            name: self.name.clone(),
            after: checkpoint,
            events,
            source,
        })
    }
}

/// The pause that follows `pause` when a try has failed again.
fn longer(pause: Duration, error: &Error) -> Duration {
    let longest = match error {
        Error::Handler { .. } => LONGEST_PAUSE,
        _ => LONGEST_OUTAGE_PAUSE,
    };
    (pause * 2).min(longest)
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
