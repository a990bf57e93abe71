//! The record of reads in the report of `patients audit verify`.

use anyhow::{Context, bail};
use api::read_log::heads::TrustedRead;
use api::read_log::published::{self, KeptRoot};
use api::read_log::verify::{ReadsVerified, verify};
use eventstore::{Database, Hash, Trusted};
use serde::Serialize;
use tlog::SignedCheckpoints;

use crate::exit_code::NoAnswer;

/// A verified record.
#[derive(Serialize)]
pub(super) struct CheckedRecord(ReadsVerified);

/// What the record is compared with.
pub(crate) struct TrustedRecord<'s> {
    links: Vec<TrustedRead>,
    roots: Vec<Trusted>,
    origin: Option<&'s str>,
}

impl<'s> TrustedRecord<'s> {
    /// Returns what the record is compared with: links and roots of the published log that were kept, and the
    /// newest signed checkpoint of the published log with this origin.
    pub(crate) const fn new(links: Vec<TrustedRead>, roots: Vec<Trusted>, origin: Option<&'s str>) -> Self {
        Self { links, roots, origin }
    }
}

pub(super) async fn check(database: &Database, trusted: &TrustedRecord<'_>) -> anyhow::Result<CheckedRecord> {
    let mut roots: Vec<_> = trusted
        .roots
        .iter()
        .map(|kept| KeptRoot {
            size: kept.position.get(),
            root: kept.hash,
        })
        .collect();
    if let Some(origin) = trusted.origin {
        // A later checkpoint can cover entries that the snapshot of the verification lacks.
        let checkpoints = SignedCheckpoints::new(database.clone(), origin.to_owned());
        let newest = checkpoints.newest().await.context(NoAnswer)?;
        roots.extend(newest.map(|newest| KeptRoot {
            size: newest.size,
            root: Hash(newest.root.0),
        }));
    }
    let mut report = verify(database, &trusted.links).await.context(NoAnswer)?;
    published::verify(database, &roots, &mut report)
        .await
        .context(NoAnswer)?;
    Ok(CheckedRecord(report))
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
        if found.published > 0 {
            let heads = format!("{} entries in the published log", found.published);
            values.push(("", heads));
        }
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
