//! The settings: one list for flags, environment variables and `.env`.
//!
//! # Adding a setting
//!
//! 1. Add a field to [`Settings`], [`MailSettings`] or [`IssuerSettings`], with
//!    `#[arg(long, env, global = true, …)]`, and a doc comment of one paragraph that describes the setting,
//!    with units and range: `patients settings` shows it. Add `hide_env_values = true` if the value may be a
//!    secret. An empty variable counts as not set for every setting, so parsers only see an empty value from
//!    a flag.
//! 2. Add a row to the table in `docs/settings.md` and a line `# NAME=default` to `.env.example`. A test
//!    (`tests/e2e/settings.rs`) compares names and defaults of both with this list.

mod appends;
mod check;
mod describe;
mod issuer;
mod list;
mod mail;
mod misspelt;
mod publication;
mod rate;
mod values;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::LegacyIds;
use api::read_log::ReadRecording;
use api::retention::{Retention, RetentionPeriod};
use clap::{Args, ValueEnum};
use domain::{EmailUniqueness, ImportSource, UrlSchemes};

pub(crate) use describe::{arguments, print, variables};
pub(crate) use issuer::IssuerSettings;
use list::{List, list};
pub(crate) use mail::MailSettings;
pub(crate) use misspelt::{close, looks_like_a_setting};
use publication::PublicationSettings;
use values::{
    Auth, Optional, OrOff, auth, document_url_schemes, head_timeout, http_addr, metrics_addr, optional, path,
    rate_limit, redis_channel, retention,
};
pub(crate) use values::{duration, wait};
use web::clients::{Network, Proxies, ProxyHeader};
use web::{AllowedHost, Cors, Origin, PublicUrl, RateLimit};

