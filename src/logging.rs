//! The log: lines on standard error, none with personal data.

use std::io::{ErrorKind, IsTerminal};

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::settings::{LogFormat, Settings};

/// Starts the log, and says there if a `.env` file could not be read.
pub(crate) fn start(settings: &Settings, dotenv: dotenvy::Result<()>) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.log).with_context(|| {
        format!(
            "LOG is {:?}; expected a level such as info, or a list such as info,api=debug",
            settings.log
        )
    });
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(
            filter
                .as_ref()
                .map_or_else(|_| EnvFilter::new("info"), Clone::clone),
        )
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Pretty => subscriber.compact().init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    filter?;
    match dotenv {
        Ok(()) => tracing::debug!("read .env"),
        Err(dotenvy::Error::Io(error)) if error.kind() == ErrorKind::NotFound => {}
        // The error would quote the line, which may hold a password.
        Err(_) => anyhow::bail!(".env cannot be read: expected lines of the form NAME=value"),
    }
    Ok(())
}
