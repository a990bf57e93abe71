//! The Redis publisher and listener of the signal.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use redis::Pipeline;
use redis::aio::MultiplexedConnection;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Published;
use super::heads::{AcknowledgedHead, SharedHeads};
use super::servers::RedisServers;
use crate::error::{Error, Result};

const TIMEOUT: Duration = Duration::from_secs(2);
/// How long the connection may be idle before it is checked with a ping.
const SILENCE: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A channel that the processes of a log share.
#[derive(Clone)]
pub(super) struct Channel {
    pub(super) servers: RedisServers,
    pub(super) name: String,
    pub(super) heads: Arc<SharedHeads>,
}

/// Publishes all waiting notices in one round trip, and then the last head. Messages that Redis does not
/// accept are dropped.
pub(super) async fn publish(
    channel: Channel,
    mut batches: mpsc::Receiver<Published>,
    shutdown: CancellationToken,
) {
    let Channel { servers, name, heads } = channel;
    let mut connection = None;
    let mut waiting = Vec::new();
    let mut down = false;
    loop {
        tokio::select! {
            biased;
            // Waiting notices are still published at shutdown.
            any = batches.recv_many(&mut waiting, 64) => {
                if any == 0 {
                    return;
                }
            }
            () = shutdown.cancelled() => return,
        }
        let mut pipeline = redis::pipe();
        let last = waiting.iter().rev().find_map(|(_, head)| *head);
        for notice in waiting.drain(..).flat_map(|(notices, _)| notices) {
            match serde_json::to_string(&notice) {
                Ok(message) => pipeline.publish(&name, message).ignore(),
                Err(error) => {
                    tracing::error!(%error, "could not serialize a notice as JSON");
                    continue;
                }
            };
        }
        let last = last.map(|(position, hash)| AcknowledgedHead { position, hash });
        if let Some(message) = last.and_then(|head| heads.message(head)) {
            pipeline.publish(&name, message).ignore();
        }
        let published = send(&pipeline, &servers, &mut connection).await;
        match (published, down) {
            (Ok(()), true) => tracing::info!("publishing to Redis again"),
            (Err(ref error), false) => {
                tracing::warn!(%error, "cannot publish to Redis; other processes poll until it is back");
            }
            (Ok(()), false) | (Err(_), true) => continue,
        }
        down = !down;
    }
}

/// Sends commands on the open connection. If there is no open connection, or it fails, opens a new
/// connection. A server that Sentinel has replaced closes its connections.
async fn send(
    commands: &Pipeline,
    servers: &RedisServers,
    open: &mut Option<MultiplexedConnection>,
) -> Result<()> {
    if let Some(mut connection) = open.take()
        && in_time(commands.query_async::<()>(&mut connection)).await.is_ok()
    {
        *open = Some(connection);
        return Ok(());
    }
    let mut connection = connect(servers).await?;
    in_time(commands.query_async::<()>(&mut connection)).await?;
    *open = Some(connection);
    Ok(())
}

async fn connect(servers: &RedisServers) -> Result<MultiplexedConnection> {
    let client = servers.client().await?;
    in_time(client.get_multiplexed_async_connection()).await
}

async fn in_time<T>(work: impl Future<Output = redis::RedisResult<T>>) -> Result<T> {
    tokio::time::timeout(TIMEOUT, work)
        .await
        .map_err(|_| Error::RedisTimeout(TIMEOUT))?
        .map_err(Error::from_redis)
}

/// Checks that the server answers.
pub(super) async fn check(servers: &RedisServers) -> Result<()> {
    let mut connection = connect(servers).await?;
    in_time(redis::cmd("PING").query_async::<()>(&mut connection)).await
}

/// Forwards every message as a wake-up, and reconnects when the connection ends.
pub(super) async fn listen(channel: Channel, local: watch::Sender<()>, shutdown: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    let mut down = false;
    loop {
        let listened = tokio::select! {
            () = shutdown.cancelled() => return,
            listened = listen_once(&channel, &local, &mut down) => listened,
        };
        if !down {
            // The connection was established, so start again with a short pause.
            pause = FIRST_PAUSE;
            match listened {
                Ok(()) => tracing::warn!("lost the connection to Redis; polling until it is back"),
                Err(error) => tracing::warn!(%error, "cannot listen to Redis; polling until it is back"),
            }
        }
        down = true;
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Listens until the connection ends. If `down` is set, logs that listening has resumed and resets it.
async fn listen_once(channel: &Channel, local: &watch::Sender<()>, down: &mut bool) -> Result<()> {
    let client = channel.servers.client().await?;
    let connect = async {
        let mut pubsub = client.get_async_pubsub().await?;
        pubsub.subscribe(&channel.name).await?;
        Ok(pubsub)
    };
    let mut pubsub = in_time(connect).await?;
    if std::mem::take(down) {
        tracing::info!("listening to Redis again");
    }
    // Redis does not repeat messages that were published while no listener was connected.
    local.send_replace(());
    loop {
        let message = tokio::time::timeout(SILENCE, pubsub.on_message().next()).await;
        match message {
            Ok(Some(message)) => {
                // The notices of the same events have woken the listeners.
                if !channel.heads.hear(message.get_payload_bytes()) {
                    local.send_replace(());
                }
            }
            Ok(None) => return Ok(()),
            // A dropped connection and a quiet period look the same, so check with a ping.
            Err(_) => drop(in_time(pubsub.ping::<redis::Value>()).await?),
        }
    }
}
