//! The pages about the API, in a browser.

use std::time::Duration;

use fantoccini::{Client as Browser, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Program, WebDriver, free_port, wait_until};

use crate::client::Client;
use crate::rig::{SOON, patients};

async fn open(driver: &WebDriver) -> Browser {
    let capabilities = json!({
        "goog:chromeOptions": {"binary": driver.browser(), "args": driver.options()},
        "goog:loggingPrefs": {"browser": "ALL"},
    });
    ClientBuilder::new(HttpConnector::new())
        .capabilities(capabilities.as_object().unwrap().clone())
        .connect(driver.url())
        .await
        .unwrap()
}

/// What the browser's console says: errors of scripts, and what the page's policy has stopped.
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
    // By script: whether it is scrolled into sight is not what is tested.
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

/// Runs `check`, and closes the browser however that ends.
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
        wait_until(SOON, "the answer is shown", async || {
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
            ["Register a patient", "The feed, live", "One kind of problem"]
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
