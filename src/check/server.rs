//! Checks the version, the settings and the replication of a MySQL or MariaDB server.

use eventstore::ServerFacts;

use super::Finding;

/// Smallest `max_allowed_packet` with which exports and rebuilds are fast, in bytes.
const PACKET: u64 = 16 * 1024 * 1024;
/// Difference between two clocks, in microseconds, from which the check warns.
const CLOCKS_DIFFER: i64 = 1_000_000;
/// Difference between two clocks, in microseconds, from which the check fails. Appends are rejected if the
/// clocks differ by more than five minutes.
const CLOCKS_CONFLICT: i64 = 60_000_000;
/// Minimum timeout, in milliseconds, that is longer than any outage of a replica: a day.
const LONG_TIMEOUT: u64 = 24 * 60 * 60 * 1000;
/// Smallest number of members with which a cluster survives the loss of one.
const MEMBERS: u64 = 3;

/// Checks a server. `is_one_of_several` means that the URL lists several servers, and `is_local` that the
/// connection does not leave the machine.
pub(super) fn judge(
    subject: &str,
    facts: &ServerFacts,
    is_one_of_several: bool,
    is_local: bool,
) -> Vec<Finding> {
    let mut findings = vec![version(subject, facts)];
    let checks = [
        durability(subject, facts),
        replication(subject, facts, is_one_of_several),
        packet(subject, facts),
        clock(subject, facts),
        encryption(subject, facts, is_local),
        privileges(subject, facts),
    ];
    findings.extend(checks.into_iter().flatten());
    findings
}

/// Checks a server of a replica, which is used only for reads.
pub(super) fn judge_replica(subject: &str, facts: &ServerFacts, is_local: bool) -> Vec<Finding> {
    let mut findings = vec![version(subject, facts)];
    findings.extend(clock(subject, facts));
    findings.extend(encryption(subject, facts, is_local));
    findings
}

fn value<'f>(facts: &'f ServerFacts, name: &str) -> &'f str {
    facts.variables.get(name).map_or("", String::as_str)
}

fn is_on(facts: &ServerFacts, name: &str) -> bool {
    matches!(value(facts, name), "ON" | "1" | "YES")
}

fn version(subject: &str, facts: &ServerFacts) -> Finding {
    let is_mariadb = facts.version.contains("MariaDB");
    let mut parts = facts
        .version
        .split(['.', '-'])
        .map(|part| part.parse().unwrap_or(0));
    let found: (u32, u32) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let name = if is_mariadb { "MariaDB" } else { "MySQL" };
    let accepts = if facts.accepts_writes {
        "accepts writes"
    } else {
        "is read-only"
    };
    let message = format!("{name} {}, {accepts}", facts.version.replace("-MariaDB", ""));
    if found < if is_mariadb { (10, 6) } else { (8, 4) } {
        Finding::error(subject, message).advise("use MySQL 8.4 or later, or MariaDB 10.6 or later")
    } else {
        Finding::ok(subject, message)
    }
}

fn durability(subject: &str, facts: &ServerFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let flush = value(facts, "innodb_flush_log_at_trx_commit");
    if flush != "1" {
        findings.push(
            Finding::error(
                subject,
                format!(
                    "innodb_flush_log_at_trx_commit is {flush}: a power failure loses acknowledged writes"
                ),
            )
            .advise("set innodb_flush_log_at_trx_commit = 1"),
        );
    }
    let has_binlog = is_on(facts, "log_bin");
    let sync = value(facts, "sync_binlog");
    // Recovery rolls back a transaction that is prepared but not in the binary log. Galera does not need the
    // binary log.
    if has_binlog && sync != "1" && facts.cluster != Some("Galera") {
        findings.push(
            Finding::error(subject, format!("sync_binlog is {sync}: a power failure loses acknowledged writes, or loses them on replicas"))
                .advise("set sync_binlog = 1"),
        );
    }
    let format = value(facts, "binlog_format");
    if has_binlog && !matches!(format, "ROW" | "") {
        findings.push(
            Finding::warning(
                subject,
                format!("binlog_format is {format}: replicas can differ from this server"),
            )
            .advise("set binlog_format = ROW"),
        );
    }
    if !matches!(value(facts, "innodb_doublewrite"), "ON" | "1" | "") {
        findings.push(
            Finding::warning(
                subject,
                "innodb_doublewrite is off: a power failure can damage pages",
            )
            .advise("set innodb_doublewrite = ON, unless the file system writes 16 KiB atomically"),
        );
    }
    if findings.is_empty() {
        findings.push(Finding::ok(subject, "an acknowledged write is on the disk"));
    }
    findings
}

fn replication(subject: &str, facts: &ServerFacts, is_one_of_several: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    match facts.cluster {
        Some(name @ "Galera") => {
            let size = value(facts, "wsrep_cluster_size").parse().unwrap_or(0);
            findings.push(members(subject, name, size));
            if value(facts, "wsrep_cluster_status") != "Primary" {
                findings.push(
                    Finding::error(subject, "this node does not belong to the primary component")
                        .advise("restore the connection of the node to the other nodes"),
                );
            }
        }
        Some(name) => {
            findings.push(Finding::ok(subject, format!("is configured for {name}")));
            if !is_on(facts, "group_replication_start_on_boot") {
                findings.push(
                    Finding::warning(
                        subject,
                        "group_replication_start_on_boot is off: after a restart, this server can accept writes without the group",
                    )
                    .advise("set super_read_only = ON in its configuration file, and group_replication_start_on_boot = ON"),
                );
            }
            if value(facts, "group_replication_unreachable_majority_timeout") == "0" {
                findings.push(
                    Finding::warning(
                        subject,
                        "a primary that has lost the majority still answers reads until its connections end",
                    )
                    .advise("set group_replication_unreachable_majority_timeout to some seconds"),
                );
            }
            if name.ends_with("several primaries") {
                findings.push(
                    Finding::warning(subject, "the service is not tested with several primaries")
                        .advise("set group_replication_single_primary_mode = ON"),
                );
            }
        }
        None if is_one_of_several => findings.extend(semi_synchronous(subject, facts)),
        None => {}
    }
    findings
}

