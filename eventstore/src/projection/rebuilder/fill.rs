//! Filling a generation. One task reads ahead in the log while other tasks write.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Filled, Projection, ProjectionError, Rebuild, RebuildError, RebuildState, Rebuilder, Step};
use crate::checkpoint;
use crate::database::{Dialect, Transaction};
use crate::event::{Position, RecordedEvent};
use crate::lease::Lease;
use crate::log::EventLog;
use crate::projection::fold::{self, Changes};
use crate::projection::skip;
use crate::subscription::failure;

/// Maximum number of events in a batch.
const BATCH: u32 = 4000;
/// Maximum number of batches that wait to be written. At most four more batches are in memory, including the
/// batches being written and the batch being read.
const AHEAD: usize = 2;
/// Maximum number of batches written concurrently on MySQL, where one connection uses at most one core.
const AT_A_TIME: usize = 2;

/// A batch of events. `changes` contains their row changes, unless an event cannot be read.
struct Batch<P: Projection> {
    events: Vec<RecordedEvent>,
    changes: Option<Changes<P>>,
    /// The skipped positions that `changes` leaves out.
    skips: BTreeSet<Position>,
    head: Position,
}

impl<P: Projection> Batch<P> {
    /// Whether the batch can be written concurrently with another batch, because it deletes no rows.
    fn only_inserts(&self) -> bool {
        let deletes = |changes: &Changes<P>| !changes.deleted.is_empty();
        self.changes.as_ref().is_some_and(|changes| !deletes(changes))
    }
}

/// A batch, with the open transaction that contains its rows, or with the error if the rows could not be
/// written.
struct Written<P: Projection> {
    batch: Batch<P>,
    rows: Result<Transaction<'static>, RebuildError>,
    began: Instant,
}

/// Progress of filling a generation.
struct Filling<'r> {
    rebuild: &'r Rebuild,
    /// Position of the last event in the generation.
    position: Position,
    /// Whether a past failure may still be recorded.
    failed: bool,
    progress: &'r mut (dyn FnMut(Step) + Send),
}

impl<P: Projection> Rebuilder<P> {
    /// Fills the generation up to the current end of the log.
    pub(super) async fn fill(
        &self,
        rebuild: &Rebuild,
        lease: &mut Lease,
        stop: &CancellationToken,
        progress: &mut (dyn FnMut(Step) + Send),
    ) -> Result<Filled, RebuildError> {
        let position = rebuild.position.ok_or(RebuildError::NoCheckpoint)?;
        checkpoint::check(&rebuild.name, position, rebuild.head)?;
        let filling = Filling {
            rebuild,
            position,
            failed: rebuild.failure.is_some(),
            progress,
        };
        match self.fill_on(filling, lease, stop).await {
            // Another process wrote a batch, or the rebuild was cancelled.
            Err(RebuildError::Store(crate::Error::Superseded { .. })) => Ok(Filled::Interrupted),
            filled => filled,
        }
    }

    /// Writes the rows of up to [`AT_A_TIME`] batches concurrently, each on its own connection. Batches are
    /// committed in log order, each together with its checkpoint, so after a crash the generation contains
    /// exactly the events up to the checkpoint.
    async fn fill_on(
        &self,
        mut filling: Filling<'_>,
        lease: &mut Lease,
        stop: &CancellationToken,
    ) -> Result<Filled, RebuildError> {
        let (sender, mut batches) = mpsc::channel(AHEAD);
        let reading = read_ahead::<P>(self.log.clone(), filling.position, sender);
        let _reader = AbortOnDropHandle::new(tokio::spawn(reading));
        let mut writing = FuturesOrdered::new();
        // A batch that deletes rows is written alone. It must find the rows of earlier batches, and its scans
        // must not encounter uncommitted rows of other batches.
        let mut alone = false;
        loop {
            let batch = batches.recv().await.transpose()?;
            let beside = batch.as_ref().is_some_and(Batch::only_inserts);
            let most = if beside && !alone { self.at_a_time() - 1 } else { 0 };
            alone = !beside;
            while writing.len() > most {
                // Check now, while SQLite's only writer is free. The next write starts below.
                if !self.may_go_on(filling.rebuild, lease, stop).await? {
                    return Ok(Filled::Interrupted);
                }
                if let Some(written) = writing.next().await {
                    self.commit(&mut filling, written).await?;
                }
            }
            let Some(batch) = batch else {
                return Ok(Filled::ToTheEnd);
            };
            writing.push_back(self.write(filling.rebuild.generation, batch));
        }
    }

