//! `patients mail list`, `patients mail show`.

use std::io::Write;

use anyhow::bail;
use eventstore::{Position, Timestamp};
use mailer::{DeliveryRecord, DeliveryState, Ledger};

use super::command::{Form, open};
use super::desk;
use crate::output;
use crate::settings::Settings;

pub(super) async fn list(
    settings: &Settings,
    state: Option<DeliveryState>,
    after: Position,
    limit: u32,
    form: Form,
) -> anyhow::Result<()> {
    let database = open(settings).await?;
    let deliveries = Ledger::new(database.clone()).list(state, after, limit).await?;
    database.close().await;
    let mut out = Vec::new();
    if form.json {
        let deliveries: Vec<_> = deliveries.into_iter().map(desk::delivery).collect();
        return output::print_pretty_json(&deliveries);
    }
    head(&mut out)?;
    for delivery in &deliveries {
        line(&mut out, delivery)?;
    }
    if let (Some(last), true) = (deliveries.last(), deliveries.len() == limit as usize) {
        writeln!(out, "there may be more: --after {}", last.position)?;
    }
    output::write(&out)
}

pub(super) async fn show(settings: &Settings, id: Position, form: Form) -> anyhow::Result<()> {
    let database = open(settings).await?;
    let (deliveries, attempts) = Ledger::new(database.clone()).at(id).await?;
    database.close().await;
    if deliveries.is_empty() {
        bail!("there is no mail {id}");
    }
    let mut out = Vec::new();
    if form.json {
        let shown = desk::shown((deliveries, attempts));
        return output::print_pretty_json(&shown);
    }
    head(&mut out)?;
    for delivery in &deliveries {
        line(&mut out, delivery)?;
    }
    writeln!(
        out,
        "\n{:<8}{:<29}{:>9}  {:<9}error",
        "attempt", "began", "took", "outcome"
    )?;
    for attempt in &attempts {
        writeln!(
            out,
            "{:<8}{:<29}{:>6} ms  {:<9}{}",
            attempt.attempt,
            attempt.started_at.to_string(),
            attempt.ended_at.since(attempt.started_at).as_millis(),
            attempt.outcome,
            attempt.error.as_deref().unwrap_or("")
        )?;
    }
    output::write(&out)
}

fn head(out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "{:<10}{:<20}{:<11}{:<9}{:<29}last error",
        "id", "mail", "state", "attempts", "next"
    )
}

fn line(out: &mut impl Write, delivery: &DeliveryRecord) -> std::io::Result<()> {
    writeln!(
        out,
        "{:<10}{:<20}{:<11}{:<9}{:<29}{}",
        delivery.position.get(),
        delivery.template,
        delivery.state,
        delivery.attempts,
        delivery
            .due_at
            .as_ref()
            .map(Timestamp::to_string)
            .unwrap_or_default(),
        delivery.last_error.as_deref().unwrap_or("")
    )
}
