//! A proxy that fails, a connection that is silent, and a log that changes, while the console is open.

use axum::http::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{free_port, wait_until};

use super::front::{Deed, Front};
use super::{Service, Tab, command, log_key};
use crate::client::id_of;
use crate::rig::SOON;

const IN_PROGRESS: &str =
    r#"{"type":"/problems/request-in-progress","title":"Still in progress","status":409,"detail":"Wait."}"#;
const EMAIL_TAKEN: &str =
    r#"{"type":"/problems/email-taken","title":"Email taken","status":409,"detail":"Taken."}"#;

/// A service behind a proxy.
async fn rig(folder: &TempDir) -> (Service, Front) {
    let port = free_port();
    log_key(folder.path());
    let service = Service::start(&mut command(folder.path(), port), port).await;
    (service, Front::start(port).await)
}

impl Tab {
    /// Loads the page again with a shorter form of one of its waiting times.
    async fn hurry(&self, milliseconds: u32, instead: u32) {
        let source = format!(
            "const wait = window.setTimeout;
             window.setTimeout = (action, time, ...rest) => wait(action, time === {milliseconds} ? {instead} : time, ...rest)"
        );
        self.devtools("Page.addScriptToEvaluateOnNewDocument", json!({"source": source}))
            .await;
        self.browser.refresh().await.unwrap();
    }

    async fn fill_registration(&self, name: &str, email: &str) {
        self.go("patients/new").await;
        self.fill("Name", name).await;
        self.fill("Email", email).await;
        self.fill("Phone", "600 123 456").await;
        self.fill("Document URL", "https://example.com/ana.jpg").await;
    }
}

#[tokio::test]
async fn a_live_log_whose_connection_is_silent_for_40_seconds_connects_again() {
    let folder = TempDir::new().unwrap();
    let (service, front) = rig(&folder).await;
    service.client.register("ana@example.com").await.unwrap();
    let tab = Tab::open(front.port).await;
    tab.hurry(40_000, 300).await;
    // The first connection has a silent end after its first bytes, the second is silent from the beginning.
    front.next(1, "GET", "/events/stream", Deed::Stall("retry: 1000\n"));
    front.next(1, "GET", "/events/stream", Deed::Stall(""));
    tab.go("log").await;
    tab.sees("Events shown: 1").await;
    service.client.register("eva@example.com").await.unwrap();
    tab.sees("Events shown: 2").await;
    assert!(front.is_done());
    assert_eq!(tab.messages().await, [""; 0]);
    tab.close().await;
}

#[tokio::test]
async fn an_export_that_is_interrupted_continues_and_contains_each_event_once() {
    let folder = TempDir::new().unwrap();
    let (service, front) = rig(&folder).await;
    for number in 0..5 {
        let email = format!("{number}@example.com");
        assert_eq!(service.client.register(&email).await.unwrap().status(), 201);
    }
    let tab = Tab::open(front.port).await;
    tab.hurry(1000, 10).await;
    tab.run(
        "const make = URL.createObjectURL;
         URL.createObjectURL = (blob) => { blob.text().then((text) => (window.exported = text)); return make(blob); }",
    )
    .await;
    tab.go("log").await;
    tab.sees("Events shown: 5").await;
    // The first response ends within the third event, and the next two before their first event.
    let lines = service.client.get("/events?limit=3").await.unwrap();
    let lines: Vec<Value> = lines.json().await.unwrap();
    let first: usize = lines[..2].iter().map(|line| line.to_string().len() + 1).sum();
    front.next(1, "GET", "/events", Deed::Cut(first + 20));
    front.next(2, "GET", "/events", Deed::Cut(20));
    tab.click("Export").await;
    tab.click("Start the export").await;
    tab.sees("Exported: 5 events.").await;
    assert!(front.is_done());
    let text = tab.run("return window.exported").await;
    let exported = text
        .as_str()
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let positions: Vec<_> = exported
        .map(|event: Value| event["position"].as_u64().unwrap())
        .collect();
    assert_eq!(positions, [1, 2, 3, 4, 5]);
    assert_eq!(
        tab.messages_except(&[("/events?after=", "net::ERR_INCOMPLETE_CHUNKED_ENCODING")])
            .await,
        [""; 0]
    );
    tab.close().await;
}

