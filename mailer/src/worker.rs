//! The worker, which leases due deliveries from the ledger and sends them.
//!
//! ```text
//! one transaction: record finished attempts, lease due deliveries for the free slots -> start an attempt for each
//! -> wait for a finished attempt, a wake-up, the poll interval, or shutdown -> repeat
//! ```
//!
//! If no session is open, one email is sent first as a probe. The others follow when it succeeds. An
//! unreachable server therefore costs one probe, which does not count as an attempt. [`breaker`] schedules
//! the next probe. [`ambiguous`] determines whether a rejection of one email applies to all mail. [`limits`]
//! limits the rate and the number of connections to what the server accepts.
//!
//! Any number of workers in any number of processes can share the ledger. Each takes leases that cover the
//! server's answer timeout, plus [`GRACE`] to begin the attempt and [`GRACE`] to record it. If the server is
//! slow before the message, the lease is renewed. Without a sufficient lease, no message is sent. Finished
//! attempts are retained until they are recorded, and occupy their slots until then. An unavailable database
//! therefore stops the sending, and memory use does not grow.

mod ambiguous;
mod attempt;
mod attempt_span;
mod breaker;
mod evidence;
mod leases;
mod leasing;
mod limits;
mod now;
mod options;
mod recipients;
mod registered_domain;
mod status;

use std::sync::Arc;
use std::time::Duration;

use eventstore::{Clock, Error, EventLog, Result, Timestamp, Transaction};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::attempt::{Attempt, AttemptRunner};
use self::breaker::{Breaker, Probe};
use self::evidence::Evidence;
use self::leases::RunningLeases;
use self::leasing::{LeaseTerms, Leased, lease_due};
pub use self::limits::Rate;
use self::limits::SendLimits;
use self::now::Now;
pub use self::options::Options;
use self::options::{GRACE, TRANSACTION_TIMEOUT};
use self::status::PublishedStatus;
use crate::ledger::workers::STATUS_INTERVAL;
use crate::ledger::{self, attempts, due_too_late};
use crate::message::Composer;
use crate::transport::{Permit, Transport};

