//! The oracle: says whether what is there is what clients were told. It knows nothing of the product but what its
//! documentation promises, and computes everything itself: the chain, the replay, who held which email when.

mod chain;
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

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Anomaly {
    /// The claim that it breaks: a file of this folder.
    pub(crate) claim: &'static str,
    pub(crate) what: String,
}

/// What a claim objects to.
type Objections = Vec<String>;

/// How a claim is judged.
type Judge = fn(&Evidence, &History) -> Objections;

/// Every claim, by name.
const CLAIMS: [(&str, Judge); 9] = [
    ("chain", chain::objections),
    ("writes", writes::objections),
    ("order", order::objections),
    ("table", table::objections),
    ("emails", table::objections_to_emails),
    ("reads", reads::objections),
    ("followers", followers::objections),
    ("mail", mail::objections),
    ("recovery", recovery::objections),
];

/// Everything that is not as promised.
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
