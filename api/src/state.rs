//! The settings, the components and the shared state of the API.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::FromRef;
use domain::UrlSchemes;
use eventstore::{AppendQueue, Clock, EventLog, Signal};
use mailer::{FinishedCounts, Ledger, SampleMailer};
use projector::reads::PatientReads;
use tlog::PublishedLog;
use tokio::sync::Semaphore;
use web::access::Access;
use web::body::BodyTimeout;
use web::file::File;
use web::{HttpOptions, Metrics};
use web_console::Console;

use crate::checks::Checks;
use crate::commands::Commands;
use crate::feed::Feed;
use crate::history::PatientHistory;
use crate::legacy::LegacyIds;
use crate::read_log::{ReadLog, ReadLogOptions, published};
use crate::retention::Retention;
use crate::verification::Verifications;

/// Settings of the API.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// Maximum time that a read waits for the position in `Min-Position`.
    pub read_wait: Duration,
    /// Interval at which a live stream polls the log when no signal arrives.
    pub poll: Duration,
    /// Schemes that the URL of a patient's document may have.
    pub document_url_schemes: UrlSchemes,
    /// How requests name imported patients.
    pub legacy_ids: LegacyIds,
    /// Which erasures are allowed.
    pub retention: Retention,
    /// Origin of the published log; `None` if the log is not published.
    pub log_origin: Option<String>,
    /// Origin of the published log of the record of reads; `None` if it is not published.
    pub reads_log_origin: Option<String>,
    /// Options of the record of reads.
    pub read_log: ReadLogOptions,
    /// The web console.
    pub console: Arc<Console>,
    /// Settings of HTTP.
    pub http: HttpOptions,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            read_wait: Duration::from_secs(2),
            poll: Duration::from_secs(1),
            document_url_schemes: UrlSchemes::default(),
            legacy_ids: LegacyIds::default(),
            retention: Retention::default(),
            log_origin: None,
            reads_log_origin: None,
            read_log: ReadLogOptions::default(),
            console: Arc::default(),
            http: HttpOptions::default(),
        }
    }
}

impl From<HttpOptions> for ApiOptions {
    fn from(http: HttpOptions) -> Self {
        Self {
            http,
            ..Self::default()
        }
    }
}

/// Components of an API.
pub struct ApiParts {
    /// The event log. Its database also contains the read table and the mail ledger. A replica must already
    /// be in use, if there is one.
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
    /// The checks of the configuration.
    pub checks: Checks,
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
    pub(crate) log: EventLog,
    pub(crate) appends: AppendQueue,
    pub(crate) commands: Commands,
    pub(crate) reads: PatientReads,
    pub(crate) access: Access,
    pub(crate) history: PatientHistory,
    pub(crate) feed: Feed,
    pub(crate) read_log: ReadLog,
    pub(crate) published_log: Option<PublishedLog>,
    pub(crate) published_reads: Option<PublishedLog>,
    pub(crate) metrics: Metrics,
    pub(crate) mail_ledger: Ledger,
    pub(crate) finished_mails: FinishedCounts,
    pub(crate) sample_mailer: Result<SampleMailer, String>,
    pub(crate) options: ApiOptions,
    pub(crate) clock: Arc<dyn Clock>,
    /// Permits one proof at a time, because a proof reads every hash in the log.
    pub(crate) proving: Semaphore,
    pub(crate) verifications: Verifications,
    pub(crate) checks: Checks,
    /// The OpenAPI document, created on the first request for it.
    pub(crate) document: OnceLock<File>,
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
            checks,
            options,
        } = parts;
        let shared = Shared {
            commands: Commands::new(log.clone(), appends.clone(), Arc::clone(&clock))
                .with_retention(options.retention),
            appends,
            reads: PatientReads::start(&log),
            access,
            history: PatientHistory::new(log.clone()),
            read_log: ReadLog::start(log.database().clone(), Arc::clone(&clock), options.read_log),
            feed: Feed::new(
                EventLog::new(log.database().for_stale_reads().clone()),
                signal,
                options.poll,
            ),
            published_log: options
                .log_origin
                .clone()
                .map(|origin| PublishedLog::new(log.database(), origin)),
            published_reads: options
                .reads_log_origin
                .clone()
                .map(|origin| PublishedLog::of(log.database(), origin, published::TABLES)),
            mail_ledger: Ledger::new(log.database().clone()),
            finished_mails: FinishedCounts::default(),
            log,
            metrics,
            sample_mailer,
            options,
            clock,
            proving: Semaphore::new(1),
            verifications: Verifications::default(),
            checks,
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

impl FromRef<Api> for Arc<Console> {
    fn from_ref(api: &Api) -> Self {
        Arc::clone(&api.options.console)
    }
}

impl FromRef<Api> for BodyTimeout {
    fn from_ref(api: &Api) -> Self {
        api.options.http.body_timeout()
    }
}
