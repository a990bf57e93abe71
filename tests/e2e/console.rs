//! The web console, in a real browser.

mod axe;
mod errands;
mod faults;
mod front;
mod interruptions;
mod pages;
mod patient;
mod sign_in;
mod tampering;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fantoccini::elements::Element;
use fantoccini::{Client as Browser, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use testkit::{Program, WebDriver, wait_until};

use crate::client::Client;
use crate::rig::{SOON, patients};

/// A service with a published log, on SQLite.
struct Service {
    program: Program,
    client: Client,
}

/// Returns the command of a service in a folder.
fn command(folder: &Path, port: u16) -> Command {
    let mut command = patients("serve");
    command
        .current_dir(folder)
        .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
        .env("LOG_ORIGIN", "log.example.org/patients")
        .env("LOG_KEY_FILE", folder.join("log.key"))
        .env("CHECKPOINT_INTERVAL", "100ms");
    command
}

/// Creates the key of the log in a folder. Returns the verifier key.
fn log_key(folder: &Path) -> String {
    let mut command = patients("");
    command
        .args(["audit", "key", "new"])
        .current_dir(folder)
        .env("LOG_ORIGIN", "log.example.org/patients")
        .env("LOG_KEY_FILE", folder.join("log.key"));
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Service {
    async fn start(command: &mut Command, port: u16) -> Self {
        let program = Program::start(command);
        let client = Client::new(port);
        wait_until(SOON, "it is ready", async || client.ready().await).await;
        Self { program, client }
    }
}

/// Keys that delete the content of a control: Control+A, Null (releases Control), Delete. The page does not
/// notice the driver's own command for it, so a page that is drawn before the next key shows the old content
/// again.
const CLEAR: &str = "\u{e009}a\u{e000}\u{e017}";

/// Requests that fail although nothing is wrong: those of `console/assets/session.js` that find the roles of
/// a person, and those for a checkpoint before the first is signed.
const EXPECTED: [(&str, &str); 10] = [
    ("/log/checkpoint ", " 404 "),
    ("/patients/00000000-0000-0000-0000-000000000000", " 401 "),
    ("/patients/00000000-0000-0000-0000-000000000000", " 403 "),
    ("/patients/00000000-0000-0000-0000-000000000000", " 404 "),
    ("/patients/00000000-0000-0000-0000-000000000000", " 422 "),
    ("/patients/00000000-0000-0000-0000-000000000000", " 428 "),
    ("/events?limit=1&after=9007199254740991", " 401 "),
    ("/events?limit=1&after=9007199254740991", " 403 "),
    ("/mail ", " 401 "),
    ("/mail ", " 403 "),
];

/// Whether a message is about this failure. Messages have the form `http://127.0.0.1:1/mail - Failed to load
/// resource: the server responded with a status of 403 (Forbidden)`.
fn is(message: &str, (path, failure): &(&str, &str)) -> bool {
    let Some((url, what)) = message.split_once("- Failed to load resource: ") else {
        return false;
    };
    let at = url
        .split_once("//")
        .and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
    at.is_some_and(|at| at.starts_with(path)) && what.contains(failure)
}

/// A tab with the console.
struct Tab {
    driver: WebDriver,
    browser: Browser,
    session: String,
    http: reqwest::Client,
}

impl Tab {
    /// Opens the console in a new browser whose language is English.
    async fn open(port: u16) -> Self {
        let driver = WebDriver::start().await;
        let mut options = driver.options();
        options.push("--lang=en".to_owned());
        let capabilities = json!({
            "goog:chromeOptions": {"binary": driver.browser(), "args": options},
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        let browser = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities.as_object().unwrap().clone())
            .connect(driver.url())
            .await
            .unwrap();
        browser
            .goto(&format!("http://127.0.0.1:{port}/console"))
            .await
            .unwrap();
        Self {
            session: browser.session_id().await.unwrap().unwrap(),
            http: testkit::http_client().build().unwrap(),
            driver,
            browser,
        }
    }

    async fn close(self) {
        self.browser.close().await.unwrap();
    }

    /// Sends a command that fantoccini does not know.
    async fn driver(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}/session/{}/{path}", self.driver.url(), self.session);
        let answer = self.http.post(url).json(body).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["value"].take()
    }

    /// Sends a command of Chromium's own protocol.
    async fn devtools(&self, command: &str, parameters: Value) {
        let body = json!({"cmd": command, "params": parameters});
        let value = self.driver("goog/cdp/execute", &body).await;
        assert!(value.get("error").is_none(), "{command}: {value}");
    }

    /// Returns the messages of the browser's console since the last call: script errors, violations of the
    /// policy and failed requests, except those in [`EXPECTED`].
    async fn messages(&self) -> Vec<String> {
        self.messages_except(&[]).await
    }

    /// Like [`Tab::messages`], without the failures that the test causes. Each is the beginning of a path,
    /// and a part of the failure, such as the status.
    async fn messages_except(&self, expected: &[(&str, &str)]) -> Vec<String> {
        let lines = self.driver("se/log", &json!({"type": "browser"})).await;
        let lines = lines.as_array().unwrap().iter();
        lines
            .map(|line| line["message"].as_str().unwrap().to_owned())
            .filter(|message| {
                !EXPECTED
                    .iter()
                    .chain(expected)
                    .any(|failure| is(message, failure))
            })
            .collect()
    }

    async fn run(&self, script: &str) -> Value {
        self.browser.execute(script, Vec::new()).await.unwrap()
    }

    /// Opens the page of a route.
    async fn go(&self, route: &str) {
        self.run(&format!("location.hash = '#/{route}'")).await;
    }

    async fn text(&self) -> String {
        let text = self.run("return document.body.innerText").await;
        text.as_str().unwrap().to_owned()
    }

    /// Waits until the page contains a text.
    async fn sees(&self, wanted: &str) {
        let shown = async {
            while !self.text().await.contains(wanted) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let seen = tokio::time::timeout(SOON, shown).await;
        assert!(seen.is_ok(), "{wanted:?} is not shown in:\n{}", self.text().await);
    }

    /// Waits until the page does not contain a text.
    async fn loses(&self, unwanted: &str) {
        wait_until(SOON, &format!("{unwanted:?} is not shown"), async || {
            !self.text().await.contains(unwanted)
        })
        .await;
    }

    async fn element(&self, xpath: &str) -> Element {
        let found = self
            .browser
            .wait()
            .at_most(SOON)
            .for_element(Locator::XPath(xpath));
        let found = found.await;
        if found.is_err() {
            println!("not found: {xpath}");
        }
        found.unwrap()
    }

    /// Returns the control with this label.
    async fn field(&self, label: &str) -> Element {
        self.element(&format!(
            "//*[@id = //label[normalize-space() = '{label}']/@for][ancestor::dialog or not(//dialog)]"
        ))
        .await
    }

    /// Types a text into the control with this label, in place of its content.
    async fn fill(&self, label: &str, text: &str) {
        let field = self.field(label).await;
        field.send_keys(&format!("{CLEAR}{text}")).await.unwrap();
    }

    /// Clicks the button or the link with this text. An open dialog is in front of the page.
    async fn click(&self, text: &str) {
        let element = self
            .element(&format!(
                "//*[self::button or self::a][normalize-space() = '{text}'][ancestor::dialog or not(//dialog)]"
            ))
            .await;
        // Clicks by script, because scrolling into view is not under test.
        self.browser
            .execute(
                "arguments[0].click()",
                vec![serde_json::to_value(element).unwrap()],
            )
            .await
            .unwrap();
    }
}
