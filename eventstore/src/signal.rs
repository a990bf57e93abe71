//! The signal: a wake-up after an append.
//!
//! Within a process it is a `tokio::sync::watch`. Between processes it is one Redis pub/sub message per event
//! on channel [`CHANNEL`], without personal data:
//! `{"position": …, "event_type": …, "aggregate_id": …, "sequence": …}`.
//!
//! The signal is a hint, never the truth. A message may be lost, duplicated or forged, which costs or saves
//! no more than one read of the feed.

mod redis;

use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::Result;
use crate::event::Position;

/// The Redis channel.
pub const CHANNEL: &str = "patients.events";

/// Batches of notices that may wait for Redis; more are dropped, since the subscriptions poll anyway.
const WAITING_BATCHES: usize = 256;

/// What is said of an appended event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// Its position.
    pub position: Position,
    /// Its type.
    pub event_type: String,
    /// Its aggregate.
    pub aggregate_id: String,
    /// Its number within the aggregate.
    pub sequence: u64,
}

/// Where wake-ups are sent and awaited. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Signal {
    local: watch::Sender<()>,
    remote: Option<mpsc::Sender<Vec<Notice>>>,
}

impl Signal {
    /// A signal within this process.
    #[must_use]
    pub fn in_process() -> Self {
        Self {
            local: watch::Sender::new(()),
            remote: None,
        }
    }

    /// A signal within this process and, through Redis at `url`, to and from others. Redis need not be up:
    /// its two tasks, run in `tasks` until `shutdown`, connect again and again, with a pause that grows to at
    /// most 5 s.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Redis`] if the URL is not `redis://…` or `rediss://…`.
    pub fn redis(url: &str, tasks: &TaskTracker, shutdown: &CancellationToken) -> Result<Self> {
        let client = ::redis::Client::open(url)?;
        let local = watch::Sender::new(());
        let (remote, notices) = mpsc::channel(WAITING_BATCHES);
        tasks.spawn(redis::publish(client.clone(), notices, shutdown.clone()));
        tasks.spawn(redis::listen(client, local.clone(), shutdown.clone()));
        Ok(Self {
            local,
            remote: Some(remote),
        })
    }

    /// Wakes everyone who waits. Never blocks and never fails: it is a hint.
    pub fn publish(&self, notices: Vec<Notice>) {
        if notices.is_empty() {
            return;
        }
        self.local.send_replace(());
        if let Some(remote) = &self.remote
            && remote.try_send(notices).is_err()
        {
            tracing::debug!("too many notices wait for Redis; subscriptions elsewhere will poll");
        }
    }

    /// Listens from now on.
    #[must_use]
    pub fn subscribe(&self) -> Wake {
        Wake(self.local.subscribe())
    }
}

/// One listener's end of the signal.
#[derive(Debug, Clone)]
pub struct Wake(watch::Receiver<()>);

impl Wake {
    /// Forgets the wake-ups so far. To be called before the read that they would ask for.
    pub fn clear(&mut self) {
        self.0.mark_unchanged();
    }

    /// Returns at the next wake-up since [`Wake::clear`], or after `poll`.
    pub async fn wait(&mut self, poll: Duration) {
        // An error means that no one can wake us any more; then there is only the poll.
        if let Ok(Err(_)) = tokio::time::timeout(poll, self.0.changed()).await {
            tokio::time::sleep(poll).await;
        }
    }
}
