//! Making the table what the log says.
//!
//! Appends go on meanwhile. A page that differs is read again and repaired while the head of the log is
//! locked, so that nothing is taken or given up in between; a page that does not differ costs the appends
//! nothing. What was repaired stays so, and a rebuild that was interrupted is begun again.

use serde::Serialize;

use super::page::{Page, Wrong};
use super::verify::Strays;
use super::{ClaimMisfits, ClaimProblem};
use crate::claim::{Claim, ClaimRules};
use crate::database::{Session, Transaction};
use crate::error::{Error, Result};
use crate::log::{EventLog, Head};

/// What a rebuild did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// How many aggregates were compared.
    pub aggregates: u64,
    /// How many claims were inserted.
    pub inserted: u64,
    /// How many claims were deleted.
    pub deleted: u64,
    /// How many aggregates have an event that cannot be read; their claims stay as they are.
    pub unreadable: u64,
    /// What no rebuild can repair: aggregates with the same value.
    pub misfits: ClaimMisfits,
}

/// Repairs the claims of all aggregates of a type. `progress` is given how many aggregates are done.
///
/// # Errors
///
/// [`Error::Database`], [`Error::Timeout`]; what was repaired before stays so.
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
        misfits: ClaimMisfits::default(),
    };
    let mut after = String::new();
    loop {
        let page = read(log, rules, aggregate_type, &after).await?;
        let Some(last) = page.0.ids.last().cloned() else {
            break;
        };
        rebuilt.unreadable += page.0.unreadable() as u64;
        if !page.1.is_empty() {
            let mut transaction = lock(log).await?;
            let page = Page::read(&mut transaction, rules, aggregate_type, &after).await?;
            let wrong = page.wrong(&mut transaction, rules, aggregate_type).await?;
            repair(&mut transaction, aggregate_type, wrong, &mut rebuilt).await?;
            transaction.commit().await?;
        }
        rebuilt.aggregates += page.0.ids.len() as u64;
        after = last;
        progress(rebuilt.aggregates);
    }
    strays(log, aggregate_type, &mut rebuilt).await?;
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

/// Begins a transaction beside which nothing is appended.
async fn lock(log: &EventLog) -> Result<Transaction<'static>> {
    let mut transaction = log.database().begin().await?;
    let lock = Head::lock(transaction.dialect());
    transaction
        .query(&lock)
        .fetch_optional()
        .await?
        .ok_or(Error::NoHead)?;
    Ok(transaction)
}

async fn repair(
    transaction: &mut Transaction<'_>,
    aggregate_type: &str,
    wrong: Vec<Wrong>,
    rebuilt: &mut Rebuilt,
) -> Result<()> {
    for Wrong { claim, misfit } in wrong {
        let id = misfit.aggregate_id.as_str();
        match &misfit.problem {
            ClaimProblem::Unexpected => rebuilt.deleted += delete(transaction, claim, Some(id)).await?,
            ClaimProblem::HeldBy { .. } => {
                rebuilt.deleted += delete(transaction, claim, None).await?;
                rebuilt.inserted += insert(transaction, claim, aggregate_type, id).await?;
            }
            ClaimProblem::Missing => {
                rebuilt.inserted += insert(transaction, claim, aggregate_type, id).await?;
            }
            ClaimProblem::Shared { .. } => rebuilt.misfits.add(misfit),
        }
    }
    Ok(())
}

/// Deletes the claims whose holder has no events.
async fn strays(log: &EventLog, aggregate_type: &str, rebuilt: &mut Rebuilt) -> Result<()> {
    let mut after = Vec::new();
    loop {
        let mut connection = log.database().reader().await?;
        let mut strays = Strays::read(&mut connection, aggregate_type, &after).await?;
        drop(connection);
        if !strays.found.is_empty() {
            let mut transaction = lock(log).await?;
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

/// Deletes a claim, if that aggregate holds it.
async fn delete(transaction: &mut Transaction<'_>, claim: Claim, holder: Option<&str>) -> Result<u64> {
    let only = holder.map_or("", |_| " AND aggregate_id = ?");
    let sql = format!("DELETE FROM claims WHERE claim = ?{only}");
    let query = transaction.query(&sql).bind(claim.0.to_vec());
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
        .bind(claim.0.to_vec())
        .bind(aggregate_type)
        .bind(id)
        .execute()
        .await
}
