//! Leases: exclusive roles that are held for a limited time.
//!
//! A lease is a row with an owner and an expiry time. The owner renews the lease before it expires. If the
//! owner dies, or is stopped for longer than the lease, another process takes over. A lease makes one process
//! do the work at a time, but it cannot prevent conflicting writes: an owner that was stopped may resume
//! after another process has taken over. The writes of an owner are therefore also guarded by compare-and-set
//! (see [`crate::subscription`]).
//!
//! Each process checks the expiry with its own clock. The clocks should agree to within a fraction of the
//! lease, because a process whose clock is ahead takes over leases early. An expiry is ignored if no owner
//! could have set it with a clock up to 15 s ahead.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::database::{Database, Session};
use crate::error::{Error, Result};

/// Maximum difference between the clocks of two machines. If a lease expires later than its owner could have
/// set with such a clock, the owner's clock has been set back since, and any process may take the lease.
const CLOCKS_APART: Duration = Duration::from_secs(15);

/// Returns the latest valid expiry at `now` for a lease of `duration`. A lease with a later expiry has no
/// owner.
#[must_use]
pub fn latest_expiry(now: Timestamp, duration: Duration) -> Timestamp {
    now + duration + CLOCKS_APART
}

/// Pauses between attempts to release a lease.
const RELEASE_PAUSES: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
];

/// Duration of the leases of subscriptions.
pub const DEFAULT_DURATION: Duration = Duration::from_secs(5);

/// A lease on one exclusive role, whether held or not.
#[derive(Debug)]
pub struct Lease {
    database: Database,
    clock: Arc<dyn Clock>,
    name: String,
    owner: String,
    duration: Duration,
    expires_at: Option<Timestamp>,
    /// Whether this owner may have got the lease, although the answer of the database did not arrive.
    may_be_held: bool,
}

impl Lease {
    /// Creates a lease, not yet held, for `owner` (unique among all processes, at most 128 bytes) on the role
    /// `name` (at most 64 bytes).
    #[must_use]
    pub const fn new(
        database: Database,
        clock: Arc<dyn Clock>,
        name: String,
        owner: String,
        duration: Duration,
    ) -> Self {
        Self {
            database,
            clock,
            name,
            owner,
            duration,
            expires_at: None,
            may_be_held: false,
        }
    }

    /// Returns the owner that this lease is for.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Returns the expiry while the lease is held. It changes whenever the lease is taken or renewed.
    #[must_use]
    pub const fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Takes the lease if it is free, or renews it if this owner holds it and at least half of its time has
    /// passed. Returns whether the lease is held.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Database`], [`crate::Error::Timeout`]. The lease then counts as not held.
    pub async fn hold(&mut self) -> Result<bool> {
        let now = self.clock.now();
        // A later expiry means that the clock has been set back since. The lease would then seem valid for as
        // long as the clock was ahead.
        let believable = now + self.duration;
        if self
            .expires_at
            .is_some_and(|expires_at| now + self.duration / 2 < expires_at && expires_at <= believable)
        {
            return Ok(true);
        }
        self.expires_at = None;
        let expires_at = now + self.duration;
        let mut connection = self.database.writer().await?;
        self.may_be_held = true;
        let taken = connection
            .query(
                "UPDATE leases SET owner = ?, expires_at = ? WHERE name = ? \
                 AND (owner = ? OR expires_at <= ? OR expires_at > ?)",
            )
            .bind(self.owner.as_str())
            .bind(expires_at)
            .bind(self.name.as_str())
            .bind(self.owner.as_str())
            .bind(now)
            .bind(latest_expiry(now, self.duration))
            .execute()
            .await?;
        let taken = taken == 1 || {
            let sql = format!(
                "{} INTO leases (name, owner, expires_at) VALUES (?, ?, ?)",
                self.database.dialect().insert_ignore()
            );
            let inserted = connection
                .query(&sql)
                .bind(self.name.as_str())
                .bind(self.owner.as_str())
                .bind(expires_at)
                .execute()
                .await?;
            inserted == 1
        };
        self.may_be_held = taken;
        if taken {
            self.expires_at = Some(expires_at);
        }
        Ok(taken)
    }

    /// Releases the lease, so that another process need not wait for it to expire. Retries a few times if
    /// other transactions block it, or if the connection is lost, but for no longer than the duration of the
    /// lease.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Database`], [`crate::Error::Timeout`]. The lease then expires by itself.
    pub async fn release(&mut self) -> Result<()> {
        if self.expires_at.take().is_none() && !self.may_be_held {
            return Ok(());
        }
        let duration = self.duration;
        tokio::time::timeout(duration, self.release_with_retries())
            .await
            .unwrap_or(Err(Error::Timeout(duration)))
    }

    async fn release_with_retries(&mut self) -> Result<()> {
        for pause in RELEASE_PAUSES {
            match self.try_release().await {
                Err(error) if error.is_contention() || error.is_connection() => {
                    tokio::time::sleep(pause).await;
                }
                ended => return ended,
            }
        }
        self.try_release().await
    }

    async fn try_release(&mut self) -> Result<()> {
        self.database
            .writer()
            .await?
            .query("UPDATE leases SET expires_at = 0 WHERE name = ? AND owner = ?")
            .bind(self.name.as_str())
            .bind(self.owner.as_str())
            .execute()
            .await?;
        self.may_be_held = false;
        Ok(())
    }
}
