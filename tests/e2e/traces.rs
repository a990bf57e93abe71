//! The trace from a request to the email that it causes, as received by a collector.

pub(crate) mod collector;

use std::process::Command;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use reqwest::Response;
use serde_json::Value;
use tempfile::TempDir;
use testkit::{Certificates, Program, free_port, wait_until};

use crate::client::{Client, patient};
use crate::rig::{Production, SOON, patients};
use collector::{Collector, Made, http, send_to};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

/// Starts a role with an API, and waits until it is ready.
async fn api(role: &mut Command) -> (Program, Client) {
    let port = free_port();
    let program = Program::start(role.env("HTTP_ADDR", format!("127.0.0.1:{port}")));
    let client = Client::new(port);
    wait_until(SOON, "the API is ready", async || client.ready().await).await;
    (program, client)
}

async fn register(client: &Client, email: &str, traceparent: &str) -> Response {
    let answer = testkit::http_client()
        .build()
        .unwrap()
        .post(client.url("/register"))
        .header("traceparent", traceparent)
        .json(&patient(email))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
    answer
}

fn header<'a>(answer: &'a Response, name: &str) -> Option<&'a str> {
    Some(answer.headers().get(name)?.to_str().unwrap())
}

/// Returns the trace context in the metadata of the event at a position.
async fn kept(client: &Client, position: u64) -> Option<String> {
    let page = client
        .get(&format!("/events?after={}&limit=1", position - 1))
        .await
        .unwrap();
    let page: Value = page.json().await.unwrap();
    let event = page.as_array().map_or(&page["events"][0], |events| &events[0]);
    assert_eq!(event["position"], position, "{page}");
    Some(event["metadata"].get("traceparent")?.as_str().unwrap().to_owned())
}

fn named<'m>(made: &'m [Made], name: &str) -> &'m Made {
    made.iter()
        .find(|made| made.span.name == name)
        .ok_or_else(|| format!("no span {name} in {made:#?}"))
        .unwrap()
}

