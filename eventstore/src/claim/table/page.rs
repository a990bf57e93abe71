//! A page of aggregates: the claims that they have taken, and the claims in the table.

use std::collections::{BTreeMap, BTreeSet};

use super::{ClaimMismatch, ClaimProblem, PAGE};
use crate::claim::{Claim, ClaimRules};
use crate::database::{Row, Session, in_list, padded};
use crate::error::{Error, Result};
use crate::event::{NewEvent, Position};
use crate::log::EventLog;

/// Claims that each aggregate has taken; `None` if one of its events cannot be read.
type Taken = BTreeMap<String, Option<Claims>>;

/// Claims that an aggregate has taken.
#[derive(Default)]
struct Claims {
    taken: BTreeSet<Claim>,
    /// For some claims in `taken`, the claims that older versions of the rules took instead.
    older: BTreeMap<Claim, Vec<Claim>>,
    /// Claims that the aggregate may have taken.
    optional: BTreeSet<Claim>,
}

impl Claims {
    /// Whether the table may assign the claim to the aggregate.
    fn contains(&self, claim: &Claim) -> bool {
        self.taken.contains(claim)
            || self.optional.contains(claim)
            || self.older.values().flatten().any(|older| older == claim)
    }
}

/// Aggregates of one page.
pub(super) struct Page {
    pub(super) ids: Vec<String>,
    taken: Taken,
    /// Claims that the table assigns to these aggregates.
    held: BTreeSet<(Claim, String)>,
}

/// An incorrect claim.
pub(super) struct Wrong {
    pub(super) claim: Claim,
    pub(super) mismatch: ClaimMismatch,
}

impl Page {
    /// Reads the aggregates of type `aggregate_type` after the id `after`, in the order of their ids.
    pub(super) async fn read(
        session: &mut impl Session,
        rules: &dyn ClaimRules,
        aggregate_type: &str,
        after: &str,
    ) -> Result<Self> {
        let rows = session
            .query(
                "SELECT aggregate_id FROM events WHERE aggregate_id > ? AND aggregate_type = ? AND sequence = 1 \
                 ORDER BY aggregate_id LIMIT ?",
            )
            .bind(after)
            .bind(aggregate_type)
            .bind(i64::from(PAGE))
            .fetch_all()
            .await?;
        let ids = rows
            .iter()
            .map(|row| row.get(0))
            .collect::<Result<Vec<String>>>()?;
        let taken = taken(session, rules, aggregate_type, &ids).await?;
        let held = held_by(session, aggregate_type, &ids).await?;
        Ok(Self { ids, taken, held })
    }

    /// Returns the number of claims that the table assigns to these aggregates.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Returns the number of aggregates with an event that cannot be read. It is unknown which claims they
    /// have taken.
    pub(super) fn unreadable(&self) -> usize {
        self.taken.values().filter(|taken| taken.is_none()).count()
    }

    /// Returns the incorrect claims, beginning with those that should not be in the table.
    pub(super) async fn wrong(
        &self,
        session: &mut impl Session,
        rules: &dyn ClaimRules,
        aggregate_type: &str,
    ) -> Result<Vec<Wrong>> {
        let mut wrong: Vec<Wrong> = self
            .held
            .iter()
            .filter(|(claim, id)| match self.taken.get(id) {
                Some(Some(taken)) => !taken.contains(claim),
                // It is unknown which claims the aggregate has taken.
                Some(None) => false,
                None => true,
            })
            .map(|(claim, id)| wrong_claim(*claim, id, ClaimProblem::Unexpected))
            .collect();
        let missing: Vec<(Claim, &String)> = self
            .taken
            .iter()
            .filter_map(|(id, taken)| Some((id, taken.as_ref()?)))
            .flat_map(|(id, claims)| claims.taken.iter().map(move |claim| (claim, id, claims)))
            .filter(|(claim, id, claims)| {
                let holds = |claim: &Claim| self.held.contains(&(*claim, (*id).clone()));
                !holds(claim)
                    && !claims
                        .older
                        .get(claim)
                        .is_some_and(|older| older.iter().any(holds))
            })
            .map(|(claim, id, _)| (*claim, id))
            .collect();
        if missing.is_empty() {
            return Ok(wrong);
        }
        let holders = holders(session, missing.iter().map(|(claim, _)| *claim)).await?;
        let others: Vec<String> = holders
            .values()
            .filter(|(kind, _)| kind == aggregate_type)
            .map(|(_, id)| id.clone())
            .collect();
        let of_others = taken(session, rules, aggregate_type, &others).await?;
        let has_taken = |id: &str, claim: &Claim| {
            // An aggregate with an unreadable event keeps its claims.
            of_others
                .get(id)
                .is_some_and(|taken| taken.as_ref().is_none_or(|taken| taken.contains(claim)))
        };
        let mut first: BTreeMap<Claim, &String> = BTreeMap::new();
        for (claim, id) in missing {
            let problem = match (holders.get(&claim), first.get(&claim)) {
                (Some((kind, other)), _) if kind == aggregate_type && has_taken(other, &claim) => {
                    ClaimProblem::Shared { with: other.clone() }
                }
                (_, Some(other)) => ClaimProblem::Shared {
                    with: (*other).clone(),
                },
                (Some((_, other)), None) => ClaimProblem::HeldBy {
                    holder: other.clone(),
                },
                (None, None) => ClaimProblem::Missing,
            };
            first.entry(claim).or_insert(id);
            wrong.push(wrong_claim(claim, id, problem));
        }
        Ok(wrong)
    }
}

