//! Mail while all processes that take part are killed at random.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eventstore::{Clock, SystemClock};
use serde_json::Value;
use sqlx::{Connection, MySqlConnection};
use testkit::{Program, wait_until};

use crate::client::{Client, id_of};
use crate::rig::{Production, SOON};

/// Default duration of the faults; `FAULT_SECONDS` overrides it.
const FAULTS: Duration = Duration::from_secs(20);
/// Maximum time after the deletion of a patient in which an email may still arrive: the timeouts of these
/// mailers, plus a margin for a busy machine.
const ON_ITS_WAY: Duration = Duration::from_secs(10);
/// Maximum number of emails of each mailer that the server has accepted and the mailer has not recorded:
/// `MAIL_CONCURRENCY`.
const IN_THE_WINDOW: usize = 8;

/// A patient, as known to the client that registered them.
struct Registered {
    email: String,
    id: String,
    /// Time of the response to the deletion, since 1970, if the patient was deleted.
    deleted: Option<Duration>,
}

/// Registers patients one after another until it is stopped. Deletes every third patient, immediately or a
/// little later.
async fn clerk(client: Client, number: usize, stop: Arc<AtomicBool>) -> Vec<Registered> {
    let mut all = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let email = format!("p{}.{number}@example.com", all.len());
        let created = client.register_for_sure(&email).await;
        let id = id_of(&created).to_owned();
        let mut deleted = None;
        if all.len() % 3 == 0 {
            tokio::time::sleep(Duration::from_millis(all.len() as u64 % 50)).await;
            assert_eq!(client.delete(&id).await.unwrap().status(), 204);
            deleted = Some(Duration::from_micros(
                SystemClock.now().as_micros().unsigned_abs(),
            ));
        }
        all.push(Registered { email, id, deleted });
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    all
}

/// A generator of pseudo-random numbers (Knuth's MMIX constants). The test prints its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// Number of kills of each kind of process.
#[derive(Debug, Default)]
struct Killed {
    mailers: usize,
    smtp: usize,
    redis: usize,
}

async fn break_things(
    production: &mut Production,
    mailers: &mut [Program; 2],
    seed: u64,
    time: Duration,
) -> Killed {
    let mut dice = Dice(seed);
    let mut killed = Killed::default();
    let end = std::time::Instant::now() + time;
    while std::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(100 + dice.roll(1_000))).await;
        let away = Duration::from_millis(dice.roll(1_500));
        match dice.roll(4) {
            0 => {
                production.smtp.kill().await;
                tokio::time::sleep(away).await;
                production.smtp.restart().await;
                killed.smtp += 1;
            }
            1 => {
                production.redis.kill().await;
                tokio::time::sleep(away).await;
                production.redis.restart().await;
                killed.redis += 1;
            }
            which => {
                let mailer = &mut mailers[usize::from(which == 2)];
                mailer.kill9().await;
                tokio::time::sleep(away).await;
                mailer.restart().await;
                killed.mailers += 1;
            }
        }
    }
    killed
}

