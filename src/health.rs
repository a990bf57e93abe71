//! `patients health`: the health check for containers and service managers.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use eventstore::projection::ActiveGeneration;
use eventstore::{Clock, Database, Error, Rebuild, SubscriptionStatus, SystemClock, Timestamp};
use mailer::{Ledger, ServerState, WorkerStatus};
use serde_json::json;

use crate::database;
use crate::output;
use crate::settings::Settings;

/// Timeout for the response of a role or its database.
const PATIENCE: Duration = Duration::from_secs(4);
/// Maximum time for which the first unprocessed event of a healthy subscription has waited.
const LARGEST_LAG: Duration = Duration::from_secs(30);

/// Maximum time that an email may be due while no mailer can send.
const LONGEST_DUE: Duration = Duration::from_mins(5);
/// Maximum time that an email may be due while a mailer can send. Even a slow mail server accepts all earlier
/// emails in less time.
const LONGEST_DUE_IF_READY: Duration = Duration::from_mins(30);

/// A role to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckedRole {
    /// The HTTP API
    Api,
    /// The projector
    Projector,
    /// The mailer
    Mailer,
}

/// Fails unless the role is healthy.
pub(crate) async fn check(settings: &Settings, role: CheckedRole, json: bool) -> anyhow::Result<()> {
    // The wait for the database connection, plus the time for its responses.
    let patience = settings.wait + PATIENCE;
    let checked = async {
        match role {
            CheckedRole::Api => api(settings).await,
            CheckedRole::Projector => projector(settings).await,
            CheckedRole::Mailer => mailer(settings).await,
        }
    };
    let checked = tokio::time::timeout(patience, checked)
        .await
        .unwrap_or_else(|_| bail!("no response within {patience:?}"));
    if json {
        output::print_json(&json!({
            "role": role.to_possible_value().map(|role| role.get_name().to_owned()),
            "healthy": checked.is_ok(),
            "reason": checked.as_ref().err().map(output::causes),
        }))?;
    }
    checked
}

async fn api(settings: &Settings) -> anyhow::Result<()> {
    let mut address = settings.http_addr;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    // The request must not go through a proxy. The certificate is issued for the name of the
    // service, not for the address used here. Nothing secret is sent, and a forged response could only
    // falsify a health check.
    let client = crate::http::client()
        .no_proxy()
        .danger_accept_invalid_certs(true)
        .build()?;
    let scheme = if settings.tls_cert_file().is_some() {
        "https"
    } else {
        "http"
    };
    let url = format!("{scheme}://{address}/health/ready");
    let answer = client
        .get(&url)
        .timeout(settings.wait.max(PATIENCE))
        .send()
        .await
        .map_err(reqwest::Error::without_url)
        .with_context(|| format!("{url} does not respond"))?;
    let status = answer.status();
    if !status.is_success() {
        bail!(
            "not ready ({status}): {}",
            answer.text().await.unwrap_or_default()
        );
    }
    Ok(())
}

async fn projector(settings: &Settings) -> anyhow::Result<()> {
    let database = database::open_existing(settings, 1).await?;
    let mut followed = Ok(());
    for projection in projector::PROJECTIONS {
        followed = followed.and(subscription(&database, projection.name()).await);
    }
    database.close().await;
    followed
}

/// Checks the mailer. The mailer is unhealthy while a mail server rejects all mail, while a wrong clock has
/// postponed emails, and while the queue does not move. The queue does not move if an email has been due for
/// [`LONGEST_DUE`] and no mailer can send, or for [`LONGEST_DUE_IF_READY`] although a mailer can send. A
/// shorter outage of the mail server does not count, because the mailer waits for the server and a restart
/// would not help.
async fn mailer(settings: &Settings) -> anyhow::Result<()> {
    let database = database::open_existing(settings, 1).await?;
    let followed = subscription(&database, mailer::SUBSCRIPTION).await;
    let state = MailState::of(&database, SystemClock.now()).await;
    database.close().await;
    followed?;
    let state = state.context("the state of mail cannot be read from the database")?;
    state.check(settings.mail.mail_rate.is_some())
}

/// The state of mail that determines the mailer's health.
struct MailState {
    now: Timestamp,
    workers: Vec<WorkerStatus>,
    oldest_due: Option<Timestamp>,
    due_too_late: u64,
}

impl MailState {
    async fn of(database: &Database, now: Timestamp) -> eventstore::Result<Self> {
        let ledger = Ledger::new(database.clone());
        Ok(Self {
            now,
            workers: ledger.workers(now).await?,
            oldest_due: ledger.oldest_due(now).await?,
            due_too_late: ledger.due_too_late(now).await?,
        })
    }

