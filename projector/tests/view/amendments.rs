//! Amendments in the read tables, on every backend.

use std::time::Duration;

use domain::{PATIENT_AMENDED, PatientDetails};
use eventstore::projection::verify::verify;
use eventstore::projection::{Outcome, RunContext};
use eventstore::{Append, Clock, NewEvent, Position, Registered, Signal, Skip, SystemClock};
use projector::{PATIENT_VIEW, PatientNames, PatientView};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, details};

on_every_backend! {
    an_amendment_in_a_later_batch_keeps_what_it_does_not_change,
    amendments_follow_each_other_within_a_batch_and_across_batches,
    an_amendment_that_is_skipped_changes_nothing,
    a_history_longer_than_a_page_is_folded_as_a_whole,
}

impl Backend {
    async fn amend(&self, id: &str, sequence: u64, mut changes: Value) -> Position {
        changes["type"] = json!(PATIENT_AMENDED);
        self.append(id, sequence, PATIENT_AMENDED, changes).await
    }

    /// Asserts that the table contains exactly this patient, and that a comparison with the log and a rebuild
    /// agree.
    async fn shows(&self, id: &str, expected: &PatientDetails, sequence: i64) {
        let registered_at = self.recorded_at().await[0];
        for rebuilt in [false, true] {
            if rebuilt {
                let rebuild = self.rebuild().await;
                assert_eq!(rebuild, Outcome::Done);
            }
            let shown = self.shown().await;
            assert_eq!(shown.len(), 1, "{shown:?}");
            assert_eq!((shown[0].id.as_str(), &shown[0].details), (id, expected));
            assert_eq!(
                (shown[0].sequence, shown[0].registered_at),
                (sequence, registered_at)
            );
            let verified = verify::<PatientView>(self.log(), &mut |_| {}).await.unwrap();
            assert!(verified.same, "{verified:?}");
        }
    }
}

impl Backend {
    /// Follows the log with `patient_names`, and asserts that the table contains exactly these words.
    async fn follow_names(&self, words: &[&str]) {
        let context = RunContext {
            log: self.log().clone(),
            signal: Signal::in_process(),
            clock: SystemClock::shared(),
            owner: "names".to_owned(),
            poll: Duration::from_millis(10),
            stop: CancellationToken::new(),
        };
        let running = tokio::spawn(PatientNames.run(context.clone()));
        self.names_are("the names are at the head", 1).await;
        context.stop.cancel();
        running.await.unwrap();
        let rows = self
            .query("SELECT CAST(word AS CHAR) FROM patient_names ORDER BY word")
            .await;
        let shown: Vec<String> = rows.iter().map(|row| row.get(0).unwrap()).collect();
        assert_eq!(shown, words);
        assert!(self.verify_names().await.same);
    }
}

fn named(id: &str, name: &str) -> PatientDetails {
    PatientDetails {
        name: name.to_owned(),
        ..details(id)
    }
}

async fn an_amendment_in_a_later_batch_keeps_what_it_does_not_change(backend: Backend) {
    backend.register("a").await;
    backend.project().await.unwrap();
    backend.amend("a", 2, json!({"name": "Ana Núñez"})).await;
    backend.project().await.unwrap();
    backend.shows("a", &named("a", "Ana Núñez"), 2).await;
    backend.follow_names(&["ana", "nunez"]).await;
    let deleted = json!({"type": "PatientDeleted"});
    backend.append("a", 3, "PatientDeleted", deleted).await;
    backend.project().await.unwrap();
    assert_eq!(backend.ids().await, Vec::<String>::new());
    backend.follow_names(&[]).await;
}

async fn amendments_follow_each_other_within_a_batch_and_across_batches(backend: Backend) {
    backend.register("a").await;
    backend.amend("a", 2, json!({"phone": "1 11"})).await;
    backend.project().await.unwrap();
    backend.amend("a", 3, json!({"name": "Ana"})).await;
    backend.amend("a", 4, json!({"phone": "2 22"})).await;
    backend.project().await.unwrap();
    backend.amend("a", 5, json!({"name": "Eva"})).await;
    backend.project().await.unwrap();
    let expected = PatientDetails {
        phone: "2 22".to_owned(),
        ..named("a", "Eva")
    };
    backend.shows("a", &expected, 5).await;
}

async fn an_amendment_that_is_skipped_changes_nothing(backend: Backend) {
    backend.register("a").await;
    backend.project().await.unwrap();
    let unreadable = backend.amend("a", 2, json!({"name": 7})).await;
    backend.project().await.unwrap_err();
    let skip = Skip {
        position: unreadable,
        reason: "test".to_owned(),
        skipped_by: "test".to_owned(),
        skipped_at: SystemClock.now(),
    };
    skip.record(backend.log().database(), PATIENT_VIEW).await.unwrap();
    backend.amend("a", 3, json!({"phone": "1 11"})).await;
    backend.project().await.unwrap();
    let expected = PatientDetails {
        phone: "1 11".to_owned(),
        ..details("a")
    };
    backend.shows("a", &expected, 3).await;
}

/// The engine reads 4,000 earlier events at a time.
async fn a_history_longer_than_a_page_is_folded_as_a_whole(backend: Backend) {
    const EVENTS: u64 = 4_200;
    backend.register("a").await;
    let events: Vec<NewEvent> = (2..=EVENTS)
        .map(|sequence| NewEvent {
            aggregate_type: "patient".into(),
            aggregate_id: "a".into(),
            sequence,
            event_type: PATIENT_AMENDED.into(),
            event_version: "1.0".into(),
            payload: match sequence {
                2 => json!({"type": PATIENT_AMENDED, "name": "Ana"}),
                _ => json!({"type": PATIENT_AMENDED, "phone": format!("1 {sequence}")}),
            },
            metadata: json!({}),
        })
        .collect();
    for events in events.chunks(100) {
        let append = Append::new(events.to_vec(), Vec::new()).unwrap();
        backend.append_events(append).await;
    }
    backend.project().await.unwrap();
    let expected = PatientDetails {
        phone: format!("1 {EVENTS}"),
        ..named("a", "Ana")
    };
    backend.shows("a", &expected, 4_200).await;
}