/// All settings.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Settings {
    /// Maximum time that a command tries to reach the database. A flag of commands only, not of roles.
    #[arg(skip)]
    pub(crate) wait: Duration,

    /// Database: `mysql://user:password@host:port/name`, with one server or several (`host:port,host:port`),
    /// or `sqlite://path`
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = "sqlite://data/patients.db"
    )]
    pub(crate) database_url: String,

    /// MySQL replica for reads that may be out of date: the list, searches by name, the feed, exports and
    /// rebuilds. A URL like `DATABASE_URL`. If it lists several servers, the first that answers is used. Each
    /// process with the API or a projector has a second pool of connections, to this database
    #[arg(long, env, global = true, hide_env_values = true)]
    database_read_url: Option<String>,

    /// File with the keyring: the keys with which the personal data in the log is sealed. Every role needs
    /// the same file, readable only by its user. Default with SQLite: `keyring.json` in the folder of the
    /// database, created with a new log
    #[arg(long, env, global = true, hide_env_values = true, value_parser = path)]
    keyring_file: Option<PathBuf>,

    /// Database for the data keys of the patients, if it is not the database of the log: a URL like
    /// `DATABASE_URL`. The log records that its keys are there, so every process needs the same setting. Each
    /// process has a second pool of connections, to this database
    #[arg(long, env, global = true, hide_env_values = true)]
    keys_database_url: Option<String>,

    // Reads reserve ten connections, and a rebuild takes four. The subscriptions, the mail and all other
    // requests share the rest.
    /// Size of the pool of database connections. On MySQL, an API process opens up to five more connections
    /// outside the pool: one for appends, and up to four to read events before amendments and deletions.
    /// While a process replaces connections after a failure, it briefly has more connections
    #[arg(long, env, global = true, default_value_t = 16, value_parser = clap::value_parser!(u32).range(16..=1000))]
    pub(crate) database_connections: u32,

    /// Redis server through which processes notify each other of new events: `redis://host:port`, or
    /// `redis+sentinel://host:port,host:port/master`. Without this setting, notifications stay within the
    /// process
    #[arg(long, env, global = true, hide_env_values = true)]
    redis_url: Option<String>,

    /// File with certificates (PEM) of the authorities that are trusted for Redis, instead of the built-in
    /// public authorities
    #[arg(long, env, global = true)]
    pub(crate) redis_ca_file: Option<PathBuf>,

    /// Redis channel of the notifications, 1 to 200 visible ASCII characters. Services that share a Redis
    /// server need different channels
    #[arg(long, env, global = true, default_value = "patients.events", value_parser = redis_channel)]
    pub(crate) redis_channel: String,

    #[command(flatten)]
    pub(crate) mail: MailSettings,

    /// Maximum number of connections to the API; further connections wait to be accepted
    #[arg(long, env, global = true, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) http_connections: u32,

    /// Timeout for receiving the head of a request, and for the TLS handshake before it; while fewer than a
    /// quarter of the connections are free, the timeout is a quarter of this time
    #[arg(long, env, global = true, default_value = "20s", value_parser = head_timeout)]
    pub(crate) head_timeout: Duration,

    /// File with the certificate chain (PEM) for TLS on the API: the server's certificate first, then the
    /// intermediate certificates; reloaded when it changes
    #[arg(long, env, global = true, value_parser = path)]
    tls_cert_file: Option<PathBuf>,

    /// File with the private key (PEM) of the certificate
    #[arg(long, env, global = true, hide_env_values = true, value_parser = path)]
    tls_key_file: Option<PathBuf>,

    /// Maximum request rate of each client, such as 1000/s or 6000/m, or `off`. A client is the holder of an
    /// access token or, without a token, an address. A client can use its whole quota at once; the quota
    /// refills evenly
    #[arg(long, env, global = true, default_value = "1000/s", value_parser = rate_limit)]
    rate_limit: OrOff<RateLimit>,

    /// Reverse proxies that are trusted to report client addresses, as networks separated by commas
    #[arg(long, env, global = true, value_parser = list::<Network>)]
    trusted_proxies: Option<List<Network>>,

    /// Header in which the proxies report the client address; they must not forward this header from clients
    #[arg(long, env, global = true, value_enum, default_value_t = ProxyHeaderName::XForwardedFor)]
    proxy_header: ProxyHeaderName,

    /// Origins whose pages may use the API, separated by commas, such as `https://app.example.com`
    #[arg(long, env, global = true, value_parser = list::<Origin>)]
    cors_origins: Option<List<Origin>>,

    /// Allowed schemes of document URLs, separated by commas
    #[arg(long, env, global = true, default_value = "http,https", value_parser = document_url_schemes)]
    pub(crate) document_url_schemes: UrlSchemes,

    /// Whether `GET`, `PATCH` and `DELETE` on `/patients/17` also work with the number that an imported
    /// patient had in the service in `LEGACY_SOURCE`
    #[arg(long, env, global = true, value_enum, default_value_t = Switch::Off)]
    legacy_ids: Switch,

    /// Name of the service that imported patients come from, if `patients import --source` or `old_source`
    /// in a request names no other: 1 to 64 ASCII letters, digits, hyphens, underscores and dots
    #[arg(long, env, global = true, default_value = "patients")]
    pub(crate) legacy_source: ImportSource,

    /// Address and port of the API
    #[arg(long, env, global = true, default_value = "127.0.0.1:8000", value_parser = http_addr)]
    pub(crate) http_addr: SocketAddr,

    /// Accepted hosts of requests, separated by commas, such as `clinic.example.com,*.internal.example`; `*`
    /// accepts every host. Loopback names and the host of `PUBLIC_URL` are always accepted. Without
    /// authentication, the address in `HTTP_ADDR` is also accepted, unless it is `0.0.0.0` or `[::]`.
    /// Default: every host with authentication, no additional host without it
    #[arg(long, env, global = true, value_parser = list::<AllowedHost>)]
    allowed_hosts: Option<List<AllowedHost>>,

    /// Public URL of the API, such as `https://api.example.com`, including the path under which a proxy
    /// serves it, if any. If set, `Link` and `Location` contain absolute URLs
    #[arg(long, env, global = true, hide_env_values = true, value_parser = optional::<PublicUrl>)]
    public_url: Option<Optional<PublicUrl>>,

    /// Address of an additional listener for the metrics page, such as 127.0.0.1:9100; it requires no access
    /// token. Roles without the API serve metrics only there
    #[arg(long, env, global = true, value_parser = metrics_addr)]
    pub(crate) metrics_addr: Option<SocketAddr>,

    /// Base URL of the OpenTelemetry collector that receives traces over OTLP (http/protobuf), such as
    /// `http://127.0.0.1:4318`. Without this setting, no traces are sent
    #[arg(long, env, global = true, hide_env_values = true)]
    otel_exporter_otlp_endpoint: Option<String>,

    /// `off` confirms that the API runs without authentication, even for requests from other machines. It
    /// cannot be combined with access tokens or an issuer of JWTs
    #[arg(long, env, global = true, value_parser = auth)]
    auth: Option<Auth>,

    /// Access tokens: `name role hash`, separated by commas, as printed by `patients token new`
    #[arg(long, env, global = true, hide_env_values = true)]
    auth_tokens: Option<String>,

    /// File with access tokens, one per line; reloaded when it changes
    #[arg(long, env, global = true, hide_env_values = true, value_parser = path)]
    auth_tokens_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) issuer: IssuerSettings,

    /// Which reads over HTTP are recorded: `off` (none), `past` (past states and events), `all` (also current
    /// states; these entries are written after the response) or `strict` (like `all`, but these
    /// entries are also durable before the response)
    #[arg(long, env, global = true, value_enum, default_value_t = ReadRecord::Past)]
    read_record: ReadRecord,

    #[command(flatten)]
    pub(crate) publication: PublicationSettings,

    /// Which active patients of a new log may share an email address: none (`email`), patients with different
    /// names (`email+name`) or all (`off`). An existing log keeps its rule; `patients claims unique` changes
    /// it. Default: `email`
    #[arg(long, env, global = true, value_parser = optional::<EmailUniqueness>)]
    email_unique: Option<Optional<EmailUniqueness>>,

    /// Time for which a patient is kept after its deletion before it can be erased, such as 5y, 18mo or 90d;
    /// `off` allows erasures at any time
    #[arg(long, env, global = true, default_value = "off", value_parser = retention)]
    retention: OrOff<RetentionPeriod>,

    /// Whether erasures with the reason `request` are allowed before the time in `RETENTION` has passed
    #[arg(long, env, global = true, value_enum, default_value_t = Switch::Off)]
    retention_override: Switch,

    /// Maximum time that a read waits for the position in Min-Position, and that an erasure or a request for
    /// its certificate waits until everything is destroyed
    #[arg(long, env, global = true, default_value = "2s", value_parser = duration)]
    pub(crate) read_wait: Duration,

    /// Timeout of a request; its body must arrive within half of this time
    #[arg(long, env, global = true, default_value = "20s", value_parser = duration)]
    pub(crate) request_timeout: Duration,

    /// Maximum number of registrations, amendments and deletions in the queue; further requests are answered
    /// with 503
    #[arg(long, env, global = true, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) append_queue: u32,

    /// Maximum number of registrations, amendments and deletions committed together
    #[arg(long, env, global = true, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) append_batch: u32,

    /// Maximum time to find out whether a registration, amendment or deletion was committed, if the
    /// connection to the database was lost at the commit. It should be longer than a failover of the database
    /// server takes. The search ends at the latest when nine tenths of `REQUEST_TIMEOUT` have passed since
    /// the request
    #[arg(long, env, global = true, default_value = "15s", value_parser = duration)]
    pub(crate) outcome_wait: Duration,

    /// Interval at which the log is polled when no signal arrives
    #[arg(long, env, global = true, default_value = "1s", value_parser = duration)]
    pub(crate) poll_interval: Duration,

    /// Maximum time to finish accepted work during shutdown
    #[arg(long, env, global = true, default_value = "30s", value_parser = duration)]
    pub(crate) shutdown_timeout: Duration,

    /// Log level: off, error, warn, info, debug, trace, or a list such as `info,web=debug`. Libraries never
    /// log below info
    #[arg(long, env, global = true, default_value = "info")]
    pub(crate) log: String,

    /// Whether each response of the API is logged, at info: method, route, status, size, duration, request id
    /// and, for requests that are part of a trace, trace id
    #[arg(long, env, global = true, value_enum, default_value_t = Switch::Off)]
    access_log: Switch,

    /// Format of the log
    #[arg(long, env, global = true, value_enum, default_value_t = LogFormat::Pretty)]
    pub(crate) log_format: LogFormat,
}