    /// Fails if the mailer is unhealthy. `limited` is true if a setting limits the send rate. Emails may then
    /// be due for a long time.
    fn check(self, limited: bool) -> anyhow::Result<()> {
        let Self {
            now,
            workers,
            oldest_due,
            due_too_late,
        } = self;
        let in_state = |state| workers.iter().find(|worker| worker.state == state);
        if let Some(worker) = in_state(ServerState::Refused) {
            bail!(
                "the mail server ({}) has rejected all mail since {}: {}",
                worker.server,
                worker.since,
                worker.error.as_deref().unwrap_or_default()
            );
        }
        if due_too_late > 0 {
            bail!("{due_too_late} emails are due later than the schedule allows, because a clock was wrong");
        }
        let due = oldest_due.map_or(Duration::ZERO, |oldest| now.since(oldest));
        let shown = humantime::format_duration(Duration::from_secs(due.as_secs()));
        match in_state(ServerState::Ready) {
            None if due > LONGEST_DUE => match in_state(ServerState::Down) {
                Some(worker) => bail!(
                    "no mail is sent: an email has been due for {shown}, and the mail server ({}) has been unavailable since {}: {}",
                    worker.server,
                    worker.since,
                    worker.error.as_deref().unwrap_or_default()
                ),
                None => bail!("no mail is sent: an email has been due for {shown}, and no mailer is running"),
            },
            Some(worker) if due > LONGEST_DUE_IF_READY && !limited && worker.error.is_none() => {
                bail!("the mail queue does not move: an email has been due for {shown}")
            }
            _ => Ok(()),
        }
    }
}

async fn subscription(database: &Database, name: &str) -> anyhow::Result<()> {
    let now = SystemClock.now();
    let status = SubscriptionStatus::of(database, name, now)
        .await
        .context("the subscription cannot be read from the database")?;
    status.check()?;
    let generation = ActiveGeneration::of(&mut database.reader().await?, name).await?;
    match generation.map_or(Ok(0), |generation| generation.check(name)) {
        Err(Error::NotFilled { .. }) => return first_fill(database, name, now).await,
        checked => checked?,
    };
    if status.owner.is_none() {
        bail!("no process owns the subscription {name}");
    }
    if let Some(position) = status.failure.as_ref().and_then(|failure| failure.position) {
        bail!(
            "the subscription {name} has stopped at position {position}; run `patients projection status` for the reason"
        );
    }
    let lag = status.waits(now);
    if lag > LARGEST_LAG {
        bail!(
            "the subscription {name} is {lag:?} behind, at position {} of {}",
            status.position,
            status.head
        );
    }
    Ok(())
}

/// Checks a projection that does not follow the log yet, because its first generation is being filled.
async fn first_fill(database: &Database, name: &str, now: Timestamp) -> anyhow::Result<()> {
    let rebuild = Rebuild::unfinished(database, name, now)
        .await
        .context("the rebuild cannot be read from the database")?;
    let Some(rebuild) = rebuild.filter(|rebuild| rebuild.owner.is_some()) else {
        bail!("no process fills the table {name} for the first time");
    };
    if let Some(position) = rebuild.failure.and_then(|failure| failure.position) {
        bail!(
            "the first fill of {name} has stopped at position {position}; run `patients projection status` for the reason"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn mail_state(state: Option<ServerState>, due_for: u64, due_too_late: u64) -> MailState {
        let worker = |state| WorkerStatus {
            name: "mailer".to_owned(),
            server: "mx:25".to_owned(),
            state,
            error: (state != ServerState::Ready).then(|| "RCPT: timeout".to_owned()),
            since: NOW,
            seen_at: NOW,
        };
        MailState {
            now: NOW,
            workers: state.map(worker).into_iter().collect(),
            oldest_due: (due_for > 0).then(|| NOW - Duration::from_mins(due_for)),
            due_too_late,
        }
    }

    #[test]
    fn a_queue_that_does_not_move_is_unhealthy_and_a_short_wait_is_healthy() {
        use ServerState::{Down, Ready, Refused};
        for (state, due_for, due_too_late, expected) in [
            (Some(Ready), 0, 0, None),
            (Some(Ready), 20, 0, None),
            (Some(Ready), 31, 0, Some("does not move")),
            (Some(Down), 0, 0, None),
            (Some(Down), 4, 0, None),
            (Some(Down), 6, 0, Some("has been unavailable since")),
            (Some(Refused), 0, 0, Some("has rejected all mail")),
            (None, 4, 0, None),
            (None, 6, 0, Some("no mailer is running")),
            (Some(Ready), 0, 1, Some("a clock was wrong")),
        ] {
            let checked = mail_state(state, due_for, due_too_late).check(false);
            let said = checked.err().map(|error| error.to_string());
            match expected {
                None => assert_eq!(said, None, "{state:?} {due_for}"),
                Some(expected) => assert!(said.unwrap().contains(expected), "{state:?} {due_for}"),
            }
        }
        assert!(
            mail_state(Some(Ready), 300, 0).check(true).is_ok(),
            "MAIL_RATE makes mail wait"
        );
    }
}
