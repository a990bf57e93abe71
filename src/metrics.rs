//! The metrics page: counters of this process, and the state of the database at the time of the request.

mod database;
mod gauges;

use std::sync::Arc;
use std::time::Duration;

use eventstore::{AppendQueue, Clock, Database};
use futures::FutureExt;
use mailer::Ledger;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use web::Metrics;

use self::database::{DatabaseMetrics, FinishedDeliveries};

/// Prefix of every metric name.
const PREFIX: &str = "patients";
/// Timeout for the database. If it expires, the page shows the other metrics.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(4);

/// Sources of the metrics page.
struct MetricsPage {
    process: Registry,
    database: Database,
    clock: Arc<dyn Clock>,
    appends: Option<AppendQueue>,
    finished: FinishedDeliveries,
}

/// Creates the metrics page of a process. `appends` is the append queue of an API process.
pub(crate) fn page(
    role: &'static str,
    database: &Database,
    clock: Arc<dyn Clock>,
    appends: Option<AppendQueue>,
) -> Metrics {
    let mut process = Registry::with_prefix(PREFIX);
    process.register(
        "build",
        "Version of the program and role of the process",
        Info::new([("version", env!("CARGO_PKG_VERSION")), ("role", role)]),
    );
    database.metrics().register(&mut process);
    web::metrics::register(&mut process);
    api::read_log::metrics::register(&mut process);
    mailer::metrics::register(&mut process);
    tlog::metrics::register(&mut process);
    crate::traces::register(&mut process);
    let page = Arc::new(MetricsPage {
        process,
        database: database.clone(),
        clock,
        appends,
        finished: FinishedDeliveries::default(),
    });
    Metrics::new(move || {
        let page = Arc::clone(&page);
        async move { page.write().await }.boxed()
    })
}

impl MetricsPage {
    async fn write(&self) -> String {
        let mut now = Registry::with_prefix(PREFIX);
        self.pools(&mut now);
        let metrics = tokio::time::timeout(DATABASE_TIMEOUT, self.read_database()).await;
        let is_up = match metrics {
            Ok(Ok(metrics)) => {
                metrics.register(&mut now);
                true
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "the metrics of the database could not be read");
                false
            }
            Err(_) => false,
        };
        gauges::gauge(
            &mut now,
            "database_up",
            "Whether the database has responded",
            f64::from(is_up),
        );
        let mut text = String::new();
        let written = encode_registry(&mut text, &self.process)
            .and_then(|()| encode_registry(&mut text, &now))
            .and_then(|()| encode_eof(&mut text));
        if let Err(error) = written {
            tracing::error!(%error, "the metrics page could not be written");
        }
        text
    }

    async fn read_database(&self) -> eventstore::Result<DatabaseMetrics> {
        let now = self.clock.now();
        let ledger = Ledger::new(self.database.clone());
        let finished = self.finished.counts(&ledger, self.clock.as_ref());
        DatabaseMetrics::of(&self.database, &ledger, finished, now).await
    }

    /// Adds the connections and the append queue of this process.
    fn pools(&self, registry: &mut Registry) {
        let connections = gauges::family(
            registry,
            "database_connections",
            "Open database connections, by pool and state",
        );
        for (pool, used, open) in self.database.connections() {
            for (state, count) in [("used", used), ("idle", open.saturating_sub(used))] {
                gauges::set(
                    &connections,
                    &[("pool", pool), ("state", state)],
                    gauges::number(count),
                );
            }
        }
        if let Some(appends) = &self.appends {
            let (waiting, capacity) = appends.depth();
            for (name, help, value) in [
                ("append_queue_waiting", "Appends waiting to be written", waiting),
                (
                    "append_queue_capacity",
                    "Maximum number of waiting appends",
                    capacity,
                ),
            ] {
                gauges::gauge(registry, name, help, gauges::number(value));
            }
        }
    }
}