#[tokio::test]
async fn a_registration_is_repeated_after_passing_errors_and_registers_one_patient() {
    let folder = TempDir::new().unwrap();
    let (service, front) = rig(&folder).await;
    let tab = Tab::open(front.port).await;
    tab.fill_registration("Ana López", "ana@example.com").await;
    front.next(1, "POST", "/register", Deed::Answer(StatusCode::BAD_GATEWAY, ""));
    front.next(1, "POST", "/register", Deed::LoseResponse);
    front.next(
        1,
        "POST",
        "/register",
        Deed::Answer(StatusCode::CONFLICT, IN_PROGRESS),
    );
    tab.click("Register").await;
    tab.sees("Amend").await;
    assert!(front.is_done());
    wait_until(SOON, "the patient is listed", async || {
        !service.client.list().await.is_empty()
    })
    .await;
    assert_eq!(service.client.list().await.len(), 1);

    // A conflict that does not pass is shown at once, and the form keeps what was typed.
    tab.fill_registration("Luz Mora", "luz@example.com").await;
    front.next(
        1,
        "POST",
        "/register",
        Deed::Answer(StatusCode::CONFLICT, EMAIL_TAKEN),
    );
    tab.click("Register").await;
    tab.sees("Taken.").await;
    assert!(front.is_done());
    assert_eq!(
        tab.run("return [...document.querySelectorAll('form input')].map(({value}) => value)")
            .await,
        json!([
            "Luz Mora",
            "luz@example.com",
            "600 123 456",
            "https://example.com/ana.jpg"
        ])
    );
    tab.click("Register").await;
    tab.sees("Amend").await;
    let expected = [
        ("/register", " 502 "),
        ("/register", " 504 "),
        ("/register", " 409 "),
    ];
    assert_eq!(tab.messages_except(&expected).await, [""; 0]);
    tab.close().await;
}

#[tokio::test]
async fn a_deletion_is_not_repeated_and_a_change_keeps_what_was_typed() {
    let folder = TempDir::new().unwrap();
    let (service, front) = rig(&folder).await;
    let registered: Value = (service.client.register("ana@example.com").await.unwrap())
        .json()
        .await
        .unwrap();
    let id = id_of(&registered);
    let path = format!("/patients/{id}");
    let tab = Tab::open(front.port).await;
    // The response to a change is lost. The change is repeated with its key, and made once.
    tab.go(&path[1..]).await;
    tab.click("Amend").await;
    tab.fill("Name", "Ana María López").await;
    tab.click("Review the changes").await;
    front.next(1, "PATCH", "/patients/", Deed::LoseResponse);
    tab.click("Save").await;
    tab.sees("The changes were saved.").await;
    assert!(front.is_done());
    let history: Value = service
        .client
        .get(&format!("{path}/history"))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(history.as_array().unwrap().len(), 2);

    // A service that is closed for a longer time. The change is not repeated, and not lost.
    tab.click("Amend").await;
    tab.fill("Name", "Ana Núñez").await;
    tab.click("Review the changes").await;
    front.next(
        1,
        "PATCH",
        "/patients/",
        Deed::Answer(StatusCode::CONFLICT, EMAIL_TAKEN),
    );
    tab.click("Save").await;
    tab.sees("Taken.").await;
    assert_eq!(
        tab.run("return document.querySelector('[name=name]').value")
            .await,
        "Ana Núñez"
    );
    tab.click("Cancel").await;

    // The deletion may have been made, so it is not sent again.
    tab.click("Delete").await;
    front.next(
        1,
        "DELETE",
        "/patients/",
        Deed::Answer(StatusCode::BAD_GATEWAY, ""),
    );
    tab.click("Delete").await;
    tab.sees("It is not known whether the change was made").await;
    assert!(front.is_done());
    assert_eq!(service.client.get(&path).await.unwrap().status(), 200);
    tab.click("Delete").await;
    tab.sees("The patient was deleted.").await;
    let expected = [
        ("/patients/", " 504 "),
        ("/patients/", " 502 "),
        ("/patients/", " 409 "),
        ("/patients/", " 410 "),
    ];
    assert_eq!(tab.messages_except(&expected).await, [""; 0]);
    tab.close().await;
}

