//! Session settings for servers that are members of a cluster.
//!
//! A member may lag: it accepts a transaction of another member before it applies it. A session can ask its
//! server to apply all earlier transactions first, so that it reads every commit that was ever acknowledged.

use sqlx::Row as _;
use sqlx::mysql::MySqlRow;

/// Returns a row (name, value) for each variable that shows a cluster. Unlike `SELECT @@…`, the statement
/// accepts variables that the server does not have.
pub(super) const ASK: &str =
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('wsrep_on', 'group_replication_single_primary_mode')";

/// The kind of cluster to which a server belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cluster {
    Galera,
    /// Group Replication with a single primary.
    SinglePrimary,
    /// Group Replication with several primaries.
    MultiPrimary,
}

/// Galera: reads, and updates, deletions and inserts, wait for the earlier transactions of all nodes (bits 1,
/// 2 and 4). A transaction waits once, when it begins. The server must not retry a statement by itself,
/// because it could run outside the transaction that was aborted.
const GALERA: &str = "SET SESSION wsrep_sync_wait = 7, wsrep_retry_autocommit = 0";
/// Group Replication with a single primary: a new primary first applies what its predecessor has
/// acknowledged.
const SINGLE_PRIMARY: &str = "SET SESSION group_replication_consistency = 'BEFORE_ON_PRIMARY_FAILOVER'";
/// Group Replication with several primaries: every transaction waits for the earlier transactions of all
/// members.
const MULTI_PRIMARY: &str = "SET SESSION group_replication_consistency = 'BEFORE'";

impl Cluster {
    /// Returns the cluster from the rows of [`ASK`]; `None` if the server belongs to no cluster.
    pub(super) fn of(rows: &[MySqlRow]) -> sqlx::Result<Option<Self>> {
        let mut cluster = None;
        for row in rows {
            let (name, value): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            cluster = Self::from_variable(&name, &value).or(cluster);
        }
        Ok(cluster)
    }

    fn from_variable(name: &str, value: &str) -> Option<Self> {
        let on = value.eq_ignore_ascii_case("ON") || value == "1";
        match name {
            "wsrep_on" if on => Some(Self::Galera),
            "group_replication_single_primary_mode" if on => Some(Self::SinglePrimary),
            "group_replication_single_primary_mode" => Some(Self::MultiPrimary),
            _ => None,
        }
    }

    /// Returns the statement after which a session reads every acknowledged commit.
    pub(super) const fn consistent(self) -> &'static str {
        match self {
            Self::Galera => GALERA,
            Self::SinglePrimary => SINGLE_PRIMARY,
            Self::MultiPrimary => MULTI_PRIMARY,
        }
    }

    /// Returns the name for operators.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Galera => "Galera",
            Self::SinglePrimary => "Group Replication with a single primary",
            Self::MultiPrimary => "Group Replication with several primaries",
        }
    }

    /// Whether each statement must be sent alone. When a transaction of another Galera node aborts a
    /// transaction between two statements of one text, MariaDB (10.11) does not report the abort: it runs the
    /// other statements outside the transaction.
    pub(super) const fn needs_single_statements(self) -> bool {
        matches!(self, Self::Galera)
    }

    /// Whether several members accept writes at the same time.
    pub(super) const fn several_accept_writes(self) -> bool {
        matches!(self, Self::Galera | Self::MultiPrimary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_member_of_a_cluster_waits_for_other_members() {
        let single_primary = "group_replication_single_primary_mode";
        for (name, value, cluster) in [
            ("wsrep_on", "OFF", None),
            ("wsrep_on", "ON", Some(Cluster::Galera)),
            (single_primary, "ON", Some(Cluster::SinglePrimary)),
            (single_primary, "OFF", Some(Cluster::MultiPrimary)),
        ] {
            assert_eq!(Cluster::from_variable(name, value), cluster);
        }
    }
}
