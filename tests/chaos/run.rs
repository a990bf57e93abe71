//! One run: load, faults, recovery, evidence and verdict.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use eventstore::{Clock, SystemClock};
use reqwest::StatusCode;
use testkit::Mail;
use tokio::task::JoinHandle;

use crate::clients::{Clerk, Office};
use crate::evidence::{Arrived, Evidence, Keyring, Progress, Sql};
use crate::oracle::judge;
use crate::plan::{Kind, Plan, WARM_UP};
use crate::record::{Observation, Request};
use crate::report::Report;
use crate::world::{Database, Redis, World, links};

/// The seed of the run that is part of the project's own checks.
const SEED: u64 = 1;
const SECONDS: u64 = 30;
const CLIENTS: usize = 8;
/// Time for which the test waits for recovery. The oracle's limit is much shorter.
const PATIENCE: Duration = Duration::from_mins(1);
/// Time for which the test waits for emails: a mailer's lease, plus the time to send the accumulated emails.
const MAIL_PATIENCE: Duration = Duration::from_secs(90);
/// Time for which the test waits until erasures are complete, and every subscription is at the head.
const ERASURE_PATIENCE: Duration = Duration::from_secs(30);
/// Maximum time in which memory and descriptors return to normal.
const REST: Duration = Duration::from_secs(10);

