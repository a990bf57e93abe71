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

/// Galera: reads, and updates, deletions and inserts, wait for the earlier transactions of all nodes (bits 1,
/// 2 and 4). A transaction waits once, when it begins.
const GALERA: &str = "SET SESSION wsrep_sync_wait = 7";
/// Group Replication with a single primary: a new primary first applies what its predecessor has
/// acknowledged.
const SINGLE_PRIMARY: &str = "SET SESSION group_replication_consistency = 'BEFORE_ON_PRIMARY_FAILOVER'";
/// Group Replication with several primaries: every transaction waits for the earlier transactions of all
/// members.
const MULTI_PRIMARY: &str = "SET SESSION group_replication_consistency = 'BEFORE'";

/// Returns the statement that makes a session consistent, from the rows of [`ASK`]; `None` without a cluster.
pub(super) fn consistent(rows: &[MySqlRow]) -> sqlx::Result<Option<&'static str>> {
    let mut statement = None;
    for row in rows {
        let (name, value): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        statement = setting(&name, &value).or(statement);
    }
    Ok(statement)
}

fn setting(name: &str, value: &str) -> Option<&'static str> {
    let on = value.eq_ignore_ascii_case("ON") || value == "1";
    match name {
        "wsrep_on" if on => Some(GALERA),
        "group_replication_single_primary_mode" if on => Some(SINGLE_PRIMARY),
        "group_replication_single_primary_mode" => Some(MULTI_PRIMARY),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_member_of_a_cluster_waits_for_other_members() {
        assert_eq!(setting("wsrep_on", "OFF"), None);
        assert_eq!(setting("wsrep_on", "ON"), Some(GALERA));
        assert_eq!(
            setting("group_replication_single_primary_mode", "ON"),
            Some(SINGLE_PRIMARY)
        );
        assert_eq!(
            setting("group_replication_single_primary_mode", "OFF"),
            Some(MULTI_PRIMARY)
        );
    }
}
