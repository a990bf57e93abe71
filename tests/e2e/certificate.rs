//! Certificates of erasure, from the API and from the command line, checked by both verifiers.

use std::path::Path;
use std::process::Command;

use eventstore::chain::Canonical;
use eventstore::merkle::leaf;
use eventstore::{Hash, RecordedEvent};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Program, free_port, leaves, mysql_servers, wait_until};

use crate::client::{Client, id_of};
use crate::rebuild::json;
use crate::rig::{Production, SOON, patients};

/// All roles over one database, and a folder for certificates.
struct Site {
    production: Option<Production>,
    folder: TempDir,
    _program: Program,
    client: Client,
}

impl Site {
    async fn start(production: Option<Production>) -> Self {
        let (folder, port) = (TempDir::new().unwrap(), free_port());
        let mut serve = command_in(production.as_ref(), &folder, "serve");
        let program = Program::start(serve.env("HTTP_ADDR", format!("127.0.0.1:{port}")));
        let client = Client::new(port);
        wait_until(SOON, "it is ready", async || client.ready().await).await;
        Self {
            production,
            folder,
            _program: program,
            client,
        }
    }

    /// Runs `test` on SQLite and on each available MySQL and MariaDB server.
    async fn on_each(test: impl AsyncFn(Self)) {
        test(Self::start(None).await).await;
        for server in mysql_servers() {
            println!("on {}", server.flavour.name());
            test(Self::start(Some(Production::on(server).await)).await).await;
        }
    }

    fn command(&self, role: &str, arguments: &[&str]) -> Command {
        let mut command = command_in(self.production.as_ref(), &self.folder, role);
        command.args(arguments);
        command
    }

    async fn erase(&self, email: &str) -> String {
        let id = id_of(&self.client.register_for_sure(email).await).to_owned();
        let path = format!("/patients/{id}/erasure");
        let body = json!({ "reason": "request" });
        assert!(self.client.post_json(&path, &body).await.status().is_success());
        id
    }

    /// Returns the certificate from the API, once the erasure is complete.
    async fn certificate(&self, id: &str) -> Value {
        let path = format!("/patients/{id}/erasure/certificate");
        wait_until(SOON, "everything is destroyed", async || {
            self.client.get(&path).await.unwrap().status() == StatusCode::OK
        })
        .await;
        self.client.get(&path).await.unwrap().json().await.unwrap()
    }

    fn root(&self) -> String {
        let head = json(&mut self.command("audit", &["head", "--root"]));
        format!("{}:{}", head["position"], head["root"].as_str().unwrap())
    }

    /// Checks a certificate with both verifiers, which must agree. Returns the exit code and both outputs.
    fn check(&self, certificate: &str, trusted: &[&str]) -> (i32, String) {
        let file = self.folder.path().join("a.json");
        std::fs::write(&file, certificate).unwrap();
        let trusted: Vec<_> = trusted.iter().flat_map(|head| ["--trusted", *head]).collect();
        let mut program = self.command("audit", &["check", "a.json"]);
        // The check needs no database.
        program.env("DATABASE_URL", "mysql://nobody@127.0.0.1:1/nothing");
        let (code, said) = outcome(program.args(&trusted));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify.py");
        let mut other = Command::new("python3");
        let (other_code, other_said) = outcome(other.arg(script).arg("proof").arg(file).args(&trusted));
        let said = format!("{said}\n{other_said}");
        assert!(
            !said.contains("Traceback") && !said.contains("panicked"),
            "{said}"
        );
        // The script makes no difference between a file of another format and an invalid certificate.
        assert_eq!(if code == 2 { 1 } else { code }, other_code, "{said}");
        (code, said)
    }
}

fn command_in(production: Option<&Production>, folder: &TempDir, role: &str) -> Command {
    let mut command = production.map_or_else(|| patients(role), |production| production.command(role));
    command.current_dir(folder.path());
    command
}

