//! `patients audit verify`.

mod record;

use anyhow::{Context, bail};
use eventstore::claim::table::ClaimsVerified;
use eventstore::verify::TimeBreak;
use eventstore::{Error, EventLog, LogFormat, Trusted, Verified, verify};
use serde_json::json;

use crate::claims;
use crate::exit_code::NoAnswer;
use crate::output::{lines, print, print_json};
use crate::progress::Progress;

pub(super) use record::TrustedRecord;

/// Verifies the log. With `reads`, also verifies the record of reads, and compares it with what is trusted.
pub(super) async fn run(
    log: &EventLog,
    trusted: Vec<Trusted>,
    reads: Option<TrustedRecord<'_>>,
    json: bool,
) -> anyhow::Result<()> {
    let all = match log.head().await {
        Ok(head) => head.position.get(),
        // The schema is up to date, so the row was deleted. `verify` reports the missing row.
        Err(Error::MissingHead) => 0,
        Err(error) => return Err(error).context(NoAnswer),
    };
    let heads = trusted.len();
    let mut progress = Progress::start("events", 0, all, json);
    let checked = verify(log, trusted, move |position| {
        progress.at(position.get(), all);
        if position.get() >= all {
            progress.end();
        }
    })
    .await
    .context(NoAnswer)?;
    let record = match reads {
        Some(trusted) => Some(record::check(log.database(), &trusted).await),
        None => None,
    };
    let checked_record = record.as_ref().and_then(|record| record.as_ref().ok());
    match checked {
        Ok(verified) => {
            let is_closed = log.database().sealing().is_none()
                && LogFormat::read(log.database()).await.context(NoAnswer)? != LogFormat::Clear;
            if is_closed {
                tracing::warn!(
                    "the claims of a sealed log can be compared only with its keyring: set KEYRING_FILE"
                );
            }
            let claims = if is_closed {
                None
            } else {
                Some(claims::compare(log, json).await)
            };
            let compared = claims.as_ref().and_then(|claims| claims.as_ref().ok());
            if json {
                let mut answer = serde_json::to_value(&verified)?;
                answer["fits"] = true.into();
                answer["claims"] = serde_json::to_value(compared)?;
                answer["reads"] = serde_json::to_value(checked_record)?;
                print_json(&answer)?;
            } else {
                let mut values = table(&verified, heads, compared);
                values.extend(checked_record.into_iter().flat_map(record::CheckedRecord::table));
                print(&lines(&values))?;
            }
            if let Some(claims) = claims
                && !claims
                    .context("the log is consistent, but its claims could not be compared")?
                    .fits
            {
                bail!("the log is consistent, but the claims do not match it: run `patients claims verify`");
            }
        }
        Err(mismatch) => {
            if json {
                let mut answer = serde_json::to_value(mismatch)?;
                answer["fits"] = false.into();
                answer["message"] = json!(mismatch.problem.to_string());
                answer["reads"] = serde_json::to_value(checked_record)?;
                print_json(&answer)?;
            } else {
                print(&format!("mismatch: {mismatch}"))?;
                match &record {
                    Some(Ok(record)) => print(&lines(&record.table()))?,
                    Some(Err(error)) => print(&format!("reads: could not be verified: {error:#}"))?,
                    None => {}
                }
            }
            bail!("the log is inconsistent at position {}", mismatch.position)
        }
    }
    record.map_or(Ok(()), |record| {
        let record =
            record.context("the log is consistent, but the record of reads could not be verified")?;
        record.must_fit()
    })
}

/// Formats a successful verification.
fn table(verified: &Verified, heads: usize, claims: Option<&ClaimsVerified>) -> Vec<(&'static str, String)> {
    let trusted = match heads {
        0 => String::new(),
        1 => " and the trusted head".to_owned(),
        heads => format!(" and the {heads} trusted heads"),
    };
    let mut values = vec![
        ("verified", format!("all {} events{trusted}", verified.position)),
        ("hash", verified.hash.to_string()),
        ("root", verified.root.to_string()),
        ("recorded at", verified.recorded_at.to_string()),
    ];
    if verified.breaks.count > 0 {
        values.push(("time breaks", verified.breaks.count.to_string()));
    }
    values.extend(verified.breaks.first.iter().map(|found| {
        let TimeBreak {
            position,
            before,
            after,
        } = found;
        ("", format!("at {position}, from {before} back to {after}"))
    }));
    values.push((
        "claims",
        claims.map_or_else(|| "not compared".to_owned(), claims::summary),
    ));
    values
}
