//! Decides in memory and in order which appends of a batch can be written.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::error::AppendError;
use super::head::LogRules;
use super::prepared::Append;
use crate::claim::{Claim, ClaimChange};
use crate::error::Error;
use crate::event::Position;

/// Type and id of an aggregate.
pub(super) type Aggregate<'a> = (&'a str, &'a str);

/// State of the aggregates and claims of a batch, as read from the database.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// For each aggregate, the number of its events and the position of its first event. Aggregates without
    /// events are absent.
    pub(super) sequences: HashMap<(String, String), (u64, Position)>,
    /// Holder of each claim. Claims without a holder are absent.
    pub(super) holders: HashMap<Claim, (String, String)>,
}

impl Known {
    /// Returns the damage if the database found the aggregate's events under a different spelling of its type
    /// or id. MySQL ignores case and trailing spaces.
    fn damage(&self, (kind, id): Aggregate<'_>) -> Option<Error> {
        let same = |found: &str, asked: &str| found.trim_end_matches(' ').eq_ignore_ascii_case(asked);
        self.sequences
            .iter()
            .filter(|((found_kind, found), _)| (found_kind.as_str(), found.as_str()) != (kind, id))
            .find(|((found_kind, found), _)| same(found, id) && same(found_kind, kind))
            .map(|(_, (_, position))| Error::Damaged {
                position: *position,
                what: "the case or the trailing spaces of its aggregate type or id were altered",
            })
    }
}

/// The decision about a batch.
#[derive(Debug, Default)]
pub(super) struct Decision<'a> {
    /// The reason for rejecting each append, in order; `None` if it can be written.
    pub(super) refusals: Vec<Option<AppendError>>,
    /// Claims that are deleted, if their aggregate holds them, before new claims are inserted.
    pub(super) released: HashSet<(Claim, Aggregate<'a>)>,
    /// Aggregates of which all claims are deleted before new claims are inserted.
    pub(super) without_claims: HashSet<Aggregate<'a>>,
    /// Claims to insert.
    pub(super) taken: HashMap<Claim, Aggregate<'a>>,
}

impl Decision<'_> {
    /// Returns the appends that can be written.
    pub(super) fn accepted<'i>(&self, items: &'i [Append]) -> impl Iterator<Item = &'i Append> {
        let decided = items.iter().zip(&self.refusals);
        decided.filter_map(|(item, refusal)| refusal.is_none().then_some(item))
    }
}