    /// Number of batches written concurrently. SQLite has only one writer.
    fn at_a_time(&self) -> usize {
        match self.log.database().dialect() {
            Dialect::MySql => AT_A_TIME,
            Dialect::Sqlite => 1,
        }
    }

    /// Whether another batch may be committed: `stop` is not cancelled, this process holds the lease, and the
    /// rebuild is still filling.
    async fn may_go_on(
        &self,
        rebuild: &Rebuild,
        lease: &mut Lease,
        stop: &CancellationToken,
    ) -> Result<bool, RebuildError> {
        Ok(!stop.is_cancelled()
            && lease.hold().await?
            && self.now(rebuild).await?.state == RebuildState::Filling)
    }

    /// Writes the rows of a batch in a new transaction.
    async fn write(&self, generation: i64, batch: Batch<P>) -> Written<P> {
        let began = Instant::now();
        let rows = async {
            let mut transaction = self.log.database().begin().await?;
            write_batch(&mut transaction, generation, &batch).await?;
            Ok(transaction)
        };
        let rows = rows.await;
        Written { batch, rows, began }
    }

    /// Commits a batch. If its rows were rejected, halves its events repeatedly until the faulty event is
    /// found.
    async fn commit(&self, filling: &mut Filling<'_>, written: Written<P>) -> Result<(), RebuildError> {
        let Written { batch, rows, began } = written;
        let Some(last) = batch.events.last() else {
            return Ok(());
        };
        let (rebuild, from, last) = (filling.rebuild, filling.position, last.position);
        match rows {
            Ok(transaction) => self.end(rebuild, transaction, from, last).await?,
            Err(RebuildError::Stopped { .. }) => self.write_halves(rebuild, from, &batch.events).await?,
            Err(error) => return Err(error),
        }
        filling.position = last;
        if filling.failed {
            failure::clear(self.log.database(), &rebuild.name).await?;
            filling.failed = false;
        }
        let head = batch.head.max(last);
        (filling.progress)(Step::Filled { position: last, head });
        self.let_others_write(began.elapsed()).await;
        Ok(())
    }

    /// Advances the checkpoint to the last event of the transaction, and commits. Fails if the checkpoint was
    /// moved, because another process is writing, or deleted, because the rebuild was cancelled.
    async fn end(
        &self,
        rebuild: &Rebuild,
        mut transaction: Transaction<'static>,
        from: Position,
        last: Position,
    ) -> Result<(), RebuildError> {
        checkpoint::advance(&mut transaction, &rebuild.name, from, last, self.clock.now()).await?;
        Ok(transaction.commit().await?)
    }

