//! The settings: one list, for flags, environment and `.env`.
//!
//! # Adding a setting
//!
//! 1. Add a field with `#[arg(long, env, global = true, …)]`, and a doc comment of one paragraph that says
//!    what the setting does, with units and range: `patients settings` shows it. Add `hide_env_values = true`
//!    if the value may be a secret. An empty variable counts as not set for every setting, so no parser sees
//!    one; only a flag can be empty.
//! 2. Add a row to the table in README.md and a line `# NAME=default` to `.env.example`. A test
//!    (`tests/e2e/settings.rs`) compares names and defaults of both with this list.

mod describe;
mod issuer;
mod list;
mod misspelt;
mod rate;
mod values;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::clients::{Network, Proxies, ProxyHeader};
use api::{AllowedHost, Cors, Origin, PublicUrl, RateLimit};
use clap::{Args, ValueEnum};
use domain::UrlSchemes;
use mailer::{EhloName, Rate, Sender, Timeouts};

pub(crate) use describe::{arguments, print, variables};
pub(crate) use issuer::IssuerSettings;
use list::{List, list};
pub(crate) use misspelt::{close, looks_like_a_setting};
pub(crate) use values::wait;
use values::{
    Auth, Ceiling, Optional, auth, document_url_schemes, duration, head_timeout, http_addr, mail_rate,
    mail_timeout, metrics_addr, optional, path, rate_limit,
};

/// How long writing an email to a file may take.
const FILE_TIMEOUT: Duration = Duration::from_secs(20);

