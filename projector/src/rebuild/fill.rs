//! Filling a generation: one task reads the log ahead while others write.

use std::time::Duration;

use eventstore::subscription::failure;
use eventstore::{
    Dialect, EventLog, Lease, Position, Rebuild, RebuildState, RecordedEvent, Transaction, checkpoint,
};
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Filled, RebuildError, Rebuilder, Step};
use crate::changes::{Changes, changes};
use crate::rows;
use crate::view::ProjectionError;

/// Events that are read and written at a time.
const BATCH: u32 = 4000;
/// Batches that are read ahead. With those that are written and the one that is being read, memory holds so
/// many and four.
const AHEAD: usize = 2;
/// Batches that are written at a time on MySQL, where one connection keeps no more than one core busy.
const AT_A_TIME: usize = 2;

/// Events, and what they do to the table if all of them can be read and none is to be skipped.
struct Batch {
    events: Vec<RecordedEvent>,
    changes: Option<Changes>,
    head: Position,
}

impl Batch {
    /// Whether it may be written beside another one: it takes no rows away.
    fn only_inserts(&self) -> bool {
        let deletes = |changes: &Changes| !changes.deleted.is_empty();
        self.changes.as_ref().is_some_and(|changes| !deletes(changes))
    }
}

/// A batch, and its rows in a transaction that is open, unless they were refused.
struct Written {
    batch: Batch,
    rows: Result<Transaction<'static>, RebuildError>,
    began: Instant,
}

/// What is being filled.
struct Filling<'r, P> {
    rebuild: &'r Rebuild,
    /// The last event that is in it.
    position: Position,
    /// Whether a failure may be noted that has been got over.
    failed: bool,
    progress: &'r mut P,
}

impl Rebuilder {
    /// Fills the generation up to what is the end of the log when it gets there.
    pub(super) async fn fill(
        &self,
        rebuild: &Rebuild,
        lease: &mut Lease,
        stop: &CancellationToken,
        progress: &mut (impl FnMut(Step) + Send),
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
            // Another process has written, or it was called off.
            Err(RebuildError::Store(eventstore::Error::Superseded { .. })) => Ok(Filled::Interrupted),
            filled => filled,
        }
    }

    /// The rows of [`AT_A_TIME`] batches are written at a time, over a connection each. They are committed in
    /// the order of the log, each together with the move of the checkpoint, so what a kill leaves is all up
    /// to the checkpoint.
    async fn fill_on(
        &self,
        mut filling: Filling<'_, impl FnMut(Step) + Send>,
        lease: &mut Lease,
        stop: &CancellationToken,
    ) -> Result<Filled, RebuildError> {
        let (sender, mut batches) = mpsc::channel(AHEAD);
        let reading = read_ahead(self.log.clone(), filling.position, sender);
        let _reader = AbortOnDropHandle::new(tokio::spawn(reading));
        let mut writing = FuturesOrdered::new();
        // Nothing is written beside a batch that deletes: neither the rows that it must find, nor others that
        // a scan would meet.
        let mut alone = false;
        loop {
            let batch = batches.recv().await.transpose()?;
            let beside = batch.as_ref().is_some_and(Batch::only_inserts);
            let most = if beside && !alone { self.at_a_time() - 1 } else { 0 };
            alone = !beside;
            while writing.len() > most {
                // Asked while SQLite's writer is free: what is written is begun below.
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

    /// How many batches are written at a time: SQLite has one writer.
    fn at_a_time(&self) -> usize {
        match self.log.database().dialect() {
            Dialect::MySql => AT_A_TIME,
            Dialect::Sqlite => 1,
        }
    }

    /// Whether another batch may be committed: nobody said stop, took over, or called the rebuild off.
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

    /// Writes the rows of a batch.
    async fn write(&self, generation: i64, batch: Batch) -> Written {
        let began = Instant::now();
        let rows = async {
            let mut transaction = self.log.database().begin().await?;
            let changes = batch.changes.as_ref();
            write_rows(&mut transaction, generation, &batch.events, changes).await?;
            Ok(transaction)
        };
        let rows = rows.await;
        Written { batch, rows, began }
    }

    /// Commits a batch; if its rows were refused, its events one half after the other, down to the one at
    /// fault.
    async fn commit(
        &self,
        filling: &mut Filling<'_, impl FnMut(Step) + Send>,
        written: Written,
    ) -> Result<(), RebuildError> {
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

    /// Moves the checkpoint over what the transaction has written, and commits both. If the checkpoint is
    /// elsewhere, another process writes; if it is gone, the rebuild was called off, and nothing more may be
    /// written.
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

    /// Writes and commits `events`, which come after `from` and were refused as a whole.
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
            // If the checkpoint has been moved meanwhile, it was for another's rows that these were refused.
            checkpoint::advance(&mut transaction, &rebuild.name, from, last, self.clock.now()).await?;
            match write_rows(&mut transaction, rebuild.generation, events, None).await {
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

    /// SQLite has one writer at a time, and whoever waits for its turn looks for it now and then: without
    /// pauses, a process that registers patients would hardly ever find the place free.
    async fn let_others_write(&self, took: Duration) {
        if self.log.database().dialect() == Dialect::Sqlite {
            tokio::time::sleep(took).await;
        }
    }
}

/// Writes what `events` do to the rows: `changes`, if they are known and no event is to be skipped.
async fn write_rows(
    transaction: &mut Transaction<'_>,
    generation: i64,
    events: &[RecordedEvent],
    changes: Option<&Changes>,
) -> Result<(), RebuildError> {
    let written = match changes {
        Some(changes) if rows::skipped(transaction, events).await?.is_empty() => {
            rows::write_changes(transaction, generation, changes)
                .await
                .map_err(ProjectionError::Store)
        }
        _ => rows::write(transaction, generation, events).await,
    };
    match (written, events.first()) {
        (Ok(()), _) => Ok(()),
        (Err(ProjectionError::Store(error)), _) if !error.is_of_data() => Err(error.into()),
        (Err(source), first) => Err(RebuildError::Stopped {
            position: first.map_or(Position::BEGINNING, |event| event.position),
            source,
        }),
    }
}

/// Reads the log after `from` to its end, and folds its events into changes.
async fn read_ahead(
    log: EventLog,
    mut from: Position,
    batches: mpsc::Sender<Result<Batch, eventstore::Error>>,
) {
    loop {
        let batch = async {
            let events = log.feed(from, BATCH).await?;
            let head = log.head().await?.position;
            let changes = changes(&events).ok();
            eventstore::error::Result::Ok(Batch {
                events,
                changes,
                head,
            })
        }
        .await;
        let ended = match &batch {
            Ok(batch) => {
                from = batch.events.last().map_or(from, |event| event.position);
                batch.events.len() < BATCH as usize
            }
            Err(_) => true,
        };
        // Nobody receives any more when the writer was interrupted.
        if batches.send(batch).await.is_err() || ended {
            return;
        }
    }
}
