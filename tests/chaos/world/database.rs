//! The database of a world: one server, or a group of servers.

use std::time::Instant;

use testkit::{Flavour, GaleraCluster, MysqlGroup, MysqlReplicas, PrivateMysql, installed_flavours};

use super::{suffer_mysql, until};
use crate::plan::{Fault, Kind};

const NAME: &str = "chaos";

/// Injects a fault into a member of a cluster, and waits until it belongs to the cluster again. Each type of
/// cluster has the same methods.
macro_rules! suffer_member {
    ($cluster:ident, $member:ident, $fault:ident, $began:ident) => {{
        match $fault.kind {
            Kind::Kill => $cluster.kill($member).await,
            Kind::Terminate => $cluster.terminate($member).await,
            _ => $cluster.signal($member, "STOP"),
        }
        until($began + $fault.end()).await;
        if $fault.kind == Kind::Stop {
            $cluster.signal($member, "CONT");
            $cluster.until_online($member).await;
        } else {
            $cluster.restart($member).await;
        }
    }};
}

/// Restarts all members of a cluster, one after the other.
macro_rules! roll {
    ($cluster:ident) => {
        for member in 0..$cluster.ports().len() {
            $cluster.terminate(member).await;
            $cluster.restart(member).await;
        }
    };
}

pub(crate) enum Database {
    Single(Flavour, Box<PrivateMysql>),
    /// Group Replication with a single primary. Every role lists all members in `DATABASE_URL`.
    Group(MysqlGroup),
    /// Galera. The roles list the nodes in different orders, so that they use different nodes.
    Galera(GaleraCluster),
    /// A primary with semi-synchronous replicas, and a tool that switches. Every role lists all servers.
    Replicas(MysqlReplicas),
}

/// Returns the URL of the database on the servers at these ports.
pub(super) fn url(ports: &[u16]) -> String {
    let servers: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("mysql://root@{}/{NAME}", servers.join(","))
}

impl Database {
    /// Starts the database that `CHAOS_WORLD` and `CHAOS_DATABASE` name. The default is one server, of the
    /// first installed flavour.
    pub(crate) async fn start() -> Self {
        let world = std::env::var("CHAOS_WORLD").unwrap_or_else(|_| "single".to_owned());
        match world.as_str() {
            "group-replication" => return Self::Group(MysqlGroup::start().await),
            "galera" => return Self::Galera(GaleraCluster::start().await),
            "several-hosts" => return Self::Replicas(MysqlReplicas::start().await),
            // These have one database server.
            "single" | "sentinel" => {}
            _ => panic!("CHAOS_WORLD must be single, group-replication, galera, several-hosts or sentinel"),
        }
        let flavour = flavour();
        Self::Single(flavour, Box::new(PrivateMysql::start(flavour).await))
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Single(flavour, _) => flavour.name().to_owned(),
            Self::Group(_) => "MySQL Group Replication".to_owned(),
            Self::Galera(_) => "MariaDB Galera".to_owned(),
            Self::Replicas(_) => "MySQL with replicas".to_owned(),
        }
    }

    /// Returns the kinds of faults to which this database can be exposed.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        let mut kinds = Kind::ALL.to_vec();
        if !matches!(self, Self::Single(..)) {
            kinds.extend([Kind::Switch, Kind::Roll]);
        }
        kinds
    }

    pub(crate) fn ports(&self) -> Vec<u16> {
        match self {
            Self::Single(_, server) => vec![super::port_of(&server.server().url)],
            Self::Group(group) => group.ports(),
            Self::Galera(cluster) => cluster.ports(),
            Self::Replicas(replicas) => replicas.ports(),
        }
    }

    /// Returns the ports in the order in which the role with this number lists them.
    pub(super) fn ports_for(&self, role: usize) -> Vec<u16> {
        let mut ports = self.ports();
        if matches!(self, Self::Galera(_)) {
            let first = role % ports.len();
            ports.rotate_left(first);
        }
        ports
    }

    /// Returns the URL of the database on the server that accepts writes.
    pub(super) async fn writable(&self) -> String {
        let server = match self {
            Self::Single(_, server) => &server.server().url,
            Self::Group(group) => group.url(group.primary().await),
            Self::Galera(cluster) => cluster.url(cluster.complete_node().await),
            Self::Replicas(replicas) => replicas.url(replicas.primary()),
        };
        format!("{server}/{NAME}")
    }

    /// Injects the planned faults.
    pub(super) async fn suffer(&mut self, began: Instant, faults: Vec<Fault>) {
        match self {
            Self::Single(_, server) => suffer_mysql(server, began, faults).await,
            Self::Group(group) => suffer_group(group, began, faults).await,
            Self::Galera(cluster) => suffer_galera(cluster, began, faults).await,
            Self::Replicas(replicas) => suffer_replicas(replicas, began, faults).await,
        }
    }
}