/// Returns the exit code of a command, and its output.
fn outcome(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn a_certificate_proves_an_erasure_offline_and_stays_valid_when_the_log_grows() {
    Site::on_each(async |site| {
        site.client.register_for_sure("other@example.com").await;
        let id = site.erase("a@example.com").await;
        let served = site.certificate(&id).await;
        let root = site.root();
        assert_eq!(
            root,
            format!("4:{}", served["proof"]["tree"]["root"].as_str().unwrap())
        );
        let attestation = &served["attestation"];
        let mut stores = vec!["key", "patient_view", "patient_names", "mail"];
        stores.extend(site.production.is_none().then_some("file"));
        assert_eq!(attestation["checked_stores"], json!(stores));
        assert_eq!(attestation["patient_id"], json!(id));
        assert!(!served.to_string().contains("example.com"), "{served}");

        let (code, said) = outcome(&mut site.command("erase", &["--certificate", &id]));
        let name = format!("erasure-{id}.certificate.json");
        assert!(code == 0 && said.starts_with(&name), "{said}");
        let written = std::fs::read_to_string(site.folder.path().join(name)).unwrap();
        let to_stdout = ["--certificate", &id, "--output", "-"];
        let (_, printed) = outcome(&mut site.command("erase", &to_stdout));
        for text in [&written, &printed] {
            let mut made: Value = serde_json::from_str(text).unwrap();
            made["attestation"]["attested_at"] = served["attestation"]["attested_at"].clone();
            assert_eq!(made, served, "the API and the command make the same certificate");
        }

        site.client.register_for_sure("later@example.com").await;
        let (wrong, beyond) = (root.replace("4:", "3:"), root.replace("4:", "5:"));
        let flipped = format!("4:{}", "0".repeat(64));
        for certificate in [&served.to_string(), &written] {
            let (code, said) = site.check(certificate, &[]);
            assert!(code == 3 && said.contains("no trusted head"), "{said}");
            let (code, said) = site.check(certificate, &[&root]);
            assert!(code == 0 && said.starts_with("proved:"), "{said}");
            assert_eq!(said.matches(&format!("of patient {id}")).count(), 1, "{said}");
            assert_eq!(
                said.matches("attested by the service, not proved").count(),
                2,
                "{said}"
            );
            for trusted in [&wrong, &beyond, &flipped] {
                let (code, said) = site.check(certificate, &[trusted]);
                assert_eq!(code, 1, "{trusted}: {said}");
            }
        }

        // The log has grown, so a new certificate is about the longer log.
        let again = site.certificate(&id).await;
        assert_eq!(again["proof"]["tree"]["size"], 5);
        let (code, said) = site.check(&again.to_string(), &[&site.root()]);
        assert_eq!(code, 0, "{said}");
        let checked = json(&mut site.command("audit", &["check", "a.json", "--trusted", &site.root()]));
        assert_eq!(
            (&checked["proved"], &checked["attestation"]),
            (&json!(true), &again["attestation"])
        );
        let reads = json(&mut site.command("audit", &["reads", "--patient", &id]));
        let reads = reads.as_array().unwrap();
        for via in ["http", "command"] {
            let is_read = |read: &&Value| read["kind"] == "proof" && read["via"] == via && read["to"] == 4;
            assert!(reads.iter().any(|read| is_read(&read)), "{via}: {reads:?}");
        }
    })
    .await;
}

/// Returns a certificate with a valid proof of an altered event, in a log of this event alone.
fn forged(certificate: &Value, pointer: &str, value: Value) -> Value {
    let mut forged = certificate.clone();
    let event = &mut forged["proof"]["inclusion"]["event"];
    event["position"] = 1.into();
    *event.pointer_mut(pointer).unwrap() = value;
    let mut event: RecordedEvent = serde_json::from_value(event.clone()).unwrap();
    let canonical = Canonical::of_recorded(&event).unwrap();
    event.hash = canonical.link(&Hash::default(), event.position, event.recorded_at);
    forged["proof"]["tree"] = json!({ "size": 1, "root": leaf(&event.hash) });
    forged["proof"]["inclusion"] = json!({ "event": event, "previous_hash": Hash::default(), "path": [] });
    forged
}

/// What the service only attests: nothing in the certificate contradicts another value.
const ATTESTED: [&str; 3] = ["key_destroyed_at", "checked_stores", "attested_at"];

#[tokio::test]
async fn an_altered_certificate_is_refused_unless_the_altered_value_is_only_attested() {
    let site = Site::start(None).await;
    let (id, other) = (
        site.erase("a@example.com").await,
        site.erase("b@example.com").await,
    );
    let (other, good) = (site.certificate(&other).await, site.certificate(&id).await);
    let root = site.root();
    assert_eq!(site.check(&good.to_string(), &[&root]).0, 0);
    let pointers = leaves(&good);
    assert!(pointers.len() > 25, "{pointers:?}");
    for pointer in pointers {
        let mut altered = good.clone();
        let value = altered.pointer_mut(&pointer).unwrap();
        *value = match &*value {
            Value::Number(number) => (number.as_u64().unwrap() + 1).into(),
            // A time stays a time.
            text => {
                let mut text = text.as_str().unwrap().to_owned();
                let at = text.len() - if text.ends_with('Z') { 2 } else { 1 };
                let digit = if &text[at..=at] == "1" { "2" } else { "1" };
                text.replace_range(at..=at, digit);
                text.into()
            }
        };
        let (code, said) = site.check(&altered.to_string(), &[&root]);
        let only_attested = ATTESTED
            .iter()
            .any(|name| pointer.starts_with(&format!("/attestation/{name}")));
        assert_eq!(code == 0, only_attested, "{pointer}: {said}");
    }

    // A valid proof of another event.
    let of_registration = ["prove", "1", "--output", "-"];
    let (_, registration) = outcome(&mut site.command("audit", &of_registration));
    let of_log = ["prove", "--from", "1", "--output", "-"];
    let (_, consistency) = outcome(&mut site.command("audit", &of_log));
    let parsed = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
    for (pointer, value, expected) in [
        ("/proof", parsed(&registration), 1),
        ("/proof", parsed(&consistency), 1),
        ("/proof", other["proof"].clone(), 1),
        ("/attestation", other["attestation"].clone(), 1),
        ("/proof", Value::Null, 2),
        ("/attestation/scope", json!("partial"), 1),
        ("/attestation/reason", json!({ "request": null }), 2),
        ("/attestation/patient_id", json!(id.to_uppercase()), 1),
        ("/attestation/erased_at", json!("2026-11-24T08:38:47Z"), 2),
        ("/attestation/key_destroyed_at", json!("2026-11-24T08:38:47Z"), 2),
        ("/attestation/attested_at", json!("2026-11-24"), 2),
        ("/attestation/checked_stores", json!("key"), 2),
        ("/format", json!("erasure-certificate-2"), 2),
        ("/format", json!({ "erasure-certificate-1": null }), 2),
    ] {
        let mut altered = good.clone();
        *altered.pointer_mut(pointer).unwrap() = value;
        let (code, said) = site.check(&altered.to_string(), &[&root]);
        assert_eq!(code, expected, "{pointer}: {said}");
    }
    for within in ["", "/attestation", "/proof", "/proof/inclusion/event"] {
        let mut altered = good.clone();
        altered.pointer_mut(within).unwrap()["note"] = "true".into();
        assert_eq!(site.check(&altered.to_string(), &[&root]).0, 2, "{within}");
        for name in good.pointer(within).unwrap().as_object().unwrap().keys() {
            let mut altered = good.clone();
            altered
                .pointer_mut(within)
                .unwrap()
                .as_object_mut()
                .unwrap()
                .remove(name);
            let (code, said) = site.check(&altered.to_string(), &[&root]);
            assert!(code == 1 || code == 2, "{within}/{name}: {said}");
        }
    }
    let payload = |scope: &str| json!({ "type": "PatientErased", "reason": "request", "scope": scope });
    let mut long = payload("full");
    long["note"] = "true".into();
    for (pointer, value, expected) in [
        ("/payload", payload("full"), 3),
        ("/payload", payload("partial"), 1),
        ("/payload", long, 1),
        ("/event_type", json!("PatientDeleted"), 1),
        ("/aggregate_type", json!("clinic"), 1),
        ("/aggregate_id", json!("01a20c52-84f4-752b-9b94-14a23061549a"), 1),
        ("/recorded_at", json!("2026-11-24T08:38:47.323577Z"), 1),
    ] {
        let mut forged = forged(&good, pointer, value);
        let scope = forged["proof"]["inclusion"]["event"]["payload"]["scope"].clone();
        forged["attestation"]["scope"] = scope;
        let (code, said) = site.check(&forged.to_string(), &[]);
        assert_eq!(code, expected, "{pointer}: {said}");
    }
    let text = good.to_string();
    let twice = text.replacen("\"scope\":\"full\"", "\"scope\":\"full\",\"scope\":\"full\"", 1);
    assert_ne!(twice, text);
    assert_eq!(site.check(&twice, &[&root]).0, 2);
}

#[tokio::test]
async fn an_erasure_without_a_certificate_fails_with_the_reason() {
    let production = Production::on(&mysql_servers()[0]).await;
    let (_api, client) = production.api().await;
    let registered = client.register_for_sure("a@example.com").await;
    let id = id_of(&registered);
    let certify = |id: &str| outcome(production.command("erase").args(["--certificate", id]));
    let (code, said) = certify(id);
    assert!(code == 1 && said.contains("the patient was not erased"), "{said}");
    let (code, said) = certify("01a20c52-84f4-752b-9b94-14a23061549a");
    assert!(code == 1 && said.contains("no patient has this id"), "{said}");
    let path = format!("/patients/{id}/erasure");
    client.post_json(&path, &json!({ "reason": "error" })).await;
    // No projector and no mailer is running.
    let pending = "pending: patient_view, patient_names, mail";
    let (code, said) = certify(id);
    assert!(code == 1 && said.contains(pending), "{said}");
    let answer = client.get(&format!("{path}/certificate")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["type"], "/problems/erasure-incomplete");
    assert!(problem["detail"].as_str().unwrap().contains(pending), "{problem}");
    for wrong in [
        &["--certificate"][..],
        &["--certificate", id, "--reason", "error"],
        &["--certificate", id, id],
        &["--certificate", id, "--replay"],
        &[id, "--reason", "error", "--output", "-"],
    ] {
        assert_eq!(outcome(production.command("erase").args(wrong)).0, 2, "{wrong:?}");
    }
}
