//! Verifying the published log of the record: its entries are links of the chains, and its roots are those
//! that were signed or kept.

use std::collections::BTreeMap;

use eventstore::{Database, Hash, Result, Session};
use transparency::tree::Frontier;

use super::super::verify::{ReadProblem, ReadsVerified};
use super::super::writer::hash;

/// Number of entries in a page.
const PAGE: i64 = 2000;

/// A root of the published log that was signed, or that an auditor kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptRoot {
    /// Number of entries.
    pub size: u64,
    /// Root of the tree over these entries.
    pub root: Hash,
}

/// Compares the entries with the links of the chains, and the roots with `kept`. Adds the differences to the
/// report. The chains themselves must be verified too.
///
/// # Errors
///
/// [`eventstore::Error::Database`], [`eventstore::Error::Timeout`].
pub async fn verify(database: &Database, kept: &[KeptRoot], report: &mut ReadsVerified) -> Result<()> {
    let mut snapshot = database.snapshot().await?;
    let mut tree = Frontier::default();
    let mut numbers: BTreeMap<String, i64> = BTreeMap::new();
    let mut roots: BTreeMap<u64, Vec<Hash>> = BTreeMap::new();
    for KeptRoot { size, root } in kept {
        roots.entry(*size).or_default().push(*root);
    }
    let mut position = 0_i64;
    loop {
        let rows = snapshot
            .query(
                "SELECT e.position, e.chain, e.number, e.hash, l.hash IS NOT NULL, COALESCE(l.hash, e.hash) \
                 FROM audit_read_heads e LEFT JOIN audit_read_links l ON l.chain = e.chain AND l.number = e.number \
                 WHERE e.position > ? ORDER BY e.position LIMIT ?",
            )
            .bind(position)
            .bind(PAGE)
            .fetch_all()
            .await?;
        for row in &rows {
            let (found, chain, number): (i64, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let (entry, is_there, link) = (hash(row, 3)?, row.get::<i64, _>(4)? == 1, hash(row, 5)?);
            let before = numbers.insert(chain.clone(), number).unwrap_or(0);
            let problem = if found != position + 1 {
                Some(ReadProblem::HeadMissing {
                    position: position + 1,
                })
            } else if !is_there {
                Some(ReadProblem::PublishedMissing { position: found })
            } else if link != entry || number <= before {
                Some(ReadProblem::PublishedDiffers { position: found })
            } else {
                None
            };
            if let Some(problem) = problem {
                report.fault(&chain, Some(number), None, problem);
            }
            position = found;
            tree.push(transparency::Hash::leaf(&entry.0));
            compare(report, &tree, &mut roots);
        }
        if rows.len() < usize::try_from(PAGE).unwrap_or(usize::MAX) {
            break;
        }
    }
    snapshot.rollback().await?;
    report.published = tree.size();
    // The log ends before these sizes.
    for (size, _) in roots.into_iter().filter(|(size, _)| *size > 0) {
        report.fault("", None, None, ReadProblem::PublishedRoot { size });
    }
    report.fits = report.fault_count == 0;
    Ok(())
}

/// Compares the root with the roots of this size.
fn compare(report: &mut ReadsVerified, tree: &Frontier, roots: &mut BTreeMap<u64, Vec<Hash>>) {
    let size = tree.size();
    for kept in roots.remove(&size).into_iter().flatten() {
        if tree.root().0 != kept.0 {
            report.fault("", None, None, ReadProblem::PublishedRoot { size });
        }
    }
}
