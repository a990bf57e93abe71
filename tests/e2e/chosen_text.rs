//! Text that a client chose does not reach, unencrypted, the places from which it could not be erased.

use std::process::Command;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use sqlx::{Connection, MySqlConnection};
use testkit::{Program, free_port, http_client, wait_until};

use crate::client::{Client, patient};
use crate::forensics::{Monitor, assert_absent};
use crate::rig::{Production, SOON};
use crate::traces::collector::Collector;

const EMAIL: &str = "maria.clara@example.com";
const ENCODED: &str = "maria.clara%40example.com";
/// The part that every form of the address contains.
const LOCAL: &str = "maria.clara";

/// Headers that every request may have, whatever their values.
const HEADERS: [(&str, &str); 19] = [
    ("x-request-id", EMAIL),
    ("x-correlation-id", EMAIL),
    ("traceparent", EMAIL),
    ("tracestate", "clinic=maria.clara@example.com"),
    ("baggage", "patient=maria.clara%40example.com"),
    ("b3", EMAIL),
    ("user-agent", EMAIL),
    ("referer", "https://clinic.example/maria.clara@example.com"),
    ("from", EMAIL),
    ("cookie", "patient=maria.clara@example.com"),
    ("authorization", "Bearer maria.clara@example.com"),
    ("x-forwarded-for", EMAIL),
    ("x-forwarded-host", EMAIL),
    ("forwarded", "for=\"maria.clara@example.com\""),
    ("accept", "application/json, maria.clara/example"),
    ("accept-language", "maria-clara"),
    ("if-none-match", "\"maria.clara@example.com\""),
    ("x-maria.clara%40example.com", "1"),
    ("cache-control", "maria.clara=\"maria.clara@example.com\""),
];

/// Headers that can cause a rejection.
const REJECTED: [(&str, &str); 9] = [
    ("if-match", EMAIL),
    ("idempotency-key", "\u{f1}maria.clara@example.com"),
    ("min-position", EMAIL),
    ("last-event-id", EMAIL),
    ("content-type", EMAIL),
    ("content-encoding", EMAIL),
    ("origin", "https://maria.clara.example.com"),
    ("host", EMAIL),
    ("sec-fetch-site", EMAIL),
];

/// Paths and queries that contain the address. Reads of patients come first.
const PATHS: [&str; 26] = [
    "/patients?email=maria.clara@example.com",
    "/patients?email=maria.clara%40example.com&name=maria.clara",
    "/patients?name=maria.clara@example.com",
    "/patients?limit=maria.clara@example.com&after=maria.clara@example.com",
    "/getPatients?skip=maria.clara@example.com",
    "/patients?maria.clara@example.com=1",
    "/patients/maria.clara@example.com",
    "/patients/maria.clara@example.com?at=maria.clara@example.com",
    "/patients/maria.clara@example.com/history?limit=maria.clara@example.com",
    "/patients/maria.clara@example.com/history/maria.clara@example.com",
    "/patients/maria.clara@example.com/",
    "/maria.clara@example.com",
    "/events?type=maria.clara@example.com",
    "/events?aggregate_id=maria.clara@example.com&after=maria.clara@example.com",
    "/events/stream?type=maria.clara@example.com",
    "/audit/reads?actor=maria.clara@example.com",
    "/audit/reads?patient_id=maria.clara@example.com&after=maria.clara@example.com",
    "/mail/deliveries?state=maria.clara@example.com",
    "/mail/deliveries/maria.clara@example.com",
    "/mail/preview?mail=maria.clara@example.com&language=maria.clara@example.com",
    "/projections/maria.clara@example.com",
    "/projections/maria.clara@example.com/rebuilds/maria.clara@example.com",
    "/problems/maria.clara@example.com",
    "/docs/maria.clara@example.com",
    "/health/ready?maria.clara@example.com",
    "/metrics?maria.clara@example.com",
];

/// The program with its log at level trace, and the collectors of everything that it emits.
struct Watched {
    program: Program,
    client: Client,
    collector: Collector,
    redis: Monitor,
}

impl Watched {
    async fn start(production: &Production) -> Self {
        let redis = Monitor::start(production.redis.url()).await;
        let collector = Collector::start().await;
        let port = free_port();
        let mut serve: Command = production.command("serve");
        serve
            .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
            .env("LOG", "trace")
            .env("LOG_FORMAT", "json")
            .env("ACCESS_LOG", "on")
            .env("TRUSTED_PROXIES", "127.0.0.1");
        let program = Program::start(collector.watch(&mut serve));
        let client = Client::new(port);
        wait_until(SOON, "the API is ready", async || client.ready().await).await;
        Self {
            program,
            client,
            collector,
            redis,
        }
    }

