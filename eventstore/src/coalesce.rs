//! Coalescing: what waits is answered together.
//!
//! Callers queue items; a worker takes all that wait, up to a bound, answers them in one go, and takes again.
//! Nobody waits for a batch to fill: under light load a batch is one item, under heavy load it grows to what
//! arrived while the one before was at work, and the fixed cost of a batch (a commit, a round trip) is shared
//! by more and more. Only those tasks of the worker's own runtime that could ask at this very moment, if they
//! had a core, are let in first.
//!
//! - Order: items are taken in the order they came. With one worker they are also answered in it.
//! - Bounds: at most `capacity` items wait; one more is refused at once with [`Rejected::Overloaded`].
//! - A caller who goes away before its item is taken costs nothing: the item is dropped. Later, the batch
//!   goes on.
//! - A panic in a batch rejects that batch's callers and no others.
//! - [`Coalescer::shutdown`] refuses new items and answers all that wait.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Answers items together.
pub trait Batch: Send + 'static {
    /// What callers ask.
    type Item: Send + 'static;
    /// What they get.
    type Answer: Send + 'static;

    /// Answers `items`, which are never none: one answer for each, in the same order. An item that gets no
    /// answer is [`Rejected::Failed`].
    fn run(&mut self, items: Vec<Self::Item>) -> impl Future<Output = Vec<Self::Answer>> + Send;
}

/// Why an item got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// As many items wait as may; nothing was done.
    #[error("overloaded: the queue is full")]
    Overloaded,
    /// The service is shutting down; nothing was done.
    #[error("shutting down")]
    ShutDown,
    /// The batch failed without an answer; what it did is open.
    #[error("the batch failed")]
    Failed,
}

type Waiting<B> = (<B as Batch>::Item, oneshot::Sender<<B as Batch>::Answer>);

/// A bounded queue and the workers that answer it. Cheap to clone.
pub struct Coalescer<B: Batch> {
    queue: mpsc::Sender<Waiting<B>>,
    stop: CancellationToken,
    workers: TaskTracker,
}

impl<B: Batch> Clone for Coalescer<B> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            stop: self.stop.clone(),
            workers: self.workers.clone(),
        }
    }
}

impl<B: Batch> Coalescer<B> {
    /// As [`Coalescer::start_on`], on the present runtime.
    #[must_use]
    pub fn start(batches: impl IntoIterator<Item = B>, capacity: usize, largest: usize) -> Self {
        Self::start_on(&Handle::current(), batches, capacity, largest)
    }

    /// Starts one worker for each of `batches` on that runtime. At most `capacity` items wait (1 or more),
    /// and at most `largest` (1 or more) are answered together.
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

    /// How many items wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// How many items may wait.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.queue.max_capacity()
    }

    /// Refuses new items, answers those that wait, and returns when the workers have ended.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.workers.wait().await;
    }
}

async fn work<B: Batch>(
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
                    // What waits is still taken; `recv_many` says 0 when there is no more.
                    items.close();
                    continue;
                }
                any = items.recv_many(&mut taken, largest) => any,
            };
            if any == 0 {
                return;
            }
            // The tasks that can run now do so before this one goes on, and some of them are about to ask.
            // Without that, a worker that is woken by the first of many takes it alone. A full batch has no
            // room for them.
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
            tracing::error!("a batch panicked; its callers are told that it failed");
            continue;
        };
        for (reply, answer) in replies.into_iter().zip(answers) {
            // A caller who has gone away does not want the answer.
            drop(reply.send(answer));
        }
    }
}

#[cfg(test)]
mod tests;
