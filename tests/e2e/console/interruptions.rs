//! A token that is withdrawn, another person's change, and a service that goes away, while the console is
//! open.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{free_port, wait_until};

use super::pages::problems;
use super::{Service, Tab, axe, command, log_key};
use crate::client::Client;
use crate::rig::{SOON, patients};

/// Creates a token. Returns the token and the line that authorizes it.
fn token(role: &str) -> (String, String) {
    let mut command = patients("");
    command.args(["token", "new", "--role", role, "--name", role]);
    let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let part = |name: &str| {
        let line = output.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().to_owned()
    };
    (part("token"), part("line"))
}

fn with_tokens(command: &mut Command, folder: &TempDir, lines: &str) {
    let (file, new) = (folder.path().join("tokens"), folder.path().join("tokens.new"));
    fs::write(&new, lines).unwrap();
    fs::rename(new, &file).unwrap();
    command.env("AUTH_TOKENS_FILE", file);
}

async fn sign_in(tab: &Tab, token: &str) {
    tab.fill("Access token", token).await;
    tab.click("Sign in").await;
}

#[tokio::test]
async fn a_token_that_is_withdrawn_loses_nothing_that_was_typed() {
    let folder = TempDir::new().unwrap();
    let port = free_port();
    log_key(folder.path());
    let (old, old_line) = token("clerk");
    let (new, new_line) = token("clerk");
    let (auditor, auditor_line) = token("auditor");
    let (privacy, privacy_line) = token("privacy");
    let new_lines = [new_line, auditor_line, privacy_line].join("\n");
    let mut command = command(folder.path(), port);
    with_tokens(&mut command, &folder, &old_line);
    let service = Service::start(&mut command, port).await;
    let tab = Tab::open(port).await;
    let axe = axe::script();
    if let Some(axe) = &axe {
        tab.element("//label[. = 'Access token']").await;
        tab.run(axe).await;
        assert_eq!(problems(&tab, "signing in").await, [""; 0]);
    }
    // A header cannot contain the first of these tokens.
    for wrong in ["t\u{f8}k\u{ea}n", "pat_wrong"] {
        sign_in(&tab, wrong).await;
        tab.sees("The service does not accept this token.").await;
        tab.browser.refresh().await.unwrap();
    }
    sign_in(&tab, &old).await;
    tab.click("Register a patient").await;
    // Only the pages of the role are offered.
    let text = tab.text().await;
    assert!(
        !text.contains("Event log") && !text.contains("Projections"),
        "{text}"
    );
    tab.go("log").await;
    tab.sees("Not available to your role").await;
    let focused = "return document.activeElement.innerText";
    assert_eq!(tab.run(focused).await, "Not available to your role");
    if let Some(axe) = &axe {
        tab.run(axe).await;
    }
    assert_eq!(problems(&tab, "a page of another role").await, [""; 0]);
    tab.click("Register a patient").await;
    tab.fill("Name", "Ana López").await;
    tab.fill("Email", "ana@example.com").await;
    tab.fill("Phone", "600 123 456").await;
    tab.fill("Document URL", "https://example.com/ana.jpg").await;

    with_tokens(&mut Command::new("true"), &folder, &new_lines);
    let holder = Client::holding(port, &old);
    wait_until(SOON, "the token is withdrawn", async || {
        holder.get("/patients").await.unwrap().status() == 401
    })
    .await;
    tab.click("Register").await;
    tab.sees("Sign in again").await;
    assert_eq!(
        tab.run("return document.querySelector('[name=name]').value")
            .await,
        "Ana López"
    );
    if let Some(axe) = &axe {
        tab.run(axe).await;
        assert_eq!(problems(&tab, "signing in again").await, [""; 0]);
    }
    // Escape does not close this dialog, because the page would lose what was typed.
    for _ in 0..2 {
        tab.field("Access token")
            .await
            .send_keys("\u{e00c}")
            .await
            .unwrap();
    }
    sign_in(&tab, &new).await;
    // Another person may have signed in, so the change is not made without them.
    tab.sees("The change was not made: repeat it.").await;
    assert!(Client::holding(port, &new).list().await.is_empty());
    tab.click("Register").await;
    tab.sees("Amend").await;
    let holder = Client::holding(port, &new);
    wait_until(SOON, "the patient is listed", async || {
        !holder.list().await.is_empty()
    })
    .await;
    assert_eq!(holder.list().await.len(), 1);
    // The token is kept for this tab only.
    assert_eq!(tab.run("return localStorage.length").await, 0);
    tab.click("Sign out").await;
    tab.sees("Access token").await;
    assert_eq!(tab.run("return sessionStorage.length").await, 0);
    assert_eq!(
        tab.run("return location.hash").await,
        "",
        "the next person does not see the id"
    );
    only_their_pages(&tab, &auditor, &privacy).await;
    let expected = [("/register", " 401 ")];
    assert_eq!(tab.messages_except(&expected).await, [""; 0]);
    tab.close().await;
    drop(service);
}

