//! The worker of the append queue. The worker commits batches and retries them while the database is
//! unavailable. If the connection is lost at a commit, the worker checks whether the batch was written, and
//! checks again before it answers with a refusal or a conflict, which its own commit may have caused.

use std::mem::Discriminant;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use super::clock::CheckedClock;
use super::doubt::Doubts;
use super::error::AppendError;
use super::head::HeadCheck;
use super::one_trip::{self, Attempt, Pace};
use super::prepared::{Append, Outcome};
use super::transaction::Open;
use super::{AppendOptions, traced, transaction};
use crate::coalesce::BatchWorker;
use crate::database::{Connection, Database, Dialect};
use crate::error::Error;
use crate::signal::{Notice, Signal};

/// Maximum idle time of the kept connection, shorter than the default idle timeout of the server. If the
/// connection was idle for longer, the next batch returns it to the pool, which tests connections before
/// reuse.
const KEPT: Duration = Duration::from_secs(15);

/// Time after which the same kind of failure is a warning again.
const WARNING_INTERVAL: Duration = Duration::from_mins(1);
/// Timeout of one transaction, after which its connection is closed.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a batch that was certainly not written is retried while the database is unavailable, counted from
/// its first failure.
const RETRY_FOR: Duration = Duration::from_secs(5);
/// Pause before the first retry. It doubles with each retry, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Result of an attempt that the database has answered.
enum Tried {
    /// The outcome of each append.
    Done(Vec<Outcome>, Vec<Notice>),
    /// The database rejected the attempt, and the log does not contain the batch.
    Refused(Arc<Error>),
}

/// A batch that is not answered yet.
struct Batch<'b> {
    items: &'b [Append],
    /// Attempts that may have been committed.
    doubts: &'b mut Doubts,
    /// The database's error, if the database rejected a statement of the last attempt, and the log must be
    /// searched before the batch is answered.
    refusal: Option<Arc<Error>>,
}

impl Batch<'_> {
    /// Notes that the commit of the last attempt failed.
    fn not_committed(&mut self, error: Error) -> Arc<Error> {
        let error = Arc::new(error);
        if error.is_contention() || is_read_only(&error) {
            // The database answered that it rolled back.
            self.doubts.remove_last();
        } else if refused(&error) {
            self.refusal = Some(Arc::clone(&error));
        }
        error
    }
}

/// Commits and answers the batches of a queue.
pub(super) struct Appender {
    database: Database,
    signal: Signal,
    clock: CheckedClock,
    check: HeadCheck,
    pace: Pace,
    /// Whether appends are rejected because of the log or the clock. The rejection is logged only once.
    alarmed: bool,
    /// The last warning about a failed attempt since the last commit: the kind of error, and when.
    warned: Option<(Discriminant<Error>, Instant)>,
    /// The connection, kept between batches on MySQL, because returning it to the pool costs a ping. On
    /// SQLite the connection is returned after each batch, because all writes share it.
    connection: Option<Connection>,
    /// When the last batch ended.
    used_at: Instant,
    options: AppendOptions,
}

impl BatchWorker for Appender {
    type Item = Append;
    type Answer = Outcome;

    async fn run(&mut self, items: Vec<Append>) -> Vec<Outcome> {
        let (began, appends) = (Instant::now(), items.len());
        let may_be_kept = self.connection.as_ref().is_some_and(Connection::may_be_kept);
        if self.used_at.elapsed() > KEPT || !may_be_kept {
            self.connection = None;
        }
        let span = traced::batch(items.iter().map(|item| &item.traced));
        let outcomes = self.answer(items).instrument(span).await;
        self.used_at = Instant::now();
        let metrics = self.database.metrics();
        metrics.batch(appends, began.elapsed().as_secs_f64());
        outcomes
    }
}

impl Appender {
    pub(super) fn new(
        database: Database,
        signal: Signal,
        clock: CheckedClock,
        options: AppendOptions,
    ) -> Self {
        Self {
            clock,
            database,
            signal,
            check: HeadCheck::default(),
            pace: Pace::default(),
            alarmed: false,
            warned: None,
            connection: None,
            used_at: Instant::now(),
            options,
        }
    }

