//! Comparison of the claims table with the log, and repair of the table from the log.

use std::sync::Arc;

use eventstore::claim::table::{ClaimProblem, rebuild, verify};
use eventstore::{Append, Claim, ClaimChange, ClaimRules, ClaimRulesError, Error, HeldClaim, NewEvent};
use serde_json::json;

use crate::backend::Backend;
use crate::sample::{TYPE, event};

on_every_backend!(
    every_difference_between_claims_and_log_is_named_and_repaired,
    of_two_who_have_the_same_value_the_older_keeps_the_claim,
    of_three_who_have_the_same_value_the_oldest_keeps_the_claim,
    rules_of_another_version_repair_nothing,
    a_release_frees_no_claim_of_another_aggregate_of_the_batch,
    the_claims_are_repaired_while_appends_go_on,
);

/// Rules under which an event takes the claim on its `value`. An event with a null `value` releases all
/// claims of its aggregate.
struct Values;

impl ClaimRules for Values {
    fn held(&self, events: &[NewEvent]) -> Result<Vec<HeldClaim>, ClaimRulesError> {
        let mut held = Vec::new();
        for event in events {
            match &event.payload["value"] {
                serde_json::Value::String(value) => held.push(HeldClaim::new(Claim::on("value", value))),
                serde_json::Value::Null => held.clear(),
                _ => return Err("no value".into()),
            }
        }
        Ok(held)
    }
}

fn taking(id: &str, value: &str) -> Append {
    saying(id, 1, Some(value), ClaimChange::Take(Claim::on("value", value)))
}

fn releasing(id: &str, value: &str) -> Append {
    saying(id, 2, None, ClaimChange::Release(Claim::on("value", value)))
}

fn saying(id: &str, sequence: u64, value: Option<&str>, change: ClaimChange) -> Append {
    let event = NewEvent {
        payload: json!({ "value": value }),
        ..event(id, sequence)
    };
    Append::new(vec![event], vec![change]).unwrap()
}

async fn filled(backend: &Backend) {
    backend.migrate().await;
    let queue = backend.queue();
    for id in ["a", "b", "c", "d"] {
        queue.append(taking(id, &format!("of {id}"))).await.unwrap();
    }
    queue.append(releasing("d", "of d")).await.unwrap();
}

async fn problems(backend: &Backend) -> Vec<(String, ClaimProblem)> {
    let found = verify(&backend.log, &Values, TYPE, |_| {}).await.unwrap();
    assert_eq!(found.fits, found.mismatches.first.is_empty());
    assert_eq!(found.mismatches.count, found.mismatches.first.len() as u64);
    let mismatches = found.mismatches.first.into_iter();
    mismatches
        .map(|mismatch| (mismatch.aggregate_id, mismatch.problem))
        .collect()
}

async fn every_difference_between_claims_and_log_is_named_and_repaired(backend: Arc<Backend>) {
    filled(&backend).await;
    assert_eq!(problems(&backend).await, []);
    let held_by_b = ClaimProblem::HeldBy { holder: "b".into() };
    let held_by_nobody = ClaimProblem::HeldBy { holder: "x".into() };
    let of = |id: &str, problem: &ClaimProblem| (id.to_owned(), problem.clone());
    for (sql, expected) in [
        (
            "DELETE FROM claims WHERE aggregate_id = 'a'",
            vec![of("a", &ClaimProblem::Missing)],
        ),
        (
            "UPDATE claims SET aggregate_id = 'b' WHERE aggregate_id = 'a'",
            vec![of("a", &held_by_b), of("b", &ClaimProblem::Unexpected)],
        ),
        (
            "UPDATE claims SET aggregate_id = 'x' WHERE aggregate_id = 'c'",
            vec![of("c", &held_by_nobody), of("x", &ClaimProblem::Unexpected)],
        ),
        (
            "UPDATE claims SET aggregate_type = 'other' WHERE aggregate_id = 'c'",
            vec![
                of("c", &ClaimProblem::HeldBy { holder: "c".into() }),
                of("c", &ClaimProblem::Unexpected),
            ],
        ),
        (
            "INSERT INTO claims SELECT X'0000000000000000000000000000000000000000000000000000000000000000', \
             aggregate_type, 'd' FROM claims WHERE aggregate_id = 'a'",
            vec![of("d", &ClaimProblem::Unexpected)],
        ),
        (
            "DELETE FROM claims",
            ["a", "b", "c"].map(|id| of(id, &ClaimProblem::Missing)).to_vec(),
        ),
    ] {
        assert!(backend.execute(sql).await > 0, "{sql}");
        let mut found = problems(&backend).await;
        found.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(found, expected, "{sql}");
        let rebuilt = rebuild(&backend.log, &Values, TYPE, |_| {}).await.unwrap();
        assert!(rebuilt.inserted + rebuilt.deleted > 0, "{sql}");
        assert_eq!(rebuilt.mismatches.count, 0, "{sql}");
        assert_eq!(problems(&backend).await, [], "{sql}");
        assert_eq!(backend.number("SELECT COUNT(*) FROM claims").await, 3, "{sql}");
    }
}