/// Where things are and how large they may grow.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Settings {
    /// How long a command tries to reach the database. A flag only, of all commands that are not roles.
    #[arg(skip)]
    pub(crate) wait: Duration,

    /// The database: `mysql://user:password@host:port/name` or `sqlite://path`
    #[arg(
        long,
        env,
        global = true,
        hide_env_values = true,
        default_value = "sqlite://data/patients.db"
    )]
    pub(crate) database_url: String,

    // Ten are kept by the reads, and a rebuild has four; the rest serves the subscriptions, the mail and all
    // other requests.
    /// The most connections to the database, besides the one that an API process appends with on MySQL
    #[arg(long, env, global = true, default_value_t = 16, value_parser = clap::value_parser!(u32).range(16..=1000))]
    pub(crate) database_connections: u32,

    /// Redis, for the signal between processes: `redis://host:port`. Without it, a signal within the process
    #[arg(long, env, global = true, hide_env_values = true)]
    redis_url: Option<String>,

    /// The mail server: `smtps://user:password@host:465`, or `smtp://user:password@host:587?tls=required` for STARTTLS.
    /// Without it, mail goes into files
    #[arg(long, env, global = true, hide_env_values = true)]
    smtp_url: Option<String>,

    /// The sender of the emails
    #[arg(long, env, global = true, default_value = "noreply@miapp.com")]
    pub(crate) mail_from: String,

    /// The address that answers to the emails go to; without it, to the sender
    #[arg(long, env, global = true, value_parser = optional::<Sender>)]
    mail_reply_to: Option<Optional<Sender>>,

    /// The address that bounces go to (`MAIL FROM`); without it, to the sender
    #[arg(long, env, global = true, value_parser = optional::<Sender>)]
    mail_envelope_from: Option<Optional<Sender>>,

    /// The name for EHLO, such as `mail.example.com`; without it the machine's if it has a dot, or the domain
    /// of the sender
    #[arg(long, env, global = true, value_parser = optional::<EhloName>)]
    mail_ehlo_name: Option<Optional<EhloName>>,

    /// The languages of the emails, in order: es, en, or both with a comma
    #[arg(long, env, global = true, default_value = "es,en")]
    pub(crate) mail_language: String,

    /// A folder with templates to use instead of those that come with the program
    #[arg(long, env, global = true)]
    pub(crate) mail_templates: Option<PathBuf>,

    /// Whether a deletion is confirmed by an email too
    #[arg(long, env, global = true, default_value_t = false, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(crate) mail_on_delete: bool,

    /// The folder for emails when there is no mail server
    #[arg(long, env, global = true, default_value = "data/outbox")]
    pub(crate) mail_outbox: PathBuf,

    /// The most emails that are sent at a time
    #[arg(long, env, global = true, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) mail_concurrency: u16,

    /// How long naming sender and recipient of one email to the mail server may take, 1s to 1h
    #[arg(long, env, global = true, default_value = "12m", value_parser = mail_timeout)]
    pub(crate) mail_send_timeout: Duration,

    /// How long the mail server may take to answer for an email, 1s to 1h. Whoever gives up early sends
    /// emails twice
    #[arg(long, env, global = true, default_value = "10m", value_parser = mail_timeout)]
    pub(crate) mail_answer_timeout: Duration,

    /// How long opening a connection to the mail server may take, 1s to 1h: name, TCP, TLS, greeting,
    /// authentication
    #[arg(long, env, global = true, default_value = "5m", value_parser = mail_timeout)]
    pub(crate) mail_connect_timeout: Duration,

    /// The most emails that leave in a time, such as 10/s, 600/m, 5000/h or 2000/d, by each process that
    /// sends; no limit without it
    #[arg(long, env, global = true, value_parser = mail_rate)]
    pub(crate) mail_rate: Option<Rate>,

    /// A file with certificates (PEM) to trust for the mail server, beside the system's authorities: of
    /// authorities, or the server's own
    #[arg(long, env, global = true)]
    pub(crate) mail_ca_file: Option<PathBuf>,

    /// A file with the private key (PEM, RSA or Ed25519) to sign emails with by DKIM
    #[arg(long, env, global = true, hide_env_values = true)]
    pub(crate) mail_dkim_key_file: Option<PathBuf>,

    /// The selector under which its public key is found in DNS, such as mail2026
    #[arg(long, env, global = true)]
    pub(crate) mail_dkim_selector: Option<String>,

    /// The domain of DNS that it is found in; without it that of the sender
    #[arg(long, env, global = true)]
    pub(crate) mail_dkim_domain: Option<String>,

    /// The most connections to the API at a time; more wait to be accepted
    #[arg(long, env, global = true, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) http_connections: u32,

    /// How long a client may take to send the head of a request, and before it to agree on TLS; a quarter of
    /// it when fewer than a quarter of the connections are free
    #[arg(long, env, global = true, default_value = "20s", value_parser = head_timeout)]
    pub(crate) head_timeout: Duration,

    /// A file with the certificate (PEM) to serve the API with over TLS, its own first, then those between it
    /// and the authority; read again whenever it changes
    #[arg(long, env, global = true, value_parser = path)]
    tls_cert_file: Option<PathBuf>,

    /// A file with its private key (PEM)
    #[arg(long, env, global = true, hide_env_values = true, value_parser = path)]
    tls_key_file: Option<PathBuf>,

    /// The most requests of each client in a time, such as 1000/s or 6000/m, or `off`. A client is the holder
    /// of an access token or, without one, an address; it may use them all at once, and they come back evenly
    #[arg(long, env, global = true, default_value = "1000/s", value_parser = rate_limit)]
    rate_limit: Ceiling,

    /// The reverse proxies, as networks with commas between, whose word is taken for the address of a client
    #[arg(long, env, global = true, value_parser = list::<Network>)]
    trusted_proxies: Option<List<Network>>,

    /// The header in which they say it; they must not pass it on as a client sent it
    #[arg(long, env, global = true, value_enum, default_value_t = Header::XForwardedFor)]
    proxy_header: Header,

    /// The origins, with commas between, whose pages may use the API, such as `https://app.example.com`
    #[arg(long, env, global = true, value_parser = list::<Origin>)]
    cors_origins: Option<List<Origin>>,

    /// The schemes, with commas between, that the URL of a patient's document may have
    #[arg(long, env, global = true, default_value = "http,https", value_parser = document_url_schemes)]
    pub(crate) document_url_schemes: UrlSchemes,

    /// The address and port of the API
    #[arg(long, env, global = true, default_value = "127.0.0.1:8000", value_parser = http_addr)]
    pub(crate) http_addr: SocketAddr,

    /// The hosts, with commas between, that requests may be sent to beside loopback names, such as
    /// `clinic.example.com,*.internal.example`; `*` for every host. Without access tokens only these are
    /// accepted; with them, every host is unless this is set
    #[arg(long, env, global = true, value_parser = list::<AllowedHost>)]
    allowed_hosts: Option<List<AllowedHost>>,

    /// The URL under which clients reach the API, such as `https://api.example.com`, with a path if a proxy serves it under
    /// one. With it, the addresses in `Link` and `Location` are absolute
    #[arg(long, env, global = true, hide_env_values = true, value_parser = optional::<PublicUrl>)]
    public_url: Option<Optional<PublicUrl>>,

    /// Where the page of metrics is served beside the API, or by a role without one, such as 127.0.0.1:9100;
    /// no access token is asked for there
    #[arg(long, env, global = true, value_parser = metrics_addr)]
    pub(crate) metrics_addr: Option<SocketAddr>,

    /// Where traces are sent by OTLP (http/protobuf): the base address of an OpenTelemetry collector, such as
    /// `http://127.0.0.1:4318`. Without it there are none
    #[arg(long, env, global = true, hide_env_values = true)]
    otel_exporter_otlp_endpoint: Option<String>,

    /// `off` lets everybody in, also from other machines
    #[arg(long, env, global = true, value_parser = auth)]
    auth: Option<Auth>,

    /// Who is let in: `name role hash` with commas between, as `patients token new` prints it
    #[arg(long, env, global = true, hide_env_values = true)]
    auth_tokens: Option<String>,

    /// A file of such lines, read again whenever it changes
    #[arg(long, env, global = true, hide_env_values = true, value_parser = path)]
    auth_tokens_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) issuer: IssuerSettings,

    /// How long a read waits for the position in Min-Position
    #[arg(long, env, global = true, default_value = "2s", value_parser = duration)]
    pub(crate) read_wait: Duration,

    /// How long a request may take; its body must be there within half of it
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
    #[arg(long, env, global = true, default_value = "30s", value_parser = duration)]
    pub(crate) shutdown_timeout: Duration,

    /// What is logged: off, error, warn, info, debug, trace, or a list such as `info,api=debug`. Libraries
    /// say no more than at info
    #[arg(long, env, global = true, default_value = "info")]
    pub(crate) log: String,

    /// Whether each answer of the API has a line in the log, at info: method, route, status, size, duration,
    /// request id and trace id
    #[arg(long, env, global = true, value_enum, default_value_t = Switch::Off)]
    access_log: Switch,

    /// How it is logged
    #[arg(long, env, global = true, value_enum, default_value_t = LogFormat::Pretty)]
    pub(crate) log_format: LogFormat,
}