/// Header in which proxies report the client address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProxyHeaderName {
    /// Addresses separated by commas
    XForwardedFor,
    /// RFC 7239
    Forwarded,
}

/// An on/off switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    /// Enabled
    #[value(alias = "true")]
    On,
    /// Disabled
    #[value(alias = "false")]
    Off,
}

/// Which reads over HTTP are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReadRecord {
    /// None
    Off,
    /// Past states and events
    Past,
    /// Also current states, after the response
    All,
    /// Also current states, before the response
    Strict,
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Human-readable text
    Pretty,
    /// One JSON object per line
    Json,
}

impl Settings {
    /// Returns the file of the keyring, if it is set.
    pub(crate) fn keyring_file(&self) -> Option<&Path> {
        file(self.keyring_file.as_deref())
    }

    /// Returns the URL of the database for the data keys, if it is set.
    pub(crate) fn keys_database_url(&self) -> Option<&str> {
        self.keys_database_url.as_deref().filter(|url| !url.is_empty())
    }

    /// Returns the URL of the replica, if it is set.
    pub(crate) fn database_read_url(&self) -> Option<&str> {
        self.database_read_url.as_deref().filter(|url| !url.is_empty())
    }

    /// Returns the URL of Redis, if it is set. Compose files and `.env` use an empty value for "not set".
    pub(crate) fn redis_url(&self) -> Option<&str> {
        self.redis_url.as_deref().filter(|url| !url.is_empty())
    }

