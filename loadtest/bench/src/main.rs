//! The benchmarks. They measure the program and its yardsticks alternately, on the same machine, in one run.
//!
//! `scripts/bench` starts private servers, builds everything for release and runs `bench run`. The yardsticks
//! are in [`baseline`] (cqrs-es and mysql-es as published, behind the same HTTP API) and [`limits`] (plain
//! statements over sqlx).

#![expect(clippy::print_stdout, reason = "prints the table")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the figures are for display: rounding errors do not matter"
)]

mod baseline;
mod client;
mod fill;
mod limits;
mod measure;
mod report;
mod server;
mod stats;

use std::time::Duration;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Debug, Parser)]
#[command(about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the benchmarks and print the table
    Run(measure::Options),
    /// Register many patients in a database, to prepare a long log
    Fill {
        /// Database, which is migrated first
        #[arg(long)]
        database_url: String,
        /// Number of patients
        #[arg(long)]
        patients: u64,
        /// Number of the first patient
        #[arg(long, default_value_t = 1)]
        from: u64,
    },
    /// Send registrations or reads to a running program, to observe it under load
    Drive {
        /// Address of the program
        #[arg(long)]
        address: std::net::SocketAddr,
        /// Number of clients, each of which sends its next request after a response
        #[arg(long, default_value_t = 64)]
        clients: usize,
        /// Duration in seconds
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Read random patients by id instead; the number of patients that `fill` registered from number 0
        #[arg(long)]
        reads: Option<u64>,
        /// Offer this number of requests per second, regardless of how late the responses are
        #[arg(long)]
        rate: Option<f64>,
    },
    /// Serve yardstick (a): cqrs-es and mysql-es as published
    Baseline {
        /// Address to listen on
        #[arg(long)]
        address: std::net::SocketAddr,
        /// Migrated MySQL database
        #[arg(long)]
        database_url: String,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Run(options) => measure::run(options).await,
        Command::Fill {
            database_url,
            patients,
            from,
        } => fill::patients(&database_url, from, patients).await,
        Command::Drive {
            address,
            clients,
            seconds,
            reads,
            rate,
        } => {
            let ask = move || {
                reads.map_or_else(client::register, |patients| {
                    client::get(&format!("/patients/{}", fill::id(fastrand::u64(0..patients))))
                })
            };
            let duration = Duration::from_secs(seconds);
            let stats = match rate {
                Some(rate) => client::offer(address, clients, rate, duration, ask).await?,
                None => client::drive(address, clients, duration, ask).await?,
            };
            println!("{stats:?}");
            Ok(())
        }
        Command::Baseline {
            address,
            database_url,
        } => baseline::serve(address, &database_url).await,
    }
}