/// The header in which proxies name the address of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Header {
    /// Addresses with commas between
    XForwardedFor,
    /// RFC 7239
    Forwarded,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    /// Yes
    #[value(alias = "true")]
    On,
    /// No
    #[value(alias = "false")]
    Off,
}

/// How lines of the log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Pretty,
    /// For machines: one JSON object a line
    Json,
}

impl Settings {
    /// How long an email may take. A file needs neither connection nor answer, and is the sooner taken over
    /// from a process that was killed.
    pub(crate) fn mail_timeouts(&self) -> Timeouts {
        match self.smtp_url() {
            Some(_) => Timeouts {
                connect: self.mail_connect_timeout,
                send: self.mail_send_timeout,
                answer: self.mail_answer_timeout,
            },
            None => Timeouts {
                connect: Duration::ZERO,
                send: self.mail_send_timeout.min(FILE_TIMEOUT),
                answer: Duration::ZERO,
            },
        }
    }

    /// Where answers to emails go, if that is set.
    pub(crate) fn mail_reply_to(&self) -> Option<Sender> {
        self.mail_reply_to.clone().and_then(|Optional(address)| address)
    }

    /// Where bounces go, if that is set.
    pub(crate) fn mail_envelope_from(&self) -> Option<Sender> {
        self.mail_envelope_from
            .clone()
            .and_then(|Optional(address)| address)
    }

    /// The name for EHLO, if it is set.
    pub(crate) fn mail_ehlo_name(&self) -> Option<EhloName> {
        self.mail_ehlo_name.clone().and_then(|Optional(name)| name)
    }