/// Decides each append as if the appends before it had already been written.
pub(super) fn decide<'a>(items: &'a [Append], known: &'a Known, rules: &LogRules) -> Decision<'a> {
    let mut sequences: HashMap<Aggregate<'a>, u64> = known
        .sequences
        .iter()
        .map(|((kind, id), (sequence, _))| ((kind.as_str(), id.as_str()), *sequence))
        .collect();
    let mut holders: HashMap<Claim, Aggregate<'a>> = known
        .holders
        .iter()
        .map(|(claim, (kind, id))| (*claim, (kind.as_str(), id.as_str())))
        .collect();
    let mut decision = Decision::default();

    for item in items {
        let (Some(first), Some(last)) = (item.events.first(), item.events.last()) else {
            decision.refusals.push(Some(AppendError::Invalid("no events")));
            continue;
        };
        if item.format != rules.format {
            decision.refusals.push(Some(AppendError::OtherFormat));
            continue;
        }
        if item.claims_version.is_some_and(|version| version != rules.claims) {
            decision.refusals.push(Some(AppendError::OtherClaims));
            continue;
        }
        if let Some(key) = &item.key
            && rules.retired.contains(key.wrapping_key.as_str())
        {
            decision.refusals.push(Some(AppendError::RetiredKey));
            continue;
        }
        let aggregate = (
            first.event.aggregate_type.as_str(),
            first.event.aggregate_id.as_str(),
        );
        let expected = first.event.sequence - 1;
        let actual = sequences.get(&aggregate).copied().unwrap_or(0);
        if expected != actual {
            let refusal = known.damage(aggregate).map_or_else(
                || AppendError::Conflict { expected, actual },
                |error| AppendError::Damaged(Arc::new(error)),
            );
            decision.refusals.push(Some(refusal));
            continue;
        }
        let taken = item.claims.iter().any(|change| match change {
            ClaimChange::Take(claim) => holders.get(claim).is_some_and(|holder| *holder != aggregate),
            ClaimChange::Release(_) | ClaimChange::ReleaseAll => false,
        });
        if taken {
            decision.refusals.push(Some(AppendError::ClaimTaken));
            continue;
        }
        for change in &item.claims {
            match change {
                ClaimChange::Take(claim) => {
                    if holders.insert(*claim, aggregate).is_none() {
                        decision.taken.insert(*claim, aggregate);
                    }
                }
                ClaimChange::Release(claim) => {
                    if holders.get(claim) == Some(&aggregate) {
                        holders.remove(claim);
                    }
                    if decision.taken.get(claim) == Some(&aggregate) {
                        decision.taken.remove(claim);
                    }
                    decision.released.insert((*claim, aggregate));
                }
                ClaimChange::ReleaseAll => {
                    holders.retain(|_, holder| *holder != aggregate);
                    decision.taken.retain(|_, holder| *holder != aggregate);
                    decision.without_claims.insert(aggregate);
                }
            }
        }
        sequences.insert(aggregate, last.event.sequence);
        decision.refusals.push(None);
    }
    decision
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::NewEvent;

    fn append(id: &str, sequence: u64, claims: Vec<ClaimChange>) -> Append {
        let event = NewEvent {
            aggregate_type: "thing".into(),
            aggregate_id: id.into(),
            sequence,
            event_type: "Happened".into(),
            event_version: "1.0".into(),
            payload: json!({}),
            metadata: json!({}),
        };
        Append::new(vec![event], claims).unwrap()
    }

    fn take(value: &str) -> ClaimChange {
        ClaimChange::Take(Claim::on("value", value))
    }

    fn release(value: &str) -> ClaimChange {
        ClaimChange::Release(Claim::on("value", value))
    }

    fn known(sequences: &[(&str, u64)], holders: &[(&str, &str)]) -> Known {
        Known {
            sequences: sequences
                .iter()
                .map(|(id, n)| (("thing".into(), (*id).into()), (*n, Position::new(7).unwrap())))
                .collect(),
            holders: holders
                .iter()
                .map(|(value, id)| (Claim::on("value", value), ("thing".into(), (*id).into())))
                .collect(),
        }
    }

    fn refusals(items: &[Append], known: &Known) -> Vec<Option<String>> {
        decide(items, known, &LogRules::default())
            .refusals
            .into_iter()
            .map(|refusal| refusal.map(|error| error.to_string()))
            .collect()
    }

    #[test]
    fn a_conflict_and_a_taken_claim_fail_alone() {
        let items = [
            append("a", 1, vec![take("x")]),
            append("b", 3, vec![]),
            append("c", 1, vec![take("held")]),
            append("d", 1, vec![take("y")]),
        ];
        assert_eq!(
            refusals(&items, &known(&[("b", 1)], &[("held", "z")])),
            [
                None,
                Some("conflict: expected 2 events, found 1".into()),
                Some("a claim is taken".into()),
                None
            ]
        );
    }

    #[test]
    fn the_first_of_two_in_a_batch_gets_the_claim() {
        let items = [append("a", 1, vec![take("x")]), append("b", 1, vec![take("x")])];
        assert_eq!(
            refusals(&items, &known(&[], &[])),
            [None, Some("a claim is taken".into())]
        );
    }

    #[test]
    fn the_first_of_two_in_a_batch_gets_the_sequence() {
        let items = [
            append("a", 2, vec![]),
            append("a", 2, vec![]),
            append("a", 3, vec![]),
        ];
        assert_eq!(
            refusals(&items, &known(&[("a", 1)], &[])),
            [None, Some("conflict: expected 1 events, found 2".into()), None]
        );
    }

    #[test]
    fn a_released_claim_can_be_taken_later_in_the_batch() {
        let items = [
            append("a", 2, vec![release("x")]),
            append("b", 1, vec![take("x")]),
        ];
        let known = known(&[("a", 1)], &[("x", "a")]);
        let decision = decide(&items, &known, &LogRules::default());
        assert!(decision.refusals.iter().all(Option::is_none));
        assert_eq!(
            decision.released,
            HashSet::from([(Claim::on("value", "x"), ("thing", "a"))])
        );
        assert_eq!(
            decision.taken,
            HashMap::from([(Claim::on("value", "x"), ("thing", "b"))])
        );
    }

    #[test]
    fn what_is_taken_and_released_in_one_batch_is_not_left_behind() {
        let items = [
            append("a", 1, vec![take("x")]),
            append("a", 2, vec![release("x")]),
        ];
        let known = known(&[], &[]);
        let decision = decide(&items, &known, &LogRules::default());
        assert!(decision.refusals.iter().all(Option::is_none));
        assert!(decision.taken.is_empty());
    }

    #[test]
    fn a_release_frees_no_claim_of_another_aggregate() {
        let items = [
            append("a", 2, vec![release("x"), release("of b")]),
            append("c", 1, vec![take("x")]),
            append("d", 1, vec![take("of b")]),
        ];
        let known = known(&[("a", 1)], &[("x", "a"), ("of b", "b")]);
        let decision = decide(&items, &known, &LogRules::default());
        let refused: Vec<_> = decision.refusals.iter().map(Option::is_some).collect();
        assert_eq!(refused, [false, false, true]);
    }

    #[test]
    fn events_that_are_found_under_another_spelling_of_the_id_are_damage_and_no_conflict() {
        for spelled in ["A", "a ", "A  "] {
            let items = [append("a", 2, vec![]), append("b", 2, vec![])];
            let refusals = refusals(&items, &known(&[(spelled, 1), ("b", 1)], &[]));
            let said = refusals[0].as_deref().unwrap_or_default();
            assert!(said.contains("damaged at position 7"), "{said}");
            assert_eq!(refusals[1], None);
        }
    }

    #[test]
    fn an_append_for_another_format_of_the_log_is_refused() {
        use crate::format::KeysPlace::{Elsewhere, InLog};
        use crate::format::LogFormat;
        use crate::sealing::{KeyStore, LogId};
        let log = LogId([1; 16]);
        let (keys, other) = (KeyStore::new(log), KeyStore::new(LogId([2; 16])));
        let items = [
            append("a", 1, vec![]),
            append("b", 1, vec![]).sealed(&keys, None),
            append("c", 1, vec![]).sealed(&other, None),
        ];
        let refused = |format| -> Vec<bool> {
            let rules = LogRules {
                format,
                ..LogRules::default()
            };
            let known = Known::default();
            let refusals = decide(&items, &known, &rules).refusals;
            refusals.iter().map(Option::is_some).collect()
        };
        assert_eq!(refused(LogFormat::Clear), [false, true, true]);
        assert_eq!(refused(LogFormat::Sealed(log, InLog)), [true, false, true]);
        assert_eq!(refused(LogFormat::Sealed(log, Elsewhere)), [true; 3]);
    }

    #[test]
    fn an_append_by_other_claim_rules_is_rejected() {
        let items = [3, 4].map(|version| append("a", 1, vec![take("x")]).by_claim_rules(Some(version)));
        let rules = LogRules {
            claims: 4,
            ..LogRules::default()
        };
        let known = Known::default();
        let refusals = decide(&items, &known, &rules).refusals;
        assert!(
            matches!(refusals[..], [Some(AppendError::OtherClaims), None]),
            "{refusals:?}"
        );
    }

    #[test]
    fn an_aggregate_can_release_all_its_claims() {
        let items = [
            append("a", 1, vec![take("x"), take("y")]),
            append("a", 2, vec![ClaimChange::ReleaseAll]),
            append("b", 2, vec![ClaimChange::ReleaseAll]),
            append("c", 1, vec![take("x"), take("of b")]),
        ];
        let known = known(&[("b", 1)], &[("of b", "b")]);
        let decision = decide(&items, &known, &LogRules::default());
        assert!(decision.refusals.iter().all(Option::is_none));
        assert_eq!(
            decision.without_claims,
            HashSet::from([("thing", "a"), ("thing", "b")])
        );
        let taken = ["x", "of b"].map(|value| (Claim::on("value", value), ("thing", "c")));
        assert_eq!(decision.taken, HashMap::from(taken));
    }

    #[test]
    fn a_refused_append_takes_and_releases_nothing() {
        let items = [
            append("a", 9, vec![release("x")]),
            append("b", 1, vec![take("x")]),
        ];
        let known = known(&[("a", 1)], &[("x", "a")]);
        let decision = decide(&items, &known, &LogRules::default());
        assert!(decision.refusals.iter().all(Option::is_some));
        assert!(decision.released.is_empty() && decision.taken.is_empty());
    }
}
