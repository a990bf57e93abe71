//! The signal: a wake-up after an append.
//!
//! Within a process, the signal is a `tokio::sync::watch`. Between processes, each event is one Redis pub/sub
//! message, without personal data, on a channel that all processes of one log share:
//! `{"position": …, "event_type": …, "aggregate_id": …, "sequence": …}`.
//!
//! The signal is only a hint. A lost message delays the next read of the feed until the next poll, and a
//! duplicate or forged message causes one extra read.
//!
//! Processes of a sealed log also publish the head of the log after each batch of appends, with an HMAC:
//! `{"head": {"position": …, "hash": …}, "mac": …}`. Appends reject a log that lacks a head of which the
//! process has heard.

#[cfg(feature = "redis")]
mod heads;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod servers;

#[cfg(feature = "redis")]
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, watch};
#[cfg(feature = "redis")]
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[cfg(feature = "redis")]
use self::heads::SharedHeads;
#[cfg(feature = "redis")]
pub use self::heads::{AcknowledgedHead, HeadKey};
#[cfg(feature = "redis")]
pub use self::servers::RedisServers;
#[cfg(feature = "redis")]
use crate::error::Result;
use crate::event::{Hash, Position};

/// Maximum number of batches that wait for Redis. Further batches are dropped, because subscriptions also
/// poll.
#[cfg(feature = "redis")]
const WAITING_BATCHES: usize = 256;

/// Notice of an appended event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// Position of the event.
    pub position: Position,
    /// Type of the event.
    pub event_type: String,
    /// Id of the event's aggregate.
    pub aggregate_id: String,
    /// Number of the event within its aggregate.
    pub sequence: u64,
}

/// Sends wake-ups and creates their listeners. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Signal {
    local: watch::Sender<()>,
    remote: Option<mpsc::Sender<Published>>,
    #[cfg(feature = "redis")]
    heads: Arc<SharedHeads>,
}

/// The notices of a batch, and position and hash of the last event that this process has acknowledged.
type Published = (Vec<Notice>, Option<(Position, Hash)>);

impl Signal {
    /// Creates a signal within this process.
    #[must_use]
    pub fn in_process() -> Self {
        Self {
            local: watch::Sender::new(()),
            remote: None,
            #[cfg(feature = "redis")]
            heads: Arc::default(),
        }
    }

    /// Creates a signal within this process that is also exchanged with other processes through `channel` of
    /// Redis. Logs that share a Redis server need different channels, because Redis does not
    /// separate channels by database number. Redis need not be available. The signal spawns two tasks in
    /// `tasks`, which reconnect until `shutdown`, with a pause that grows to at most 0.5 s.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn redis(
        servers: &RedisServers,
        channel: &str,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Self {
        let local = watch::Sender::new(());
        let (remote, notices) = mpsc::channel(WAITING_BATCHES);
        let heads = Arc::<SharedHeads>::default();
        let channel = redis::Channel {
            servers: servers.clone(),
            name: channel.to_owned(),
            heads: Arc::clone(&heads),
        };
        tasks.spawn(redis::publish(channel.clone(), notices, shutdown.clone()));
        tasks.spawn(redis::listen(channel, local.clone(), shutdown.clone()));
        Self {
            local,
            remote: Some(remote),
            heads,
        }
    }

    /// From now on, exchanges the heads of acknowledged appends with the other processes of the log.
    #[cfg(feature = "redis")]
    pub fn share_heads(&self, key: HeadKey) {
        self.heads.share(key);
    }

    /// Returns the last head that another process has acknowledged and of which this process has heard.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn heard_head(&self) -> Option<AcknowledgedHead> {
        self.heads.heard()
    }

    /// Checks that Redis answers.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Redis`] if the server cannot be used, and [`crate::Error::RedisTimeout`].
    #[cfg(feature = "redis")]
    pub async fn check_redis(servers: &RedisServers) -> Result<()> {
        redis::check(servers).await
    }

    /// Wakes all listeners. Never blocks and never fails.
    pub fn publish(&self, notices: Vec<Notice>) {
        self.publish_with(notices, None);
    }

    /// Wakes all listeners, and publishes the last event that this process has acknowledged.
    pub(crate) fn publish_with(&self, notices: Vec<Notice>, head: Option<(Position, Hash)>) {
        if notices.is_empty() {
            return;
        }
        self.local.send_replace(());
        if let Some(remote) = &self.remote
            && remote.try_send((notices, head)).is_err()
        {
            tracing::debug!("the queue of notices for Redis is full; other processes will poll");
        }
    }

    /// Creates a listener that receives wake-ups from now on.
    #[must_use]
    pub fn subscribe(&self) -> Wake {
        Wake(self.local.subscribe())
    }
}

/// A listener of the signal.
#[derive(Debug, Clone)]
pub struct Wake(watch::Receiver<()>);

impl Wake {
    /// Discards pending wake-ups. Call this before the read that they would trigger.
    pub fn clear(&mut self) {
        self.0.mark_unchanged();
    }

    /// Returns at the first wake-up since [`Wake::clear`], or after `poll`.
    pub async fn wait(&mut self, poll: Duration) {
        // An error means that all senders are gone, so only the poll remains.
        if let Ok(Err(_)) = tokio::time::timeout(poll, self.0.changed()).await {
            tokio::time::sleep(poll).await;
        }
    }
}
