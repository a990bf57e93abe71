//! Attempts to commit a batch whose outcome is unknown.

use super::error::AppendError;
use super::prepared::Outcome;
use super::transaction;
use crate::database::Connection;
use crate::error::Result;
use crate::event::{Hash, Position};
use crate::log::Head;
use crate::signal::Notice;

/// An attempt that may have been committed.
#[derive(Debug, Clone)]
struct Doubt {
    /// Position and hash of the last event of the attempt. The attempt was committed if the log has them.
    position: Position,
    hash: Hash,
    /// The outcome of each append, if the attempt was committed.
    outcomes: Vec<Outcome>,
    notices: Vec<Notice>,
}

/// The combined result of the attempts that were committed.
pub(super) struct Committed {
    pub(super) outcomes: Vec<Outcome>,
    pub(super) notices: Vec<Notice>,
    /// Position and hash of the last event that was committed.
    pub(super) last: (Position, Hash),
}

/// The attempts of a batch that may have been committed. An attempt stays here until the batch is answered,
/// because a server of a cluster may not show it at the first look.
#[derive(Debug, Default)]
pub(super) struct Doubts(Vec<Doubt>);

impl Doubts {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds an attempt, before its commit is sent.
    pub(super) fn add(&mut self, head: &Head, outcomes: Vec<Outcome>, notices: Vec<Notice>) {
        self.0.push(Doubt {
            position: head.position,
            hash: head.hash,
            outcomes,
            notices,
        });
    }

    /// Removes the last attempt, which was certainly not committed.
    pub(super) fn remove_last(&mut self) {
        self.0.pop();
    }

    /// Whether the last attempt, which was certainly committed, decides every append: there is no other
    /// attempt, or it rejected no append. Otherwise, an earlier attempt may be the cause of a rejection.
    pub(super) fn is_decided_by_last(&self) -> bool {
        let last = self.0.last();
        self.0.len() == 1 || last.is_none_or(|last| last.outcomes.iter().all(Result::is_ok))
    }

    /// Removes the last attempt, which was certainly committed, and returns its outcomes and notices.
    pub(super) fn take_last(&mut self) -> (Vec<Outcome>, Vec<Notice>) {
        let last = self.0.pop().map(|last| (last.outcomes, last.notices));
        last.unwrap_or_default()
    }

    /// Returns the attempts as attempts of the single append `number` of the batch.
    pub(super) fn of_append(&self, number: usize) -> Self {
        let of_append = |doubt: &Doubt| {
            Some(Doubt {
                outcomes: vec![doubt.outcomes.get(number)?.clone()],
                ..doubt.clone()
            })
        };
        Self(self.0.iter().filter_map(of_append).collect())
    }

    /// Looks for the attempts in the log. If at least one of them was committed, returns the outcomes of the
    /// batch. An append counts as written if one of the committed attempts wrote it. Otherwise, its outcome
    /// is the outcome in `latest` or, without `latest`, in the last committed attempt.
    pub(super) async fn committed(
        &self,
        connection: &mut Connection,
        latest: Option<&[Outcome]>,
    ) -> Result<Option<Committed>> {
        let links: Vec<_> = self.0.iter().map(|doubt| (doubt.position, doubt.hash)).collect();
        let found = transaction::has_links(connection, &links).await?;
        let committed: Vec<_> = self
            .0
            .iter()
            .zip(found)
            .filter_map(|(doubt, found)| found.then_some(doubt))
            .collect();
        let Some(last) = committed.last() else {
            return Ok(None);
        };
        let mut outcomes = latest.map_or_else(|| last.outcomes.clone(), <[_]>::to_vec);
        for doubt in &committed {
            for (outcome, committed) in outcomes.iter_mut().zip(&doubt.outcomes) {
                if outcome.is_err() && committed.is_ok() {
                    outcome.clone_from(committed);
                }
            }
        }
        let links = committed.iter().map(|doubt| (doubt.position, doubt.hash));
        let end = links.max_by_key(|(position, _)| *position);
        let notices = committed.iter().flat_map(|doubt| doubt.notices.clone());
        Ok(Some(Committed {
            outcomes,
            notices: notices.collect(),
            last: end.unwrap_or((last.position, last.hash)),
        }))
    }

    /// Returns `error`, which means that nothing was written, as [`AppendError::InDoubt`] if one of these
    /// attempts may have been committed.
    pub(super) fn qualify(&self, error: AppendError) -> AppendError {
        match error {
            AppendError::Unavailable(cause)
            | AppendError::Damaged(cause)
            | AppendError::ClockWrong(cause)
            | AppendError::Sealing(cause)
                if !self.is_empty() =>
            {
                AppendError::InDoubt(cause)
            }
            error => error,
        }
    }
}