fn wrong_claim(claim: Claim, id: &str, problem: ClaimProblem) -> Wrong {
    Wrong {
        claim,
        mismatch: ClaimMismatch {
            aggregate_id: id.to_owned(),
            problem,
        },
    }
}

/// Returns the claims that some aggregates have taken and not released, according to their events.
async fn taken(
    session: &mut impl Session,
    rules: &dyn ClaimRules,
    aggregate_type: &str,
    ids: &[String],
) -> Result<Taken> {
    let mut events: BTreeMap<String, Vec<NewEvent>> = BTreeMap::new();
    let keys: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut erased = BTreeSet::new();
    for event in EventLog::events_of(session, aggregate_type, &keys, Position::BEGINNING).await? {
        if event.erased_at.is_some() {
            erased.insert(event.aggregate_id.clone());
        }
        let of_aggregate = events.entry(event.aggregate_id.clone()).or_default();
        of_aggregate.push(event.into());
    }
    let claims = |events: &[NewEvent]| {
        let held = rules.held(events).ok()?;
        let (optional, required): (Vec<_>, Vec<_>) = held.into_iter().partition(|held| held.optional);
        Some(Claims {
            taken: required.iter().map(|held| held.claim).collect(),
            optional: optional.iter().map(|held| held.claim).collect(),
            older: required
                .into_iter()
                .map(|held| (held.claim, held.older))
                .collect(),
        })
    };
    Ok(events
        .into_iter()
        .map(|(id, events)| {
            // The erasure has released the claims.
            let claims = if erased.contains(&id) {
                Some(Claims::default())
            } else {
                claims(&events)
            };
            (id, claims)
        })
        .collect())
}

async fn held_by(
    session: &mut impl Session,
    aggregate_type: &str,
    ids: &[String],
) -> Result<BTreeSet<(Claim, String)>> {
    if ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    let keys: Vec<&str> = ids.iter().map(String::as_str).collect();
    let sql = format!(
        "SELECT claim, aggregate_id FROM claims WHERE aggregate_id IN ({}) AND aggregate_type = ?",
        in_list(keys.len())
    );
    let rows = session
        .query(&sql)
        .bind_all(padded(&keys))
        .bind(aggregate_type)
        .fetch_all()
        .await?;
    rows.iter().map(|row| Ok((claim(row)?, row.get(1)?))).collect()
}

/// Returns the holders of some claims: the type and the id of each aggregate.
async fn holders(
    session: &mut impl Session,
    claims: impl Iterator<Item = Claim>,
) -> Result<BTreeMap<Claim, (String, String)>> {
    let claims: Vec<Claim> = claims.collect();
    let claims: Vec<&[u8; 32]> = claims.iter().map(|claim| &claim.0).collect();
    let mut holders = BTreeMap::new();
    for claims in claims.chunks(PAGE as usize) {
        let sql = format!(
            "SELECT claim, aggregate_type, aggregate_id FROM claims WHERE claim IN ({})",
            in_list(claims.len())
        );
        let rows = session.query(&sql).bind_all(padded(claims)).fetch_all().await?;
        for row in &rows {
            holders.insert(claim(row)?, (row.get(1)?, row.get(2)?));
        }
    }
    Ok(holders)
}

/// Returns the claim in the first column.
pub(super) fn claim(row: &Row) -> Result<Claim> {
    let bytes: Vec<u8> = row.get(0)?;
    let digest = bytes.try_into().map_err(|_| Error::Damaged {
        position: Position::BEGINNING,
        what: "a claim is not 32 bytes long",
    })?;
    Ok(Claim(digest))
}
