//! The signers of checkpoints.

use std::sync::Arc;

use anyhow::Context;
use api::read_log::published::ReadHeadsLog;
use tlog::{KeyFile, SignedLog, Signer, Witnesses};
use transparency::note::SigningKey;

use super::Process;
use crate::http;

impl Process<'_> {
    /// Signs checkpoints of the log and of the record of reads, if their keys are set.
    pub(in crate::roles) fn signers(&mut self) -> anyhow::Result<()> {
        let publication = &self.settings.publication;
        if let (Some(origin), Some(path)) = (publication.log_origin(), publication.log_key_file()) {
            let file = KeyFile::new(path.to_owned());
            let key = file
                .load(origin)
                .context("LOG_KEY_FILE cannot be used; `patients audit key new` writes a new key")?;
            self.lines.push(("checkpoint", key.verifier().to_string()));
            self.signer(self.log.clone(), key, &file)?;
        }
        if let (Some(origin), Some(path)) = (publication.reads_log_origin(), publication.reads_log_key_file())
        {
            let file = KeyFile::new(path.to_owned());
            let key = file.load(origin).context(
                "READS_LOG_KEY_FILE cannot be used; `patients audit key --reads new` writes a new key",
            )?;
            self.lines.push(("reads log", key.verifier().to_string()));
            let heads = ReadHeadsLog::new(self.database.clone(), Arc::clone(&self.clock));
            self.signer(heads, key, &file)?;
        }
        let addresses = publication.witnesses();
        if publication
            .log_key_file()
            .or(publication.reads_log_key_file())
            .is_some()
            && !addresses.is_empty()
        {
            let names = addresses.iter().map(|address| address.key().name());
            let quorum = publication.witness_quorum();
            let line = format!("{}; quorum {quorum}", names.collect::<Vec<_>>().join(", "));
            self.lines.push(("witnesses", line));
        }
        Ok(())
    }

    /// Signs checkpoints of a log.
    fn signer(
        &mut self,
        log: impl SignedLog + 'static,
        key: SigningKey,
        file: &KeyFile,
    ) -> anyhow::Result<()> {
        let publication = &self.settings.publication;
        let addresses = publication.witnesses();
        let witnesses = if addresses.is_empty() {
            None
        } else {
            let quorum = publication.witness_quorum();
            let client = tlog::client(http::client()).context("the HTTP client cannot be created")?;
            let witnesses = Witnesses::new(key.verifier(), addresses.to_vec(), quorum, client);
            Some(witnesses.context("WITNESSES")?)
        };
        let mut signer = Signer::new(log, key, file.state(), Arc::clone(&self.clock));
        if let Some(witnesses) = witnesses {
            signer = signer.with_witnesses(witnesses);
        }
        let interval = publication.checkpoint_interval;
        let signing = signer.run(self.owner.clone(), interval, self.stop_following.clone());
        self.tasks.spawn(async move {
            signing.await;
            ("checkpoint signer", Ok(()))
        });
        Ok(())
    }
}
