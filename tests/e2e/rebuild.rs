//! Rebuilding the read table with the real binary while the service runs.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::StatusCode;
use serde_json::Value;
use sqlx::{Connection, MySqlConnection};
use tempfile::TempDir;
use testkit::{Program, free_port, wait_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::{Client, id_of, patient};
use crate::rig::{Barrier, Production, SOON, patients};

/// Runs a command. Returns its standard output, and whether it succeeded.
pub(crate) fn run(command: &mut Command) -> (bool, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let said = String::from_utf8_lossy(&stdout).into_owned();
    (
        status.success(),
        if said.is_empty() {
            String::from_utf8_lossy(&stderr).into_owned()
        } else {
            said
        },
    )
}

pub(crate) fn json(command: &mut Command) -> Value {
    let (succeeded, said) = run(command.arg("--json"));
    assert!(succeeded, "{said}");
    serde_json::from_str(said.trim()).unwrap()
}

/// Returns SQL for the id of the patient registered by event `number` of [`Production::fill`].
fn filled_id(number: &str) -> String {
    format!("CONCAT('01900000-0000-7000-8000-', LPAD({number}, 12, '0'))")
}

impl Production {
    pub(crate) fn projection(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("projection");
        command.args(arguments);
        command
    }

    /// Fills the log and the read table with registrations directly in SQL, which is faster than registering.
    pub(crate) async fn fill(&self, events: u32) {
        let mut connection = MySqlConnection::connect(&self.database.url).await.unwrap();
        let digits = "(SELECT 0 d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL \
                      SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";
        let numbers = format!(
            "SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d + 1 AS n \
             FROM {digits} a, {digits} b, {digits} c, {digits} e, {digits} f"
        );
        let id = filled_id("n");
        for sql in [
            format!(
                "INSERT INTO events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
                 metadata, recorded_at, hash) SELECT n, 'patient', {id}, 1, 'PatientRegistered', '1.0', \
                 JSON_OBJECT('type', 'PatientRegistered', 'name', CONCAT('Patient ', n), 'email', \
                 CONCAT('filled', n, '@example.com'), 'phone', '123-4567', 'document_url', 'https://example.com/a.jpg'), \
                 '{{}}', n, REPEAT(X'00', 32) FROM ({numbers}) numbers WHERE n <= {events} ORDER BY n"
            ),
            format!(
                "INSERT INTO patient_view (generation, id, name, email, phone, document_url, sequence, registered_at) \
                 SELECT 1, {id}, CONCAT('Patient ', n), CONCAT('filled', n, '@example.com'), '123-4567', \
                 'https://example.com/a.jpg', 1, n FROM ({numbers}) numbers WHERE n <= {events}"
            ),
            format!("UPDATE log_head SET position = {events}, recorded_at = {events}"),
            format!(
                "INSERT INTO checkpoints (name, position, updated_at) VALUES ('patient_view', {events}, 0), ('patient_names', {events}, 0), \
                 ('mailer', {events}, 0)"
            ),
        ] {
            sqlx::query(&sql).execute(&mut connection).await.unwrap();
        }
        connection.close().await.unwrap();
    }

    /// Blocks the filling of generation 2 at the patient of event `number`.
    async fn no_further_than(&self, number: u32) -> Barrier {
        self.barrier(&format!(
            "INSERT INTO patient_view (generation, id, name, email, phone, document_url, sequence, registered_at) \
             VALUES (2, {}, '', '', '', '', 1, 1)",
            filled_id(&number.to_string())
        ))
        .await
    }

    pub(crate) async fn generation(&self) -> i64 {
        let mut connection = MySqlConnection::connect(&self.database.url).await.unwrap();
        let sql = "SELECT active_generation FROM projections WHERE name = 'patient_view'";
        sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
    }
}

/// Clients that write and read continuously, and compare every response with the expected response.
struct Hammer {
    stop: CancellationToken,
    tasks: TaskTracker,
    answers: Arc<AtomicU32>,
}