/// Injects the planned faults into the primary, and every third fault into another member. Each fault waits
/// until all members are online again, because two members must always agree.
async fn suffer_group(group: &mut MysqlGroup, began: Instant, faults: Vec<Fault>) {
    for (number, fault) in faults.into_iter().enumerate() {
        until(began + fault.at).await;
        let primary = group.primary().await;
        let other = (primary + 1 + number % 2) % group.ports().len();
        let member = if number % 3 == 2 { other } else { primary };
        match fault.kind {
            Kind::Switch => {
                // A transaction that takes long can make the switch fail. The primary then stays.
                if let Err(error) = group.switch_to(other).await {
                    println!("the switch failed: {error}");
                }
            }
            Kind::Roll => roll!(group),
            _ => suffer_member!(group, member, fault, began),
        }
    }
}

/// Injects the planned faults into each node in turn. Each fault waits until all nodes are in the cluster
/// again, because two nodes must always agree.
async fn suffer_galera(cluster: &mut GaleraCluster, began: Instant, faults: Vec<Fault>) {
    for (number, fault) in faults.into_iter().enumerate() {
        until(began + fault.at).await;
        let node = number % cluster.ports().len();
        match fault.kind {
            Kind::Switch => {
                if let Err(error) = cluster.drain(node).await {
                    println!("the node could not be drained: {error}");
                }
            }
            Kind::Roll => roll!(cluster),
            _ => suffer_member!(cluster, node, fault, began),
        }
    }
}

/// Injects the planned faults into the primary, and every third fault into a replica. When the primary is
/// killed or stopped with SIGTERM, a replica is promoted at once. A primary that hangs stays the primary,
/// because it cannot be made read-only first. Each fault waits until all servers run again, because the
/// primary needs a replica.
async fn suffer_replicas(replicas: &mut MysqlReplicas, began: Instant, faults: Vec<Fault>) {
    for (number, fault) in faults.into_iter().enumerate() {
        until(began + fault.at).await;
        let primary = replicas.primary();
        let other = (primary + 1 + number % 2) % replicas.ports().len();
        let server = if number % 3 == 2 { other } else { primary };
        match fault.kind {
            Kind::Switch => replicas.switch_to(other).await,
            Kind::Roll => {
                for server in 0..replicas.ports().len() {
                    if server == replicas.primary() {
                        replicas.switch_to((server + 1) % replicas.ports().len()).await;
                    }
                    replicas.terminate(server).await;
                    replicas.restart(server).await;
                }
            }
            Kind::Kill | Kind::Terminate if server == primary => {
                if fault.kind == Kind::Kill {
                    replicas.kill(server).await;
                } else {
                    replicas.terminate(server).await;
                }
                replicas.fail_over().await;
                until(began + fault.end()).await;
                replicas.restart(server).await;
            }
            _ => suffer_member!(replicas, server, fault, began),
        }
    }
}

/// Returns the flavour named by `CHAOS_DATABASE`, or the first installed one by default.
fn flavour() -> Flavour {
    let mut installed = installed_flavours().into_iter();
    let named = std::env::var("CHAOS_DATABASE").ok();
    installed
        .find(|flavour| named.as_ref().is_none_or(|name| name == flavour.name()))
        .expect("CHAOS_DATABASE names a server that is installed")
}
