//! Redis of a world: one server, or a master and a replica with Sentinels.

use std::time::Instant;

use testkit::{RedisGroup, RedisServer};

use super::{port_of, suffer_redis, until};
use crate::plan::{Fault, Kind};

/// `POLL_INTERVAL` in the world with Sentinels, in which only signals are fast enough for the recovery that
/// the oracle requires.
const POLL: &str = "1m";

pub(crate) enum Redis {
    Single(Box<RedisServer>),
    /// Every role lists all Sentinels in `REDIS_URL`.
    Sentinels(RedisGroup),
}

impl Redis {
    /// Starts the servers that `CHAOS_WORLD` names.
    pub(crate) async fn start() -> Self {
        if std::env::var("CHAOS_WORLD").is_ok_and(|world| world == "sentinel") {
            return Self::Sentinels(RedisGroup::start().await);
        }
        Self::Single(Box::new(RedisServer::start().await))
    }

    /// Returns the additional kinds of faults to which these servers can be exposed.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        match self {
            Self::Single(_) => Vec::new(),
            Self::Sentinels(_) => vec![Kind::Failover],
        }
    }

    /// Returns the ports of the server, or of the Sentinels.
    pub(super) fn ports(&self) -> Vec<u16> {
        match self {
            Self::Single(server) => vec![port_of(server.url())],
            Self::Sentinels(group) => group.ports(),
        }
    }

    /// Returns the settings of a role with proxies at these ports. There is no proxy before the servers that
    /// Sentinels name.
    pub(super) fn settings(&self, ports: &[u16]) -> Vec<(&'static str, String)> {
        let addresses: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let addresses = addresses.join(",");
        match self {
            Self::Single(_) => vec![("REDIS_URL", format!("redis://{addresses}"))],
            Self::Sentinels(_) => vec![
                ("REDIS_URL", format!("redis+sentinel://{addresses}/main")),
                ("POLL_INTERVAL", POLL.to_owned()),
            ],
        }
    }

    /// Injects the planned faults.
    pub(super) async fn suffer(&mut self, began: Instant, faults: Vec<Fault>) {
        match self {
            Self::Single(server) => suffer_redis(server, began, faults).await,
            Self::Sentinels(group) => suffer_group(group, began, faults).await,
        }
    }
}

/// Injects the planned faults into the master, and every third fault into a Sentinel. Each fault waits until
/// the group is complete again, because two Sentinels must agree and need a replica.
async fn suffer_group(group: &mut RedisGroup, began: Instant, faults: Vec<Fault>) {
    for (number, fault) in faults.into_iter().enumerate() {
        until(began + fault.at).await;
        let master = group.until_complete().await;
        if fault.kind == Kind::Failover {
            if let Err(error) = group.switch().await {
                println!("the failover failed: {error}");
            }
        } else if number % 3 == 2 {
            let sentinel = number % group.ports().len();
            suffer_one!(group.sentinel(sentinel), fault, began);
        } else {
            suffer_one!(group.server(master), fault, began);
        }
    }
    group.until_complete().await;
}
