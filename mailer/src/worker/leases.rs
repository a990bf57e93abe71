//! Leases of the running attempts.

use std::sync::Arc;
use std::time::Duration;

use eventstore::{Database, Result};
use tokio::sync::watch;
use tokio::time::Instant;

use super::attempt::Attempt;
use super::leasing::Job;
use super::now::Now;
use super::options::Options;
use crate::ledger::{self, Delivery};

/// Interval between renewals of a lease.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(10);

/// Leases of the running attempts.
#[derive(Debug, Default)]
pub(super) struct RunningLeases(Vec<RunningLease>);

#[derive(Debug)]
struct RunningLease {
    delivery: Delivery,
    lease: Arc<str>,
    /// Deadline for starting to send the message. After it, the lease could expire during the transfer.
    until: watch::Sender<Instant>,
    renewed: Duration,
}

impl RunningLease {
    fn needs_renewal(&self, now: Duration) -> bool {
        now.saturating_sub(self.renewed) >= RENEWAL_INTERVAL
    }
}

impl RunningLeases {
    /// Adds the lease of an attempt that begins. Returns the deadline for starting to send its message, which
    /// each renewal moves.
    pub(super) fn add(&mut self, job: &Job, options: &Options, now: Duration) -> watch::Receiver<Instant> {
        let (until, deadline) = watch::channel(Instant::now() + options.message_deadline());
        self.0.push(RunningLease {
            delivery: job.delivery.clone(),
            lease: Arc::clone(&job.lease),
            until,
            renewed: now,
        });
        deadline
    }

    /// Removes the lease of an attempt that has ended.
    pub(super) fn remove(&mut self, attempt: &Attempt) {
        self.0
            .retain(|running| !attempt.is_under(&running.delivery, &running.lease));
    }

    /// Whether a lease must be renewed.
    pub(super) fn need_renewal(&self, now: Duration) -> bool {
        self.0.iter().any(|running| running.needs_renewal(now))
    }

    /// Renews the leases of slow attempts.
    pub(super) async fn renew(&mut self, database: &Database, options: &Options, now: Now) -> Result<()> {
        let until = now.wall + options.lease();
        let deadline = Instant::now() + options.message_deadline();
        let mut session = database.writer().await?;
        for running in &mut self.0 {
            if running.needs_renewal(now.monotonic) {
                running.renewed = now.monotonic;
                // If the lease is lost, the attempt ends before its message.
                if ledger::renew(&mut session, &running.delivery, &running.lease, until).await? {
                    running.until.send_replace(deadline);
                }
            }
        }
        Ok(())
    }
}
