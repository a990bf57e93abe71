//! The bounded queue of entries, and the task that writes them.
//!
//! The queue is bounded by its number of entries, including those that are being written. A caller either
//! waits until its entries are durable, or leaves them in the queue. Writing entries that were left in the
//! queue is retried until they are durable, because their data has already been returned.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::chain::Entry;
use super::metrics;
use super::record::NotRecorded;
use super::writer::ChainWriter;

/// Number of entries after which a transaction takes no further entries. The entries of one request are
/// written together, so a transaction can write more entries than this.
const LARGEST: usize = 500;
/// Pause after the first failed write of entries that are kept. It doubles with each failure.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

type Reply = oneshot::Sender<Result<(), Arc<eventstore::Error>>>;

/// Room in the queue for a number of entries.
#[derive(Debug)]
pub(crate) struct Room(OwnedSemaphorePermit);

impl Drop for Room {
    fn drop(&mut self) {
        metrics::no_longer_waiting(self.0.num_permits());
    }
}

struct Item {
    entries: Vec<Entry>,
    /// The caller that waits; `None` for entries that were left.
    reply: Option<Reply>,
    _room: Room,
}

/// A queue. Cheap to clone.
#[derive(Clone)]
pub(super) struct Queue {
    items: UnboundedSender<Item>,
    room: Arc<Semaphore>,
    stop: CancellationToken,
    worker: TaskTracker,
}

impl Queue {
    /// Starts the task that writes. At most `capacity` entries wait.
    pub(super) fn start(writer: ChainWriter, capacity: usize) -> Self {
        let (items, waiting) = unbounded_channel();
        let stop = CancellationToken::new();
        let worker = TaskTracker::new();
        worker.spawn(work(writer, waiting, stop.clone()));
        worker.close();
        Self {
            items,
            room: Arc::new(Semaphore::new(capacity.clamp(1, Semaphore::MAX_PERMITS))),
            stop,
            worker,
        }
    }

    /// Reserves room for `entries`.
    pub(super) fn reserve(&self, entries: usize) -> Result<Room, NotRecorded> {
        let permits = u32::try_from(entries).unwrap_or(u32::MAX);
        match Arc::clone(&self.room).try_acquire_many_owned(permits) {
            Ok(permit) => {
                metrics::waiting(entries);
                Ok(Room(permit))
            }
            Err(TryAcquireError::NoPermits) => {
                metrics::rejected(entries);
                Err(NotRecorded::Overloaded)
            }
            Err(TryAcquireError::Closed) => Err(NotRecorded::ShuttingDown),
        }
    }

    /// Leaves entries in the queue.
    pub(super) fn leave(&self, entries: Vec<Entry>, room: Room) -> Result<(), NotRecorded> {
        self.send(entries, room, None)
    }

    /// Writes entries. They are durable when this returns.
    pub(super) async fn write(&self, entries: Vec<Entry>, room: Room) -> Result<(), NotRecorded> {
        let (reply, answer) = oneshot::channel();
        self.send(entries, room, Some(reply))?;
        answer
            .await
            .map_err(|_| NotRecorded::Failed)?
            .map_err(NotRecorded::Store)
    }

    fn send(&self, entries: Vec<Entry>, room: Room, reply: Option<Reply>) -> Result<(), NotRecorded> {
        let item = Item {
            entries,
            reply,
            _room: room,
        };
        self.items.send(item).map_err(|_| NotRecorded::ShuttingDown)
    }

    /// Rejects new entries, and returns when all waiting entries are written.
    pub(super) async fn shutdown(&self) {
        self.room.close();
        self.stop.cancel();
        self.worker.wait().await;
    }
}

async fn work(mut writer: ChainWriter, mut items: UnboundedReceiver<Item>, stop: CancellationToken) {
    let mut batch: Vec<Item> = Vec::new();
    let mut pause = SHORTEST_PAUSE;
    loop {
        if batch.is_empty() {
            let item = tokio::select! {
                biased;
                () = stop.cancelled(), if !items.is_closed() => {
                    // Waiting items are still received.
                    items.close();
                    continue;
                }
                item = items.recv() => item,
            };
            let Some(item) = item else { return };
            batch.push(item);
            // Lets tasks that are about to queue an entry run first.
            tokio::task::yield_now().await;
        } else if stop.is_cancelled() {
            items.close();
        }
        let mut size: usize = batch.iter().map(|item| item.entries.len()).sum();
        while size < LARGEST
            && let Ok(item) = items.try_recv()
        {
            size += item.entries.len();
            batch.push(item);
        }
        let mut entries: Vec<&Entry> = batch.iter().flat_map(|item| &item.entries).collect();
        entries.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        match writer.write(&entries).await {
            Ok(()) => {
                pause = SHORTEST_PAUSE;
                for reply in batch.drain(..).filter_map(|item| item.reply) {
                    // A caller that has stopped waiting needs no answer.
                    drop(reply.send(Ok(())));
                }
            }
            Err(error) => {
                batch = reject(batch, error);
                if !batch.is_empty() {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    forget_written(&mut batch, &writer).await;
                }
            }
        }
    }
}

/// Answers the callers that wait with an error, and returns the entries that were left.
fn reject(batch: Vec<Item>, error: eventstore::Error) -> Vec<Item> {
    let error = Arc::new(error);
    let (mut rejected, mut kept) = (0, Vec::new());
    for mut item in batch {
        if let Some(reply) = item.reply.take() {
            rejected += item.entries.len();
            drop(reply.send(Err(Arc::clone(&error))));
        } else {
            kept.push(item);
        }
    }
    if rejected > 0 {
        tracing::error!(%error, audit.reads = rejected, "reads could not be recorded and are rejected");
    }
    if !kept.is_empty() {
        let waiting: usize = kept.iter().map(|item| item.entries.len()).sum();
        tracing::error!(%error, audit.reads = waiting, "reads could not be recorded yet; retrying");
    }
    kept
}

/// Removes the items that a write has committed although it failed, such as a write whose answer was lost.
async fn forget_written(batch: &mut Vec<Item>, writer: &ChainWriter) {
    let ids = batch.iter().filter_map(|item| item.entries.first());
    let ids: Vec<&str> = ids.map(|entry| entry.id.as_str()).collect();
    // If this fails, the next write fails too, because the ids are unique.
    let Ok(known) = writer.known(&ids).await else {
        return;
    };
    batch.retain(|item| {
        !item
            .entries
            .first()
            .is_some_and(|first| known.contains(&first.id))
    });
}
