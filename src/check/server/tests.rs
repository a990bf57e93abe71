use super::*;
use crate::check::Level;

fn facts(variables: &[(&str, &str)]) -> ServerFacts {
    let sound = [
        ("innodb_flush_log_at_trx_commit", "1"),
        ("log_bin", "ON"),
        ("sync_binlog", "1"),
        ("binlog_format", "ROW"),
        ("innodb_doublewrite", "ON"),
        ("max_allowed_packet", "67108864"),
    ];
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    ServerFacts {
        version: "8.4.3".to_owned(),
        accepts_writes: true,
        cipher: Some("TLS_AES_128_GCM_SHA256".to_owned()),
        clock_error: 500,
        grants: vec![
            "GRANT USAGE ON *.* TO `a`@`%`".to_owned(),
            "GRANT SELECT ON `p`.`events` TO `a`@`%`".to_owned(),
        ],
        variables: sound.iter().chain(variables).map(owned).collect(),
        ..ServerFacts::default()
    }
}

/// Returns the findings other than `ok`, each as its level and message.
fn problems(facts: &ServerFacts, is_one_of_several: bool) -> Vec<(Level, String)> {
    let findings = judge("database", facts, is_one_of_several, false).into_iter();
    let problems = findings.filter(|finding| finding.level != Level::Ok);
    let problems = problems.inspect(|finding| assert!(finding.advice.is_some(), "{finding:?}"));
    problems.map(|finding| (finding.level, finding.message)).collect()
}

fn only_problem(facts: &ServerFacts, is_one_of_several: bool) -> (Level, String) {
    let mut problems = problems(facts, is_one_of_several);
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

#[test]
fn a_sound_server_has_no_problem() {
    assert_eq!(problems(&facts(&[]), false), []);
}

#[test]
fn what_can_lose_acknowledged_writes_is_an_error() {
    for (variable, value) in [("innodb_flush_log_at_trx_commit", "2"), ("sync_binlog", "0")] {
        let (level, message) = only_problem(&facts(&[(variable, value)]), false);
        assert!(level == Level::Error && message.contains(variable), "{message}");
    }
    let (level, message) = only_problem(&facts(&[]), true);
    assert!(
        level == Level::Error && message.contains("asynchronous"),
        "{message}"
    );
    let semi = [
        ("rpl_semi_sync_source_enabled", "ON"),
        ("rpl_semi_sync_source_status", "ON"),
    ];
    let after_commit = [
        semi[0],
        semi[1],
        ("rpl_semi_sync_source_wait_point", "AFTER_COMMIT"),
    ];
    assert_eq!(only_problem(&facts(&after_commit), true).0, Level::Error);
    let fallen_back = [semi[0], ("rpl_semi_sync_source_wait_point", "AFTER_SYNC")];
    assert!(only_problem(&facts(&fallen_back), true).1.contains("fallen back"));
    let sound = [
        semi[0],
        semi[1],
        ("rpl_semi_sync_source_wait_point", "AFTER_SYNC"),
    ];
    assert_eq!(problems(&facts(&sound), true), []);
    let impatient = [
        sound[0],
        sound[1],
        sound[2],
        ("rpl_semi_sync_source_timeout", "10000"),
    ];
    assert_eq!(only_problem(&facts(&impatient), true).0, Level::Warning);
}

#[test]
fn versions_are_compared_as_numbers() {
    for (version, is_new_enough) in [
        ("8.0.45", false),
        ("8.4.0", true),
        ("9.7.4", true),
        ("10.5.29-MariaDB", false),
        ("10.6.1-MariaDB-log", true),
        ("11.4.2-MariaDB", true),
        ("", false),
    ] {
        let found = ServerFacts {
            version: version.to_owned(),
            ..facts(&[])
        };
        assert_eq!(problems(&found, false).is_empty(), is_new_enough, "{version}");
    }
}

#[test]
fn a_distance_of_clocks_counts_beyond_the_error_of_its_measurement() {
    let at = |clock_ahead, clock_error| ServerFacts {
        clock_ahead,
        clock_error,
        ..facts(&[])
    };
    assert_eq!(problems(&at(1_500_000, 600_000), false), []);
    let (level, message) = only_problem(&at(-1_500_000, 500), false);
    assert_eq!(
        (level, message.as_str()),
        (
            Level::Warning,
            "its clock is 1.5 s behind the clock of this machine"
        )
    );
    assert_eq!(only_problem(&at(61_000_000, 500), false).0, Level::Error);
    assert_eq!(only_problem(&at(i64::MIN, 500), false).0, Level::Error);
}

#[test]
fn privileges_on_the_whole_server_are_too_many() {
    for (grant, is_too_much) in [
        (
            "GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION",
            true,
        ),
        ("GRANT SUPER ON *.* TO `a`@`%`", true),
        ("GRANT USAGE ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD", false),
        ("GRANT ALL PRIVILEGES ON `patients`.* TO `a`@`%`", false),
    ] {
        let found = ServerFacts {
            grants: vec![grant.to_owned()],
            ..facts(&[])
        };
        assert_eq!(!problems(&found, false).is_empty(), is_too_much, "{grant}");
    }
}

#[test]
fn a_cluster_is_judged_by_its_own_variables() {
    let galera = |variables: &[_]| ServerFacts {
        cluster: Some("Galera"),
        ..facts(variables)
    };
    let sound = [
        ("wsrep_cluster_size", "3"),
        ("wsrep_cluster_status", "Primary"),
        ("sync_binlog", "0"),
    ];
    assert_eq!(problems(&galera(&sound), true), []);
    assert_eq!(
        only_problem(&galera(&[sound[1], ("wsrep_cluster_size", "2")]), true).0,
        Level::Warning
    );
    assert_eq!(only_problem(&galera(&sound[..1]), true).0, Level::Error);
    let group = ServerFacts {
        cluster: Some("Group Replication with a single primary"),
        ..facts(&[
            ("group_replication_unreachable_majority_timeout", "0"),
            ("group_replication_start_on_boot", "ON"),
        ])
    };
    assert_eq!(only_problem(&group, true).0, Level::Warning);
}
