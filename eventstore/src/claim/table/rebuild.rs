//! Repairs the claims table from the log.
//!
//! Appends continue during a rebuild. A page that differs from the log is read again and repaired while the
//! head of the log is locked, so that no claim is taken or released in between. A page without differences
//! does not affect appends. Repairs are kept if a rebuild is interrupted; the next rebuild starts from the
//! beginning.

use std::collections::BTreeSet;

use serde::Serialize;

use super::page::{Page, Wrong};
use super::verify::Strays;
use super::{ClaimMismatch, ClaimMismatches, ClaimProblem, check_version};
use crate::claim::{Claim, ClaimRules};
use crate::database::{Session, Transaction};
use crate::error::{Error, Result};
use crate::format::LogFormat;
use crate::log::{EventLog, Head};

/// Result of a rebuild.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// Number of aggregates that were compared.
    pub aggregates: u64,
    /// Number of claims that were inserted.
    pub inserted: u64,
    /// Number of claims that were deleted.
    pub deleted: u64,
    /// Number of aggregates with an event that cannot be read. Their claims stay unchanged.
    pub unreadable: u64,
    /// Aggregates that have the same value as an older aggregate, which keeps the claim.
    #[serde(rename = "misfits")]
    pub mismatches: ClaimMismatches,
}

/// Repairs the claims of all aggregates of a type. `progress` receives the number of finished aggregates.
/// Claims of other types are deleted, so all claims of a log must belong to one type.
///
/// # Errors
///
/// [`Error::Database`], [`Error::Timeout`]; [`Error::OtherClaims`] if the log has other claim rules. Repairs
/// made before the error are kept.
pub async fn rebuild(
    log: &EventLog,
    rules: &dyn ClaimRules,
    aggregate_type: &str,
    mut progress: impl FnMut(u64) + Send,
) -> Result<Rebuilt> {
    let mut rebuilt = Rebuilt {
        aggregates: 0,
        inserted: 0,
        deleted: 0,
        unreadable: 0,
        mismatches: ClaimMismatches::default(),
    };
    let mut after = String::new();
    loop {
        let page = read(log, rules, aggregate_type, &after).await?;
        let Some(last) = page.0.ids.last().cloned() else {
            break;
        };
        rebuilt.unreadable += page.0.unreadable() as u64;
        if !page.1.is_empty() {
            let mut transaction = lock(log, rules).await?;
            let page = Page::read(&mut transaction, rules, aggregate_type, &after).await?;
            let wrong = page.wrong(&mut transaction, rules, aggregate_type).await?;
            repair(&mut transaction, rules, aggregate_type, wrong, &mut rebuilt).await?;
            transaction.commit().await?;
        }
        rebuilt.aggregates += page.0.ids.len() as u64;
        after = last;
        progress(rebuilt.aggregates);
    }
    strays(log, rules, aggregate_type, &mut rebuilt).await?;
    Ok(rebuilt)
}

async fn read(
    log: &EventLog,
    rules: &dyn ClaimRules,
    aggregate_type: &str,
    after: &str,
) -> Result<(Page, Vec<Wrong>)> {
    let mut connection = log.database().reader().await?;
    let page = Page::read(&mut connection, rules, aggregate_type, after).await?;
    let wrong = page.wrong(&mut connection, rules, aggregate_type).await?;
    Ok((page, wrong))
}

/// Begins a transaction that blocks appends, and checks that the log has the rules.
async fn lock(log: &EventLog, rules: &dyn ClaimRules) -> Result<Transaction<'static>> {
    let mut transaction = log.database().begin().await?;
    let lock = Head::lock(transaction.dialect());
    let row = transaction.query(&lock).fetch_optional().await?;
    check_version(rules, LogFormat::locked_claims(&row.ok_or(Error::MissingHead)?)?)?;
    Ok(transaction)
}

