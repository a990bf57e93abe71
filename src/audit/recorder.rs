//! Recording what the command line reads, before it is shown: the same record as that of the API.

use anyhow::Context;
use api::read_log::{Read, ReadKind, ReadLog, ReadOutcome, Via};
use eventstore::{Database, SystemClock};
use uuid::Uuid;

use crate::actor::actor;

/// The record, and who reads.
pub(super) struct Recorder {
    log: ReadLog,
    actor: String,
}

/// What of a patient or of the log is read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Range {
    pub(super) patient: Option<Uuid>,
    pub(super) after: Option<u64>,
    pub(super) to: Option<u64>,
}

impl Recorder {
    pub(super) fn start(database: &Database) -> Self {
        Self {
            log: ReadLog::start(database.clone(), SystemClock::shared()),
            actor: actor(),
        }
    }

    /// Records a read; when this returns, it may be shown.
    pub(super) async fn record(
        &self,
        kind: ReadKind,
        outcome: ReadOutcome,
        range: Range,
    ) -> anyhow::Result<()> {
        let read = Read {
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
            .context("nothing is shown that cannot be recorded in audit_reads")
    }

    pub(super) async fn finish(self) {
        self.log.shutdown().await;
    }
}
