//! `patients claims unique`: changes which active patients may share an email, while the service runs.
//!
//! 1. From the start of the change, both rules apply to new values: appends take the claims of both.
//! 2. All patients get the claims of the new rule. If two patients share such a claim, they are a conflict,
//!    and the older patient gets the claim.
//! 3. The new rule applies alone, and the claims of the old rule are deleted.
//!
//! The log stores the state of the change, so the command can be interrupted and repeated at any time.

use anyhow::{Context, bail};
use api::commands::{AGGREGATE_TYPE, ClaimScheme, EmailClaims};
use domain::EmailUniqueness;
use eventstore::claim::table::{self, Rebuilt};
use eventstore::{EventLog, LogFormat, Sealing};
use projector::reads::PatientReads;
use serde_json::json;

use super::named;
use crate::exit_code::NoAnswer;
use crate::output::{print, print_json};
use crate::progress::Progress;

pub(super) async fn run(
    log: &EventLog,
    rule: Option<EmailUniqueness>,
    keep_conflicts: bool,
    json: bool,
) -> anyhow::Result<()> {
    let database = log.database();
    if database.sealing().is_none() {
        bail!("the log is unencrypted, so its rule is email: `patients log upgrade` seals the log");
    }
    let scheme = ClaimScheme::of(LogFormat::claims(database).await.context(NoAnswer)?)?;
    let Some(to) = rule else {
        return show(scheme, json);
    };
    if to != EmailUniqueness::Email && PatientReads::lacks_emails(database).await.context(NoAnswer)? {
        bail!(
            "the read table has rows from an earlier version, which searches by email do not find: run `patients projection \
             rebuild patient_view` first"
        );
    }
    match scheme {
        ClaimScheme::Upgrading => bail!("finish `patients log upgrade` first"),
        ClaimScheme::Rule(from) if from == to => {}
        ClaimScheme::Rule(from) => {
            // Claims of the new rule may be left from an earlier change that was interrupted.
            give(log, &|sealing| EmailClaims::only(sealing, scheme), json).await?;
            replace(log, scheme, ClaimScheme::Changing { from, to }).await?;
            change(log, from, to, keep_conflicts, json).await?;
        }
        ClaimScheme::Changing { from, to: under_way } if under_way == to => {
            change(log, from, to, keep_conflicts, json).await?;
        }
        // Cancels the change.
        ClaimScheme::Changing { from, .. } if from == to => {
            replace(log, scheme, ClaimScheme::Rule(from)).await?;
        }
        ClaimScheme::Changing { from, to } => {
            bail!(
                "a change to {to} is under way: finish it, or cancel it with `patients claims unique {from}`"
            )
        }
    }
    let rule = ClaimScheme::Rule(to);
    let rebuilt = give(log, &|sealing| EmailClaims::only(sealing, rule), json).await?;
    report(to, &rebuilt, json)?;
    if rebuilt.mismatches.count > 0 && !keep_conflicts {
        bail!("{} patients have no claim", rebuilt.mismatches.count);
    }
    Ok(())
}

fn show(scheme: ClaimScheme, json: bool) -> anyhow::Result<()> {
    let (rule, to) = match scheme {
        ClaimScheme::Changing { from, to } => (from, Some(to)),
        ClaimScheme::Upgrading | ClaimScheme::Rule(_) => (scheme.rule(), None),
    };
    if json {
        return print_json(&json!({ "rule": rule.name(), "changing_to": to.map(EmailUniqueness::name) }));
    }
    let change = to.map_or_else(String::new, |to| format!("; a change to {to} is under way"));
    print(&format!("{rule}{change}"))
}

/// Gives all patients the claims of the new rule, and then makes the new rule apply alone. Fails if there are
/// conflicts, unless they are kept.
async fn change(
    log: &EventLog,
    from: EmailUniqueness,
    to: EmailUniqueness,
    keep_conflicts: bool,
    json: bool,
) -> anyhow::Result<()> {
    let rebuilt = give(log, &|sealing| EmailClaims::taking(sealing, from, to), json).await?;
    let (conflicts, unreadable) = (&rebuilt.mismatches, rebuilt.unreadable);
    if conflicts.count + unreadable > 0 && !keep_conflicts {
        if json {
            print_json(&json!({
                "rule": from.name(), "changing_to": to.name(), "unreadable": unreadable, "conflicts": conflicts,
            }))?;
        } else if conflicts.count > 0 {
            print(&named("conflicts", conflicts))?;
        }
        bail!(
            "{} patients have the same email as an older patient, and {unreadable} patients have events that cannot be read. \
             Amend or delete the patients and repeat the command, or pass --keep-conflicts, or cancel with `patients claims \
             unique {from}`",
            conflicts.count
        );
    }
    replace(log, ClaimScheme::Changing { from, to }, ClaimScheme::Rule(to)).await
}

/// Gives all patients the claims of these rules, and deletes other claims.
async fn give(log: &EventLog, rules: &dyn Fn(Sealing) -> EmailClaims, json: bool) -> anyhow::Result<Rebuilt> {
    let sealing = log
        .database()
        .sealing()
        .cloned()
        .context("the log is unencrypted")?;
    let most = log.head().await.context(NoAnswer)?.position.get();
    let mut progress = Progress::start("patients", 0, most, json);
    let rebuilt = table::rebuild(log, &rules(sealing), AGGREGATE_TYPE, |done| {
        progress.at(done, most);
    })
    .await;
    progress.end();
    rebuilt.context(NoAnswer)
}

async fn replace(log: &EventLog, from: ClaimScheme, to: ClaimScheme) -> anyhow::Result<()> {
    let replaced = LogFormat::replace_claims(log.database(), from.version(), to.version()).await;
    if !replaced.context(NoAnswer)? {
        bail!("another process has changed the rule at the same time: repeat the command");
    }
    Ok(())
}

fn report(rule: EmailUniqueness, rebuilt: &Rebuilt, json: bool) -> anyhow::Result<()> {
    let Rebuilt {
        aggregates,
        unreadable,
        mismatches,
        ..
    } = rebuilt;
    if json {
        return print_json(&json!({
            "rule": rule.name(), "patients": aggregates, "unreadable": unreadable, "conflicts": mismatches,
        }));
    }
    print(&format!("{rule} applies to {aggregates} patients"))?;
    if *unreadable > 0 {
        print(&format!(
            "{unreadable} patients have events that cannot be read: their claims are unchanged"
        ))?;
    }
    if mismatches.count > 0 {
        print(&named("patients without a claim", mismatches))?;
    }
    Ok(())
}