async fn repair(
    transaction: &mut Transaction<'_>,
    rules: &dyn ClaimRules,
    aggregate_type: &str,
    wrong: Vec<Wrong>,
    rebuilt: &mut Rebuilt,
) -> Result<()> {
    let shared: BTreeSet<String> = wrong
        .iter()
        .filter(|_| rules.keeps_earlier_claims())
        .filter(|wrong| matches!(wrong.mismatch.problem, ClaimProblem::Shared { .. }))
        .map(|wrong| wrong.mismatch.aggregate_id.clone())
        .collect();
    for Wrong { claim, mismatch } in wrong {
        if mismatch.problem == ClaimProblem::Unexpected && shared.contains(&mismatch.aggregate_id) {
            continue;
        }
        let id = mismatch.aggregate_id.as_str();
        match &mismatch.problem {
            ClaimProblem::Unexpected => rebuilt.deleted += delete(transaction, claim, Some(id)).await?,
            ClaimProblem::HeldBy { .. } => {
                rebuilt.deleted += delete(transaction, claim, None).await?;
                rebuilt.inserted += insert(transaction, claim, aggregate_type, id).await?;
            }
            ClaimProblem::Missing => {
                rebuilt.inserted += insert(transaction, claim, aggregate_type, id).await?;
            }
            ClaimProblem::Shared { .. } => {
                // An earlier repair of this page may have given the claim to another aggregate.
                let holder = claim.holder(transaction).await?;
                let Some(with) = holder else {
                    rebuilt.inserted += insert(transaction, claim, aggregate_type, id).await?;
                    continue;
                };
                // The older aggregate keeps the claim.
                let younger = if is_older(transaction, aggregate_type, id, &with).await? {
                    rebuilt.deleted += delete(transaction, claim, None).await?;
                    rebuilt.inserted += insert(transaction, claim, aggregate_type, id).await?;
                    ClaimMismatch {
                        aggregate_id: with,
                        problem: ClaimProblem::Shared { with: id.to_owned() },
                    }
                } else {
                    ClaimMismatch {
                        aggregate_id: id.to_owned(),
                        problem: ClaimProblem::Shared { with },
                    }
                };
                rebuilt.mismatches.add(younger);
            }
        }
    }
    Ok(())
}

/// Whether the first event of `id` precedes the first event of `other`.
async fn is_older(
    transaction: &mut Transaction<'_>,
    aggregate_type: &str,
    id: &str,
    other: &str,
) -> Result<bool> {
    let first = transaction
        .query(
            "SELECT aggregate_id FROM events WHERE aggregate_id IN (?, ?) AND aggregate_type = ? AND sequence = 1 \
             ORDER BY position LIMIT 1",
        )
        .bind(id)
        .bind(other)
        .bind(aggregate_type)
        .fetch_optional()
        .await?;
    let first: Option<String> = first.map(|row| row.get(0)).transpose()?;
    Ok(first.as_deref() == Some(id))
}

/// Deletes the claims whose holder has no events or is of another type.
async fn strays(
    log: &EventLog,
    rules: &dyn ClaimRules,
    aggregate_type: &str,
    rebuilt: &mut Rebuilt,
) -> Result<()> {
    let mut after = Vec::new();
    loop {
        let mut connection = log.database().reader().await?;
        let mut strays = Strays::read(&mut connection, aggregate_type, &after).await?;
        drop(connection);
        if !strays.found.is_empty() {
            let mut transaction = lock(log, rules).await?;
            strays = Strays::read(&mut transaction, aggregate_type, &after).await?;
            for (claim, id) in strays.found {
                rebuilt.deleted += delete(&mut transaction, claim, Some(&id)).await?;
            }
            transaction.commit().await?;
        }
        match strays.last {
            Some(last) => after = last.0.to_vec(),
            None => return Ok(()),
        }
    }
}

/// Deletes a claim. If `holder` is given, deletes it only if that aggregate holds it.
async fn delete(transaction: &mut Transaction<'_>, claim: Claim, holder: Option<&str>) -> Result<u64> {
    let only = holder.map_or("", |_| " AND aggregate_id = ?");
    let sql = format!("DELETE FROM claims WHERE claim = ?{only}");
    let query = transaction.query(&sql).bind(&claim.0);
    query.bind_all(holder).execute().await
}

async fn insert(
    transaction: &mut Transaction<'_>,
    claim: Claim,
    aggregate_type: &str,
    id: &str,
) -> Result<u64> {
    transaction
        .query("INSERT INTO claims (claim, aggregate_type, aggregate_id) VALUES (?, ?, ?)")
        .bind(&claim.0)
        .bind(aggregate_type)
        .bind(id)
        .execute()
        .await
}
