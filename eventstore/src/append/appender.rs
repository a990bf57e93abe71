//! The worker of the queue: commits batches, again and again while the database is away, and finds out what
//! became of one whose connection was lost at the commit.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use super::clock::CheckedClock;
use super::{Append, AppendError, Outcome, traced, transaction};
use crate::clock::Clock;
use crate::coalesce::Batch;
use crate::database::{Connection, Database, Dialect};
use crate::error::Error;
use crate::event::{Hash, Position};
use crate::metrics::METRICS;
use crate::signal::{Notice, Signal};

/// How long the connection is kept without a batch: shorter than the server keeps one that says nothing. The
/// pool looks whether one that was given back is still there.
const KEPT: Duration = Duration::from_secs(15);

/// How long one transaction may take before its connection is given up.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a batch is tried again while the database is away, counted from its first failure.
const RETRY_FOR: Duration = Duration::from_secs(5);
/// The pause before the second try; it doubles from there up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What was about to be committed when it failed.
struct InDoubt {
    position: Position,
    hash: Hash,
    outcomes: Vec<Outcome>,
    notices: Vec<Notice>,
    /// What the database said, if it refused what travelled with the commit: no reason to try again if
    /// nothing was written.
    refusal: Option<Arc<Error>>,
}

/// Answers the batches of a queue.
pub(super) struct Appender {
    database: Database,
    signal: Signal,
    clock: CheckedClock,
    /// Whether appends are rejected because of the log or the clock, which is said once.
    alarmed: bool,
    /// Kept from batch to batch on MySQL: giving it back to the pool costs a ping. SQLite's one writer is
    /// shared, so it is given back.
    connection: Option<Connection>,
    /// When the last batch ended.
    used_at: Instant,
    in_doubt: Option<InDoubt>,
}

impl Batch for Appender {
    type Item = Append;
    type Answer = Outcome;

    async fn run(&mut self, items: Vec<Append>) -> Vec<Outcome> {
        // Whatever a batch that panicked left is not about this one.
        self.in_doubt = None;
        let (began, appends) = (Instant::now(), items.len());
        if self.used_at.elapsed() > KEPT {
            self.connection = None;
        }
        let span = traced::batch(items.iter().map(|item| &item.traced));
        let outcomes = self.answer(items).instrument(span).await;
        self.used_at = Instant::now();
        METRICS.batch(appends, began.elapsed().as_secs_f64());
        outcomes
    }
}

impl Appender {
    pub(super) fn new(database: Database, signal: Signal, clock: Arc<dyn Clock>) -> Self {
        Self {
            database,
            signal,
            clock: CheckedClock::new(clock),
            alarmed: false,
            connection: None,
            used_at: Instant::now(),
            in_doubt: None,
        }
    }

    /// Commits `items` together, or, if the database refuses that, each alone.
    async fn answer(&mut self, items: Vec<Append>) -> Vec<Outcome> {
        match self.commit(&items).await {
            Ok(outcomes) => outcomes,
            Err(AppendError::Unavailable(error)) if refused(&error) && !error.is_of_the_whole_database() => {
                tracing::warn!(
                    append.batch = items.len(),
                    error = %error,
                    "the database refused a batch; trying each append alone"
                );
                self.alone(items).await
            }
            Err(error) => vec![Err(error); items.len()],
        }
    }
}

/// Whether the database answered that it does not take what was sent, which may be the fault of one append
/// alone.
fn refused(error: &Error) -> bool {
    !error.is_connection() && !error.is_contention()
}

impl Appender {
    /// Commits each of `items` in a transaction of its own; those after one that the database could not be
    /// asked about are not tried.
    async fn alone(&mut self, items: Vec<Append>) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(items.len());
        let mut lost: Option<AppendError> = None;
        for mut item in items {
            if let Some(error) = &lost {
                outcomes.push(Err(error.clone()));
                continue;
            }
            // If its aggregate is not new after all, this try says so.
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

    /// Commits `items`, again and again while the database is away, for as long as [`RETRY_FOR`].
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
                        tracing::info!("appends are made again");
                    }
                    return Ok(outcomes);
                }
                Err(error) => error,
            };
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
            tracing::warn!(append.batch = items.len(), error = %error, "an append failed; trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Why nothing was written; what a person has to set right is said once.
    fn unwritten(&mut self, error: Arc<Error>) -> AppendError {
        let unwritten = AppendError::unwritten(error);
        if matches!(unwritten, AppendError::Damaged(_) | AppendError::ClockWrong(_))
            && !std::mem::replace(&mut self.alarmed, true)
        {
            tracing::error!(error = %unwritten, "every append is rejected until this is set right");
        }
        unwritten
    }

    /// One try. If the one before was lost at its commit, first asks the log whether it was written after
    /// all; if it was not, and the database had refused it, that is what came of it.
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
        let open = transaction::open(connection, items, &mut self.clock).await?;
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
        open.transaction.commit_with(open.rest).await?;
        let done = self.in_doubt.take().map(|done| (done.outcomes, done.notices));
        Ok(done.unwrap_or_default())
    }
}