    /// Sends a request with these headers besides [`HEADERS`], which they replace.
    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Response {
        let mut all = HeaderMap::new();
        for (name, value) in HEADERS.iter().chain(headers) {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            all.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = http_client()
            .build()
            .unwrap()
            .request(method, self.client.url(path));
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        request.headers(all).send().await.unwrap()
    }

    /// Sends a request that must be answered with `status`. Returns the body.
    async fn answered(
        &self,
        (method, path, status): (&str, &str, u16),
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> String {
        let answer = self.send(method, path, headers, body).await;
        let (found, id) = (answer.status(), answer.headers()["x-request-id"].clone());
        let said = answer.text().await.unwrap();
        assert_eq!(found, status, "{method} {path}: {said}");
        assert_eq!(id.len(), 36, "{id:?}");
        said
    }

    /// Sends the address in every header, parameter, path and member of a body: registers, amends, reads,
    /// searches and deletes.
    async fn ask_everything(&self) {
        let json_type = (
            "content-type",
            "application/json; note=\"maria.clara@example.com\"",
        );
        let key = ("idempotency-key", EMAIL);

        let said = self
            .answered(
                ("POST", "/register", 201),
                &[json_type, key],
                Some(&patient(EMAIL)),
            )
            .await;
        let registered: Value = serde_json::from_str(&said).unwrap();
        let path = format!("/patients/{}", registered["id"].as_str().unwrap());
        let changes = json!({"name": LOCAL});
        let version = ("if-match", "\"1\"");
        self.answered(("PATCH", &path, 200), &[json_type, key, version], Some(&changes))
            .await;
        for read in [
            path.clone(),
            format!("{path}/history"),
            format!("{path}/history/1"),
            "/events?limit=10".to_owned(),
            "/audit/reads".to_owned(),
            "/mail/deliveries".to_owned(),
        ] {
            self.answered(("GET", &read, 200), &[], None).await;
        }
        let past = format!("{path}?at=2000-01-01T00:00:00Z");
        self.answered(("GET", &past, 404), &[], None).await;
        for path in PATHS {
            let answer = self.send("GET", path, &[], None).await;
            assert!(!answer.status().is_server_error(), "{path}: {answer:?}");
        }
        for (header, value) in REJECTED {
            for (method, path) in [
                ("GET", path.as_str()),
                ("GET", "/patients"),
                ("GET", "/events/stream?limit=1"),
                ("POST", "/register"),
                ("PATCH", &path),
            ] {
                let headers = [json_type, (header, value)];
                let answer = self
                    .send(method, path, &headers, Some(&json!({EMAIL: EMAIL})))
                    .await;
                assert!(!answer.status().is_server_error(), "{header}: {answer:?}");
            }
        }
        for method in [ENCODED, LOCAL] {
            self.answered((method, &path, 405), &[], None).await;
            self.send(method, "/maria.clara@example.com", &[], None).await;
        }
        let to = json!({"to": EMAIL});
        self.answered(("POST", "/mail/test", 200), &[json_type], Some(&to))
            .await;
        self.answered(("DELETE", &path, 204), &[key], None).await;
    }
}

/// Returns what this query returns as text, one row per line.
async fn rows(production: &Production, columns: &str, table: &str) -> String {
    let mut connection = MySqlConnection::connect(&production.database.url).await.unwrap();
    let sql = format!("SELECT CONVERT(CONCAT_WS(' ', {columns}) USING utf8mb4) FROM {table}");
    let rows: Vec<String> = sqlx::query_scalar(&sql).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows.join("\n")
}

fn check(place: &str, text: &str) {
    assert_absent(&[LOCAL, "maria-clara", "clara%40"], place, text.as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_that_a_client_chose_stays_out_of_metadata_logs_traces_metrics_and_redis() {
    Production::on_each(async |production| {
        let watched = Watched::start(&production).await;
        watched.ask_everything().await;
        watched.redis.wait_for("PatientDeleted").await;

        let metrics = watched
            .client
            .get("/metrics")
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        watched.program.terminate();
        assert_eq!(watched.program.wait(SOON).await, 0);
        let log = watched.program.log();
        let spans = watched.collector.made();
        let metadata = rows(&production, "metadata", "events").await;
        let reads = rows(
            &production,
            "actor, via, request_id, kind, outcome, patient_id, event_type, after_position, to_position",
            "audit_reads",
        )
        .await;

        // Everything was recorded.
        assert!(
            log.contains("a request was answered") && log.contains("\"access\""),
            "{log}"
        );
        assert!(log.contains("_OTHER"), "{log}");
        assert!(
            spans.iter().any(|made| made.span.name == "POST /register"),
            "{spans:?}"
        );
        assert!(spans.iter().any(|made| made.span.name == "append"), "{spans:?}");
        assert!(metrics.contains("route=\"/patients/{id}\""), "{metrics}");
        assert_eq!(metadata.lines().count(), 3, "{metadata}");
        assert_eq!(metadata.matches("traceparent").count(), 3, "{metadata}");
        assert!(reads.lines().count() >= 4, "{reads}");

        check("the metadata of events", &metadata);
        check("the record of reads", &reads);
        check("the log", &log);
        check("the spans", &format!("{spans:?}"));
        check("the metrics", &metrics);
        check("Redis", &String::from_utf8_lossy(&watched.redis.recorded()));
        for (columns, table) in [
            ("template, aggregate_id, state, last_error", "mail_deliveries"),
            ("template, outcome, error", "mail_attempts"),
            ("name", "checkpoints"),
            ("aggregate_type, aggregate_id, HEX(claim)", "claims"),
        ] {
            check(table, &rows(&production, columns, table).await);
        }
    })
    .await;
}
