//! The tasks of a process, composed from the crates, and their shared resources.

mod signers;

use std::sync::Arc;

use anyhow::Context;
use api::read_log::ReadLogOptions;
use api::{Api, ApiOptions, ApiParts};
use eventstore::projection::RunContext;
use eventstore::{
    AppendQueue, Clock, Database, EventLog, Handler, Registered, Signal, Subscription, SystemClock,
};
use projector::PROJECTIONS;
use projector::eraser::{self, ERASER, Eraser, files};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use web::{HttpOptions, Listening, Metrics};

use crate::check;
use crate::database::{self, Missing, Target};
use crate::import::hint;
use crate::keys_database::{self, Opener};
use crate::sealing::{self, OpenedLog};
use crate::settings::Settings;
use crate::{access, mail, metrics, output, redis, replica, tls, traces};

/// Reaction of a process to an outdated schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schema {
    BringUpToDate,
    WaitFor,
}

/// The name of a task, and its result.
pub(super) type Ended = (&'static str, anyhow::Result<()>);

/// The tasks of this process and their shared resources.
pub(super) struct Process<'s> {
    settings: &'s Settings,
    role: &'static str,
    owner: String,
    clock: Arc<dyn Clock>,
    database: Database,
    log: EventLog,
    signal: Signal,
    pub(super) tasks: JoinSet<Ended>,
    api: Option<Api>,
    listening: Option<AbortHandle>,
    mail_parts: Option<mail::MailParts>,
    lines: Vec<(&'static str, String)>,
    /// Stops the API's listener.
    stop_accepting: CancellationToken,
    /// Cancelled when the API has answered its last request.
    served: CancellationToken,
    /// Stops claiming mail; mail in progress is finished.
    stop_sending: CancellationToken,
    /// Stops the subscriptions.
    stop_following: CancellationToken,
    /// Stops the signal, last: other processes must still be notified of appended events.
    stop_signal: CancellationToken,
    signal_tasks: TaskTracker,
}

impl<'s> Process<'s> {
    pub(super) async fn start(
        settings: &'s Settings,
        role: &'static str,
        schema: Schema,
        appends: bool,
    ) -> anyhow::Result<Self> {
        let clock = SystemClock::shared();
        let owner = database::owner(role);
        let missing = match schema {
            Schema::BringUpToDate => Missing::Create,
            Schema::WaitFor => Missing::WaitFor,
        };
        let database = database::open(settings, settings.database_connections, missing).await?;
        match schema {
            Schema::BringUpToDate => {
                database::bring_up_to_date(settings, &database, &clock, &owner).await?;
                database::repeat_while_unavailable(settings, async || {
                    keys_database::migrate(settings, &database, &clock, &owner, Opener::Role).await
                })
                .await?;
            }
            Schema::WaitFor => database::wait_for_schema(settings, &database).await?,
        }
        let opened = sealing::open_for_role(settings, &database, &clock, appends).await?;
        let mut lines = Vec::new();
        if let Some(keys) = Target::keys(settings) {
            lines.push(("keys", keys.place()));
        }
        if let Some(opened) = &opened {
            lines.push((
                "keyring",
                format!(
                    "{} (back it up: without it, nobody can read the personal data in the log)",
                    opened.path.display()
                ),
            ));
        }
        let stop_signal = CancellationToken::new();
        let signal_tasks = TaskTracker::new();
        let signal = match settings.redis_url() {
            Some(url) => {
                let servers = redis::servers(settings, url)?;
                Signal::redis(&servers, &settings.redis_channel, &signal_tasks, &stop_signal)
            }
            None => Signal::in_process(),
        };
        let mut process = Self {
            settings,
            role,
            owner,
            clock,
            log: EventLog::new(database.clone()),
            database,
            signal,
            tasks: JoinSet::new(),
            api: None,
            listening: None,
            mail_parts: None,
            lines,
            stop_accepting: CancellationToken::new(),
            served: CancellationToken::new(),
            stop_sending: CancellationToken::new(),
            stop_following: CancellationToken::new(),
            stop_signal,
            signal_tasks,
        };
        process.follow_keyring(opened);
        Ok(process)
    }

    /// Follows changes of the keyring. An unencrypted log may be sealed while this process runs.
    fn follow_keyring(&mut self, opened: Option<OpenedLog>) {
        let stop = self.stop_following.clone();
        let (settings, database) = (self.settings.clone(), self.database.clone());
        let signal = self.signal.clone();
        self.tasks.spawn(async move {
            let followed = match opened {
                Some(opened) => {
                    signal.share_heads(opened.head_key());
                    opened.reload_on_change(stop).await;
                    Ok(())
                }
                None => sealing::open_once_sealed(settings, database, signal, stop).await,
            };
            ("watch on the keyring", followed)
        });
    }

    pub(super) async fn api(&mut self, access: access::ConfiguredAccess) -> anyhow::Result<()> {
        let settings = self.settings;
        // This step precedes the wait for the issuer, because retrying cannot fix an error here.
        let served = tls::open(settings, Arc::clone(&self.clock)).await?;
        let mut loaded = access.load(&self.clock).await?;
        replica::open(settings, &self.database, Opener::Role).await?;
        if let Some(target) = Target::replica(settings) {
            self.lines.push(("reads", target.place()));
        }
        let listener = TcpListener::bind(settings.http_addr)
            .await
            .with_context(|| format!("HTTP_ADDR {} cannot be listened on", settings.http_addr))?;
        hint::log(settings, &self.database).await;
        let appends = AppendQueue::start_with(
            self.database.clone(),
            self.signal.clone(),
            Arc::clone(&self.clock),
            settings.append_options(),
        );
        let metrics = self.metrics(Some(appends.clone())).await?;
        let http = HttpOptions {
            request_timeout: settings.request_timeout,
            rate_limit: settings.rate_limit(),
            proxies: settings.proxies(),
            cors: settings.cors(),
            allowed_hosts: access::hosts(settings, loaded.access.is_open()),
            over_tls: served.is_some(),
            access_log: settings.access_log(),
            public_url: settings.public_url(),
        };
        let options = ApiOptions {
            read_wait: settings.read_wait,
            poll: settings.poll_interval,
            document_url_schemes: settings.document_url_schemes.clone(),
            legacy_ids: settings.legacy_ids(),
            retention: settings.retention(),
            log_origin: settings.publication.log_origin().map(ToOwned::to_owned),
            reads_log_origin: settings.publication.reads_log_origin().map(ToOwned::to_owned),
            read_log: ReadLogOptions {
                recording: settings.read_recording(),
                ..ReadLogOptions::default()
            },
            console: Arc::new(access::console(&settings.issuer)?),
            http,
        };
        let listening = Listening {
            connections: settings.http_connections as usize,
            head_timeout: settings.head_timeout,
            tls: served.as_ref().map(|served| served.tls.clone()),
        };
        // A test email must end within the timeout of a request, because a client waits for the response.
        let mail_timeouts = settings
            .mail
            .timeouts()
            .each_at_most(settings.request_timeout * 3 / 10);
        let mail_parts = self.mail_parts().await;
        let sample_mailer = mail_parts.and_then(|parts| parts.sample_mailer(settings, mail_timeouts));
        let scheme = if served.is_some() { "https" } else { "http" };
        let api = Api::new(ApiParts {
            log: self.log.clone(),
            appends,
            signal: self.signal.clone(),
            clock: Arc::clone(&self.clock),
            access: loaded.access.clone(),
            metrics,
            sample_mailer: sample_mailer.map_err(|error| output::causes(&error)),
            checks: check::for_api(settings),
            options,
        });
        let url = format!("{scheme}://{}", listener.local_addr()?);
        self.lines.push(("api", url.clone()));
        self.lines.push(("console", format!("{url}/console")));
        self.lines.push(("docs", format!("{url}/docs")));
        if let Some(served) = served {
            let reloading = served.reload_on_change(self.stop_following.clone());
            self.tasks.spawn(async move {
                reloading.await;
                ("watch on the certificate", Ok(()))
            });
        }
        for reloading in loaded.reload_tasks(&self.stop_following) {
            self.tasks.spawn(async move {
                reloading.await;
                ("watch on access tokens and keys", Ok(()))
            });
        }
        let described = loaded.described.drain(..);
        self.lines.extend(described.map(|line| ("access", line)));
        let serving = api::serve(listener, api.clone(), listening, self.stop_accepting.clone());
        let served = self.served.clone().drop_guard();
        let listening = self.tasks.spawn(async move {
            let ended = serving.await;
            drop(served);
            ("API", ended.map_err(Into::into))
        });
        self.api = Some(api);
        self.listening = Some(listening);
        Ok(())
    }

    /// Creates the metrics page, and serves it on its own address if one is set.
    pub(super) async fn metrics(&mut self, appends: Option<AppendQueue>) -> anyhow::Result<Metrics> {
        let page = metrics::page(self.role, &self.database, Arc::clone(&self.clock), appends);
        if let Some(address) = self.settings.metrics_addr {
            let listener = TcpListener::bind(address)
                .await
                .with_context(|| format!("METRICS_ADDR {address} cannot be listened on"))?;
            self.lines
                .push(("metrics", format!("http://{}/metrics", listener.local_addr()?)));
            let serving = web::serve_metrics(listener, page.clone(), self.stop_following.clone());
            self.tasks
                .spawn(async move { ("metrics", serving.await.map_err(Into::into)) });
        }
        Ok(page)
    }

    pub(super) fn projector(&mut self) {
        let names = PROJECTIONS.map(Registered::name).join(", ");
        self.lines
            .push(("projector", format!("maintains the read tables {names}")));
        for projection in PROJECTIONS {
            let running = projection.run(RunContext {
                log: self.log.clone(),
                signal: self.signal.clone(),
                clock: Arc::clone(&self.clock),
                owner: self.owner.clone(),
                poll: self.settings.poll_interval,
                stop: self.stop_following.clone(),
            });
            self.tasks.spawn(async move {
                running.await;
                ("projector", Ok(()))
            });
        }
        self.replica();
        self.eraser();
    }

    /// Opens the replica, from which rebuilds read, without waiting for it.
    fn replica(&mut self) {
        if self.database.replica().is_some() {
            return;
        }
        let (settings, database) = (self.settings.clone(), self.database.clone());
        let stop = self.stop_following.clone();
        self.tasks.spawn(async move {
            let opening = replica::open(&settings, &database, Opener::Role);
            let opened = stop.run_until_cancelled(opening).await.unwrap_or(Ok(()));
            if opened.is_ok() {
                stop.cancelled().await;
            }
            ("replica", opened)
        });
    }

    /// Destroys the keys of erased patients, and rewrites SQLite's files.
    fn eraser(&mut self) {
        let wake = Arc::new(Notify::new());
        let eraser = Eraser::new(self.database.clone(), Arc::clone(&wake));
        let subscription = self.subscription(ERASER, eraser).with_gather(eraser::GATHER);
        self.follow("eraser", subscription);
        let (log, stop) = (self.log.clone(), self.stop_following.clone());
        self.tasks.spawn(async move {
            stop.run_until_cancelled(files::follow(&log, &wake)).await;
            ("rewriting of files", Ok(()))
        });
    }

    /// Returns the composer and mail server options, read once and shared within this process.
    async fn mail_parts(&mut self) -> anyhow::Result<mail::MailParts> {
        if let Some(parts) = &self.mail_parts {
            return Ok(parts.clone());
        }
        let settings = self.settings.clone();
        let parts = tokio::task::spawn_blocking(move || mail::MailParts::load(&settings)).await??;
        self.mail_parts = Some(parts.clone());
        Ok(parts)
    }

    pub(super) async fn mailer(&mut self) -> anyhow::Result<()> {
        let parts = self.mail_parts().await?;
        let mail = mail::start(
            self.settings,
            &parts,
            &self.owner,
            &self.log,
            Arc::clone(&self.clock),
        )?;
        self.lines.push(("mail", mail.destination));
        let subscription = self
            .subscription(::mailer::SUBSCRIPTION, mail.handler)
            .with_gather(::mailer::GATHER);
        self.follow("mailer", subscription);
        let sending = mail.worker.run(self.stop_sending.clone());
        self.tasks.spawn(async move {
            sending.await;
            ("mail sender", Ok(()))
        });
        Ok(())
    }

    fn subscription<H: Handler>(&self, name: &str, handler: H) -> Subscription<H> {
        Subscription::new(
            name,
            &self.owner,
            self.log.clone(),
            &self.signal,
            Arc::clone(&self.clock),
            handler,
        )
        .with_poll(self.settings.poll_interval)
    }

    fn follow<H: Handler>(&mut self, task: &'static str, subscription: Subscription<H>) {
        let following = subscription.run(self.stop_following.clone());
        self.tasks.spawn(async move {
            following.await;
            (task, Ok(()))
        });
    }

    /// Prints the tasks and their addresses on standard output, once they run.
    pub(super) fn announce(&self) -> anyhow::Result<()> {
        let mut lines = vec![format!("patients {}", env!("CARGO_PKG_VERSION"))];
        let signal = if self.settings.redis_url().is_some() {
            "Redis"
        } else {
            "within this process"
        };
        let database = database::place(&self.settings.database_url);
        let about = [("database", database), ("signal", signal.to_owned())];
        for (name, value) in about.iter().chain(&self.lines) {
            lines.push(format!("  {name:<10} {value}"));
        }
        output::print(&lines.join("\n"))
    }

    /// Stops in the direction of the data flow: first requests, then appends, then subscriptions. Mail in
    /// progress is finished at the same time.
    pub(super) async fn stop(&mut self) {
        let began = Instant::now();
        self.stop_sending.cancel();
        self.stop_accepting.cancel();
        if let Some(api) = &self.api {
            // A client that never finishes its request must not delay the rest of the shutdown.
            let patience = self.settings.shutdown_timeout / 2;
            if tokio::time::timeout(patience, self.served.cancelled())
                .await
                .is_err()
            {
                tracing::warn!("some requests are not finished; stopping without them");
                if let Some(listening) = &self.listening {
                    listening.abort();
                }
            }
            api.shutdown().await;
        }
        self.stop_following.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.stop_signal.cancel();
        self.signal_tasks.close();
        self.signal_tasks.wait().await;
        self.database.close().await;
        let left = self.settings.shutdown_timeout.saturating_sub(began.elapsed());
        traces::finish(left).await;
    }
}
