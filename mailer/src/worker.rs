//! The worker, which takes deliveries from the ledger and sends them.
//!
//! ```text
//! one transaction: record finished attempts, take due rows for the free slots -> start an attempt for each
//! -> wait for a finished attempt, a wake-up, the poll interval, or shutdown -> repeat
//! ```
//!
//! With no open session, one email is sent first as a probe, and the others follow when it succeeds. An
//! unreachable server therefore costs one try, which does not count as an attempt. [`breaker`] schedules the
//! next try. [`suspects`] determines whether a rejection of one email applies to all mail. [`pace`] limits
//! the rate and the number of connections to what the server accepts.
//!
//! Any number of workers in any number of processes can share the ledger. Each takes rows under a lease that
//! covers the server's answer timeout, plus [`GRACE`] to begin the attempt and [`GRACE`] to record it. If the
//! server is slow before the message, the lease is renewed. Without a sufficient lease, no message is sent.
//! Finished attempts are kept until they are recorded, and occupy their slots until then. An unavailable
//! database therefore stops the sending, and memory use does not grow.

mod attempt;
mod breaker;
mod histories;
mod pace;
mod rate;
mod suspects;
mod take;
mod traced;

use std::sync::Arc;
use std::time::Duration;

use eventstore::{Clock, Error, EventLog, Result, Timestamp, Transaction};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::attempt::{Attempt, Post};
use self::breaker::{Breaker, News, Now, Try};
use self::pace::{Crowd, Pace};
use self::rate::Bucket;
pub use self::rate::Rate;
use self::take::{Taken, Terms};
use crate::error::Outage;
use crate::ledger::workers::{self, ServerState, WorkerStatus};
use crate::ledger::{self, Delivery, ahead, attempts};
use crate::message::Composer;
use crate::transport::{Permit, Timeouts, Transport};

/// Timeout for a database transaction. An abandoned transaction closes its connection, which the pool then
/// replaces.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum time between taking a lease and beginning the attempt. The same time is left on the lease after
/// the attempt, to record the outcome and to allow for clock differences between machines.
const GRACE: Duration = TRANSACTION_TIMEOUT;
/// Maximum time that an attempt may take before its message without a renewal of its lease, and the interval
/// between renewals.
const REACH: Duration = Duration::from_secs(20);
const RENEW: Duration = Duration::from_secs(10);
/// Interval between searches for deliveries that a wrong clock has scheduled too far ahead.
const LOOK_AHEAD: Duration = Duration::from_mins(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Options of a [`Worker`].
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Maximum number of emails being sent at the same time, at least 1.
    pub concurrency: usize,
    /// Timeouts for one attempt.
    pub timeouts: Timeouts,
    /// Maximum interval between queries of the ledger when nothing wakes the worker.
    pub poll: Duration,
    /// Maximum sending rate. `None` means no limit.
    pub rate: Option<Rate>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: 8,
            timeouts: Timeouts::default(),
            poll: Duration::from_secs(1),
            rate: None,
        }
    }
}

impl Options {
    /// Duration of a lease: the answer timeout, at most 20 s for the steps before the message, and 30 s. If a
    /// worker is killed, other workers take over its rows after that time.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.reach() + self.timeouts.answer + 2 * GRACE
    }

    fn reach(&self) -> Duration {
        (self.timeouts.connect + self.timeouts.send).min(REACH)
    }
}

/// Lease of a running attempt.
#[derive(Debug)]
struct Held {
    delivery: Delivery,
    lease: Arc<str>,
    /// Deadline for starting to send the message. After it, the lease could expire during the transfer.
    until: watch::Sender<Instant>,
    renewed: Duration,
}

impl Held {
    fn is_to_renew(&self, now: Duration) -> bool {
        now.saturating_sub(self.renewed) >= RENEW
    }
}

