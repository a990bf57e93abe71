//! Tests of the rows that the projection writes, on every backend: SQLite in a temporary folder, and each
//! available MySQL and MariaDB server.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure fails the test with a message"
)]

#[macro_use]
extern crate testkit;

mod backend;

mod amendments;
mod names;
mod rebuild;
mod switch;
mod verify;

use domain::{DocumentUrl, Name, PatientDetails, StoredEventError};
use eventstore::ProjectionError;
use eventstore::{Clock, Error, Position, SubscriptionStatus, SystemClock};
use futures::future::join_all;
use projector::PATIENT_VIEW;
use serde_json::json;
use testkit::wait_until;
use tokio_util::sync::CancellationToken;

use backend::{Backend, SOON, Shown, details};

on_every_backend! {
    a_batch_that_fails_after_it_was_written_leaves_neither_rows_nor_checkpoint,
    rows_and_checkpoint_are_never_seen_apart,
    a_registration_and_a_deletion_in_one_batch_leave_no_row,
    a_deletion_in_a_later_batch_removes_the_row_and_no_other,
    events_that_are_applied_again_are_refused_and_stop_the_projection,
    without_a_generation_nothing_is_projected,
    an_unreadable_event_stops_the_projection_there,
    rows_are_written_to_the_active_generation,
    values_come_out_as_they_went_in,
    a_table_that_cannot_be_written_is_no_events_fault,
    a_full_batch_of_the_longest_values_is_one_transaction,
}

/// If the event were blamed, an operator would be advised to skip a valid event permanently.
async fn a_table_that_cannot_be_written_is_no_events_fault(backend: Backend) {
    backend.register("a").await;
    backend.execute("ALTER TABLE patient_view RENAME TO away").await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(backend.projector().run(stop.clone()));
    let failure = async || {
        let status = SubscriptionStatus::of(backend.log().database(), PATIENT_VIEW, SystemClock.now());
        status.await.unwrap().failure
    };
    wait_until(SOON, "the failure is noted", async || failure().await.is_some()).await;
    assert_eq!(failure().await.unwrap().position, None);
    backend.execute("ALTER TABLE away RENAME TO patient_view").await;
    wait_until(SOON, "it goes on", async || backend.ids().await == ["a"]).await;
    stop.cancel();
    running.await.unwrap();

    // A value that the table rejects is the fault of the event.
    backend.register("b").await;
    backend
        .execute("UPDATE checkpoints SET position = 0 WHERE name = 'patient_view'")
        .await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(backend.projector().run(stop.clone()));
    wait_until(SOON, "the event is named", async || {
        failure().await.and_then(|failure| failure.position) == Position::new(1)
    })
    .await;
    stop.cancel();
    running.await.unwrap();
}

async fn a_batch_that_fails_after_it_was_written_leaves_neither_rows_nor_checkpoint(backend: Backend) {
    backend.register("a").await;
    backend.project().await.unwrap();
    backend.delete("a").await;
    // The transaction had deleted the row.
    assert_eq!(backend.project_and_fail().await, 0);
    assert_eq!(backend.rows_and_checkpoint().await, (1, 1));
    backend.project().await.unwrap();
    assert_eq!(backend.rows_and_checkpoint().await, (0, 2));

    backend.register("b").await;
    assert_eq!(backend.project_and_fail().await, 1);
    assert_eq!(backend.rows_and_checkpoint().await, (0, 2));
    backend.project().await.unwrap();
    assert_eq!(backend.rows_and_checkpoint().await, (1, 3));
}

async fn rows_and_checkpoint_are_never_seen_apart(backend: Backend) {
    for round in 0..10 {
        for number in 0..5 {
            backend.register(&format!("{round}-{number}")).await;
        }
        let watch = async {
            loop {
                let (rows, checkpoint) = backend.rows_and_checkpoint().await;
                assert_eq!(rows, checkpoint);
            }
        };
        tokio::select! {
            projected = backend.project() => projected.unwrap(),
            () = watch => {}
        }
    }
    assert_eq!(backend.rows_and_checkpoint().await, (50, 50));
}

async fn a_registration_and_a_deletion_in_one_batch_leave_no_row(backend: Backend) {
    backend.register("a").await;
    backend.register("b").await;
    backend.delete("a").await;
    backend.project().await.unwrap();
    assert_eq!(backend.ids().await, ["b"]);
    assert_eq!(backend.rows_and_checkpoint().await, (1, 3));
}

async fn a_deletion_in_a_later_batch_removes_the_row_and_no_other(backend: Backend) {
    for id in ["a", "b", "c"] {
        backend.register(id).await;
    }
    backend.project().await.unwrap();
    assert_eq!(backend.ids().await, ["a", "b", "c"]);
    backend.delete("b").await;
    backend.register("d").await;
    backend.project().await.unwrap();
    assert_eq!(backend.ids().await, ["a", "c", "d"]);
    assert_eq!(backend.rows_and_checkpoint().await, (3, 5));
}

