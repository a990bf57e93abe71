//! The metrics page, as Prometheus reads it.

use std::process::Command;

use testkit::{PrivateMysql, Program, free_port, installed_flavours, wait_until};

use crate::client::Client;
use crate::rig::{Production, SOON};

/// A metrics page.
pub(crate) struct Page(String);

impl Page {
    pub(crate) async fn of(client: &Client) -> Self {
        let answer = client.get("/metrics").await.unwrap();
        assert_eq!(
            answer.headers()["content-type"],
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
        Self(answer.text().await.unwrap())
    }

    /// Returns the value of a series, which must be unique.
    pub(crate) fn value(&self, series: &str) -> Option<f64> {
        let mut found = self
            .0
            .lines()
            .filter_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        let value = found.next();
        assert_eq!(found.next(), None, "{series} is there twice");
        value
    }
}

/// Starts a role with its own metrics address.
fn with_page(role: &mut Command) -> (Program, Client) {
    let port = free_port();
    let program = Program::start(role.env("METRICS_ADDR", format!("127.0.0.1:{port}")));
    (program, Client::new(port))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_shows_what_it_did_and_how_all_stand() {
    Production::on_each(async |production| {
        let (_api, client) = production.api().await;
        let (_projector, projector) = with_page(&mut production.command("projector"));
        let (_mailer, mailer) = with_page(&mut production.command("mailer"));
        for email in ["secreto@example.com", "otra@example.com"] {
            client.register_for_sure(email).await;
        }
        let taken = client.register("secreto@example.com").await.unwrap();
        assert_eq!(taken.status(), 409);
        assert_eq!(client.get("/patients/nobody-we-know").await.unwrap().status(), 404);
        wait_until(SOON, "the mails have arrived", async || {
            production.smtp.mails().len() == 2
        })
        .await;
        wait_until(SOON, "all events and mails are processed", async || {
            let page = Page::of(&client).await;
            let lag = |name| page.value(&format!("patients_subscription_lag_events{{subscription=\"{name}\"}}"));
            let waiting = |state| page.value(&format!("patients_mail_deliveries{{state=\"{state}\"}}"));
            lag("patient_view") == Some(0.0)
                && lag("mailer") == Some(0.0)
                && waiting("pending") == Some(0.0)
                && waiting("sending") == Some(0.0)
        })
        .await;

        let api = Page::of(&client).await;
        for (series, value) in [
            ("patients_build_info{version=\"0.2.0-dev\",role=\"api\"}", 1.0),
            ("patients_http_request_duration_seconds_count{method=\"POST\",route=\"/register\",status=\"201\"}", 2.0),
            ("patients_http_request_duration_seconds_count{method=\"POST\",route=\"/register\",status=\"409\"}", 1.0),
            ("patients_http_request_duration_seconds_count{method=\"GET\",route=\"/patients/{id}\",status=\"404\"}", 1.0),
            // The request for this page is the only request in progress.
            ("patients_http_requests_in_flight", 1.0),
            ("patients_append_total{outcome=\"appended\"}", 2.0),
            ("patients_append_total{outcome=\"claim_taken\"}", 1.0),
            ("patients_append_batch_size_sum", 3.0),
            ("patients_append_queue_waiting", 0.0),
            ("patients_append_queue_capacity", 1024.0),
            ("patients_log_position", 2.0),
            ("patients_subscription_position{subscription=\"patient_view\"}", 2.0),
            ("patients_subscription_owned{subscription=\"patient_view\"}", 1.0),
            ("patients_subscription_stopped{subscription=\"patient_view\"}", 0.0),
            ("patients_projection_active_generation{projection=\"patient_view\"}", 1.0),
            ("patients_mail_oldest_waiting_seconds", 0.0),
            ("patients_mail_workers{state=\"ready\"}", 1.0),
            ("patients_database_up", 1.0),
        ] {
            assert_eq!(api.value(series), Some(value), "{series} in {}", api.0);
        }
        assert!(api.0.ends_with("# EOF\n"));
        let projected = "patients_subscription_events_total{subscription=\"patient_view\"}";
        assert_eq!(Page::of(&projector).await.value(projected), Some(2.0));
        let page = Page::of(&mailer).await;
        assert_eq!(page.value("patients_mail_attempts_total{outcome=\"sent\"}"), Some(2.0));
        assert_eq!(page.value("patients_mail_attempt_duration_seconds_count"), Some(2.0));
        for page in [&api, &page] {
            assert!(!page.0.contains("example.com") && !page.0.contains("nobody-we-know"), "{}", page.0);
        }
    })
    .await;
}

/// Values that cannot be read are omitted. The page never shows old values instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_database_the_page_shows_the_rest() {
    for flavour in installed_flavours() {
        let mut server = PrivateMysql::start(flavour).await;
        let production = Production::on(server.server()).await;
        let (_api, client) = production.api().await;
        client.register_for_sure("a@example.com").await;
        let position = "patients_log_position";
        assert_eq!(Page::of(&client).await.value(position), Some(1.0));
        server.kill().await;
        let page = Page::of(&client).await;
        assert_eq!(page.value("patients_database_up"), Some(0.0));
        assert_eq!(page.value(position), None);
        assert_eq!(
            page.value("patients_append_total{outcome=\"appended\"}"),
            Some(1.0)
        );
        server.restart().await;
        wait_until(SOON, "the database is available again", async || {
            Page::of(&client).await.value("patients_database_up") == Some(1.0)
        })
        .await;
    }
}
