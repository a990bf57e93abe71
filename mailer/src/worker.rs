//! From the ledger to the transport.
//!
//! ```text
//! one transaction: record what has ended, take what is due for each free slot -> start each
//! -> wait for one to end, a wake-up, the poll interval, or shutdown -> again
//! ```
//!
//! Any number of workers in any number of processes share the ledger: each takes rows under a lease that is twice as
//! long as an attempt may take. What has ended is kept until it is recorded, and holds its slot until then; so a
//! database that is away stops the sending, and nothing grows.

mod attempt;
mod take;

use std::sync::Arc;
use std::time::Duration;

use eventstore::{Clock, Error, EventLog, Result};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::attempt::{Attempt, Post};
use self::take::Taken;
use crate::message::Composer;
use crate::transport::Transport;

/// How long the database may take to answer. A transaction that is given up ends its connection, which the pool then
/// replaces.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How a [`Worker`] works.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The most mails that are being sent at a time, 1 or more.
    pub concurrency: usize,
    /// How long one attempt may take. A row is leased for twice as long.
    pub send_timeout: Duration,
    /// How often the ledger is asked when nobody wakes the worker.
    pub poll: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: 8,
            send_timeout: Duration::from_secs(30),
            poll: Duration::from_secs(1),
        }
    }
}

impl Options {
    fn lease(&self) -> Duration {
        self.send_timeout * 2
    }
}

/// Sends what is due.
#[derive(Debug)]
pub struct Worker {
    log: EventLog,
    clock: Arc<dyn Clock>,
    post: Arc<Post>,
    options: Options,
    wake: Arc<Notify>,
    running: JoinSet<Attempt>,
    ended: Vec<Attempt>,
}

impl Worker {
    /// A worker on the ledger beside `log`. It is woken by `wake`, from [`crate::handler()`], when the subscription runs in
    /// the same process; where it does not, a new `Notify` does, and the worker polls.
    #[must_use]
    pub fn new(
        log: EventLog,
        clock: Arc<dyn Clock>,
        composer: Composer,
        transport: Transport,
        options: Options,
        wake: Arc<Notify>,
    ) -> Self {
        let post = Post {
            composer,
            transport,
            clock: Arc::clone(&clock),
            timeout: options.send_timeout,
        };
        Self {
            log,
            clock,
            post: Arc::new(post),
            options,
            wake,
            running: JoinSet::new(),
            ended: Vec::new(),
        }
    }

    /// Sends until `shutdown`, which means "take no more": from then on no mail is begun, what is being sent is finished
    /// and recorded, and then this returns. That takes as long as the send timeout and a few seconds, or, if the database
    /// is away, a minute or so more, and ends with a warning. It does no harm to cancel it long before the rest of the
    /// process stops: what is due waits in the ledger. To drop the future instead, or to end the process before it has
    /// returned, interrupts what is being sent; those mails are sent again.
    ///
    /// A failure of the database is logged once, and tried again with a pause that grows to 10 s.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        let mut away = false;
        let mut give_up = None;
        loop {
            let stopping = shutdown.is_cancelled();
            let wait = match self.turn_in_time(&shutdown).await {
                Ok(wait) => {
                    if away {
                        tracing::info!("the mail ledger is back");
                    }
                    (pause, away) = (FIRST_PAUSE, false);
                    wait
                }
                Err(error) => {
                    if !away {
                        tracing::warn!(%error, "the mail ledger failed; trying again until it is back");
                    }
                    away = true;
                    let wait = pause;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    wait
                }
            };
            if stopping {
                let now = Instant::now();
                let until = *give_up.get_or_insert(now + self.options.send_timeout + TRANSACTION_TIMEOUT);
                if self.running.is_empty() && (self.ended.is_empty() || now > until) {
                    break;
                }
            }
            self.wait(wait, away, &shutdown).await;
        }
        if !self.ended.is_empty() {
            tracing::warn!(
                mail.unrecorded = self.ended.len(),
                "the outcomes of some mails could not be recorded; they will be sent again"
            );
        }
        self.post.transport.close().await;
    }

    async fn turn_in_time(&mut self, shutdown: &CancellationToken) -> Result<Duration> {
        tokio::time::timeout(TRANSACTION_TIMEOUT, self.turn(shutdown))
            .await
            .unwrap_or(Err(Error::Timeout(TRANSACTION_TIMEOUT)))
    }

    /// Records what has ended and takes what is due, all in one transaction; how long to wait if nothing happens. If it
    /// fails, what has ended stays to be recorded.
    async fn turn(&mut self, shutdown: &CancellationToken) -> Result<Duration> {
        let free = if shutdown.is_cancelled() { 0 } else { self.free() };
        if free == 0 && self.ended.is_empty() {
            return Ok(self.options.poll);
        }
        let now = self.clock.now();
        let mut transaction = self.log.database().begin().await?;
        let mut recorded = Vec::with_capacity(self.ended.len());
        for attempt in &self.ended {
            recorded.push(attempt.record(&mut transaction, now).await?);
        }
        let mut taken = Taken::default();
        // Asked again, since the database may have taken its time.
        if free > 0 && !shutdown.is_cancelled() {
            taken = take::take(&mut transaction, free, now, self.options.lease()).await?;
        }
        transaction.commit().await?;
        for (attempt, recorded) in self.ended.drain(..).zip(recorded) {
            attempt.report(recorded);
        }
        for delivery in taken.cancelled {
            tracing::info!(
                mail.position = %delivery.position,
                mail.template = delivery.template.name(),
                "a mail was cancelled: its patient was deleted"
            );
        }
        for job in taken.jobs {
            self.running.spawn(Arc::clone(&self.post).attempt(job));
        }
        if self.running.is_empty() {
            self.post.transport.tidy();
        }
        Ok(if taken.more {
            Duration::ZERO
        } else {
            self.options.poll
        })
    }

    /// How many more may run. What has ended is about to be recorded, and then holds no slot.
    fn free(&self) -> usize {
        self.options.concurrency.max(1).saturating_sub(self.running.len())
    }

    /// Waits for something to do. While the database is away there is nothing to do before `longest` has passed.
    async fn wait(&mut self, longest: Duration, away: bool, shutdown: &CancellationToken) {
        let stopping = shutdown.is_cancelled();
        let all_busy = self.free() == 0;
        tokio::select! {
            // An error would be a panic, and an attempt never panics.
            Some(ended) = self.running.join_next(), if !away => self.ended.extend(ended.ok()),
            () = self.wake.notified(), if !away && !stopping && !all_busy => {}
            () = shutdown.cancelled(), if !stopping => {}
            () = tokio::time::sleep(longest) => {}
        }
        while let Some(ended) = self.running.try_join_next() {
            self.ended.extend(ended.ok());
        }
    }
}