async fn events_that_are_applied_again_are_refused_and_stop_the_projection(backend: Backend) {
    for id in ["a", "b", "c"] {
        backend.register(id).await;
    }
    backend.project().await.unwrap();
    let before = backend.shown().await;
    backend.execute("UPDATE checkpoints SET position = 0").await;
    backend.register("d").await;
    let error = backend.project().await.unwrap_err();
    let ProjectionError::Store(Error::Database(error)) = &error else {
        panic!("{error}");
    };
    assert!(error.is_unique_violation(), "{error}");
    assert_eq!(backend.shown().await, before);
    assert_eq!(backend.checkpoint().await, Position::BEGINNING);
}

async fn without_a_generation_nothing_is_projected(backend: Backend) {
    backend.register("a").await;
    backend.execute("DELETE FROM projections").await;
    let error = backend.project().await.unwrap_err();
    assert!(matches!(error, ProjectionError::NoGeneration { .. }), "{error}");
    assert_eq!(backend.rows_and_checkpoint().await, (0, 0));
    backend
        .execute("INSERT INTO projections (name, active_generation) VALUES ('patient_view', 1)")
        .await;
    backend.project().await.unwrap();
    assert_eq!(backend.rows_and_checkpoint().await, (1, 1));
}

async fn an_unreadable_event_stops_the_projection_there(backend: Backend) {
    backend.register("a").await;
    let moved = json!({ "type": "PatientMoved" });
    let unreadable = backend.append("b", 1, "PatientMoved", moved).await;
    backend.register("c").await;
    let error = backend.project().await.unwrap_err();
    assert!(
        matches!(
            &error,
            ProjectionError::Unreadable { position, source }
                if *position == unreadable
                    && source.downcast_ref() == Some(&StoredEventError::UnknownType {
                        event_type: "PatientMoved".to_owned()
                    })
        ),
        "{error}"
    );
    // Events before the unreadable event are projected, and events after it are not.
    assert_eq!(backend.ids().await, ["a"]);
    assert_eq!(backend.rows_and_checkpoint().await, (1, 1));
}

async fn rows_are_written_to_the_active_generation(backend: Backend) {
    backend.register("a").await;
    backend.project().await.unwrap();
    backend
        .execute("UPDATE projections SET active_generation = 7 WHERE name = 'patient_view'")
        .await;
    backend.delete("a").await;
    backend.register("b").await;
    backend.project().await.unwrap();
    let shown = backend.shown().await;
    let shown: Vec<_> = shown
        .iter()
        .map(|row| (row.generation, row.id.as_str()))
        .collect();
    // The projection must not delete rows of the other generation.
    assert_eq!(shown, [(1, "a"), (7, "b")]);
}

async fn values_come_out_as_they_went_in(backend: Backend) {
    let all = [
        PatientDetails {
            name: "María-José Ñandú O'Brien \"Pepa\" \\ 李小龍 Zoe\u{308}".into(),
            email: "maría+ñ@exámple.com".into(),
            phone: "(555)123-4567x890".into(),
            document_url: "https://example.com/fotos/%F0%9F%98%80?q='--;&ü=ß#é".into(),
        },
        PatientDetails {
            name: "👩🏽‍⚕️😀".into(),
            ..details("emoji")
        },
        longest("a"),
        PatientDetails {
            name: "é".repeat(200),
            ..longest("b")
        },
    ];
    let ids = ["a", "b", "c", "d"];
    for (id, details) in ids.iter().zip(&all) {
        backend.register_as(id, details).await;
    }
    backend.project().await.unwrap();
    let recorded_at = backend.recorded_at().await;
    let expected: Vec<_> = ids
        .into_iter()
        .zip(all)
        .zip(recorded_at)
        .map(|((id, details), registered_at)| Shown {
            generation: 1,
            id: id.into(),
            details,
            sequence: 1,
            registered_at,
        })
        .collect();
    let shown = backend.shown().await;
    // Compare the fields one by one, because the `Debug` output of the details omits their values.
    for (shown, expected) in shown.iter().zip(&expected) {
        let (found, sent) = (&shown.details, &expected.details);
        assert_eq!(found.name, sent.name);
        assert_eq!(found.email, sent.email);
        assert_eq!(found.phone, sent.phone);
        assert_eq!(found.document_url, sent.document_url);
    }
    assert_eq!(shown, expected);
}

async fn a_full_batch_of_the_longest_values_is_one_transaction(backend: Backend) {
    let ids: Vec<_> = (0..500)
        .map(|number| format!("00000000-0000-7000-8000-{number:012}"))
        .collect();
    let longest = longest("a");
    join_all(ids.iter().map(|id| backend.register_as(id, &longest))).await;
    backend.project().await.unwrap();
    assert_eq!(backend.ids().await, ids);
    join_all(ids.iter().map(|id| backend.delete(id))).await;
    backend.project().await.unwrap();
    assert_eq!(backend.rows_and_checkpoint().await, (0, 1000));
}

/// Returns details of the maximum lengths: 800 code points, 254 bytes, and 4,096 characters.
fn longest(letter: &str) -> PatientDetails {
    let url = "https://example.com/";
    let domain = "@example.com";
    PatientDetails {
        name: "😀".repeat(Name::MAX_CODE_POINTS),
        email: letter.repeat(254 - domain.len()) + domain,
        phone: "5".repeat(64),
        document_url: url.to_owned() + &letter.repeat(DocumentUrl::MAX_CHARS - url.len()),
    }
}