/// Returns the checkpoint of the log once it covers `events` events.
async fn checkpoint(service: &Service, events: usize) -> String {
    let mut text = String::new();
    wait_until(SOON, "a checkpoint covers the log", async || {
        let answer = service.client.get("/log/checkpoint").await.unwrap();
        text = answer.text().await.unwrap();
        text.contains(&format!("\n{events}\n"))
    })
    .await;
    text
}

#[tokio::test]
async fn a_log_that_shrinks_or_splits_is_shown_in_red_and_an_older_checkpoint_is_not() {
    let folder = TempDir::new().unwrap();
    let (service, front) = rig(&folder).await;
    let registered: Value = (service.client.register("ana@example.com").await.unwrap())
        .json()
        .await
        .unwrap();
    let history = format!("patients/{}/history", id_of(&registered));
    let older = checkpoint(&service, 1).await;
    for number in 0..3 {
        service
            .client
            .register(&format!("{number}@example.com"))
            .await
            .unwrap();
    }
    checkpoint(&service, 4).await;
    let tab = Tab::open(front.port).await;
    let look = async |text: &str| {
        tab.go("checkpoints").await;
        tab.sees("Newest checkpoint").await;
        tab.sees(text).await;
    };
    look("log.example.org").await;
    tab.click("Pin this checkpoint").await;
    tab.sees("The newest checkpoint continues it").await;
    tab.go(&history).await;
    tab.sees("✓ Verified").await;

    // Another process can be a little behind. Its checkpoint belongs to the same log.
    front.always("GET", "/log/checkpoint", Deed::Give(older.clone()));
    look("The newest checkpoint continues it").await;
    assert!(!tab.text().await.contains("does not match what you trust"));
    tab.go(&history).await;
    tab.sees("✓ Verified").await;

    // The log had another event at this position, so the service has shown two logs.
    let other = older.lines().nth(2).unwrap();
    let forged = older.replace(other, "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=");
    front.behave();
    front.always("GET", "/log/checkpoint", Deed::Give(forged));
    look("does not match what you trust").await;
    tab.sees("The service has shown two logs that do not belong together.")
        .await;
    let notes = "return document.querySelectorAll('.card details pre').length";
    assert_eq!(tab.run(notes).await, 2, "both checkpoints are kept as evidence");
    tab.go(&history).await;
    tab.sees("✕ Does not match").await;
    assert!(!tab.text().await.contains("✓ Verified"));
    // The evidence counts after the service shows the first log again.
    front.behave();
    look("does not match what you trust").await;
    let red = tab
        .run("return getComputedStyle(document.querySelector('[role=alert]')).borderColor")
        .await;
    let [red, green, blue] = rgb(red.as_str().unwrap());
    assert!(red > green && red > blue, "the notice is not red");
    assert_eq!(tab.messages().await, [""; 0]);
    tab.close().await;
}

/// Parses a color such as `rgb(200, 30, 30)`.
fn rgb(text: &str) -> [f32; 3] {
    let numbers = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    let numbers: Vec<f32> = numbers.filter_map(|part| part.parse().ok()).collect();
    numbers[..3].try_into().unwrap()
}

#[tokio::test]
async fn a_verification_that_ends_early_has_no_result() {
    let folder = TempDir::new().unwrap();
    let (_service, front) = rig(&folder).await;
    let tab = Tab::open(front.port).await;
    let line = r#"{"state":"comparing","projection":"patient_view","compared":0,"at_most":1}"#;
    front.next(1, "POST", "/projections/", Deed::Give(format!("{line}\n")));
    tab.go("projections").await;
    let verify = "//section[@data-name = 'patient_view']//button[. = 'Verify']";
    tab.element(verify).await.click().await.unwrap();
    tab.sees("The connection was interrupted.").await;
    assert!(!tab.text().await.contains("Matches the log"));
    // A verification can be cancelled.
    front.next(
        1,
        "POST",
        "/projections/",
        Deed::Stall(concat!(
            r#"{"state":"comparing","projection":"patient_view","compared":7,"at_most":9}"#,
            "\n"
        )),
    );
    tab.element(verify).await.click().await.unwrap();
    tab.sees("Patients compared: 7").await;
    tab.click("Cancel the verification").await;
    tab.loses("Patients compared").await;
    tab.element(verify).await.click().await.unwrap();
    tab.sees("Matches the log").await;
    assert_eq!(tab.messages().await, [""; 0]);
    tab.close().await;
}
