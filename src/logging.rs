//! The application log: lines on standard error, without personal data or secrets.

use anstream::{AutoStream, ColorChoice};
use anyhow::Context;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::cli::Command;
use crate::settings::{LogFormat, Settings};
use crate::traces;

/// Target prefixes of this project's crates.
const OURS: [&str; 9] = [
    "api",
    "domain",
    "eventstore",
    "mailer",
    "migrations",
    "patients",
    "projector",
    "tlog",
    "web",
];

/// The TLS library, whose log lines are dropped: its warnings quote the server names that clients send before
/// the handshake. It also returns each error, and the caller logs the error without such text.
const TLS: &str = "rustls";

/// Starts the log and, for a role, the traces.
pub(crate) fn start(settings: &Settings, command: Option<&Command>) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.log).with_context(|| {
        format!(
            "LOG is {:?}; expected a level such as info, or a list such as info,web=debug",
            settings.log
        )
    });
    let lines = fmt::layer()
        // Colors are used on terminals only, subject to NO_COLOR, CLICOLOR, CLICOLOR_FORCE and TERM.
        .with_ansi(AutoStream::choice(&std::io::stderr()) != ColorChoice::Never)
        // Otherwise, the layer would report that standard error is closed on standard error itself, and
        // panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match settings.log_format {
        LogFormat::Pretty => lines.compact().boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let wanted = filter
        .as_ref()
        .map_or_else(|_| EnvFilter::new("info"), Clone::clone);
    let more_than_info = wanted
        .max_level_hint()
        .is_none_or(|level| level > LevelFilter::INFO);
    let wanted = wanted.and(filter_fn(may_be_said).with_max_level_hint(LevelFilter::TRACE));
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
        Ok(None) => registry.with(lines.with_filter(wanted)).init(),
        Err(error) => {
            registry.with(lines.with_filter(wanted)).init();
            return Err(error);
        }
    }
    filter?;
    if more_than_info {
        tracing::info!(
            "LOG: libraries still log nothing below info, because they could log passwords and personal data"
        );
    }
    Ok(())
}

/// Whether a line may be written, regardless of `LOG`. Below info, drivers and libraries may log the data
/// that they transfer, and future versions of them may do so too. Only this project's own crates may log
/// below info.
fn may_be_said(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let of = target.split_once("::").map_or(target, |(of, _)| of);
    OURS.contains(&of) || (*metadata.level() <= Level::INFO && of != TLS)
}