async fn of_two_who_have_the_same_value_the_older_keeps_the_claim(backend: Arc<Backend>) {
    filled(&backend).await;
    let shared = |id: &str, with: &str| (id.to_owned(), ClaimProblem::Shared { with: with.into() });
    // The id of the younger aggregate is once the later and once the earlier of the two.
    for (older, younger) in [("a", "e"), ("b", "0")] {
        let value = format!("of {older}");
        backend
            .execute(&format!("DELETE FROM claims WHERE aggregate_id = '{older}'"))
            .await;
        backend.queue().append(taking(younger, &value)).await.unwrap();
        assert_eq!(problems(&backend).await, [shared(older, younger)]);
        let rebuilt = rebuild(&backend.log, &Values, TYPE, |_| {}).await.unwrap();
        assert_eq!(
            (rebuilt.inserted, rebuilt.deleted, rebuilt.mismatches.count),
            (1, 1, 1)
        );
        assert_eq!(rebuilt.mismatches.first[0].aggregate_id, younger);
        assert_eq!(problems(&backend).await, [shared(younger, older)]);
        // Neither holds the claim.
        backend
            .execute(&format!("DELETE FROM claims WHERE aggregate_id = '{older}'"))
            .await;
        rebuild(&backend.log, &Values, TYPE, |_| {}).await.unwrap();
        assert_eq!(problems(&backend).await, [shared(younger, older)]);
        // Without the older aggregate, the younger aggregate gets the claim.
        backend.queue().append(releasing(older, &value)).await.unwrap();
        let rebuilt = rebuild(&backend.log, &Values, TYPE, |_| {}).await.unwrap();
        assert_eq!((rebuilt.inserted, rebuilt.mismatches.count), (1, 0));
    }
}

/// The repairs of a page move the claim from the youngest to the oldest of three.
async fn of_three_who_have_the_same_value_the_oldest_keeps_the_claim(backend: Arc<Backend>) {
    filled(&backend).await;
    for id in ["z", "y", "x"] {
        backend.queue().append(taking(id, "shared")).await.unwrap();
        backend
            .execute(&format!("DELETE FROM claims WHERE aggregate_id = '{id}'"))
            .await;
    }
    let rebuilt = rebuild(&backend.log, &Values, TYPE, |_| {}).await.unwrap();
    assert_eq!(rebuilt.mismatches.count, 2);
    let shared = |id: &str| (id.to_owned(), ClaimProblem::Shared { with: "z".into() });
    assert_eq!(problems(&backend).await, [shared("x"), shared("y")]);
    assert_eq!(backend.number("SELECT COUNT(*) FROM claims").await, 4);
}

/// Rules of a version that the log does not have.
struct OtherVersion;

impl ClaimRules for OtherVersion {
    fn held(&self, events: &[NewEvent]) -> Result<Vec<HeldClaim>, ClaimRulesError> {
        Values.held(events)
    }

    fn version(&self) -> Option<i64> {
        Some(7)
    }
}

async fn rules_of_another_version_repair_nothing(backend: Arc<Backend>) {
    filled(&backend).await;
    backend.execute("DELETE FROM claims").await;
    let rebuilt = rebuild(&backend.log, &OtherVersion, TYPE, |_| {}).await;
    assert!(matches!(rebuilt, Err(Error::OtherClaims)), "{rebuilt:?}");
    assert_eq!(backend.number("SELECT COUNT(*) FROM claims").await, 0);
    let verified = verify(&backend.log, &OtherVersion, TYPE, |_| {}).await;
    assert!(matches!(verified, Err(Error::OtherClaims)), "{verified:?}");
}

/// In one batch, each aggregate releases only its own claims.
async fn a_release_frees_no_claim_of_another_aggregate_of_the_batch(backend: Arc<Backend>) {
    filled(&backend).await;
    let queue = backend.queue();
    let blocked = backend.database.begin().await.unwrap();
    let release = |value: &str| ClaimChange::Release(Claim::on("value", value));
    let appends = [
        saying("c", 2, Some("of c"), release("no claim")),
        // It does not hold this claim.
        saying("a", 2, Some("of a"), release("of b")),
        saying("b", 2, Some("of b"), release("no claim of b")),
    ];
    let appended: Vec<_> = appends
        .into_iter()
        .map(|append| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.append(append).await })
        })
        .collect();
    tokio::task::yield_now().await;
    drop(blocked);
    for append in appended {
        append.await.unwrap().unwrap();
    }
    assert_eq!(problems(&backend).await, []);
}

async fn the_claims_are_repaired_while_appends_go_on(backend: Arc<Backend>) {
    filled(&backend).await;
    let queue = backend.queue();
    let (_, stop) = backend.tasks();
    let appending = tokio::spawn({
        let stop = stop.clone();
        async move {
            let mut n = 0;
            while !stop.is_cancelled() {
                let id = format!("n{n}");
                queue.append(taking(&id, &id)).await.unwrap();
                if n % 2 == 0 {
                    queue.append(releasing(&id, &id)).await.unwrap();
                }
                n += 1;
            }
        }
    });
    for _ in 0..10 {
        backend
            .execute("DELETE FROM claims WHERE aggregate_id IN ('a', 'b', 'c')")
            .await;
        let rebuilt = rebuild(&backend.log, &Values, TYPE, |_| {}).await.unwrap();
        assert_eq!(rebuilt.mismatches.count, 0);
        assert_eq!(problems(&backend).await, []);
    }
    stop.cancel();
    appending.await.unwrap();
}
