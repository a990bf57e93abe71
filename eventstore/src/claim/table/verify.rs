//! Compares the claims table with the log.

use serde::Serialize;

use super::page::{Page, claim};
use super::{ClaimMismatch, ClaimMismatches, ClaimProblem, PAGE, check_version};
use crate::claim::{Claim, ClaimRules};
use crate::database::Session;
use crate::error::{Error, Result};
use crate::log::EventLog;

/// Result of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClaimsVerified {
    /// Whether the table agrees with the log.
    pub fits: bool,
    /// Number of aggregates that were compared.
    pub aggregates: u64,
    /// Number of claims that these aggregates hold in the table.
    pub claims: u64,
    /// Number of aggregates with an event that cannot be read. Their claims were not compared.
    pub unreadable: u64,
    /// Differences that were found.
    #[serde(rename = "misfits")]
    pub mismatches: ClaimMismatches,
}

/// Compares the claims of all aggregates of a type with their events, in a single snapshot. `progress`
/// receives the number of compared aggregates. A claim of another type is reported as unexpected, so all
/// claims of a log must belong to one type.
///
/// # Errors
///
/// [`Error::Database`], [`Error::Timeout`]; [`Error::OtherClaims`] if the log has other claim rules.
pub async fn verify(
    log: &EventLog,
    rules: &dyn ClaimRules,
    aggregate_type: &str,
    mut progress: impl FnMut(u64) + Send,
) -> Result<ClaimsVerified> {
    let mut snapshot = log.database().snapshot().await?;
    let row = snapshot
        .query("SELECT claims FROM log_format WHERE id = 1")
        .fetch_optional()
        .await?;
    check_version(rules, row.ok_or(Error::MissingFormat)?.get(0)?)?;
    let mut mismatches = ClaimMismatches::default();
    let (mut aggregates, mut claims, mut unreadable) = (0, 0, 0);
    let mut after = String::new();
    loop {
        let page = Page::read(&mut snapshot, rules, aggregate_type, &after).await?;
        let Some(last) = page.ids.last() else { break };
        unreadable += page.unreadable() as u64;
        for wrong in page.wrong(&mut snapshot, rules, aggregate_type).await? {
            mismatches.add(wrong.mismatch);
        }
        aggregates += page.ids.len() as u64;
        claims += page.held() as u64;
        after.clone_from(last);
        progress(aggregates);
    }
    let mut after = Vec::new();
    loop {
        let strays = Strays::read(&mut snapshot, aggregate_type, &after).await?;
        for (_, aggregate_id) in strays.found {
            mismatches.add(ClaimMismatch {
                aggregate_id,
                problem: ClaimProblem::Unexpected,
            });
        }
        match strays.last {
            Some(last) => after = last.0.to_vec(),
            None => break,
        }
    }
    snapshot.rollback().await?;
    Ok(ClaimsVerified {
        fits: mismatches.count == 0,
        aggregates,
        claims,
        unreadable,
        mismatches,
    })
}

/// Claims of one page whose holder has no events or is of another type.
pub(super) struct Strays {
    pub(super) found: Vec<(Claim, String)>,
    /// Last claim of the page; `None` after the last page.
    pub(super) last: Option<Claim>,
}

impl Strays {
    pub(super) async fn read(session: &mut impl Session, aggregate_type: &str, after: &[u8]) -> Result<Self> {
        let rows = session
            .query(
                "SELECT c.claim, c.aggregate_type, c.aggregate_id, EXISTS (SELECT 1 FROM events e \
                 WHERE e.aggregate_id = c.aggregate_id AND e.aggregate_type = c.aggregate_type AND e.sequence = 1) \
                 FROM claims c WHERE c.claim > ? ORDER BY c.claim LIMIT ?",
            )
            .bind(after)
            .bind(i64::from(PAGE))
            .fetch_all()
            .await?;
        let mut strays = Self {
            found: Vec::new(),
            last: None,
        };
        for row in &rows {
            let claim = claim(row)?;
            let (kind, id): (String, String) = (row.get(1)?, row.get(2)?);
            let has_events: i64 = row.get(3)?;
            if kind != aggregate_type || has_events == 0 {
                strays.found.push((claim, id));
            }
            strays.last = Some(claim);
        }
        Ok(strays)
    }
}
