//! `patients`: the one binary. It reads the command line and composes the crates; the logic is theirs.

mod cli;
mod database;
mod health;
mod logging;
mod mail;
mod roles;
mod settings;
mod shutdown;

use std::process::ExitCode;

use cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything reads the environment, and while there is only one thread.
    let dotenv = dotenvy::dotenv();
    let Cli { command, settings } = Cli::read();
    let outcome = logging::start(&settings, dotenv)
        .and_then(|()| runtime())
        .and_then(|runtime| {
            runtime.block_on(async {
                match command.unwrap_or(Command::Serve) {
                    Command::Serve => roles::serve(&settings).await,
                    Command::Api => roles::api(&settings).await,
                    Command::Projector => roles::projector(&settings).await,
                    Command::Mailer => roles::mailer(&settings).await,
                    Command::Migrate => database::migrate(&settings).await,
                    Command::Health { role } => health::check(&settings, role).await,
                }
            })
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
