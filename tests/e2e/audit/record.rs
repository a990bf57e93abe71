//! The record of reads: its modes, the verification of its chains, and pruning, with the real program.

use std::sync::{Arc, Mutex};

use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{Connection, MySqlConnection};
use testkit::{Program, free_port, wait_until};

use super::Log;
use crate::client::{Client, id_of};
use crate::rig::{Production, SOON, os_user};

const NOBODY: &str = "01900000-0000-7000-8000-000000000000";

#[tokio::test]
async fn an_auditor_finds_what_was_altered_in_the_record_of_reads() {
    Log::on_each(3, async |log| {
        for _ in 0..2 {
            log.audit(&["state", NOBODY]);
        }
        log.json(&["verify"]);
        // Each command is a process with its own chain.
        let heads = log.json(&["reads", "heads"]);
        let heads = heads.as_array().unwrap();
        assert_eq!(heads.len(), 2);
        let verified = log.json(&["verify"]);
        let reads = &verified["reads"];
        assert_eq!(
            (
                &reads["fits"],
                &reads["entries"],
                &reads["links"],
                &reads["chains"]
            ),
            (&json!(true), &json!(2), &json!(2), &json!(2))
        );
        assert_eq!(reads["heads"], json!(heads));
        let trusted: Vec<String> = heads
            .iter()
            .map(|head| {
                let text = |member: &str| head[member].as_str().unwrap();
                format!("{}:{}:{}", text("chain"), head["number"], text("hash"))
            })
            .collect();
        let kept = [
            "verify",
            "--trusted-reads",
            &trusted[0],
            "--trusted-reads",
            &trusted[1],
        ];
        log.json(&kept);
        let (_, shown, _) = log.audit(&["verify"]);
        let (_, listed, _) = log.audit(&["reads", "heads"]);
        for head in heads {
            for text in [head["chain"].as_str().unwrap(), head["hash"].as_str().unwrap()] {
                assert!(shown.contains(text) && listed.contains(text), "{shown}{listed}");
            }
        }

        let first = log.json(&["reads", "--limit", "1"])[0]["id"].clone();
        let first = first.as_str().unwrap();
        log.execute(&format!(
            "UPDATE audit_reads SET actor = 'somebody' WHERE id = '{first}'"
        ))
        .await;
        let (code, stdout, stderr) = log.audit(&["verify"]);
        assert_eq!(code, 1, "{stdout}{stderr}");
        let chain = heads[0]["chain"].as_str().unwrap();
        for said in [&stdout, &stderr] {
            assert!(
                said.contains(&format!(
                    "chain {chain}, link 1: an entry of the link was altered"
                )),
                "{said}"
            );
        }
        let (code, stdout, _) = log.audit(&["verify", "--json"]);
        let answer: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(
            (code, &answer["fits"], &answer["reads"]["fits"]),
            (1, &json!(true), &json!(false))
        );
        assert_eq!(answer["reads"]["faults"][0]["problem"], "entry_altered");
        let (code, stdout, stderr) = log.audit(&["verify", "--log-only"]);
        assert!(code == 0 && !stdout.contains("reads"), "{stdout}{stderr}");

        log.execute("DELETE FROM audit_reads WHERE actor = 'somebody'")
            .await;
        log.execute(&format!("DELETE FROM audit_read_links WHERE chain = '{chain}'"))
            .await;
        log.json(&["verify"]);
        let (code, stdout, stderr) = log.audit(&kept);
        assert!(
            code == 1 && stdout.contains("the trusted link is missing"),
            "{stdout}{stderr}"
        );
    })
    .await;
}

#[tokio::test]
async fn an_operator_prunes_old_entries_and_the_record_still_verifies() {
    Log::on_each(1, async |log| {
        for _ in 0..2 {
            log.audit(&["state", NOBODY]);
        }
        let listed = log.json(&["reads"]);
        let kept = listed[1]["recorded_at"].as_str().unwrap().to_owned();
        let prune = ["reads", "prune", "--before", &kept];
        let (code, stdout, stderr) = log.audit(&prune);
        assert_eq!(code, 0, "{stderr}");
        assert!(
            stdout.contains("to delete: 1 entries in 1 links of 1 chains") && stdout.contains("--yes"),
            "{stdout}"
        );
        assert_eq!(log.json(&["reads"]), listed);
        let done = log.json(&[&prune[..], &["--yes"]].concat());
        assert_eq!(
            done,
            json!({"chains": 1, "links": 1, "entries": 1, "deleted": true})
        );
        let left = log.json(&["reads"]);
        assert_eq!(left[0], listed[1]);
        assert_eq!(
            (&left[1]["kind"], &left[1]["actor"]),
            (&json!("prune"), &json!(os_user()))
        );
        let verified = log.json(&["verify"]);
        assert_eq!(verified["reads"]["pruned"], 1);
        let (code, _, stderr) = log.audit(&["reads", "prune", "--before", "2999-01-01T00:00:00Z", "--yes"]);
        assert!(code == 1 && stderr.contains("in the future"), "{stderr}");
    })
    .await;
}

/// Readers that note the requests that were answered with the patient, until the API is gone.
async fn read_until_killed(client: Client, id: String, answered: Arc<Mutex<Vec<String>>>) {
    for path in [
        format!("/patients/{id}"),
        "/patients?email=a@example.com".to_owned(),
    ]
    .iter()
    .cycle()
    {
        let Ok(answer) = client.get(path).await else {
            return;
        };
        if answer.status() == StatusCode::OK {
            let request = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
            answered.lock().unwrap().push(request);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_no_entry_of_an_answered_read_in_strict() {
    Production::on_each(async |production| {
        let port = free_port();
        let mut command = production.command("api");
        command
            .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
            .env("READ_RECORD", "strict");
        let program = Program::start(&command);
        let client = Client::new(port);
        wait_until(SOON, "the API is ready", async || client.ready().await).await;
        let patient = client.register_for_sure("a@example.com").await;
        let answered = Arc::new(Mutex::new(Vec::new()));
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let id = id_of(&patient).to_owned();
                tokio::spawn(read_until_killed(client.clone(), id, Arc::clone(&answered)))
            })
            .collect();
        wait_until(SOON, "many reads are answered", async || {
            answered.lock().unwrap().len() > 200
        })
        .await;
        program.kill9().await;
        for reader in readers {
            reader.await.unwrap();
        }
        let mut connection = MySqlConnection::connect(&production.database.url).await.unwrap();
        let recorded: Vec<String> = sqlx::query_scalar("SELECT request_id FROM audit_reads")
            .fetch_all(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        for request in answered.lock().unwrap().iter() {
            assert!(recorded.contains(request), "{request} is not recorded");
        }
        let output = production.command("audit").args(["verify"]).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    })
    .await;
}
