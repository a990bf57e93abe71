//! `patients health`: for a container's or a service manager's health check.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use eventstore::rebuild::ActiveGeneration;
use eventstore::{Clock, Database, SubscriptionStatus, SystemClock};
use mailer::{Ledger, Standing};
use serde_json::json;

use crate::database;
use crate::output;
use crate::settings::Settings;

/// How long a role or its database may take to answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long an event may wait for a subscription that is called healthy.
const LARGEST_LAG: Duration = Duration::from_secs(30);

/// A role to ask after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// The HTTP API
    Api,
    /// The projector
    Projector,
    /// The mailer
    Mailer,
}

/// Fails unless the role is healthy.
pub(crate) async fn check(settings: &Settings, role: Role, json: bool) -> anyhow::Result<()> {
    // The wait for a database is over by then; what is added is for its answers.
    let patience = settings.wait + PATIENCE;
    let checked = async {
        match role {
            Role::Api => api(settings).await,
            Role::Projector => projector(settings).await,
            Role::Mailer => mailer(settings).await,
        }
    };
    let checked = tokio::time::timeout(patience, checked)
        .await
        .unwrap_or_else(|_| bail!("no answer within {patience:?}"));
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
    // A proxy for the outside has nothing to say about this host. The certificate is made out to the
    // service's name, which is not the address that is asked here; nothing secret is sent, and a false answer
    // would only spoil a health check.
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
        .with_context(|| format!("{url} does not answer"))?;
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
    let followed = subscription(&database, projector::PATIENT_VIEW).await;
    database.close().await;
    followed
}

/// The mailer is not well while a mail server refuses every mail, since that needs a person. One that is down
/// does not count: the mailer waits for it, and to start it again would mend nothing.
async fn mailer(settings: &Settings) -> anyhow::Result<()> {
    let database = database::open_existing(settings, 1).await?;
    let followed = subscription(&database, mailer::SUBSCRIPTION).await;
    let workers = Ledger::new(database.clone()).workers(SystemClock.now()).await;
    database.close().await;
    followed?;
    let refused = workers?
        .into_iter()
        .find(|worker| worker.standing == Standing::Refused);
    if let Some(worker) = refused {
        bail!(
            "the mail server ({}) refuses every mail since {}: {}",
            worker.place,
            worker.since,
            worker.error.unwrap_or_default()
        );
    }
    Ok(())
}

async fn subscription(database: &Database, name: &str) -> anyhow::Result<()> {
    let now = SystemClock.now();
    let status = SubscriptionStatus::of(database, name, now)
        .await
        .context("the database cannot tell")?;
    status.check()?;
    let generation = ActiveGeneration::of(&mut database.reader().await?, name).await?;
    generation.map_or(Ok(0), |generation| generation.check(name))?;
    if status.owner.is_none() {
        bail!("no process owns the subscription {name}");
    }
    if let Some(position) = status.failure.as_ref().and_then(|failure| failure.position) {
        bail!(
            "the subscription {name} has stopped at position {position}; `patients projection status` says why"
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