    /// Writes and commits `events` in parts. The events start after `from`, and were rejected as a whole.
    async fn write_halves(
        &self,
        rebuild: &Rebuild,
        mut from: Position,
        events: &[RecordedEvent],
    ) -> Result<(), RebuildError> {
        let mut rest = vec![events];
        while let Some(events) = rest.pop() {
            let Some(last) = events.last().map(|event| event.position) else {
                continue;
            };
            let mut transaction = self.log.database().begin().await?;
            // If the checkpoint has moved in the meantime, another process has written the rows of these
            // events, and the database therefore rejected them.
            checkpoint::advance(&mut transaction, &rebuild.name, from, last, self.clock.now()).await?;
            match write_events::<P>(&mut transaction, rebuild.generation, events).await {
                Ok(()) => {
                    transaction.commit().await?;
                    from = last;
                }
                Err(RebuildError::Stopped { .. }) if events.len() > 1 => {
                    transaction.rollback().await?;
                    let (first, second) = events.split_at(events.len() / 2);
                    rest.extend([second, first]);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Pauses on SQLite, which has one writer at a time. A waiting writer polls for the lock. Without pauses,
    /// a process that appends events would rarely get the lock.
    async fn let_others_write(&self, took: Duration) {
        if self.log.database().dialect() == Dialect::Sqlite {
            tokio::time::sleep(took).await;
        }
    }
}

/// Writes the row changes of a batch. Folds its events again if an operator has skipped an event since.
async fn write_batch<P: Projection>(
    transaction: &mut Transaction<'_>,
    generation: i64,
    batch: &Batch<P>,
) -> Result<(), RebuildError> {
    match &batch.changes {
        Some(changes) if skip::positions(transaction, P::NAME).await? == batch.skips => {
            let written = fold::write(transaction, generation, changes).await;
            classified(written.map_err(ProjectionError::Store), &batch.events)
        }
        _ => write_events::<P>(transaction, generation, &batch.events).await,
    }
}

/// Writes the row changes of `events`.
async fn write_events<P: Projection>(
    transaction: &mut Transaction<'_>,
    generation: i64,
    events: &[RecordedEvent],
) -> Result<(), RebuildError> {
    classified(fold::apply::<P>(transaction, generation, events).await, events)
}

/// Distinguishes a failure of the database from events that cannot be projected.
fn classified(written: Result<(), ProjectionError>, events: &[RecordedEvent]) -> Result<(), RebuildError> {
    match (written, events.first()) {
        (Ok(()), _) => Ok(()),
        (Err(ProjectionError::Store(error)), _) if !error.is_of_data() => Err(error.into()),
        (Err(source), first) => Err(RebuildError::Stopped {
            position: first.map_or(Position::BEGINNING, |event| event.position),
            source,
        }),
    }
}

/// Reads the log after `from` to its end, and folds its events into row changes. A replica is read as far as
/// it has events, and then the database itself.
async fn read_ahead<P: Projection>(
    log: EventLog,
    mut from: Position,
    batches: mpsc::Sender<crate::Result<Batch<P>>>,
) {
    let mut replica = log.database().replica().cloned().map(EventLog::new);
    loop {
        let batch = read_batch::<P>(replica.as_ref().unwrap_or(&log), &log, from).await;
        let ended = match &batch {
            Ok(batch) => {
                from = batch.events.last().map_or(from, |event| event.position);
                batch.events.len() < BATCH as usize
            }
            Err(_) => true,
        };
        let was_replica = ended && replica.take().is_some();
        if let Err(error) = &batch
            && was_replica
        {
            tracing::warn!(%error, "a rebuild cannot read the replica, and reads the database instead");
            continue;
        }
        // The receiver was dropped if the writer was interrupted.
        if batches.send(batch).await.is_err() || (ended && !was_replica) {
            return;
        }
    }
}

/// Reads the next batch from `source`, which is the log itself or a replica.
async fn read_batch<P: Projection>(
    source: &EventLog,
    log: &EventLog,
    from: Position,
) -> crate::Result<Batch<P>> {
    let events = source.feed(from, BATCH).await?;
    let head = log.head().await?.position;
    let skips = skip::positions(&mut log.database().reader().await?, P::NAME).await?;
    let mut connection = source.database().reader().await?;
    let changes = match fold::changes::<P>(&mut connection, &events, &skips).await {
        Ok(changes) => Some(changes),
        Err(ProjectionError::Store(error)) => return Err(error),
        // The writer finds the faulty event.
        Err(_) => None,
    };
    Ok(Batch {
        events,
        changes,
        skips,
        head,
    })
}
