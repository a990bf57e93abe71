//! The thread that appends.
//!
//! Under overload a task waits in the line of all that can run, behind hundreds of requests that will only be
//! refused, once for each round trip of a transaction that holds the log's lock. On a thread of its own, the
//! operating system gives it its share of a core as soon as the database has answered.

use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime with one thread, which ends with the last clone of this. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Thread(Arc<Inner>);

#[derive(Debug)]
struct Inner(Option<Runtime>);

impl Thread {
    /// Starts it. Without one, which would be a machine that can make no thread, the present runtime has to
    /// do.
    pub(super) fn start() -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("appends")
            .enable_all()
            .build()
            .inspect_err(|error| tracing::warn!(%error, "the appends have no thread of their own"));
        Self(Arc::new(Inner(runtime.ok())))
    }

    /// Where to spawn what it is to run.
    pub(super) fn handle(&self) -> Handle {
        self.0
            .0
            .as_ref()
            .map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A runtime must not wait for its threads where the last clone may be dropped: within another one.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
