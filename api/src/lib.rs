//! HTTP.
//!
//! Commands go in through cqrs-es and the append queue ([`commands`]); reads come out of the read table, and
//! of the log for what is not projected yet ([`reads`]); the past comes out of the log alone ([`history`],
//! `feed`), and who reads it is recorded first ([`read_log`]). This crate and the projector share nothing but
//! the table.
//!
//! # Guarantees
//!
//! - 201 and 204 are answered when the event is durable, never before.
//! - `GET /patients/{id}` is strongly consistent, from any process.
//! - Every error is an RFC 9457 problem ([`problem`]); none repeats somebody's data, and none is a panic.
//! - Queues, bodies and times are bounded.
//!
//! # Adding a route
//!
//! 1. Add a file in `routes/` with the handler, its OpenAPI text (`described`) and what it alone needs.
//!    Describe every query parameter: a route with none refuses all of them, and a handler that reads some by
//!    `Query` refuses the others.
//! 2. Name it in the table, `routes::routes`, with the roles that it is for, and in the table of
//!    `tests/http/access.rs`.
//! 3. Say in [`problem::ApiError`] what can go wrong that is new, and in `problem/kinds.rs` what it means.
//! 4. Write the document anew: `cargo run -- openapi > docs/openapi.json`.

mod accept;
pub mod access;
mod body;
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
pub mod mail;
mod method;
pub mod metrics;
mod observe;
mod openapi;
mod paths;
pub mod problem;
mod public_url;
mod query;
pub mod read_log;
pub mod reads;
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

use access::Access;
use clients::Proxies;
use commands::Commands;
use feed::Feed;
use file::File;
use history::PatientHistory;
use host::Hosts;
use limit::Limits;
use mail::MailDesk;
use metrics::Metrics;
use read_log::ReadLog;
use reads::PatientReads;
use same_origin::TrustedOrigins;

pub use cors::{Cors, NoOrigin, Origin};
pub use host::{AllowedHost, NoHost};
pub use limit::RateLimit;
pub use metrics::serve_metrics;
pub use public_url::{NotPublicUrl, PublicUrl};
pub use routes::{openapi, router};
pub use server::{Listening, serve};
pub use tls::{Certificate, Tls, TlsError};

/// How the API behaves.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// How long a read waits for the position in `Min-Position`.
    pub read_wait: Duration,
    /// How long a request may take from its headers to the answer.
    pub request_timeout: Duration,
    /// How often a live stream looks at the log when no signal comes.
    pub poll: Duration,
    /// How much each client may ask for; `None` for no limit.
    pub rate_limit: Option<RateLimit>,
    /// Whose word is taken for where a request comes from.
    pub proxies: Proxies,
    /// The pages that may use the API from other origins; `None` for none.
    pub cors: Option<Cors>,
    /// The hosts that requests may be sent to. Loopback names always are among them; without any, an API with
    /// access control accepts every host.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Whether browsers are told to come over TLS only.
    pub over_tls: bool,
    /// Whether each answer has a line in the log.
    pub access_log: bool,
    /// The URL under which clients reach the API. With it, the addresses in answers are absolute.
    pub public_url: Option<PublicUrl>,
    /// The schemes that the URL of a patient's document may have.
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

/// What an API is made of.
pub struct ApiParts {
    /// The log, beside which the read table is.
    pub log: EventLog,
    /// The queue that writes to the log.
    pub appends: AppendQueue,
    /// What wakes live streams.
    pub signal: Signal,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who is let in.
    pub access: Access,
    /// The page of metrics.
    pub metrics: Metrics,
    /// The mail ledger.
    pub mail: Arc<dyn MailDesk>,
    /// How the API behaves.
    pub options: ApiOptions,
}

/// The API over a log. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    shared: Arc<Shared>,
}

/// What the routes share.
pub struct Shared {
    log: EventLog,
    commands: Commands,
    reads: PatientReads,
    access: Access,
    history: PatientHistory,
    feed: Feed,
    read_log: ReadLog,
    metrics: Metrics,
    mail: Arc<dyn MailDesk>,
    limits: Limits,
    hosts: Hosts,
    origins: TrustedOrigins,
    options: ApiOptions,
    clock: Arc<dyn Clock>,
    /// The OpenAPI document, once it was asked for.
    document: OnceLock<File>,
}

impl Deref for Api {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Api {
    /// The API made of these parts.
    #[must_use]
    pub fn new(parts: ApiParts) -> Self {
        let ApiParts {
            log,
            appends,
            signal,
            clock,
            access,
            metrics,
            mail,
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
            log,
            metrics,
            mail,
            limits: Limits::new(options.rate_limit, options.proxies.clone()),
            options,
            clock,
            document: OnceLock::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Finishes what was accepted: to be called when no request is left.
    pub async fn shutdown(&self) {
        self.commands.shutdown().await;
        self.reads.shutdown().await;
        self.read_log.shutdown().await;
    }
}
