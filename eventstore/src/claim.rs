//! Claims: values that at most one aggregate holds at a time.
//!
//! Claims are taken and released in the transaction of the append that changes them. The value itself is not
//! stored, only a hash of its kind and value, which is enough for comparison: SHA-256, or HMAC-SHA-256 with a
//! secret of the keyring. Values that can be guessed, such as email addresses, need the secret.

pub mod table;

use sha2::{Digest, Sha256};

use crate::database::Session;
use crate::error::Result;
use crate::event::NewEvent;
use crate::sealing::Keyring;

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

    /// Like [`Claim::on`], but hashes with the keyring's secret for claims. Without the secret, the value
    /// cannot be guessed from the hash.
    #[must_use]
    pub fn keyed(keyring: &Keyring, kind: &str, value: &str) -> Self {
        Self(keyring.claim_hash(kind, value))
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
    /// The aggregate releases all claims that it holds, including claims of earlier rules.
    ReleaseAll,
}

/// A claim that an aggregate holds because of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldClaim {
    /// The claim.
    pub claim: Claim,
    /// The claims that older versions of the rules took instead. The aggregate may hold any of these claims,
    /// and releases all of them together. A claim in yet another form is not released with them:
    /// [`table::verify()`] reports it, and [`table::rebuild()`] replaces it.
    pub older: Vec<Claim>,
    /// Whether the aggregate may lack the claim. While the rules of a log are being replaced, not every
    /// aggregate has the claims of the new rules yet.
    pub optional: bool,
}

impl HeldClaim {
    /// Creates a held claim without an older form.
    #[must_use]
    pub const fn new(claim: Claim) -> Self {
        Self {
            claim,
            older: Vec::new(),
            optional: false,
        }
    }
}

/// Rules for the claims that an aggregate holds. The claims follow from the state of the aggregate, so an
/// append releases the claims of the state before it and takes the claims of the state after it.
pub trait ClaimRules: Send + Sync + 'static {
    /// Returns the claims that an aggregate holds after `events`, which are all its events in order.
    ///
    /// # Errors
    ///
    /// If an event cannot be read. No further event of the aggregate is then appended.
    fn held(&self, events: &[NewEvent]) -> std::result::Result<Vec<HeldClaim>, ClaimRulesError>;

    /// Version of the rules, a number that the service chooses, or `None` if the rules never change. A sealed
    /// log stores the version ([`LogFormat::claims`](crate::LogFormat::claims)), and rejects every append
    /// that was prepared with rules of another version.
    fn version(&self) -> Option<i64> {
        None
    }

    /// Whether an aggregate releases all claims with these new events, including claims of earlier rules and
    /// claims that the table wrongly assigns to it.
    fn releases_all(&self, _events: &[NewEvent]) -> bool {
        false
    }

    /// Whether an aggregate that cannot get its claim, because an older aggregate has it, keeps the claims of
    /// earlier rules when the table is repaired.
    fn keeps_earlier_claims(&self) -> bool {
        false
    }
}

/// An error of [`ClaimRules`].
pub type ClaimRulesError = Box<dyn std::error::Error + Send + Sync>;

/// Rules under which no aggregate holds a claim.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoClaims;

impl ClaimRules for NoClaims {
    fn held(&self, _events: &[NewEvent]) -> std::result::Result<Vec<HeldClaim>, ClaimRulesError> {
        Ok(Vec::new())
    }
}

/// Returns the changes from the claims `before` an append to the claims `after` it.
#[must_use]
pub fn changes(before: &[HeldClaim], after: &[HeldClaim]) -> Vec<ClaimChange> {
    let is_in = |held: &[HeldClaim], claim: Claim| held.iter().any(|held| held.claim == claim);
    let released = before
        .iter()
        .filter(|held| !is_in(after, held.claim))
        .flat_map(|held| std::iter::once(held.claim).chain(held.older.iter().copied()))
        .map(ClaimChange::Release);
    let taken = after
        .iter()
        .filter(|held| !is_in(before, held.claim))
        .map(|held| ClaimChange::Take(held.claim));
    released.chain(taken).collect()
}
