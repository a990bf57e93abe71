//! A running worker.

use std::sync::Arc;

use eventstore::Database;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, WatchedClock};

/// A running worker.
pub struct Running {
    pub(super) task: JoinHandle<()>,
    pub(super) shutdown: CancellationToken,
    pub(super) database: Database,
    pub clock: Arc<WatchedClock>,
}

impl Running {
    /// Waits until the worker has begun and finished another query of the ledger. Call it only while nothing
    /// is being sent, because an attempt also reads the clock.
    pub async fn has_polled_again(&self) {
        // The current query may have begun earlier. The next query has ended when a third begins.
        self.clock.until_asked(self.clock.asked() + 2).await;
    }

    /// Asks the worker to stop.
    pub fn ask_to_stop(&self) {
        self.shutdown.cancel();
    }

    pub fn has_stopped(&self) -> bool {
        self.task.is_finished()
    }

    /// Stops the worker and waits until it has ended.
    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("the worker stops")
            .unwrap();
    }

    /// Stops the worker immediately and closes its database connections, as a kill does. Only for workers
    /// that [`Stage::work_separately`] started.
    pub async fn kill(self) {
        self.task.abort();
        drop(self.task.await);
        self.database.close().await;
    }
}
