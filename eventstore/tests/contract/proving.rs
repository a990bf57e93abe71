//! Proofs made from the logs of all databases.

use std::sync::Arc;

use eventstore::merkle::root;
use eventstore::proof::{Meets, ProveError, Request};
use eventstore::{Proof, Trusted, prove, verify};
use futures::future::join_all;

use crate::backend::{Backend, position};
use crate::sample::append;

on_every_backend!(
    every_event_is_proved_in_the_log_of_today_and_in_those_before,
    what_is_not_there_or_does_not_fit_is_not_proved,
);

async fn filled(backend: &Backend, events: u64) {
    backend.migrate().await;
    let queue = backend.queue();
    let ids: Vec<String> = (1..=events).map(|n| format!("a{n}")).collect();
    let appends = ids.iter().map(|id| queue.append(append(id, 1)));
    assert!(join_all(appends).await.iter().all(Result::is_ok));
}

fn request(tree: Option<u64>, event: Option<u64>, from: Option<u64>) -> Request {
    Request {
        tree: tree.map(position),
        event: event.map(position),
        from: from.map(position),
    }
}

async fn trusted(backend: &Backend, at: u64) -> Trusted {
    let hash = root(&backend.log, position(at), |_| {}).await.unwrap();
    let position = position(at);
    Trusted { position, hash }
}

async fn every_event_is_proved_in_the_log_of_today_and_in_those_before(backend: Arc<Backend>) {
    const EVENTS: u64 = 70;
    filled(&backend, EVENTS).await;
    let verified = verify(&backend.log, Vec::new(), |_| {}).await.unwrap().unwrap();
    let earlier = trusted(&backend, 33).await;
    for at in 1..=EVENTS {
        let proof = prove(&backend.log, request(None, Some(at), Some(33)), |_| {})
            .await
            .unwrap();
        // The proof can be verified after it is written as JSON and read back.
        let proof: Proof = serde_json::from_str(&serde_json::to_string(&proof).unwrap()).unwrap();
        assert_eq!(proof.check(), Ok(()));
        assert_eq!((proof.tree.size, proof.tree.root), (EVENTS, verified.root));
        assert_eq!(proof.meets(&earlier), Meets::Earlier);
        assert_eq!(proof.inclusion.unwrap().event.aggregate_id, format!("a{at}"));
    }
    let within = prove(&backend.log, request(Some(33), Some(7), None), |_| {})
        .await
        .unwrap();
    assert_eq!(within.meets(&earlier), Meets::Tree);
}

async fn what_is_not_there_or_does_not_fit_is_not_proved(backend: Arc<Backend>) {
    filled(&backend, 20).await;
    for beyond in [
        request(None, Some(21), None),
        request(Some(21), None, Some(3)),
        request(Some(10), Some(11), None),
        request(Some(10), None, Some(11)),
    ] {
        let refused = prove(&backend.log, beyond, |_| {}).await;
        assert!(matches!(refused, Err(ProveError::Beyond { .. })), "{beyond:?}");
    }
    let nothing = prove(&backend.log, request(None, Some(0), None), |_| {}).await;
    assert!(matches!(nothing, Err(ProveError::Zero)));

    backend
        .execute("UPDATE events SET event_version = '1.1' WHERE position = 7")
        .await;
    let altered = prove(&backend.log, request(None, Some(7), None), |_| {}).await;
    assert!(matches!(altered, Err(ProveError::Unsound(_))), "{altered:?}");
    backend.execute("DELETE FROM events WHERE position = 7").await;
    for at in [6, 7, 8] {
        let gone = prove(&backend.log, request(None, Some(at), None), |_| {}).await;
        let expected = "the log is damaged at position 7: the event is missing";
        assert_eq!(gone.unwrap_err().to_string(), expected, "{at}");
    }
}
