//! The claims table: tampering with it, detecting the difference, and repairing it from the log.

use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{Connection, MySqlConnection};

use crate::rig::Production;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn altered_claims_are_found_by_both_verifications_and_repaired_while_the_api_runs() {
    Production::on_each(async |production| {
        let (_api, client) = production.api().await;
        for name in ["a", "b", "c"] {
            let answer = client.register(&format!("{name}@example.com")).await.unwrap();
            assert_eq!(answer.status(), StatusCode::CREATED);
        }
        let run = |words: &[&str]| {
            let output = production.command(words[0]).args(&words[1..]).output().unwrap();
            let found: Value = serde_json::from_slice(&output.stdout).unwrap();
            (output.status.code(), found)
        };
        let (code, found) = run(&["claims", "verify", "--json"]);
        assert_eq!(
            (code, &found["fits"], &found["claims"]),
            (Some(0), &json!(true), &json!(3))
        );
        let mut connection = MySqlConnection::connect(&production.database.url).await.unwrap();
        sqlx::raw_sql("DELETE FROM claims LIMIT 1")
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        let (code, found) = run(&["claims", "verify", "--json"]);
        assert_eq!(
            (code, &found["misfits"]["first"][0]["problem"]),
            (Some(1), &json!("missing"))
        );
        let (code, found) = run(&["audit", "verify", "--json"]);
        assert_eq!(
            (code, &found["fits"], &found["claims"]["fits"]),
            (Some(1), &json!(true), &json!(false))
        );
        let (code, done) = run(&["claims", "rebuild", "--json"]);
        assert_eq!(
            (code, &done["inserted"], &done["fits"]),
            (Some(0), &json!(1), &json!(true))
        );
        assert_eq!(run(&["claims", "verify", "--json"]).0, Some(0));
        assert_eq!(run(&["audit", "verify", "--json"]).0, Some(0));
        let taken = client.register("a@example.com").await.unwrap();
        assert_eq!(taken.status(), StatusCode::CONFLICT);
    })
    .await;
}
