//! Filling a generation: one task reads the log ahead while another writes.

use std::time::Duration;

use eventstore::subscription::failure;
use eventstore::{Dialect, EventLog, Lease, Position, Rebuild, RebuildState, RecordedEvent, checkpoint};
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
/// Batches that are read ahead. With the one that is written and the one that is being read, memory holds so many and two.
const AHEAD: usize = 2;

/// Events, and what they do to the table if all of them can be read and none is to be skipped.
struct Batch {
    events: Vec<RecordedEvent>,
    changes: Option<Changes>,
    head: Position,
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
        let mut position = rebuild.position.ok_or(RebuildError::NoRebuild)?;
        let (sender, mut batches) = mpsc::channel(AHEAD);
        let _reader = AbortOnDropHandle::new(tokio::spawn(read_ahead(self.log.clone(), position, sender)));
        let mut failed = rebuild.failure.is_some();
        while let Some(batch) = batches.recv().await {
            let batch = batch?;
            let Some(last) = batch.events.last() else { continue };
            let last = last.position;
            if stop.is_cancelled() || !lease.hold().await? {
                return Ok(Filled::Interrupted);
            }
            if self.now(rebuild).await?.state != RebuildState::Filling {
                return Ok(Filled::Interrupted);
            }
            let began = Instant::now();
            match self.write(rebuild, position, &batch).await {
                // Another process has written, or it was called off.
                Err(RebuildError::Store(eventstore::Error::Superseded { .. })) => {
                    return Ok(Filled::Interrupted);
                }
                written => written?,
            }
            position = last;
            if failed {
                failure::clear(self.log.database(), &rebuild.name).await?;
                failed = false;
            }
            let head = batch.head.max(position);
            progress(Step::Filled { position, head });
            self.let_others_write(began.elapsed()).await;
        }
        Ok(Filled::ToTheEnd)
    }

    /// Writes a batch after `from`; if it is refused, its events one half after the other, down to the one at fault.
    async fn write(&self, rebuild: &Rebuild, from: Position, batch: &Batch) -> Result<(), RebuildError> {
        let written = self
            .commit(rebuild, from, &batch.events, batch.changes.as_ref())
            .await;
        if !matches!(written, Err(RebuildError::Stopped { .. })) {
            return written;
        }
        let mut from = from;
        let mut rest = vec![batch.events.as_slice()];
        while let Some(events) = rest.pop() {
            match self.commit(rebuild, from, events, None).await {
                Ok(()) => from = events.last().map_or(from, |event| event.position),
                Err(RebuildError::Stopped { .. }) if events.len() > 1 => {
                    let (first, second) = events.split_at(events.len() / 2);
                    rest.extend([second, first]);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes `events`, which come after `from`, and moves the checkpoint, in one transaction.
    async fn commit(
        &self,
        rebuild: &Rebuild,
        from: Position,
        events: &[RecordedEvent],
        changes: Option<&Changes>,
    ) -> Result<(), RebuildError> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return Ok(());
        };
        let mut transaction = self.log.database().begin().await?;
        // The checkpoint first: whoever calls the rebuild off deletes it, and then nothing more may be written.
        checkpoint::advance(
            &mut transaction,
            &rebuild.name,
            from,
            last.position,
            self.clock.now(),
        )
        .await?;
        let generation = rebuild.generation;
        let written = match changes {
            Some(changes) if rows::skipped(&mut transaction, events).await?.is_empty() => {
                rows::write_changes(&mut transaction, generation, changes)
                    .await
                    .map_err(ProjectionError::Store)
            }
            _ => rows::write(&mut transaction, generation, events).await,
        };
        match written {
            Ok(()) => Ok(transaction.commit().await?),
            Err(ProjectionError::Store(error)) if !error.is_of_data() => Err(error.into()),
            Err(source) => Err(RebuildError::Stopped {
                position: first.position,
                source,
            }),
        }
    }

    /// SQLite has one writer at a time, and whoever waits for its turn looks for it now and then: without pauses, a
    /// process that registers patients would hardly ever find the place free.
    async fn let_others_write(&self, took: Duration) {
        if self.log.database().dialect() == Dialect::Sqlite {
            tokio::time::sleep(took).await;
        }
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
