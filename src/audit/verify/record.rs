//! The record of reads in the report of `patients audit verify`.

use anyhow::{Context, bail};
use api::read_log::heads::TrustedRead;
use api::read_log::verify::{ReadsVerified, verify};
use eventstore::Database;
use serde::Serialize;

use crate::exit_code::NoAnswer;

/// A verified record.
#[derive(Serialize)]
pub(super) struct CheckedRecord(ReadsVerified);

pub(super) async fn check(database: &Database, trusted: &[TrustedRead]) -> anyhow::Result<CheckedRecord> {
    Ok(CheckedRecord(verify(database, trusted).await.context(NoAnswer)?))
}

impl CheckedRecord {
    pub(super) fn table(&self) -> Vec<(&'static str, String)> {
        let found = &self.0;
        let mut values = if found.fits {
            let all = format!(
                "all {} entries, {} links, {} chains",
                found.entries, found.links, found.chains
            );
            vec![("reads", all)]
        } else {
            vec![("reads", format!("{} mismatches, the first:", found.fault_count))]
        };
        values.extend(found.faults.iter().map(|fault| ("", fault.to_string())));
        if found.pruned > 0 {
            values.push(("", format!("{} links were pruned", found.pruned)));
        }
        for pruning in &found.prunings {
            let to = pruning.to.unwrap_or_default();
            values.push((
                "pruned by",
                format!("{} at {}", pruning.actor, pruning.recorded_at),
            ));
            values.push(("", format!("chain {}, up to link {to}", pruning.chain)));
        }
        if found.unchained > 0 {
            values.push(("", format!("{} entries without a chain", found.unchained)));
        }
        for head in &found.heads {
            values.push(("read chain", format!("{}, link {}", head.chain, head.number)));
            values.push(("", head.hash.to_string()));
        }
        values
    }

    /// Fails if the record does not match its chains.
    pub(super) fn must_fit(&self) -> anyhow::Result<()> {
        if self.0.fits {
            return Ok(());
        }
        let first = self.0.faults.first().map(ToString::to_string);
        bail!(
            "the log is consistent, but the record of reads is not: {}",
            first.unwrap_or_default()
        )
    }
}
