//! `patients mail list` and `patients mail show`.

use std::io::Write;

use anyhow::bail;
use eventstore::{Position, Timestamp};
use mailer::{DeliveriesWanted, DeliveryRecord, EventDeliveries, Ledger};

use super::database::open;
use crate::output::{self, OutputFormat};
use crate::settings::Settings;

pub(super) async fn list(
    settings: &Settings,
    wanted: &DeliveriesWanted,
    after: Position,
    limit: u32,
    format: OutputFormat,
) -> anyhow::Result<()> {
    let database = open(settings).await?;
    let deliveries = Ledger::new(database.clone()).list(wanted, after, limit).await?;
    database.close().await;
    let mut out = Vec::new();
    if format.json {
        return output::print_pretty_json(&deliveries);
    }
    head(&mut out)?;
    for delivery in &deliveries {
        line(&mut out, delivery)?;
    }
    if let (Some(last), true) = (deliveries.last(), deliveries.len() >= limit as usize) {
        writeln!(out, "there may be more: --after {}", last.position)?;
    }
    output::write(&out)
}

pub(super) async fn show(settings: &Settings, id: Position, format: OutputFormat) -> anyhow::Result<()> {
    let database = open(settings).await?;
    let found = Ledger::new(database.clone()).at(id).await?;
    database.close().await;
    if found.deliveries.is_empty() {
        bail!("there is no email {id}");
    }
    if format.json {
        return output::print_pretty_json(&found);
    }
    let EventDeliveries { deliveries, attempts } = found;
    let mut out = Vec::new();
    head(&mut out)?;
    for delivery in &deliveries {
        line(&mut out, delivery)?;
    }
    writeln!(out, "\n{:<9}{:<29}{:>9}  outcome", "attempt", "began", "took")?;
    for attempt in &attempts {
        writeln!(
            out,
            "{:<9}{:<29}{:>6} ms  {}",
            attempt.attempt,
            attempt.started_at.to_string(),
            attempt.ended_at.since(attempt.started_at).as_millis(),
            attempt.outcome,
        )?;
        if let Some(error) = &attempt.error {
            writeln!(out, "{:<9}{error}", "")?;
        }
    }
    output::write(&out)
}

/// Writes the header of the table of deliveries. The times in the table are in UTC, to the minute. The lines
/// have at most [`WIDTH`] columns, and the error of a delivery has its own line.
fn head(out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "{:<9}{:<22}{:<10}{:>5} {:<17}next (UTC)",
        "id", "mail", "state", "tries", "made (UTC)"
    )
}

fn line(out: &mut impl Write, delivery: &DeliveryRecord) -> std::io::Result<()> {
    writeln!(
        out,
        "{:<9}{:<22}{:<10}{:>5} {:<17}{}",
        delivery.position.get(),
        delivery.template,
        delivery.state,
        delivery.attempts,
        minute(delivery.created_at),
        delivery.due_at.map(minute).unwrap_or_default()
    )?;
    match &delivery.last_error {
        Some(error) => writeln!(out, "{:<9}{}", "", shortened(error, WIDTH - 9)),
        None => Ok(()),
    }
}

const WIDTH: usize = 80;

/// Formats a time as `2026-11-24 08:38`.
fn minute(moment: Timestamp) -> String {
    let shown = moment.to_string();
    let minute = shown.get(..16).unwrap_or(&shown);
    minute.replace('T', " ")
}

/// Truncates a text; `show` and the JSON output have the full text.
fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use mailer::Template;

    use super::*;

    fn delivery(template: Template) -> DeliveryRecord {
        DeliveryRecord {
            position: Position::new(12_345_678).unwrap(),
            template: template.name().to_owned(),
            aggregate_id: "01a20c52-84f4-752b-9b94-14a23061549a".to_owned(),
            state: "cancelled".to_owned(),
            attempts: 8,
            due_at: Some("2026-11-24T08:38:47Z".parse().unwrap()),
            last_error: Some("é".repeat(500)),
            created_at: "2026-11-23T07:05:00Z".parse().unwrap(),
            updated_at: "2026-11-23T07:05:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_line_of_each_template_shows_both_times_and_fits_a_terminal() {
        for template in Template::ALL {
            let mut written = Vec::new();
            head(&mut written).unwrap();
            line(&mut written, &delivery(template)).unwrap();
            let written = String::from_utf8(written).unwrap();
            let columns: Vec<&str> = written.lines().nth(1).unwrap().split_whitespace().collect();
            let expected = [
                "12345678",
                template.name(),
                "cancelled",
                "8",
                "2026-11-23",
                "07:05",
                "2026-11-24",
                "08:38",
            ];
            assert_eq!(columns, expected);
            let widest = written.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(WIDTH), "{widest:?}: {written}");
        }
    }
}
