//! `patients audit mirror`: the published log as static files.

use std::path::PathBuf;

use anyhow::{Context, bail};
use api::read_log::published;
use clap::Args;
use tlog::{KeyFile, LogSource, LogTables, Mirror, MirrorError, PublishedLog, RemoteLog};
use transparency::note::VerifierKey;
use transparency::policy::{Policy, Untrusted};

use super::trust::WitnessArguments;
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
    #[arg(long, value_name = "URL", requires = "key")]
    from: Option<String>,
    /// Verifier key of the log; its name is the origin of the log. Can be repeated if the key was replaced.
    /// Default without --from: the key in `LOG_KEY_FILE`
    #[arg(long, value_name = "VKEY")]
    key: Vec<VerifierKey>,
    #[command(flatten)]
    witnesses: WitnessArguments,
}

impl MirrorArguments {
    pub(super) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let Some(url) = &self.from else {
            let policy = self.policy(settings)?;
            let database = database::open_existing(settings, super::CONNECTIONS).await?;
            let origin = policy.origin().to_owned();
            let tables = if settings.publication.reads_log_origin() == Some(&origin) {
                published::TABLES
            } else {
                LogTables::EVENTS
            };
            let log = PublishedLog::of(&database, origin, tables);
            let updated = self.update(&log, &policy).await;
            database.close().await;
            return updated;
        };
        let client = tlog::client(http::client()).context("the HTTP client cannot be created")?;
        let source = RemoteLog::new(url, client);
        let source = source.context("--from: expected a URL such as https://api.example.com/log")?;
        self.update(&source, &self.policy(settings)?).await
    }

    /// Returns the policy, with the key of the service if no key is given.
    fn policy(&self, settings: &Settings) -> anyhow::Result<Policy> {
        if !self.key.is_empty() {
            return self.witnesses.policy(&self.key);
        }
        let publication = &settings.publication;
        let (Some(origin), Some(file)) = (publication.log_origin(), publication.log_key_file()) else {
            bail!("pass the verifier key of the log with --key, or set LOG_ORIGIN and LOG_KEY_FILE");
        };
        let key = KeyFile::new(file.to_owned()).load(origin)?;
        self.witnesses.policy(&[key.verifier().clone()])
    }

    async fn update(&self, source: &impl LogSource, policy: &Policy) -> anyhow::Result<()> {
        let mut progress = Progress::start("files", 0, 0, false);
        let mirror = Mirror::new(self.folder.clone());
        let mut waits = 0;
        let updated = loop {
            let updated = mirror
                .update(source, policy, |done, all| progress.at(done, all))
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