    /// Commits `items` together or, if the database rejects the batch, each separately.
    async fn answer(&mut self, items: Vec<Append>) -> Vec<Outcome> {
        let mut doubts = Doubts::default();
        match self.commit(&items, &mut doubts).await {
            Ok(outcomes) => outcomes,
            Err(AppendError::Unavailable(error)) if refused(&error) && !error.is_of_the_whole_database() => {
                tracing::warn!(
                    append.batch = items.len(),
                    error = %error,
                    "the database rejected a batch; trying each append separately"
                );
                self.alone(items, &doubts).await
            }
            Err(error) => vec![Err(doubts.qualify(error)); items.len()],
        }
    }
}

/// Whether the server accepts no writes.
const fn is_read_only(error: &Error) -> bool {
    matches!(error, Error::ReadOnly(_))
}

/// Whether the database rejected the batch itself. A single append may be the cause.
fn refused(error: &Error) -> bool {
    !error.is_connection() && !error.is_contention()
}

impl Appender {
    /// Commits each of `items` in its own transaction. Once an item fails with [`AppendError::Unavailable`]
    /// because of a lost connection or contention, the remaining items get the same error without being
    /// tried. `doubts` are attempts to commit all items together that may have been committed.
    async fn alone(&mut self, items: Vec<Append>, doubts: &Doubts) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(items.len());
        let mut lost: Option<AppendError> = None;
        for (number, mut item) in items.into_iter().enumerate() {
            if let Some(error) = &lost {
                outcomes.push(Err(doubts.qualify(error.clone())));
                continue;
            }
            let mut doubts = doubts.of_append(number);
            // Checks the sequence this time, in case the aggregate is not new.
            item.new_aggregate = false;
            let outcome = match self.commit(&[item], &mut doubts).await {
                Ok(mut alone) => alone.pop().unwrap_or(Err(AppendError::Failed)),
                Err(error) => {
                    if let AppendError::Unavailable(cause) = &error
                        && !refused(cause)
                    {
                        lost = Some(error.clone());
                    }
                    Err(doubts.qualify(error))
                }
            };
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Commits `items`. Retries while the database is unavailable: for [`RETRY_FOR`] or, if an attempt may
    /// have been committed, for [`AppendOptions::outcome_wait`], but not beyond
    /// [`AppendOptions::answer_within`].
    ///
    /// An error means that the last attempt wrote nothing. `doubts` then contains the attempts that may have
    /// been committed nevertheless.
    async fn commit(&mut self, items: &[Append], doubts: &mut Doubts) -> Result<Vec<Outcome>, AppendError> {
        let mut batch = Batch {
            items,
            doubts,
            refusal: None,
        };
        let mut pause = FIRST_PAUSE;
        let (mut failed_first, mut was_read_only) = (None, false);
        loop {
            let tried = tokio::time::timeout(TRANSACTION_TIMEOUT, self.try_commit(&mut batch)).await;
            let error = match tried.unwrap_or(Err(Error::Timeout(TRANSACTION_TIMEOUT).into())) {
                Ok(Tried::Done(outcomes, notices)) => {
                    self.release();
                    self.signal.publish_with(notices, self.check.acknowledged());
                    let has_failed = self.warned.take().is_some();
                    if std::mem::take(&mut self.alarmed) || has_failed {
                        tracing::info!("appends succeed again");
                    }
                    return Ok(outcomes);
                }
                Ok(Tried::Refused(error)) => {
                    self.release();
                    return Err(self.unwritten(error));
                }
                Err(error) => error,
            };
            self.check.forget();
            if let Some(mut connection) = self.connection.take() {
                connection.close_on_drop();
                if error.is_connection() || is_read_only(&error) {
                    // The server may have been switched.
                    connection.end_generation();
                }
            }
            let now = Instant::now();
            let until = self.retry_until(*failed_first.get_or_insert(now), &batch);
            // A new connection may lead to another server.
            let may_be_switched = is_read_only(&error)
                && (!batch.doubts.is_empty() || !std::mem::replace(&mut was_read_only, true));
            let again = !refused(&error) || may_be_switched || batch.refusal.is_some();
            if !again || now + pause > until {
                return Err(self.unwritten(error));
            }
            let kind = std::mem::discriminant(&*error);
            let is_known = |(known, at): (_, Instant)| known == kind && now < at + WARNING_INTERVAL;
            if !self.warned.is_some_and(is_known) {
                self.warned = Some((kind, now));
                tracing::warn!(append.batch = items.len(), error = %error, "an append failed; retrying");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Returns the connection to its pool on SQLite, where all writes share it.
    fn release(&mut self) {
        if self.database.dialect() == Dialect::Sqlite {
            self.connection = None;
        }
    }

    /// Returns the time until which a batch that first failed at `failed_first` is retried.
    fn retry_until(&self, failed_first: Instant, batch: &Batch<'_>) -> Instant {
        let wait = if batch.doubts.is_empty() {
            RETRY_FOR
        } else {
            self.options.outcome_wait
        };
        let latest = batch.items.iter().filter_map(|item| item.queued_at).max();
        let answered_by = latest.map(|queued_at| queued_at + self.options.answer_within);
        answered_by.map_or(failed_first + wait, |by| by.min(failed_first + wait))
    }

    /// Returns the error of an append that wrote nothing. A problem that an operator must fix is logged once.
    fn unwritten(&mut self, error: Arc<Error>) -> AppendError {
        let unwritten = AppendError::unwritten(error);
        if matches!(unwritten, AppendError::Damaged(_) | AppendError::ClockWrong(_))
            && !std::mem::replace(&mut self.alarmed, true)
        {
            tracing::error!(error = %unwritten, "every append is rejected until this is fixed");
        }
        unwritten
    }

    /// Makes one attempt, after a search for the earlier attempts that may have been committed.
    async fn try_commit(&mut self, batch: &mut Batch<'_>) -> Result<Tried, Arc<Error>> {
        if self.connection.is_none() {
            self.connection = Some(self.database.writer().await?);
            // An SQLite file stays the same file.
            if self.database.dialect() == Dialect::MySql {
                self.check.connected();
            }
        }
        let Some(connection) = self.connection.as_mut() else {
            return Err(Error::Interrupted.into());
        };
        if !batch.doubts.is_empty() {
            if let Some(found) = batch.doubts.committed(connection, None).await? {
                self.check.acknowledge(found.last);
                return Ok(Tried::Done(found.outcomes, found.notices));
            }
            if let Some(refusal) = batch.refusal.take() {
                batch.doubts.remove_last();
                return Ok(Tried::Refused(refusal));
            }
        }
        #[cfg(feature = "redis")]
        if let Some(head) = self.signal.heard_head() {
            self.check.acknowledge((head.position, head.hash));
        }
        if batch.doubts.is_empty()
            && let Some(seen) = self.check.last_seen()
            && self.pace.allows()
            && let Some(attempt) = one_trip::prepare(connection, batch.items, &seen, &self.clock)?
        {
            let Attempt {
                script,
                head,
                outcomes,
                notices,
            } = attempt;
            batch.doubts.add(&head, outcomes, notices);
            match connection.transact(script).await {
                Ok(()) => {
                    self.database.metrics().one_trip("committed");
                    self.pace.succeeded();
                    self.check.moved(head);
                    let (outcomes, notices) = batch.doubts.take_last();
                    return Ok(Tried::Done(outcomes, notices));
                }
                Err(error) if error.is_of_data() => {
                    self.database.metrics().one_trip("rejected");
                    self.pace.failed();
                    self.check.doubt();
                    batch.doubts.remove_last();
                }
                Err(error) => {
                    if !error.is_connection() {
                        self.pace.failed();
                    }
                    return Err(batch.not_committed(error));
                }
            }
        }
        let Open {
            transaction,
            rest,
            head,
            outcomes,
            notices,
        } = transaction::open(connection, batch.items, &self.clock, &mut self.check).await?;
        let Some(head) = head else {
            transaction.rollback().await?;
            // An earlier attempt may be the cause of the conflicts and refusals.
            let earlier = if batch.doubts.is_empty() {
                None
            } else {
                batch.doubts.committed(connection, Some(&outcomes)).await?
            };
            return Ok(match earlier {
                Some(found) => {
                    self.check.acknowledge(found.last);
                    Tried::Done(found.outcomes, found.notices)
                }
                None => Tried::Done(outcomes, notices),
            });
        };
        batch.doubts.add(&head, outcomes, notices);
        if let Err(error) = transaction.commit_with(rest).await {
            return Err(batch.not_committed(error));
        }
        self.check.moved(head);
        if batch.doubts.is_decided_by_last() {
            let (outcomes, notices) = batch.doubts.take_last();
            return Ok(Tried::Done(outcomes, notices));
        }
        // The attempt stays among the doubts, in case the connection fails here.
        let decided = batch.doubts.committed(connection, None).await?;
        let decided = decided.ok_or(Error::Interrupted)?;
        Ok(Tried::Done(decided.outcomes, decided.notices))
    }
}
