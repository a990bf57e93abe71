//! Coalescing: items that wait at the same time are answered in one batch.
//!
//! Callers queue items. A worker takes all waiting items, up to a maximum, answers them together, and
//! repeats. The worker never waits for a batch to fill. Under light load a batch is one item. Under heavy
//! load a batch contains the items that arrived during the previous batch, so more items share the fixed cost
//! of a batch (a commit, a round trip). Before a batch, the worker yields once, so that other ready tasks of
//! its runtime can add their items.
//!
//! - Order: items are taken in the order in which they arrive. A single worker also answers them in that
//!   order.
//! - Limits: at most `capacity` items wait. Further items are rejected immediately with
//!   [`Rejected::Overloaded`].
//! - If a caller stops waiting before its item is taken, the item is dropped. If the caller stops waiting
//!   later, the batch continues.
//! - A panic in a batch rejects only the callers of that batch.
//! - [`Coalescer::shutdown`] rejects new items and answers all waiting items.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A worker that answers items together.
pub trait BatchWorker: Send + 'static {
    /// Request of a caller.
    type Item: Send + 'static;
    /// Answer to a caller.
    type Answer: Send + 'static;

    /// Answers `items`, which is never empty, with one answer for each item in the same order. The caller of
    /// an item without an answer gets [`Rejected::Failed`].
    fn run(&mut self, items: Vec<Self::Item>) -> impl Future<Output = Vec<Self::Answer>> + Send;
}

/// The reason why an item got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The queue is full; nothing was done.
    #[error("overloaded: the queue is full")]
    Overloaded,
    /// The service is shutting down; nothing was done.
    #[error("shutting down")]
    ShutDown,
    /// The batch failed without an answer. Its effects are unknown.
    #[error("the batch failed")]
    Failed,
}

type Waiting<B> = (
    <B as BatchWorker>::Item,
    oneshot::Sender<<B as BatchWorker>::Answer>,
);

/// A bounded queue of items, and the workers that answer the items. Cheap to clone.
pub struct Coalescer<B: BatchWorker> {
    queue: mpsc::Sender<Waiting<B>>,
    stop: CancellationToken,
    workers: TaskTracker,
}

impl<B: BatchWorker> Clone for Coalescer<B> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            stop: self.stop.clone(),
            workers: self.workers.clone(),
        }
    }
}

impl<B: BatchWorker> Coalescer<B> {
    /// Like [`Coalescer::start_on`], but on the current runtime.
    #[must_use]
    pub fn start(batches: impl IntoIterator<Item = B>, capacity: usize, largest: usize) -> Self {
        Self::start_on(&Handle::current(), batches, capacity, largest)
    }

    /// Starts one worker on `runtime` for each of `batches`. At most `capacity` items wait, and at most
    /// `largest` items are answered together. A value of 0 counts as 1.
    #[must_use]
    pub fn start_on(
        runtime: &Handle,
        batches: impl IntoIterator<Item = B>,
        capacity: usize,
        largest: usize,
    ) -> Self {
        let (queue, items) = mpsc::channel(capacity.max(1));
        let items = Arc::new(Mutex::new(items));
        let stop = CancellationToken::new();
        let workers = TaskTracker::new();
        for batch in batches {
            let work = work(batch, Arc::clone(&items), largest.max(1), stop.clone());
            workers.spawn_on(work, runtime);
        }
        workers.close();
        Self { queue, stop, workers }
    }

    /// Queues `item` and waits for its answer.
    ///
    /// # Errors
    ///
    /// [`Rejected`].
    pub async fn ask(&self, item: B::Item) -> Result<B::Answer, Rejected> {
        if self.stop.is_cancelled() {
            return Err(Rejected::ShutDown);
        }
        let (reply, answer) = oneshot::channel();
        self.queue
            .try_send((item, reply))
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => Rejected::Overloaded,
                mpsc::error::TrySendError::Closed(_) => Rejected::ShutDown,
            })?;
        answer.await.map_err(|_| Rejected::Failed)
    }

    /// Returns the number of waiting items.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Returns the maximum number of waiting items.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.queue.max_capacity()
    }

    /// Rejects new items, answers the waiting items, and returns when the workers have ended.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.workers.wait().await;
    }
}

async fn work<B: BatchWorker>(
    mut batch: B,
    items: Arc<Mutex<mpsc::Receiver<Waiting<B>>>>,
    largest: usize,
    stop: CancellationToken,
) {
    let mut taken = Vec::with_capacity(largest);
    loop {
        {
            let mut items = items.lock().await;
            let any = tokio::select! {
                biased;
                () = stop.cancelled(), if !items.is_closed() => {
                    // Waiting items are still taken. `recv_many` returns 0 after the last item.
                    items.close();
                    continue;
                }
                any = items.recv_many(&mut taken, largest) => any,
            };
            if any == 0 {
                return;
            }
            // Lets other runnable tasks run first, because some of them are about to queue an item.
            // Otherwise, if many items arrive at once, the worker would wake at the first item and take it
            // alone. A full batch has no room for more.
            if taken.len() < largest {
                tokio::task::yield_now().await;
            }
            while taken.len() < largest
                && let Ok(item) = items.try_recv()
            {
                taken.push(item);
            }
        }
        let (asked, replies): (Vec<_>, Vec<_>) =
            taken.drain(..).filter(|(_, reply)| !reply.is_closed()).unzip();
        if asked.is_empty() {
            continue;
        }
        let Ok(answers) = AssertUnwindSafe(batch.run(asked)).catch_unwind().await else {
            tracing::error!("a batch panicked; its callers get an error");
            continue;
        };
        for (reply, answer) in replies.into_iter().zip(answers) {
            // A caller that has stopped waiting needs no answer.
            drop(reply.send(answer));
        }
    }
}

#[cfg(test)]
mod tests;
