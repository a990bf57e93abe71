//! A load test with an open model: requests are sent at a constant rate, regardless of how late the responses
//! are.
//!
//! The latency of a request begins at its scheduled time. If the server stalls, the requests that were due
//! meanwhile therefore have long latencies, instead of not being sent (coordinated omission).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "prints the results")]

mod client;
mod html;
mod mix;
mod patients;
mod record;
mod schedule;
mod thresholds;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use reqwest::Url;

use crate::client::Client;
use crate::mix::Mix;
use crate::patients::Patients;
use crate::schedule::Plan;
use crate::thresholds::Thresholds;

/// Exit code if a threshold is missed.
const MISSED: u8 = 1;

/// Exit code if the load test could not be run. clap uses it for invalid arguments too.
const NOT_RUN: u8 = 2;

/// Send requests to a running service at a constant rate, and write a report
///
/// Exits with 0 if every threshold is met, with 1 if a threshold is missed, and with 2 if the test could not
/// be run.
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Options {
    /// Base URL of the service
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    target: Url,
    /// Requests per second, up to 100000
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Duration of the measurement, up to 24h
    #[arg(long = "for", default_value = "60s", value_parser = duration)]
    duration: Duration,
    /// Duration of the load before the measurement
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    warm_up: Duration,
    /// Share of each kind of request
    #[arg(long, default_value = "register=5,read=4,list=1,amend=1,delete=1")]
    mix: Mix,
    /// Patients to register before the load, so that there are patients to read, amend and delete
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    patients: u32,
    /// Time after which a request without a complete response has failed
    #[arg(long, default_value = "30s", value_parser = duration)]
    timeout: Duration,
    /// Maximum number of requests without a response. A request that is due beyond it has failed
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_in_flight: u32,
    /// Bearer token
    #[arg(long, env = "PATIENTS_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// HTML report to write; an existing file is replaced
    #[arg(long, default_value = "load.html")]
    report: PathBuf,
    #[command(flatten)]
    thresholds: Thresholds,
}

/// Parses a duration of 1 ms to 24 h.
fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration < Duration::from_millis(1) || duration > Duration::from_hours(24) {
        return Err("the duration must be 1 ms to 24 h".to_owned());
    }
    Ok(duration)
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(MISSED),
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::from(NOT_RUN)
        }
    }
}

/// Runs the load test, and returns whether every threshold is met.
async fn run(options: Options) -> anyhow::Result<bool> {
    let client = Client::new(&options.target, options.token.as_deref(), options.timeout)?;
    client.check().await.context("the service is not ready")?;
    let patients = Patients::default();
    eprintln!("registering {} patients", options.patients);
    client.register_many(options.patients, &patients).await?;

    let plan = Plan {
        rate: options.rate,
        warm_up: options.warm_up,
        duration: options.duration,
        max_in_flight: options.max_in_flight,
    };
    eprintln!(
        "sending {} requests per second to {} for {}",
        options.rate,
        options.target,
        humantime::format_duration(options.warm_up + options.duration),
    );
    let results = schedule::run(client, options.mix.clone(), patients, plan).await?;
    let missed = options.thresholds.missed(&results);

    println!("{results}");
    let page = html::page(&html::Subject {
        target: options.target.as_str(),
        rate: options.rate,
        mix: &options.mix,
        results: &results,
        missed: &missed,
    });
    write(&options.report, &page)
        .with_context(|| format!("the report {} cannot be written", options.report.display()))?;
    println!("report: {}", options.report.display());
    for missed in &missed {
        println!("missed: {missed}");
    }
    Ok(missed.is_empty())
}

fn write(path: &PathBuf, page: &str) -> std::io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    file.write_all(page.as_bytes())
}
