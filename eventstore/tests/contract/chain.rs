//! The hash chain, recomputed from the bytes that the databases return.

use std::sync::Arc;

use eventstore::{Append, Dialect, Hash, NewEvent, Position, chain, verify};
use futures::future::join_all;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::backend::{Backend, position};
use crate::sample::{append, event};

on_every_backend!(
    the_chain_holds_whatever_the_events_say,
    the_chain_holds_for_any_json,
    one_altered_byte_in_any_column_is_found,
    the_chain_is_one_over_batches_and_processes,
);

/// Returns the first position at which the chain is broken, or `None` if the chain is intact up to the head.
/// Searches twice: in the feed, event by event, and with `verify`, which reads the stored text instead of
/// parsed values. Both results must agree.
async fn first_break(backend: &Backend) -> Option<Position> {
    let found = first_break_of_the_feed(backend).await;
    let verified = verify(&backend.log, Vec::new(), |_| {}).await.unwrap();
    assert_eq!(verified.err().map(|mismatch| mismatch.position), found);
    found
}

async fn first_break_of_the_feed(backend: &Backend) -> Option<Position> {
    let (mut position, mut hash) = (Position::BEGINNING, Hash::default());
    loop {
        let page = backend.log.feed(position, 100).await.unwrap();
        for event in &page {
            if !chain::follows(&hash, event).unwrap() {
                return Some(event.position);
            }
            hash = event.hash;
        }
        match page.last() {
            Some(last) => position = last.position,
            None => break,
        }
    }
    let head = backend.log.head().await.unwrap();
    ((head.position, head.hash) != (position, hash)).then_some(head.position)
}

fn saying(id: &str, payload: Value) -> NewEvent {
    NewEvent {
        payload,
        ..event(id, 1)
    }
}

async fn the_chain_holds_whatever_the_events_say(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    let sayings = [
        json!({"zebra": 1, "a": 2, "Z": 3, "aa": 4, "é": 5, "\u{20ac}": 6, "\u{1f600}": 7, "\u{fb33}": 8}),
        json!({"name": "Zoë Ñandú 漢字 עברית 👩‍👩‍👧‍👦 🏴󠁧󠁢󠁥󠁮󠁧󠁿 \u{10ffff}"}),
        json!({"combining": "e\u{301}", "composed": "é", "nbsp": "a\u{a0}b", "line": "\u{2028}\u{2029}"}),
        json!({"quotes": "\"double\" 'single' `back` \\ back\\\\slash / \\u0041 \\n", "%": "% _ ? ;-- /* */"}),
        json!({"control": "\u{0}\u{1}\u{8}\t\n\u{b}\u{c}\r\u{1f}\u{7f}\u{80}\u{9f}"}),
        json!({"nested": {"b": [{"y": [[], {}, [null]], "x": {"": ""}}], "a": {"deep": {"deeper": [1, [2, [3]]]}}}}),
        json!({"numbers": [0, -1, 9_007_199_254_740_991_i64, -9_007_199_254_740_991_i64, 0.1, -0.5, 1.0, 1e21, 1e-7]}),
        json!({"doubles": [5e-324, 1.797_693_134_862_315_7e308, 0.1 + 0.2, 1e22, 123_456_789.123_456_78, 4.35]}),
        json!({"true": true, "false": false, "null": null, "text": "null", "empty": "", "spaces": "  a  "}),
        json!(["an", "array"]),
        json!("a text"),
        json!(17),
        json!(null),
        json!({}),
    ];
    for (n, said) in sayings.iter().enumerate() {
        let mut event = saying(&format!("a{n}"), said.clone());
        event.metadata = said.clone();
        queue
            .append(Append::new(vec![event], Vec::new()).unwrap())
            .await
            .unwrap();
    }
    for (event, saying) in backend
        .log
        .feed(position(0), 100)
        .await
        .unwrap()
        .iter()
        .zip(&sayings)
    {
        assert!(same(&event.payload, saying), "{} is not {saying}", event.payload);
        assert_eq!(event.payload, event.metadata);
    }
    assert_eq!(first_break(&backend).await, None);
}

/// Whether two values are equal under RFC 8785, in which 1.0 equals 1.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(name, one)| other.get(name).is_some_and(|other| same(one, other)))
        }
        _ => one == other,
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = || proptest::string::string_regex("(?s).{0,12}").unwrap();
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        (-(1_i64 << 53)..(1_i64 << 53)).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(text(), inner, 0..6)
                .prop_map(|members| members.into_iter().collect::<Value>()),
        ]
    })
}