/// Every patient who was not deleted receives an email. If an email arrives twice, both copies have the same
/// `Message-ID`, and the history explains the copy. No patient who was deleted in time receives an email.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_survives_what_is_killed_at_random() {
    let seconds = std::env::var("FAULT_SECONDS")
        .ok()
        .and_then(|seconds| seconds.parse().ok());
    let time = seconds.map_or(FAULTS, Duration::from_secs);
    let seed = std::env::var("FAULT_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("FAULT_SEED={seed} FAULT_SECONDS={}", time.as_secs());
    let mut production = Production::on(&testkit::mysql_servers()[0]).await;
    let (_api, client) = production.api().await;
    let mailer = |production: &Production| {
        let mut command = production.command("mailer");
        Program::start(
            command
                .env("MAIL_CONNECT_TIMEOUT", "2s")
                .env("MAIL_SEND_TIMEOUT", "2s")
                .env("MAIL_ANSWER_TIMEOUT", "2s"),
        )
    };
    let mut mailers = [mailer(&production), mailer(&production)];
    let stop = Arc::new(AtomicBool::new(false));
    let clerks: Vec<_> = (0..4)
        .map(|number| tokio::spawn(clerk(client.clone(), number, Arc::clone(&stop))))
        .collect();
    let killed = break_things(&mut production, &mut mailers, seed, time).await;
    stop.store(true, Ordering::SeqCst);
    let mut registered = Vec::new();
    for clerk in clerks {
        registered.extend(clerk.await.unwrap());
    }

    every_mail_is_dealt_with(&client, registered.len() as u64).await;

    let (mut cancelled, mut doubled) = (0, 0);
    let mut arrived = arrivals(&production);
    for patient in &registered {
        let mails = arrived.remove(&patient.email).unwrap_or_default();
        cancelled += usize::from(mails.is_empty());
        doubled += mails.len().saturating_sub(1);
        is_as_promised(&production, patient, &mails).await;
    }
    assert!(arrived.is_empty(), "mail to an unregistered address: {arrived:?}");
    println!(
        "{} registered, {cancelled} deleted before their mail was sent, {doubled} mails arrived twice; killed: {killed:?}",
        registered.len()
    );
    assert!(doubled <= killed.mailers * IN_THE_WINDOW + killed.smtp * 2 * IN_THE_WINDOW);
    assert!(
        registered.len() > 100 && killed.mailers > 0,
        "too few registrations or kills"
    );
    wait_until(SOON, "a new mail arrives", async || {
        client.register_for_sure("after@example.com").await;
        production
            .smtp
            .mails()
            .iter()
            .any(|mail| mail.recipient() == "after@example.com")
    })
    .await;
}

/// Waits until every email is sent or cancelled. An email with an unknown outcome is retried only after
/// minutes, so this function retries it immediately, as an operator can.
async fn every_mail_is_dealt_with(client: &Client, registered: u64) {
    let get = async |path: &str| -> Value { client.get(path).await.unwrap().json().await.unwrap() };
    wait_until(Duration::from_mins(3), "every mail is finished", async || {
        for state in ["failed", "dead"] {
            let tried = get(&format!("/mail/deliveries?state={state}&limit=1000")).await;
            for delivery in tried.as_array().unwrap() {
                let path = format!("/mail/deliveries/{}/retry", delivery["id"]);
                client.post(&path).await.unwrap();
            }
        }
        let mails = get("/mail").await["mails"].clone();
        let over = mails["sent"].as_u64().unwrap() + mails["cancelled"].as_u64().unwrap();
        let left = ["pending", "sending", "failed", "dead"];
        over >= registered && left.iter().all(|state| mails[state] == 0)
    })
    .await;
}

/// The Message-ID of an email, and its time of arrival since 1970.
type Arrival = (String, Duration);

/// Returns the emails that have arrived, by recipient.
fn arrivals(production: &Production) -> BTreeMap<String, Vec<Arrival>> {
    let mut arrived: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for mail in production.smtp.mails() {
        let arrivals = arrived.entry(mail.recipient()).or_default();
        arrivals.push((mail.message_id(), mail.arrived));
    }
    arrived
}

async fn is_as_promised(production: &Production, patient: &Registered, mails: &[Arrival]) {
    let id = &patient.id;
    match patient.deleted {
        None => assert!(!mails.is_empty(), "{id} has no mail"),
        Some(deleted) => {
            let in_time = mails.iter().all(|(_, at)| *at < deleted + ON_ITS_WAY);
            assert!(in_time, "{id} was deleted long before its mail arrived");
        }
    }
    let Some(((first, _), others)) = mails.split_first() else {
        return;
    };
    assert!(
        others.iter().all(|(other, _)| other == first),
        "{id} has two Message-IDs"
    );
    if !others.is_empty() {
        let unsure = production.unsure_attempts(id).await;
        assert!(
            unsure >= others.len(),
            "{id}: {} mails, {unsure} attempts with unknown result",
            mails.len()
        );
    }
}

impl Production {
    /// Returns the number of attempts to send a patient's email whose outcome is unknown.
    async fn unsure_attempts(&self, id: &str) -> usize {
        let mut connection = MySqlConnection::connect(&self.database.url).await.unwrap();
        let count: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM mail_attempts a JOIN mail_deliveries d USING (position, template) \
             WHERE d.aggregate_id = ? AND a.outcome IN ('lost', 'unknown')",
        )
        .bind(id)
        .fetch_one(&mut connection)
        .await
        .unwrap();
        connection.close().await.unwrap();
        usize::try_from(count).unwrap()
    }
}
