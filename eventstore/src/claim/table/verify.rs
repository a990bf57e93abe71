//! Comparing the table with the log.

use serde::Serialize;

use super::page::{Page, claim};
use super::{ClaimMisfit, ClaimMisfits, ClaimProblem, PAGE};
use crate::claim::{Claim, ClaimRules};
use crate::database::Session;
use crate::error::Result;
use crate::log::EventLog;

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClaimsVerified {
    /// Whether the table is what the log says.
    pub fits: bool,
    /// How many aggregates were compared.
    pub aggregates: u64,
    /// How many claims they hold.
    pub claims: u64,
    /// How many aggregates have an event that cannot be read; their claims were not compared.
    pub unreadable: u64,
    /// What is wrong.
    pub misfits: ClaimMisfits,
}

/// Compares the claims of all aggregates of a type with what their events say, both as of one moment.
/// `progress` is given how many aggregates were compared.
///
/// # Errors
///
/// [`Error::Database`](crate::Error::Database), [`Error::Timeout`](crate::Error::Timeout).
pub async fn verify(
    log: &EventLog,
    rules: &dyn ClaimRules,
    aggregate_type: &str,
    mut progress: impl FnMut(u64) + Send,
) -> Result<ClaimsVerified> {
    let mut snapshot = log.database().snapshot().await?;
    let mut misfits = ClaimMisfits::default();
    let (mut aggregates, mut claims, mut unreadable) = (0, 0, 0);
    let mut after = String::new();
    loop {
        let page = Page::read(&mut snapshot, rules, aggregate_type, &after).await?;
        let Some(last) = page.ids.last() else { break };
        unreadable += page.unreadable() as u64;
        for wrong in page.wrong(&mut snapshot, rules, aggregate_type).await? {
            misfits.add(wrong.misfit);
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
            misfits.add(ClaimMisfit {
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
        fits: misfits.count == 0,
        aggregates,
        claims,
        unreadable,
        misfits,
    })
}

/// The claims of one page whose holder has no events.
pub(super) struct Strays {
    pub(super) found: Vec<(Claim, String)>,
    /// The last claim of the page; nothing after the last page.
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
            .bind(after.to_vec())
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