fn members(subject: &str, name: &str, size: u64) -> Finding {
    let message = format!("{name}, {size} members");
    if size < MEMBERS {
        Finding::warning(subject, message)
            .advise("with fewer than three members, the loss of one stops the service")
    } else {
        Finding::ok(subject, message)
    }
}

/// Checks replication from a primary to replicas. Its variables have other names on older servers.
fn semi_synchronous(subject: &str, facts: &ServerFacts) -> Vec<Finding> {
    let either = |one: &str, other: &str| is_on(facts, one) || is_on(facts, other);
    if !facts.accepts_writes {
        return Vec::new();
    }
    if !either("rpl_semi_sync_source_enabled", "rpl_semi_sync_master_enabled") {
        return vec![
            Finding::error(
                subject,
                "replication is asynchronous: a failover can lose acknowledged writes, and verification cannot detect it",
            )
            .advise("use semi-synchronous replication, Group Replication or Galera"),
        ];
    }
    let points = [
        "rpl_semi_sync_source_wait_point",
        "rpl_semi_sync_master_wait_point",
    ];
    if !points.iter().any(|point| value(facts, point) == "AFTER_SYNC") {
        return vec![
            Finding::error(
                subject,
                "semi-synchronous replication waits after the commit: a failover can undo writes that were already read",
            )
            .advise("set rpl_semi_sync_source_wait_point = AFTER_SYNC"),
        ];
    }
    if !either("rpl_semi_sync_source_status", "rpl_semi_sync_master_status") {
        return vec![
            Finding::error(subject, "semi-synchronous replication has fallen back to asynchronous replication")
                .advise("connect a semi-synchronous replica, and set rpl_semi_sync_source_timeout to a very long time"),
        ];
    }
    let timeouts = ["rpl_semi_sync_source_timeout", "rpl_semi_sync_master_timeout"];
    let timeout = timeouts
        .iter()
        .find_map(|name| value(facts, name).parse::<u64>().ok());
    if timeout.is_some_and(|timeout| timeout < LONG_TIMEOUT) {
        return vec![
            Finding::warning(
                subject,
                "semi-synchronous replication becomes asynchronous when no replica answers in time",
            )
            .advise("set rpl_semi_sync_source_timeout to a very long time, such as 4294967295"),
        ];
    }
    vec![Finding::ok(subject, "semi-synchronous replication, AFTER_SYNC")]
}

fn packet(subject: &str, facts: &ServerFacts) -> Vec<Finding> {
    match value(facts, "max_allowed_packet").parse::<u64>() {
        Ok(size) if size < PACKET => vec![
            Finding::warning(
                subject,
                format!("max_allowed_packet is {size} bytes: rebuilds are slower than they could be"),
            )
            .advise("set max_allowed_packet = 16777216"),
        ],
        _ => Vec::new(),
    }
}

fn clock(subject: &str, facts: &ServerFacts) -> Vec<Finding> {
    let distance = facts
        .clock_ahead
        .saturating_abs()
        .saturating_sub(facts.clock_error);
    let tenths = facts.clock_ahead.saturating_abs() / 100_000;
    let direction = if facts.clock_ahead > 0 {
        "ahead of"
    } else {
        "behind"
    };
    let message = format!(
        "its clock is {}.{} s {direction} the clock of this machine",
        tenths / 10,
        tenths % 10
    );
    let advice = "synchronize the clocks, for example with chrony";
    match distance {
        CLOCKS_CONFLICT.. => vec![Finding::error(subject, message).advise(advice)],
        CLOCKS_DIFFER.. => vec![Finding::warning(subject, message).advise(advice)],
        _ => vec![Finding::ok(
            subject,
            "its clock agrees with the clock of this machine",
        )],
    }
}

fn encryption(subject: &str, facts: &ServerFacts, is_local: bool) -> Vec<Finding> {
    match &facts.cipher {
        Some(cipher) => vec![Finding::ok(
            subject,
            format!("the connection is encrypted ({cipher})"),
        )],
        None if is_local => Vec::new(),
        None => vec![
            Finding::warning(subject, "the connection is not encrypted")
                .advise("set ssl-mode=VERIFY_IDENTITY in the URL: docs/operations.md, The database URL"),
        ],
    }
}

fn privileges(subject: &str, facts: &ServerFacts) -> Vec<Finding> {
    let is_for_all = |grant: &&String| grant.contains(" ON *.* ") && !grant.starts_with("GRANT USAGE ON");
    if facts.grants.iter().any(|grant| is_for_all(&grant)) {
        return vec![
            Finding::warning(subject, "the user has privileges on the whole server")
                .advise("give each role its own user: migrations/users/create.sql and grant.sql"),
        ];
    }
    vec![Finding::ok(
        subject,
        "the user has privileges on some databases only",
    )]
}

#[cfg(test)]
mod tests;