    /// Checks the settings that may hold a password. Clap would repeat a value that it refuses, so it is not
    /// asked.
    pub(crate) fn check(&self) -> Result<(), String> {
        let checks = [
            (
                "DATABASE_URL",
                Some(self.database_url.as_str()),
                &["mysql", "mariadb", "sqlite"][..],
                "mysql://user:password@host/name or sqlite://path",
            ),
            (
                "REDIS_URL",
                self.redis_url(),
                &["redis", "rediss"],
                "redis://host:port or rediss://host:port",
            ),
            (
                "SMTP_URL",
                self.smtp_url(),
                &["smtp", "smtps"],
                "smtp://host:port or smtps://user:password@host:port",
            ),
        ];
        for (setting, url, schemes, expected) in checks {
            let scheme = url.map(|url| url.split(':').next().unwrap_or(url));
            if scheme.is_some_and(|scheme| !schemes.contains(&scheme)) {
                let flag = setting.to_lowercase().replace('_', "-");
                return Err(format!("{setting} (--{flag}): expected {expected}"));
            }
        }
        let key_files = [
            ("MAIL_DKIM_KEY_FILE", &self.mail_dkim_key_file),
            ("TLS_KEY_FILE", &self.tls_key_file),
        ];
        for (setting, path) in key_files {
            let path = path.as_deref().map(Path::to_string_lossy).unwrap_or_default();
            if path.contains("-----BEGIN") {
                return Err(format!(
                    "{setting}: expected the path of a file, not what is in it"
                ));
            }
        }
        Ok(())
    }

    /// The URL of Redis, if there is one. Compose files and `.env` say "none" with an empty value.
    pub(crate) fn redis_url(&self) -> Option<&str> {
        self.redis_url.as_deref().filter(|url| !url.is_empty())
    }

    /// The address of the collector of traces, if there is one.
    pub(crate) fn otlp_endpoint(&self) -> Option<&str> {
        self.otel_exporter_otlp_endpoint
            .as_deref()
            .filter(|url| !url.is_empty())
    }

    /// Whether each answer of the API has a line in the log.
    pub(crate) fn access_log(&self) -> bool {
        self.access_log == Switch::On
    }

    /// Whether everybody is let in, also from other machines.
    pub(crate) fn auth_is_off(&self) -> bool {
        self.auth == Some(Auth::Off)
    }

    /// The lines of the access tokens, if there are any.
    pub(crate) fn auth_tokens(&self) -> Option<&str> {
        self.auth_tokens.as_deref().filter(|lines| !lines.is_empty())
    }

    /// The file of the access tokens, if there is one.
    pub(crate) fn auth_tokens_file(&self) -> Option<&Path> {
        file(self.auth_tokens_file.as_deref())
    }

    /// The file of the API's certificate, if there is one.
    pub(crate) fn tls_cert_file(&self) -> Option<&Path> {
        file(self.tls_cert_file.as_deref())
    }

    /// The file of its key, if there is one.
    pub(crate) fn tls_key_file(&self) -> Option<&Path> {
        file(self.tls_key_file.as_deref())
    }

    /// How much each client may ask for.
    pub(crate) const fn rate_limit(&self) -> Option<RateLimit> {
        match self.rate_limit {
            Ceiling::Off => None,
            Ceiling::Of(limit) => Some(limit),
        }
    }

    /// Whose word is taken for the address of a client.
    pub(crate) fn proxies(&self) -> Proxies {
        let List(networks) = self.trusted_proxies.clone().unwrap_or(List(Vec::new()));
        let header = match self.proxy_header {
            Header::XForwardedFor => ProxyHeader::XForwardedFor,
            Header::Forwarded => ProxyHeader::Forwarded,
        };
        Proxies::new(networks, header)
    }

    /// The URL under which clients reach the API, if it is set.
    pub(crate) fn public_url(&self) -> Option<PublicUrl> {
        let Optional(url) = self.public_url.clone()?;
        url
    }

    /// The hosts that requests may be sent to beside loopback names.
    pub(crate) fn allowed_hosts(&self) -> Vec<AllowedHost> {
        self.allowed_hosts
            .clone()
            .map_or_else(Vec::new, |List(hosts)| hosts)
    }

    /// The pages that may use the API, if there are any.
    pub(crate) fn cors(&self) -> Option<Cors> {
        let List(origins) = self.cors_origins.clone()?;
        (!origins.is_empty()).then(|| Cors::of(origins))
    }

    /// The URL of the mail server, if there is one.
    pub(crate) fn smtp_url(&self) -> Option<&str> {
        self.smtp_url.as_deref().filter(|url| !url.is_empty())
    }
}

/// Compose files and `.env` say "none" with an empty value.
fn file(path: Option<&Path>) -> Option<&Path> {
    path.filter(|file| !file.as_os_str().is_empty())
}
