//! Metrics of the log, its subscriptions and the mail ledger. They come from the database, so they cover all
//! processes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventstore::{Clock, Database, EventLog, Followed, Position, SubscriptionFailure, Timestamp, overview};
use mailer::{DeliveryState, Ledger, ServerState, UnfinishedDeliveries, WorkerStatus};
use prometheus_client::registry::Registry;

use super::gauges::{family, gauge, number, set};

/// Minimum time between counts of finished deliveries. A count reads every row of the ledger.
const COUNT_INTERVAL: Duration = Duration::from_mins(1);

/// Whether an event causes the failure.
fn is_at_event(failure: Option<&SubscriptionFailure>) -> bool {
    failure.is_some_and(|failure| failure.position.is_some())
}

/// The last counts of finished deliveries. Counting reads every row of the ledger and can take longer than a
/// page request may take, so it runs in the background.
#[derive(Debug, Clone, Default)]
pub(super) struct FinishedDeliveries(Arc<Mutex<LastCount>>);

#[derive(Debug, Default)]
struct LastCount {
    counts: Vec<(DeliveryState, u64)>,
    /// Monotonic time at which the last count began. A statement takes less than [`COUNT_INTERVAL`], so
    /// counts never overlap.
    began: Option<Duration>,
}

impl FinishedDeliveries {
    /// Returns the last counts. Starts a new count if the last counts are older than [`COUNT_INTERVAL`].
    pub(super) fn counts(&self, ledger: &Ledger, clock: &dyn Clock) -> Vec<(DeliveryState, u64)> {
        let mut last = self.lock();
        let now = clock.monotonic();
        if last
            .began
            .is_none_or(|began| now.saturating_sub(began) > COUNT_INTERVAL)
        {
            last.began = Some(now);
            tokio::spawn(self.clone().count(ledger.clone()));
        }
        last.counts.clone()
    }

    async fn count(self, ledger: Ledger) {
        match ledger.finished().await {
            Ok(counts) => self.lock().counts = counts.to_vec(),
            Err(error) => tracing::debug!(%error, "the emails could not be counted"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, LastCount> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Metrics from the state of the database.
pub(super) struct DatabaseMetrics {
    head: Position,
    followed: Vec<Followed>,
    deliveries: Vec<(DeliveryState, u64)>,
    oldest_waiting: Duration,
    oldest_due: Duration,
    due_too_late: u64,
    workers: Vec<WorkerStatus>,
}

impl DatabaseMetrics {
    pub(super) async fn of(
        database: &Database,
        ledger: &Ledger,
        finished: Vec<(DeliveryState, u64)>,
        now: Timestamp,
    ) -> eventstore::Result<Self> {
        let UnfinishedDeliveries {
            counts,
            oldest,
            oldest_due,
            due_too_late,
        } = ledger.unfinished(now).await?;
        Ok(Self {
            head: EventLog::new(database.clone()).head().await?.position,
            followed: overview(database, now).await?,
            deliveries: counts.into_iter().chain(finished).collect(),
            oldest_waiting: oldest.map_or(Duration::ZERO, |oldest| now.since(oldest)),
            oldest_due: oldest_due.map_or(Duration::ZERO, |oldest| now.since(oldest)),
            due_too_late,
            workers: ledger.workers(now).await?,
        })
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        self.subscriptions(registry);
        self.projections(registry);
        self.mail(registry);
    }

    fn subscriptions(&self, registry: &mut Registry) {
        gauge(
            registry,
            "log_position",
            "Position of the last event in the log",
            number(self.head.get()),
        );
        let position = family(
            registry,
            "subscription_position",
            "Position of the last event that the subscription has finished",
        );
        let events = family(
            registry,
            "subscription_lag_events",
            "Events that the subscription has not finished",
        );
        let seconds = family(
            registry,
            "subscription_lag_seconds",
            "Waiting time of the first event that the subscription has not finished",
        );
        let owned = family(
            registry,
            "subscription_owned",
            "Whether a process owns the subscription",
        );
        let stopped = family(
            registry,
            "subscription_stopped",
            "Whether the subscription has stopped at an event that it cannot apply, or is damaged",
        );
        let attempts = family(
            registry,
            "subscription_failing_attempts",
            "Number of consecutive failures of the subscription",
        );
        for followed in &self.followed {
            let name = &[("subscription", followed.name.as_str())];
            let failure = followed.failure.as_ref();
            set(&position, name, number(followed.position.get()));
            set(&events, name, number(followed.lag_events));
            set(&seconds, name, followed.lag_seconds);
            set(&owned, name, f64::from(followed.owner.is_some()));
            let is_stopped = is_at_event(failure) || followed.damage.is_some();
            set(&stopped, name, f64::from(is_stopped));
            set(
                &attempts,
                name,
                failure.map_or(0.0, |failure| number(failure.attempts)),
            );
        }
    }

    fn projections(&self, registry: &mut Registry) {
        let active = family(
            registry,
            "projection_active_generation",
            "Generation of the read table that is served",
        );
        let skips = family(
            registry,
            "projection_skipped_events",
            "Events that the projection skips on an operator's decision",
        );
        let rebuild = family(
            registry,
            "projection_rebuild_position",
            "Position of the unfinished rebuild",
        );
        let stopped = family(
            registry,
            "projection_rebuild_stopped",
            "Whether the rebuild has stopped at an event that it cannot apply",
        );
        for (name, projection) in self
            .followed
            .iter()
            .filter_map(|followed| Some((followed.name.as_str(), followed.projection.as_ref()?)))
        {
            let label = &[("projection", name)];
            set(&active, label, number(projection.active_generation));
            set(&skips, label, number(projection.skips.len()));
            let failure = projection
                .rebuild
                .as_ref()
                .and_then(|rebuild| rebuild.failure.as_ref());
            set(&stopped, label, f64::from(is_at_event(failure)));
            if let Some(rebuild_status) = &projection.rebuild {
                let position = rebuild_status
                    .position
                    .map_or(0.0, |position| number(position.get()));
                set(&rebuild, label, position);
            }
        }
    }

    fn mail(&self, registry: &mut Registry) {
        let deliveries = family(
            registry,
            "mail_deliveries",
            "Emails by state; sent, dead and cancelled emails are counted at most once a minute",
        );
        for (state, count) in &self.deliveries {
            set(&deliveries, &[("state", state.name())], number(*count));
        }
        gauge(
            registry,
            "mail_oldest_waiting_seconds",
            "Waiting time of the oldest unsent email",
            self.oldest_waiting.as_secs_f64(),
        );
        gauge(
            registry,
            "mail_oldest_due_seconds",
            "Time since the oldest due email became due",
            self.oldest_due.as_secs_f64(),
        );
        gauge(
            registry,
            "mail_due_too_late",
            "Mails that are due later than the schedule allows because a clock was wrong",
            number(self.due_too_late),
        );
        let workers = family(
            registry,
            "mail_workers",
            "Sending processes, by the state of their mail server",
        );
        for state in [ServerState::Ready, ServerState::Down, ServerState::Refused] {
            let count = self.workers.iter().filter(|worker| worker.state == state).count();
            set(&workers, &[("state", state.name())], number(count));
        }
    }
}
