//! Subscriptions: named loops over the feed.
//!
//! ```text
//! wait for signal, or poll interval, or shutdown
//! -> read a batch after the checkpoint -> one transaction: apply all, move the checkpoint (compare-and-set) -> again
//! ```
//!
//! What a handler writes and the checkpoint that says so are one transaction: a kill at any moment loses and doubles
//! nothing. The checkpoint moves only from where this owner read it; an owner whose lease has passed on while it was
//! stopped finds it moved, and what it wrote is rolled back.
//!
//! An event that cannot be applied stops the subscription there: it is tried again, with a pause that grows to
//! [`LONGEST_PAUSE`], and never passed over. A batch that fails is halved, so that the events before it are applied.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Timestamp};
use crate::database::{Database, Session, Transaction};
use crate::error::{Error, Result};
use crate::event::{Position, RecordedEvent};
use crate::lease::{self, Lease};
use crate::log::EventLog;
use crate::signal::{Signal, Wake};

/// How often the feed is read when no signal comes.
pub const DEFAULT_POLL: Duration = Duration::from_secs(1);
/// The most events in one transaction.
pub const DEFAULT_BATCH: u32 = 500;

/// The pause after a transaction that was not full. Under load it lets events gather, so that a subscription commits a hundred
/// times a second at most, however fast the log grows, and leaves the disk to the appends; an event that comes after a
/// quieter time is applied at once.
const GATHER: Duration = Duration::from_millis(10);

/// The longest pause between two tries of a transaction that failed.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// How long one transaction may take before it is given up.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(30);

/// What a subscription does with events.
pub trait Handler: Send + 'static {
    /// Why an event cannot be applied.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Writes what `events` mean, all through `transaction`. They are in the order of their positions, without a gap,
    /// each seen in exactly one transaction that commits.
    fn apply(
        &mut self,
        transaction: &mut Transaction<'_>,
        events: &[RecordedEvent],
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

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
    /// How many events the next transaction takes at most.
    batch: u32,
    checkpoint: Option<Position>,
}

impl<H: Handler> Subscription<H> {
    /// A subscription under `name` (at most 64 bytes), which starts from the beginning of the log if there is no
    /// checkpoint of that name yet. `owner` names this process among all that run the same subscription.
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
            batch: DEFAULT_BATCH,
            checkpoint: None,
        }
    }

    /// Sets how often the feed is read when no signal comes.
    #[must_use]
    pub const fn with_poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
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
                        tokio::time::sleep(GATHER).await;
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
                    tracing::warn!(
                        subscription.name = self.name,
                        subscription.retry_ms = pause.as_millis(),
                        %error,
                        "a subscription failed; trying again"
                    );
                    // Where the checkpoint is now is for the database to say.
                    self.checkpoint = None;
                    let wait = pause;
                    pause = (pause * 2).min(LONGEST_PAUSE);
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

    async fn turn(&mut self) -> Result<Turn> {
        tokio::time::timeout(TRANSACTION_TIMEOUT, async {
            if !self.lease.hold().await? {
                // Another owner moves the checkpoint.
                self.checkpoint = None;
                return Ok(Turn::StandBy);
            }
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
                .insert(load_or_create(self.log.database(), &self.name).await?),
        };
        let events = self.log.feed(checkpoint, self.batch).await?;
        let Some(last) = events.last() else {
            return Ok(Turn::UpToDate);
        };
        let mut transaction = self.log.database().begin().await?;
        if let Err(source) = self.handler.apply(&mut transaction, &events).await {
            self.batch = u32::try_from(events.len() / 2).map_or(1, |half| half.max(1));
            return Err(Error::Handler {
                name: self.name.clone(),
                after: checkpoint,
                source: Box::new(source),
            });
        }
        advance(
            &mut transaction,
            &self.name,
            checkpoint,
            last.position,
            self.clock.now(),
        )
        .await?;
        transaction.commit().await?;
        self.checkpoint = Some(last.position);
        let full = events.len() as u64 >= u64::from(self.batch);
        self.batch = (self.batch * 2).min(DEFAULT_BATCH);
        self.handler.committed();
        Ok(Turn::Applied { full })
    }
}

enum Turn {
    Applied { full: bool },
    UpToDate,
    StandBy,
}

async fn load_or_create(database: &Database, name: &str) -> Result<Position> {
    let mut connection = database.writer().await?;
    let sql = format!(
        "{} INTO checkpoints (name, position, updated_at) VALUES (?, 0, 0)",
        database.dialect().insert_ignore()
    );
    connection.query(&sql).bind(name).execute().await?;
    let row = connection
        .query("SELECT position FROM checkpoints WHERE name = ?")
        .bind(name)
        .fetch_optional()
        .await?;
    row.map_or(Ok(Position::BEGINNING), |row| row.get(0))
}

/// Moves a checkpoint, if it still is where it was read.
async fn advance(
    transaction: &mut Transaction<'_>,
    name: &str,
    from: Position,
    to: Position,
    now: Timestamp,
) -> Result<()> {
    let moved = transaction
        .query("UPDATE checkpoints SET position = ?, updated_at = ? WHERE name = ? AND position = ?")
        .bind(to)
        .bind(now)
        .bind(name)
        .bind(from)
        .execute()
        .await?;
    if moved == 1 {
        Ok(())
    } else {
        Err(Error::Superseded {
            name: name.to_owned(),
        })
    }
}

/// How a subscription does, as the database tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionStatus {
    /// The last position that it has finished.
    pub position: Position,
    /// The last position of the log.
    pub head: Position,
    /// Who owns it now; nobody if its lease has run out.
    pub owner: Option<String>,
    /// When the first event that it has not finished was recorded; nothing if it has finished all.
    pub waiting_since: Option<Timestamp>,
}

impl SubscriptionStatus {
    /// Asks the database.
    ///
    /// # Errors
    ///
    /// [`Error::Database`].
    pub async fn of(database: &Database, name: &str, now: Timestamp) -> Result<Self> {
        let mut connection = database.reader().await?;
        let row = connection
            .query(
                "SELECT c.position, h.position, e.recorded_at, l.owner FROM log_head h \
                 LEFT JOIN checkpoints c ON c.name = ? \
                 LEFT JOIN events e ON e.position = COALESCE(c.position, 0) + 1 \
                 LEFT JOIN leases l ON l.name = ? AND l.expires_at > ? WHERE h.id = 1",
            )
            .bind(name)
            .bind(name)
            .bind(now)
            .fetch_optional()
            .await?
            .ok_or(Error::NoHead)?;
        Ok(Self {
            position: row.get::<Option<Position>, _>(0)?.unwrap_or(Position::BEGINNING),
            head: row.get(1)?,
            waiting_since: row.get(2)?,
            owner: row.get(3)?,
        })
    }
}
