//! The record of reads in the report of `patients audit verify`.

use anyhow::{Context, bail};
use api::read_log::heads::{ReadHead, TrustedRead};
use api::read_log::verify::{ReadsVerified, verify};
use eventstore::Database;
use serde::Serialize;

use crate::audit::reads;
use crate::exit_code::NoAnswer;

/// A verified record, with the heads of its chains.
#[derive(Serialize)]
pub(super) struct CheckedRecord {
    #[serde(flatten)]
    verified: ReadsVerified,
    heads: Vec<ReadHead>,
}

pub(super) async fn check(database: &Database, trusted: &[TrustedRead]) -> anyhow::Result<CheckedRecord> {
    Ok(CheckedRecord {
        verified: verify(database, trusted).await.context(NoAnswer)?,
        heads: reads::heads(database).await.context(NoAnswer)?,
    })
}

impl CheckedRecord {
    pub(super) fn table(&self) -> Vec<(&'static str, String)> {
        let found = &self.verified;
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
        if found.unchained > 0 {
            values.push(("", format!("{} entries without a chain", found.unchained)));
        }
        for head in &self.heads {
            values.push(("read chain", format!("{}, link {}", head.chain, head.number)));
            values.push(("", head.hash.to_string()));
        }
        values
    }

    /// Fails if the record does not match its chains.
    pub(super) fn must_fit(&self) -> anyhow::Result<()> {
        if self.verified.fits {
            return Ok(());
        }
        let first = self.verified.faults.first().map(ToString::to_string);
        bail!(
            "the log is consistent, but the record of reads is not: {}",
            first.unwrap_or_default()
        )
    }
}
