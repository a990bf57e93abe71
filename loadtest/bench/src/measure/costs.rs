//! The cost of optional work: traces, and the record of reads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use testkit::MysqlServer;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Options;
use super::appends::latencies;
use super::reads::filled;
use crate::client::{drive, get, register};
use crate::report::{Line, Report};
use crate::server::Server;
use crate::stats::median;
use crate::{fill, limits};

const CLIENTS: usize = 64;
const WARM_UP: Duration = Duration::from_secs(2);

pub(super) async fn run(options: &Options, server: &MysqlServer, report: &mut Report) -> anyhow::Result<()> {
    traces(options, server, report).await?;
    record_of_reads(options, server, report).await
}

/// Measures registrations with every request traced, and without traces.
async fn traces(options: &Options, server: &MysqlServer, report: &mut Report) -> anyhow::Result<()> {
    let collector = Collector::start().await?;
    let endpoint = format!("http://{}", collector.address);
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        for (settings, runs) in [
            (&[][..], &mut without),
            (
                &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())][..],
                &mut with,
            ),
        ] {
            let ours = Server::on(server, settings).await?;
            drive(ours.address, CLIENTS, WARM_UP, register).await?;
            runs.push(drive(ours.address, CLIENTS, options.duration(), register).await?);
        }
    }
    let (with, without) = (median(with), median(without));
    report.add(Line {
        what: format!("registrations, each traced, {CLIENTS} clients"),
        ours: with.rate,
        unit: "/s",
        yardstick: Some(("untraced".to_owned(), without.rate)),
        goal: None,
        notes: format!(
            "{}; the collector received {} MiB",
            latencies(&with),
            collector.bytes.load(Ordering::Relaxed) >> 20
        ),
        stats: Some(with),
    });
    Ok(())
}

/// Measures histories, each recorded before its response, against plain reads of their rows.
async fn record_of_reads(options: &Options, server: &MysqlServer, report: &mut Report) -> anyhow::Result<()> {
    let patients = options.patients;
    let (ours, url) = filled(server, patients).await?;
    let ask = move || {
        get(&format!(
            "/patients/{}/history",
            fill::id(fastrand::u64(0..patients))
        ))
    };
    drive(ours.address, CLIENTS, WARM_UP, ask).await?;
    let (mut our_runs, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        our_runs.push(drive(ours.address, CLIENTS, options.duration(), ask).await?);
        bare.push(limits::histories(&url, patients, CLIENTS, options.duration()).await?);
    }
    let (our_run, bare) = (median(our_runs), median(bare));
    anyhow::ensure!(
        our_run.broken == 0 && our_run.refused == 0,
        "histories failed: {our_run:?}"
    );
    report.add(Line {
        what: format!("histories, each read recorded, {CLIENTS} clients"),
        ours: our_run.rate,
        unit: "/s",
        yardstick: Some(("bare query".to_owned(), bare.rate)),
        goal: None,
        notes: latencies(&our_run),
        stats: Some(our_run),
    });
    Ok(())
}

/// A collector that accepts and discards everything.
struct Collector {
    address: SocketAddr,
    bytes: Arc<AtomicU64>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Collector {
    async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let bytes = Arc::new(AtomicU64::new(0));
        let taken = Arc::clone(&bytes);
        let router = Router::new()
            .fallback(move |body: Bytes| async move {
                taken.fetch_add(body.len() as u64, Ordering::Relaxed);
            })
            .layer(DefaultBodyLimit::disable());
        let serving = tokio::spawn(axum::serve(listener, router).into_future());
        Ok(Self {
            address,
            bytes,
            serving,
        })
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