async fn the_chain_holds_for_any_json(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    let mut runner = TestRunner::default();
    let values: Vec<Value> = (0..300)
        .map(|_| any_json().new_tree(&mut runner).unwrap().current())
        .collect();
    let appends = values.iter().enumerate().map(|(n, value)| {
        let event = saying(&format!("a{n}"), value.clone());
        queue.append(Append::new(vec![event], Vec::new()).unwrap())
    });
    for (value, answer) in values.iter().zip(join_all(appends).await) {
        assert!(answer.is_ok(), "{answer:?} for {value}");
    }
    if let Some(broken) = first_break(&backend).await {
        let at = usize::try_from(broken.get()).unwrap() - 1;
        let read = backend.log.at(&[broken]).await.unwrap();
        panic!("{} was read back as {}", values[at], read[0].payload);
    }
}

async fn one_altered_byte_in_any_column_is_found(backend: Arc<Backend>) {
    backend.migrate().await;
    let queue = backend.queue();
    for id in ["a", "b", "c", "d"] {
        queue.append(append(id, 1)).await.unwrap();
    }
    assert_eq!(first_break(&backend).await, None);
    let replaced =
        |column: &str, from: &str, to: &str| format!("{column} = REPLACE({column}, '{from}', '{to}')");
    let flipped = match backend.database.dialect() {
        Dialect::MySql => "hash = CONCAT(CHAR(ASCII(hash) ^ 1 USING binary), SUBSTRING(hash, 2))",
        Dialect::Sqlite => {
            "hash = unhex(CASE substr(hex(hash), 1, 1) WHEN '0' THEN '1' ELSE '0' END || substr(hex(hash), 2))"
        }
    };
    let alterations = [
        replaced("aggregate_type", "thing", "think"),
        "aggregate_id = 'x'".to_owned(),
        // A change of case, which the column's collation ignores.
        "aggregate_id = 'B'".to_owned(),
        "sequence = 2".to_owned(),
        replaced("event_type", "ThingHappened", "ThingHappenes"),
        "event_version = '1.1'".to_owned(),
        replaced("payload", "happened", "Happened"),
        replaced("payload", "what", "whet"),
        replaced("metadata", "r-1", "r-2"),
        "recorded_at = recorded_at + 1".to_owned(),
        flipped.to_owned(),
    ];
    let swap_2_and_3 = async || {
        for (from, to) in [(2, 20), (3, 2), (20, 3)] {
            let sql = format!("UPDATE events SET position = {to} WHERE position = {from}");
            backend.execute(&sql).await;
        }
    };
    let whole = backend.log.feed(position(0), 10).await.unwrap();
    backend
        .execute("CREATE TABLE original AS SELECT * FROM events WHERE position = 2")
        .await;
    for alteration in alterations {
        let changed = backend
            .execute(&format!("UPDATE events SET {alteration} WHERE position = 2"))
            .await;
        assert_eq!(changed, 1, "{alteration}");
        let found = first_break(&backend).await;
        assert_eq!(found, Some(position(2)), "{alteration} is not found where it is");
        backend.execute("DELETE FROM events WHERE position = 2").await;
        backend.execute("INSERT INTO events SELECT * FROM original").await;
        assert_eq!(backend.log.feed(position(0), 10).await.unwrap(), whole);
    }
    swap_2_and_3().await;
    assert_eq!(
        first_break(&backend).await,
        Some(position(2)),
        "two events are swapped"
    );
    swap_2_and_3().await;
    assert_eq!(first_break(&backend).await, None);
    backend.execute("DELETE FROM events WHERE position = 4").await;
    assert_eq!(
        first_break(&backend).await,
        Some(position(4)),
        "the last event is deleted, but the head is at its position"
    );
}

async fn the_chain_is_one_over_batches_and_processes(backend: Arc<Backend>) {
    backend.migrate().await;
    let other = eventstore::AppendQueue::start(
        backend.open().await,
        eventstore::Signal::in_process(),
        eventstore::SystemClock::shared(),
        1024,
        7,
    );
    let queues = [("a", backend.queue()), ("b", other)];
    let appends = queues.iter().flat_map(|(prefix, queue)| {
        (0..60).map(move |n| {
            let id = format!("{prefix}{n}");
            let events = (1..=n % 3 + 1).map(|sequence| event(&id, sequence)).collect();
            queue.append(Append::new(events, Vec::new()).unwrap())
        })
    });
    assert!(join_all(appends).await.iter().all(Result::is_ok));
    assert_eq!(first_break(&backend).await, None);
    assert_eq!(backend.head().await, position(240));
}
