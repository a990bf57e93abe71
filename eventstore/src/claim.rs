//! Claims: values that at most one aggregate holds at a time.
//!
//! Claims are taken and released in the transaction of the append that changes them. The value itself is not
//! stored, only a SHA-256 hash of its kind and value. The hash is enough for comparison and avoids a second
//! copy of personal data.

pub mod table;

use std::collections::BTreeSet;

use cqrs_es::persist::SerializedEvent;
use sha2::{Digest, Sha256};

use crate::database::Session;
use crate::error::Result;

/// The hash of a unique value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claim(pub(crate) [u8; 32]);

impl Claim {
    /// Returns the claim on `value` among values of that `kind`. The caller normalizes `value` so that equal
    /// values have the same form.
    #[must_use]
    pub fn on(kind: &str, value: &str) -> Self {
        let mut sha = Sha256::new();
        sha.update(kind.as_bytes());
        // A kind has no NUL byte, so different pairs of kind and value never produce the same bytes.
        sha.update([0]);
        sha.update(value.as_bytes());
        Self(sha.finalize().into())
    }

    /// Returns the id of the aggregate that currently holds the claim, if any.
    ///
    /// # Errors
    ///
    /// [`Error::Database`](crate::Error::Database).
    pub async fn holder(&self, session: &mut impl Session) -> Result<Option<String>> {
        session
            .query("SELECT aggregate_id FROM claims WHERE claim = ?")
            .bind(self.0.as_slice())
            .fetch_optional()
            .await?
            .map(|row| row.get(0))
            .transpose()
    }
}

/// A change that an event makes to the claims of its aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimChange {
    /// The aggregate takes the claim. The append fails if another aggregate holds it.
    Take(Claim),
    /// The aggregate releases the claim, if it holds it.
    Release(Claim),
    /// The aggregate releases all its claims.
    ReleaseAll,
}

/// Rules for how events change the claims of their aggregates.
pub trait ClaimRules: Send + Sync + 'static {
    /// Returns the changes that `event` makes, in order.
    ///
    /// # Errors
    ///
    /// If the event cannot be read. The event is then not appended.
    fn changes(
        &self,
        event: &SerializedEvent,
    ) -> std::result::Result<Vec<ClaimChange>, Box<dyn std::error::Error + Send + Sync>>;

    /// Returns the claim that an older version of the rules took for `event`, if that claim differs from the
    /// current claim. The aggregate may hold either claim.
    fn older(&self, _event: &SerializedEvent) -> Option<Claim> {
        None
    }
}

/// Rules under which no event changes a claim.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoClaims;

impl ClaimRules for NoClaims {
    fn changes(
        &self,
        _event: &SerializedEvent,
    ) -> std::result::Result<Vec<ClaimChange>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Vec::new())
    }
}

/// Returns the claims that an aggregate holds after `changes`, starting with no claims.
#[must_use]
pub fn held<'c>(changes: impl IntoIterator<Item = &'c ClaimChange>) -> BTreeSet<Claim> {
    let mut held = BTreeSet::new();
    for change in changes {
        match change {
            ClaimChange::Take(claim) => {
                held.insert(*claim);
            }
            ClaimChange::Release(claim) => {
                held.remove(claim);
            }
            ClaimChange::ReleaseAll => held.clear(),
        }
    }
    held
}

/// Returns `changes` with every released claim listed explicitly. The changes `before` determine the claims
/// that the aggregate has taken. Other claims that the table assigns to the aggregate are not released.
pub(crate) fn exactly(before: &[ClaimChange], changes: Vec<ClaimChange>) -> Vec<ClaimChange> {
    let mut held = held(before);
    let mut exact = Vec::with_capacity(changes.len());
    for change in changes {
        match change {
            ClaimChange::Take(claim) => {
                held.insert(claim);
                exact.push(change);
            }
            ClaimChange::Release(claim) => {
                held.remove(&claim);
                exact.push(change);
            }
            ClaimChange::ReleaseAll => {
                exact.extend(std::mem::take(&mut held).into_iter().map(ClaimChange::Release));
            }
        }
    }
    exact
}
