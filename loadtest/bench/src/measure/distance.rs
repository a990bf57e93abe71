//! Registrations over a distance between the program and its database.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use chart::{Chart, Line as Curve, Scale};
use sqlx::{Connection, Executor, MySqlConnection};
use testkit::{MysqlServer, Proxy};

use super::Options;
use super::appends::latencies;
use crate::client::{drive, register};
use crate::report::{Goal, Line, Report};
use crate::server::Server;
use crate::stats::{Stats, median, middle};

const WARM_UP: Duration = Duration::from_secs(2);
/// Number of round trips of which the median is reported.
const ROUND_TRIPS: usize = 21;
const CLIENTS: usize = 64;
const MANY_CLIENTS: usize = 256;

/// Points of a curve: the duration of a round trip in milliseconds, and registrations per second.
type Points = Vec<Option<(f64, f64)>>;

/// A database server at a distance from its clients.
struct Distant {
    proxy: Proxy,
    server: MysqlServer,
}

impl Distant {
    async fn start(server: &MysqlServer) -> anyhow::Result<Self> {
        let (rest, port) = server
            .url
            .trim_end_matches('/')
            .rsplit_once(':')
            .context("a port")?;
        let proxy = Proxy::start(port.parse()?).await;
        let url = format!("{rest}:{}", proxy.port());
        let server = MysqlServer {
            url,
            ..server.clone()
        };
        Ok(Self { proxy, server })
    }

    /// Moves the server away, by this time in each direction. Returns the median duration of a round trip in
    /// milliseconds.
    async fn move_to(&self, each_way: Duration) -> anyhow::Result<f64> {
        self.proxy.delay(each_way);
        let mut connection = MySqlConnection::connect(&self.server.url).await?;
        let mut durations = Vec::new();
        for _ in 0..ROUND_TRIPS {
            let began = Instant::now();
            connection.execute("DO 1").await?;
            durations.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        connection.close().await?;
        Ok(middle(durations))
    }
}

/// The results of the program and of yardstick (a).
struct Both {
    ours: Stats,
    theirs: Stats,
}

pub(super) async fn run(options: &Options, server: &MysqlServer, report: &mut Report) -> anyhow::Result<()> {
    let distant = Distant::start(server).await?;
    let ours = Server::on(&distant.server, &[]).await?;
    let (theirs, _program, _database) = Server::baseline(&distant.server).await?;
    let measure = async |clients: usize| {
        let (mut our_runs, mut their_runs) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            for (address, runs) in [(ours.address, &mut our_runs), (theirs, &mut their_runs)] {
                drive(address, clients, WARM_UP, register).await?;
                runs.push(drive(address, clients, options.duration(), register).await?);
            }
        }
        anyhow::Ok(Both {
            ours: median(our_runs),
            theirs: median(their_runs),
        })
    };
    let (mut our_curve, mut their_curve) = (Vec::new(), Vec::new());
    for each_way in [0, 1, 2, 5, 10, 20] {
        let round_trip = distant.move_to(Duration::from_millis(each_way)).await?;
        let both = measure(CLIENTS).await?;
        our_curve.push(Some((round_trip, both.ours.rate)));
        their_curve.push(Some((round_trip, both.theirs.rate)));
        let at = format!("{each_way} ms each way to the database");
        let goal = (each_way == 1).then_some(Goal::RatioAtLeast(12.0));
        report.add(rates(
            format!("registrations, {at}, {CLIENTS} clients"),
            both,
            round_trip,
            goal,
        ));
        if each_way == 1 {
            let both = measure(1).await?;
            report.add(Line {
                what: format!("registration, {at}, 1 client, median latency"),
                ours: both.ours.p50,
                unit: "ms",
                yardstick: Some(("(a)".to_owned(), both.theirs.p50)),
                goal: Some(Goal::RatioAtMost(0.3)),
                notes: format!("a round trip takes {round_trip:.1} ms"),
                stats: Some(both.ours),
            });
        }
        if each_way == 10 {
            let what = format!("registrations, {at}, {MANY_CLIENTS} clients");
            let both = measure(MANY_CLIENTS).await?;
            report.add(rates(what, both, round_trip, Some(Goal::RatioAtLeast(20.0))));
        }
    }
    if let Some(file) = &options.plot {
        plot(file, our_curve, their_curve)?;
    }
    Ok(())
}

fn rates(what: String, both: Both, round_trip: f64, goal: Option<Goal>) -> Line {
    Line {
        what,
        ours: both.ours.rate,
        unit: "/s",
        yardstick: Some(("(a)".to_owned(), both.theirs.rate)),
        goal,
        notes: format!("a round trip takes {round_trip:.1} ms; {}", latencies(&both.ours)),
        stats: Some(both.ours),
    }
}

fn plot(file: &Path, ours: Points, theirs: Points) -> anyhow::Result<()> {
    let width = ours.iter().flatten().map(|(x, _)| *x).fold(0.0, f64::max);
    let chart = Chart {
        title: "Registrations per second by the duration of a round trip to the database",
        scale: Scale::Logarithmic,
        width,
        unit: "ms",
        lines: vec![
            Curve {
                name: "this program",
                class: "a",
                points: ours,
            },
            Curve {
                name: "yardstick (a)",
                class: "b",
                points: theirs,
            },
        ],
    };
    std::fs::write(file, chart.file()).with_context(|| file.display().to_string())
}