/// Checks that an auditor and a person of the role `privacy` see the pages of their role.
async fn only_their_pages(tab: &Tab, auditor: &str, privacy: &str) {
    for (token, pages) in [
        (
            auditor,
            json!(["Find patients", "Event log", "Checkpoints", "Record of reads"]),
        ),
        (privacy, json!(["Erasures and holds"])),
    ] {
        sign_in(tab, token).await;
        tab.element("//nav").await;
        let shown = "return [...document.querySelectorAll('nav a')].map(({innerText}) => innerText)";
        assert_eq!(tab.run(shown).await, pages);
        tab.click("Sign out").await;
        tab.sees("Access token").await;
    }
}

#[tokio::test]
async fn the_console_goes_on_when_the_service_is_back_and_never_overwrites_another_persons_change() {
    let folder = TempDir::new().unwrap();
    let port = free_port();
    log_key(folder.path());
    let mut command = command(folder.path(), port);
    let mut service = Service::start(&mut command, port).await;
    let tab = Tab::open(port).await;
    tab.click("Register a patient").await;
    tab.fill("Name", "Ana López").await;
    tab.fill("Email", "ana@example.com").await;
    tab.fill("Phone", "600 123 456").await;
    tab.fill("Document URL", "https://example.com/ana.jpg").await;
    service.program.kill9().await;
    tab.click("Register").await;
    tab.sees("The service cannot be reached.").await;
    assert_eq!(
        tab.run("return document.querySelector('[name=name]').value")
            .await,
        "Ana López"
    );
    service.program.restart().await;
    wait_until(SOON, "it is ready", async || service.client.ready().await).await;
    // The registration is sent again, with its key.
    tab.sees("Amend").await;
    tab.loses("The service cannot be reached.").await;
    let mut listed = Vec::new();
    wait_until(SOON, "the patient is listed", async || {
        listed = service.client.list().await;
        !listed.is_empty()
    })
    .await;
    assert_eq!(listed.len(), 1);
    let id = listed[0]["id"].as_str().unwrap();

    // Another person changes the phone while this one changes the name.
    tab.click("Amend").await;
    tab.fill("Name", "Ana María López").await;
    assert_eq!(
        service
            .client
            .amend(id, &json!({"phone": "600 999 999"}))
            .await
            .status(),
        200
    );
    tab.click("Review the changes").await;
    tab.click("Save").await;
    tab.sees("Another person has changed this patient").await;
    tab.click("Load the current values").await;
    tab.loses("Another person has changed this patient").await;
    tab.click("Review the changes").await;
    tab.click("Save").await;
    tab.sees("The changes were saved.").await;
    let path = format!("/patients/{id}");
    let patient: Value = service.client.get(&path).await.unwrap().json().await.unwrap();
    assert_eq!(
        (&patient["name"], &patient["phone"]),
        (&json!("Ana María López"), &json!("600 999 999"))
    );

    // The live log also continues after an interruption.
    tab.go("log").await;
    tab.sees("Events shown: 3").await;
    service.program.kill9().await;
    tab.sees("The service cannot be reached.").await;
    service.program.restart().await;
    wait_until(SOON, "it is ready", async || service.client.ready().await).await;
    service.client.register("eva@example.com").await.unwrap();
    tab.sees("Events shown: 4").await;

    // A registration that is cancelled while the service is away is not sent later.
    tab.click("Register a patient").await;
    tab.fill("Name", "Luz Mora").await;
    tab.fill("Email", "luz@example.com").await;
    tab.fill("Phone", "600 123 456").await;
    tab.fill("Document URL", "https://example.com/luz.jpg").await;
    service.program.kill9().await;
    tab.click("Register").await;
    tab.sees("The service cannot be reached.").await;
    tab.click("Cancel").await;
    service.program.restart().await;
    wait_until(SOON, "it is ready", async || service.client.ready().await).await;
    tab.loses("The service cannot be reached.").await;

    // A deletion asks again after another person's change, and a deletion that already happened ends well.
    tab.go(&path[1..]).await;
    tab.click("Delete").await;
    let changed = service.client.amend(id, &json!({"phone": "600 111 111"})).await;
    assert_eq!(changed.status(), 200);
    tab.click("Delete").await;
    tab.sees("Another person has changed this patient").await;
    tab.element("//dialog//bdi[. = '600 111 111']").await;
    assert_eq!(service.client.delete(id).await.unwrap().status(), 204);
    tab.click("Delete").await;
    tab.sees("Deleted patient").await;
    wait_until(SOON, "only the other patient is listed", async || {
        service.client.list().await.len() == 1
    })
    .await;
    // While the service was away, the browser itself reports the broken connections.
    let expected = [
        ("/", "net::ERR_"),
        ("/patients/", " 412 "),
        ("/patients/", " 410 "),
    ];
    assert_eq!(tab.messages_except(&expected).await, [""; 0]);
    tab.close().await;
}
