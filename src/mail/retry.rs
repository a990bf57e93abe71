//! `patients mail retry`.

use std::io::Write;

use anyhow::bail;
use eventstore::{Clock, Position, SystemClock};
use mailer::{Ledger, RetryResult};
use serde_json::json;

use super::database::open;
use crate::output::{self, OutputFormat};
use crate::settings::Settings;

/// Retries each of `ids`. Fails after the last id if any delivery could not be retried.
pub(super) async fn retry(
    settings: &Settings,
    ids: &[Position],
    dead: bool,
    format: OutputFormat,
) -> anyhow::Result<()> {
    let database = open(settings).await?;
    let ledger = Ledger::new(database.clone());
    let now = SystemClock.now();
    let mut due = 0;
    let mut refused = Vec::new();
    if dead {
        due = ledger.retry_dead(now).await?;
    }
    for id in ids {
        match ledger.retry(*id, now).await? {
            RetryResult::Due(deliveries) => due += deliveries,
            RetryResult::NotRetryable(state) => refused.push((*id, state.name())),
            RetryResult::NotFound => refused.push((*id, "unknown")),
        }
    }
    database.close().await;
    let mut out = Vec::new();
    if format.json {
        let refused: Vec<_> = refused
            .iter()
            .map(|(id, state)| json!({ "id": id, "state": state }))
            .collect();
        writeln!(out, "{:#}", json!({ "due": due, "refused": refused }))?;
    } else {
        writeln!(out, "emails due now: {due}")?;
        for (id, state) in &refused {
            writeln!(
                out,
                "{id} is {state}: only an email that is pending, failed or dead can be retried"
            )?;
        }
    }
    output::write(&out)?;
    if refused.is_empty() {
        Ok(())
    } else {
        bail!("{} could not be retried", refused.len())
    }
}
