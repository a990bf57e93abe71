//! Tests of comparing the table with a replay and of skipping an event, on every backend.

use std::ops::Range;

use eventstore::ProjectionError;
use eventstore::projection::verify::verify;
use eventstore::projection::{Difference, RowDifference, Verification};
use eventstore::{Clock, Position, Skip, SkipError, SystemClock};
use futures::future::join_all;
use projector::{PATIENT_VIEW, PatientView};
use serde_json::json;
use testkit::wait_until;
use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, SOON};

on_every_backend! {
    a_table_that_is_what_the_log_says_is_the_same,
    every_row_that_is_not_is_named,
    a_comparison_is_of_one_moment_while_the_projector_goes_on,
    an_event_is_skipped_only_where_the_projection_has_stopped_and_is_passed_over_from_then_on,
}

impl Backend {
    async fn register_numbers(&self, numbers: Range<u32>) {
        let ids: Vec<_> = numbers.map(|number| format!("p{number:06}")).collect();
        for ids in ids.chunks(1000) {
            join_all(ids.iter().map(|id| self.register(id))).await;
        }
    }

    pub(crate) async fn verify(&self) -> Verification {
        verify::<PatientView>(self.log(), &mut |_| {}).await.unwrap()
    }

    async fn skip(&self, position: Position, reason: &str) -> Result<Skip, SkipError> {
        let skip = Skip {
            position,
            reason: reason.into(),
            skipped_by: "operator".into(),
            skipped_at: SystemClock.now(),
        };
        skip.record(self.log().database(), PATIENT_VIEW).await
    }
}

async fn a_table_that_is_what_the_log_says_is_the_same(backend: Backend) {
    let empty = backend.verify().await;
    assert!(empty.same && empty.table == empty.replay && empty.table.rows == 0);
    backend.register_numbers(0..2100).await;
    for id in ["p000000", "p001000", "p002099"] {
        backend.delete(id).await;
    }
    backend.project().await.unwrap();
    // Events that are not projected yet cause no difference.
    backend.delete("p000001").await;
    backend.register("q").await;
    let found = backend.verify().await;
    assert!(found.same, "{found:?}");
    assert_eq!((found.position.get(), found.generation), (2103, 1));
    assert_eq!(found.table.rows, 2097);
    assert_eq!(found.table, found.replay);
    assert_ne!(found.table.checksum, empty.table.checksum);
}

async fn every_row_that_is_not_is_named(backend: Backend) {
    for id in ["a", "b", "c", "d", "e"] {
        backend.register(id).await;
    }
    backend.delete("e").await;
    backend.project().await.unwrap();
    let whole = backend.verify().await;
    for column in ["name", "email", "phone", "document_url"] {
        let before = backend.shown().await.swap_remove(1).details;
        backend
            .execute(&format!("UPDATE patient_view SET {column} = 'x' WHERE id = 'b'"))
            .await;
        let found = backend.verify().await;
        let different = Difference {
            id: "b".into(),
            what: RowDifference::Different,
        };
        assert_eq!((found.differing, found.first), (1, vec![different]), "{column}");
        assert_ne!(found.table.checksum, whole.table.checksum);
        assert_eq!(found.replay, whole.replay);
        let value = match column {
            "name" => before.name,
            "email" => before.email,
            "phone" => before.phone,
            _ => before.document_url,
        };
        backend
            .execute(&format!(
                "UPDATE patient_view SET {column} = '{value}' WHERE id = 'b'"
            ))
            .await;
        assert!(backend.verify().await.same, "{column}");
    }
    for (sql, what) in [
        (
            "UPDATE patient_view SET sequence = 2 WHERE id = 'b'",
            RowDifference::Different,
        ),
        // A program without search keys writes an empty key.
        (
            "UPDATE patient_view SET name_key = '' WHERE id = 'c'",
            RowDifference::Different,
        ),
        (
            "UPDATE patient_view SET id = 'bb' WHERE id = 'a'",
            RowDifference::Missing,
        ),
        ("DELETE FROM patient_view WHERE id = 'd'", RowDifference::Missing),
    ] {
        let before = backend.verify().await.differing;
        backend.execute(sql).await;
        let found = backend.verify().await;
        assert!(!found.same && found.differing > before, "{sql}: {found:?}");
        assert!(
            found.first.iter().any(|difference| difference.what == what),
            "{sql}: {found:?}"
        );
    }
    let named: Vec<_> = backend
        .verify()
        .await
        .first
        .into_iter()
        .map(|one| (one.id, one.what))
        .collect();
    let expected = [
        ("a", RowDifference::Missing),
        ("b", RowDifference::Different),
        ("bb", RowDifference::Unexpected),
        ("c", RowDifference::Different),
        ("d", RowDifference::Missing),
    ];
    assert_eq!(named, expected.map(|(id, what)| (id.to_owned(), what)));
}

