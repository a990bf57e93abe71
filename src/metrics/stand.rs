//! How the log, what follows it, and the mail ledger stand: from the database, and so for all processes
//! together.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventstore::{Clock, Database, EventLog, Failure, Followed, Position, Timestamp, overview};
use mailer::{DeliveryState, Ledger, Standing, Waiting, WorkerStatus};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// How long the deliveries that are over are not counted again: that reads every row of the ledger.
const COUNT_EVERY: Duration = Duration::from_mins(1);

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;

/// Gauges under one name in `registry`.
pub(super) fn family(registry: &mut Registry, name: &str, help: &str) -> Gauges {
    let family = Gauges::default();
    registry.register(name, help, family.clone());
    family
}

/// The one gauge under a name in `registry`.
pub(super) fn gauge(registry: &mut Registry, name: &str, help: &str, value: f64) {
    let gauge = Gauge::<f64, AtomicU64>::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

/// Sets the gauge with these labels.
pub(super) fn set(family: &Gauges, labels: &[(&'static str, &str)], value: f64) {
    let labels: Labels = labels
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    family.get_or_create(&labels).set(value);
}

/// A count for a gauge: Prometheus knows floating-point numbers only.
pub(super) fn number(count: impl TryInto<u64>) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "exact to 2⁵³, beyond which no log comes"
    )]
    count.try_into().map_or(f64::NAN, |count| count as f64)
}

/// Whether it is an event that is at fault.
fn stands_still(failure: Option<&Failure>) -> bool {
    failure.is_some_and(|failure| failure.position.is_some())
}

/// How many deliveries are over, as they were counted last. Counting reads every row of the ledger, which may
/// take longer than anybody waits for a page; so it is done beside the pages.
#[derive(Debug, Clone, Default)]
pub(super) struct Finished(Arc<Mutex<Counted>>);

#[derive(Debug, Default)]
struct Counted {
    counts: Vec<(DeliveryState, u64)>,
    /// When counting began last, by the monotonic clock. A statement takes less than [`COUNT_EVERY`], so that
    /// no two count at a time.
    began: Option<Duration>,
}

impl Finished {
    /// What was counted last; begins to count anew if that was long ago.
    pub(super) fn counted(&self, ledger: &Ledger, clock: &dyn Clock) -> Vec<(DeliveryState, u64)> {
        let mut counted = self.lock();
        let now = clock.monotonic();
        if counted
            .began
            .is_none_or(|began| now.saturating_sub(began) > COUNT_EVERY)
        {
            counted.began = Some(now);
            tokio::spawn(self.clone().count(ledger.clone(), clock.now()));
        }
        counted.counts.clone()
    }

    async fn count(self, ledger: Ledger, now: Timestamp) {
        let over = [DeliveryState::Sent, DeliveryState::Dead, DeliveryState::Cancelled];
        match ledger.status(now).await {
            Ok(status) => {
                let counts = status.counts.into_iter();
                self.lock().counts = counts.filter(|(state, _)| over.contains(state)).collect();
            }
            Err(error) => tracing::debug!(%error, "the mails could not be counted"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the database says.
pub(super) struct Stand {
    head: Position,
    followed: Vec<Followed>,
    deliveries: Vec<(DeliveryState, u64)>,
    oldest_waiting: Duration,
    oldest_due: Duration,
    due_too_late: u64,
    workers: Vec<WorkerStatus>,
}

impl Stand {
    pub(super) async fn of(
        database: &Database,
        ledger: &Ledger,
        finished: Vec<(DeliveryState, u64)>,
        now: Timestamp,
    ) -> eventstore::Result<Self> {
        let Waiting {
            counts,
            oldest,
            oldest_due,
            ahead,
        } = ledger.waiting(now).await?;
        Ok(Self {
            head: EventLog::new(database.clone()).head().await?.position,
            followed: overview(database, now).await?,
            deliveries: counts.into_iter().chain(finished).collect(),
            oldest_waiting: oldest.map_or(Duration::ZERO, |oldest| now.since(oldest)),
            oldest_due: oldest_due.map_or(Duration::ZERO, |oldest| now.since(oldest)),
            due_too_late: ahead,
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
            "The position of the log's last event",
            number(self.head.get()),
        );
        let position = family(
            registry,
            "subscription_position",
            "The last event that a subscription has finished",
        );
        let events = family(
            registry,
            "subscription_lag_events",
            "Events that a subscription has not finished",
        );
        let seconds = family(
            registry,
            "subscription_lag_seconds",
            "How long the first event that a subscription has not finished has waited",
        );
        let owned = family(
            registry,
            "subscription_owned",
            "Whether a process owns the subscription",
        );
        let stopped = family(
            registry,
            "subscription_stopped",
            "Whether the subscription stands still at an event that it cannot apply, or is damaged",
        );
        let attempts = family(
            registry,
            "subscription_failing_attempts",
            "How often in a row the subscription has failed",
        );
        for followed in &self.followed {
            let name = &[("subscription", followed.name.as_str())];
            let failure = followed.failure.as_ref();
            set(&position, name, number(followed.position.get()));
            set(&events, name, number(followed.lag_events));
            set(&seconds, name, followed.lag_seconds);
            set(&owned, name, f64::from(followed.owner.is_some()));
            let stands = stands_still(failure) || followed.damage.is_some();
            set(&stopped, name, f64::from(stands));
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
            "The generation of the read table that is served",
        );
        let skips = family(
            registry,
            "projection_skipped_events",
            "Events that the projection passes over because somebody said so",
        );
        let rebuild = family(
            registry,
            "projection_rebuild_position",
            "How far a rebuild that is not over has come",
        );
        let stopped = family(
            registry,
            "projection_rebuild_stopped",
            "Whether a rebuild stands still at an event that it cannot apply",
        );
        for (name, projection) in self
            .followed
            .iter()
            .filter_map(|followed| Some((followed.name.as_str(), followed.projection.as_ref()?)))
        {
            let label = &[("projection", name)];
            set(&active, label, number(projection.active_generation));
            set(&skips, label, number(projection.skips.len()));
            if let Some(under_way) = &projection.rebuild {
                let position = under_way.position.map_or(0.0, |position| number(position.get()));
                set(&rebuild, label, position);
                set(
                    &stopped,
                    label,
                    f64::from(stands_still(under_way.failure.as_ref())),
                );
            }
        }
    }

    fn mail(&self, registry: &mut Registry) {
        let deliveries = family(
            registry,
            "mail_deliveries",
            "Mails in each state; those that are over are counted once a minute",
        );
        for (state, count) in &self.deliveries {
            set(&deliveries, &[("state", state.name())], number(*count));
        }
        gauge(
            registry,
            "mail_oldest_waiting_seconds",
            "How long the oldest mail that has not left has waited",
            self.oldest_waiting.as_secs_f64(),
        );
        gauge(
            registry,
            "mail_oldest_due_seconds",
            "How long the mail that has been due for longest has been due",
            self.oldest_due.as_secs_f64(),
        );
        gauge(
            registry,
            "mail_due_too_late",
            "Mails that are due later than the schedule allows, because a clock was wrong",
            number(self.due_too_late),
        );
        let workers = family(
            registry,
            "mail_workers",
            "Processes that send, by how they stand with their server",
        );
        for standing in [Standing::Ready, Standing::Down, Standing::Refused] {
            let count = self
                .workers
                .iter()
                .filter(|worker| worker.standing == standing)
                .count();
            set(&workers, &[("state", standing.name())], number(count));
        }
    }
}
