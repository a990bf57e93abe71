//! What the browser proves about events, and what it shows if the log was changed.

use std::path::Path;

use futures::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{free_port, wait_until};

use super::{Service, Tab, command, log_key};
use crate::client::{Client, id_of};
use crate::rig::{SOON, sqlite};

/// Events of the log: more than a tile of the tree has.
const EVENTS: usize = 260;
/// The position of the event that is changed. Its tiles are the second ones of their levels.
const CHANGED: usize = 258;

/// Registers patients until the log has [`EVENTS`] events.
async fn fill(client: &Client) {
    let numbers = futures::stream::iter(0..EVENTS);
    let register = |number: usize| async move {
        let email = format!("patient{number}@example.com");
        assert_eq!(client.register(&email).await.unwrap().status(), 201);
    };
    numbers.for_each_concurrent(16, register).await;
}

async fn event(client: &Client, position: usize) -> Value {
    let path = format!("/events?after={}&limit=1", position - 1);
    let events: Value = client.get(&path).await.unwrap().json().await.unwrap();
    events[0].clone()
}

/// Runs the body of a function that returns a promise, with the module of the formats of the log as `log`.
async fn in_module(tab: &Tab, body: &str, argument: &Value) -> Value {
    let script = format!(
        "const [argument, done] = arguments;
         import(new URL('console/log-format.js', document.baseURI))
             .then(async (log) => {{ {body} }}).then(done, (error) => done(String(error)))"
    );
    let result = tab.browser.execute_async(&script, vec![argument.clone()]);
    result.await.unwrap()
}

/// Opens the timeline of a patient anew, and waits for a text.
async fn time_line_says(tab: &Tab, id: &str, text: &str) {
    tab.go("checkpoints").await;
    tab.sees("Newest checkpoint").await;
    tab.go(&format!("patients/{id}/history")).await;
    tab.sees(text).await;
}

#[tokio::test]
async fn an_event_that_was_changed_is_shown_as_not_matching() {
    let folder = TempDir::new().unwrap();
    let port = free_port();
    let verifier = log_key(folder.path());
    let service = Service::start(&mut command(folder.path(), port), port).await;
    fill(&service.client).await;
    let original = event(&service.client, CHANGED).await;
    let id = original["aggregate_id"].as_str().unwrap();
    let first = event(&service.client, 1).await;
    wait_until(SOON, "a checkpoint covers the log", async || {
        let answer = service.client.get("/log/checkpoint").await.unwrap();
        answer.text().await.unwrap().contains(&format!("\n{EVENTS}\n"))
    })
    .await;
    let tab = Tab::open(port).await;

    // A head that is newer than the newest checkpoint contradicts nothing, and proves nothing.
    tab.go("checkpoints").await;
    tab.fill("Checkpoint", &format!("{}:{}", EVENTS + 1, "ab".repeat(32)))
        .await;
    tab.click("Pin").await;
    tab.sees("The newest checkpoint ends before it").await;
    assert!(!tab.text().await.contains("does not match what you trust"));
    tab.go(&format!("patients/{id}/history")).await;
    tab.sees("The newest checkpoint ends before the pinned checkpoint.")
        .await;

    // The key verifies events in the first tile and in the second tile.
    tab.go("checkpoints").await;
    tab.fill("Verifier key", &verifier).await;
    tab.click("Save").await;
    tab.sees("Valid").await;
    for id in [id_of_patient(&first), id] {
        time_line_says(&tab, id, "that the pinned key has signed").await;
    }
    // The browser has read the events of the two patients, and of no other patient.
    let reads: Value = service
        .client
        .get("/audit/reads?limit=1000")
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let events = reads.as_array().unwrap().iter();
    let of_nobody = events
        .filter(|read| read["kind"] == "events" && read["patient_id"].is_null())
        .count();
    assert_eq!(of_nobody, 2, "the reads of this test: {reads}");

    // The row is changed.
    let file = folder.path().join("data/patients.db");
    let set = |column: &str, value: &str| {
        sqlite(
            &file,
            &format!("UPDATE events SET {column} = {value} WHERE position = {CHANGED}"),
        );
    };
    set("metadata", "json_set(metadata, '$.actor', 'mallory')");
    time_line_says(&tab, id, "The event does not match its hash.").await;
    let text = tab.text().await;
    assert!(
        text.contains("mallory") && text.contains("Does not match"),
        "{text}"
    );

    // The row gets the hash of its new content.
    let changed = event(&service.client, CHANGED).await;
    let previous = event(&service.client, CHANGED - 1).await;
    let hash = in_module(
        &tab,
        "return log.toHex(await log.linkOf(log.fromHex(argument.previous), argument.changed))",
        &json!({"previous": previous["hash"], "changed": changed}),
    )
    .await;
    let hash = hash.as_str().unwrap();
    assert_ne!(hash, original["hash"]);
    set("hash", &format!("x'{hash}'"));
    time_line_says(&tab, id, "The checkpoint does not contain this event.").await;
    filters(&tab, &file, id).await;
    let expected = [("/events/stream?", " 422 ")];
    assert_eq!(tab.messages_except(&expected).await, [""; 0]);
    tab.close().await;
}

