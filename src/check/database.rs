//! Checks the database, its schema, and the keyring.

use eventstore::{Database, LogFormat};

use super::{Finding, Group, server};
use crate::database::{self, Target};
use crate::keys_database::Opener;
use crate::output;
use crate::replica;
use crate::sealing;
use crate::settings::Settings;

/// Returns the checks of the servers of all databases, and of the log with its keyring.
pub(super) fn groups(settings: &Settings) -> Vec<Group<'_>> {
    let targets = [Some(Target::log(settings)), Target::keys(settings)];
    let targets = targets.into_iter().flatten();
    let mut groups: Vec<_> = targets
        .map(|target| Group::new(target.setting, servers(target)))
        .collect();
    if let Some(target) = Target::replica(settings) {
        groups.push(Group::new(target.setting, replicas(target)));
    }
    groups.push(Group::new("schema", log(settings)));
    groups
}

/// Checks the servers of the replica.
async fn replicas(target: Target<'_>) -> Vec<Finding> {
    let setting = target.setting;
    let servers = match Database::inspect(target.url).await {
        Ok(servers) => servers,
        Err(error) => return vec![Finding::error(setting, error.to_string()).advise("correct the URL")],
    };
    let is_socket = target.url.contains("socket=");
    let judged = servers.into_iter().flat_map(|(address, answer)| {
        let subject = format!("{setting} {address}");
        match answer {
            Ok(facts) => server::judge_replica(&subject, &facts, is_socket || is_loopback(&address)),
            Err(error) => vec![no_answer(&subject, &error)],
        }
    });
    judged.collect()
}

fn no_answer(subject: &str, error: &eventstore::Error) -> Finding {
    Finding::error(subject, error.to_string())
        .advise("start the server, or correct its address, the user, the password or the certificate")
}

async fn servers(target: Target<'_>) -> Vec<Finding> {
    let setting = target.setting;
    if let Some(file) = database::sqlite_file(target.url) {
        return vec![Finding::ok(setting, format!("the SQLite file {file}"))];
    }
    let servers = match Database::inspect(target.url).await {
        Ok(servers) => servers,
        Err(error) => return vec![Finding::error(setting, error.to_string()).advise("correct the URL")],
    };
    let mut findings = Vec::new();
    let (several, mut writable, mut is_alone) = (servers.len() > 1, 0, false);
    let is_socket = target.url.contains("socket=");
    for (address, answer) in servers {
        let subject = format!("{setting} {address}");
        match answer {
            Ok(facts) => {
                if facts.accepts_writes {
                    writable += 1;
                    is_alone |= !facts.several_accept_writes;
                }
                let is_local = is_socket || is_loopback(&address);
                findings.extend(server::judge(&subject, &facts, several, is_local));
            }
            Err(error) => findings.push(no_answer(&subject, &error)),
        }
    }
    if writable == 0 {
        findings
            .push(Finding::error(setting, "no server accepts writes").advise("make the primary writable"));
    }
    if writable > 1 && is_alone {
        findings.push(
            Finding::error(
                setting,
                "several servers accept writes, but they do not form a multi-primary cluster",
            )
            .advise("set read_only on every server except the primary"),
        );
    }
    findings
}

fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let ip = host.parse::<std::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

/// Opens the log, and checks its schema and its keyring.
async fn log(settings: &Settings) -> Vec<Finding> {
    let database = match database::open_existing(settings, 1).await {
        Ok(database) => database,
        Err(error) => {
            let finding = Finding::error("schema", output::causes(&error));
            // The errors of a missing database and of an old schema name the command.
            let is_of_the_schema = finding.message.contains("patients migrate");
            return vec![finding.advise(if is_of_the_schema {
                "run `patients migrate`"
            } else {
                "correct the problems of the database first"
            })];
        }
    };
    let mut findings = vec![Finding::ok("schema", "up to date")];
    findings.push(match LogFormat::read(&database).await {
        Ok(LogFormat::Clear) => {
            Finding::warning("keyring", "the log is unencrypted, so patients cannot be erased")
                .advise("run `patients log upgrade`: docs/operations.md, Sealing an older log")
        }
        _ => match sealing::open(settings, &database, Opener::Command).await {
            Ok(_) => Finding::ok("keyring", "opens the log"),
            Err(error) => Finding::error("keyring", output::causes(&error)).advise(
                "set KEYRING_FILE to the keyring of this log, and KEYS_DATABASE_URL as the log requires",
            ),
        },
    });
    if let Some(Target { setting, .. }) = Target::replica(settings) {
        findings.push(match replica::lag(settings, &database).await {
            Ok(events) => Finding::ok(setting, format!("has the same log, and lags by {events} events")),
            Err(error) => Finding::error(setting, output::causes(&error))
                .advise("correct the URL, or repair the replication"),
        });
    }
    database.close().await;
    findings
}
