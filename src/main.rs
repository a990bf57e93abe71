//! `patients`: the only binary. It reads the command line and composes the crates, which contain the logic.

mod access;
mod actor;
mod audit;
mod check;
mod claims;
mod cli;
mod commands;
mod database;
mod dotenv;
mod erase;
mod exit_code;
mod export;
mod fhir;
mod health;
mod hold;
mod http;
mod import;
mod keys;
mod keys_database;
mod log;
mod logging;
mod mail;
mod manual;
mod metrics;
mod openapi;
mod output;
mod progress;
mod projection;
mod redis;
mod reload;
mod replica;
mod retention;
mod roles;
mod sealing;
mod settings;
mod shutdown;
mod tls;
mod traces;
mod witness;

use std::process::ExitCode;

use cli::{Cli, Command};
use settings::Settings;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // This call must precede every other read of the environment, and requires that there is only one thread.
    let cli = Cli::read();
    let outcome = logging::start(&cli.settings, cli.command.as_ref()).and_then(|()| {
        cli.warn();
        run(cli.command.unwrap_or(Command::Serve), &cli.settings)
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", output::causes(&error));
            ExitCode::from(exit_code::of(&error))
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
            Command::Migrate { json } => database::migrate(settings, json).await,
            Command::Token { command } => access::token(command),
            Command::Health { role, json } => health::check(settings, role, json).await,
            Command::Check { format } => check::run(settings, format).await,
            Command::Audit { command } => audit::run(settings, command).await,
            Command::Claims { command } => claims::run(settings, command).await,
            Command::Projection { command } => projection::run(settings, command).await,
            Command::Erase(arguments) => erase::run(settings, arguments).await,
            Command::Hold(arguments) => hold::hold(settings, arguments).await,
            Command::Release(arguments) => hold::release(settings, arguments).await,
            Command::Retention { command } => retention::run(settings, command).await,
            Command::Log { command } => log::run(settings, command).await,
            Command::Keys { command } => keys::run(settings, command).await,
            Command::Witness { command } => witness::run(settings, command).await,
            Command::Export(arguments) => export::run(settings, arguments).await,
            Command::Import(arguments) => import::run(settings, *arguments).await,
            Command::Openapi => openapi::print(),
            Command::Mail { command } => mail::run(settings, command).await,
            Command::Settings { json } => settings::print(json),
            Command::Completions { shell } => manual::completions(shell),
            Command::Man { folder } => manual::write(&folder),
        }
    });
    // A name lookup that never ends must not keep the process alive.
    runtime.shutdown_background();
    outcome
}