/// Returns `CHAOS_SEED`, `CHAOS_SECONDS`, and the kinds of faults in `CHAOS_FAULTS`. The defaults are the
/// values of the project's own checks, and all possible kinds of faults.
fn settings(possible: &[Kind]) -> (u64, Duration, Vec<Kind>) {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let seed = number("CHAOS_SEED").unwrap_or(SEED);
    let time = Duration::from_secs(number("CHAOS_SECONDS").unwrap_or(SECONDS));
    let kinds = match std::env::var("CHAOS_FAULTS") {
        Ok(words) => words
            .split(',')
            .filter(|word| *word != "none")
            .map(|word| Kind::named(word).ok_or(word))
            .collect::<Result<_, _>>()
            .expect("CHAOS_FAULTS names kinds of faults"),
        Err(_) => possible.to_vec(),
    };
    assert!(
        kinds.iter().all(|kind| possible.contains(kind)),
        "CHAOS_WORLD has no faults of some of these kinds"
    );
    (seed, time, kinds)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_made_up_whatever_is_broken() {
    let (database, redis) = tokio::join!(Database::start(), Redis::start());
    let possible = [database.kinds(), redis.kinds()].concat();
    let (seed, time, kinds) = settings(&possible);
    let plan = Plan::draw(seed, time, links(&database, &redis), &kinds);
    println!("CHAOS_SEED={seed} CHAOS_SECONDS={}", time.as_secs());
    for fault in &plan.faults {
        println!("{fault}");
    }
    let mut world = World::start(database, redis).await;
    let load = Load::start(&world, seed, CLIENTS);
    let began_at = now();
    tokio::time::sleep(WARM_UP.saturating_sub(Duration::from_millis(500))).await;
    let before = world.usage();
    if plan.faults.is_empty() {
        tokio::time::sleep(time).await;
    }
    let mut incidents = world.suffer(&plan.faults).await;
    let healed = Instant::now();
    let (mut observations, probe) = load.stop().await;
    let recovery = recover(&world, probe, healed).await;
    observations.extend(recovery.observations);
    deal_with_mail(&world).await;
    let progress = progress(&world.apis[0], &observations).await;
    wait_for_followers(&world).await;
    let after = settle(&world, &before).await;
    let mut evidence = gather(&world).await;
    evidence.running = world.running();
    evidence.recovered_after = recovery.after;
    evidence.observations = observations;
    evidence.began_at = began_at;
    evidence.progress = progress;
    (evidence.before, evidence.after) = (before, after);
    incidents.extend(world.end().await);
    evidence.incidents = incidents;

    let anomalies = judge(&evidence);
    let report = Report::new(seed, time, &world.mysql.name(), &plan, &evidence, &anomalies);
    report.print();
    report.keep(&world.logs());
    // Stops the programs before the test fails, because a failing test prints their logs.
    drop(world);
    assert!(report.is_fine(), "{} anomalies, see above", anomalies.len());
}

/// Running clients.
pub(crate) struct Load {
    office: Office,
    seed: u64,
    clerks: Vec<JoinHandle<Vec<Observation>>>,
}

impl Load {
    fn start(world: &World, seed: u64, clients: usize) -> Self {
        Self::on(world.apis.clone(), seed, clients)
    }

    /// Starts `count` clients of these APIs.
    pub(crate) fn on(apis: [String; 2], seed: u64, clients: usize) -> Self {
        let office = Office {
            apis,
            began: Instant::now(),
            stop: Arc::new(AtomicBool::new(false)),
            known: Arc::new(Mutex::new(Vec::new())),
            contested: Arc::new(Mutex::new(None)),
        };
        let clerk = |number| tokio::spawn(Clerk::new(office.clone(), number, seed).work());
        let clerks = (0..clients).map(clerk).collect();
        Self { office, seed, clerks }
    }

    /// Stops the clients. Returns their observations, and an additional clerk that tests whether the system
    /// works again.
    pub(crate) async fn stop(self) -> (Vec<Observation>, Clerk) {
        self.office.stop.store(true, Ordering::SeqCst);
        let number = self.clerks.len();
        let mut observations = Vec::new();
        for clerk in self.clerks {
            observations.extend(clerk.await.unwrap());
        }
        (observations, Clerk::new(self.office, number, self.seed))
    }
}

struct Recovery {
    after: Option<f64>,
    observations: Vec<Observation>,
}

/// Waits until both APIs accept and show writes, every subscription has processed these writes, and mail is
/// sent again.
async fn recover(world: &World, mut probe: Clerk, healed: Instant) -> Recovery {
    let mut sql = Sql::mysql(&world.database().await).await;
    let mut after = None;
    while after.is_none() && healed.elapsed() < PATIENCE {
        let (one, other) = (probe.probe(0).await, probe.probe(1).await);
        if let (Some(one), Some(other)) = (one, other) {
            let worked = async {
                while !sql.has_caught_up(one.max(other)).await || !sql.has_left(&[one, other]).await {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            if tokio::time::timeout(PATIENCE, worked).await.is_ok() {
                after = Some(healed.elapsed().as_secs_f64());
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Recovery {
        after,
        observations: probe.into_observations(),
    }
}

/// Waits until every email is sent or cancelled. An email with an unknown outcome is retried only after
/// minutes, so this test retries it earlier, as an operator would.
async fn deal_with_mail(world: &World) {
    let http = testkit::http_client()
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    let mut sql = Sql::mysql(&world.database().await).await;
    let began = Instant::now();
    while began.elapsed() < MAIL_PATIENCE {
        let left = sql.unfinished().await;
        if left.is_empty() {
            return;
        }
        for delivery in left
            .iter()
            .filter(|left| left.state == "failed" || left.state == "dead")
        {
            let path = format!("{}/mail/deliveries/{}/retry", world.apis[0], delivery.position);
            // If the request fails, the next iteration repeats it.
            let _ = http.post(path).send().await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Returns the progress of each erasure that a client requested, except of patients who were not erased.
/// Waits for a limited time until the erasures are complete.
pub(crate) async fn progress(api: &str, observations: &[Observation]) -> Vec<Progress> {
    let http = testkit::http_client()
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    let deadline = Instant::now() + ERASURE_PATIENCE;
    let requested = observations.iter().filter_map(|seen| match seen.request {
        Request::Erase { id } => Some(id),
        _ => None,
    });
    let mut all = Vec::new();
    for id in requested.collect::<BTreeSet<_>>() {
        // The oracle reports the missing answers.
        if Instant::now() > deadline {
            break;
        }
        let progress = loop {
            let answer = http.get(format!("{api}/patients/{id}/erasure")).send().await;
            let answer = answer
                .ok()
                .filter(|answer| answer.status() != StatusCode::SERVICE_UNAVAILABLE);
            let progress: Option<Progress> = match answer {
                Some(answer) if answer.status() == StatusCode::NOT_FOUND => break None,
                Some(answer) => answer.json().await.ok(),
                None => None,
            };
            if progress.as_ref().is_some_and(|progress| progress.complete) || Instant::now() > deadline {
                break progress;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        all.extend(progress);
    }
    all
}

/// Waits for a limited time until every subscription has processed the log.
async fn wait_for_followers(world: &World) {
    let mut sql = Sql::mysql(&world.database().await).await;
    let deadline = Instant::now() + ERASURE_PATIENCE;
    let head = sql.head().await;
    while !sql.has_caught_up(head).await && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Gives memory and descriptors time to return to normal.
async fn settle(world: &World, before: &[crate::evidence::Usage]) -> Vec<crate::evidence::Usage> {
    let began = Instant::now();
    loop {
        let after = world.usage();
        let back = before
            .iter()
            .zip(&after)
            .all(|(before, after)| after.memory <= before.memory && after.descriptors <= before.descriptors);
        if back || began.elapsed() > REST {
            return after;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Returns the current time in microseconds since 1970.
pub(crate) fn now() -> i64 {
    SystemClock.now().as_micros()
}

/// Returns a time in microseconds.
pub(crate) fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap()
}

async fn gather(world: &World) -> Evidence {
    let keyring = Keyring::read(&world.keyring());
    let mut evidence = Sql::mysql(&world.database().await)
        .await
        .ask(now(), keyring)
        .await;
    let arrived = |mail: &Mail| Arrived {
        recipient: mail.recipient(),
        message_id: mail.message_id(),
        at: micros(mail.arrived),
    };
    evidence.mails = world.smtp.mails().iter().map(arrived).collect();
    evidence
}
