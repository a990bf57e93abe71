//! From the ledger to the transport.
//!
//! ```text
//! one transaction: record what has ended, take what is due for each free slot -> start each
//! -> wait for one to end, a wake-up, the poll interval, or shutdown -> again
//! ```
//!
//! While no session with the server is open, one mail goes first, and the others follow when it has got
//! through; so a server that is away costs one try, and [`breaker`] says when the next one is made. No
//! attempt is counted for it. [`suspects`] decide whether what one mail was turned down for holds for all,
//! and [`pace`] how fast and over how many connections the server accepts mail.
//!
//! Any number of workers in any number of processes share the ledger: each takes rows under a lease that
//! outlasts what the server may take to answer for a message, with [`GRACE`] to begin the attempt and to
//! record it. A server may take longer before the message; meanwhile the lease is renewed, and without a
//! lease that lasts no message is handed over. What has ended is kept until it is recorded, and holds its
//! slot until then; so a database that is away stops the sending, and nothing grows.

mod attempt;
mod breaker;
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
use crate::ledger::workers::{self, Standing, WorkerStatus};
use crate::ledger::{self, Delivery, ahead, attempts};
use crate::message::Composer;
use crate::transport::{Permit, Timeouts, Transport};

/// How long the database may take to answer. A transaction that is given up ends its connection, which the
/// pool then replaces.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a row may have been leased before its attempt begins, and how long is left of the lease when the
/// attempt has ended: to record it, and for the clocks of two machines to differ.
const GRACE: Duration = TRANSACTION_TIMEOUT;
/// How long an attempt may take before its message without its lease being renewed, and how often that is
/// done.
const REACH: Duration = Duration::from_secs(20);
const RENEW: Duration = Duration::from_secs(10);
/// How often deliveries are looked for that a wrong clock has made due much later.
const LOOK_AHEAD: Duration = Duration::from_mins(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How a [`Worker`] works.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The most mails that are being sent at a time, 1 or more.
    pub concurrency: usize,
    /// How long one attempt may take.
    pub timeouts: Timeouts,
    /// How often the ledger is asked, at least, when nobody wakes the worker.
    pub poll: Duration,
    /// The most mails that leave in a time; no limit if there is none.
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
    /// How long a row is leased: for as long as the server may take to answer for a message, at most 20 s
    /// before it, and 30 s. If a worker is killed, others take its rows over then.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.reach() + self.timeouts.answer + 2 * GRACE
    }

    fn reach(&self) -> Duration {
        (self.timeouts.connect + self.timeouts.send).min(REACH)
    }
}

/// A lease of an attempt that runs.
#[derive(Debug)]
struct Held {
    delivery: Delivery,
    lease: Arc<str>,
    /// When its message must be on its way, or its lease could run out first.
    until: watch::Sender<Instant>,
    renewed: Duration,
}

impl Held {
    fn is_to_renew(&self, now: Duration) -> bool {
        now.saturating_sub(self.renewed) >= RENEW
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
    held: Vec<Held>,
    ended: Vec<Attempt>,
    breaker: Breaker,
    pace: Pace,
    crowd: Crowd,
    bucket: Option<Bucket>,
    /// When deliveries were last looked for that are due too far ahead.
    looked_ahead: Option<Duration>,
    owner: String,
    /// What was last said of this worker, and when.
    told: Option<(Standing, Instant)>,
    ready_since: Option<Timestamp>,
}

impl Worker {
    /// A worker on the ledger beside `log`. It is woken by `wake`, from [`crate::handler()`], when the
    /// subscription runs in the same process; where it does not, a new `Notify` does, and the worker polls.
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

    /// Sets its name among all workers, at most 128 bytes, instead of a random one.
    #[must_use]
    pub fn with_owner(mut self, owner: &str) -> Self {
        owner.clone_into(&mut self.owner);
        self
    }

    /// Sends until `shutdown`, which means "take no more": from then on no mail is begun, what is being sent
    /// is finished and recorded, and then this returns. What has not come to the message after a few seconds
    /// is given up; so that takes as long as the server may take to answer for a message and a few seconds,
    /// or, if the database is away, a minute or so more, and ends with a warning. It does no harm to cancel
    /// it long before the rest of the process stops: what is due waits in the ledger. To drop the future
    /// instead, or to end the process before it has returned, interrupts what is being sent; those mails are
    /// sent again.
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
                "the outcomes of some mails could not be recorded; they will be sent again"
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
        tracing::debug!("this worker is shown for some seconds more");
    }

    async fn turn_in_time(&mut self, shutdown: &CancellationToken) -> Result<Duration> {
        tokio::time::timeout(TRANSACTION_TIMEOUT, self.turn(shutdown))
            .await
            .unwrap_or(Err(Error::Timeout(TRANSACTION_TIMEOUT)))
    }

    /// Records what has ended and takes what is due, all in one transaction; how long to wait if nothing
    /// happens. If it fails, what has ended stays to be recorded.
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

