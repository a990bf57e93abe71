//! The HTTP API.
//!
//! Commands go through cqrs-es and the append queue ([`commands`]). Reads use the read table, and the log for
//! events that are not projected yet ([`projector::reads`]). Histories and the feed use the log alone
//! ([`history`], `feed`); each of these reads is recorded before it is answered ([`read_log`]). This crate
//! and the projector share only the read table. The routes below `/mail` return the types of the mailer
//! crate.
//!
//! # Guarantees
//!
//! - 201 and 204 are sent only after the event is durable.
//! - `GET /patients/{id}` is strongly consistent, whichever process serves it.
//! - Every error is an RFC 9457 problem ([`problem`]). No error repeats personal data, and no error causes a
//!   panic.
//! - The lengths of queues, the sizes of bodies and all waiting times are bounded.
//!
//! # Adding a route
//!
//! 1. Add a file in `routes/` with the handler, its OpenAPI text (`described`) and any code that only this
//!    route needs. Describe every query parameter. A route without described parameters rejects all query
//!    parameters, and a handler that parses its parameters with `Query` rejects unknown parameters.
//! 2. Add the route, with its roles, to the table `routes::routes` and to the table in
//!    `tests/http/access.rs`.
//! 3. Add new errors to [`problem::ApiError`], and explain them in `problem/kinds.rs`.
//! 4. Regenerate the document: `cargo run -- openapi > docs/openapi.json`.

mod accept;
pub mod access;
mod body;
mod by_email;
pub mod clients;
pub mod commands;
mod cors;
mod feed;
mod file;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod headers;
pub mod history;
mod host;
mod limit;
mod method;
pub mod metrics;
mod observe;
mod openapi;
mod paths;
pub mod problem;
mod public_url;
mod query;
pub mod read_log;
mod routes;
mod same_origin;
mod secure;
mod server;
mod tls;

use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use domain::UrlSchemes;
use eventstore::{AppendQueue, Clock, EventLog, Signal};
use mailer::{Ledger, SampleMailer};
use projector::reads::PatientReads;

use access::Access;
use clients::Proxies;
use commands::Commands;
use feed::Feed;
use file::File;
use history::PatientHistory;
use host::Hosts;
use limit::Limits;
use metrics::Metrics;
use read_log::ReadLog;
use same_origin::TrustedOrigins;

pub use cors::{Cors, NoOrigin, Origin};
pub use host::{AllowedHost, NoHost};
pub use limit::RateLimit;
pub use metrics::serve_metrics;
pub use public_url::{NotPublicUrl, PublicUrl};
pub use routes::{openapi, router};
pub use server::{Listening, serve};
pub use tls::{Certificate, Tls, TlsError};

/// Settings of the API.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// Maximum time that a read waits for the position in `Min-Position`.
    pub read_wait: Duration,
    /// Maximum time from the request headers to the response.
    pub request_timeout: Duration,
    /// Interval at which a live stream polls the log when no signal arrives.
    pub poll: Duration,
    /// Quota of each client; `None` for no limit.
    pub rate_limit: Option<RateLimit>,
    /// Proxies that are trusted to report the client's address.
    pub proxies: Proxies,
    /// The origins whose pages may use the API (CORS). `None` allows no other origin.
    pub cors: Option<Cors>,
    /// Hosts that requests may name. Loopback names are always allowed. If the list is empty, an API with
    /// access control accepts every host.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Whether this process serves TLS. If it does, responses instruct browsers to use only TLS.
    pub over_tls: bool,
    /// Whether each response is logged.
    pub access_log: bool,
    /// URL at which clients reach the API. If set, the addresses in responses are absolute.
    pub public_url: Option<PublicUrl>,
    /// Schemes that the URL of a patient's document may have.
    pub document_url_schemes: UrlSchemes,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            read_wait: Duration::from_secs(2),
            request_timeout: Duration::from_secs(20),
            poll: Duration::from_secs(1),
            rate_limit: None,
            proxies: Proxies::default(),
            cors: None,
            allowed_hosts: Vec::new(),
            over_tls: false,
            access_log: false,
            public_url: None,
            document_url_schemes: UrlSchemes::default(),
        }
    }
}

/// Components of an API.
pub struct ApiParts {
    /// The event log. Its database also contains the read table and the mail ledger.
    pub log: EventLog,
    /// The queue that writes to the log.
    pub appends: AppendQueue,
    /// Signal that wakes live streams.
    pub signal: Signal,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Access control.
    pub access: Access,
    /// The metrics page.
    pub metrics: Metrics,
    /// Previews and test emails, or the reason why the mail settings of this process cannot be used.
    pub sample_mailer: Result<SampleMailer, String>,
    /// Settings of the API.
    pub options: ApiOptions,
}

/// The API over a log. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    shared: Arc<Shared>,
}

/// State that the routes share.
pub struct Shared {
    log: EventLog,
    commands: Commands,
    reads: PatientReads,
    access: Access,
    history: PatientHistory,
    feed: Feed,
    read_log: ReadLog,
    metrics: Metrics,
    mail_ledger: Ledger,
    sample_mailer: Result<SampleMailer, String>,
    limits: Limits,
    hosts: Hosts,
    origins: TrustedOrigins,
    options: ApiOptions,
    clock: Arc<dyn Clock>,
    /// The OpenAPI document, created on the first request for it.
    document: OnceLock<File>,
}

impl Deref for Api {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Api {
    /// Creates the API from its components.
    #[must_use]
    pub fn new(parts: ApiParts) -> Self {
        let ApiParts {
            log,
            appends,
            signal,
            clock,
            access,
            metrics,
            sample_mailer,
            options,
        } = parts;
        let shared = Shared {
            commands: Commands::new(log.clone(), appends, Arc::clone(&clock)),
            reads: PatientReads::start(&log),
            hosts: Hosts::new(
                access.is_open(),
                options.allowed_hosts.clone(),
                options.public_url.as_ref().map(PublicUrl::host),
            ),
            origins: TrustedOrigins::new(
                (options.cors.iter().flat_map(Cors::origins).cloned())
                    .chain(options.public_url.as_ref().and_then(PublicUrl::origin))
                    .collect(),
                options.over_tls,
            ),
            access,
            history: PatientHistory::new(log.clone()),
            read_log: ReadLog::start(log.database().clone(), Arc::clone(&clock)),
            feed: Feed::new(log.clone(), signal, options.poll),
            mail_ledger: Ledger::new(log.database().clone()),
            log,
            metrics,
            sample_mailer,
            limits: Limits::new(options.rate_limit, options.proxies.clone()),
            options,
            clock,
            document: OnceLock::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Finishes the accepted work. Call this function after the last request has been answered.
    pub async fn shutdown(&self) {
        self.commands.shutdown().await;
        self.reads.shutdown().await;
        self.read_log.shutdown().await;
    }
}
