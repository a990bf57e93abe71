//! Leases: exclusive roles, held for a time.
//!
//! A lease is a row with an owner and an expiry. Whoever holds it renews it before it runs out; if the holder
//! dies, or is stopped for longer than the lease, another takes over. A lease makes one process do the work;
//! it does not make the work safe: an owner that was stopped may wake after its lease has passed on, so what
//! it writes is guarded by compare-and-set as well (see [`crate::subscription`]).
//!
//! Expiry is judged by the clocks of the processes, which should agree to within a fraction of the lease: one
//! that is ahead takes leases over early. A lease that runs for longer than any owner could have made it, by
//! a clock up to 15 s ahead, is not believed.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::database::{Database, Session};
use crate::error::Result;

/// How far apart the clocks of two machines may be. A lease that runs longer than its owner could have made
/// it by such a clock was made by one that has been set back since, and anybody may take it.
const CLOCKS_APART: Duration = Duration::from_secs(15);

/// The latest expiry at `now` of a lease that is held for `duration`: beyond it, nobody holds the lease.
#[must_use]
pub fn latest_expiry(now: Timestamp, duration: Duration) -> Timestamp {
    now + duration + CLOCKS_APART
}

/// How long subscriptions hold their leases.
pub const DEFAULT_DURATION: Duration = Duration::from_secs(5);

/// A claim to one exclusive role, whether held or not.
#[derive(Debug)]
pub struct Lease {
    database: Database,
    clock: Arc<dyn Clock>,
    name: String,
    owner: String,
    duration: Duration,
    expires_at: Option<Timestamp>,
}

impl Lease {
    /// A claim by `owner` (unique among all processes, at most 128 bytes) to the role `name` (at most 64
    /// bytes).
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
        }
    }

    /// Who claims it.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Until when it is held, if it is; it changes whenever it is taken or renewed.
    #[must_use]
    pub const fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Takes the lease if it is free, renews it if it is ours and at least half used up; whether it is held.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Database`]; then it is not held.
    pub async fn hold(&mut self) -> Result<bool> {
        let now = self.clock.now();
        // Beyond that, the clock has been set back since, and what the row says would hold for as long as it
        // was ahead.
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
        if taken {
            self.expires_at = Some(expires_at);
        }
        Ok(taken)
    }

    /// Gives the lease up, so that another need not wait for it to run out.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Database`]; then it runs out by itself.
    pub async fn release(&mut self) -> Result<()> {
        if self.expires_at.take().is_some() {
            self.database
                .writer()
                .await?
                .query("UPDATE leases SET expires_at = 0 WHERE name = ? AND owner = ?")
                .bind(self.name.as_str())
                .bind(self.owner.as_str())
                .execute()
                .await?;
        }
        Ok(())
    }
}
