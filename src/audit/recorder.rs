//! Records the reads of commands before they are shown, in the same table as the reads of the API.

use anyhow::Context;
use api::read_log::{ReadKind, ReadLog, ReadLogOptions, ReadOutcome, ReadRecord, Via};
use eventstore::{Database, SystemClock};
use uuid::Uuid;

use crate::actor::actor;

/// The record of reads, and the actor of this process.
pub(crate) struct Recorder {
    log: ReadLog,
    actor: String,
}

/// The part of the log that is read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReadRange {
    pub(crate) patient: Option<Uuid>,
    pub(crate) after: Option<u64>,
    pub(crate) to: Option<u64>,
}

impl Recorder {
    pub(crate) fn start(database: &Database) -> Self {
        Self {
            log: ReadLog::start(database.clone(), SystemClock::shared(), ReadLogOptions::default()),
            actor: actor(),
        }
    }

    /// Records a read. The data can be shown once this returns successfully.
    pub(crate) async fn record(
        &self,
        kind: ReadKind,
        outcome: ReadOutcome,
        range: ReadRange,
    ) -> anyhow::Result<()> {
        let read = ReadRecord {
            actor: self.actor.clone(),
            via: Via::Command,
            kind,
            outcome,
            patient: range.patient,
            event_type: None,
            after: range.after,
            to: range.to,
        };
        self.log
            .record(read)
            .await
            .context("nothing is shown because the read cannot be recorded in audit_reads")
    }

    pub(crate) async fn finish(self) {
        self.log.shutdown().await;
    }
}
