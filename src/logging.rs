//! The log: lines on standard error, none with personal data.

use std::io::{ErrorKind, IsTerminal};

use anyhow::Context;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::cli::Command;
use crate::settings::{LogFormat, Settings};
use crate::traces;

/// Starts the log, and the traces of a role; says in the log if a `.env` file could not be read.
pub(crate) fn start(
    settings: &Settings,
    command: Option<&Command>,
    dotenv: dotenvy::Result<()>,
) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.log).with_context(|| {
        format!(
            "LOG is {:?}; expected a level such as info, or a list such as info,api=debug",
            settings.log
        )
    });
    let lines = fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match settings.log_format {
        LogFormat::Pretty => lines.compact().boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let wanted = filter
        .as_ref()
        .map_or_else(|_| EnvFilter::new("info"), Clone::clone);
    let traces = traces::start(settings, command);
    let registry = tracing_subscriber::registry();
    match traces {
        Ok(Some(exporter)) => {
            let not_traces = filter_fn(|metadata| !traces::is_for_export(metadata));
            registry
                .with(lines.with_filter(wanted.and(not_traces)))
                .with(traces::layer(exporter))
                .init();
        }
        Ok(None) => registry.with(lines).with(wanted).init(),
        Err(error) => {
            registry.with(lines).with(wanted).init();
            return Err(error);
        }
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
