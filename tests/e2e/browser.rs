//! The documentation pages and browser security, in a real browser.

use std::time::Duration;

use axum::Router;
use axum::response::Html;
use fantoccini::{Client as Browser, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Program, WebDriver, free_port, wait_until};
use tokio::net::TcpListener;

use crate::client::Client;
use crate::rig::{SOON, patients};

/// The name of a page for DNS rebinding: it resolves first to the attacker's address, and later to this
/// machine. The browser treats both as one origin.
const REBOUND: &str = "evil.example";

async fn open(driver: &WebDriver) -> Browser {
    let mut options = driver.options();
    options.push(format!("--host-resolver-rules=MAP {REBOUND} 127.0.0.1"));
    let capabilities = json!({
        "goog:chromeOptions": {"binary": driver.browser(), "args": options},
        "goog:loggingPrefs": {"browser": "ALL"},
    });
    ClientBuilder::new(HttpConnector::new())
        .capabilities(capabilities.as_object().unwrap().clone())
        .connect(driver.url())
        .await
        .unwrap()
}

/// Returns the messages of the browser's console: script errors and violations of the content security
/// policy.
async fn console(driver: &WebDriver, browser: &Browser) -> Vec<String> {
    let session = browser.session_id().await.unwrap().unwrap();
    let client = testkit::http_client().build().unwrap();
    let request = client
        .post(format!("{}/session/{session}/se/log", driver.url()))
        .json(&json!({"type": "browser"}));
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    let lines = answer["value"].as_array().unwrap().iter();
    lines
        .map(|line| line["message"].as_str().unwrap().to_owned())
        .collect()
}

async fn click(browser: &Browser, css: &str) {
    let element = browser
        .wait()
        .at_most(SOON)
        .for_element(Locator::Css(css))
        .await
        .unwrap();
    // Clicks by script, because scrolling into view is not under test.
    browser
        .execute(
            "arguments[0].click()",
            vec![serde_json::to_value(element).unwrap()],
        )
        .await
        .unwrap();
}

async fn text(browser: &Browser) -> String {
    let text = browser
        .execute("return document.body.innerText", Vec::new())
        .await;
    text.unwrap().as_str().unwrap().to_owned()
}

/// Runs `check`, and closes the browser whether or not it panics.
async fn in_a_browser(check: impl AsyncFnOnce(&WebDriver, &Browser, &Client)) {
    let folder = TempDir::new().unwrap();
    let port = free_port();
    let mut command = patients("");
    command
        .current_dir(folder.path())
        .env("HTTP_ADDR", format!("127.0.0.1:{port}"));
    let _program = Program::start(&command);
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    let driver = WebDriver::start().await;
    let browser = open(&driver).await;
    tokio::time::timeout(Duration::from_mins(2), check(&driver, &browser, &client))
        .await
        .unwrap();
    browser.close().await.unwrap();
}