async fn a_comparison_is_of_one_moment_while_the_projector_goes_on(backend: Backend) {
    backend.register_numbers(0..1500).await;
    let stop = CancellationToken::new();
    let projector = tokio::spawn(backend.projector().run(stop.clone()));
    let change = async {
        for number in 0..600 {
            if number % 2 == 0 {
                backend.delete(&format!("p{:06}", number * 2)).await;
            } else {
                backend.register(&format!("o{number:06}")).await;
            }
        }
        stop.cancel();
    };
    let compare = async {
        let mut positions = Vec::new();
        while !stop.is_cancelled() {
            let found = backend.verify().await;
            assert!(found.same, "{found:?}");
            positions.push(found.position);
        }
        positions
    };
    let ((), positions) = tokio::join!(change, compare);
    projector.await.unwrap();
    assert!(positions.first() < positions.last(), "{positions:?}");
}

async fn an_event_is_skipped_only_where_the_projection_has_stopped_and_is_passed_over_from_then_on(
    backend: Backend,
) {
    backend.register("a").await;
    let moved = json!({ "type": "PatientMoved" });
    let unreadable = backend.append("b", 1, "PatientMoved", moved).await;
    backend.register("c").await;
    let first = Position::new(1).unwrap();
    // The projection has not stopped at any event yet.
    let refused = backend.skip(unreadable, "because").await.unwrap_err();
    assert!(
        matches!(refused, SkipError::NotStoppedThere { stopped: None, .. }),
        "{refused}"
    );
    let error = backend.project().await.unwrap_err();
    assert!(matches!(error, ProjectionError::Unreadable { .. }), "{error}");

    let stop = CancellationToken::new();
    let projector = tokio::spawn(backend.projector().run(stop.clone()));
    let stopped = async || {
        let sql = "SELECT position FROM subscription_failures WHERE name = 'patient_view'";
        backend.query(sql).await.len() == 1
    };
    wait_until(SOON, "it is noted where it has stopped", stopped).await;
    assert!(matches!(
        backend.skip(unreadable, " ").await,
        Err(SkipError::Reason)
    ));
    let refused = backend.skip(first, "because").await.unwrap_err();
    assert!(
        matches!(refused, SkipError::NotStoppedThere { stopped: Some(at), .. } if at == unreadable),
        "{refused}"
    );
    assert_eq!(backend.ids().await, ["a"]);

    backend.skip(unreadable, " because ").await.unwrap();
    wait_until(SOON, "it goes on", async || backend.checkpoint().await.get() == 3).await;
    assert_eq!(backend.ids().await, ["a", "c"]);
    wait_until(SOON, "nothing fails any more", async || !stopped().await).await;
    stop.cancel();
    projector.await.unwrap();

    let mut connection = backend.log().database().reader().await.unwrap();
    let skips = Skip::all(&mut connection, PATIENT_VIEW).await.unwrap();
    drop(connection);
    let [skip] = &skips[..] else { panic!("{skips:?}") };
    assert_eq!(
        (skip.position, skip.reason.as_str(), skip.skipped_by.as_str()),
        (unreadable, "because", "operator")
    );
    let found = backend.verify().await;
    assert!(found.same);
    assert_eq!(found.skipped, [unreadable], "a skip is named");
    backend.rebuilt().await;
    assert_eq!(backend.ids().await, ["a", "c"]);
    assert!(backend.verify().await.same);
}