    /// The transaction of a turn; whether more may be due than was taken.
    async fn transact(&mut self, free: usize, now: Now, shutdown: &CancellationToken) -> Result<bool> {
        let (mut transaction, recorded) = self.record(now.wall).await?;
        let mut taken = Taken::default();
        // Asked again, since the database may have taken its time.
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
                "a mail was cancelled: its patient was deleted"
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

    /// Renews the leases of attempts that take long.
    async fn renew_leases(&mut self, now: Now) -> Result<()> {
        let until = now.wall + self.options.lease();
        let permitted = Instant::now() + GRACE + self.options.reach();
        let mut session = self.log.database().writer().await?;
        for held in &mut self.held {
            if held.is_to_renew(now.monotonic) {
                held.renewed = now.monotonic;
                // If it has passed on, the attempt ends before its message.
                if ledger::renew(&mut session, &held.delivery, &held.lease, until).await? {
                    held.until.send_replace(permitted);
                }
            }
        }
        Ok(())
    }

    /// Begins a transaction and records in it what has ended, each with its place in the history; which of
    /// them counted.
    async fn record(&self, now: Timestamp) -> Result<(Transaction<'static>, Vec<bool>)> {
        let mut transaction = self.log.database().begin().await?;
        let sent: Vec<_> = self.ended.iter().filter_map(Attempt::sent).collect();
        let all = ledger::record_sent(&mut transaction, &sent, now).await? == sent.len() as u64;
        if !all {
            // Some lease has passed on. Which one, only one statement for each tells.
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

    /// Makes deliveries due that a wrong clock has put off.
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
                "mails were due further ahead than they can be, since a clock was wrong; they are due now"
            );
        }
        Ok(())
    }

    /// How many more may run. What has ended is about to be recorded, and then holds no slot.
    fn free(&mut self, now: Duration) -> usize {
        let concurrency = self.concurrency();
        let idle = self
            .crowd
            .limit(concurrency, now)
            .saturating_sub(self.running.len());
        let free = if self.breaker.is_open() {
            // Those that began before it opened may take long, and are not waited for.
            let free = concurrency.saturating_sub(self.running.len());
            free.min(usize::from(self.breaker.may_try(now) != Try::Nothing))
        } else if self.post.transport.is_open() {
            idle
        } else {
            1_usize.saturating_sub(self.running.len())
        };
        let open = self.breaker.is_open();
        let buckets = self.bucket.as_mut().into_iter();
        // The breaker's own pauses are for a server that puts mails off.
        let buckets = buckets.chain(self.pace.bucket(now).filter(|_| !open));
        buckets.fold(free, |free, bucket| free.min(bucket.available(now)))
    }

    /// How long until more may run, if only time is wanting.
    fn pause(&self, now: Duration) -> Duration {
        let waits = [
            self.breaker.pause(now),
            self.bucket.as_ref().map(Bucket::wait),
            self.pace.wait().filter(|_| !self.breaker.is_open()),
        ];
        let longest = waits.into_iter().flatten().max();
        longest.filter(|wait| !wait.is_zero()).unwrap_or(Duration::MAX)
    }

    /// Whether others are to be told how this worker stands: when that has changed, and now and then.
    fn is_to_tell(&self) -> bool {
        let (standing, _, _) = self.breaker.standing();
        self.told
            .is_none_or(|(told, at)| told != standing || at.elapsed() >= workers::BEAT)
    }

    async fn tell(&mut self, now: Timestamp) -> Result<()> {
        let (standing, since, error) = self.breaker.standing();
        let error = error.map(str::to_owned).or_else(|| self.held_back());
        let place: String = self.post.transport.describe().chars().take(300).collect();
        if standing == Standing::Ready && self.told.is_some_and(|(told, _)| told != standing) {
            self.ready_since = Some(now);
        }
        let status = WorkerStatus {
            owner: self.owner.clone(),
            place,
            standing,
            error,
            since: since.or(self.ready_since).unwrap_or(now),
            seen_at: now,
        };
        let database = self.log.database();
        let insert = database.dialect().insert_ignore();
        workers::beat(&mut database.writer().await?, &status, insert).await?;
        self.told = Some((standing, Instant::now()));
        Ok(())
    }

    /// Why it sends more slowly than it could, if it does.
    fn held_back(&self) -> Option<String> {
        let rate = self.pace.rate().map(|rate| {
            let minute = (rate * 60.0).round();
            format!("the server puts mail off: {minute} a minute are sent")
        });
        let connections = self
            .crowd
            .limited()
            .map(|connections| format!("the server accepts no more connections: {connections} are used"));
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

    /// Waits for something to do. While the database is away there is nothing to do before `longest` has
    /// passed.
    async fn wait(&mut self, longest: Duration, away: bool, shutdown: &CancellationToken) {
        let stopping = shutdown.is_cancelled();
        let all_busy = self.running.len() >= self.concurrency() || self.breaker.is_open();
        tokio::select! {
            // An error would be a panic, and an attempt never panics.
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
