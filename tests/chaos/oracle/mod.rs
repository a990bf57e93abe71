//! The oracle, which checks that the data agrees with the responses to clients. It relies only on the
//! documented guarantees of the product. It computes the chain, the replay and the owner of each email
//! address at each time itself.

mod chain;
mod erasures;
mod followers;
mod history;
mod mail;
mod order;
mod reads;
mod recovery;
mod table;
mod writes;

#[cfg(test)]
mod tests;

use crate::evidence::Evidence;
use history::History;
pub(crate) use mail::copies;

/// A violation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Anomaly {
    /// The name of the violated claim.
    pub(crate) claim: &'static str,
    pub(crate) what: String,
}

/// The violations of a claim.
type Objections = Vec<String>;

/// The function that checks a claim.
type Judge = fn(&Evidence, &History) -> Objections;

/// Every claim, by name.
const CLAIMS: [(&str, Judge); 10] = [
    ("chain", chain::objections),
    ("writes", writes::objections),
    ("order", order::objections),
    ("table", table::objections),
    ("emails", table::objections_to_emails),
    ("reads", reads::objections),
    ("erasures", erasures::objections),
    ("followers", followers::objections),
    ("mail", mail::objections),
    ("recovery", recovery::objections),
];

/// Every violation.
pub(crate) fn judge(evidence: &Evidence) -> Vec<Anomaly> {
    let history = History::of(evidence);
    CLAIMS
        .iter()
        .flat_map(|(claim, objections)| {
            objections(evidence, &history)
                .into_iter()
                .map(|what| Anomaly { claim, what })
        })
        .collect()
}
