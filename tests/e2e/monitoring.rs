//! The dashboard and the alerts use only existing series.

mod promql;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Certificates, Program, free_port, wait_until};
use transparency::cosignature::CosigningKey;
use transparency::note::SigningKey;

use crate::client::Client;
use crate::published::{new_key, publishing};
use crate::rig::SOON;
use crate::settings::ended;
use promql::Expression;

const MONITORING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/monitoring");

/// The series of a page: each name with its labels.
type Series = BTreeMap<String, BTreeSet<String>>;

/// Returns the series of a page, and `up`, which Prometheus provides. Prometheus adds the job and the
/// instance to each.
fn series(page: &str) -> Series {
    let mut all = Series::from([("up".to_owned(), BTreeSet::new())]);
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let end = line.find(['{', ' ']).unwrap();
        let labels = all.entry(line[..end].to_owned()).or_default();
        labels.extend(Expression::parse(line).labels_of(&line[..end]));
    }
    for labels in all.values_mut() {
        labels.extend(["job", "instance"].map(str::to_owned));
    }
    all
}

/// Returns a page with all series that a process can show: all roles, with TLS, traces and a witness, after a
/// registration and its email.
async fn page_of_a_process() -> String {
    let made = Certificates::lasting(30);
    let (folder, port, metrics) = (TempDir::new().unwrap(), free_port(), free_port());
    new_key(folder.path());
    let publishing_reads = |words: &str| {
        let mut command = publishing(folder.path(), words);
        command
            .env("READS_LOG_ORIGIN", "log.example.org/reads")
            .env("READS_LOG_KEY_FILE", folder.path().join("reads.key"));
        command
    };
    assert_eq!(ended(&mut publishing_reads("audit key --reads new")).0, 0);
    let witness = SigningKey::from_seed("w.example.org", &[2; 32]).unwrap();
    let witness = CosigningKey::from(witness).verifier().to_string();
    let _program = Program::start(
        publishing_reads("serve")
            .env("WITNESSES", format!("{witness}=http://127.0.0.1:{}", free_port()))
            .current_dir(folder.path())
            .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
            .env("METRICS_ADDR", format!("127.0.0.1:{metrics}"))
            .env("TLS_CERT_FILE", made.certificate())
            .env("TLS_KEY_FILE", made.key())
            .env(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                format!("http://127.0.0.1:{}", free_port()),
            ),
    );
    let client = Client::over_tls(port, &made);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    client.register_for_sure("a@example.com").await;
    let metrics = Client::new(metrics);
    let page = async || metrics.get("/metrics").await.unwrap().text().await.unwrap();
    wait_until(SOON, "the mail is sent and counted", async || {
        let page = page().await;
        page.contains("patients_mail_attempts_total{outcome=\"sent\"} 1") && page.contains("stage=\"ended\"")
    })
    .await;
    page().await
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(MONITORING).join(path)).unwrap()
}

/// Returns the expressions of the dashboard, each with the labels in its legend.
fn of_the_dashboard() -> Vec<(String, Vec<String>)> {
    let dashboard: Value = serde_json::from_str(&read("grafana/dashboards/patients.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    targets
        .map(|target| {
            let legend = target["legendFormat"].as_str().unwrap();
            let named = legend.split("{{").skip(1);
            let named = named.map(|rest| rest.split("}}").next().unwrap().to_owned());
            let expression = target["expr"].as_str().unwrap();
            (expression.replace("$__rate_interval", "5m"), named.collect())
        })
        .collect()
}

/// Returns the text of each alerting rule.
fn of_the_alerts() -> Vec<String> {
    let text = read("alerts.yml");
    text.split("- alert: ").skip(1).map(str::to_owned).collect()
}

/// Returns the series and labels of an expression that do not exist.
fn unknown(expression: &Expression, all: &Series) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut known = BTreeSet::new();
    for (name, labels) in &expression.series {
        match all.get(name) {
            Some(there) => {
                unknown.extend(labels.difference(there).map(|label| format!("{name}{{{label}}}")));
                known.extend(there);
            }
            None => unknown.push(name.clone()),
        }
    }
    let grouped = expression.grouping.iter();
    unknown.extend(grouped.filter(|label| !known.contains(label)).cloned());
    unknown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dashboard_and_the_alerts_name_only_series_and_labels_that_there_are() {
    let all = series(&page_of_a_process().await);
    let mut named = BTreeSet::new();
    let mut look = |text: &str, expression: Expression| {
        assert!(!expression.series.is_empty(), "{text}");
        let unknown = unknown(&expression, &all);
        assert!(
            unknown.is_empty(),
            "unknown series or labels {unknown:?} in {text}\nin {all:#?}"
        );
        named.extend(expression.series.into_keys());
    };
    for (text, legend) in of_the_dashboard() {
        let mut expression = Expression::parse(&text);
        let groups = expression.grouping.clone();
        expression.grouping.extend(legend.iter().cloned());
        // A legend cannot show a label that the aggregation removes.
        let left_out = legend
            .iter()
            .filter(|label| !groups.is_empty() && !groups.contains(*label));
        assert_eq!(left_out.count(), 0, "{legend:?} in {text}");
        look(&text, expression);
    }
    for text in of_the_alerts() {
        look(&text, Expression::parse(&text));
    }
    for needed in [
        "patients_append_batch_size_bucket",
        "patients_append_queue_waiting",
        "patients_build_info",
        "patients_database_connections",
        "patients_http_request_duration_seconds_bucket",
        "patients_mail_deliveries",
        "patients_subscription_lag_events",
        "patients_subscription_lag_seconds",
        "patients_tls_certificate_expiry_timestamp_seconds",
    ] {
        assert!(named.contains(needed), "no panel or alert uses {needed}");
    }
}

#[test]
fn prometheus_understands_every_expression() {
    let folder = TempDir::new().unwrap();
    let of_the_dashboard = of_the_dashboard();
    let rules: Vec<_> = (0..)
        .zip(&of_the_dashboard)
        .map(|(number, (expression, _))| json!({"record": format!("dashboard:{number}"), "expr": expression}))
        .collect();
    // JSON is valid YAML.
    let file = folder.path().join("dashboard.yml");
    let groups = json!({"groups": [{"name": "dashboard", "rules": rules}]});
    std::fs::write(&file, groups.to_string()).unwrap();
    for (file, rules) in [
        (file.as_path(), of_the_dashboard.len()),
        (&Path::new(MONITORING).join("alerts.yml"), of_the_alerts().len()),
    ] {
        let output = Command::new("promtool")
            .args(["check", "rules"])
            .arg(file)
            .output()
            .expect("promtool is not installed: run `scripts/install promtool`");
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{said}");
        assert!(said.contains(&format!("{rules} rules found")), "{said}");
    }
}