    /// Returns the URL of the trace collector, if it is set.
    pub(crate) fn otlp_endpoint(&self) -> Option<&str> {
        self.otel_exporter_otlp_endpoint
            .as_deref()
            .filter(|url| !url.is_empty())
    }

    /// Whether each response of the API is logged.
    pub(crate) fn access_log(&self) -> bool {
        self.access_log == Switch::On
    }

    /// Returns which reads over HTTP are recorded.
    pub(crate) const fn read_recording(&self) -> ReadRecording {
        match self.read_record {
            ReadRecord::Off => ReadRecording::Off,
            ReadRecord::Past => ReadRecording::Past,
            ReadRecord::All => ReadRecording::All,
            ReadRecord::Strict => ReadRecording::Strict,
        }
    }

    /// Returns the rule for the emails of a new log, if it is set.
    pub(crate) fn email_unique(&self) -> Option<EmailUniqueness> {
        self.email_unique.as_ref().and_then(|set| set.0)
    }

    /// Returns how requests name imported patients.
    pub(crate) fn legacy_ids(&self) -> LegacyIds {
        LegacyIds {
            in_paths: self.legacy_ids == Switch::On,
            source: self.legacy_source.clone(),
        }
    }

    /// Returns which erasures are allowed.
    pub(crate) fn retention(&self) -> Retention {
        Retention {
            period: self.retention.0,
            override_for_requests: self.retention_override == Switch::On,
        }
    }

    /// Whether `AUTH=off` confirms that the API runs without authentication on any address. Without this
    /// confirmation, an API on a loopback address still runs without authentication if neither access tokens
    /// nor an issuer is configured.
    pub(crate) fn auth_is_off(&self) -> bool {
        self.auth == Some(Auth::Off)
    }

    /// Returns the lines of the access tokens, if they are set.
    pub(crate) fn auth_tokens(&self) -> Option<&str> {
        self.auth_tokens.as_deref().filter(|lines| !lines.is_empty())
    }

    /// Returns the file of the access tokens, if it is set.
    pub(crate) fn auth_tokens_file(&self) -> Option<&Path> {
        file(self.auth_tokens_file.as_deref())
    }

    /// Returns the file of the API's certificate, if it is set.
    pub(crate) fn tls_cert_file(&self) -> Option<&Path> {
        file(self.tls_cert_file.as_deref())
    }

    /// Returns the file of the certificate's key, if it is set.
    pub(crate) fn tls_key_file(&self) -> Option<&Path> {
        file(self.tls_key_file.as_deref())
    }

    /// Returns the request rate limit of each client, unless it is off.
    pub(crate) const fn rate_limit(&self) -> Option<RateLimit> {
        self.rate_limit.0
    }

    /// Returns the proxies that are trusted to report client addresses.
    pub(crate) fn proxies(&self) -> Proxies {
        let List(networks) = self.trusted_proxies.clone().unwrap_or(List(Vec::new()));
        let header = match self.proxy_header {
            ProxyHeaderName::XForwardedFor => ProxyHeader::XForwardedFor,
            ProxyHeaderName::Forwarded => ProxyHeader::Forwarded,
        };
        Proxies::new(networks, header)
    }

    /// Returns the public URL of the API, if it is set.
    pub(crate) fn public_url(&self) -> Option<PublicUrl> {
        let Optional(url) = self.public_url.clone()?;
        url
    }

    /// Returns the hosts in `ALLOWED_HOSTS`.
    pub(crate) fn allowed_hosts(&self) -> Vec<AllowedHost> {
        self.allowed_hosts
            .clone()
            .map_or_else(Vec::new, |List(hosts)| hosts)
    }

    /// Returns the CORS settings, if any origin is allowed.
    pub(crate) fn cors(&self) -> Option<Cors> {
        let List(origins) = self.cors_origins.clone()?;
        (!origins.is_empty()).then(|| Cors::of(origins))
    }
}

/// Returns the path unless it is empty. Compose files and `.env` use an empty value for "not set".
fn file(path: Option<&Path>) -> Option<&Path> {
    path.filter(|file| !file.as_os_str().is_empty())
}
