//! The settings: one list, for flags, environment and `.env`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

/// Where things are and how large they may grow.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Settings {
    /// The database: `mysql://user:password@host:port/name` or `sqlite://path`
    #[arg(long, env, global = true, hide_env_values = true, default_value = "sqlite://data/patients.db", value_parser = database_url)]
    pub(crate) database_url: String,

    /// The most connections to the database
    #[arg(long, env, global = true, default_value_t = 10, value_parser = clap::value_parser!(u32).range(3..=1000))]
    pub(crate) database_connections: u32,

    /// Redis, for the signal between processes: `redis://host:port`. Without it, a signal within the process
    #[arg(long, env, global = true, hide_env_values = true, value_parser = redis_url)]
    pub(crate) redis_url: Option<OrNone>,

    /// The mail server: `smtps://user:password@host:465`, or `smtp://host:port` with `?tls=required` for STARTTLS.
    /// Without it, mail goes into files
    #[arg(long, env, global = true, hide_env_values = true, value_parser = smtp_url)]
    pub(crate) smtp_url: Option<OrNone>,

    /// The sender of the emails
    #[arg(long, env, global = true, default_value = "noreply@miapp.com")]
    pub(crate) mail_from: String,

    /// The languages of the emails, in order: es, en, or both with a comma
    #[arg(long, env, global = true, default_value = "es,en")]
    pub(crate) mail_language: String,

    /// The folder for emails when there is no mail server
    #[arg(long, env, global = true, default_value = "data/outbox")]
    pub(crate) mail_outbox: PathBuf,

    /// The most emails that are sent at a time
    #[arg(long, env, global = true, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) mail_concurrency: u16,

    /// How long sending one email may take. One whose mailer was killed is sent by another after twice as long
    #[arg(long, env, global = true, default_value = "30s", value_parser = duration)]
    pub(crate) mail_send_timeout: Duration,

    /// The address and port of the API
    #[arg(long, env, global = true, default_value = "127.0.0.1:8000", value_parser = http_addr)]
    pub(crate) http_addr: SocketAddr,

    /// How long a read waits for the position in Min-Position
    #[arg(long, env, global = true, default_value = "2s", value_parser = duration)]
    pub(crate) read_wait: Duration,

    /// How long a request may take
    #[arg(long, env, global = true, default_value = "20s", value_parser = duration)]
    pub(crate) request_timeout: Duration,

    /// The most registrations and deletions that may wait; more are answered 503
    #[arg(long, env, global = true, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) append_queue: u32,

    /// The most of them that are committed together
    #[arg(long, env, global = true, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) append_batch: u32,

    /// How often the log is looked at when no signal comes
    #[arg(long, env, global = true, default_value = "1s", value_parser = duration)]
    pub(crate) poll_interval: Duration,

    /// How long a process may take to finish what it accepted when it is told to stop
    #[arg(long, env, global = true, default_value = "10s", value_parser = duration)]
    pub(crate) shutdown_timeout: Duration,

    /// What is logged: off, error, warn, info, debug, trace, or a list such as `info,api=debug`
    #[arg(long, env, global = true, default_value = "info")]
    pub(crate) log: String,

    /// How it is logged
    #[arg(long, env, global = true, value_enum, default_value_t = LogFormat::Pretty)]
    pub(crate) log_format: LogFormat,
}

/// How lines of the log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Pretty,
    /// For machines: one JSON object a line
    Json,
}

/// A setting that is off when it is empty: compose files and `.env` have no other way to say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrNone(Option<String>);

impl OrNone {
    fn parse(text: &str, valid: bool, expected: &str) -> Result<Self, String> {
        if text.is_empty() {
            Ok(Self(None))
        } else if valid {
            Ok(Self(Some(text.to_owned())))
        } else {
            Err(format!("expected {expected}"))
        }
    }
}

impl Settings {
    /// The URL of Redis, if there is one.
    pub(crate) fn redis_url(&self) -> Option<&str> {
        self.redis_url.as_ref()?.0.as_deref()
    }

    /// The URL of the mail server, if there is one.
    pub(crate) fn smtp_url(&self) -> Option<&str> {
        self.smtp_url.as_ref()?.0.as_deref()
    }
}

fn starts_with(text: &str, schemes: &[&str]) -> bool {
    schemes
        .iter()
        .any(|scheme| text.starts_with(&format!("{scheme}:")))
}

fn database_url(text: &str) -> Result<String, String> {
    if starts_with(text, &["mysql", "mariadb", "sqlite"]) {
        Ok(text.to_owned())
    } else {
        Err("expected mysql://user:password@host/name or sqlite://path".to_owned())
    }
}

fn redis_url(text: &str) -> Result<OrNone, String> {
    OrNone::parse(
        text,
        starts_with(text, &["redis", "rediss"]),
        "redis://host:port or rediss://host:port",
    )
}

fn smtp_url(text: &str) -> Result<OrNone, String> {
    OrNone::parse(
        text,
        starts_with(text, &["smtp", "smtps"]),
        "smtp://host:port or smtps://user:password@host:port",
    )
}

fn http_addr(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "expected an address and a port, such as 127.0.0.1:8000".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "expected a duration, such as 10s or 500ms".to_owned())
}