/// Sends due emails.
#[derive(Debug)]
pub struct Worker {
    log: EventLog,
    clock: Arc<dyn Clock>,
    post: Arc<Post>,
    options: Options,
    wake: Arc<Notify>,
    running: JoinSet<Attempt>,
    held: Vec<Held>,
    ended: Vec<Attempt>,
    breaker: Breaker,
    pace: Pace,
    crowd: Crowd,
    bucket: Option<Bucket>,
    /// Time of the last search for deliveries scheduled too far ahead.
    looked_ahead: Option<Duration>,
    owner: String,
    /// Last published status of this worker, and the time of publication.
    told: Option<(ServerState, Instant)>,
    ready_since: Option<Timestamp>,
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
        let post = Post {
            composer: composer.into(),
            transport,
            clock: Arc::clone(&clock),
            timeouts: options.timeouts,
        };
        let started = clock.monotonic();
        Self {
            log,
            clock,
            post: Arc::new(post),
            options,
            wake,
            running: JoinSet::new(),
            held: Vec::new(),
            ended: Vec::new(),
            breaker: Breaker::default(),
            pace: Pace::default(),
            crowd: Crowd::default(),
            bucket: options.rate.map(|rate| Bucket::new(rate, started)),
            looked_ahead: None,
            owner: format!("mailer:{:016x}", fastrand::u64(..)),
            told: None,
            ready_since: None,
        }
    }

    /// Sets the worker's unique name, at most 128 bytes. The default is random.
    #[must_use]
    pub fn with_owner(mut self, owner: &str) -> Self {
        owner.clone_into(&mut self.owner);
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
        let mut away = false;
        let mut give_up = None;
        loop {
            let stopping = shutdown.is_cancelled();
            let wait = match self.turn_in_time(&shutdown).await {
                Ok(wait) => {
                    if away {
                        tracing::info!("the mail ledger is available again");
                    }
                    (pause, away) = (FIRST_PAUSE, false);
                    wait
                }
                Err(error) => {
                    if !away {
                        tracing::warn!(%error, "the mail ledger failed; retrying until it is available");
                    }
                    away = true;
                    let wait = pause;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    wait
                }
            };
            if stopping {
                let now = Instant::now();
                let until = *give_up.get_or_insert(now + self.options.timeouts.total() + TRANSACTION_TIMEOUT);
                if self.running.is_empty() && (self.ended.is_empty() || now > until) {
                    break;
                }
            }
            self.wait(wait, away, &shutdown).await;
        }
        if !self.ended.is_empty() {
            tracing::warn!(
                mail.unrecorded = self.ended.len(),
                "the outcomes of some emails could not be recorded; they will be sent again"
            );
        }
        self.post.transport.close().await;
        let leaving = tokio::time::timeout(
            TRANSACTION_TIMEOUT,
            workers::leave(self.log.database(), &self.owner),
        );
        if !away && leaving.await.is_ok_and(|left| left.is_ok()) {
            return;
        }
        tracing::debug!("this worker's status was not removed; it expires after some seconds");
    }

    async fn turn_in_time(&mut self, shutdown: &CancellationToken) -> Result<Duration> {
        tokio::time::timeout(TRANSACTION_TIMEOUT, self.turn(shutdown))
            .await
            .unwrap_or(Err(Error::Timeout(TRANSACTION_TIMEOUT)))
    }

    /// Records finished attempts and takes due deliveries, all in one transaction. Returns how long to wait
    /// if nothing happens. If the transaction fails, the finished attempts are kept and recorded later.
    async fn turn(&mut self, shutdown: &CancellationToken) -> Result<Duration> {
        let stopping = shutdown.is_cancelled();
        let nothing = self.ended.is_empty() && (stopping || self.running.len() >= self.concurrency());
        let monotonic = self.clock.monotonic();
        let renews = self.held.iter().any(|held| held.is_to_renew(monotonic));
        if nothing && !renews && !self.is_to_tell() {
            return Ok(self.options.poll.min(workers::BEAT));
        }
        let now = Now {
            wall: self.clock.now(),
            monotonic: self.clock.monotonic(),
        };
        self.ready_since.get_or_insert(now.wall);
        if renews {
            self.renew_leases(now).await?;
        }
        let free = if stopping { 0 } else { self.free(now.monotonic) };
        if free > 0 {
            self.look_ahead(now).await?;
        }
        let mut more = false;
        if free > 0 || !self.ended.is_empty() {
            more = self.transact(free, now, shutdown).await?;
        }
        if self.running.is_empty() {
            self.post.transport.tidy();
        }
        if self.is_to_tell() {
            self.tell(now.wall).await?;
        }
        Ok(if more {
            Duration::ZERO
        } else {
            self.options
                .poll
                .min(workers::BEAT)
                .min(self.pause(now.monotonic))
        })
    }

    /// Runs the transaction of a turn. Returns whether more deliveries may be due than were taken.
    async fn transact(&mut self, free: usize, now: Now, shutdown: &CancellationToken) -> Result<bool> {
        let (mut transaction, recorded) = self.record(now.wall).await?;
        let mut taken = Taken::default();
        // Checked again, because the database may have been slow.
        if free > 0 && !shutdown.is_cancelled() {
            let terms = Terms {
                now: now.wall,
                lease: self.options.lease(),
                monotonic: now.monotonic,
                begin_by: now.monotonic + GRACE,
                epoch: self.breaker.epoch(),
            };
            taken = take::take(&mut transaction, free, &self.breaker, terms).await?;
        }
        transaction.commit().await?;
        for (attempt, recorded) in self.ended.drain(..).zip(recorded) {
            attempt.report(recorded);
        }
        for delivery in taken.cancelled {
            tracing::info!(
                mail.position = %delivery.position,
                mail.template = delivery.template.name(),
                "email cancelled: its patient was deleted"
            );
        }
        let buckets = self
            .bucket
            .as_mut()
            .into_iter()
            .chain(self.pace.bucket(now.monotonic));
        for bucket in buckets {
            bucket.take(taken.jobs.len());
        }
        for job in taken.jobs {
            self.breaker.begin();
            let (until, permitted) = watch::channel(Instant::now() + GRACE + self.options.reach());
            self.held.push(Held {
                delivery: job.delivery.clone(),
                lease: Arc::clone(&job.lease),
                until,
                renewed: now.monotonic,
            });
            let permit = Permit::new(shutdown.clone(), permitted);
            self.running.spawn(Arc::clone(&self.post).attempt(job, permit));
        }
        Ok(taken.more)
    }

    /// Renews the leases of slow attempts.
    async fn renew_leases(&mut self, now: Now) -> Result<()> {
        let until = now.wall + self.options.lease();
        let permitted = Instant::now() + GRACE + self.options.reach();
        let mut session = self.log.database().writer().await?;
        for held in &mut self.held {
            if held.is_to_renew(now.monotonic) {
                held.renewed = now.monotonic;
                // If the lease is lost, the attempt ends before its message.
                if ledger::renew(&mut session, &held.delivery, &held.lease, until).await? {
                    held.until.send_replace(permitted);
                }
            }
        }
        Ok(())
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
        let history: Vec<_> = counted.filter_map(|(attempt, _)| attempt.history()).collect();
        attempts::add(&mut transaction, &history).await?;
        Ok((transaction, recorded))
    }

    fn concurrency(&self) -> usize {
        self.options.concurrency.max(1)
    }

    /// Makes deliveries that a wrong clock scheduled too far ahead due now.
    async fn look_ahead(&mut self, now: Now) -> Result<()> {
        let since = |at: Duration| now.monotonic.saturating_sub(at);
        if self.looked_ahead.is_some_and(|at| since(at) < LOOK_AHEAD) {
            return Ok(());
        }
        let brought = ahead::bring_back(self.log.database(), now.wall).await?;
        self.looked_ahead = Some(now.monotonic);
        if brought > 0 {
            tracing::warn!(
                mail.deliveries = brought,
                "some emails were scheduled too far ahead because a clock was wrong; they are due now"
            );
        }
        Ok(())
    }

    /// Returns how many more attempts may start. Finished attempts are about to be recorded and occupy no
    /// slot.
    fn free(&mut self, now: Duration) -> usize {
        let concurrency = self.concurrency();
        let idle = self
            .crowd
            .limit(concurrency, now)
            .saturating_sub(self.running.len());
        let free = if self.breaker.is_open() {
            // Attempts that began before the breaker opened may take long, so the probe does not wait for
            // them.
            let free = concurrency.saturating_sub(self.running.len());
            free.min(usize::from(self.breaker.may_try(now) != Try::Nothing))
        } else if self.post.transport.is_open() {
            idle
        } else {
            1_usize.saturating_sub(self.running.len())
        };
        let open = self.breaker.is_open();
        let buckets = self.bucket.as_mut().into_iter();
        // While the breaker is open, its own pauses replace the learned rate.
        let buckets = buckets.chain(self.pace.bucket(now).filter(|_| !open));
        buckets.fold(free, |free, bucket| free.min(bucket.available(now)))
    }

    /// Returns the time until more attempts may start, or `Duration::MAX` if no limit delays them.
    fn pause(&self, now: Duration) -> Duration {
        let waits = [
            self.breaker.pause(now),
            self.bucket.as_ref().map(Bucket::wait),
            self.pace.wait().filter(|_| !self.breaker.is_open()),
        ];
        let longest = waits.into_iter().flatten().max();
        longest.filter(|wait| !wait.is_zero()).unwrap_or(Duration::MAX)
    }

    /// Whether to publish this worker's status: when the state of its mail server changes, and at regular
    /// intervals.
    fn is_to_tell(&self) -> bool {
        let (state, _, _) = self.breaker.server_state();
        self.told
            .is_none_or(|(told, at)| told != state || at.elapsed() >= workers::BEAT)
    }

    async fn tell(&mut self, now: Timestamp) -> Result<()> {
        let (state, since, error) = self.breaker.server_state();
        let error = error.map(str::to_owned).or_else(|| self.held_back());
        let server: String = self.post.transport.describe().chars().take(300).collect();
        if state == ServerState::Ready && self.told.is_some_and(|(told, _)| told != state) {
            self.ready_since = Some(now);
        }
        let status = WorkerStatus {
            name: self.owner.clone(),
            server,
            state,
            error,
            since: since.or(self.ready_since).unwrap_or(now),
            seen_at: now,
        };
        let database = self.log.database();
        let insert = database.dialect().insert_ignore();
        workers::beat(&mut database.writer().await?, &status, insert).await?;
        self.told = Some((state, Instant::now()));
        Ok(())
    }

    /// Returns why the worker sends more slowly than it could, if it does.
    fn held_back(&self) -> Option<String> {
        let rate = self.pace.rate().map(|rate| {
            let minute = (rate * 60.0).round();
            format!("the server defers mail: sending {minute} emails per minute")
        });
        let connections = self
            .crowd
            .limited()
            .map(|connections| format!("the server accepts no more connections: using {connections}"));
        let said: Vec<_> = rate.into_iter().chain(connections).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    fn has_ended(&mut self, mut attempt: Attempt) {
        let now = Now {
            wall: attempt.ended_at(),
            monotonic: self.clock.monotonic(),
        };
        self.held
            .retain(|held| !attempt.is_under(&held.delivery, &held.lease));
        let news = attempt.news();
        let open = self.post.transport.sessions();
        match &news {
            News::Outage(Outage::Crowded(_)) => {
                self.crowd.turned_down(open, self.concurrency(), now.monotonic);
            }
            News::Sent => self.crowd.works(open),
            _ => {}
        }
        let slowed = self.pace.rate().is_some();
        let heard = self
            .breaker
            .hear(&news, &attempt.witness(), slowed, now, fastrand::f64());
        if heard.resumed {
            self.pace.resumed(now.monotonic);
        }
        if news == News::Sent {
            self.pace.accepted(now.monotonic);
        }
        attempt.settle(heard.blameless || news == News::None);
        if heard.renew {
            self.post.transport.renew();
        }
        self.ended.push(attempt);
    }

    /// Waits until there is something to do. While the database is unavailable, waits for `longest` or for
    /// `shutdown`.
    async fn wait(&mut self, longest: Duration, away: bool, shutdown: &CancellationToken) {
        let stopping = shutdown.is_cancelled();
        let all_busy = self.running.len() >= self.concurrency() || self.breaker.is_open();
        tokio::select! {
            // An error would mean a panic, but attempts never panic.
            Some(ended) = self.running.join_next(), if !away => {
                if let Ok(ended) = ended {
                    self.has_ended(ended);
                }
            }
            () = self.wake.notified(), if !away && !stopping && !all_busy => {}
            () = shutdown.cancelled(), if !stopping => {}
            () = tokio::time::sleep(longest) => {}
        }
        while let Some(ended) = self.running.try_join_next() {
            if let Ok(ended) = ended {
                self.has_ended(ended);
            }
        }
    }
}
