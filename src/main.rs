//! `patients`: the one binary. It reads the command line and composes the crates; the logic is theirs.

mod access;
mod audit;
mod cli;
mod database;
mod health;
mod http;
mod logging;
mod mail;
mod metrics;
mod openapi;
mod progress;
mod projection;
mod roles;
mod settings;
mod shutdown;
mod tls;
mod traces;
mod watch;

use std::process::ExitCode;

use cli::{Cli, Command};
use settings::Settings;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Before anything reads the environment, and while there is only one thread.
    let dotenv = dotenvy::from_path(".env");
    let cli = Cli::read();
    let outcome = logging::start(&cli.settings, cli.command.as_ref(), dotenv).and_then(|()| {
        cli.warn();
        run(cli.command.unwrap_or(Command::Serve), &cli.settings)
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(audit::exit_code(&error))
        }
    }
}

fn run(command: Command, settings: &Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Serve => roles::serve(settings).await,
            Command::Api => roles::api(settings).await,
            Command::Projector => roles::projector(settings).await,
            Command::Mailer => roles::mailer(settings).await,
            Command::Migrate => database::migrate(settings).await,
            Command::Token { command } => access::token(command),
            Command::Health { role } => health::check(settings, role).await,
            Command::Audit { command } => audit::run(settings, command).await,
            Command::Projection { command } => projection::run(settings, command).await,
            Command::Openapi => openapi::print(),
            Command::Mail { command } => mail::run(settings, command).await,
        }
    });
    // A look-up of a name that never ends must not keep the process.
    runtime.shutdown_background();
    outcome
}