#[expect(clippy::too_many_lines, reason = "a single scenario")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_leads_from_the_request_through_append_and_projection_to_the_mail() {
    Production::on_each(async |production| {
        let collector = Collector::start().await;
        let mut role = production.command("api");
        role.env("LOG", "info,web=debug").env("LOG_FORMAT", "json");
        let (program, client) = api(collector.watch(&mut role)).await;
        let _projector = Program::start(collector.watch(&mut production.command("projector")));
        let _mailer = Program::start(collector.watch(&mut production.command("mailer")));

        let answer = register(&client, "secreto@example.com", &traceparent("01")).await;
        wait_until(SOON, "all spans have arrived", async || {
            collector.of(TRACE).len() == 7
        })
        .await;
        let made = collector.of(TRACE);
        let request = named(&made, "POST /register");
        let append = named(&made, "append");
        for (name, service, kind, parent) in [
            ("POST /register", "patients-api", 2, PARENT.to_owned()),
            ("append", "patients-api", 4, request.id()),
            ("append batch", "patients-api", 3, append.id()),
            ("process patient_view", "patients-projector", 5, append.id()),
            ("process patient_names", "patients-projector", 5, append.id()),
            ("process mailer", "patients-mailer", 5, append.id()),
            ("send mail", "patients-mailer", 3, append.id()),
        ] {
            let made = named(&made, name);
            assert_eq!(
                (made.service.as_str(), made.span.kind, made.parent()),
                (service, kind, parent),
                "{made:#?}"
            );
        }
        assert!(named(&made, "append batch").is_linked_with(append));
        for (name, key, value) in [
            ("POST /register", "http.request.method", "POST"),
            ("POST /register", "http.route", "/register"),
            ("POST /register", "http.response.status_code", "201"),
            (
                "POST /register",
                "request.id",
                header(&answer, "x-request-id").unwrap(),
            ),
            ("append batch", "append.batch_size", "1"),
            ("process mailer", "event.position", "1"),
            ("send mail", "mail.outcome", "sent"),
            ("send mail", "mail.attempt", "1"),
        ] {
            assert_eq!(
                named(&made, name).attribute(key).as_deref(),
                Some(value),
                "{name}: {key}"
            );
        }
        assert_eq!(append.attributes(), ["append.wait_ms"]);

        // The trace is returned to the client, stored with the event, and logged.
        let told = format!("00-{TRACE}-{}-01", request.id());
        assert_eq!(header(&answer, "traceparent"), Some(told.as_str()));
        assert_eq!(
            kept(&client, 1).await,
            Some(format!("00-{TRACE}-{}-01", append.id()))
        );
        let line = format!("\"trace_id\":\"{TRACE}\"");
        wait_until(SOON, "the log names the trace", async || {
            program
                .log()
                .lines()
                .any(|said| said.contains("a request was answered") && said.contains(&line))
        })
        .await;
        let verified = production.command("audit").arg("verify").output().unwrap();
        assert!(verified.status.success());

        // A request without a valid trace context starts a new trace. Health checks start no trace.
        let zero = traceparent("01").replace(PARENT, "0000000000000000");
        for (position, (email, given)) in (2..).zip([("b@example.com", "no"), ("c@example.com", &zero)]) {
            let answer = register(&client, email, given).await;
            let trace = header(&answer, "traceparent").unwrap()[3..35].to_owned();
            assert_ne!(trace, TRACE);
            assert!(kept(&client, position).await.unwrap().contains(&trace));
            wait_until(SOON, "all its spans have arrived", async || {
                collector.of(&trace).len() == 7
            })
            .await;
            assert_eq!(named(&collector.of(&trace), "POST /register").parent(), "");
        }
        let refused = client.register("B@example.com").await.unwrap();
        assert_eq!(refused.status(), 409);
        client
            .get("/patients/secreto-path?q=secreto-query")
            .await
            .unwrap();
        wait_until(SOON, "the last span has arrived", async || {
            collector
                .made()
                .iter()
                .any(|made| made.span.name == "GET /patients/{id}")
        })
        .await;
        let all = collector.made();
        assert!(
            !all.iter().any(|made| made.span.name.contains("health")),
            "{all:#?}"
        );
        let said = format!("{all:?}").to_lowercase();
        for personal in ["secreto", "example.com", "ñandú", "(555)", "maria.jpg"] {
            assert!(!said.contains(personal), "{personal} is in a span:\n{said}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_linked_with_every_request_that_it_serves() {
    const REQUESTS: u16 = 40;
    let production = Production::on(&testkit::mysql_servers()[0]).await;
    let collector = Collector::start().await;
    let (_api, client) = api(collector.watch(&mut production.command("api"))).await;
    // All requests wait for the row that orders the log.
    let barrier = production.barrier("SELECT * FROM log_head FOR UPDATE").await;
    let registering: Vec<_> = (0..REQUESTS)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move { client.register(&format!("p{number}@example.com")).await.unwrap() })
        })
        .collect();
    wait_until(SOON, "all requests are in progress", async || {
        let page = crate::metrics::Page::of(&client).await;
        // The request for the metrics page is also in progress.
        page.value("patients_http_requests_in_flight") == Some(f64::from(REQUESTS) + 1.0)
    })
    .await;
    barrier.lift().await;
    for registered in registering {
        assert_eq!(registered.await.unwrap().status(), 201);
    }
    let of = |name: &str| -> Vec<Made> {
        let made = collector.made().into_iter();
        made.filter(|made| made.span.name == name).collect()
    };
    wait_until(SOON, "all spans have arrived", async || {
        of("append").len() == usize::from(REQUESTS)
            && of("append batch")
                .iter()
                .map(|batch| batch.span.links.len())
                .sum::<usize>()
                >= usize::from(REQUESTS)
    })
    .await;
    let (appends, batches) = (of("append"), of("append batch"));
    assert!(batches.len() < usize::from(REQUESTS), "{} batches", batches.len());
    for append in &appends {
        let serving: Vec<_> = batches
            .iter()
            .filter(|batch| batch.is_linked_with(append))
            .collect();
        let [batch] = serving.as_slice() else {
            panic!("{} batches are linked to {append:#?}", serving.len());
        };
        assert!(
            batch.parent() == append.id() || append.is_linked_with(batch),
            "{append:#?}"
        );
    }
    let sizes = batches
        .iter()
        .map(|batch| batch.attribute("append.batch_size").unwrap());
    assert_eq!(
        sizes.map(|size| size.parse::<usize>().unwrap()).sum::<usize>(),
        usize::from(REQUESTS)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_or_hangs_neither_fails_nor_keeps_anything() {
    let hanging = Collector::that_hangs().await;
    for away in [true, false] {
        let production = Production::on(&testkit::mysql_servers()[0]).await;
        let mut serve = production.command("serve");
        if away {
            send_to(&http(free_port()), &mut serve);
        } else {
            hanging.watch(&mut serve);
        }
        // The queue is too small for all spans.
        serve
            .env("OTEL_BSP_MAX_QUEUE_SIZE", "8")
            .env("SHUTDOWN_TIMEOUT", "8s");
        let (program, client) = api(&mut serve).await;
        let began = Instant::now();
        for number in 0..50 {
            let answer = client.register(&format!("p{number}@example.com")).await.unwrap();
            assert_eq!(answer.status(), 201);
        }
        // A delivery that hangs would take ten seconds.
        assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
        wait_until(SOON, "the mails have arrived", async || {
            production.smtp.mails().len() == 50
        })
        .await;
        let page = crate::metrics::Page::of(&client).await;
        assert!(page.value("patients_trace_spans_total{stage=\"ended\"}") >= Some(150.0));
        if away {
            wait_until(SOON, "the message is logged", async || {
                program.log().contains("traces could not be delivered")
            })
            .await;
        }
        program.terminate();
        assert_eq!(program.wait(Duration::from_secs(9)).await, 0, "{}", program.log());
        let said = program.log().matches("traces could not be delivered to").count();
        assert!(said <= 1, "{}", program.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_is_spoken_to_over_tls_if_its_certificate_is_trusted() {
    let (made, other) = (Certificates::lasting(30), Certificates::lasting(30));
    let collector = Collector::with(&made).await;
    for (trusted, authority) in [(false, &other), (true, &made)] {
        let folder = TempDir::new().unwrap();
        let mut serve = patients("serve");
        serve
            .current_dir(folder.path())
            .env("SSL_CERT_FILE", authority.authority());
        let (program, client) = api(collector.watch(&mut serve)).await;
        register(&client, "a@example.com", &traceparent("01")).await;
        if trusted {
            wait_until(SOON, "all spans have arrived", async || {
                collector.of(TRACE).len() == 7
            })
            .await;
            assert!(
                !program.log().contains("could not be delivered"),
                "{}",
                program.log()
            );
        } else {
            wait_until(SOON, "the message is logged", async || {
                program
                    .log()
                    .contains("traces could not be delivered to OTEL_EXPORTER_OTLP_ENDPOINT")
            })
            .await;
            assert!(collector.made().is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_collector_the_clients_own_context_is_kept_and_continued_later() {
    let production = Production::on(&testkit::mysql_servers()[0]).await;
    let (_api, client) = production.api().await;
    let answer = register(&client, "a@example.com", &traceparent("01")).await;
    assert_eq!(header(&answer, "traceparent"), Some(traceparent("01").as_str()));
    assert_eq!(kept(&client, 1).await, Some(traceparent("01")));
    let answer = register(&client, "b@example.com", &traceparent("0")).await;
    assert_eq!(header(&answer, "traceparent"), None);
    assert_eq!(kept(&client, 2).await, None);

    let collector = Collector::start().await;
    let mailer = Program::start(collector.watch(&mut production.command("mailer")));
    wait_until(SOON, "its spans have arrived", async || {
        collector.made().len() == 2
    })
    .await;
    for name in ["process mailer", "send mail"] {
        let made = collector.of(TRACE);
        assert_eq!(named(&made, name).parent(), PARENT);
    }
    // The remaining spans are delivered during shutdown.
    mailer.terminate();
    assert_eq!(mailer.wait(SOON).await, 0);
    assert_eq!(collector.made().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_that_its_client_does_not_record_is_not_exported() {
    let production = Production::on(&testkit::mysql_servers()[0]).await;
    let collector = Collector::start().await;
    let (program, client) = api(collector.watch(&mut production.command("serve"))).await;
    let answer = register(&client, "a@example.com", &traceparent("00")).await;
    assert_eq!(header(&answer, "traceparent"), Some(traceparent("00").as_str()));
    assert_eq!(kept(&client, 1).await, Some(traceparent("00")));
    wait_until(SOON, "the mail has arrived", async || {
        production.smtp.mails().len() == 1
    })
    .await;
    program.terminate();
    assert_eq!(program.wait(SOON).await, 0);
    assert_eq!(collector.of(TRACE).len(), 0, "{:#?}", collector.made());
}

/// The span of a failed operation has an error status.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_is_marked() {
    let mut production = Production::on(&testkit::mysql_servers()[0]).await;
    let collector = Collector::start().await;
    production.smtp.kill().await;
    let (_serve, client) = api(collector.watch(&mut production.command("serve"))).await;
    register(&client, "a@example.com", &traceparent("01")).await;
    wait_until(SOON, "the attempt has ended", async || {
        collector
            .of(TRACE)
            .iter()
            .any(|made| made.span.name == "send mail")
    })
    .await;
    let made = collector.of(TRACE);
    let attempt = named(&made, "send mail");
    assert_eq!(attempt.attribute("mail.outcome").as_deref(), Some("server away"));
    let failed = |made: &Made| {
        made.span
            .status
            .as_ref()
            .is_some_and(|status| status.code() == StatusCode::Error)
    };
    assert!(
        failed(attempt) && !failed(named(&made, "POST /register")),
        "{made:#?}"
    );
}
