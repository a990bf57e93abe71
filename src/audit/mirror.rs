//! `patients audit mirror`: the published log as static files.

use std::path::PathBuf;

use anyhow::Context;
use api::read_log::published;
use clap::Args;
use tlog::{LogSource, LogTables, Mirror, MirrorError, PublishedLog, RemoteLog};
use transparency::policy::Untrusted;

use super::trust::TrustArguments;
use super::watch::{STALE, WAITS};
use crate::database;
use crate::exit_code::{Alarmed, NoAnswer};
use crate::http;
use crate::output::print;
use crate::progress::Progress;
use crate::settings::Settings;

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct MirrorArguments {
    /// Folder of the files
    folder: PathBuf,
    /// URL below which the log is published, such as `https://api.example.com/log`; default: the database of
    /// the service
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    #[command(flatten)]
    trust: TrustArguments,
}

impl MirrorArguments {
    pub(super) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let Some(url) = &self.from else {
            let database = database::open_existing(settings, super::CONNECTIONS).await?;
            let origin = self.trust.policy()?.origin().to_owned();
            let tables = if settings.publication.reads_log_origin() == Some(&origin) {
                published::TABLES
            } else {
                LogTables::EVENTS
            };
            let updated = self.update(&PublishedLog::of(&database, origin, tables)).await;
            database.close().await;
            return updated;
        };
        let client = tlog::client(http::client()).context("the HTTP client cannot be created")?;
        let source = RemoteLog::new(url, client);
        let source = source.context("--from: expected a URL such as https://api.example.com/log")?;
        self.update(&source).await
    }

    async fn update(&self, source: &impl LogSource) -> anyhow::Result<()> {
        let policy = self.trust.policy()?;
        let mut progress = Progress::start("files", 0, 0, false);
        let mirror = Mirror::new(self.folder.clone());
        let mut waits = 0;
        let updated = loop {
            let updated = mirror
                .update(source, &policy, |done, all| progress.at(done, all))
                .await;
            // The cosignatures of a checkpoint that was just published can be on the way.
            let lacks_quorum = matches!(updated, Err(MirrorError::Untrusted(Untrusted::Quorum { .. })));
            if !lacks_quorum || waits == WAITS {
                break updated;
            }
            waits += 1;
            tokio::time::sleep(STALE).await;
        };
        progress.end();
        let mirrored = match updated {
            Ok(mirrored) => mirrored,
            Err(error @ MirrorError::Untrusted(Untrusted::Quorum { .. })) => {
                return Err(anyhow::Error::from(error).context(NoAnswer));
            }
            Err(error) => {
                let alarm = match &error {
                    MirrorError::Fork { .. } => Some(Alarmed::Fork),
                    MirrorError::Shrunk { .. } => Some(Alarmed::Shrunk),
                    MirrorError::Untrusted(_) => Some(Alarmed::Signature),
                    _ => None,
                };
                return match alarm {
                    Some(alarm) => Err(alarm).context(error.to_string()),
                    None => Err(error.into()),
                };
            }
        };
        print(&format!(
            "{}: the checkpoint of {} events; {} files were written",
            self.folder.display(),
            mirrored.size,
            mirrored.written
        ))
    }
}
