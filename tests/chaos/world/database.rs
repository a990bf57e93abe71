//! The database of a world: one server, or a group of servers.

use std::time::Instant;

use testkit::{Flavour, MysqlGroup, PrivateMysql, installed_flavours};

use super::{suffer_mysql, until};
use crate::plan::{Fault, Kind};

const NAME: &str = "chaos";

pub(crate) enum Database {
    Single(Flavour, Box<PrivateMysql>),
    /// Group Replication with a single primary. Every role lists all members in `DATABASE_URL`.
    Group(MysqlGroup),
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
        if world == "group-replication" {
            return Self::Group(MysqlGroup::start().await);
        }
        assert_eq!(world, "single", "CHAOS_WORLD must be single or group-replication");
        let flavour = flavour();
        Self::Single(flavour, Box::new(PrivateMysql::start(flavour).await))
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Single(flavour, _) => flavour.name().to_owned(),
            Self::Group(_) => "MySQL Group Replication".to_owned(),
        }
    }

    /// Returns the kinds of faults to which this database can be exposed.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        let mut kinds = Kind::ALL.to_vec();
        if matches!(self, Self::Group(_)) {
            kinds.push(Kind::Switch);
        }
        kinds
    }

    pub(crate) fn ports(&self) -> Vec<u16> {
        match self {
            Self::Single(_, server) => vec![super::port_of(&server.server().url)],
            Self::Group(group) => group.ports(),
        }
    }

    /// Returns the URL of the database on the server that accepts writes.
    pub(super) async fn writable(&self) -> String {
        let server = match self {
            Self::Single(_, server) => &server.server().url,
            Self::Group(group) => group.url(group.primary().await),
        };
        format!("{server}/{NAME}")
    }

    /// Injects the planned faults.
    pub(super) async fn suffer(&mut self, began: Instant, faults: Vec<Fault>) {
        match self {
            Self::Single(_, server) => suffer_mysql(server, began, faults).await,
            Self::Group(group) => suffer_group(group, began, faults).await,
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
            Kind::Kill => group.kill(member).await,
            Kind::Terminate => group.terminate(member).await,
            Kind::Switch => {
                // A transaction that takes long can make the switch fail. The primary then stays.
                if let Err(error) = group.switch_to(other).await {
                    println!("the switch failed: {error}");
                }
                continue;
            }
            _ => group.signal(member, "STOP"),
        }
        until(began + fault.end()).await;
        if fault.kind == Kind::Stop {
            group.signal(member, "CONT");
            group.until_online(member).await;
        } else {
            group.restart(member).await;
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