/// Filters the log by type, actor and patient.
async fn filters(tab: &Tab, file: &Path, id: &str) {
    // An event that is older than the 200 events that the page shows at most.
    sqlite(
        file,
        "UPDATE events SET metadata = json_set(metadata, '$.actor', 'the-importer') WHERE position = 3",
    );
    tab.go("log").await;
    tab.sees("Events shown: 50").await;
    tab.fill("Actor", "importer\n").await;
    tab.sees("Events shown: 1").await;
    tab.sees("the-importer").await;
    tab.loses("The filter covers").await;
    tab.fill("Actor", "\n").await;
    tab.run(
        "const type = document.querySelector('main select');
         type.value = 'PatientRegistered'; type.dispatchEvent(new Event('change'))",
    )
    .await;
    tab.sees("Events shown: 50").await;
    tab.sees("The filter covers the events after position 210.").await;
    tab.click("Show older events").await;
    tab.sees("Events shown: 150").await;
    tab.click("Show older events").await;
    tab.sees("Events shown: 250").await;
    tab.click("Show older events").await;
    tab.sees("Events shown: 260").await;
    tab.loses("The filter covers").await;
    tab.fill("Patient id", &format!("{id}\n")).await;
    tab.sees("Events shown: 1").await;
    tab.loses("Events shown: 260").await;
    tab.fill("Patient id", "ana\n").await;
    tab.sees("must be the id of a patient").await;
    assert!(!tab.text().await.contains("see errors"), "{}", tab.text().await);
}

fn id_of_patient(event: &Value) -> &str {
    event["aggregate_id"].as_str().unwrap()
}

/// The examples of RFC 8785.
#[tokio::test]
async fn events_are_hashed_in_the_form_of_rfc_8785() {
    let folder = TempDir::new().unwrap();
    let port = free_port();
    log_key(folder.path());
    let service = Service::start(&mut command(folder.path(), port), port).await;
    let registered: Value = service
        .client
        .register("ana@example.com")
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let tab = Tab::open(port).await;
    tab.sees("Patients shown: 1").await;
    let form = async |text: &str| {
        let form = in_module(&tab, "return log.canonical(JSON.parse(argument))", &json!(text)).await;
        form.as_str().unwrap().to_owned()
    };
    let values = r#"{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001, -0],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"#;
    assert_eq!(
        form(values).await,
        r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27,0],"string":"€$\u000f\nA'B\"\\\\\"/"}"#
    );
    let names = r#"{"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\ud83d\ude00": 5, "\u0080": 6, "\u00f6": 7}"#;
    assert_eq!(
        form(names).await,
        "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}"
    );
    // The hash of an event as the service computes it.
    let event = event(&service.client, 1).await;
    assert_eq!(event["aggregate_id"], id_of(&registered));
    let hash = in_module(
        &tab,
        "return log.toHex(await log.linkOf(new Uint8Array(32), argument))",
        &event,
    )
    .await;
    assert_eq!(hash, event["hash"]);
    tab.close().await;
}
