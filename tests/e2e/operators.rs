//! Operations over HTTP, and an event that cannot be projected.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::{Connection, MySqlConnection};
use testkit::wait_until;

use crate::client::Client;
use crate::metrics::Page;
use crate::rebuild::{json as ask, run};
use crate::rig::{Production, SOON, os_user};

impl Client {
    async fn json(&self, path: &str) -> Value {
        self.get(path).await.unwrap().json().await.unwrap()
    }

    /// Requests a rebuild. Returns its URL.
    async fn rebuild(&self) -> String {
        let answer = self.post("/projections/patient_view/rebuild").await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        answer.headers()["location"].to_str().unwrap().to_owned()
    }
}

/// Any process of the role starts the rebuild. If that process is killed, another one resumes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_is_asked_for_over_http_outlives_the_projector_that_began_it() {
    const EVENTS: u32 = 40_000;
    Production::on_each(async |production| {
        production.fill(EVENTS).await;
        let (_api, client) = production.api().await;
        let projectors = [production.start("projector"), production.start("projector")];
        let location = client.rebuild().await;
        let mut owner = String::new();
        wait_until(SOON, "one of them has begun", async || {
            let rebuild = client.json(&location).await;
            owner = rebuild["owner"].as_str().unwrap_or_default().to_owned();
            rebuild["position"].as_u64().is_some_and(|position| position > 0) && !owner.is_empty()
        })
        .await;
        let pid = |index: usize| format!(":{}:", projectors[index].pid());
        let index = usize::from(owner.contains(&pid(1)));
        assert!(owner.contains(&pid(index)), "{owner}");
        projectors[index].kill9().await;
        assert_eq!(production.generation().await, 1);
        wait_until(SOON, "the other one has finished it", async || {
            client.json(&location).await["state"] == "done"
        })
        .await;
        assert_eq!(production.generation().await, 2);
        assert_eq!(
            ask(&mut production.projection(&["verify", "patient_view"]))["same"],
            true
        );

        let location = client.rebuild().await;
        let cancelled = client.delete_at(&location).await.unwrap();
        assert_eq!(cancelled.status(), StatusCode::ACCEPTED);
        wait_until(SOON, "it is cancelled", async || {
            client.json(&location).await["state"] == "cancelled"
        })
        .await;
        assert_eq!(production.count("patient_view WHERE generation <> 2").await, 0);
        assert_eq!(production.generation().await, 2);
    })
    .await;
}

/// Appends an event of an unknown type, as a newer program could.
pub(crate) async fn append_unreadable(production: &Production) -> u64 {
    let mut connection = MySqlConnection::connect(&production.database.url).await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    let position: i64 = sqlx::query_scalar("SELECT position + 1 FROM log_head FOR UPDATE")
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    for sql in [
        "INSERT INTO events SELECT position + 1, 'patient', UUID(), 1, 'PatientMoved', '1.0', '{\"type\": \"PatientMoved\"}', \
         '{}', recorded_at, hash FROM log_head",
        "UPDATE log_head SET position = position + 1",
    ] {
        sqlx::query(sql).execute(&mut *transaction).await.unwrap();
    }
    transaction.commit().await.unwrap();
    position.unsigned_abs()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_cannot_be_projected_is_told_everywhere_until_it_is_skipped() {
    Production::on_each(async |production| {
        let (_api, client) = production.api().await;
        let projector = production.start("projector");
        client.register("before@example.com").await.unwrap();
        let unreadable = append_unreadable(&production).await;
        let after = client.register("after@example.com").await.unwrap();
        assert_eq!(after.status(), StatusCode::CREATED);
        let view = async || {
            let status = client.json("/projections").await;
            let all = status["subscriptions"].as_array().unwrap();
            all.iter()
                .find(|one| one["name"] == "patient_view")
                .unwrap()
                .clone()
        };
        wait_until(
            SOON,
            "the status names the position of both projections",
            async || {
                let status = client.json("/projections").await;
                let all = status["subscriptions"].as_array().unwrap().iter();
                all.filter(|one| one["failure"]["position"] == unreadable).count() == 2
            },
        )
        .await;
        let stopped = view().await;
        assert_eq!(
            (&stopped["position"], &stopped["lag_events"]),
            (&json!(unreadable - 1), &json!(2))
        );
        let error = stopped["failure"]["error"].as_str().unwrap();
        assert!(error.contains("unknown event type PatientMoved"), "{error}");
        assert_eq!(client.json("/health/ready").await["read_table"], "stopped");
        let health = || {
            production
                .command("health")
                .args(["--role", "projector"])
                .output()
                .unwrap()
        };
        assert!(!health().status.success());
        let (_, said) = run(&mut production.projection(&["status"]));
        assert!(
            said.contains(&format!("stopped at position {unreadable} since")),
            "{said}"
        );
        assert_eq!(client.list().await.len(), 1);
        let stopped = "patients_subscription_stopped{subscription=\"patient_view\"}";
        assert_eq!(Page::of(&client).await.value(stopped), Some(1.0));

        // A rebuild stops at the same event, and the current table remains in use.
        let (succeeded, said) = run(&mut production.projection(&["rebuild", "--json"]));
        assert!(
            !succeeded && said.contains(&format!("position {unreadable} cannot be projected")),
            "{said}"
        );
        assert_eq!(production.generation().await, 1);

        let skip = |position: u64| {
            let mut command =
                production.projection(&["skip", &position.to_string(), "--reason", "a test wrote it"]);
            command.env("USER", "eve");
            command
        };
        let (succeeded, said) = run(&mut skip(unreadable + 1));
        assert!(
            !succeeded && said.contains(&format!("it stopped at position {unreadable}")),
            "{said}"
        );
        let (succeeded, said) = run(&mut skip(unreadable));
        assert!(succeeded, "{said}");
        wait_until(Duration::from_mins(1), "it resumes", async || {
            client.list().await.len() == 2
        })
        .await;
        wait_until(SOON, "it is healthy", async || health().status.success()).await;
        assert_eq!(Page::of(&client).await.value(stopped), Some(0.0));
        let moving = view().await;
        assert_eq!(
            (&moving["failure"], &moving["lag_events"]),
            (&Value::Null, &json!(0))
        );
        let skipped = &moving["projection"]["skips"][0];
        assert_eq!(
            (&skipped["position"], &skipped["reason"], &skipped["skipped_by"]),
            (&json!(unreadable), &json!("a test wrote it"), &json!(os_user()))
        );
        for projection in ["patient_view", "patient_names"] {
            let rebuilt = ask(&mut production.projection(&["rebuild", projection]));
            assert_eq!(rebuilt["generation"], 2);
            assert_eq!(
                ask(&mut production.projection(&["verify", projection]))["same"],
                true
            );
        }
        drop(projector);
    })
    .await;
}
