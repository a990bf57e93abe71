//! Searches by the words of a name, over HTTP.

use std::time::Duration;

use testkit::MysqlServer;

use super::Options;
use super::reads::filled;
use crate::client::{Ask, drive, get};
use crate::fill;
use crate::report::{Goal, Line, Report};
use crate::stats::middle;

const CLIENTS: usize = 8;
const WARM_UP: Duration = Duration::from_secs(1);

/// The queries: a name that few patients have, one word, several words, beginnings of words, words that no
/// patient has, and single letters.
const QUERIES: [&str; 9] = [
    "inigo%20nunez%20garrido",
    "garcia",
    "garcia%20ana",
    "lopez%20garcia%20maria",
    "mar",
    "ma%20g",
    "a",
    "m%20m%20m",
    "xavier%20a",
];

pub(super) async fn run(options: &Options, server: &MysqlServer, report: &mut Report) -> anyhow::Result<()> {
    let patients = options.replayed;
    let (ours, _) = filled(server, patients).await?;
    for query in QUERIES {
        let (mut searches, mut pages) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            pages.push(p99(options, ours.address, move || page(patients, "")).await?);
            let search = move || page(patients, &format!("&name={query}"));
            searches.push(p99(options, ours.address, search).await?);
        }
        report.add(Line {
            what: format!(
                "p99 of a search for `{}`, {patients} patients, {CLIENTS} clients",
                query.replace("%20", " ")
            ),
            ours: middle(searches),
            unit: "ms",
            yardstick: Some(("page without a search".to_owned(), middle(pages))),
            goal: Some(Goal::RatioAtMost(3.0)),
            stats: None,
            notes: String::new(),
        });
    }
    Ok(())
}

/// Returns the request for a page that begins anywhere in the list.
fn page(patients: u64, search: &str) -> Ask {
    let after = fill::id(fastrand::u64(0..patients));
    get(&format!("/patients?limit=100&after={after}{search}"))
}

/// Returns the 99th percentile of the latencies, in milliseconds.
async fn p99(
    options: &Options,
    address: std::net::SocketAddr,
    ask: impl Fn() -> Ask + Clone + Send + 'static,
) -> anyhow::Result<f64> {
    drive(address, CLIENTS, WARM_UP, ask.clone()).await?;
    let run = drive(address, CLIENTS, options.duration(), ask).await?;
    anyhow::ensure!(run.broken == 0 && run.refused == 0, "pages failed: {run:?}");
    Ok(run.p99)
}