/// Interval between searches for deliveries that a wrong clock has scheduled too late.
const DUE_TIME_CHECK_INTERVAL: Duration = Duration::from_mins(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Sends due emails.
#[derive(Debug)]
pub struct Worker {
    log: EventLog,
    clock: Arc<dyn Clock>,
    runner: Arc<AttemptRunner>,
    options: Options,
    wake: Arc<Notify>,
    running: JoinSet<Attempt>,
    leases: RunningLeases,
    ended: Vec<Attempt>,
    breaker: Breaker,
    limits: SendLimits,
    /// Time of the last search for deliveries that are due too late.
    due_times_checked_at: Option<Duration>,
    status: PublishedStatus,
}

impl Worker {
    /// Creates a worker for the ledger in the database of `log`. `wake`, from [`crate::handler()`], wakes the
    /// worker if the subscription runs in the same process. Otherwise, pass a new `Notify`, and the worker
    /// polls.
    #[must_use]
    pub fn new(
        log: EventLog,
        clock: Arc<dyn Clock>,
        composer: impl Into<Arc<Composer>>,
        transport: Transport,
        options: Options,
        wake: Arc<Notify>,
    ) -> Self {
        let runner = AttemptRunner {
            composer: composer.into(),
            transport,
            clock: Arc::clone(&clock),
            timeouts: options.timeouts,
        };
        let started = clock.monotonic();
        Self {
            log,
            clock,
            runner: Arc::new(runner),
            options,
            wake,
            running: JoinSet::new(),
            leases: RunningLeases::default(),
            ended: Vec::new(),
            breaker: Breaker::default(),
            limits: SendLimits::new(options.rate, started),
            due_times_checked_at: None,
            status: PublishedStatus::new(format!("mailer:{:016x}", fastrand::u64(..))),
        }
    }

    /// Sets the worker's unique name, at most 128 bytes. The default is random.
    #[must_use]
    pub fn with_owner(mut self, owner: &str) -> Self {
        self.status = PublishedStatus::new(owner.to_owned());
        self
    }

    /// Sends emails until `shutdown` is cancelled. Then starts no new attempts, finishes and records the
    /// running attempts, and returns. An attempt that does not reach the message within a few seconds is
    /// abandoned. Stopping therefore takes up to the answer timeout and a few seconds. If the database is
    /// unavailable, stopping takes about a minute longer and ends with a warning.
    ///
    /// `shutdown` may be cancelled long before the rest of the process stops: due deliveries wait in the
    /// ledger. Dropping the future, or ending the process before the future returns, interrupts the running
    /// attempts. Their emails are sent again.
    ///
    /// A database failure is logged once, and retried with pauses that grow to 10 s.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        let mut unavailable = false;
        let mut deadline = None;
        loop {
            let stopping = shutdown.is_cancelled();
            let wait = match self.run_once_in_time(&shutdown).await {
                Ok(wait) => {
                    if unavailable {
                        tracing::info!("the mail ledger is available again");
                    }
                    (pause, unavailable) = (FIRST_PAUSE, false);
                    wait
                }
                Err(error) => {
                    if !unavailable {
                        tracing::warn!(%error, "the mail ledger failed; retrying until it is available");
                    }
                    unavailable = true;
                    let wait = pause;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    wait
                }
            };
            if stopping {
                let now = Instant::now();
                let until =
                    *deadline.get_or_insert(now + self.options.timeouts.total() + TRANSACTION_TIMEOUT);
                if self.running.is_empty() && (self.ended.is_empty() || now > until) {
                    break;
                }
            }
            self.wait(wait, unavailable, &shutdown).await;
        }
        if !self.ended.is_empty() {
            tracing::warn!(
                mail.unrecorded = self.ended.len(),
                "the outcomes of some emails could not be recorded; they will be sent again"
            );
        }
        self.runner.transport.close().await;
        let deleting = tokio::time::timeout(TRANSACTION_TIMEOUT, self.status.delete(self.log.database()));
        if !unavailable && deleting.await.is_ok_and(|deleted| deleted.is_ok()) {
            return;
        }
        tracing::debug!("this worker's status was not removed; it expires after some seconds");
    }

    async fn run_once_in_time(&mut self, shutdown: &CancellationToken) -> Result<Duration> {
        tokio::time::timeout(TRANSACTION_TIMEOUT, self.run_once(shutdown))
            .await
            .unwrap_or(Err(Error::Timeout(TRANSACTION_TIMEOUT)))
    }

    /// Records finished attempts and leases due deliveries, all in one transaction. Returns how long to wait
    /// if nothing happens. If the transaction fails, the finished attempts are retained and recorded later.
    async fn run_once(&mut self, shutdown: &CancellationToken) -> Result<Duration> {
        let stopping = shutdown.is_cancelled();
        let nothing = self.ended.is_empty() && (stopping || self.running.len() >= self.concurrency());
        let renews = self.leases.need_renewal(self.clock.monotonic());
        if nothing && !renews && !self.status.is_due(&self.breaker) {
            return Ok(self.options.poll.min(STATUS_INTERVAL));
        }
        let now = Now::of(self.clock.as_ref());
        self.status.started(now.wall);
        if renews {
            self.leases.renew(self.log.database(), &self.options, now).await?;
        }
        let free = if stopping {
            0
        } else {
            self.free_slots(now.monotonic)
        };
        if free > 0 {
            self.correct_due_times(now).await?;
        }
        let mut more = false;
        if free > 0 || !self.ended.is_empty() {
            more = self.transact(free, now, shutdown).await?;
        }
        if self.running.is_empty() {
            self.runner.transport.close_expired_sessions();
        }
        if self.status.is_due(&self.breaker) {
            let server = self.runner.transport.describe();
            let slowdown = self.limits.slowdown();
            self.status
                .publish(self.log.database(), &server, &self.breaker, slowdown, now.wall)
                .await?;
        }
        Ok(if more {
            Duration::ZERO
        } else {
            self.options
                .poll
                .min(STATUS_INTERVAL)
                .min(self.pause(now.monotonic))
        })
    }

    /// Records the finished attempts and leases due deliveries in one transaction. Returns whether more
    /// deliveries may be due than were leased.
    async fn transact(&mut self, free: usize, now: Now, shutdown: &CancellationToken) -> Result<bool> {
        let (mut transaction, recorded) = self.record(now.wall).await?;
        let mut leased = Leased::default();
        // Checked again, because the database may have been slow.
        if free > 0 && !shutdown.is_cancelled() {
            let terms = LeaseTerms {
                now,
                duration: self.options.lease(),
                grace: GRACE,
            };
            leased = lease_due(&mut transaction, free, &self.breaker, terms).await?;
        }
        transaction.commit().await?;
        for (attempt, recorded) in self.ended.drain(..).zip(recorded) {
            attempt.report(recorded);
        }
        for delivery in leased.cancelled {
            tracing::info!(
                mail.position = %delivery.position,
                mail.template = delivery.template.name(),
                "email cancelled: its patient was deleted, was imported without emails, or still has the address"
            );
        }
        self.limits.attempts_started(leased.jobs.len(), now.monotonic);
        for job in leased.jobs {
            self.breaker.attempt_started();
            let deadline = self.leases.add(&job, &self.options, now.monotonic);
            let permit = Permit::new(shutdown.clone(), deadline);
            self.running.spawn(Arc::clone(&self.runner).attempt(job, permit));
        }
        Ok(leased.more)
    }

    /// Begins a transaction and records the finished attempts and their history in it. Returns whether each
    /// attempt was recorded.
    async fn record(&self, now: Timestamp) -> Result<(Transaction<'static>, Vec<bool>)> {
        let mut transaction = self.log.database().begin().await?;
        let sent: Vec<_> = self.ended.iter().filter_map(Attempt::sent).collect();
        let all = ledger::record_sent(&mut transaction, &sent, now).await? == sent.len() as u64;
        if !all {
            // At least one lease is lost. Recording each attempt with its own statement shows which.
            transaction.rollback().await?;
            transaction = self.log.database().begin().await?;
        }
        let mut recorded = Vec::with_capacity(self.ended.len());
        for attempt in &self.ended {
            let done = all && attempt.sent().is_some();
            recorded.push(done || attempt.record(&mut transaction, now).await?);
        }
        let counted = self.ended.iter().zip(&recorded).filter(|(_, counts)| **counts);
        let rows: Vec<_> = counted.filter_map(|(attempt, _)| attempt.row()).collect();
        attempts::add(&mut transaction, &rows).await?;
        Ok((transaction, recorded))
    }

    fn concurrency(&self) -> usize {
        self.options.concurrency.max(1)
    }

    /// Makes deliveries due now that a wrong clock has scheduled too late.
    async fn correct_due_times(&mut self, now: Now) -> Result<()> {
        let since = |at: Duration| now.monotonic.saturating_sub(at);
        if self
            .due_times_checked_at
            .is_some_and(|at| since(at) < DUE_TIME_CHECK_INTERVAL)
        {
            return Ok(());
        }
        let corrected = due_too_late::make_due(self.log.database(), now.wall).await?;
        self.due_times_checked_at = Some(now.monotonic);
        if corrected > 0 {
            tracing::warn!(
                mail.deliveries = corrected,
                "some emails were scheduled too far ahead because a clock was wrong; they are due now"
            );
        }
        Ok(())
    }

    /// Returns how many more attempts may start. Finished attempts are about to be recorded and occupy no
    /// slot.
    fn free_slots(&mut self, now: Duration) -> usize {
        let running = self.running.len();
        let connections = self.limits.connections(self.concurrency(), now);
        let breaker_is_open = self.breaker.is_open();
        let free = if breaker_is_open {
            // Attempts that began before the breaker opened may take long, so the probe does not wait for
            // them.
            let free = self.concurrency().saturating_sub(running);
            free.min(usize::from(self.breaker.allowed_probe(now) != Probe::None))
        } else if self.runner.transport.is_open() {
            connections.saturating_sub(running)
        } else {
            1_usize.saturating_sub(running)
        };
        free.min(self.limits.permitted(breaker_is_open, now))
    }

    /// Returns the time until more attempts may start, or `Duration::MAX` if no limit delays them.
    fn pause(&self, now: Duration) -> Duration {
        let waits = [self.breaker.pause(now), self.limits.wait(self.breaker.is_open())];
        let longest = waits.into_iter().flatten().max();
        longest.filter(|wait| !wait.is_zero()).unwrap_or(Duration::MAX)
    }

    fn attempt_ended(&mut self, mut attempt: Attempt) {
        let now = Now {
            wall: attempt.ended_at(),
            monotonic: self.clock.monotonic(),
        };
        self.leases.remove(&attempt);
        let evidence = attempt.evidence();
        let sessions = self.runner.transport.sessions();
        self.limits
            .learn_connections(&evidence, sessions, self.concurrency(), now.monotonic);
        let slowed = self.limits.has_learned_rate();
        let consequences =
            self.breaker
                .attempt_ended(&evidence, &attempt.source(), slowed, now, fastrand::f64());
        self.limits
            .learn_rate(&evidence, consequences.resumed, now.monotonic);
        attempt.settle(consequences.uncounted || evidence == Evidence::None);
        if consequences.discard_sessions {
            self.runner.transport.discard_sessions();
        }
        self.ended.push(attempt);
    }

    /// Waits until there is something to do. While the database is unavailable, waits for `longest` or for
    /// `shutdown`.
    async fn wait(&mut self, longest: Duration, unavailable: bool, shutdown: &CancellationToken) {
        let stopping = shutdown.is_cancelled();
        let all_busy = self.running.len() >= self.concurrency() || self.breaker.is_open();
        tokio::select! {
            // An error would mean a panic, but attempts never panic.
            Some(ended) = self.running.join_next(), if !unavailable => {
                if let Ok(ended) = ended {
                    self.attempt_ended(ended);
                }
            }
            () = self.wake.notified(), if !unavailable && !stopping && !all_busy => {}
            () = shutdown.cancelled(), if !stopping => {}
            () = tokio::time::sleep(longest) => {}
        }
        while let Some(ended) = self.running.try_join_next() {
            if let Ok(ended) = ended {
                self.attempt_ended(ended);
            }
        }
    }
}