impl Hammer {
    fn start(client: &Client) -> Self {
        let hammer = Self {
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            answers: Arc::default(),
        };
        for name in ["one", "two", "three"] {
            let (client, stop, answers) = (client.clone(), hammer.stop.clone(), Arc::clone(&hammer.answers));
            hammer.tasks.spawn(async move {
                let mut number = 0;
                while !stop.is_cancelled() {
                    number += 1;
                    read_what_was_written(&client, &format!("{name}{number}@example.com")).await;
                    answers.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let (client, stop, answers) = (client.clone(), hammer.stop.clone(), Arc::clone(&hammer.answers));
        hammer.tasks.spawn(async move {
            let mut settled = BTreeSet::new();
            while !stop.is_cancelled() {
                list_never_goes_back(&client, &mut settled).await;
                answers.fetch_add(1, Ordering::SeqCst);
            }
        });
        hammer
    }

    /// Stops the clients. Returns the number of rounds with correct responses.
    async fn stop(self) -> u32 {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.answers.load(Ordering::SeqCst)
    }
}

/// Asserts that a registered patient can be read at once and until deletion, and that a deleted patient
/// cannot be read any more.
async fn read_what_was_written(client: &Client, email: &str) {
    let created: Value = client.register(email).await.unwrap().json().await.unwrap();
    let path = format!("/patients/{}", id_of(&created));
    for _ in 0..5 {
        let read = client.get(&path).await.unwrap();
        assert_eq!(read.status(), StatusCode::OK);
        let mut expected = patient(email);
        expected["id"] = created["id"].clone();
        assert_eq!(read.json::<Value>().await.unwrap(), expected);
    }
    let deleted = client.delete(id_of(&created)).await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    for _ in 0..5 {
        assert_eq!(client.get(&path).await.unwrap().status(), StatusCode::GONE);
    }
}

/// Asserts that patients who are not deleted stay in the list.
async fn list_never_goes_back(client: &Client, settled: &mut BTreeSet<String>) {
    let email = format!("settled{}@example.com", settled.len());
    let answer = client.register(&email).await.unwrap();
    let position = answer.headers()["event-position"].to_str().unwrap().to_owned();
    let created: Value = answer.json().await.unwrap();
    settled.insert(id_of(&created).to_owned());
    // The newest ids are last in the list, after the prefilled ones.
    let first = settled.first().unwrap();
    let before = format!("{}0", &first[..first.len() - 1]);
    let list = client
        .get_at(&format!("/patients?limit=1000&after={before}"), &position)
        .await;
    let listed: BTreeSet<String> = list.iter().map(|patient| id_of(patient).to_owned()).collect();
    let missing: Vec<_> = settled.difference(&listed).filter(|id| **id > before).collect();
    assert!(missing.is_empty(), "{missing:?} are not in the list");
    let oldest = client.get("/patients?limit=1").await.unwrap();
    let oldest: Vec<Value> = oldest.json().await.unwrap();
    assert_eq!(oldest[0]["name"], "Patient 1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_and_writers_notice_nothing_of_a_rebuild() {
    const EVENTS: u32 = 20_000;
    Production::on_each(async |production| {
        production.fill(EVENTS).await;
        let (_api, client) = production.api().await;
        let _projector = production.start("projector");
        let _mailer = production.start("mailer");
        let mails = production.count("mail_deliveries").await;
        assert_eq!(mails, 0);
        let hammer = Hammer::start(&client);
        for generation in 2..=4 {
            let rebuilt = tokio::task::block_in_place(|| {
                json(&mut production.projection(&["rebuild", "patient_view"]))
            });
            assert_eq!(rebuilt["generation"], generation);
            assert!(
                rebuilt["events"].as_u64().unwrap() >= u64::from(EVENTS),
                "{rebuilt}"
            );
            assert_eq!(production.generation().await, generation);
        }
        let answers = hammer.stop().await;
        println!("{answers} rounds of responses");
        assert!(answers > 30, "{answers}");
        // The ledger has one email for each patient that the clients registered, and no email for the
        // prefilled patients.
        wait_until(SOON, "the mailer has reached the head", async || {
            let finished = "checkpoints WHERE name = 'mailer' AND position = (SELECT position FROM log_head)";
            production.count(finished).await == 1
        })
        .await;
        let registered = format!("events WHERE position > {EVENTS} AND event_type = 'PatientRegistered'");
        assert_eq!(
            production.count("mail_deliveries").await,
            production.count(&registered).await
        );
        assert_eq!(
            production.count("mail_deliveries").await,
            production
                .count(&format!("mail_deliveries WHERE position > {EVENTS}"))
                .await
        );
        assert_eq!(production.count("patient_view WHERE generation <> 4").await, 0);
        let verified = json(&mut production.projection(&["verify", "patient_view"]));
        assert_eq!(
            (&verified["same"], &verified["generation"]),
            (&Value::Bool(true), &Value::from(4))
        );
    })
    .await;
}

/// Kills the rebuild with `kill -9` at several points, including while the new generation is filled and while
/// the old generation is deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_was_killed_leaves_the_table_served_and_goes_on() {
    const EVENTS: u32 = 40_000;
    Production::on_each(async |production| {
        production.fill(EVENTS).await;
        let (_api, client) = production.api().await;
        let _projector = production.start("projector");
        let rebuild = || Program::start(&production.projection(&["rebuild", "patient_view"]));

        let barrier = production.no_further_than(12_000).await;
        let killed = rebuild();
        let partly = "checkpoints WHERE name = 'patient_view@2' AND position > 0";
        wait_until(SOON, "a part is filled", async || {
            production.count(partly).await == 1
        })
        .await;
        killed.kill9().await;
        assert_eq!(production.generation().await, 1);
        assert_eq!(
            client.get("/patients?limit=1").await.unwrap().status(),
            StatusCode::OK
        );
        assert_eq!(
            production.count("patient_view WHERE generation = 1").await,
            i64::from(EVENTS)
        );
        let filled = production.count("patient_view WHERE generation = 2").await;
        assert!(filled > 0 && filled < 12_000, "{filled}");
        barrier.lift().await;

        // A rebuild that receives a stop signal stops, and prints how to resume.
        let barrier = production.no_further_than(24_000).await;
        let stopped = rebuild();
        wait_until(SOON, "it resumes", async || {
            production.count("patient_view WHERE generation = 2").await > filled
        })
        .await;
        stopped.signal("INT");
        barrier.lift().await;
        assert_eq!(stopped.wait(SOON).await, 1);
        assert!(stopped.log().contains("again to resume"), "{}", stopped.log());
        assert!(
            stopped.stdout().contains("resuming generation 2 from position"),
            "{}",
            stopped.log()
        );

        let barrier = production
            .barrier(&format!(
                "SELECT id FROM patient_view WHERE generation = 1 AND id = {} FOR UPDATE",
                filled_id("20000")
            ))
            .await;
        let killed = rebuild();
        wait_until(SOON, "the old one is being deleted", async || {
            production.count("patient_view WHERE generation = 1").await < i64::from(EVENTS)
        })
        .await;
        killed.kill9().await;
        assert_eq!(production.generation().await, 2);
        assert!(production.count("patient_view WHERE generation = 1").await > 0);
        assert_eq!(
            production.count("patient_view WHERE generation = 2").await,
            i64::from(EVENTS)
        );
        barrier.lift().await;

        let last = rebuild();
        assert_eq!(last.wait(SOON).await, 0, "{}", last.log());
        assert_eq!(production.count("patient_view WHERE generation <> 2").await, 0);
        assert_eq!(
            json(&mut production.projection(&["verify", "patient_view"]))["same"],
            true
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_rebuild_says_that_there_is_one_and_fails() {
    Production::on_each(async |production| {
        production.fill(60_000).await;
        let barrier = production.no_further_than(50_000).await;
        let first = Program::start(&production.projection(&["rebuild", "patient_view"]));
        let partly = "checkpoints WHERE name = 'patient_view@2' AND position > 0";
        wait_until(SOON, "the first has begun", async || {
            production.count(partly).await == 1
        })
        .await;
        let (succeeded, said) = run(&mut production.projection(&["rebuild", "patient_view"]));
        assert!(
            !succeeded && said.contains("is in progress: generation 2"),
            "{said}"
        );
        barrier.lift().await;
        assert_eq!(first.wait(SOON).await, 0, "{}", first.log());
        assert_eq!(production.generation().await, 2);
    })
    .await;
}

/// SQLite allows only one writer at a time, but the rebuild does not block the service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_of_the_embedded_database_lets_it_serve() {
    let folder = TempDir::new().unwrap();
    let command = |arguments: &[&str], folder: &Path| {
        let mut command = patients("");
        command.args(arguments).current_dir(folder);
        command
    };
    let port = free_port();
    let mut serve = command(&["serve"], folder.path());
    let _serving = Program::start(serve.env("HTTP_ADDR", format!("127.0.0.1:{port}")));
    let client = Client::new(port);
    wait_until(SOON, "it is ready", async || client.ready().await).await;
    for number in 0..50 {
        client.register_for_sure(&format!("p{number}@example.com")).await;
    }
    let rebuilt = tokio::task::block_in_place(|| {
        json(&mut command(
            &["projection", "rebuild", "patient_view"],
            folder.path(),
        ))
    });
    assert_eq!(
        (&rebuilt["generation"], &rebuilt["position"]),
        (&Value::from(2), &Value::from(50))
    );
    assert_eq!(client.list().await.len(), 50);
    client.register_for_sure("one-more@example.com").await;
    wait_until(SOON, "it resumes", async || client.list().await.len() == 51).await;
    let verified = json(&mut command(
        &["projection", "verify", "patient_view"],
        folder.path(),
    ));
    assert_eq!(
        (&verified["same"], &verified["table"]["rows"]),
        (&Value::Bool(true), &Value::from(51))
    );
    let status = json(&mut command(&["projection", "status"], folder.path()));
    let subscriptions = status["subscriptions"].as_array().unwrap();
    let view = subscriptions
        .iter()
        .find(|one| one["name"] == "patient_view")
        .unwrap();
    assert_eq!(view["lag_events"], 0);
    assert_eq!(view["projection"]["active_generation"], 2);
    assert!(view["owner"].as_str().unwrap().starts_with("serve@"));
}
