//! The worker of the append queue. The worker commits batches and retries them while the database is
//! unavailable. If the connection is lost at a commit, the worker checks whether the batch was written.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use super::clock::CheckedClock;
use super::error::AppendError;
use super::head::HeadCheck;
use super::prepared::{Append, Outcome};
use super::{traced, transaction};
use crate::clock::Clock;
use crate::coalesce::BatchWorker;
use crate::database::{Connection, Database, Dialect};
use crate::error::Error;
use crate::event::{Hash, Position};
use crate::signal::{Notice, Signal};

/// Maximum idle time of the kept connection, shorter than the server's idle timeout. After that, the
/// connection goes back to the pool, which tests connections before reuse.
const KEPT: Duration = Duration::from_secs(15);

/// Timeout of one transaction, after which its connection is closed.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a batch is retried while the database is unavailable, counted from its first failure.
const RETRY_FOR: Duration = Duration::from_secs(5);
/// Pause before the first retry. It doubles with each retry, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A batch whose commit failed, although its events may have been written.
struct InDoubt {
    position: Position,
    hash: Hash,
    outcomes: Vec<Outcome>,
    notices: Vec<Notice>,
    /// The database's error, if the database rejected a statement that was sent with the commit. In that
    /// case, the batch is not retried if nothing was written.
    refusal: Option<Arc<Error>>,
}

/// Commits and answers the batches of a queue.
pub(super) struct Appender {
    database: Database,
    signal: Signal,
    clock: CheckedClock,
    check: HeadCheck,
    /// Whether appends are rejected because of the log or the clock. The rejection is logged only once.
    alarmed: bool,
    /// The connection, kept between batches on MySQL, because returning it to the pool costs a ping. On
    /// SQLite the connection is returned after each batch, because all writes share it.
    connection: Option<Connection>,
    /// When the last batch ended.
    used_at: Instant,
    in_doubt: Option<InDoubt>,
}

impl BatchWorker for Appender {
    type Item = Append;
    type Answer = Outcome;

    async fn run(&mut self, items: Vec<Append>) -> Vec<Outcome> {
        // A batch that panicked may have left this state behind.
        self.in_doubt = None;
        let (began, appends) = (Instant::now(), items.len());
        if self.used_at.elapsed() > KEPT {
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
    pub(super) fn new(database: Database, signal: Signal, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock: CheckedClock::new(clock, database.metrics().clone()),
            database,
            signal,
            check: HeadCheck::default(),
            alarmed: false,
            connection: None,
            used_at: Instant::now(),
            in_doubt: None,
        }
    }

    /// Commits `items` together or, if the database rejects the batch, each separately.
    async fn answer(&mut self, items: Vec<Append>) -> Vec<Outcome> {
        match self.commit(&items).await {
            Ok(outcomes) => outcomes,
            Err(AppendError::Unavailable(error)) if refused(&error) && !error.is_of_the_whole_database() => {
                tracing::warn!(
                    append.batch = items.len(),
                    error = %error,
                    "the database rejected a batch; trying each append separately"
                );
                self.alone(items).await
            }
            Err(error) => vec![Err(error); items.len()],
        }
    }
}

/// Whether the database rejected the batch itself. A single append may be the cause.
fn refused(error: &Error) -> bool {
    !error.is_connection() && !error.is_contention()
}

impl Appender {
    /// Commits each of `items` in its own transaction. Once an item fails with [`AppendError::Unavailable`]
    /// because of a lost connection or contention, the remaining items get the same error without being
    /// tried.
    async fn alone(&mut self, items: Vec<Append>) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(items.len());
        let mut lost: Option<AppendError> = None;
        for mut item in items {
            if let Some(error) = &lost {
                outcomes.push(Err(error.clone()));
                continue;
            }
            // Checks the sequence this time, in case the aggregate is not new.
            item.new_aggregate = false;
            let outcome = match self.commit(&[item]).await {
                Ok(mut alone) => alone.pop().unwrap_or(Err(AppendError::Failed)),
                Err(error) => {
                    if let AppendError::Unavailable(cause) = &error
                        && !refused(cause)
                    {
                        lost = Some(error.clone());
                    }
                    Err(error)
                }
            };
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Commits `items`. Retries for up to [`RETRY_FOR`] while the database is unavailable.
    async fn commit(&mut self, items: &[Append]) -> Result<Vec<Outcome>, AppendError> {
        let mut pause = FIRST_PAUSE;
        let mut retry_until = None;
        loop {
            let tried = tokio::time::timeout(TRANSACTION_TIMEOUT, self.try_commit(items)).await;
            let error = match tried.unwrap_or(Err(Error::Timeout(TRANSACTION_TIMEOUT).into())) {
                Ok((outcomes, notices)) => {
                    if self.database.dialect() == Dialect::Sqlite {
                        self.connection = None;
                    }
                    self.signal.publish(notices);
                    if std::mem::take(&mut self.alarmed) {
                        tracing::info!("appends succeed again");
                    }
                    return Ok(outcomes);
                }
                Err(error) => error,
            };
            self.check.forget();
            if let Some(mut connection) = self.connection.take() {
                connection.close_on_drop();
            }
            if let Some(doubt) = self.in_doubt.as_mut().filter(|_| refused(&error)) {
                doubt.refusal = Some(Arc::clone(&error));
            }
            let now = Instant::now();
            let until = *retry_until.get_or_insert(now + RETRY_FOR);
            let again = !refused(&error) || self.in_doubt.is_some();
            if !again || now + pause > until {
                return Err(match self.in_doubt.take() {
                    Some(_) => AppendError::InDoubt(error),
                    None => self.unwritten(error),
                });
            }
            tracing::warn!(append.batch = items.len(), error = %error, "an append failed; retrying");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
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

    /// Makes one attempt. If the previous attempt failed at its commit, first checks whether the log contains
    /// that batch. If the log does not contain it, and the database had rejected the batch, returns the
    /// database's error.
    async fn try_commit(&mut self, items: &[Append]) -> Result<(Vec<Outcome>, Vec<Notice>), Arc<Error>> {
        if self.connection.is_none() {
            self.connection = Some(self.database.writer().await?);
        }
        let Some(connection) = self.connection.as_mut() else {
            return Err(Error::Interrupted.into());
        };
        if let Some(lost) = &self.in_doubt {
            let written = transaction::holds(connection, lost.position, lost.hash).await?;
            match self.in_doubt.take() {
                Some(lost) if written => return Ok((lost.outcomes, lost.notices)),
                Some(InDoubt {
                    refusal: Some(refusal),
                    ..
                }) => return Err(refusal),
                _ => {}
            }
        }
        let open = transaction::open(connection, items, &mut self.clock, &mut self.check).await?;
        let Some(head) = open.head else {
            open.transaction.rollback().await?;
            return Ok((open.outcomes, open.notices));
        };
        self.in_doubt = Some(InDoubt {
            position: head.position,
            hash: head.hash,
            outcomes: open.outcomes,
            notices: open.notices,
            refusal: None,
        });
        if let Err(error) = open.transaction.commit_with(open.rest).await {
            if error.is_contention() {
                // The database answered that it rolled back.
                self.in_doubt = None;
            }
            return Err(error.into());
        }
        self.check.moved(head);
        let done = self.in_doubt.take().map(|done| (done.outcomes, done.notices));
        Ok(done.unwrap_or_default())
    }
}