#[tokio::test]
async fn docs_lists_every_operation_and_registers_a_patient_when_tried_out() {
    in_a_browser(async |driver, browser, client| {
        browser.goto(&client.url("/docs")).await.unwrap();
        let document: Value = client.get("/openapi.json").await.unwrap().json().await.unwrap();
        let items = document["paths"].as_object().unwrap().values();
        let operations: usize = items.map(|item| item.as_object().unwrap().len()).sum();
        wait_until(SOON, "every operation is listed", async || {
            browser.find_all(Locator::Css(".opblock")).await.unwrap().len() == operations
        })
        .await;

        let register = "[id='operations-patients-post_register']";
        click(browser, &format!("{register} .opblock-control-arrow")).await;
        click(browser, &format!("{register} .try-out__btn")).await;
        click(browser, &format!("{register} .execute")).await;
        wait_until(SOON, "the patient is listed", async || {
            client.list().await.len() == 1
        })
        .await;
        assert_eq!(client.list().await[0]["email"], "john@example.com", "the example");
        wait_until(SOON, "the response is shown", async || {
            text(browser).await.contains("event-position: 1")
        })
        .await;
        assert_eq!(console(driver, browser).await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn redoc_shows_the_whole_description() {
    in_a_browser(async |driver, browser, client| {
        browser.goto(&client.url("/redoc")).await.unwrap();
        wait_until(SOON, "the last part is shown", async || {
            let text = text(browser).await;
            [
                "Register a patient",
                "Follow the event feed",
                "Explain a problem type",
            ]
            .iter()
            .all(|title| text.contains(title))
        })
        .await;
        let family = "return getComputedStyle(document.querySelector('.menu-content')).position";
        let styled = browser.execute(family, Vec::new()).await.unwrap();
        assert_eq!(styled, "sticky", "its styles are applied");
        assert_eq!(console(driver, browser).await, [""; 0]);
    })
    .await;
}

/// Starts a server with an empty page on a different origin than the API. Returns its port.
async fn elsewhere() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let page = Router::new().fallback(async || Html("<title>elsewhere</title>"));
    tokio::spawn(async move { axum::serve(listener, page).await });
    port
}

/// Sends a request from the open page, as a form could. Returns the status, or 0 if the browser hides the
/// response from the page.
async fn send(browser: &Browser, method: &str, url: &str) -> u64 {
    let script = "const [method, url, done] = arguments;
        const mode = new URL(url).origin === location.origin ? 'same-origin' : 'no-cors';
        fetch(url, {method, mode, headers: {'content-type': 'text/plain'}, body: method === 'GET' ? undefined : '{}'})
            .then(answer => done(answer.status), () => done(0))";
    let status = browser.execute_async(script, vec![json!(method), json!(url)]);
    status.await.unwrap().as_u64().unwrap()
}

/// Returns the number of requests on a route that the API answered with this status.
async fn answered(client: &Client, route: &str, status: u16) -> u64 {
    let page = client.get("/metrics").await.unwrap().text().await.unwrap();
    let count = page.lines().find(|line| {
        line.contains("duration_seconds_count{")
            && [format!("route=\"{route}\""), format!("status=\"{status}\"")]
                .iter()
                .all(|label| line.contains(label.as_str()))
    });
    count.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// Paths of state-changing requests, and their routes in the metrics.
const UNSAFE: [(&str, &str); 2] = [
    (
        "/projections/patient_view/rebuild",
        "/projections/{projection}/rebuild",
    ),
    ("/mail/dead/retry", "/mail/dead/retry"),
];

#[tokio::test]
async fn a_page_of_another_origin_changes_nothing() {
    in_a_browser(async |_, browser, client| {
        let port = elsewhere().await;
        // The first page is on another site. The second page is on the same site, but on another port.
        for (page, number) in ["localhost", "127.0.0.1"].into_iter().zip(1..) {
            browser.goto(&format!("http://{page}:{port}/")).await.unwrap();
            for (path, route) in UNSAFE {
                assert_eq!(
                    send(browser, "POST", &client.url(path)).await,
                    0,
                    "{page} sees no response"
                );
                assert_eq!(answered(client, route, 403).await, number, "{path} from {page}");
                assert_eq!(answered(client, route, 202).await, 0, "{path} from {page}");
            }
        }
        // This page has an opaque origin. Chromium may block its requests.
        browser
            .goto("data:text/html,<title>nowhere</title>")
            .await
            .unwrap();
        let (path, route) = UNSAFE[0];
        assert_eq!(send(browser, "POST", &client.url(path)).await, 0);
        assert_eq!(answered(client, route, 202).await, 0);
        // The API's own page is allowed.
        browser.goto(&client.url("/docs")).await.unwrap();
        for (path, _) in UNSAFE {
            assert_eq!(send(browser, "POST", &client.url(path)).await, 202, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_page_whose_name_leads_here_is_shown_nothing_and_changes_nothing() {
    in_a_browser(async |_, browser, client| {
        let url = |path: &str| format!("http://{REBOUND}:{}{path}", client.port());
        browser.goto(&url("/getPatients")).await.unwrap();
        let shown = text(browser).await;
        assert!(shown.contains("/problems/host-not-allowed"), "{shown}");
        // This is the only page that the API shows to this origin. Its Content-Security-Policy prevents
        // scripts from sending requests.
        browser.goto(&url("/health/live")).await.unwrap();
        for (path, route) in UNSAFE {
            assert_eq!(send(browser, "POST", &url(path)).await, 0, "{path}");
            assert_eq!(answered(client, route, 202).await, 0, "{path}");
        }
        for path in ["/patients", "/events", "/docs"] {
            browser.goto(&url(path)).await.unwrap();
            let shown = text(browser).await;
            assert!(shown.contains("/problems/host-not-allowed"), "{path}: {shown}");
        }
    })
    .await;
}
