//! Claims: values that at most one aggregate holds at a time.
//!
//! A claim is taken and released in the transaction of the append that says so. The value itself is not
//! stored, only SHA-256 over its kind and the value: enough to compare, and no second copy of personal data.

pub mod table;

use std::collections::BTreeSet;

use cqrs_es::persist::SerializedEvent;
use sha2::{Digest, Sha256};

use crate::database::Session;
use crate::error::Result;

/// A unique value, hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claim(pub(crate) [u8; 32]);

impl Claim {
    /// The claim on `value` among the values of that `kind`. Whoever calls brings equal values into one form
    /// first.
    #[must_use]
    pub fn on(kind: &str, value: &str) -> Self {
        let mut sha = Sha256::new();
        sha.update(kind.as_bytes());
        // A kind has no NUL byte, so no two pairs of kind and value run into the same bytes.
        sha.update([0]);
        sha.update(value.as_bytes());
        Self(sha.finalize().into())
    }

    /// The id of the aggregate that holds it at the moment, if one does.
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

/// What an event does to the claims of its aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimChange {
    /// The aggregate takes the claim; the append fails if another one holds it.
    Take(Claim),
    /// The aggregate gives up that claim, if it holds it.
    Release(Claim),
    /// The aggregate gives up all that it holds.
    ReleaseAll,
}

/// Tells what an event does to the claims of its aggregate.
pub trait ClaimRules: Send + Sync + 'static {
    /// The changes that come with `event`, in order.
    ///
    /// # Errors
    ///
    /// If the event cannot be read; then it is not appended.
    fn changes(
        &self,
        event: &SerializedEvent,
    ) -> std::result::Result<Vec<ClaimChange>, Box<dyn std::error::Error + Send + Sync>>;

    /// The claim that an older version of the rules took with `event`, where it is another one than today:
    /// the aggregate may hold either.
    fn older(&self, _event: &SerializedEvent) -> Option<Claim> {
        None
    }
}

/// No event claims anything.
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

/// The claims that an aggregate holds after `changes`, the first of them from when it had none.
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

/// `changes`, with each claim named that is given up, since the changes `before` say which the aggregate has
/// taken. Another claim that the table shows as the aggregate's is not its own, and not given up.
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
