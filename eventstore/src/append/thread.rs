//! The thread for appends.
//!
//! Under overload, a task on the shared runtime queues behind hundreds of requests that will only be
//! rejected. A transaction would wait in that queue once for each round trip, while it holds the lock of the
//! log. With a dedicated thread, the operating system schedules the task as soon as the database has
//! answered.

use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime with one thread, which stops when the last clone is dropped. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Thread(Arc<Inner>);

#[derive(Debug)]
struct Inner(Option<Runtime>);

impl Thread {
    /// Starts the thread. If the machine cannot create a thread, the current runtime is used instead.
    pub(super) fn start() -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("appends")
            .enable_all()
            .build()
            .inspect_err(|error| tracing::warn!(%error, "appends run without a dedicated thread"));
        Self(Arc::new(Inner(runtime.ok())))
    }

    /// Returns the handle of the runtime that runs append tasks.
    pub(super) fn handle(&self) -> Handle {
        self.0
            .0
            .as_ref()
            .map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The last clone may be dropped inside another runtime, where waiting for the thread is not allowed.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
